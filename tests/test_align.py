"""Sums brought to a multiplier's 18 bits are those of ``golden.normalizer.align``."""

import numpy as np
import pytest
from myhdl import Signal, block, instance, intbv

from golden import normalizer as golden
from golden.config import MULTIPLIER_BITS
from golden.normalizer import ALIGNED
from hdl.align import ALIGN_CYCLES, align, align_bounded, align_up
from hdl.stream import Signed
from tests.cosimulation import ENGINES, make, run


def check(engine, definition, totals, positions, places, total_bits, **parameters):
    expected = golden.align(totals[:, None], positions)[:, 0].tolist()
    clk, total, aligned = Signal(False), Signed(total_bits).signal(), Signed(MULTIPLIER_BITS).signal()
    distance = Signal(intbv(0)[int(places.max()).bit_length() :])
    found = []

    @block
    def bench():
        @instance
        def stimulus():
            for cycle in range(len(totals) + ALIGN_CYCLES):
                if cycle < len(totals):
                    total.next, distance.next = int(totals[cycle]), int(places[cycle])
                yield clk.posedge
                if cycle >= ALIGN_CYCLES:
                    found.append(int(aligned))
            found.append(None)
            yield clk.posedge

        return stimulus

    run(clk, None, [make(engine, definition, clk, total, distance, aligned, **parameters), bench()],
        until=lambda: found and found[-1] is None)  # fmt: skip
    assert found[:-1] == expected


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lowest, highest, bits", [(10, 20, 29), (0, 11, 19)])
def test_rounds_half_up_and_saturates(engine, lowest, highest, bits):
    generator = np.random.default_rng(1)
    positions = generator.integers(lowest, highest + 1, 600)
    limit = np.minimum(1 << (positions + 9), (1 << (bits - 1)) - 1)
    totals = generator.integers(-limit, limit + 1)
    totals[::3] = np.sign(totals[::3]) * limit[::3]
    halves = np.maximum(positions - ALIGNED - 1, 0)
    totals[1::3] = totals[1::3] >> halves[1::3] << halves[1::3]  # ties
    check(engine, align, totals, positions, positions - lowest, bits, lowest=lowest, highest=highest)


@pytest.mark.parametrize("engine", ENGINES)
def test_averages_of_operands_saturate_only_where_rounded_up(engine):
    generator = np.random.default_rng(3)
    divisors = (1 << generator.uniform(10, 21, 600).astype(int)) + generator.integers(0, 1024, 600)
    divisors[::3] = (1 << generator.integers(11, 22, 200)) - generator.integers(1, 4, 200)
    totals = generator.integers(-128 * divisors, 128 * divisors + 1)
    totals[::2] = np.where(generator.random(300) < 0.5, -128, 128) * divisors[::2] + generator.integers(-1, 2, 300)
    totals = np.clip(totals, -128 * divisors, 128 * divisors)
    positions = golden.leading_one(divisors)
    check(engine, align_bounded, totals, positions, positions - 10, 29, lowest=10, highest=20)


@pytest.mark.parametrize("engine", ENGINES)
def test_sums_of_few_keys_go_up_exactly(engine):
    generator = np.random.default_rng(2)
    keys = generator.integers(1, 513, 400)
    totals = generator.integers(-128 * keys, 127 * keys + 1)
    totals[::2] = np.where(generator.random(200) < 0.5, -128, 127) * keys[::2]
    positions = golden.leading_one(keys)
    check(engine, align_up, totals, positions, ALIGNED - positions, 17)
