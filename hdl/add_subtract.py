"""Sum or difference of two signed numbers, whichever is asked for."""

from myhdl import ConcatSignal, Signal, always_comb, block, intbv

from hdl.hierarchy import module


@block
def unlike(one, other, differ):
    """What two flags, of which sign each number has, say to ``add_subtract``."""

    @always_comb
    def compare():
        differ.next = one != other

    return compare


@module
def add_subtract(left, right, subtract, total):
    """``total`` = left + right, or left - right if ``subtract`` (combinational).

    A module of its own for the sake of ECP5, whose carry chains have room for the complement: ``flows/synth.tcl``.

    left, right: signed, equally wide; total: signed, one bit wider, or as wide, and then it wraps around.
    """
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
