"""The divider and the normalizing shift give exactly the golden model's shares."""

import numpy as np
import pytest
from myhdl import Signal, always, block, intbv

from golden.config import CONFIGS, KEPT_FRACTION, clog2
from golden.normalizer import leading_one, share
from hdl.divider import divider, division_cycles, normalize, normalize_cycles
from hdl.stream import Bits, Stream
from tests.cosimulation import ENGINES, collect, drive, make, run

SHARE_BITS = KEPT_FRACTION + 1


def divide(engine, pairs, width, quotient_bits, request_stall=0.0, result_stall=0.0):
    """Quotients of (dividend, divisor) pairs, and the cycles that they took."""
    clk, reset = Signal(False), Signal(False)
    request = Stream(dividend=Bits(width), divisor=Bits(width))
    result = Stream(quotient=Bits(quotient_bits))
    received = []
    cycles = run(
        clk,
        reset,
        [
            make(engine, divider, clk, reset, request, result, quotient_bits=quotient_bits),
            drive(clk, request, [{"dividend": x, "divisor": y} for x, y in pairs], request_stall, seed=1),
            collect(clk, result, received, stall_probability=result_stall, seed=2),
        ],
        until=lambda: len(received) == len(pairs),
        max_cycles=100 * len(pairs) + 100,
    )
    return received, cycles


def shift(engine, values, width):
    """What ``normalize`` makes of a stream of values, one a cycle."""
    clk = Signal(False)
    value, normalized = [Signal(intbv(0)[width:]) for _ in range(2)]
    position = Signal(intbv(0)[clog2(width) :])
    seen = []
    cycle = 0

    @block
    def bench():
        @always(clk.posedge)
        def feed():
            nonlocal cycle
            value.next = int(values[cycle % len(values)])
            seen.append((int(normalized), int(position)))
            cycle += 1

        return feed

    run(
        clk,
        None,
        [make(engine, normalize, clk, value, normalized, position), bench()],
        until=lambda: cycle > len(values) + normalize_cycles(width) + 1,
        max_cycles=100000,
    )
    first = normalize_cycles(width) + 1
    return seen[first : first + len(values)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("request_stall, result_stall", [(0, 0), (0.8, 0), (0, 0.8), (0.5, 0.5)])
def test_kept_share_is_the_floor_of_the_quotient(engine, request_stall, result_stall):
    """Also for nothing kept, everything kept, and the largest sums."""
    width = CONFIGS["small_tiled"].weight_sum_bits
    generator = np.random.default_rng(1)
    divisors = [1, 2, 3, 65536, 1 << (width - 1), (1 << width) - 1, *generator.integers(1, 1 << width, 60)]
    pairs = [(x, int(y)) for y in divisors for x in {0, int(y) // 3, int(y) - 1, int(y)}]
    pairs += [(2 * y - 1, y) for y in (1, 7, 1 << (width - 1))]
    received, _ = divide(engine, pairs, width, SHARE_BITS, request_stall, result_stall)
    assert received == [(x << KEPT_FRACTION) // y for x, y in pairs]


@pytest.mark.parametrize("quotient_bits", [3, 4, 5, 8])
def test_every_quotient_of_narrow_numbers(quotient_bits):
    pairs = [(x, y) for y in range(1, 8) for x in range(min(2 * y, 8))]
    received, _ = divide("icarus", pairs, 3, quotient_bits)
    assert received == [(x << (quotient_bits - 1)) // y for x, y in pairs]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_division_takes_eleven_cycles(engine):
    received, cycles = divide(engine, [(k, 100) for k in range(50)], 8, SHARE_BITS)
    assert division_cycles(SHARE_BITS) == 10
    assert cycles <= 50 * 11 + 6


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("width", [3, 8, 18, 21, 26])
def test_normalize_brings_the_leading_one_to_the_top(engine, width):
    """One value a cycle, at the latency that the module states; zero stays zero."""
    generator = np.random.default_rng(width)
    values = [1, 0, 2, 3, (1 << width) - 1, 1 << (width - 1)]
    values += [int(generator.integers(1 << p, 2 << p)) for p in range(width) for _ in range(4)]
    shifted = shift(engine, values, width)
    assert [normalized for normalized, _ in shifted] == [v << (width - v.bit_length()) for v in values]
    assert all(position == v.bit_length() - 1 for v, (_, position) in zip(values, shifted, strict=True) if v)


def test_both_together_are_the_golden_share():
    """As the normalizer uses them: normalize the divisor, divide the scaled weight."""
    width = CONFIGS["small_tiled"].denominator_bits
    generator = np.random.default_rng(3)
    divisor = np.array([1, 2, 3, 511, 512, (1 << width) - 1, *generator.integers(1, 1 << width, 60)])
    weight = generator.integers(0, 65537, divisor.size)
    weight[:8] = 65536
    moved = shift("icarus", divisor.tolist(), width)
    assert [position for _, position in moved] == leading_one(divisor).tolist()
    pairs = [(int(w) << (width - SHARE_BITS), normalized) for w, (normalized, _) in zip(weight, moved, strict=True)]
    received, _ = divide("icarus", pairs, width, SHARE_BITS)
    assert received == share(weight, divisor).tolist()
