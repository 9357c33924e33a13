"""The tiled array leaves the golden model's sums, a round every 2d cycles, whenever its neighbours come and go."""

import random
from collections import deque
from dataclasses import dataclass

import numpy as np
import pytest
from myhdl import Signal, instance

from golden.config import CONFIGS, ConfigError
from golden.packer import IDLE, all_columns, pack
from golden.tiled import attend
from hdl.drain import SUMS_CYCLES
from hdl.tiled.activity import Activity
from hdl.tiled.array import array
from hdl.tiled.interfaces import ColumnWrites, QueryWrites, SumsRead, blocks_stream, drains_stream
from hdl.tiled.timing import Timing
from hdl.tiled.work import work_items_stream
from tests.cosimulation import ENGINES, RESET_CYCLES, make, run

TINY = CONFIGS["tiny_tiled"]
FULL = TINY.replace(name="tiny_full", span=TINY.lanes)


@dataclass
class Head:
    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    mask: np.ndarray
    mantissa: int
    shift: int

    def golden(self, config):
        return attend(self.q, self.k, self.v, self.mask, self.mantissa, self.shift, config)


def random_head(generator, config, n_q, n_k, density=0.3, shift=9, empty_tiles=()):
    """Random operands, and a mask with at least one key a row and none in `empty_tiles`."""
    q, k, v = (generator.integers(-128, 128, (n, config.d)).astype(np.int8) for n in (n_q, n_k, n_k))
    allowed = ~np.isin(np.arange(n_k) // config.tile_keys, empty_tiles)
    mask = (generator.random((n_q, n_k)) < density) & allowed
    mask[np.arange(n_q), generator.choice(np.nonzero(allowed)[0], n_q)] = True
    return Head(q, k, v, mask, int(generator.integers(1 << 15, 1 << 16)), shift)


# What the array's neighbours send: docs/architecture.md, not hdl/ -----------------------------------------------------


def select_of(lane, column, config):
    if config.full_connection:
        return column
    back = (lane - column) % config.lanes
    assert back < config.span
    return back * (config.tile_keys // config.lanes) + column // config.lanes


def work_items(bits, first, config):
    """Items of one query in one tile; `bits` bool [W]."""
    columns, count = pack(bits[None], config)
    columns = columns[0, : count[0]]
    filled = all_columns(columns) if config.full_connection else columns
    for sub_row, places in zip(columns, filled):
        item = dict(end=0, first=int(first), lane_valid=0, select=0)
        for lane, (column, place) in enumerate(zip(sub_row, places)):
            item["lane_valid"] |= int(column != IDLE) << lane
            if place != IDLE:
                item["select"] |= select_of(lane, int(place), config) << (lane * config.select_bits)
        first = False
        yield item


def work_of_block(head, start, tiles, config):
    """Work items of the block whose first query is `start`: a list a PE row."""
    work = [[] for _ in range(config.rows)]
    padded = np.pad(head.mask, ((0, 0), (0, tiles * config.tile_keys - head.mask.shape[1])))
    for tile in range(tiles):
        here = slice(tile * config.tile_keys, (tile + 1) * config.tile_keys)
        for query in range(start, min(start + config.block_queries, len(head.q))):
            place = query - start
            items = work[place % config.rows]
            first = not padded[query, : here.start].any()
            items += [dict(item, slot=place // config.rows) for item in work_items(padded[query, here], first, config)]
        for items in work:
            items.append(dict(end=1))
    return work


def column_writes(head, key_set, config):
    """All writes of a head's K and V to the column memories."""
    tile_bits, keys = (config.max_tiles - 1).bit_length(), config.stream_bytes
    for value, rows in enumerate((head.k, head.v)):
        for start in range(0, len(rows), keys):
            tile, column = divmod(start, config.tile_keys)
            some = rows[start : start + keys].astype(np.int64) & 255
            for t in range(config.d):
                address = (((key_set * 2 + value) << tile_bits) + tile) * config.d + t
                data = sum(int(x) << (8 * i) for i, x in enumerate(some[:, t]))
                yield dict(group=column // keys, address=address, data=data)


def query_writes(head, start, ring, config):
    """Those that the array reads last come first, so that nothing but `block_done` protects them."""
    queries = head.q[start : start + config.block_queries].astype(np.int64) & 255
    slots = max(2, config.slots)  # a signal has at least one bit
    for place, query in reversed(list(enumerate(queries))):
        slot, row = divmod(place, config.rows)
        for word in range(config.d // 4):
            data = sum(int(x) << (8 * i) for i, x in enumerate(query[4 * word : 4 * word + 4]))
            yield dict(row=row, address=(ring * slots + slot) * (config.d // 4) + word, data=data)


class Bench:
    """The array among models of its neighbours (tests/test_systolic.py puts its own array here).

    Args:
        preload: everything is in the memories and queues before the first block's message is sent.
        late_work, late_drain: probability that a work item, or an answer of the normalizer, is late in a cycle.
        drain_delay: cycles that the normalizer lets pass before it reads a block's sums.
        end_delays: cycles that each block's last end mark of row 0 comes late; then heads come one by one.
    """

    array = array

    def __init__(self, config, heads, late_work=0.0, late_drain=0.0, drain_delay=0, end_delays=None, preload=False, seed=1):
        self.config, self.heads, self.preload = config, heads, preload
        self.late_work, self.late_drain, self.drain_delay = late_work, late_drain, drain_delay
        self.random = random.Random(seed)
        self.end_delays = end_delays
        self.clk, self.reset = Signal(False), Signal(False)
        self.columns, self.queries, self.sums = ColumnWrites(config), QueryWrites(config), SumsRead(config)
        self.work = [work_items_stream(config) for _ in range(config.rows)]
        self.blocks, self.drains = blocks_stream(config), drains_stream(config)
        self.drained, self.block_done, self.round_tick = Signal(False), Signal(False), Signal(False)
        self.messages, self.queues = deque(), [deque() for _ in range(config.rows)]
        self.numerator = [np.full(head.q.shape, 1 << 62) for head in heads]
        self.denominator = [np.full(len(head.q), -1) for head in heads]
        self.block_list = [(h, start) for h, head in enumerate(heads)
                           for start in range(0, len(head.q), config.block_queries)]  # fmt: skip
        self.done = self.read = self.heads_read = self.rounds = self.cycle = 0
        self.received, self.ticks = [], []
        self.activity = Activity(config)
        self.counted = dict.fromkeys(vars(self.activity), 0)

    def message(self, b):
        h, start = self.block_list[b]
        head = self.heads[h]
        n_q, n_k = head.mask.shape
        return dict(
            count=min(n_q - start, self.config.block_queries), number=b % 4, head_first=int(start == 0),
            head_last=int(start + self.config.block_queries >= n_q), key_set=h % 2, tag=h % 15, causal=h % 2,
            residual=1 - h % 2, n_k=n_k, n_q=n_q,
        )  # fmt: skip

    def loader(self):
        """Fill memories as soon as docs/architecture.md allows, then tell of the block."""

        def write(port, fields):
            for item in fields:
                port.enable.next = True
                for name, number in item.items():
                    getattr(port, name).next = number
                yield self.clk.posedge
            port.enable.next = False

        @instance
        def load():
            for _ in range(RESET_CYCLES + 1):
                yield self.clk.posedge
            later = []
            for b, (h, start) in enumerate(self.block_list):
                head = self.heads[h]
                if start == 0:
                    while self.heads_read < (h if self.end_delays else h - 1):
                        yield self.clk.posedge
                    yield from write(self.columns, column_writes(head, h % 2, self.config))
                while self.done < b - 3:
                    yield self.clk.posedge
                yield from write(self.queries, query_writes(head, start, b % 4, self.config))
                tiles = -(-head.mask.shape[1] // self.config.tile_keys)
                message = dict(self.message(b), tiles=tiles, mantissa=head.mantissa, shift=head.shift)
                work = work_of_block(head, start, tiles, self.config)
                if self.end_delays:
                    work[0][-1]["wait"] = self.end_delays[b]
                for queue, items in zip(self.queues, work):
                    queue.extend(items)
                (later if self.preload else self.messages).append(message)
            yield self.clk.posedge
            self.messages.extend(later)

        return load

    def feeder(self, stream, queue, late):
        """Send what is in the queue; nothing is offered with probability `late`."""
        fields = stream.fields
        generator = random.Random(self.random.random())

        @instance
        def feed():
            while True:
                while not queue or generator.random() < late:
                    stream.valid.next = False
                    for name in fields:
                        getattr(stream, name).next = generator.getrandbits(fields[name].width)
                    yield self.clk.posedge
                item = queue.popleft()
                for _ in range(item.get("wait", 0)):
                    stream.valid.next = False
                    yield self.clk.posedge
                stream.valid.next = True
                for name in fields:
                    getattr(stream, name).next = item.get(name, 0)
                yield self.clk.posedge
                while not stream.ready:
                    yield self.clk.posedge

        return feed

    def normalizer(self):
        """Read the sums of each block that the array says is complete."""
        sums, config = self.sums, self.config
        groups = config.rows // config.drain_rows

        @instance
        def normalize():
            for b in range(len(self.block_list)):
                while True:
                    self.drains.ready.next = self.random.random() >= self.late_drain
                    yield self.clk.posedge
                    if self.drains.valid and self.drains.ready:
                        break
                self.drains.ready.next = False
                self.received.append({name: int(getattr(self.drains, name)) for name in self.drains.fields})
                for _ in range(self.drain_delay):
                    yield self.clk.posedge
                h, start = self.block_list[b]
                # Slots that the array writes last come first, so that nothing but the message protects them.
                reads = deque((slot, group, t) for slot in reversed(range(config.slots)) for group in range(groups)
                              for t in range(config.d))  # fmt: skip
                answers = deque([None] * SUMS_CYCLES)
                while reads or any(answers):
                    request = bool(reads) and self.random.random() >= self.late_drain / 2
                    sums.request.next = request
                    sums.parity.next = b % 2
                    if request:
                        sums.slot.next, sums.row_group.next, sums.dimension.next = reads[0]
                    yield self.clk.posedge
                    answers.append(reads.popleft() if request and sums.granted else None)
                    answer = answers.popleft()
                    if answer:
                        slot, group, t = answer
                        for i in range(config.drain_rows):
                            query = start + slot * config.rows + group * config.drain_rows + i
                            if query < min(len(self.heads[h].q), start + config.block_queries):
                                self.numerator[h][query, t] = int(sums.numerators[i])
                                self.denominator[h][query] = int(sums.denominators[i])
                sums.request.next = False
                while self.random.random() < self.late_drain * 0.99:
                    yield self.clk.posedge
                self.drained.next = True
                yield self.clk.posedge
                self.drained.next = False
                self.read += 1
                self.heads_read += self.received[-1]["head_last"]

        return normalize

    def watcher(self):
        @instance
        def watch():
            while True:
                yield self.clk.posedge
                self.cycle += 1
                self.done += int(self.block_done)
                for name in self.counted:
                    self.counted[name] += int(getattr(self.activity, name))
                if self.round_tick:
                    self.ticks.append(self.cycle)

        return watch

    def run(self, engine, max_cycles=60000):
        dut = make(
            engine, self.array, self.clk, self.reset, self.columns, self.queries, self.work, self.blocks, self.drains,
            self.sums, self.drained, self.block_done, self.round_tick, self.activity, self.config,
        )  # fmt: skip
        parts = [self.feeder(self.blocks, self.messages, 0.0), self.normalizer(), self.loader(), self.watcher()]
        parts += [self.feeder(stream, queue, self.late_work) for stream, queue in zip(self.work, self.queues)]
        run(self.clk, self.reset, [dut, *parts],
            until=lambda: self.read == len(self.block_list), max_cycles=max_cycles)  # fmt: skip
        return self

    def check(self):
        """Sums, rounds and messages are the golden model's."""
        golden = [head.golden(self.config) for head in self.heads]
        for h, sums in enumerate(golden):
            np.testing.assert_array_equal(self.denominator[h], sums.denominator, err_msg=f"denominators, head {h}")
            np.testing.assert_array_equal(self.numerator[h], sums.numerator, err_msg=f"numerators, head {h}")
        assert len(self.ticks) == sum(sums.rounds for sums in golden)
        assert self.received == [self.message(b) for b in range(len(self.block_list))]
        assert self.done == len(self.block_list)
        kept = sum(int(head.mask.sum()) for head in self.heads)
        assert self.counted == dict(
            multiplications=2 * self.config.d * kept,
            register_moves=self.register_moves(),
            idle_slots=len(self.ticks) * self.config.rows * self.config.lanes - kept,
        )

    def register_moves(self):
        """Of the partial sums: none in an adder tree."""
        return 0


def some_heads(config, seed=3):
    """Heads back to back: several blocks, all factors' extremes, single keys and queries, empty tiles, all keys."""
    generator = np.random.default_rng(seed)
    block = config.block_queries
    heads = [
        random_head(generator, config, 2 * block + 3, config.max_keys - 3, density=0.3, shift=8),
        random_head(generator, config, 1, 1, shift=12),
        random_head(generator, config, block, config.max_keys, density=0.05, shift=6, empty_tiles=range(config.max_tiles - 1)),
        random_head(generator, config, block // 2, config.tile_keys + 1, density=1.0, shift=31),
    ]  # fmt: skip
    extreme = random_head(generator, config, block - 1, config.tile_keys + 3, density=0.5, shift=0)
    extreme.q[:], extreme.mantissa = -128, 65535
    extreme.k[::2], extreme.k[1::2] = -128, 127
    return heads + [extreme]


@pytest.mark.parametrize("config", [TINY, FULL], ids=lambda config: config.name)
@pytest.mark.parametrize("engine", ENGINES)
def test_sums_are_the_golden_models(engine, config):
    """Would catch anything wrong in a lane, the scaler, maxima, exponentials or sums, and mixed-up heads or blocks."""
    Bench(config, some_heads(config)).run(engine).check()


@pytest.mark.parametrize("engine", ENGINES)
def test_late_neighbours_change_nothing_but_the_time(engine):
    """Would catch a round begun without its work items, SpMM lost in a pause, and sums read or replaced too early."""
    Bench(TINY, some_heads(TINY, seed=4)[:3], late_work=0.97, late_drain=0.9).run(engine).check()


def test_queries_stay_until_they_are_read():
    """Blocks of few rounds, so that the loader waits for the array and replaces a block as soon as it may."""
    head = random_head(np.random.default_rng(7), TINY, 7 * TINY.block_queries, TINY.tile_keys, density=0.1)
    Bench(TINY, [head]).run("myhdl").check()


def test_sums_stay_until_they_are_read():
    """The normalizer takes longer for a block than the array."""
    head = random_head(np.random.default_rng(8), TINY, 3 * TINY.block_queries, TINY.tile_keys, density=0.1)
    Bench(TINY, [head], drain_delay=800).run("myhdl").check()


def test_a_block_may_end_in_any_cycle_around_its_last_sum():
    """The end mark comes before, with and after the last write; nothing else is there to make the array go on."""
    timing, generator = Timing(TINY), np.random.default_rng(9)
    last_sum = 4 * TINY.d - 1 + timing.sum_write
    delays = range(last_sum - 8, last_sum + 4)
    heads = [random_head(generator, TINY, 1, 1) for _ in delays]
    Bench(TINY, heads, end_delays=delays).run("myhdl", max_cycles=5000).check()


def test_rounds_follow_one_another_without_a_gap_across_tiles_blocks_and_heads():
    """With work always there, a round begins every 2d cycles."""
    generator = np.random.default_rng(5)
    heads = [random_head(generator, TINY, TINY.block_queries * n, n_k, density=0.4)
             for n, n_k in ((2, TINY.max_keys), (2, TINY.max_keys - 5))]  # fmt: skip
    bench = Bench(TINY, heads, preload=True).run("myhdl")
    bench.check()
    assert set(np.diff(bench.ticks)) == {TINY.round_cycles}


def test_empty_tiles_cost_no_round():
    """All keys of the first and of the last tile; the end marks between them go while the rounds before them run."""
    generator = np.random.default_rng(6)
    heads = [random_head(generator, TINY, TINY.block_queries, TINY.max_keys, density=0.4, empty_tiles=(1, 2))]
    bench = Bench(TINY, heads, preload=True).run("myhdl")
    bench.check()
    assert set(np.diff(bench.ticks)) == {TINY.round_cycles}


def test_a_configuration_whose_exponentials_do_not_hide_is_refused():
    with pytest.raises(ConfigError, match="too few cycles"):
        Timing(CONFIGS["small_tiled"].replace(name="short", d=16))


def test_a_lane_with_an_odd_number_of_inputs_is_refused():
    with pytest.raises(ConfigError, match="must be even"):
        Timing(TINY.replace(name="odd", lanes=16, span=1, d=32))


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if config.array == "tiled"])
def test_named_configurations_hide_maximum_and_exponentials(name):
    Timing(CONFIGS[name])
