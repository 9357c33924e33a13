"""The MyHDL engine: the core's MyHDL model, driven by a stimulus without any Verilog."""

import random
from collections.abc import Callable
from pathlib import Path

from myhdl import Signal, Simulation, StopSimulation, always, block, delay, instance, traceSignals

from flows import stimulus
from flows.run import Run, SimulationError
from golden.config import Config
from hdl.core import core, ports

_RESET_CYCLES = 4
_PROGRESS_CYCLES = 500


def play(
    config: Config, played: stimulus.Stimulus, waves: Path | None, stall: int, seed: int, limit: int | None,
    progress: Callable[[int], None],
) -> Run:  # fmt: skip
    """See ``flows.engines.play``."""
    clk, reset, s_axis, m_axis, s_axil = ports(config)
    noise = random.Random(seed)
    beats, log, cycle = [], {}, [0]

    def stalled():
        return noise.randrange(100) < stall

    @block
    def bench():
        dut = core(clk, reset, s_axis, m_axis, s_axil, config)

        @always(delay(5))
        def clock():
            clk.next = not clk

        @always(clk.posedge)
        def watch():
            cycle[0] += 1
            if cycle[0] % _PROGRESS_CYCLES == 0:
                progress(len(beats))
            if limit is not None and cycle[0] > limit:
                raise SimulationError(f"hung: {len(beats)} beats out after {cycle[0]} cycles")

        @instance
        def source():
            while reset:
                yield clk.posedge
            for beat in played.beats:
                while stalled():
                    yield clk.posedge
                s_axis.tdata.next, s_axis.tlast.next, s_axis.tvalid.next = beat.data, beat.last, True
                yield clk.posedge
                while not s_axis.tready:
                    yield clk.posedge
                s_axis.tvalid.next = False

        @always(clk.posedge)
        def sink():
            m_axis.tready.next = not stalled()
            if m_axis.tvalid and m_axis.tready:
                beats.append(stimulus.Beat(int(m_axis.tdata), bool(m_axis.tlast), bool(m_axis.tuser)))

        value = [0]

        def write(address, data):
            s_axil.awaddr.next, s_axil.wdata.next, s_axil.wstrb.next = address, data, 15
            s_axil.awvalid.next, s_axil.wvalid.next, s_axil.bready.next = True, True, True
            waiting = {"address", "data"}
            while waiting:
                yield clk.posedge
                if s_axil.awvalid and s_axil.awready:
                    s_axil.awvalid.next = False
                    waiting.discard("address")
                if s_axil.wvalid and s_axil.wready:
                    s_axil.wvalid.next = False
                    waiting.discard("data")
            while not s_axil.bvalid:
                yield clk.posedge
            yield clk.posedge

        def read(address):
            s_axil.araddr.next, s_axil.arvalid.next, s_axil.rready.next = address, True, True
            yield clk.posedge
            while not (s_axil.arvalid and s_axil.arready):
                yield clk.posedge
            s_axil.arvalid.next = False
            while not s_axil.rvalid:
                yield clk.posedge
            value[0] = int(s_axil.rdata)
            yield clk.posedge

        @instance
        def script():
            reset.next = True
            for _ in range(_RESET_CYCLES):
                yield clk.posedge
            reset.next = False
            yield clk.posedge
            for operation, address, data in played.script:
                if operation == stimulus.WRITE:
                    yield write(address, data)
                elif operation == stimulus.POLL:
                    yield read(address)
                    while value[0] & data:
                        yield read(address)
                elif operation == stimulus.READ:
                    yield read(address)
                    log[address] = value[0]
                elif operation == stimulus.WAIT_OUTPUT:
                    while len(beats) < data:
                        yield clk.posedge
                else:
                    raise StopSimulation

        return dut, clock, watch, source, sink, script

    if waves is not None:
        traceSignals.filename = str(waves.with_suffix(""))
        traceSignals.tracebackup = False
        top = traceSignals(bench())
    else:
        top = bench()
    simulation = Simulation(top)
    try:
        simulation.run(quiet=1)
    finally:
        simulation.quit()
    return Run(beats, stimulus.counters(log))
