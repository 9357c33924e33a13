"""Sums with one of two numbers, for all operands of few bits."""

import itertools

import pytest
from myhdl import Signal

from hdl.add_chosen import add_chosen
from hdl.stream import Signed
from tests.cosimulation import ENGINES, results


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bits, base_bits", [(2, 2), (2, 4), (3, 3)])
def test_adds_the_chosen_one_and_wraps_around(engine, bits, base_bits):
    use_one = Signal(False)
    one, other = Signed(bits).signal(), Signed(bits).signal()
    base, total = Signed(base_bits).signal(), Signed(base_bits).signal()
    numbers, half = range(one.min, one.max), base.max
    cases = list(itertools.product(range(base.min, base.max), numbers, numbers, (False, True)))
    found = results(engine, add_chosen, [base, one, other, use_one], total, cases)
    assert found == [(so_far + (a if first else b) + half) % (2 * half) - half for so_far, a, b, first in cases]
