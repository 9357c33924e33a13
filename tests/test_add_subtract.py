"""Sums and differences, for all operands of few bits."""

import itertools

import pytest
from myhdl import Signal, block, instance

from hdl.add_subtract import accumulate, add_subtract
from hdl.stream import Signed
from tests.cosimulation import ENGINES, make, run


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bits, total_bits", [(2, 3), (3, 3), (4, 5)])
def test_adds_or_subtracts_and_wraps_around(engine, bits, total_bits):
    clk, subtract = Signal(False), Signal(False)
    left, right, total = Signed(bits).signal(), Signed(bits).signal(), Signed(total_bits).signal()
    numbers, half = range(left.min, left.max), 1 << (total_bits - 1)
    cases = list(itertools.product(numbers, numbers, (False, True)))
    found = []

    @block
    def bench():
        @instance
        def stimulus():
            for a, b, minus in cases:
                left.next, right.next, subtract.next = a, b, minus
                yield clk.posedge
                found.append(int(total))
            found.append(None)
            yield clk.posedge

        return stimulus

    run(clk, None, [make(engine, add_subtract, left, right, subtract, total), bench()],
        until=lambda: found and found[-1] is None)  # fmt: skip
    assert found[:-1] == [((a - b if minus else a + b) + half) % (2 * half) - half for a, b, minus in cases]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_accumulates_or_begins_anew_and_wraps_around(engine, bits):
    clk, anew, subtract = (Signal(False) for _ in range(3))
    so_far, step, total = (Signed(bits).signal() for _ in range(3))
    numbers, half = range(so_far.min, so_far.max), so_far.max
    cases = list(itertools.product(numbers, (False, True), numbers, (False, True)))
    found = []

    @block
    def bench():
        @instance
        def stimulus():
            for case in cases:
                so_far.next, anew.next, step.next, subtract.next = case
                yield clk.posedge
                found.append(int(total))
            found.append(None)
            yield clk.posedge

        return stimulus

    run(clk, None, [make(engine, accumulate, so_far, anew, step, subtract, total), bench()],
        until=lambda: found and found[-1] is None)  # fmt: skip
    expected = [(0 if begin else a) + (-b if minus else b) for a, begin, b, minus in cases]
    assert found[:-1] == [(value + half) % (2 * half) - half for value in expected]
