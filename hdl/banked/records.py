"""What the normalizer has to know about a query besides its sums: a read port of the dispatcher."""

from myhdl import Signal, intbv

from golden.config import KEPT_FRACTION, LENGTH_BITS
from hdl.banked.interfaces import entry_bits

TAG_BITS = 4
RECORD_CYCLES = 3  # from an address at `RecordsRead` to the record


class RecordsRead:
    """The record of the query in ring entry ``entry``, RECORD_CYCLES after the address (docs/banked.md, "records")."""

    def __init__(self, config):
        self.entry = Signal(intbv(0)[entry_bits(config) :])
        self.visible = Signal(intbv(0)[config.key_count_bits :])
        self.kept = Signal(intbv(0)[KEPT_FRACTION + 1 :])
        self.head_first = Signal(False)
        self.head_last = Signal(False)
        self.key_set = Signal(False)
        self.tag = Signal(intbv(0)[TAG_BITS:])
        self.causal = Signal(False)
        self.n_k = Signal(intbv(0)[config.key_count_bits :])
        self.n_q = Signal(intbv(0)[LENGTH_BITS:])
