"""One signal as another, without logic: what a slice, a field or a list of signals can't say by itself."""

from myhdl import always_comb, block


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
