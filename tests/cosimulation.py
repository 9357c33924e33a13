"""One test for two simulators: the MyHDL body of a module, and its Verilog in Icarus (through MyHDL's co-simulation).

    @pytest.mark.parametrize("engine", ENGINES)
    def test_fifo_keeps_order(engine):
        clk, reset, inp, out = Signal(False), Signal(False), Stream(data=Bits(8)), Stream(data=Bits(8))
        received = []
        run(clk, reset,
            [make(engine, fifo, clk, reset, inp, out, depth=16),
             drive(clk, inp, range(100), stall_probability=0.3, seed=1),
             collect(clk, out, received, stall_probability=0.5, seed=2)],
            until=lambda: len(received) == 100)
        assert received == list(range(100))

``KEEP_COSIM=1`` in the environment keeps the folders of simulations that succeeded.
"""
import atexit
import fcntl
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import myhdl
from myhdl import Cosimulation, Signal, Simulation, StopSimulation, always, block, delay, instance, intbv
from myhdl import _Cosimulation as myhdl_cosimulation
from myhdl import _simulator

from flows import synth
from hdl.convert import convert
from hdl.stream import AxiStream

ENGINES = ("myhdl", "icarus")
NETLIST = "ecp5"
BUILD = Path(__file__).resolve().parents[1] / "build"
RESET_CYCLES = 2        # run() resets for as long; streams start after it

_MAX_LINE = 60000       # characters of one message between the simulators (a pipe holds 65536); MyHDL's own limit is 4096
myhdl_cosimulation._MAXLINE = _MAX_LINE


# Icarus ------------------------------------------------------------------------------------------------------------------

def vpi():
    """MyHDL's co-simulation module for Icarus, built once from the sources in MyHDL's wheel."""
    target = BUILD / "vpi" / "myhdl.vpi"
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            sources = Path(sys.prefix) / "share/myhdl/cosimulation/icarus"
            with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                code = (sources / "myhdl.c").read_text()
                code = code.replace("#define MAXLINE 4096", f"#define MAXLINE {_MAX_LINE}")
                (Path(folder) / "myhdl.c").write_text(code)
                shutil.copy(sources / "myhdl_table.c", folder)
                _tool("iverilog-vpi", "myhdl.c", "myhdl_table.c", cwd=folder)
                os.replace(Path(folder) / "myhdl.vpi", target)
    return target


def _tool(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"in {cwd}: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


class _Icarus(Cosimulation):
    """A simulator process.  Signals with unknown bits keep their initial values in MyHDL."""

    def __init__(self, folder, **signals):
        super().__init__(["vvp", "-N", "-M", str(vpi().parent), "-m", "myhdl", str(folder / "simulation")], **signals)
        self.folder = folder
        self._hasChange = 1             # or inputs would be unknown until one of them changes
        atexit.register(self.kill)

    def _get(self):
        if not self._getMode:
            return
        message = os.read(self._rt, _MAX_LINE).decode().split()
        if not message:
            raise myhdl.CosimulationError("Icarus ended")
        for name, value in zip(message[1::2], message[2::2]):
            signal = self._toSigDict[name]
            if set(value) & set("xXzZ"):
                signal.next = signal._init
                continue
            number = int(value, 16)
            if signal._min is not None and signal._min < 0 and number >> (signal._nrbits - 1):
                number -= 1 << signal._nrbits
            signal.next = number
        self._getMode = 0

    def kill(self):
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        atexit.unregister(self.kill)


def make(engine, definition, *args, **kwargs):
    """The module ``definition`` (made by ``@module``) with these arguments, simulated by ``engine``.

    engine: one of ``ENGINES``, or ``NETLIST``: what synthesis for ECP5 makes of its Verilog.
    """
    if engine == "myhdl":
        return definition(*args, **kwargs)
    assert engine in ("icarus", NETLIST), engine
    dut = definition.unelaborated(*args, **kwargs)
    (BUILD / "cosim").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=definition.__name__ + "-", dir=BUILD / "cosim"))
    design = convert(dut, folder)
    signals = {port.name: dut.ports[port.index][1] for port in design.ports}
    lines = ["module testbench;"]
    for port in design.ports:
        kind = "reg" if port.direction == "input" else "wire"
        lines.append(f"{kind} [{signals[port.name]._nrbits - 1}:0] {port.name};")
    names = {direction: ", ".join(port.name for port in design.ports if port.direction == direction)
             for direction in ("input", "output")}
    connections = ", ".join(f".{port.name}({port.name})" for port in design.ports)
    lines += [f"initial begin $from_myhdl({names['input']}); $to_myhdl({names['output']}); end",
              f"{design.top} dut ({connections});", "endmodule", ""]
    (folder / "testbench.v").write_text("\n".join(lines))
    files = [Path(file).name for file in design.files]
    if engine == NETLIST:
        files = synthesize(folder, files, design.top)
    _tool("iverilog", "-g2005", "-o", "simulation", "-s", "testbench", "testbench.v", *files, cwd=folder)
    return _Icarus(folder, **signals)


SYNTHESIS_SCRIPTS = ["synth.tcl", "ecp5_map.v", "floorplan.tcl"]


def set_up_synthesis(folder, files, top):
    """What Yosys needs to make a netlist for ECP5 of ``files``, which are in ``folder``."""
    target = synth.TARGETS["ecp5"]
    for script in SYNTHESIS_SCRIPTS:
        shutil.copy(synth.ROOT / "flows" / script, folder)
    options = synth.flow_options(target.core_target, "tiny")
    synth.configure(target.flow, options, [*files, *SYNTHESIS_SCRIPTS], top, {}, folder)


def synthesize(folder, files, top):
    """The files of the netlist for ECP5 that ``flows/synth.tcl`` makes, with models of its cells."""
    set_up_synthesis(folder, files, top)
    _tool("make", f"{synth.NAME}.json", cwd=folder)
    shared = Path(shutil.which("yosys")).resolve().parent.parent / "share" / "yosys" / "ecp5"
    cells = (shared / "cells_sim.v").read_text()
    (folder / "cells.v").write_text(re.sub(r"module (DP16KD|MULT18X18D)\b.*?endmodule", "", cells, flags=re.DOTALL))
    for included in shared.glob("*.vh"):
        shutil.copy(included, folder)
    shutil.copy(Path(__file__).parent / "ecp5_blocks.v", folder)
    _tool("yosys", "-q", "-p", f"read_json {synth.NAME}.json; write_verilog -noattr netlist.v", cwd=folder)
    netlist = folder / "netlist.v"
    netlist.write_text(netlist.read_text().replace(".COUT(1'hx)", ".COUT()"))  # nextpnr's "not connected"
    return ["netlist.v", "cells.v", "ecp5_blocks.v"]


# Running -----------------------------------------------------------------------------------------------------------------

def run(clk, reset, instances, until, max_cycles=10000):
    """Reset, then clock until ``until()`` is true (asked before each rising edge); TimeoutError after ``max_cycles``.

    Signals are made anew for each run.  Returns the number of cycles.
    """
    cycles = 0

    @block
    def bench():
        @always(delay(5))
        def clock():
            clk.next = not clk

        @instance
        def control():
            nonlocal cycles
            if reset is not None:
                reset.next = True
            while True:
                yield clk.posedge
                cycles += 1
                if reset is not None and cycles >= RESET_CYCLES:
                    reset.next = False
                if cycles > RESET_CYCLES and until():
                    raise StopSimulation
                if cycles >= max_cycles:
                    raise TimeoutError(f"hang: the condition didn't come true in {max_cycles} cycles")

        return clock, control

    simulators = [part for part in myhdl._util._flatten(list(instances)) if isinstance(part, _Icarus)]
    simulation = None
    try:
        simulation = Simulation(bench(), *instances)
        simulation.run(quiet=1)
    except BaseException:
        for simulator in simulators:
            print(f"Verilog of the failed simulation: {simulator.folder}", file=sys.stderr)
        raise
    else:
        for simulator in simulators:
            if not os.environ.get("KEEP_COSIM"):
                shutil.rmtree(simulator.folder)
    finally:
        for simulator in simulators:
            simulator.kill()
        if simulation is not None and not simulation._finished:
            simulation.quit()
        del _simulator._signals[:]      # or every later simulation would carry these along
    return cycles


# Streams -----------------------------------------------------------------------------------------------------------------

def results(engine, definition, inputs, total, cases):
    """What a combinational block makes of each of the ``cases`` (values of all its ``inputs``) in ``total``, its last port."""
    clk, found = Signal(False), []

    @instance
    def stimulus():
        for case in cases:
            for signal, value in zip(inputs, case, strict=True):
                signal.next = value
            yield clk.posedge
            found.append(int(total))
        found.append(None)
        yield clk.posedge

    run(clk, None, [make(engine, definition, *inputs, total), stimulus], until=lambda: found and found[-1] is None)
    return found[:-1]


def _signals(stream):
    """valid, ready, {field: signal}"""
    if isinstance(stream, AxiStream):
        names = ("tdata", "tlast", "tuser")
        return stream.tvalid, stream.tready, {name: getattr(stream, name) for name in names}
    return stream.valid, stream.ready, {name: getattr(stream, name) for name in stream.fields}


def _noise(generator, signal):
    number = generator.getrandbits(signal._nrbits)
    return number - (1 << signal._nrbits - 1) if signal._min is not None and signal._min < 0 else number


@block
def drive(clk, stream, items, stall_probability=0.0, seed=0):
    """Send ``items``: dicts of fields (missing ones are 0), or plain integers if the stream has one field.

    In each cycle between two items, nothing is offered with ``stall_probability``; fields are noise then.
    """
    generator = random.Random(seed)
    valid, ready, fields = _signals(stream)

    @instance
    def source():
        for _ in range(RESET_CYCLES + 1):
            yield clk.posedge
        for item in items:
            while generator.random() < stall_probability:
                valid.next = False
                for signal in fields.values():
                    signal.next = _noise(generator, signal)
                yield clk.posedge
            if not isinstance(item, dict):
                (name,) = fields
                item = {name: item}
            assert item.keys() <= fields.keys(), f"no such fields: {item.keys() - fields.keys()}"
            valid.next = True
            for name, signal in fields.items():
                signal.next = item.get(name, 0)
            yield clk.posedge
            while not ready:
                yield clk.posedge
        valid.next = False

    return source


@block
def collect(clk, stream, received, count=None, stall_probability=0.0, seed=0):
    """Append to ``received`` what the stream brings, in the form that ``drive`` takes; stop being ready after ``count``.

    Checks that an offered item stays until it is taken.
    """
    generator = random.Random(seed)
    valid, ready, fields = _signals(stream)

    @instance
    def sink():
        for _ in range(RESET_CYCLES):
            yield clk.posedge
        waiting = None
        taken = 0
        while True:
            ready.next = (count is None or taken < count) and generator.random() >= stall_probability
            yield clk.posedge
            item = {name: int(signal) for name, signal in fields.items()} if valid else None
            assert waiting is None or item == waiting, f"offered {waiting}, then {item} before it was taken"
            waiting = None if ready else item
            if valid and ready:
                received.append(item if len(fields) > 1 else next(iter(item.values())))
                taken += 1
                if taken == count:
                    ready.next = False

    return sink


@block
def collect_behind(clk, stream, signal, received):
    """Append to ``received`` what ``signal`` is in the cycle after each item of ``stream`` was taken."""

    @instance
    def watch():
        taken = False
        while True:
            yield clk.posedge
            if taken:
                received.append(int(signal))
            taken = bool(stream.valid and stream.ready)

    return watch
