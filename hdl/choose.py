"""Selection among a few words: a multiplexer, and a rotation by whole words."""

from myhdl import Signal, always_comb, block, concat, intbv

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
