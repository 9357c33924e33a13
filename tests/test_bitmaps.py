"""From bits to work items, messages and records: what golden.packer makes of the same masks, in the contract's order."""

import random
from collections import deque
from dataclasses import dataclass

import numpy as np
import pytest
from myhdl import Signal, block, instance

from golden.config import CONFIGS
from golden.head import visible_keys
from hdl.comparator import bits_stream, results_stream
from hdl.drain import RecordsRead
from hdl.tiled.bitmaps import bitmaps
from hdl.group_starts import GroupStarts
from hdl.tiled.interfaces import RING_BLOCKS, blocks_stream
from hdl.tiled.work import work_items_stream
from tests.cosimulation import ENGINES, RESET_CYCLES, _noise, collect, make, run
from tests.test_packer import expected_items, readable

TINY = CONFIGS["tiny_tiled"]
HEAD_FIELDS = ("mantissa", "shift", "key_set", "tag", "causal", "residual", "n_k", "n_q")


@dataclass
class Head:
    """A head as the comparator tells of it: `mask` [n_q, n_k], `kept` [n_q], and `fields`, those that travel on."""

    mask: np.ndarray
    kept: np.ndarray
    visible: np.ndarray
    fields: dict


def random_head(config, number, n_q, n_k, causal, density, generator):
    visible = visible_keys(n_q, n_k, causal)
    mask = generator.random((n_q, n_k)) < density
    mask &= np.arange(n_k) < visible[:, None]
    mask[np.arange(n_q), generator.integers(visible)] = True  # no row is empty
    fields = dict(
        mantissa=int(generator.integers(1 << 15, 1 << 16)), shift=int(generator.integers(32)), key_set=number % 2,
        tag=number % 16, causal=int(causal), residual=int(generator.integers(2)), n_k=n_k, n_q=n_q,
    )  # fmt: skip
    return Head(mask, generator.integers(0, 65537, n_q), visible, fields)


def heads_of_all_kinds(config, count, seed=0):
    """Heads of few and many queries, n_k not a multiple of anything, causal or not, all densities."""
    generator = np.random.default_rng(seed)
    heads = []
    for number in range(count):
        causal = number % 2 == 1
        n_k = int(generator.integers(1, config.max_keys + 1))
        n_q = int(generator.integers(1, 3 * config.block_queries + 1)) if number % 3 else 1
        if causal:
            n_q = min(n_q, n_k)
        heads.append(random_head(config, number, n_q, n_k, causal, generator.random() ** 2, generator))
    return heads


def expected_blocks(heads, config):
    """The messages, and the blocks' work items a row, readable."""
    messages, items = [], []
    for head in heads:
        n_q, n_k = head.mask.shape
        words = np.pad(head.mask, ((0, 0), (0, -n_k % config.tile_keys))).reshape(n_q, -1, config.tile_keys)
        for start in range(0, n_q, config.block_queries):
            count = min(config.block_queries, n_q - start)
            tiles = -(-int(head.visible[start + count - 1]) // config.tile_keys)
            messages.append(
                dict(
                    count=count, tiles=tiles, head_first=int(start == 0), number=len(messages) % RING_BLOCKS,
                    head_last=int(start + count == n_q), **head.fields,
                )
            )  # fmt: skip
            items.append([])
            for row in range(config.rows):
                queries = range(start + row, start + count, config.rows)
                sent, begun = [], set()
                for tile in range(tiles):
                    for query in queries:
                        bits = sum(1 << int(column) for column in np.nonzero(words[query, tile])[0])
                        if bits:
                            slot = query // config.rows % config.slots
                            sent.append(dict(end=0, slot=slot, first=int(query not in begun), bits=bits))
                            begun.add(query)
                    sent.append(dict(end=1))
                items[-1].append(expected_items(sent, config))
    return messages, items


class Surroundings:
    """Predictor, comparator, array and normalizer around the bitmaps."""

    def __init__(self, heads, config, stall, seed, drain_cycles=0):
        self.heads, self.config, self.stall, self.drain_cycles = heads, config, stall, drain_cycles
        self.random = random.Random(seed)
        self.groups = GroupStarts(config)
        self.bits = [bits_stream(config) for _ in range(config.softmax_lanes)]
        self.results = [results_stream(config) for _ in range(config.softmax_lanes)]
        self.blocks = blocks_stream(config)
        self.items = [work_items_stream(config) for _ in range(config.rows)]
        self.records = RecordsRead(config)
        self.drained = Signal(False)
        self.chunks_to_send = [deque() for _ in self.bits]
        self.results_to_send = [deque() for _ in self.bits]
        self.messages = []
        self.received = [[] for _ in self.items]
        self.expected_messages, self.expected = expected_blocks(heads, config)
        self.drained_blocks = 0
        self.records_read = []

    def done(self):
        return self.drained_blocks == len(self.expected_messages)

    @block
    def predictor(self, clk):
        groups, config = self.groups, self.config

        @instance
        def process():
            for _ in range(RESET_CYCLES + 1):
                yield clk.posedge
            for head in self.heads:
                n_q = len(head.mask)
                for start in range(0, n_q, config.predict_queries):
                    yield clk.posedge
                    while not groups.room or self.random.random() < self.stall:
                        yield clk.posedge
                    count = min(config.predict_queries, n_q - start)
                    groups.start.next = True
                    groups.count.next = count
                    groups.head_last.next = start + count == n_q
                    yield clk.posedge
                    groups.start.next = False
                    groups.count.next = 0
                    for query in range(start, start + count):
                        self.send_query(head, query, start + count - 1, (query - start) % config.softmax_lanes)

        return process

    def send_query(self, head, query, group_end, lane):
        width, visible = self.config.predict_keys, int(head.visible[query])
        fields = dict(
            query=query, visible=visible, group_last=query == group_end, head_last=query == len(head.mask) - 1, **head.fields
        )
        for key in range(0, visible, width):
            kept = head.mask[query, key : key + width]
            bits = sum(1 << int(column) for column in np.nonzero(kept)[0])
            self.chunks_to_send[lane].append((dict(bits=bits, last=key + width >= visible, **fields), int(head.kept[query])))

    @block
    def comparator(self, clk, lane):
        """Bits in order; the result follows the query's last bits."""
        bits, results = self.bits[lane], self.results[lane]

        def sender(stream, queue, transferred):
            signals = {name: getattr(stream, name) for name in stream.fields}
            while True:
                yield clk.posedge
                while not queue or self.random.random() < self.stall:
                    stream.valid.next = False
                    for signal in signals.values():
                        signal.next = _noise(self.random, signal)
                    yield clk.posedge
                item, note = queue.popleft()
                stream.valid.next = True
                for name, signal in signals.items():
                    signal.next = item[name]
                yield clk.posedge
                while not stream.ready:
                    yield clk.posedge
                stream.valid.next = False
                transferred(item, note)

        def bits_sent(item, kept):
            if item["last"]:
                self.results_to_send[lane].append((dict(kept=kept), None))

        @instance
        def send_bits():
            yield sender(bits, self.chunks_to_send[lane], bits_sent)

        @instance
        def send_results():
            yield sender(results, self.results_to_send[lane], lambda item, note: None)

        return send_bits, send_results

    @block
    def normalizer(self, clk):
        """Once the array has all items of a block, reads all its records and drains it."""
        records = self.records

        @instance
        def process():
            while not self.done():
                yield clk.posedge
                number = self.drained_blocks
                through = [sum(len(rows[row]) for rows in self.expected[: number + 1]) for row in range(self.config.rows)]
                if all(len(self.received[row]) >= through[row] for row in range(self.config.rows)):
                    while self.random.random() < self.stall:
                        yield clk.posedge
                    for _ in range(self.drain_cycles):
                        yield clk.posedge
                    for slot in range(self.config.slots):
                        records.address.next = (number % RING_BLOCKS) * self.config.slots + slot
                        yield clk.posedge
                        yield clk.posedge
                        yield clk.negedge
                        self.records_read.append([(int(v), int(k)) for v, k in zip(records.visible, records.kept)])
                    yield clk.posedge
                    self.drained.next = True
                    yield clk.posedge
                    self.drained.next = False
                    self.drained_blocks += 1

        return process

    def instances(self, clk, engine, reset):
        parts = [
            make(engine, bitmaps, clk, reset, self.groups, self.bits, self.results, self.blocks, self.items, self.records,
                 self.drained, self.config),
            self.predictor(clk), self.normalizer(clk), collect(clk, self.blocks, self.messages, None, self.stall, seed=1),
        ]  # fmt: skip
        parts += [self.comparator(clk, lane) for lane in range(self.config.softmax_lanes)]
        parts += [
            collect(clk, items, received, None, self.stall, seed=2 + row)
            for row, (items, received) in enumerate(zip(self.items, self.received))
        ]
        return parts

    def check(self):
        assert self.messages == self.expected_messages
        for row, received in enumerate(self.received):
            expected = [item for rows in self.expected for item in rows[row]]
            assert [readable(item, self.config) for item in received] == expected
        read = iter(self.records_read)
        for head in self.heads:
            for start in range(0, len(head.mask), self.config.block_queries):
                for slot in range(self.config.slots):
                    of_rows = next(read)
                    for row in range(self.config.rows):
                        query = start + slot * self.config.rows + row
                        if query < len(head.mask):
                            assert of_rows[row] == (head.visible[query], head.kept[query])


def run_heads(engine, config, heads, stall=0.0, seed=0, max_cycles=40000, drain_cycles=0):
    clk, reset = Signal(False), Signal(False)
    surroundings = Surroundings(heads, config, stall, seed, drain_cycles)
    cycles = run(clk, reset, surroundings.instances(clk, engine, reset), surroundings.done, max_cycles)
    surroundings.check()
    return cycles


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stall", [0, 0.5])
def test_heads_back_to_back_become_the_golden_packers_items(engine, stall):
    run_heads(engine, TINY, heads_of_all_kinds(TINY, 8), stall)


@pytest.mark.parametrize("stall", [0, 0.5])
def test_softmax_lanes_that_run_apart_keep_blocks_in_order(stall):
    config = TINY.replace(name="lanes", rows=4, softmax_lanes=4, predict_queries=8, drain_rows=2)
    run_heads("icarus", config, heads_of_all_kinds(config, 9, seed=2), stall, seed=1)


def test_full_connection_end_to_end():
    config = TINY.replace(name="full", span=4)
    run_heads("icarus", config, heads_of_all_kinds(config, 5, seed=4))


def test_small_configuration_end_to_end():
    config = CONFIGS["small_tiled"]
    generator = np.random.default_rng(1)
    heads = [random_head(config, 0, 70, 150, True, 0.1, generator), random_head(config, 1, 20, 300, False, 0.02, generator)]
    run_heads("icarus", config, heads)


def test_one_query_heads_go_through_two_halves_and_four_records():
    generator = np.random.default_rng(3)
    run_heads("icarus", TINY, [random_head(TINY, n, 1, 1 + 7 * n % 64, n % 2 == 0, 0.5, generator) for n in range(25)])


def test_keys_of_one_class_alone_and_full_masks():
    generator = np.random.default_rng(3)
    skewed, full = (random_head(TINY, n, 12, 64, False, 1, generator) for n in range(2))
    skewed.mask &= np.arange(64) % TINY.lanes == 3
    run_heads("icarus", TINY, [skewed, full, skewed])


@pytest.mark.parametrize("engine", ENGINES)
def test_records_stay_until_a_slow_normalizer_has_drained_them(engine):
    generator = np.random.default_rng(6)
    heads = [random_head(TINY, n, 1 + n % 5, 1 + 11 * n % 64, False, 0.5, generator) for n in range(10)]
    run_heads(engine, TINY, heads, drain_cycles=300)
