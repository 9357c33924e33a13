"""Sums of numbers that count or not, for all operands of few bits; a counter."""

import itertools
import random

import pytest
from myhdl import Signal, block, instance

from hdl.add_gated import add_gated, counter
from hdl.stream import Signed
from tests.cosimulation import ENGINES, results, run


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_adds_what_counts_and_wraps_around(engine, bits):
    use_left, use_right = Signal(False), Signal(False)
    left, right, total = (Signed(bits).signal() for _ in range(3))
    numbers, half = range(left.min, left.max), left.max
    cases = list(itertools.product(numbers, (False, True), numbers, (False, True)))
    expected = [(a if counts else 0) + (b if also else 0) for a, counts, b, also in cases]
    found = results(engine, add_gated, [left, use_left, right, use_right], total, cases)
    assert found == [(value + half) % (2 * half) - half for value in expected]


def test_counts_the_changes_since_reset():
    clk, reset = Signal(False), Signal(True)
    change, count = Signed(3).signal(), Signed(6).signal()
    generator = random.Random(5)
    found, expected = [], [0]

    @block
    def bench():
        @instance
        def stimulus():
            yield clk.posedge
            for _ in range(500):
                step = generator.randrange(max(-4, -32 - expected[-1]), min(3, 31 - expected[-1]) + 1)
                reset.next, change.next = generator.randrange(20) == 0, step
                yield clk.posedge
                found.append(int(count))
                expected.append(0 if reset else expected[-1] + step)
            found.append(None)
            yield clk.posedge

        return stimulus

    run(clk, None, [counter(clk, reset, change, count), bench()], until=lambda: found and found[-1] is None)
    assert found[:-1] == expected[:-1]
    assert min(expected) < -8 and max(expected) > 8
