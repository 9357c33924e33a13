"""Interfaces of the banked array: to its neighbours (docs/banked.md), and inside a cluster."""

from myhdl import Signal, intbv

from golden.config import (
    FACTOR_SHIFT_BITS,
    MANTISSA_BITS,
    OPERAND_BITS,
    PROBABILITY_FRACTION,
    Config,
    clog2,
)
from hdl.stream import Bits, Flag, Signed, Stream


def address_bits(entries: int) -> int:
    """Bits of an address; at least one, as a signal has."""
    return max(1, clog2(entries))


def slot_bits(config: Config) -> int:
    return address_bits(config.slots)


SUM_SLOTS = 2
"""Queries whose values a cluster adds up at a time, the oldest ones: so many sums a lane keeps. (Sums for all queries in
flight measured no better: docs/banked.md.)"""


def word_bits(config: Config) -> int:
    """Of a word of `lane_width` dimensions in its row."""
    return clog2(config.slot_cycles)


def key_address_bits(config: Config) -> int:
    """Of a lane's key."""
    return address_bits(config.lane_keys)


def entry_bits(config: Config) -> int:
    """Of a ring entry."""
    return address_bits(config.output_ring)


def product_bits(config: Config) -> int:
    """Signed product of a probability and an element of V."""
    return config.probability_bits + OPERAND_BITS


def row_sum_bits(config: Config) -> int:
    """Signed sum of probability times value over all keys."""
    return PROBABILITY_FRACTION + clog2(config.max_keys) + OPERAND_BITS


def queries_stream(config: Config) -> Stream:
    """dispatcher → cluster: one item a query."""
    return Stream(
        entry=Bits(entry_bits(config)),
        key_set=Flag(),
        mantissa=Bits(MANTISSA_BITS),
        shift=Bits(FACTOR_SHIFT_BITS),
    )


def row_stream(config: Config) -> Stream:
    """dispatcher → cluster: `row_beats` beats a query."""
    return Stream(data=Bits(config.stream_bits))


def words_stream(config: Config) -> Stream:
    """dispatcher → cluster: the bitmap of a query, without words that are zero."""
    return Stream(word=Bits(config.tile_keys), index=Bits(address_bits(config.max_tiles)), last=Flag())


def sums_stream(config: Config) -> Stream:
    """cluster → movers: `slot_cycles` items a query.

    Once a query's first item is on offer, each of the others is so a cycle after the one before it was taken; nothing is in the cycle
    after the last one. `numerators` are no field: they lie all over the array, and are a cycle behind, those of the item on offer
    in the cycle before.
    """
    stream = Stream(
        entry=Bits(entry_bits(config)),
        word=Bits(word_bits(config)),
        denominator=Bits(config.denominator_bits),
        last=Flag(),
    )
    stream.numerators = Signal(intbv(0)[config.lane_width * config.numerator_bits :])
    return stream


class KeyPort:
    """A lane's read port: `data` (`lane_width` bytes, the lowest dimension in the low byte) is there KEY_CYCLES (4) cycles
    after `address` {key, word} and `key_set`, out of K for addresses of a score phase and of V for those of a value phase.
    `active`: the lane will use it (in other cycles the memories may be written)."""

    def __init__(self, config: Config):
        self.active = Signal(False)
        self.address = Signal(intbv(0)[key_address_bits(config) + word_bits(config) :])
        self.key_set = Signal(False)
        self.data = Signal(intbv(0)[config.lane_width * OPERAND_BITS :])


class KeyIndex:
    """A query's key in a lane."""

    def __init__(self, config: Config):
        self.slot = Signal(intbv(0)[slot_bits(config) :])
        self.key_set = Signal(False)
        self.key = Signal(intbv(0)[key_address_bits(config) :])


class Record(KeyIndex):
    """The same, or nothing (not `active`)."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.active = Signal(False)


class Event:
    """Something happens to a query in a cycle in which it is `active`."""

    def __init__(self, config: Config):
        self.active = Signal(False)
        self.slot = Signal(intbv(0)[slot_bits(config) :])


class ScoredKey(Event):
    """A query's key of which a score was made (not `active`: none). (Its key set is that of the slot.)"""

    def __init__(self, config: Config):
        super().__init__(config)
        self.key = Signal(intbv(0)[key_address_bits(config) :])


class ScoreRecord(ScoredKey):
    """A score of the lane `lane`, signed, log2 units, 7 fraction bits."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.lane = Signal(intbv(0)[address_bits(config.lanes) :])
        self.score = Signed(config.score_bits).signal()


class RowWrite:
    """Write port of the lanes' Q memories: `address` {slot, word}."""

    def __init__(self, config: Config):
        self.enable = Signal(False)
        self.address = Signal(intbv(0)[slot_bits(config) + word_bits(config) :])
        self.data = Signal(intbv(0)[config.lane_width * OPERAND_BITS :])


class Burst:
    """N cycles in a row in which `active` is high and `lane` counts from 0."""

    def __init__(self, config: Config):
        self.active = Signal(False)
        self.lane = Signal(intbv(0)[address_bits(config.lanes) :])


class Control:
    """What a cluster tells all its lanes alike. Stages are those of `hdl.banked.timing`.

    Attributes:
        to_score, to_value: last cycle before a score phase, a value phase.
        word: stage 0.
        value_is_next: the cycle before the operands are selected is one of a value phase.
        value_is_near: `value_is_next`, a cycle earlier.
        value_is_addressed: `value_is_near`, a cycle earlier (stage 1).
        drain, drain_sum: these sums drain; from a score phase's first cycle to the value phase's last one.
        total_first, total_last, total_word: stage `lanes_total_stage`: in a value phase; last word of a phase; the word.
        total_first_is_next: `total_first`, a cycle earlier.
        accumulate, restart: products that were added up belong to a score; they are its first ones.
    """

    def __init__(self, config: Config):
        self.to_score = Signal(False)
        self.to_value = Signal(False)
        self.word = Signal(intbv(0)[word_bits(config) :])
        self.value_is_next = Signal(False)
        self.value_is_near = Signal(False)
        self.value_is_addressed = Signal(False)
        self.drain = Signal(False)
        self.drain_sum = Signal(intbv(0)[clog2(SUM_SLOTS) :])
        self.total_first_is_next = Signal(False)
        self.total_first = Signal(False)
        self.total_last = Signal(False)
        self.total_word = Signal(intbv(0)[word_bits(config) :])
        self.accumulate = Signal(False)
        self.restart = Signal(False)


def dot_signal(config: Config):
    """Signed dot product of a query and a key."""
    return Signed(config.dot_bits).signal()


def probability_signal(config: Config):
    """Unsigned, 11 fraction bits."""
    return Bits(config.probability_bits).signal()


def product_signal(config: Config):
    """Signed product of a probability and an element of V, 11 fraction bits."""
    return Signed(product_bits(config)).signal()


def row_sum_signal(config: Config):
    """Signed sum of probability times value, 11 fraction bits."""
    return Signed(row_sum_bits(config)).signal()


class CountEvent(Event):
    """So many keys of a query."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.count = Signal(intbv(0)[clog2(config.lanes + 1) :])
