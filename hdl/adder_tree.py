"""Pipelined sum of several signed signals."""

from myhdl import always, block

from golden.config import clog2
from hdl.stream import Signed

ARITY = 4  # terms that one stage adds: two adders, one behind the other


def tree_cycles(count: int) -> int:
    """Latency of a tree of ``count`` terms (a power of two): one cycle for every four."""
    return -(-clog2(count) // clog2(ARITY))


def tree_bits(bits: int, count: int) -> int:
    """Bits of the sum of ``count`` signed terms of ``bits`` bits."""
    return bits + clog2(count)


@block
def adder_tree(clk, terms, total):
    """``total`` is the sum of the ``terms`` of ``tree_cycles(len(terms))`` cycles ago.

    terms: at least two signed signals, a power of two of them, all equally wide; total: ``tree_bits`` wide.
    """
    adders = []
    while len(terms) > 1:
        arity = min(ARITY, len(terms))
        groups = [terms[i : i + arity] for i in range(0, len(terms), arity)]
        bits = tree_bits(len(terms[0]), arity)
        sums = [Signed(bits).signal() for _ in groups] if len(groups) > 1 else [total]
        adder = _add_four if arity == ARITY else _add_two
        adders += [adder(clk, *group, part) for group, part in zip(groups, sums)]
        terms = sums
    return adders


@block
def _add_four(clk, a, b, c, d, total):
    @always(clk.posedge)
    def add():
        total.next = (a + b) + (c + d)

    return add


@block
def _add_two(clk, a, b, total):
    @always(clk.posedge)
    def add():
        total.next = a + b

    return add
