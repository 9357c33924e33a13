"""Powers of two with a fractional exponent, as probabilities: a table, a register, a shift, a register.

Both are pipelines without handshake that take one distance a cycle; ``golden.exp2`` has the same functions.
"""

from myhdl import ConcatSignal, Signal, always, always_comb, concat, intbv

from golden.config import PREDICTED_FRACTION, PROBABILITY_FRACTION, SCORE_FRACTION, WEIGHT_FRACTION
from golden.exp2 import PROBABILITY_TABLE, WEIGHT_TABLE
from hdl.hierarchy import module

WEIGHT_CYCLES = 2
"""Latency of ``weight``."""

PROBABILITY_CYCLES = 2
"""Latency of ``probability``."""


# The lowest bit of the shift is in the table: four index bits are one look-up table a bit, as three would be.
_FINE_BITS = 1
_WEIGHT_TABLE = tuple(entry >> places for places in range(1 << _FINE_BITS) for entry in WEIGHT_TABLE)


@module
def weight(clk, distance, power):
    """Predicted exponential 2^-distance, truncated; latency ``WEIGHT_CYCLES``.

    distance: unsigned, log2 units with 3 fraction bits, ``DISTANCE_BITS`` wide.
    power: unsigned with 16 fraction bits (17 bits), 1.0 = 65536.

    The first stage shifts by 4 and by 8, the second by 2. The first leaves bits as they are into which it would shift
    zeros; the second clears them, for which the look-up tables of its shift have an input left.
    """
    bits, index_bits = WEIGHT_FRACTION + 1, PREDICTED_FRACTION + _FINE_BITS
    below_four, below_eight = bits - 4, bits - 8  # so many bits have a bit 4, or 8, places above them
    entry, unmasked = (Signal(intbv(0)[bits:]) for _ in range(2))
    by_four = Signal(intbv(0)[below_four:])
    by_eight = Signal(intbv(0)[below_eight:])
    two, four, eight, sixteen = (distance(index_bits + i) for i in range(4))
    late_two = Signal(False)
    # Whether to clear bits, for five classes of them: the shift by 2 reaches from one of the first stage's three into
    # the next.
    low, low_or_middle, middle, middle_or_high, high = classes = [Signal(False) for _ in range(5)]
    firsts = (0, below_eight - 2, below_eight, below_four - 2, below_four, bits)
    junk = ConcatSignal(*(classes[i] for i in reversed(range(5)) for _ in range(firsts[i], firsts[i + 1])))

    @always_comb
    def lookup():
        entry.next = _WEIGHT_TABLE[distance[index_bits:]]

    @always_comb
    def shift_by_four():
        if sixteen:
            by_four.next = entry[bits - 1] and not four  # 1.0 shifted by 16, the only bit that is left
        elif four:
            by_four.next = entry >> 4
        else:
            by_four.next = entry[below_four:]

    @always_comb
    def shift_by_eight():
        if not eight:
            by_eight.next = by_four[below_eight:]
        elif four:
            by_eight.next = by_four[below_four:8]
        else:
            by_eight.next = concat(entry[bits:below_four], by_four[below_four:8])

    @always(clk.posedge)
    def first_stage():
        unmasked.next = concat(entry[bits:below_four], by_four[below_four:below_eight], by_eight)
        late_two.next = two
        low.next = sixteen
        low_or_middle.next = sixteen or (eight and two)
        middle.next = sixteen or eight
        middle_or_high.next = sixteen or eight or (four and two)
        high.next = sixteen or eight or four

    @always(clk.posedge)
    def second_stage():
        # The lowest bit is right as it is.
        if late_two:
            power.next = (unmasked >> 2) & (~junk | 1)
        else:
            power.next = unmasked & (~junk | 1)

    return lookup, shift_by_four, shift_by_eight, first_stage, second_stage


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
