"""Selection without multiplexers: registers that are cleared unless they are the chosen one, and all of them ORed.

A register's clear input takes no look-up table, and one of four inputs ORs four words, where a multiplexer of four
takes two or three a bit. The price is a register for each word.
"""

from myhdl import Signal, always, always_comb, block, intbv


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
def only(clk, clears, words, held):
    """Registers for all of the ``words``, of which those stay 0 whose bit of ``clears`` is set."""
    return [cleared_unless(clk, clears(i), word, held[i]) for i, word in enumerate(words)]


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


@block
def chosen(clk, clears, words, word):
    """The one of the ``words`` whose bit of ``clears`` is 0, a cycle later."""
    held = [Signal(intbv(0)[len(word) :]) for _ in words]
    return only(clk, clears, words, held), either(held, word)
