"""Each query reaches one cluster whole, in order, and never faster than there is room; the dispatcher hardly takes time."""

import random
from collections import deque

import numpy as np
import pytest
from myhdl import Signal, block, instance, intbv

from golden.config import CONFIGS
from hdl.banked.bitmaps import BITMAP_WORD_CYCLES, WordsRead, compared_stream, heads_stream
from hdl.banked.dispatcher import dispatcher
from hdl.banked.interfaces import queries_stream, row_stream, words_stream
from hdl.banked.query_ring import QueryRingWrites, index_bits
from hdl.banked.records import RECORD_CYCLES, RecordsRead
from tests.cosimulation import ENGINES, RESET_CYCLES, _noise, collect, drive, make, run
from tests.test_banked_bitmaps import bitmap_words
from tests.test_bitmaps import heads_of_all_kinds, random_head

TINY, SMALL, BERT = CONFIGS["tiny"], CONFIGS["small"], CONFIGS["bert"]
SHAPES = {
    "lanes": TINY.replace(name="lanes", rows=4, predict_queries=12, softmax_lanes=3, ring_groups=2, slots=4),
    "one_beat": TINY.replace(name="one_beat", stream_bits=128),
    "small": SMALL,
    "bert": BERT,
}
HEAD_FIELDS = ("mantissa", "shift", "key_set", "tag", "causal", "n_k", "n_q")


class Bench:
    """Everything around the dispatcher. `slow`: cycles that a cluster takes for a query; `stall`: of its inputs."""

    def __init__(self, engine, config, heads, stall=0.0, slow=(0, 40), free_stall=0.0, row_stall=None, seed=1):
        self.config, self.stall, self.slow, self.free_stall = config, stall, slow, free_stall
        self.random = random.Random(seed)
        self.queries = [(head, n) for head in heads for n in range(len(head.mask))]
        noise = np.random.default_rng(seed)
        self.rows = noise.integers(0, 256, (len(self.queries), config.d)).astype(np.uint8)
        self.compared_items, self.groups = [], []
        for number, (head, n) in enumerate(self.queries):
            index, last = n % config.predict_queries, n == len(head.mask) - 1
            if index == 0:
                self.groups.append([])
            self.groups[-1].append(number)
            words = bitmap_words(head.mask[n], config)
            self.compared_items.append(
                dict(
                    group=(len(self.groups) - 1) % config.ring_groups, index=index, lane=index % config.softmax_lanes,
                    place=index // config.softmax_lanes, words=sum(1 << w for w in words), kept=int(head.kept[n]),
                    group_last=int(last or index == config.predict_queries - 1), head_last=int(last),
                )
            )  # fmt: skip
        head_items = [
            dict({name: head.fields[name] for name in HEAD_FIELDS}, visible=int(head.visible[0])) for head in heads
        ]

        self.clk, self.reset = Signal(False), Signal(False)
        self.writes, self.read, self.records = QueryRingWrites(config), WordsRead(config), RecordsRead(config)
        self.heads, self.compared = heads_stream(config), compared_stream(config)
        clusters = range(config.rows)
        self.rooms = [Signal(intbv(config.slots, min=0, max=config.slots + 1)) for _ in clusters]
        self.headers, self.row_streams, self.word_streams = (
            [make_stream(config) for _ in clusters] for make_stream in (queries_stream, row_stream, words_stream)
        )
        self.entry_freed, self.group_done = Signal(False), Signal(False)

        self.bitmaps = {}  # (group, place, lane, index): word
        self.in_ring = self.groups_done = self.freed = self.cycle = 0
        self.sent = []  # (cluster, header, cycle) in the order of the headers
        self.beats, self.words = [[] for _ in clusters], [[] for _ in clusters]
        self.finished = [0 for _ in clusters]  # queries
        self.instances = [
            make(
                engine, dispatcher, self.clk, self.reset, self.writes, self.heads, self.compared, self.read, self.rooms,
                self.headers, self.row_streams, self.word_streams, self.entry_freed, self.records, self.group_done,
                config,
            ),
            self.ring(), self.offers(), self.word_memory(), self.normalizer(),
            drive(self.clk, self.heads, head_items, stall, seed=seed),
            [self.cluster(c) for c in clusters],
            [
                collect(self.clk, s, r, None, stall if row_stall is None else row_stall, seed=n)
                for n, (s, r) in enumerate(zip(self.row_streams, self.beats))
            ],
            [collect(self.clk, s, r, None, stall, seed=n) for n, (s, r) in enumerate(zip(self.word_streams, self.words))],
        ]  # fmt: skip

    def run(self, max_cycles=40000):
        cycles = run(
            self.clk, self.reset, self.instances, until=lambda: self.freed == len(self.queries), max_cycles=max_cycles
        )
        self.check()
        return cycles

    @block
    def offers(self):
        """Queries whose group is in the ring."""
        compared = self.compared

        @instance
        def send():
            for _ in range(RESET_CYCLES + 1):
                yield self.clk.posedge
            for number, item in enumerate(self.compared_items):
                compared.valid.next = False
                while self.in_ring <= number or self.random.random() < self.stall:
                    for name in compared.fields:
                        getattr(compared, name).next = _noise(self.random, getattr(compared, name))
                    yield self.clk.posedge
                compared.valid.next = True
                for name, value in item.items():
                    getattr(compared, name).next = value
                yield self.clk.posedge
                while not compared.ready:
                    yield self.clk.posedge
            compared.valid.next = False

        return send

    @block
    def ring(self):
        """Writes rows and bitmaps group by group, as the ring has room, and as far ahead as that allows."""
        config, writes = self.config, self.writes

        @instance
        def write():
            while True:
                yield self.clk.posedge
                self.cycle += 1
                self.groups_done += int(self.group_done)

        def fill(number):
            for query in self.groups[number]:
                item = self.compared_items[query]
                head, n = self.queries[query]
                for index in range(config.max_tiles):
                    self.bitmaps[item["group"], item["place"], item["lane"], index] = 0
                for index, word in bitmap_words(head.mask[n], config).items():
                    self.bitmaps[item["group"], item["place"], item["lane"], index] = word
                for beat, part in enumerate(self.rows[query].reshape(config.row_beats, -1)):
                    place = item["group"] << index_bits(config) | item["index"]
                    yield place * config.row_beats + beat, int.from_bytes(part.tobytes(), "little")

        @instance
        def rows():
            for number in range(len(self.groups)):
                while number - self.groups_done >= config.ring_groups:
                    yield self.clk.posedge
                for address, data in fill(number):
                    writes.enable.next, writes.address.next, writes.data.next = True, address, data
                    yield self.clk.posedge
                writes.enable.next = False
                self.in_ring += len(self.groups[number])

        return write, rows

    @block
    def word_memory(self):
        read = self.read

        @instance
        def words():
            late = deque([0] * (BITMAP_WORD_CYCLES - 1))
            while True:
                yield self.clk.posedge
                late.append(self.bitmaps.get((int(read.group), int(read.place), int(read.lane), int(read.index)), 0))
                read.word.next = late.popleft()

        return words

    @block
    def cluster(self, number):
        """Takes headers while it has a slot; a query leaves in order, some cycles after it came whole."""
        config, header, room = self.config, self.headers[number], self.rooms[number]

        @instance
        def process():
            in_flight, ends = 0, deque()
            header.ready.next = True
            rows_whole = 0
            while True:
                yield self.clk.posedge
                if self.reset:
                    continue
                if header.valid:
                    assert header.ready, "a header without a free slot"
                    fields = {name: int(getattr(header, name)) for name in header.fields}
                    self.sent.append((number, fields, self.cycle))
                    assert len(self.sent) - self.freed <= config.output_ring, "a ring entry in use is given out"
                    in_flight += 1
                whole = min(len(self.beats[number]) // config.row_beats, sum(w["last"] for w in self.words[number]))
                while rows_whole < whole:
                    rows_whole += 1
                    ends.append(self.cycle + self.random.randint(*self.slow))
                if ends and self.cycle >= ends[0]:
                    ends.popleft()
                    in_flight -= 1
                    self.finished[number] += 1
                room.next = config.slots - in_flight
                header.ready.next = in_flight != config.slots

        return process

    @block
    def normalizer(self):
        """Frees entries in order, once their queries are finished; reads their records before."""
        records = self.records

        @instance
        def process():
            seen = [0] * self.config.rows
            while True:
                yield self.clk.posedge
                self.entry_freed.next = False
                if self.freed == len(self.sent):
                    continue
                cluster, header, _ = self.sent[self.freed]
                if self.finished[cluster] <= seen[cluster] or self.random.random() < self.free_stall:
                    continue
                records.entry.next = header["entry"]
                for _ in range(RECORD_CYCLES):
                    yield self.clk.posedge
                yield self.clk.negedge
                head, n = self.queries[self.freed]
                expected = dict(
                    visible=head.visible[n], kept=head.kept[n], head_first=n == 0, head_last=n == len(head.mask) - 1,
                    **{name: head.fields[name] for name in ("key_set", "tag", "causal", "n_k", "n_q")},
                )  # fmt: skip
                assert {name: int(getattr(records, name)) for name in expected} == expected, f"record {self.freed}"
                seen[cluster] += 1
                self.freed += 1
                yield self.clk.posedge
                self.entry_freed.next = True

        return process

    def check(self):
        config = self.config
        places = [0] * config.rows
        word_items = [deque(items) for items in self.words]
        for number, (cluster, header, _) in enumerate(self.sent):
            head, n = self.queries[number]
            assert header == dict(
                entry=number % config.output_ring, **{name: head.fields[name] for name in ("key_set", "mantissa", "shift")}
            )  # fmt: skip
            start = places[cluster] * config.row_beats
            beats = self.beats[cluster][start : start + config.row_beats]
            assert b"".join(beat.to_bytes(config.stream_bytes, "little") for beat in beats) == self.rows[number].tobytes()
            places[cluster] += 1
            words = bitmap_words(head.mask[n], config)
            expected = [dict(word=word, index=index, last=int(index == max(words))) for index, word in sorted(words.items())]
            assert [word_items[cluster].popleft() for _ in expected] == expected, f"words of query {number}"
        assert not any(word_items)
        assert self.groups_done == len(self.groups)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stall, free_stall, slow", [(0, 0, (0, 0)), (0.5, 0, (0, 40)), (0, 0.95, (20, 20)), (0.2, 0, (50, 90))])
def test_queries_reach_clusters_whole_and_in_order(engine, stall, free_stall, slow):
    Bench(engine, TINY, heads_of_all_kinds(TINY, 8), stall, slow, free_stall).run()


def test_rows_that_are_not_taken_stop_the_dispatcher():
    config = SHAPES["lanes"].replace(output_ring=32)
    Bench("icarus", config, heads_of_all_kinds(config, 5), row_stall=0.95).run()


@pytest.mark.parametrize("shape", SHAPES)
def test_other_shapes(shape):
    config = SHAPES[shape]
    generator = np.random.default_rng(5)
    heads = [
        random_head(config, number, n_q, min(n_k, config.max_keys), causal, 0.02 + 0.3 * (number % 3 == 0), generator)
        for number, (n_q, n_k, causal) in enumerate([(1, 1, False), (30, 500, True), (2, 64, False), (25, 300, False), (1, 9, True)])
    ]
    Bench("icarus", config, heads, 0.1).run()


@pytest.mark.parametrize(
    "config, n_k, most", [(SMALL, 128, 4.2), (SMALL, 512, 8.2), (BERT, 128, 10), (BERT, 512, 10)],
    ids=lambda value: str(getattr(value, "name", value)),
)  # fmt: skip
def test_a_query_takes_no_longer_than_its_words_and_beats(config, n_k, most):
    """Cycles a query, all words full; four for the decision (the normalizer takes 5.5); `bert`: rows take clusters 9 cycles."""
    head = random_head(config, 0, config.output_ring, n_k, False, 1, np.random.default_rng(5))
    bench = Bench("icarus", config, [head], slow=(0, 0))
    bench.run()
    cycles = [cycle for _, _, cycle in bench.sent]
    assert (cycles[-1] - cycles[12]) / (len(cycles) - 13) <= most


def test_clusters_are_served_in_turn():
    head = random_head(SMALL, 0, 40, 64, False, 0.5, np.random.default_rng(5))
    bench = Bench("icarus", SMALL, [head], slow=(0, 0))
    bench.run()
    assert [cluster for cluster, _, _ in bench.sent] == [n % SMALL.rows for n in range(40)]


def test_a_cluster_that_is_stuck_does_not_stop_the_others():
    """Cluster 0 takes no words: it gets no more queries than its buffer holds, the others all the rest."""
    head = random_head(SMALL, 0, 50, 512, False, 1, np.random.default_rng(5))
    bench = Bench("icarus", SMALL, [head], slow=(0, 0))
    stuck = bench.word_streams[0]
    bench.instances[-1] = [
        part for n, part in enumerate(bench.instances[-1]) if n  # its collector
    ]  # fmt: skip
    run(bench.clk, bench.reset, bench.instances, until=lambda: len(bench.sent) == 50, max_cycles=3000)
    assert not stuck.ready and [cluster for cluster, _, _ in bench.sent].count(0) == 2
