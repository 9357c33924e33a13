"""The loader: every memory and stream gets what the heads hold, in order, whatever waits and whatever is malformed.

A model of what a sequence of heads must bring (`expect`) is compared with what is recorded at the loader's ports. The
bench plays the array and the output: it frees parts of the ring of queries (blocks, or groups if banked) and heads late,
and checks that nothing in use is overwritten.
"""

import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest
from myhdl import Signal, always_comb, block, instance, intbv

from golden.config import CONFIGS
from golden.registers import ErrorCode
from hdl.banked.keys import KeyWrites
from hdl.banked.query_ring import QueryRingWrites, index_bits
from hdl.loader import loader
from hdl.predictor import head_stream
from hdl.quantizer import rows_stream
from hdl.registers import CoreStatus, descriptor_stream
from hdl.stream import AxiStream
from hdl.tiled.interfaces import ColumnWrites, QueryWrites
from hdl.visible_sum import ValueSumsRead, ValueWrites
from tests.cosimulation import ENGINES, collect, drive, make, run
from tests.test_corner_turn import column_bytes
from tests.test_gather import KeyMemory

TINY, BANKED = CONFIGS["tiny_tiled"], CONFIGS["tiny"]
SHAPES = {
    "small": CONFIGS["small"],
    "one_beat": TINY.replace(stream_bits=128),
    "four_beats": TINY.replace(d=32, rows=4, predict_queries=8),
    "small_tiled": CONFIGS["small_tiled"],
}
ARRAYS = [TINY, BANKED]
MOST_HEADS = 15


def ring_part(config):
    """Queries in a part of the ring, and number of parts."""
    return (config.predict_queries, config.ring_groups) if config.array == "banked" else (config.block_queries, 4)


def query_writes(config, part, place, row):
    """[(PE row, address, bytes)] of a query's row, the query being number `place` in a part of the ring."""
    if config.array == "banked":
        size, first = config.stream_bytes, (part << index_bits(config) | place) * config.row_beats
        pe_row = 0
    else:
        size, first = 4, (part * config.slots + place // config.rows) * (config.d // 4)
        pe_row = place % config.rows
    return [(pe_row, first + n, row[size * n : size * (n + 1)].tobytes()) for n in range(config.d // size)]


# Heads, and what must come of them ------------------------------------------------------------------------------------


@dataclass
class Head:
    """`end`: place of TLAST in the frame (the last beat unless said otherwise; beyond it, beats of noise are added)."""

    config: object
    n_q: int
    n_k: int
    seed: int
    alone: bool = False
    bad: int = 0
    end: int | None = None
    settings: dict = field(default_factory=dict)

    def __post_init__(self):
        generator = np.random.default_rng(self.seed)
        self.q, self.k, self.v = (
            generator.integers(-128, 128, (n, self.config.d)).astype(np.int8) for n in (self.n_q, self.n_k, self.n_k)
        )
        self.settings = dict(
            n_q=self.n_q, n_k=self.n_k, mantissa=32768 + self.seed, shift=self.seed % 32, threshold=1000 + self.seed,
            causal=self.seed % 2, residual=self.seed // 2 % 2, predict_dims=1 + self.n_k % self.config.d,
        )  # fmt: skip

    @property
    def beats(self):
        rows = self.q if self.alone else np.concatenate([self.k, self.v, self.q])
        beats = [int.from_bytes(part.tobytes(), "little") for part in rows.reshape(-1, self.config.stream_bytes)]
        return beats

    @property
    def frame(self):
        beats = self.beats
        end = len(beats) - 1 if self.end is None else self.end
        noise = random.Random(self.seed)
        beats = (beats + [noise.getrandbits(self.config.stream_bits) for _ in range(end + 1)])[: end + 1]
        return [dict(tdata=data, tlast=int(place == end)) for place, data in enumerate(beats)]

    @property
    def descriptor(self):
        return dict(self.settings, mode=int(self.alone), bad=self.bad)


@dataclass
class Expected:
    rows: list = field(default_factory=list)
    heads: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    poison: list = field(default_factory=list)  # tags
    poisoned: list = field(default_factory=list)  # places in `heads`
    owners: list = field(default_factory=list)  # for each message of `heads`: the Head with its K and V
    queries: list = field(default_factory=list)  # for each marker: [(row, address, bytes)] of the words of its group


def expect(heads, config):
    """What the loader must bring for these heads, one after the other."""
    expected = Expected()
    valid_head, key_set, tag, block_number = None, 0, 0, 0
    beats_a_row = config.row_beats

    def row_beats(row, beats, **places):
        """A row; only its first `beats` beats came."""
        padded = np.where(np.arange(config.d) < beats * config.stream_bytes, row, 0).astype(np.int8)
        for beat, part in enumerate(padded.reshape(beats_a_row, -1)):
            expected.rows.append(
                dict(data=int.from_bytes(part.tobytes(), "little"), last=int(beat == beats_a_row - 1), marker=0, **places)
            )
        return padded

    for head in heads:
        if head.bad:
            expected.errors.append(head.bad)
            continue
        if head.alone and valid_head is None:
            expected.errors.append(ErrorCode.NO_KEYS)
            continue
        if head.alone and valid_head.n_k != head.n_k:
            expected.errors.append(ErrorCode.BAD_LENGTH)
            continue
        if head.alone and valid_head.settings["predict_dims"] != head.settings["predict_dims"]:
            expected.errors.append(ErrorCode.BAD_PREDICT_DIMS)
            continue
        end = len(head.beats) - 1 if head.end is None else head.end
        came = end + 1  # beats up to TLAST
        places = dict(predict_dims=head.settings["predict_dims"], query=0)
        if not head.alone:
            valid_head = None
            for index, row in enumerate(head.k):
                if index * beats_a_row < came:
                    row_beats(row, min(came - index * beats_a_row, beats_a_row), index=index, key_set=1 - key_set, **places)
            if came <= 2 * head.n_k * beats_a_row:
                expected.errors.append(ErrorCode.EARLY_TLAST)
                continue
            came -= 2 * head.n_k * beats_a_row
            key_set, valid_head = 1 - key_set, head
        settings = {name: value for name, value in head.settings.items() if name not in ("mode", "bad")}
        expected.heads.append(dict(settings, key_set=key_set, tag=tag))
        expected.owners.append((valid_head, head))
        right = head.n_q * beats_a_row
        if came != right:
            expected.errors.append(ErrorCode.EARLY_TLAST if came < right else ErrorCode.LATE_TLAST)
            expected.poison.append(tag)
            expected.poisoned.append(len(expected.heads) - 1)
        count = min(-(-came // beats_a_row), head.n_q)
        group, words = 0, []
        for index in range(count):
            row = row_beats(
                head.q[index], min(came - index * beats_a_row, beats_a_row), index=group, key_set=key_set,
                **dict(places, query=1),
            )  # fmt: skip
            size, parts = ring_part(config)
            words += query_writes(config, (block_number + index // size) % parts, index % size, row)
            group += 1
            if group == config.predict_queries or index == count - 1:
                expected.rows.append(dict(marker=1, count=group, head_last=int(index == count - 1), key_set=key_set))
                expected.queries.append(words)
                group, words = 0, []
        block_number += -(-count // ring_part(config)[0])
        tag = (tag + 1) % 16
    return expected


def agree(received, expected):
    """Equal in the fields that `expected` gives."""
    assert len(received) == len(expected)
    for place, (item, wanted) in enumerate(zip(received, expected)):
        assert {name: item[name] for name in wanted} == wanted, f"item {place}"


# The bench --------------------------------------------------------------------------------------------------------------


class Bench:
    """Loader with everything around it. Delays are in cycles, after the marker that closes the block or head."""

    def __init__(self, engine, config, heads, stall=0.0, block_delay=20, head_delay=60, rows_stall=None, seed=1):
        self.config, self.heads = config, heads
        self.expected = expect(heads, config)
        self.clk, self.reset, self.extra_reset, reset = (Signal(False) for _ in range(4))
        self.frame, self.descriptor = AxiStream(config.stream_bits), descriptor_stream(config)
        self.rows, self.head = rows_stream(config), head_stream(config)
        self.banked = config.array == "banked"
        self.keys, self.queries = (KeyWrites if self.banked else ColumnWrites)(config), (
            QueryRingWrites if self.banked else QueryWrites
        )(config)
        self.values, self.key_memory = ValueWrites(config), KeyMemory(self.keys, config)
        self.sums, self.status = ValueSumsRead(config), CoreStatus()
        self.block_done, self.head_done, self.head_done_key_set = (Signal(False) for _ in range(3))
        self.poison_valid, self.poison_tag = Signal(False), Signal(intbv(0)[4:])
        self.block_delay, self.head_delay = block_delay, head_delay

        self.received_rows, self.received_heads = [], []
        self.errors, self.poison = [], []
        self.column_writes, self.value_memory, self.query_memory = {0: [], 1: []}, {}, {}
        self.in_flight, self.most_in_flight, self.blocks_open, self.most_blocks = [], 0, deque(), 0
        self.sums_checked, self.quiet, self.cycle = 0, 0, 0
        self.listening = True  # False: what comes belongs to a head that a reset will end

        @always_comb
        def any_reset():
            reset.next = self.reset or self.extra_reset

        rows_stall = stall if rows_stall is None else rows_stall
        self.dut = make(
            engine, loader, self.clk, reset, self.frame, self.descriptor, self.rows, self.head, self.keys,
            self.queries, self.values, self.sums, self.block_done, self.head_done, self.head_done_key_set,
            self.poison_valid, self.poison_tag, self.status, config=config,
        )  # fmt: skip
        self.instances = [
            any_reset,
            self.dut,
            collect(self.clk, self.rows, self.received_rows, stall_probability=rows_stall, seed=seed),
            collect(self.clk, self.head, self.received_heads, stall_probability=stall, seed=seed + 1),
            self.neighbours(),
            self.sum_reader(),
        ]
        self.drivers = [
            drive(self.clk, self.descriptor, [head.descriptor for head in heads], stall, seed=seed + 2),
            drive(self.clk, self.frame, [beat for head in heads for beat in head.frame], stall, seed=seed + 3),
        ]

    def run(self, max_cycles=20000):
        cycles = run(self.clk, self.reset, self.instances + self.drivers, until=self.finished, max_cycles=max_cycles)
        agree(self.received_rows, self.expected.rows)
        agree(self.received_heads, self.expected.heads)
        assert self.errors == self.expected.errors
        assert self.poison == self.expected.poison
        assert self.sums_checked == len(self.expected.heads)
        assert not self.frame.tready, "ready without a descriptor"
        return cycles

    def finished(self):
        """Everything is there, and for a while nothing more comes."""
        complete = (
            len(self.received_rows) >= len(self.expected.rows)
            and len(self.received_heads) >= len(self.expected.heads)
            and len(self.errors) >= len(self.expected.errors)
            and self.sums_checked >= len(self.expected.heads)
            and not self.status.busy
            and not self.frame.tvalid
            and not self.descriptor.valid
        )
        self.quiet = self.quiet + 1 if complete else 0
        return self.quiet > 40

    @block
    def neighbours(self):
        config = self.config
        rows_seen = heads_seen = markers_seen = 0
        done_blocks, done_heads = deque(), deque()  # (cycle, ...) of pulses to come
        queries_in_block = 0

        @instance
        def play():
            nonlocal rows_seen, heads_seen, markers_seen, queries_in_block
            while True:
                yield self.clk.posedge
                self.cycle += 1
                if not self.listening:
                    del self.received_rows[:], self.received_heads[:]
                    continue
                self.record()
                # A head is in flight from its message at the latest ...
                for message in self.received_heads[heads_seen:]:
                    self.head_arrives(heads_seen, message)
                    heads_seen += 1
                for item in self.received_rows[rows_seen:]:
                    rows_seen += 1
                    if not item["marker"]:
                        if not item["query"]:
                            self.key_set_is_free(item["key_set"])
                        continue
                    assert markers_seen < len(self.expected.queries), "one marker too many"
                    self.group_arrives(markers_seen, heads_seen)
                    markers_seen += 1
                    queries_in_block += item["count"]
                    if queries_in_block == ring_part(config)[0] or item["head_last"]:
                        queries_in_block = 0
                        done_blocks.append(self.cycle + self.block_delay)
                    if item["head_last"]:
                        done_heads.append((self.cycle + self.head_delay, item["key_set"]))
                # ... until its end.
                self.block_done.next = False
                self.head_done.next = False
                if done_blocks and self.cycle >= done_blocks[0]:
                    done_blocks.popleft()
                    self.blocks_open.popleft()
                    self.block_done.next = True
                if done_heads and self.cycle >= done_heads[0][0] and self.sums_checked > heads_seen - len(self.in_flight):
                    _, key_set = done_heads.popleft()
                    self.in_flight.pop(0)
                    self.head_done.next = True
                    self.head_done_key_set.next = key_set

        return play

    def record(self):
        """Writes and pulses of this cycle."""
        config = self.config
        if self.keys.enable:
            key_set = int(self.keys.key_set) if self.banked else int(self.keys.address) >> (len(self.keys.address) - 1)
            self.key_set_is_free(key_set)
            if not self.banked:
                self.column_writes[key_set].append(
                    (int(self.keys.group), int(self.keys.address), int(self.keys.data))
                )
        if self.banked:
            self.key_memory.clock()
        if self.values.enable:
            self.key_set_is_free(int(self.values.address) >> (len(self.values.address) - 1))
            self.value_memory[int(self.values.address)] = int(self.values.data)
        if self.queries.enable:
            address = int(self.queries.address)
            part_size = config.row_beats << index_bits(config) if self.banked else config.slots * config.d // 4
            ring_block = address // part_size
            if not self.blocks_open or self.blocks_open[-1] != ring_block:
                assert ring_block not in self.blocks_open, "a ring block in use is overwritten"
                self.blocks_open.append(ring_block)
                self.most_blocks = max(self.most_blocks, len(self.blocks_open))
            row, size = (0, config.stream_bytes) if self.banked else (int(self.queries.row), 4)
            self.query_memory[row, address] = int(self.queries.data).to_bytes(size, "little")
        if self.status.error_valid:
            self.errors.append(int(self.status.error_code))
        if self.poison_valid:
            self.poison.append(int(self.poison_tag))

    def key_set_is_free(self, key_set):
        assert key_set not in self.in_flight, "a key set in use is overwritten"

    def head_arrives(self, number, message):
        """K and V must be in their memories by now."""
        owner, _ = self.expected.owners[number]
        key_set = message["key_set"]
        self.in_flight.append(key_set)
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        found = self.key_memory.bytes if self.banked else column_bytes(self.column_writes[key_set], self.config)
        for value, rows in ((0, owner.k), (1, owner.v)):
            wrong = [place for place in np.ndindex(*rows.shape) if found.get((key_set, value, *place)) != rows[place]]
            assert not wrong, f"{'KV'[value]} of head {number}: {wrong[:5]}"
        for key, row in enumerate(owner.v):
            for beat, part in enumerate(row.reshape(self.config.row_beats, -1)):
                address = (key_set * self.config.max_keys + key) * self.config.row_beats + beat
                assert self.value_memory.get(address) == int.from_bytes(part.tobytes(), "little")

    def group_arrives(self, number, heads_seen):
        """The queries of a group must be in their memories, and its head's message must have come."""
        for row, address, data in self.expected.queries[number]:
            assert self.query_memory.get((row, address)) == data, f"group {number}: row {row}, address {address}"
        markers = [item for item in self.expected.rows if item["marker"]]
        head_number = sum(item["head_last"] for item in markers[:number])
        assert heads_seen > head_number, "a marker before the message of its head"
        if markers[number]["head_last"] and head_number in self.expected.poisoned:
            assert len(self.poison) > self.expected.poisoned.index(head_number), "a head closed before it was poisoned"

    @block
    def sum_reader(self):
        @instance
        def read():
            while True:
                yield self.clk.posedge
                if not self.listening or self.sums_checked == len(self.received_heads):
                    continue
                message = self.received_heads[self.sums_checked]
                owner, _ = self.expected.owners[self.sums_checked]
                sums = owner.v.astype(int).sum(axis=0).reshape(self.config.row_beats, -1)
                for beat in range(self.config.row_beats):
                    self.sums.address.next = message["key_set"] * self.config.row_beats + beat
                    yield self.clk.posedge
                    yield self.clk.posedge
                    yield self.clk.posedge
                    bits, word = self.config.value_sum_bits, int(self.sums.data)
                    found = [word >> i * bits & (1 << bits) - 1 for i in range(self.config.stream_bytes)]
                    assert found == [int(total) & (1 << bits) - 1 for total in sums[beat]]
                self.sums_checked += 1

        return read


def heads_of(config, *lengths, **more):
    """Heads of (n_q, n_k) each; n_k negative: Q alone, on so many keys.

    In Icarus, the first one fills its groups of keys, or unknown bits would hide what is in a column word.
    """
    return [
        Head(config, n_q, abs(n_k), seed=number + 1, alone=n_k < 0, **more) for number, (n_q, n_k) in enumerate(lengths)
    ]


# Heads as they should be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
@pytest.mark.parametrize("engine, stall", [("myhdl", 0.3), ("icarus", 0.3), ("icarus", 0)])
def test_everything_of_heads_back_to_back_arrives(config, engine, stall):
    lengths = [(5, 20), (1, 1), (16, 64), (9, 17), (3, -17), (8, 8), (1, 9), (2, -9)]
    Bench(engine, config, heads_of(config, *lengths), stall).run()


@pytest.mark.parametrize("shape", SHAPES)
def test_other_shapes(shape):
    config = SHAPES[shape]
    Bench("icarus", config, heads_of(config, (13, 20), (1, 1), (9, 33), (70, -33)), 0.05).run()


def test_keys_and_values_take_a_beat_a_cycle():
    heads = heads_of(TINY, (1, 64))
    cycles = Bench("myhdl", TINY, heads, head_delay=1, block_delay=1).run()
    assert cycles <= len(heads[0].beats) + TINY.d + 110, "cycles, 40 of them quiet, and those after the last beat"


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
def test_a_ring_block_is_not_written_before_it_is_free(config):
    bench = Bench("icarus", config, heads_of(config, (70, 9), (3, -9), (20, -9)), block_delay=400)
    bench.run()
    assert bench.most_blocks == ring_part(config)[1]


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
def test_a_key_set_is_not_loaded_while_a_head_uses_it(config):
    lengths = [(2, 9), (2, 9), (2, -9), (2, 9), (3, 16), (2, -16), (2, -16), (2, 8)]
    bench = Bench("icarus", config, heads_of(config, *lengths), head_delay=600)
    bench.run()
    assert bench.most_in_flight == 4


def test_fifteen_heads_are_in_flight_and_no_more():
    lengths = [(1, 8)] + [(1, -8)] * 20
    bench = Bench("icarus", TINY, heads_of(TINY, *lengths), head_delay=1500)
    bench.run()
    assert bench.most_in_flight == MOST_HEADS


def test_rows_that_are_not_taken_stop_the_loader():
    Bench("icarus", TINY, heads_of(TINY, (5, 20), (4, 9)), rows_stall=0.9).run()


# Heads as they shouldn't be -----------------------------------------------------------------------------------------------


def with_good_heads_around(engine, config, wrong, stall=0.1, **more):
    """A good head, and each of the lists of heads `wrong` with another good one behind it."""
    heads = [Head(config, 3, 16, seed=50)]
    for number, some in enumerate(wrong):
        heads += [*some, Head(config, 2 + number % 4, 10 + number % 7, seed=51 + number)]
    bench = Bench(engine, config, heads, stall, **more)
    bench.run()
    return bench


N_Q, N_K = 7, 11
K_BEATS = N_K * TINY.row_beats
FRAME_BEATS = (2 * N_K + N_Q) * TINY.row_beats


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
def test_the_frame_of_a_bad_descriptor_is_drained_and_the_keys_stay(config):
    codes = [ErrorCode.BAD_LENGTH, ErrorCode.BAD_MODE]
    bad = [Head(config, 3, 5, seed=3, bad=code) for code in codes]
    bench = with_good_heads_around("icarus", config, [[bad[0], Head(config, 2, 16, seed=4, alone=True)], [bad[1]]])
    assert bench.errors == codes


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
@pytest.mark.parametrize("engine", ENGINES)
def test_tlast_in_keys_or_values_drops_the_head_and_its_keys(config, engine):
    ends = [0, 1, 4, K_BEATS - 1, K_BEATS, K_BEATS + 5, 2 * K_BEATS - 2, 2 * K_BEATS - 1]
    orphan = Head(config, 2, N_K, seed=5, alone=True)
    wrong = [[Head(config, N_Q, N_K, seed=4, end=end), orphan] for end in ends]
    bench = with_good_heads_around(engine, config, wrong)
    assert bench.errors == [ErrorCode.EARLY_TLAST, ErrorCode.NO_KEYS] * len(ends)
    assert len(bench.received_heads) == 1 + len(ends) and not bench.poison


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
@pytest.mark.parametrize("engine, alone", [("icarus", False), ("icarus", True), ("myhdl", True)])
def test_tlast_in_queries_closes_and_poisons_the_head(config, engine, alone):
    ends = [*range(9), N_Q * config.row_beats - 2]
    wrong = []
    for end in ends:
        keys = [Head(config, 1, N_K, seed=6)] if alone else []
        end = end if alone else end + 2 * K_BEATS
        after = Head(config, 2, N_K, seed=5, alone=True)
        wrong.append([*keys, Head(config, N_Q, N_K, seed=4, end=end, alone=alone), after])
    bench = with_good_heads_around(engine, config, wrong)
    assert bench.errors == [ErrorCode.EARLY_TLAST] * len(ends)
    assert len(bench.poison) == len(ends)


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
def test_a_frame_that_goes_on_poisons_the_head_and_is_drained(config):
    extras = [1, 2, 30]
    wrong = [[Head(config, N_Q, N_K, seed=4, end=FRAME_BEATS - 1 + extra)] for extra in extras]
    bench = with_good_heads_around("icarus", config, wrong)
    assert bench.errors == [ErrorCode.LATE_TLAST] * len(extras)
    assert len(bench.poison) == len(extras)


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
def test_queries_alone_predict_with_as_many_dimensions_as_their_keys(config):
    """The predictor holds the keys quantised with the dimensions of the head that brought them."""
    heads = heads_of(config, (2, 8), (3, -8), (2, -8))
    heads[1].settings["predict_dims"] += 1
    bench = Bench("icarus", config, heads)
    bench.run()
    assert bench.errors == [ErrorCode.BAD_PREDICT_DIMS]


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
def test_queries_alone_need_keys_and_name_as_many_as_there_are(config):
    bench = Bench("icarus", config, heads_of(config, (3, -5), (2, 8), (3, -8), (3, -5), (3, -8)))
    bench.run()
    assert bench.errors == [ErrorCode.NO_KEYS, ErrorCode.BAD_LENGTH]


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
@pytest.mark.parametrize("seed", range(3))
def test_random_heads_some_of_them_malformed(config, seed):
    generator = random.Random(seed)
    heads, n_k = [], 8
    for number in range(25):
        alone = number > 0 and generator.random() < 0.4
        n_q, n_k = generator.randint(1, 20), n_k if alone else generator.choice([1, 7, 8, 9, 16, 25] if number else [8])
        head = Head(config, n_q, n_k, seed=30 * seed + number, alone=alone)
        if number and generator.random() < 0.4:
            head.end = generator.randrange(len(head.beats) + 5)
        if generator.random() < 0.1:
            head.bad = int(ErrorCode.BAD_FACTOR)
        heads.append(head)
    stall = generator.choice([0, 0.1, 0.4])
    Bench(
        "icarus", config, heads, stall, block_delay=generator.choice([1, 50, 200]), head_delay=generator.choice([1, 300])
    ).run(40000)


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
@pytest.mark.parametrize("beats", [9, K_BEATS + 3, 2 * K_BEATS + 3])
def test_the_first_head_after_a_reset_is_right(config, beats):
    """Reset with a head half loaded."""
    abandoned, head = Head(config, N_Q, N_K, seed=8), Head(config, 3, 20, seed=9)
    bench = Bench("icarus", config, [head])
    clk, frame, descriptor = bench.clk, bench.frame, bench.descriptor

    @instance
    def drive_twice():
        for sent, item in (abandoned.frame[:beats], abandoned), (head.frame, head):
            for _ in range(3):
                yield clk.posedge
            for name, number in item.descriptor.items():
                getattr(descriptor, name).next = number
            descriptor.valid.next = True
            yield clk.posedge
            while not descriptor.ready:
                yield clk.posedge
            descriptor.valid.next = False
            for beat in sent:
                frame.tvalid.next, frame.tdata.next, frame.tlast.next = True, beat["tdata"], beat["tlast"]
                yield clk.posedge
                while not frame.tready:
                    yield clk.posedge
            frame.tvalid.next = False
            if item is abandoned:
                bench.extra_reset.next = True
                yield clk.posedge
                bench.extra_reset.next = False
                for _ in range(4):
                    yield clk.posedge
                bench.listening = True

    bench.listening = False
    bench.drivers = [drive_twice]
    bench.run()
