"""Sum or difference of two signed numbers, whichever is asked for; an accumulator of such."""

from myhdl import ConcatSignal, Signal, always_comb, block, intbv

from hdl.hierarchy import module
from hdl.wires import like


@block
def unlike(one, other, differ):
    """What two flags, of which sign each number has, say to ``add_subtract``."""

    @always_comb
    def compare():
        differ.next = one != other

    return compare


@block
def _sum_or_difference(left, right, subtract, total):
    bits = len(right)
    every_bit = ConcatSignal(*[subtract] * bits)
    right_or_not = Signal(intbv(0)[bits:])
    left_and_one = ConcatSignal(left, True)  # the carry enters through a place below the lowest
    right_and_carry = ConcatSignal(right_or_not, subtract)
    extended = Signal(intbv(0, min=-(2 << bits), max=2 << bits))

    @always_comb
    def complement():
        right_or_not.next = right[bits:] ^ every_bit

    @always_comb
    def add():
        extended.next = left_and_one.signed() + right_and_carry.signed()

    @always_comb
    def round_down():
        total.next = extended[len(total) + 1 : 1].signed()

    return complement, add, round_down


@module
def add_subtract(left, right, subtract, total):
    """``total`` = left + right, or left - right if ``subtract`` (combinational).

    A module of its own for the sake of ECP5, whose carry chains have room for the complement: ``flows/synth.tcl``.

    left, right: signed, equally wide; total: signed, one bit wider, or as wide, and then it wraps around.
    """
    return _sum_or_difference(left, right, subtract, total)


@module
def accumulate(so_far, anew, step, subtract, total):
    """``total`` = so_far + step, or so_far - step if ``subtract`` (combinational); ``anew``: with 0 in place of ``so_far``.

    In an ECP5 carry chain that takes no look-up table either, and the accumulator needs no clear: flip-flops that have one must
    have it in common with the seven others around them.

    so_far, step, total: signed, equally wide.
    """
    kept = like(so_far)

    @always_comb
    def begin():
        if anew:
            kept.next = 0
        else:
            kept.next = so_far

    return begin, _sum_or_difference(kept, step, subtract, total)
