"""The ring of finished rows: in out of order, out in order."""

from myhdl import ConcatSignal, Signal, always, always_comb, intbv

from golden.config import clog2
from hdl.banked.interfaces import entry_bits
from hdl.delay import port_register, register
from hdl.hierarchy import module
from hdl.memory import ram, ram_with_register
from hdl.wires import side_by_side


class RingWrite:
    """A word of M numerators, into one bank; address is {entry, word / banks}."""

    def __init__(self, config):
        self.enable = Signal(False)
        self.address = Signal(intbv(0)[ring_address_bits(config) :])
        self.data = Signal(intbv(0)[config.lane_width * config.numerator_bits :])


class RowComplete:
    """All words of the row of ``entry`` are written, in a cycle in which it is ``active``; its denominator."""

    def __init__(self, config):
        self.active = Signal(False)
        self.entry = Signal(intbv(0)[entry_bits(config) :])
        self.denominator = Signal(intbv(0)[config.denominator_bits :])


STATUS_CYCLES = 2
"""from the entry of ``RowStatus`` to its answer"""


class RowStatus:
    """Read port: whether the row of ``entry`` is complete, and its denominator, STATUS_CYCLES later.

    A pulse of ``take`` makes ``entry`` incomplete again, two cycles later, until its next row is complete.
    """

    def __init__(self, config):
        self.entry = Signal(intbv(0)[entry_bits(config) :])
        self.take = Signal(False)
        self.complete = Signal(False)
        self.denominator = Signal(intbv(0)[config.denominator_bits :])


def ring_address_bits(config):
    """Of a bank: {entry, word / banks}."""
    return entry_bits(config) + clog2(config.slot_cycles // config.drain_rows)


@module
def raw_ring(clk, reset, writes, completed, status, numerators, config):
    """Rows of numerators, by ring entry, with a flag each for those that are complete.

    writes: list of ``RingWrite``, one a bank; bank b of B holds the words w with w mod B = b. completed: ``RowComplete``.
    status: ``RowStatus``. numerators: ``hdl.normalizer.NumeratorsRead``, whose ``group`` is the entry: B words side by side.
    """
    bank_depth = 1 << ring_address_bits(config)
    entries = 1 << entry_bits(config)

    address = ConcatSignal(numerators.group, numerators.word)
    word_bits = config.lane_width * config.numerator_bits
    words = [Signal(intbv(0)[word_bits:]) for _ in writes]
    # Movers and banks are far apart: written a cycle later, and well before anybody has seen the row's flag.
    written = [RingWrite(config) for _ in writes]
    on_the_way = [
        port_register(clk, source, target, ("enable", "address", "data"))
        for source, target in zip(writes, written, strict=True)
    ]
    banks = [
        ram_with_register(clk, write.enable, write.address, write.data, address, word, depth=bank_depth)
        for write, word in zip(written, words, strict=True)
    ]
    all_words = side_by_side(words)
    # The third cycle of a read.
    read = register(clk, all_words, numerators.data)

    entry = Signal(intbv(0)[entry_bits(config) :])  # whoever asks is far away
    denominators = ram(
        clk, completed.active, completed.entry, completed.denominator, entry, status.denominator, depth=entries
    )
    complete, set_flag, clear_flag = [Signal(intbv(0)[entries:]) for _ in range(3)]
    # Flags go a cycle later: an entry isn't looked at again before its next row is dispatched.
    taken = Signal(False)

    @always_comb
    def changes():
        set_flag.next = 0
        clear_flag.next = 0
        if completed.active:
            set_flag.next = 1 << completed.entry
        if taken:
            clear_flag.next = 1 << entry

    @always(clk.posedge)
    def asked():
        taken.next = status.take and not reset
        entry.next = status.entry

    @always(clk.posedge)
    def complete_rows():
        if __debug__:
            assert not (completed.active and complete[completed.entry]), "a second row for an entry in use"
        if reset:
            complete.next = 0
        else:
            complete.next = (complete | set_flag) & ~clear_flag
        status.complete.next = complete[entry]

    return on_the_way, banks, read, denominators, changes, asked, complete_rows
