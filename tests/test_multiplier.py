"""The multiplier of all blocks, and what synthesis for ECP5 makes of it: one DSP block, and nothing around it."""

import json
import random
import shutil

import pytest
from myhdl import Signal, block, instance

from hdl.multiplier import MULTIPLIER_CYCLES, multiplier
from hdl.stream import Bits, Signed
from tests.cosimulation import ENGINES, NETLIST, make, run

SHAPES = {"signed": (Signed(18), Signed(8)), "wide": (Signed(18), Signed(17)), "unsigned": (Bits(12), Bits(18))}


def check(engine, first, second):
    clk = Signal(False)
    first, second = first.signal(), second.signal()
    bits = len(first) + len(second)
    product = (Signed(bits) if first.min < 0 else Bits(bits)).signal()
    generator = random.Random(5)
    checked = []

    @block
    def bench():
        @instance
        def operands():
            history = []
            for number in range(300):
                values = [generator.choice((s.min, s.max - 1, generator.randrange(s.min, s.max))) for s in (first, second)]
                first.next, second.next = values
                history.append(values[0] * values[1])
                yield clk.posedge
                if number >= MULTIPLIER_CYCLES:
                    assert product == history[number - MULTIPLIER_CYCLES]
            checked.append(True)
            yield clk.posedge

        return operands

    run(clk, None, [make(engine, multiplier, clk, first, second, product), bench()], until=lambda: checked)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_come_two_cycles_after_their_operands(engine, shape):
    check(engine, *SHAPES[shape])


@pytest.mark.skipif(not shutil.which("yosys"), reason="needs yosys")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_dsp_block_holds_all_registers(monkeypatch, tmp_path, shape):
    monkeypatch.setattr("tests.cosimulation.BUILD", tmp_path)
    monkeypatch.setenv("KEEP_COSIM", "1")
    check(NETLIST, *SHAPES[shape])
    (netlist,) = (tmp_path / "cosim").glob("*/sanger.json")
    modules = json.loads(netlist.read_text())["modules"]
    (top,) = (module for module in modules.values() if module["attributes"].get("top"))
    assert [cell["type"] for cell in top["cells"].values()] == ["MULT18X18D"]
