"""One signal as another, without logic: what a slice, a field or a list of signals can't say by itself."""

from myhdl import ConcatSignal, Signal, always_comb, block, intbv


def like(signal):
    """A new signal of the same type and bounds."""
    if signal._type is bool:
        return Signal(False)
    return Signal(intbv(0, min=signal.min, max=signal.max))


def side_by_side(parts):
    """One signal that holds the unsigned ``parts``, the first one lowest."""
    return ConcatSignal(*reversed(parts)) if len(parts) > 1 else parts[0](len(parts[0]), 0)


@block
def wire(source, target):
    """``target`` is ``source``; a signed number is extended."""

    @always_comb
    def same():
        target.next = source

    return same


@block
def bits_of(number, bits):
    """``bits``: the two's complement of a signed ``number``."""

    @always_comb
    def raw():
        bits.next = number[len(bits) :]

    return raw


@block
def number_of(bits, number):
    """The signed ``number`` whose two's complement is ``bits``."""

    @always_comb
    def signed():
        number.next = bits.signed()

    return signed
