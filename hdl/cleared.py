"""Registers that are cleared unless they count, and words ORed of which one counts.

A register's clear input takes no look-up table. But on ECP5 eight flip-flops have it in common, so that few of them with a
clear of their own keep others away: it is for many bits side by side.
"""

from myhdl import always, always_comb, block, intbv


@block
def cleared_unless(clk, clear, word, held):
    """A register: ``word``, or 0 if ``clear``."""

    @always(clk.posedge)
    def hold():
        if clear:
            held.next = 0
        else:
            held.next = word

    return hold


@block
def number_unless(clk, clear, bits, held):
    """The same for a signed register; ``bits``: two's complement."""

    @always(clk.posedge)
    def hold():
        if clear:
            held.next = 0
        else:
            held.next = bits.signed()

    return hold


@block
def either(words, together):
    """All ``words`` (a list of signals) ORed, combinational."""
    width = len(together)

    @always_comb
    def disjunction():
        ored_so_far = intbv(0)[width:]  # (no signal of the module around may have this name)
        ored_so_far[:] = 0
        for i in range(len(words)):
            ored_so_far[:] = ored_so_far | words[i]
        together.next = ored_so_far

    return disjunction
