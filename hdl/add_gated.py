"""Two signed numbers, each of which counts or not; a counter."""

from myhdl import Signal, always_comb, block, intbv

from hdl.delay import register
from hdl.hierarchy import module
from hdl.wires import like, wire


@module
def add_gated(left, use_left, right, use_right, total):
    """``total`` = (left if ``use_left``, else 0) + (right if ``use_right``, else 0), combinational.

    A module of its own for the sake of ECP5, whose carry chains have room for both gates: ``flows/synth.tcl``.

    left, right, total: signed, equally wide (it wraps around).
    """
    gated_left, gated_right = like(left), like(right)
    extended = Signal(intbv(0, min=2 * left.min, max=2 * left.max))

    @always_comb
    def gates():
        gated_left.next = 0
        gated_right.next = 0
        if use_left:
            gated_left.next = left
        if use_right:
            gated_right.next = right

    @always_comb
    def add():
        extended.next = gated_left + gated_right

    @always_comb
    def wrap():
        total.next = extended[len(total) :].signed()

    return gates, add, wrap


@block
def counter(clk, reset, change, count):
    """``count`` (signed): the sum of every cycle's ``change`` since ``reset``, which is in the carry chain, too."""
    runs = Signal(False)
    step, new_count = like(count), like(count)

    @always_comb
    def no_reset():
        runs.next = not reset

    return (
        no_reset, wire(change, step), add_gated(count, runs, step, runs, new_count), register(clk, new_count, count),
    )  # fmt: skip
