"""From exact dot products to exact scores (golden twin: ``golden.scores.scale_scores``)."""

from myhdl import Signal, always, always_comb, intbv

from golden.config import (
    DOT_BITS,
    FACTOR_SHIFT_BASE,
    FACTOR_SHIFT_BITS,
    MANTISSA_BITS,
    SCORE_FRACTION,
)
from hdl.hierarchy import module
from hdl.multiplier import multiplier
from hdl.stream import Signed

SCALER_CYCLES = 5
"""Clamp, multiply, coarse shift, fine shift, round."""

_FINE_BITS = 3  # of the shift; the rest is a stage of its own
_FINE = (1 << _FINE_BITS) - 1
_COARSE = (1 << FACTOR_SHIFT_BITS) - 1 - _FINE


@module
def scaler(clk, dot, mantissa, shift, score, config):
    """``score`` is that of the dot product of ``SCALER_CYCLES`` cycles ago; one a cycle, no handshake, one DSP block.

    Args:
        dot: signed, ``config.dot_bits`` wide, a legal dot product and ``config.dot_half``.
        mantissa, shift: factor mantissa * 2^-(18 + shift) of this dot product, at the same time.
        score: signed, log2 units, 7 fraction bits; rounded half up, twice.
    """
    dot_shift = config.dot_shift
    limit = (1 << (DOT_BITS - 1)) - 1
    least_shift = FACTOR_SHIFT_BASE - SCORE_FRACTION - dot_shift - 1  # one bit stays below the score, for rounding

    rounded = Signed(config.dot_bits - dot_shift).signal()
    operand = Signed(DOT_BITS).signal()
    factor = Signed(MANTISSA_BITS + 1).signal()
    product = Signed(DOT_BITS + MANTISSA_BITS + 1).signal()
    coarse = Signed(config.score_bits + 1).signal()
    fine = Signed(config.score_bits + 1).signal()
    operand_shift = Signal(intbv(0)[FACTOR_SHIFT_BITS:])
    product_shift = Signal(intbv(0)[FACTOR_SHIFT_BITS:])
    fine_shift = Signal(intbv(0)[_FINE_BITS:])

    @always_comb
    def rounding_of_dot():
        rounded.next = dot >> dot_shift

    @always_comb
    def clamp():
        if rounded > limit:
            operand.next = limit
        else:
            operand.next = rounded
        factor.next = mantissa

    product_of_operands = multiplier(clk, operand, factor, product)

    @always(clk.posedge)
    def shifts():
        operand_shift.next = shift
        product_shift.next = operand_shift
        fine_shift.next = product_shift & _FINE

    @always(clk.posedge)
    def shift_coarsely():
        coarse.next = (product >> least_shift) >> (product_shift & _COARSE)

    @always(clk.posedge)
    def shift_finely():
        fine.next = coarse >> fine_shift

    @always(clk.posedge)
    def rounding_of_score():
        score.next = (fine + 1) >> 1

    return rounding_of_dot, clamp, product_of_operands, shifts, shift_coarsely, shift_finely, rounding_of_score
