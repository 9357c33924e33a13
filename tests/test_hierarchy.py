"""Modules stay modules in Verilog, and mean the same there."""
import os
import random
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from myhdl import Signal, ToVerilogWarning, always, always_comb, block, enum, instance, intbv, modbv

from hdl.convert import convert
from hdl.fifo import fifo
from hdl.hierarchy import module
from hdl.stream import AxiStream, Bits, Signed, Stream
from tests.cosimulation import ENGINES, collect, drive, make, run


class Lane:
    """An interface with a list, and a plain attribute that goes along."""

    def __init__(self, width):
        self.width = width
        self.values = [Signal(intbv(0)[width:]) for _ in range(2)]
        self.sum = Signal(intbv(0)[width + 1:])
        self.spare = Signal(False)


@module
def add(clk, lane):
    """Sum of the two values of a lane (one cycle)."""
    first, second = lane.values
    total = lane.sum

    @always(clk.posedge)
    def addition():
        total.next = first + second

    return addition


@module
def scale(values, results, offset, factor=1):
    """result = value * factor + offset, for each element of a list."""
    @always_comb
    def product():
        for i in range(len(values)):
            results[i].next = values[i].signed() * factor + offset

    return product


@module
def tree(clk, lanes, results, inverted):
    """Two levels of modules: lists of interfaces and of signals as ports, constants, an output left open."""
    offset = Signal(intbv(-3, min=-8, max=8))
    sums = [lane.sum for lane in lanes]
    adders = [add(clk, lane) for lane in lanes]
    wide = [Signal(intbv(0)[12:]) for _ in lanes]
    scaled = [Signal(intbv(0, min=-(1 << 15), max=1 << 15)) for _ in lanes]
    unread = [Signal(intbv(0, min=-(1 << 15), max=1 << 15)) for _ in lanes]

    @always_comb
    def extend():
        for i in range(len(sums)):
            wide[i].next = sums[i]

    by_three = scale(wide, scaled, offset, factor=3)
    by_five = scale(wide, unread, offset, factor=5)

    @always_comb
    def invert():
        for i in range(len(scaled)):
            results[i].next = scaled[i]
        inverted.next = -scaled[0]

    return adders, extend, by_three, by_five, invert


def tree_ports(lanes=3):
    wide = lambda: Signal(intbv(0, min=-(1 << 16), max=1 << 16))  # noqa: E731
    return Signal(False), [Lane(8) for _ in range(lanes)], [wide() for _ in range(lanes)], wide()


@pytest.mark.parametrize("engine", ENGINES)
def test_nested_lists_and_interfaces_compute_the_same_in_both_simulators(engine):
    clk, lanes, results, inverted = ports = tree_ports()
    generator = random.Random(1)
    checked = []

    @block
    def stimulus():
        @instance
        def process():
            expected = None
            while True:
                yield clk.negedge
                if expected:
                    assert [int(result) for result in results] == expected
                    assert inverted == -expected[0]
                    assert [int(lane.sum) for lane in lanes] == [(value + 3) // 3 for value in expected]
                    checked.append(expected)
                expected = []
                for lane in lanes:
                    numbers = [generator.getrandbits(8) for _ in lane.values]
                    for signal, number in zip(lane.values, numbers):
                        signal.next = number
                    expected.append(sum(numbers) * 3 - 3)
        return process

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ToVerilogWarning)
        dut = make(engine, tree, *ports)
    run(clk, None, [dut, stimulus()], until=lambda: len(checked) == 50)


def converted(tmp_path, definition, *args, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ToVerilogWarning)
        design = convert(definition.unelaborated(*args, **parameters), tmp_path, header="Made by a test")
    return {file.rsplit("/", 1)[1]: open(file).read() for file in design.files}


def test_each_variant_is_converted_once_and_named_after_its_parameters(tmp_path):
    files = converted(tmp_path, tree, *tree_ports())
    assert list(files) == ["sanger_add.v", "sanger_scale_f3.v", "sanger_scale_f5.v", "sanger_tree.v"]
    assert files["sanger_tree.v"].count("sanger_add inst_add_") == 3
    assert ".results_0()" in files["sanger_tree.v"]                     # unread: left open
    assert "spare" not in files["sanger_add.v"]                         # untouched field of an interface
    assert "wire signed [3:0] offset = -4'sd3;" in files["sanger_tree.v"]
    assert files["sanger_scale_f3.v"].startswith("// Made by a test\n//\n// result = value * factor + offset")


def test_ports_of_other_widths_give_another_module(tmp_path):
    @module
    def two_widths(clk, reset, narrow, narrow_out, wide, wide_out):
        return fifo(clk, reset, narrow, narrow_out, 16), fifo(clk, reset, wide, wide_out, depth=16)

    def stream(width):
        return Stream(data=Bits(width))

    files = converted(tmp_path, two_widths, Signal(False), Signal(False), stream(8), stream(8), stream(96), stream(96))
    assert {"sanger_fifo_d16_w8.v", "sanger_fifo_d16_w96.v"} < set(files)


def test_output_is_the_same_every_time(tmp_path):
    assert converted(tmp_path / "a", tree, *tree_ports()) == converted(tmp_path / "b", tree, *tree_ports())


def test_output_is_the_same_in_every_process(tmp_path):
    """Names of builds follow from the Verilog's content; Python orders its sets anew in each process."""
    made = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "flows", "verilog", "--config", "tiny_tiled", "--out", str(folder)],
            cwd=Path(__file__).parents[1], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True,
        )
        made.append({file.name: file.read_text() for file in folder.glob("*.v")})
    assert made[0] == made[1]


def test_undriven_signals_are_reported(tmp_path):
    with pytest.warns(ToVerilogWarning, match="not driven, a constant: offset"):
        convert(tree.unelaborated(*tree_ports()), tmp_path)


def test_two_drivers_are_an_error(tmp_path):
    @module
    def two_drivers(clk, lane):
        return add(clk, lane), add(clk, lane)

    with pytest.raises(Exception, match="has a driver"):
        convert(two_drivers.unelaborated(Signal(False), Lane(8)), tmp_path)


def test_a_thousand_instances_convert_in_seconds(tmp_path):
    @module
    def row(clk, lanes):
        return [add(clk, lane) for lane in lanes]

    @module
    def array(clk, rows):
        return [row(clk, lanes) for lanes in rows]

    start = time.perf_counter()
    files = converted(tmp_path, array, Signal(False), [[Lane(8) for _ in range(16)] for _ in range(64)])
    assert len(files) == 3
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("engine", ENGINES)
def test_streams_through_nested_modules(engine):
    @module
    def chain(clk, reset, inp, out, length):
        links = [inp] + [inp.like() for _ in range(length - 1)] + [out]
        return [fifo(clk, reset, links[i], links[i + 1], depth=4) for i in range(length)]

    clk, reset, inp, out = Signal(False), Signal(False), Stream(value=Signed(7)), Stream(value=Signed(7))
    received = []
    run(clk, reset,
        [make(engine, chain, clk, reset, inp, out, length=3), drive(clk, inp, range(-64, 64), 0.4, seed=1),
         collect(clk, out, received, stall_probability=0.4, seed=2)],
        until=lambda: len(received) >= 128)
    assert received == list(range(-64, 64))


def test_a_hang_is_reported():
    clk, reset, inp, out = Signal(False), Signal(False), Stream(value=Bits(7)), Stream(value=Bits(7))
    with pytest.raises(TimeoutError, match="hang"):
        run(clk, reset, [make("icarus", fifo, clk, reset, inp, out, depth=4), drive(clk, inp, range(9))],
            until=lambda: False, max_cycles=50)


def test_state_machines_and_tables_in_a_module(tmp_path):
    state_names = enum("IDLE", "RUN")

    @module
    def machine(clk, inp, out):
        state = Signal(state_names.IDLE)
        table = (3, 5, 7, 9)

        @always(clk.posedge)
        def step():
            state.next = state_names.RUN
            if state == state_names.RUN:
                out.next = table[inp]

        return step

    files = converted(tmp_path, machine, Signal(False), Signal(intbv(0)[2:]), Signal(intbv(0)[4:]))
    assert "case (inp)" in files["sanger_machine.v"]


@pytest.mark.parametrize("engine", ENGINES)
def test_one_list_may_be_driven_by_processes_ports_and_instances(engine):
    @module
    def increment(clk, value, result):              # results wrap: offered data is noise between items
        @always(clk.posedge)
        def step():
            result.next = value + 1

        return step

    @module
    def gather(clk, inp, out, copy):
        """Behind an AXI stream: its data, that + 1 from an instance, that + 2 from a process."""
        parts = [inp.tdata] + [Signal(modbv(0)[8:]) for _ in range(2)]
        second, third = parts[1], parts[2]
        low = second(4, 0)
        total, taken = Signal(intbv(0)[10:]), Signal(False)
        one_more = increment(clk, inp.tdata, second)
        doubled = increment(clk, low, copy)

        @always(clk.posedge)
        def two_more():
            third.next = parts[0] + 2

        @always_comb
        def summed():
            total.next = parts[0] + parts[1] + parts[2]

        @always(clk.posedge)
        def handshake():
            taken.next = inp.tvalid and not taken

        @always_comb
        def outputs():
            inp.tready.next = taken
            out.tvalid.next = taken
            out.tdata.next = total
            out.tlast.next = inp.tlast
            out.tuser.next = inp.tuser

        return one_more, doubled, two_more, summed, handshake, outputs

    clk, reset, inp, out = Signal(False), Signal(False), AxiStream(8), AxiStream(10)
    inp.tdata, copy = Signal(modbv(0)[8:]), Signal(modbv(0)[5:])
    sent = [{"tdata": i, "tlast": i % 7 == 0, "tuser": i % 3 == 0} for i in range(200)]
    received = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ToVerilogWarning)
        dut = make(engine, gather, clk, inp, out, copy)
    run(clk, reset, [dut, drive(clk, inp, sent, 0.3, seed=5), collect(clk, out, received)],
        until=lambda: len(received) >= 200)
    assert received == [{**item, "tdata": 3 * item["tdata"] + 3} for item in sent]
