"""A signed number and one of two others."""

from myhdl import Signal, always_comb, intbv

from hdl.hierarchy import module


@module
def add_chosen(base, one, other, use_one, total):
    """``total`` = base + (one if ``use_one`` else other) (combinational).

    A module of its own for the sake of ECP5, whose carry chains have room for the choice: ``flows/synth.tcl``.

    base, total: signed, equally wide (it wraps around); one, other: signed, equally wide, not wider than ``base``.
    """
    chosen = Signal(intbv(0, min=base.min, max=base.max))
    extended = Signal(intbv(0, min=2 * base.min, max=2 * base.max))

    @always_comb
    def choose():
        if use_one:
            chosen.next = one
        else:
            chosen.next = other

    @always_comb
    def add():
        extended.next = base + chosen

    @always_comb
    def wrap():
        total.next = extended[len(total) :].signed()

    return choose, add, wrap
