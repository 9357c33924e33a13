"""Rows of O are those of the golden normalizer, in order, whichever cluster finishes which query when."""

import random
from collections import deque

import numpy as np
import pytest
from myhdl import Signal, always, block, instance

from golden.config import CONFIGS
from hdl.banked.interfaces import sums_stream
from hdl.banked.normalizer import banked_normalizer
from hdl.banked.records import RECORD_CYCLES, RecordsRead
from hdl.normalizer import output_rows_stream
from hdl.visible_sum import ValueSumsRead, ValueWrites
from hdl.wires import like
from tests.cosimulation import ENGINES, RESET_CYCLES, collect, make, run
from tests.test_normalizer import check, random_head, value_loader

TINY, SMALL = CONFIGS["tiny"], CONFIGS["small"]
WIDE = TINY.replace(name="wide", rows=8, lane_width=2, d=32, drain_rows=4, stream_bits=128)  # four movers with two clusters each
LONE = TINY.replace(name="lone", rows=1, drain_rows=1, output_ring=2)
RECORD_FIELDS = ("visible", "kept", "head_first", "head_last", "key_set", "tag", "causal", "n_k", "n_q")


def row_items(numerator, denominator, entry, config):
    """What a cluster sends for a query."""
    mask, width = (1 << config.numerator_bits) - 1, config.lane_width
    return [
        dict(
            entry=entry, word=word, denominator=int(denominator), last=word == config.slot_cycles - 1,
            numerators=sum((int(x) & mask) << (m * config.numerator_bits) for m, x in enumerate(numerator[word * width :][:width])),
        )
        for word in range(config.slot_cycles)
    ]  # fmt: skip


@block
def cluster(clk, stream, queue, generator, stall, hold):
    """Sends the rows of its queue, each some time after the one before, but its words without a pause; numerators a cycle behind,
    and others in between."""
    on_offer = like(stream.numerators)

    @always(clk.posedge)
    def numerators_behind():
        stream.numerators.next = on_offer if stream.valid else generator.getrandbits(len(on_offer))

    @instance
    def finished_rows():
        while True:
            while not queue:
                yield clk.posedge
            for _ in range(generator.randrange(hold + 1)):
                yield clk.posedge
            while generator.random() < stall:
                yield clk.posedge
            for item in queue[0]:
                stream.valid.next = True
                for name, value in item.items():
                    (on_offer if name == "numerators" else getattr(stream, name)).next = value
                yield clk.posedge
                while not stream.ready:
                    yield clk.posedge
            queue.pop(0)
            stream.valid.next = False

    return finished_rows, numerators_behind


@block
def array(clk, heads, config, sums, records, entry_freed, loaded, seed, stall, hold):
    """Dispatcher and clusters: entries in order, rows in any. ``hold``: longest time that a row waits in its cluster."""
    generator = random.Random(seed)
    record_memory, in_use = {}, [0]
    rows = [[] for _ in sums]  # of each cluster
    queries = [(i, query) for i, head in enumerate(heads) for query in range(head.sent)]

    def noise_record():
        return {name: generator.getrandbits(getattr(records, name)._nrbits or 1) for name in RECORD_FIELDS}

    @instance
    def dispatcher():
        for _ in range(RESET_CYCLES + 1):
            yield clk.posedge
        for number, (i, query) in enumerate(queries):
            entry, head = number % config.output_ring, heads[i]
            while i not in loaded or in_use[0] == config.output_ring or generator.random() < stall:
                yield clk.posedge
            in_use[0] += 1
            record_memory[entry] = dict(
                visible=int(head.visible[query]), kept=int(head.kept[query]), head_first=query == 0,
                head_last=query == head.sent - 1, key_set=i % 2, tag=i % 16, causal=head.causal, n_k=len(head.values), n_q=head.n_q,
            )  # fmt: skip
            queue = generator.choice([queue for queue in rows if len(queue) == min(map(len, rows))])
            queue.append(row_items(head.numerator[query], head.denominator[query], entry, config))

    @instance
    def free_entries():
        oldest = 0
        while True:
            yield clk.posedge
            if entry_freed:
                assert in_use[0]
                in_use[0] -= 1
                record_memory[oldest] = noise_record()
                oldest = (oldest + 1) % config.output_ring

    @instance
    def read_records():
        asked = deque([0] * (RECORD_CYCLES - 1))
        while True:
            yield clk.posedge
            asked.append(int(records.entry))
            for name, value in record_memory.get(asked.popleft(), noise_record()).items():
                getattr(records, name).next = value

    clusters = [
        cluster(clk, stream, queue, random.Random(seed + n), stall, hold)
        for n, (stream, queue) in enumerate(zip(sums, rows, strict=True))
    ]
    return dispatcher, free_entries, read_records, clusters


def normalized(engine, heads, config, stall=0.0, hold=0, sink_stall=None, seed=0, max_cycles=20000):
    """Beats of all heads, and when each was taken, in cycles."""
    clk, reset = Signal(False), Signal(False)
    sums, records = [sums_stream(config) for _ in range(config.rows)], RecordsRead(config)
    values, value_sums, rows_out = ValueWrites(config), ValueSumsRead(config), output_rows_stream(config)
    entry_freed = Signal(False)
    beats, loaded, times = [], [], []
    expected_beats = sum(head.sent for head in heads) * config.output_beats

    @block
    def clock_of_beats():
        @instance
        def count():
            cycle = 0
            while True:
                yield clk.posedge
                cycle += 1
                if rows_out.valid and rows_out.ready:
                    times.append(cycle)

        return count

    run(
        clk, reset,
        [make(engine, banked_normalizer, clk, reset, sums, records, values, value_sums, rows_out, entry_freed, config=config),
         array(clk, heads, config, sums, records, entry_freed, loaded, seed, stall, hold),
         value_loader(clk, heads, config, values, value_sums, loaded, beats, seed, stall),
         clock_of_beats(),
         collect(clk, rows_out, beats, stall_probability=stall if sink_stall is None else sink_stall, seed=seed)],
        until=lambda: len(beats) == expected_beats, max_cycles=max_cycles)  # fmt: skip
    return beats, times


def mixed_heads(generator, config):
    keys = config.max_keys
    return [
        random_head(generator, config, 1, 1, causal=False),
        random_head(generator, config, 1, 9, causal=True),
        random_head(generator, config, 11, 11, causal=True),
        random_head(generator, config, 7, 5, causal=False, extreme=True),
        random_head(generator, config, 3, min(keys, 20), causal=True),
        random_head(generator, config, 13, 17, causal=True),
        random_head(generator, config, 1, min(keys, 64), causal=True, extreme=True),
        random_head(generator, config, 16, 7, causal=False, residual=False),
        random_head(generator, config, 9, 18, causal=True, sent=4),
        random_head(generator, config, 2, 3, causal=False),
    ]


STALLS = {
    "none": {},
    "late rows": dict(hold=60),
    "everything": dict(stall=0.4, hold=20),
    "sink": dict(sink_stall=0.9),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stalls", STALLS)
def test_heads_back_to_back_are_the_golden_rows(engine, stalls):
    heads = mixed_heads(np.random.default_rng(1), TINY)
    beats, _ = normalized(engine, heads, TINY, seed=2, **STALLS[stalls])
    check(beats, heads, TINY)


@pytest.mark.parametrize("config", [WIDE, LONE], ids=lambda config: config.name)
def test_other_shapes(config):
    heads = mixed_heads(np.random.default_rng(3), config)
    beats, _ = normalized("icarus", heads, config, stall=0.2, hold=30, seed=4)
    check(beats, heads, config)


def test_the_default_core_gives_a_query_every_six_cycles():
    generator = np.random.default_rng(5)
    heads = [random_head(generator, SMALL, 96, 96, causal=True), random_head(generator, SMALL, 96, 20, causal=False)]
    beats, times = normalized("icarus", heads, SMALL, hold=24, seed=6)
    check(beats, heads, SMALL)
    for first, last in ((0, 96), (96, 192)):
        times_of_head = times[first * SMALL.output_beats : last * SMALL.output_beats]
        assert times_of_head[-1] - times_of_head[0] <= 6 * 96
