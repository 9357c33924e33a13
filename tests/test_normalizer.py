"""Rows of O are those of the golden normalizer, whatever the array, the loader and the sink do in between."""

import random
from dataclasses import dataclass

import numpy as np
import pytest
from myhdl import Signal, block, instance

from golden import normalizer as golden
from golden.config import CONFIGS, KEPT_FRACTION, Config
from golden.head import visible_keys
from hdl.drain import SUMS_CYCLES, RecordsRead
from hdl.normalizer import output_rows_stream
from hdl.tiled.interfaces import SumsRead, drains_stream
from hdl.tiled.normalizer import tiled_normalizer
from hdl.visible_sum import ValueSumsRead, ValueWrites
from tests.cosimulation import ENGINES, RESET_CYCLES, collect, make, run

TINY = CONFIGS["tiny_tiled"]
ONE_ROW_GROUP_FOUR_CYCLES = Config(
    "square", rows=4, slots=2, lanes=4, tile_keys=16, span=2, d=16, max_keys=32, stream_bits=128,
    predict_queries=4, predict_keys=4, predict_width=2, softmax_lanes=1, drain_rows=4,
)  # fmt: skip
BEAT_A_STEP = Config(
    "wide", rows=8, slots=1, lanes=4, tile_keys=16, span=2, d=64, max_keys=32, stream_bits=128,
    predict_queries=4, predict_keys=4, predict_width=2, softmax_lanes=1, drain_rows=8,
)  # fmt: skip
LONG = TINY.replace(name="long", rows=4, slots=1, max_keys=2048)


@dataclass
class Head:
    """What the array, the bitmaps and the loader know about a head when the normalizer gets it."""

    numerator: np.ndarray
    denominator: np.ndarray
    kept: np.ndarray
    values: np.ndarray
    causal: bool
    sent: int  # queries that arrive: fewer than n_q if the head was cut short

    @property
    def n_q(self):
        return len(self.numerator)

    @property
    def visible(self):
        return visible_keys(self.n_q, len(self.values), self.causal)

    def rows(self):
        sums = self.values.astype(np.int64).cumsum(axis=0)[self.visible - 1]
        return golden.normalize(self.numerator, self.denominator, sums, self.visible, self.kept)[: self.sent]


def random_head(generator, config, n_q, n_k, causal, sent=None, extreme=False, residual=True):
    largest = config.max_keys << 11
    denominator = np.minimum(np.exp2(generator.uniform(10, np.log2(largest) + 0.1, n_q)).astype(np.int64), largest)
    bound = 128 * denominator[:, None]
    numerator = generator.integers(-bound, bound + 1, (n_q, config.d))
    values = generator.integers(-128, 128, (n_k, config.d)).astype(np.int8)
    kept = generator.integers(0, (1 << KEPT_FRACTION) + 1, n_q)
    if extreme:
        numerator = np.where(generator.random((n_q, config.d)) < 0.7, np.sign(numerator) * bound, numerator)
        beyond = (1 << (config.numerator_bits - 1)) - 1
        numerator = np.where(generator.random((n_q, config.d)) < 0.1, np.sign(numerator) * beyond, numerator)
        denominator = np.where(generator.random(n_q) < 0.3, generator.choice([1024, 2047, largest], n_q), denominator)
        values[:, ::2] = -128
        values[:, 1::4] = 127
        kept = generator.choice([0, 1, (1 << KEPT_FRACTION) - 1, 1 << KEPT_FRACTION], n_q)
    if config.array == "banked":  # nothing is rescaled there
        numerator = np.clip(numerator, -128 * denominator[:, None], 128 * denominator[:, None])
    if not residual:
        kept[:] = 1 << KEPT_FRACTION
    return Head(numerator, denominator, kept, values, causal, sent or n_q)


def blocks_of(heads, config):
    """(head number, first query, queries) of all blocks."""
    size = config.block_queries
    return [
        (i, start, min(size, head.sent - start)) for i, head in enumerate(heads) for start in range(0, head.sent, size)
    ]


@block
def value_loader(clk, heads, config, values, value_sums, loaded, received_beats, seed, stall):
    """V of each head as soon as the head before the last one is through; puts its number into ``loaded`` then."""
    generator = random.Random(seed + 1)
    total_memory = {}  # key set: sums

    @instance
    def loader():
        for _ in range(RESET_CYCLES + 1):
            yield clk.posedge
        for i, head in enumerate(heads):
            while sum(beat["head_last"] for beat in received_beats) < i - 1:
                yield clk.posedge
            for key, row in enumerate(head.values):
                for beat in range(config.row_beats):
                    while generator.random() < stall:
                        values.enable.next = False
                        yield clk.posedge
                    word = row[beat * config.stream_bytes :][: config.stream_bytes]
                    values.enable.next = True
                    values.address.next = ((i % 2) * config.max_keys + key) * config.row_beats + beat
                    values.data.next = int.from_bytes(word.tobytes(), "little")
                    yield clk.posedge
            values.enable.next = False
            total_memory[i % 2] = head.values.astype(np.int64).sum(axis=0)
            yield clk.posedge
            loaded.append(i)

    @instance
    def totals():
        while True:
            yield clk.posedge
            key_set, beat = divmod(int(value_sums.address), config.row_beats)
            word = 0
            if key_set in total_memory:
                for j, value in enumerate(total_memory[key_set][beat * config.stream_bytes :][: config.stream_bytes]):
                    word |= (int(value) & ((1 << config.value_sum_bits) - 1)) << (j * config.value_sum_bits)
            value_sums.data.next = word

    return loader, totals


@block
def surroundings(clk, heads, config, ports, granted, received_beats, seed, stall):
    """Array, bitmaps and loader: each gives as late as it may, and spoils what it may as soon as it may."""
    drains, sums, records, values, value_sums, drained = ports
    generator = random.Random(seed)
    blocks = blocks_of(heads, config)
    sum_memory = {}  # (block mod 2, row, slot): (numerators, denominator)
    record_memory = {}  # (block mod 4, slot, row): (visible, kept)
    loaded, offered, finished = [], [0], [0]
    loader = value_loader(clk, heads, config, values, value_sums, loaded, received_beats, seed, stall)

    def noise_record():
        return generator.randrange(config.max_keys + 1), generator.randrange((1 << KEPT_FRACTION) + 1)

    def noise_sums():
        return [generator.randrange(-1000, 1000) for _ in range(config.d)], generator.randrange(4096)

    @instance
    def array():
        for _ in range(RESET_CYCLES + 1):
            yield clk.posedge
        for number, (i, start, count) in enumerate(blocks):
            head = heads[i]
            while len(loaded) <= i or finished[0] < number - 1 or generator.random() < stall:
                yield clk.posedge
            for place in range(config.block_queries):
                row, slot = place % config.rows, place // config.rows
                query = start + place
                here = place < count
                sum_memory[number % 2, row, slot] = (
                    ([int(x) for x in head.numerator[query]], int(head.denominator[query])) if here else noise_sums()
                )
                record_memory[number % 4, slot, row] = (
                    (int(head.visible[query]), int(head.kept[query])) if here else noise_record()
                )
            message = dict(
                count=count, number=number % 4, head_last=start + count == head.sent, head_first=start == 0,
                key_set=i % 2, tag=i % 16, causal=head.causal, residual=1, n_k=len(head.values), n_q=head.n_q,
            )  # fmt: skip
            drains.valid.next = True
            for name, value in message.items():
                getattr(drains, name).next = value
            offered[0] += 1
            yield clk.posedge
            while not drains.ready:
                yield clk.posedge
            drains.valid.next = False

    @instance
    def drained_blocks():
        while True:
            yield clk.posedge
            if drained:
                number = finished[0]
                assert offered[0] > number
                finished[0] += 1
                for row in range(config.rows):
                    for slot in range(config.slots):
                        sum_memory[number % 2, row, slot] = noise_sums()
                        record_memory[number % 4, slot, row] = noise_record()

    @instance
    def read_sums():
        pipeline = [None] * SUMS_CYCLES
        cycle = 0
        while True:
            sums.granted.next = granted(cycle, generator)
            yield clk.posedge
            cycle += 1
            answer = None
            if sums.request and sums.granted:
                first_row = int(sums.row_group) * config.drain_rows
                answer = [
                    (entry[0][int(sums.dimension)], entry[1])
                    for entry in (
                        sum_memory[int(sums.parity), first_row + j, int(sums.slot)] for j in range(config.drain_rows)
                    )
                ]
            pipeline = [answer, *pipeline[:-1]]
            for j in range(config.drain_rows):
                numerator, denominator = pipeline[-1][j] if pipeline[-1] else (generator.randrange(-9, 9), 1)
                sums.numerators[j].next = numerator
                sums.denominators[j].next = denominator

    @instance
    def read_records():
        while True:
            yield clk.posedge
            number, slot = divmod(int(records.address), max(2, config.slots))
            for row in range(config.rows):
                visible, kept = record_memory.get((number, slot, row)) or noise_record()
                records.visible[row].next = visible
                records.kept[row].next = kept

    return loader, array, drained_blocks, read_sums, read_records


def sometimes(probability):
    return lambda cycle, generator: generator.random() < probability


def half_of_each_round(config):
    """As the array grants while it computes: during SDDMM."""
    return lambda cycle, generator: cycle % (2 * config.d) < config.d


def normalized(engine, heads, config, granted=sometimes(1.0), stall=0.0, sink_stall=None, seed=0, max_cycles=20000):
    """Rows of all heads as the normalizer makes them, and the cycles it took."""
    clk, reset = Signal(False), Signal(False)
    ports = (drains_stream(config), SumsRead(config), RecordsRead(config), ValueWrites(config), ValueSumsRead(config),
             Signal(False))  # fmt: skip
    drains, sums, records, values, value_sums, drained = ports
    rows_out = output_rows_stream(config)
    beats = []
    expected_beats = sum(head.sent for head in heads) * config.output_beats
    cycles = run(
        clk, reset,
        [make(engine, tiled_normalizer, clk, reset, drains, sums, records, values, value_sums, rows_out, drained, config=config),
         surroundings(clk, heads, config, ports, granted, beats, seed, stall),
         collect(clk, rows_out, beats, stall_probability=stall if sink_stall is None else sink_stall, seed=seed)],
        until=lambda: len(beats) == expected_beats, max_cycles=max_cycles)  # fmt: skip
    return beats, cycles


def check(beats, heads, config):
    position = 0
    for i, head in enumerate(heads):
        expected = head.rows()
        for query, row in enumerate(expected):
            here = beats[position : position + config.output_beats]
            position += config.output_beats
            data = b"".join(beat["data"].to_bytes(config.stream_bytes, "little") for beat in here)
            assert np.frombuffer(data, np.int16).tolist() == row.tolist(), f"head {i}, query {query}"
            last = [index == config.output_beats - 1 for index in range(config.output_beats)]
            assert [beat["row_last"] for beat in here] == last
            assert [beat["head_last"] for beat in here] == [end and query == head.sent - 1 for end in last]
            assert {(beat["tag"], beat["key_set"]) for beat in here} == {(i % 16, i % 2)}


def mixed_heads(generator, config):
    size, keys = config.block_queries, config.max_keys
    return [
        random_head(generator, config, 1, 1, causal=False),
        random_head(generator, config, size + 3, size + 3, causal=True),
        random_head(generator, config, size - 1, 5, causal=False, extreme=True),
        random_head(generator, config, 3, min(keys, 20), causal=True),
        random_head(generator, config, 13, 17, causal=True),
        random_head(generator, config, 1, min(keys, 64), causal=True, extreme=True),
        random_head(generator, config, 2 * size, 7, causal=False, residual=False),
        random_head(generator, config, 9, 18, causal=True, sent=4),
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_heads_back_to_back_are_the_golden_rows(engine, stall):
    heads = mixed_heads(np.random.default_rng(1), TINY)
    beats, _ = normalized(engine, heads, TINY, granted=sometimes(1 - stall), stall=stall, seed=2)
    check(beats, heads, TINY)


@pytest.mark.parametrize("config", [ONE_ROW_GROUP_FOUR_CYCLES, BEAT_A_STEP, LONG], ids=lambda config: config.name)
def test_other_shapes(config):
    generator = np.random.default_rng(3)
    heads = mixed_heads(generator, config)
    if config is LONG:  # leading ones of the visible keys beyond the multiplier's: rounded and saturated
        heads.append(random_head(generator, config, 2, 1030, causal=True, extreme=True))
    beats, _ = normalized("icarus", heads, config, granted=sometimes(0.5), stall=0.2, seed=4)
    check(beats, heads, config)


def test_a_sink_that_hardly_takes_anything_gets_everything():
    heads = mixed_heads(np.random.default_rng(9), TINY)[1:3]
    beats, _ = normalized("icarus", heads, TINY, sink_stall=0.95, seed=10)
    check(beats, heads, TINY)


def test_extremes_saturate_and_never_wrap():
    generator = np.random.default_rng(5)
    heads = [random_head(generator, TINY, 40, 40, causal=bool(i % 2), extreme=True) for i in range(4)]
    beats, _ = normalized("icarus", heads, TINY, seed=6)
    check(beats, heads, TINY)


def test_a_full_block_of_the_default_core_drains_in_the_rounds_that_make_the_next():
    config = CONFIGS["small_tiled"]
    generator = np.random.default_rng(7)
    heads = [random_head(generator, config, 64, 64, causal=True), random_head(generator, config, 128, 30, causal=False)]
    beats, cycles = normalized("icarus", heads, config, granted=half_of_each_round(config), seed=8)
    check(beats, heads, config)
    groups = 192 // config.drain_rows
    loading = 94 * config.row_beats
    assert cycles <= groups * 2 * config.d + loading + 120
