"""Sums and differences, for all operands of few bits."""

import itertools

import pytest
from myhdl import Signal

from hdl.add_subtract import accumulate, add_subtract
from hdl.stream import Signed
from tests.cosimulation import ENGINES, results


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bits, total_bits", [(2, 3), (3, 3), (4, 5)])
def test_adds_or_subtracts_and_wraps_around(engine, bits, total_bits):
    subtract = Signal(False)
    left, right, total = Signed(bits).signal(), Signed(bits).signal(), Signed(total_bits).signal()
    numbers, half = range(left.min, left.max), 1 << (total_bits - 1)
    cases = list(itertools.product(numbers, numbers, (False, True)))
    found = results(engine, add_subtract, [left, right, subtract], total, cases)
    assert found == [((a - b if minus else a + b) + half) % (2 * half) - half for a, b, minus in cases]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_accumulates_or_begins_anew_and_wraps_around(engine, bits):
    anew, subtract = Signal(False), Signal(False)
    so_far, step, total = (Signed(bits).signal() for _ in range(3))
    numbers, half = range(so_far.min, so_far.max), so_far.max
    cases = list(itertools.product(numbers, (False, True), numbers, (False, True)))
    expected = [(0 if begin else a) + (-b if minus else b) for a, begin, b, minus in cases]
    found = results(engine, accumulate, [so_far, anew, step, subtract], total, cases)
    assert found == [(value + half) % (2 * half) - half for value in expected]
