"""Powers of two with a fractional exponent, as probabilities: a table, a register, a shift, a register.

Both are pipelines without handshake that take one distance a cycle; ``golden.exp2`` has the same functions.
"""

from myhdl import Signal, always, always_comb, intbv

from golden.config import PREDICTED_FRACTION, PROBABILITY_FRACTION, SCORE_FRACTION, WEIGHT_FRACTION
from golden.exp2 import PROBABILITY_TABLE, WEIGHT_TABLE
from hdl.cleared import either, only
from hdl.hierarchy import module

WEIGHT_CYCLES = 2
"""Latency of ``weight``."""

PROBABILITY_CYCLES = 2
"""Latency of ``probability``."""


# Two bits of the shift are in the table: five index bits cost hardly more look-up tables than three.
_FINE_BITS = 2
_WEIGHT_TABLE = tuple(entry >> places for places in range(1 << _FINE_BITS) for entry in WEIGHT_TABLE)


@module
def weight(clk, distance, power):
    """Predicted exponential 2^-distance, truncated; latency ``WEIGHT_CYCLES``.

    distance: unsigned, log2 units with 3 fraction bits, any width from 6 bits.
    power: unsigned with 16 fraction bits (17 bits), 1.0 = 65536.
    """
    index_bits, coarse = PREDICTED_FRACTION + _FINE_BITS, 1 << _FINE_BITS
    shifts = -(-(WEIGHT_FRACTION + 1) // coarse)
    entry = Signal(intbv(0)[WEIGHT_FRACTION + 1 :])
    clears = Signal(intbv(0)[shifts:])
    shifted = [Signal(intbv(0)[WEIGHT_FRACTION + 1 :]) for _ in range(shifts)]
    some = Signal(intbv(0)[WEIGHT_FRACTION + 1 :])

    @always_comb
    def lookup():
        entry.next = _WEIGHT_TABLE[distance[index_bits:]]

    @always_comb
    def other_shifts():
        for i in range(shifts):
            clears.next[i] = (distance >> index_bits) != i

    @always(clk.posedge)
    def register():
        power.next = some

    fields = [entry(WEIGHT_FRACTION + 1, coarse * i) for i in range(shifts)]
    return lookup, other_shifts, register, only(clk, clears, fields, shifted), either(shifted, some)


# The table's low bits never reach a probability.
_DROPPED = WEIGHT_FRACTION - PROBABILITY_FRACTION - 1
_PROBABILITY_TABLE = tuple(entry >> _DROPPED for entry in PROBABILITY_TABLE)


@module
def probability(clk, distance, power):
    """Probability 2^-distance, rounded to nearest (half up); latency ``PROBABILITY_CYCLES``.

    distance: unsigned, log2 units with 7 fraction bits, any width from 12 bits.
    power: unsigned with 11 fraction bits (12 bits), 1.0 = 2048.
    """
    entry_bits = PROBABILITY_FRACTION + 2
    most_places = (1 << entry_bits.bit_length()) - 1
    entry = Signal(intbv(0)[entry_bits:])
    places = Signal(intbv(0)[entry_bits.bit_length() :])
    twice = Signal(intbv(0)[entry_bits:])

    @always(clk.posedge)
    def lookup():
        entry.next = _PROBABILITY_TABLE[distance[SCORE_FRACTION:]]
        if (distance >> SCORE_FRACTION) > most_places:
            places.next = most_places
        else:
            places.next = distance >> SCORE_FRACTION

    @always_comb
    def shift():
        twice.next = entry >> places

    @always(clk.posedge)
    def rounding():
        power.next = (twice >> 1) + twice[0]

    return lookup, shift, rounding
