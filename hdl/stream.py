"""Interfaces: the signals of one port, grouped.

Every stream follows AXI's rule: an item is transferred in each clock cycle in which ``valid`` and ``ready`` are both
high; a source never waits for ``ready`` before it raises ``valid``, and keeps its item until it is taken:

    clock:  _/-\\_/-\\_/-\\_/-\\_
    valid:  __/-----------\\___
    ready:  ______/---\\_/-----     items at the 2nd and 3rd rising edge
"""
from dataclasses import dataclass

from myhdl import Signal, intbv


@dataclass(frozen=True)
class Bits:
    """A field of unsigned integers of ``width`` bits."""
    width: int
    signed = False

    def signal(self):
        return Signal(intbv(0)[self.width:])


@dataclass(frozen=True)
class Signed:
    """A field of two's complement integers of ``width`` bits."""
    width: int
    signed = True

    def signal(self):
        return Signal(intbv(0, min=-(1 << (self.width - 1)), max=1 << (self.width - 1)))


@dataclass(frozen=True)
class Flag:
    """A field of one boolean."""
    width = 1
    signed = False

    def signal(self):
        return Signal(False)


class Stream:
    """A stream of items with the given fields: ``Stream(score=Signed(12), key=Bits(9), last=Flag())``.

    Signals: ``valid``, ``ready`` and one for each field.  ``fields`` maps names to ``Bits``, ``Signed`` or ``Flag``.
    """

    def __init__(self, **fields):
        self.fields = fields
        for name, kind in fields.items():
            setattr(self, name, kind.signal())
        self.valid = Signal(False)
        self.ready = Signal(False)

    def like(self):
        """A new stream with the same fields."""
        return Stream(**self.fields)


class AxiStream:
    """AXI4-Stream; ``tuser`` is one bit."""

    def __init__(self, data_width):
        self.tdata = Bits(data_width).signal()
        self.tlast = Signal(False)
        self.tuser = Signal(False)
        self.tvalid = Signal(False)
        self.tready = Signal(False)


class AxiLite:
    """AXI4-Lite without protection signals.  Addresses are in bytes."""

    def __init__(self, addr_width, data_width=32):
        self.awaddr = Bits(addr_width).signal()
        self.awvalid = Signal(False)
        self.awready = Signal(False)
        self.wdata = Bits(data_width).signal()
        self.wstrb = Bits(data_width // 8).signal()
        self.wvalid = Signal(False)
        self.wready = Signal(False)
        self.bresp = Bits(2).signal()
        self.bvalid = Signal(False)
        self.bready = Signal(False)
        self.araddr = Bits(addr_width).signal()
        self.arvalid = Signal(False)
        self.arready = Signal(False)
        self.rdata = Bits(data_width).signal()
        self.rresp = Bits(2).signal()
        self.rvalid = Signal(False)
        self.rready = Signal(False)
