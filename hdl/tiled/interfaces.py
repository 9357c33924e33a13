"""Interfaces of the tiled array: to its neighbours (docs/architecture.md), and from its control to its rows."""

from myhdl import Signal, intbv

from golden.config import (
    FACTOR_SHIFT_BITS,
    LENGTH_BITS,
    MANTISSA_BITS,
    OPERAND_BITS,
    SCORE_FRACTION,
    Config,
    clog2,
)
from hdl.delay import cleared_register, register
from hdl.hierarchy import module
from hdl.stream import Bits, Flag, Signed, Stream
from hdl.tiled.work import address_bits

RING_BLOCKS = 4  # blocks of the ring of query rows
RING_BITS = clog2(RING_BLOCKS)
TAG_BITS = 4
QUERY_WORD_BYTES = 4


def slot_bits(config: Config) -> int:
    return address_bits(config.slots)


def _of_a_block(config):
    return dict(
        count=Bits(clog2(config.block_queries + 1)),
        number=Bits(RING_BITS),
        head_last=Flag(),
        head_first=Flag(),
        key_set=Flag(),
        tag=Bits(TAG_BITS),
        causal=Flag(),
        residual=Flag(),
        n_k=Bits(config.key_count_bits),
        n_q=Bits(LENGTH_BITS),
    )


def blocks_stream(config: Config) -> Stream:
    """One message a block, when its bitmaps are complete."""
    return Stream(
        tiles=Bits(clog2(config.max_tiles + 1)),
        mantissa=Bits(MANTISSA_BITS),
        shift=Bits(FACTOR_SHIFT_BITS),
        **_of_a_block(config),
    )


def drains_stream(config: Config) -> Stream:
    """One message a block, when its sums are complete."""
    return Stream(**_of_a_block(config))


class ColumnWrites:
    """Writes to the column memories: dimension t of `stream_bytes` neighbouring keys, key 0 lowest."""

    def __init__(self, config: Config):
        self.enable = Signal(False)
        self.group = Signal(intbv(0)[address_bits(config.tile_keys // config.stream_bytes) :])
        self.address = Signal(intbv(0)[2 + clog2(config.max_tiles) + clog2(config.d) :])
        self.data = Signal(intbv(0)[config.stream_bits :])


class QueryWrites:
    """Writes to the query memories of the rows: four dimensions, the lowest in the low byte."""

    def __init__(self, config: Config):
        self.enable = Signal(False)
        self.row = Signal(intbv(0)[address_bits(config.rows) :])
        self.address = Signal(intbv(0)[query_address_bits(config) :])
        self.data = Signal(intbv(0)[QUERY_WORD_BYTES * OPERAND_BITS :])


def query_address_bits(config: Config) -> int:
    """Address {ring block, slot, word} of a row's query memory."""
    return RING_BITS + slot_bits(config) + clog2(config.d // QUERY_WORD_BYTES)


class SumsRead:
    """Read port of the sums: dimension `dimension` of slot `slot` of the `drain_rows` rows of group `row_group`.

    A request counts in a cycle in which `granted` is high too; `granted` is low while SpMM reads the sums.

        clock:       /-\\_/-\\_/-\\_/-\\_/-\\_/-\\_/-\\_
        request:     /---\\_______________________
        granted:     /---\\_______________________
        numerators:  ____________________/---\\___   SUMS_CYCLES (5) later; so are denominators
    """

    def __init__(self, config: Config):
        self.request = Signal(False)
        self.granted = Signal(False)
        self.parity = Signal(False)
        self.slot = Signal(intbv(0)[slot_bits(config) :])
        self.dimension = Signal(intbv(0)[clog2(config.d) :])
        self.row_group = Signal(intbv(0)[address_bits(config.rows // config.drain_rows) :])
        self.numerators = [Signed(config.numerator_bits).signal() for _ in range(config.drain_rows)]
        self.denominators = [Bits(config.denominator_bits).signal() for _ in range(config.drain_rows)]


class Burst:
    """`length` cycles in a row in which `active` is high and `index` counts from 0."""

    def __init__(self, length: int):
        self.length = length
        self.active = Signal(False)
        self.first = Signal(False)
        self.last = Signal(False)
        self.index = Signal(intbv(0)[address_bits(length) :])


BURSTS_ON_THEIR_WAY = ("scored", "exponent", "pushed")
"""Of `RowControl`: bursts that come to the rows by a register more than all else, as they have the time."""


class RowControl:
    """What the control tells all rows alike, and each row a copy of its own (`hand_down`), which makes the cycles.

    Stages and cycles are those of `hdl.tiled.timing`, but BURSTS_ON_THEIR_WAY leave the control a cycle earlier.

    Attributes:
        begin: the next cycle is cycle 0 of an SDDMM phase, ...
        round: ... for a round (else the phase runs empty).
        take: cycle 2: the lanes take their inputs from the work item, which then goes.
        advance: end-of-tile marks go.
        swap: cycle 2 of the SpMM phase: the lanes return to the inputs of the round before.
        ring: ring block of the round in SDDMM.
        word: stage 0, word of the query that holds the dimension. byte: stage 2, the dimension's place in it.
        value: stage 4, operand A is the probability.
        accumulate: stage 6, a product belongs to a score. anew: and is its first one.
        read, read_dimension, write, write_dimension: sums, stages `sum_read` and `sum_write`.
        scale: the round's dot products are complete in the next cycle. mantissa, shift: its factor, for the scaler.
        chosen: lane whose dot product enters the scaler. scored: lane whose score leaves it.
        exponent: lane whose exponential is begun. pushed: lane whose probability is shifted in.
    """

    def __init__(self, config: Config):
        dimension_bits = clog2(config.d)
        self.begin = Signal(False)
        self.round = Signal(False)
        self.take = Signal(False)
        self.advance = Signal(False)
        self.swap = Signal(False)
        self.ring = Signal(intbv(0)[RING_BITS:])
        self.word = Signal(intbv(0)[dimension_bits - clog2(QUERY_WORD_BYTES) :])
        self.byte = Signal(intbv(0)[clog2(QUERY_WORD_BYTES) :])
        self.value = Signal(False)
        self.anew = Signal(False)
        self.accumulate = Signal(False)
        self.read = Signal(False)
        self.read_dimension = Signal(intbv(0)[dimension_bits:])
        self.write = Signal(False)
        self.write_dimension = Signal(intbv(0)[dimension_bits:])
        self.scale = Signal(False)
        self.mantissa = Signed(MANTISSA_BITS + 1).signal()
        self.shift = Signal(intbv(0)[FACTOR_SHIFT_BITS:])
        self.chosen = Burst(config.lanes)
        self.scored = Burst(config.lanes)
        self.exponent = Burst(config.lanes)
        self.pushed = Burst(config.lanes)

    def flags(self):
        return [
            self.begin, self.round, self.take, self.advance, self.swap, self.value, self.anew, self.accumulate, self.read,
            self.write, self.scale, *self.burst_flags(),
        ]  # fmt: skip

    def burst_flags(self):
        bursts = [self.chosen, self.scored, self.exponent, self.pushed]
        return [flag for burst in bursts for flag in (burst.active, burst.first, burst.last)]

    def numbers(self):
        return [
            self.ring, self.word, self.byte, self.read_dimension, self.write_dimension, self.mantissa, self.shift,
            self.chosen.index, self.scored.index, self.exponent.index, self.pushed.index,
        ]  # fmt: skip


@module
def hand_down(clk, reset, above, below):
    """`below` (`RowControl`) is `above`, a cycle later."""
    flags = [cleared_register(clk, reset, source, target) for source, target in zip(above.flags(), below.flags())]
    numbers = [register(clk, source, target) for source, target in zip(above.numbers(), below.numbers())]
    return flags, numbers


class RoundRecord:
    """One row's part of a round: `active` unless the row idles; `address` is {block parity, slot}."""

    def __init__(self, config: Config):
        self.active = Signal(False)
        self.first = Signal(False)
        self.address = Signal(intbv(0)[1 + slot_bits(config) :])


def dot_signal(config: Config):
    """Signed dot product of a query and a key."""
    return Signed(config.dot_bits).signal()


def operand_signal():
    """One int8 operand."""
    return Signed(OPERAND_BITS).signal()


def probability_signal(config: Config):
    """Unsigned, 11 fraction bits."""
    return Bits(config.probability_bits).signal()


def product_signal(config: Config):
    """Signed product of an operand with an operand or a probability, which is 1.0 at most."""
    return Signed(config.probability_bits + OPERAND_BITS - 1).signal()


def rescale_signal(config: Config):
    """Places by which a query's sums are shifted right when its maximum grows; more leave nothing of them."""
    return Bits(clog2(config.numerator_bits)).signal()


def score_signal(config: Config):
    """Signed score in log2 units, 7 fraction bits."""
    assert config.score_bits > SCORE_FRACTION
    return Signed(config.score_bits).signal()
