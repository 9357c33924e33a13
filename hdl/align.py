"""Brings a sum to the 18 bits of a multiplier by the leading one of its divisor (golden twin: ``golden.normalizer.align``)."""

from myhdl import Signal, always, always_comb, intbv

from golden.config import MULTIPLIER_BITS, clog2
from golden.normalizer import ALIGNED
from hdl.hierarchy import module
from hdl.stream import Signed

ALIGN_CYCLES = 2
"""Rounding and saturation come behind the last register, before those of the multiplier."""

FINE_BITS = 2  # of the shift, in the second stage


@module
def align(clk, total, distance, aligned, lowest, highest):
    """aligned = total * 2^(9 - position), rounded half up, saturated; ALIGN_CYCLES, one a cycle.

    total: signed. distance: position - lowest, unsigned. aligned: 18 bits signed.
    lowest, highest: positions that occur.
    """
    assert lowest <= ALIGNED + 1
    zeros = ALIGNED + 1 - lowest  # appended below, so that all shifts go right and leave one fraction bit
    width = len(total) + zeros
    fine_mask = (1 << FINE_BITS) - 1
    coarse_mask = ((1 << clog2(highest - lowest + 1)) - 1) & ~fine_mask
    limit = 1 << (MULTIPLIER_BITS - 1)

    wide = Signed(width).signal()
    coarse = Signed(width).signal()
    fine = Signed(width).signal()
    fine_distance = Signal(intbv(0)[FINE_BITS:])
    incremented = Signed(width + 1).signal()
    minus_one = (1 << (width + 1 - MULTIPLIER_BITS)) - 1  # of the bits beyond

    @always_comb
    def append_zeros():
        wide.next = total << zeros

    @always(clk.posedge)
    def shifts():
        coarse.next = wide >> (distance & coarse_mask)
        fine_distance.next = distance & fine_mask
        fine.next = coarse >> fine_distance

    @always_comb
    def round_half_up():
        incremented.next = fine + 1

    @always_comb
    def saturated_word():
        if incremented[width + 1 : MULTIPLIER_BITS] == 0 or incremented[width + 1 : MULTIPLIER_BITS] == minus_one:
            aligned.next = incremented >> 1
        elif incremented[width]:
            aligned.next = -limit
        else:
            aligned.next = limit - 1

    return append_zeros, shifts, round_half_up, saturated_word


@module
def align_bounded(clk, total, distance, aligned, lowest, highest):
    """The same for |total| <= 128 * divisor: only what is rounded up to 2^17 saturates, and bits beyond hold only the sign.

    total: signed. distance: position - lowest, unsigned. aligned: 18 bits signed.
    lowest, highest: positions that occur, not below 10.
    """
    zeros = ALIGNED + 1 - lowest
    assert zeros == 0
    fine_mask = (1 << FINE_BITS) - 1
    coarse_mask = ((1 << clog2(highest - lowest + 1)) - 1) & ~fine_mask
    limit = 1 << (MULTIPLIER_BITS - 1)
    fine_bits = MULTIPLIER_BITS + 1  # with a fraction bit
    coarse_bits = fine_bits + fine_mask

    coarse, coarse_word = Signal(intbv(0)[coarse_bits:]), Signed(coarse_bits).signal()
    fine = Signal(intbv(0)[fine_bits:])
    fine_number, incremented = Signed(fine_bits).signal(), Signed(fine_bits + 1).signal()
    fine_distance = Signal(intbv(0)[FINE_BITS:])

    @always(clk.posedge)
    def shifts():
        coarse.next = (total >> (distance & coarse_mask)) & ((1 << coarse_bits) - 1)
        fine_distance.next = distance & fine_mask
        fine.next = (coarse_word >> fine_distance) & ((1 << fine_bits) - 1)

    @always_comb
    def numbers():
        coarse_word.next = coarse.signed()
        fine_number.next = fine.signed()

    @always_comb
    def round_half_up():
        incremented.next = fine_number + 1

    @always_comb
    def saturated_word():
        if incremented[fine_bits - 1] and not incremented[fine_bits]:  # rounded up to the limit
            aligned.next = limit - 1
        else:
            aligned.next = incremented >> 1

    return shifts, numbers, round_half_up, saturated_word


@module
def align_up(clk, total, places, aligned):
    """The same where no position is above 9: aligned = total * 2^places, cut to 18 bits; ALIGN_CYCLES, one a cycle.

    Nothing is rounded, and nothing saturates, as |total| <= 128 * divisor.
    total: signed. places: 9 - position, unsigned. aligned: 18 bits signed.
    """
    fine_mask = (1 << FINE_BITS) - 1
    coarse_mask = ((1 << len(places)) - 1) & ~fine_mask
    word_mask = (1 << MULTIPLIER_BITS) - 1

    word, coarse, fine = [Signal(intbv(0)[MULTIPLIER_BITS:]) for _ in range(3)]
    fine_places = Signal(intbv(0)[FINE_BITS:])

    @always_comb
    def sign_extension():
        word.next = total & word_mask

    @always(clk.posedge)
    def shifts():
        coarse.next = (word << (places & coarse_mask)) & word_mask
        fine_places.next = places & fine_mask
        fine.next = (coarse << fine_places) & word_mask

    @always_comb
    def number():
        aligned.next = fine.signed()

    return sign_extension, shifts, number
