"""Selection among a few words: multiplexers, and a rotation by whole words."""

from myhdl import Signal, always, always_comb, block, concat, intbv

from golden.config import clog2
from hdl.delay import register
from hdl.wires import wire


@block
def _either(low, high, select, chosen):
    @always_comb
    def multiplexer():
        if select:
            chosen.next = high
        else:
            chosen.next = low

    return multiplexer


@block
def choose(items, index, chosen):
    """``chosen = items[index]``, combinational: a tree of two-input multiplexers.

    items: unsigned signals (or slices), a power of two of them; ``index`` has at least as many bits as they need.
    """
    parts, bit = [], 0
    while len(items) > 1:
        chosen_here = [Signal(intbv(0)[len(chosen) :]) for _ in items[::2]]
        parts += [
            _either(items[2 * i], items[2 * i + 1], index(bit), signal) for i, signal in enumerate(chosen_here)
        ]
        items, bit = chosen_here, bit + 1
    return parts, wire(items[0], chosen)


@block
def choose_of_two(clk, low, high, select, held):
    """A register: ``high`` if ``select``, else ``low``."""

    @always(clk.posedge)
    def multiplexer():
        if select:
            held.next = high
        else:
            held.next = low

    return multiplexer


@block
def choose_a_cycle_later(clk, items, index, chosen):
    """``chosen = items[index]`` of the cycle before: registers halve the number of words, and multiplexers choose behind them.

    items: unsigned signals (or slices), any number of them.
    """
    held = [Signal(intbv(0)[len(chosen) :]) for _ in items[::2]]
    parts = [choose_of_two(clk, *pair, index(0), word) for *pair, word in zip(items[::2], items[1::2], held)]
    if len(items) % 2:
        parts.append(register(clk, items[-1], held[-1]))
    if len(held) == 1:
        return parts, wire(held[0], chosen)
    bits = clog2(len(held))
    late = Signal(intbv(0)[bits:])
    held += held[-1:] * ((1 << bits) - len(held))
    return parts, register(clk, index(1 + bits, 1), late), choose(held, late, chosen)


@block
def _rotate_by(word, select, rotated, bits):
    width = len(word)

    @always_comb
    def rotation():
        if select:
            rotated.next = concat(word[bits:], word[width:bits])
        else:
            rotated.next = word

    return rotation


@block
def rotate(word, amount, rotated, places):
    """Word ``i`` of ``rotated`` is word ``(i + amount) mod places`` of ``word``, combinational.

    word, rotated: ``places`` (a power of two) words of equal width, side by side, word 0 lowest.
    """
    parts, width, distance = [], len(word), len(word) // places
    levels = (places - 1).bit_length()
    for level in range(levels):
        turned = Signal(intbv(0)[width:])
        parts.append(_rotate_by(word, amount(level), turned, distance << level))
        word = turned
    return parts, wire(word, rotated)
