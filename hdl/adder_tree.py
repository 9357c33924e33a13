"""Pipelined sum of several signed signals."""

from myhdl import always, block

from golden.config import clog2
from hdl.stream import Signed


def tree_cycles(count: int) -> int:
    """Latency of a tree of ``count`` terms (a power of two)."""
    return clog2(count)


def tree_bits(bits: int, count: int) -> int:
    """Bits of the sum of ``count`` signed terms of ``bits`` bits."""
    return bits + clog2(count)


@block
def adder_tree(clk, terms, total):
    """``total`` is the sum of the ``terms`` of ``tree_cycles(len(terms))`` cycles ago.

    A register behind every adder: of two in a row, Yosys makes carry-save adders in look-up tables, three times as large.

    terms: at least two signed signals, a power of two of them, all equally wide; total: ``tree_bits`` wide.
    """
    adders = []
    while len(terms) > 1:
        pairs = list(zip(terms[::2], terms[1::2]))
        bits = tree_bits(len(terms[0]), 2)
        sums = [Signed(bits).signal() for _ in pairs] if len(pairs) > 1 else [total]
        adders += [_add(clk, a, b, part) for (a, b), part in zip(pairs, sums)]
        terms = sums
    return adders


@block
def _add(clk, a, b, total):
    @always(clk.posedge)
    def add():
        total.next = a + b

    return add
