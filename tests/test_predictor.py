"""The predictor gives golden scores, masks and maxima, in order, at the rate that its shape promises."""

import copy
import random
from dataclasses import dataclass

import numpy as np
import pytest
from myhdl import Signal, always, always_comb, block

from golden.config import CONFIGS, LENGTH_BITS, PREDICTED_BITS
from golden.predictor import predict
from golden.quantizer import quantize_rows
from hdl.group_starts import GroupStarts
from hdl.predictor import head_stream, predictor
from hdl.quantizer import levels_stream
from hdl.score_store import chunks_stream
from tests.cosimulation import ENGINES, collect, drive, make, run

TINY = CONFIGS["tiny_tiled"]
LOWEST = -(1 << (PREDICTED_BITS - 1))


@dataclass
class Head:
    """Settings of a head, its rows, and, if it is cut short, how many queries came."""

    q: np.ndarray
    k: np.ndarray
    mantissa: int
    shift: int
    causal: bool
    predict_dims: int
    key_set: int
    tag: int
    threshold: int
    residual: int
    queries: int
    send_keys: bool = True

    @property
    def settings(self):
        return dict(
            n_q=len(self.q), n_k=len(self.k), mantissa=self.mantissa, shift=self.shift, threshold=self.threshold,
            causal=int(self.causal), residual=self.residual, key_set=self.key_set, tag=self.tag,
        )  # fmt: skip


def random_head(generator, config, number, n_q=None, n_k=None, **settings):
    """A head with rows of all sizes of number; a factor that brings its scores into range, or far out of it."""
    causal = bool(generator.integers(2))
    n_k = n_k or int(generator.integers(1, config.max_keys, endpoint=True))
    n_q = n_q or int(generator.integers(1, min(n_k, 3 * config.predict_queries), endpoint=True))

    def rows(n):
        limits = np.minimum(1 << generator.integers(0, 8, (n, 1)), 127)
        return generator.integers(-limits, limits, (n, config.d), endpoint=True).astype(np.int8)

    q, k = rows(n_q), rows(n_k)
    extreme = generator.integers(8, size=2)
    if extreme[0] == 0:
        q[:] = generator.choice([-128, 127], q.shape)
        k[:] = generator.choice([-128, 127], k.shape[1])
    defaults = dict(
        mantissa=int(generator.integers(1 << 15, 1 << 16)),
        shift=int(generator.integers(0, 32) if extreme[1] == 0 else generator.integers(0, 8)),
        causal=causal and n_q <= n_k,
        predict_dims=int(generator.integers(1, config.d, endpoint=True)),
        key_set=number % 2,
        tag=number % 16,
        threshold=int(generator.integers(0, 1 << 25)),
        residual=int(generator.integers(2)),
        queries=n_q,
    )
    return Head(q, k, **{**defaults, **settings})


def code(levels, bits):
    """A beat of levels, sign and magnitude; a level of 0 may have either sign."""
    word = 0
    for i, level in enumerate(levels.tolist()):
        word |= (abs(level) | (level < 0) << (bits - 1)) << (i * bits)
    return word


def row_items(rows, head, config, query):
    levels, exponents = quantize_rows(rows, config, head.predict_dims)
    for index in range(len(rows)):
        for beat in range(config.row_beats):
            part = slice(beat * config.stream_bytes, (beat + 1) * config.stream_bytes)
            yield dict(
                levels=code(levels[index, part], config.prediction_bits), exponent=int(exponents[index]),
                predict_dims=head.predict_dims, last=int(beat == config.row_beats - 1), query=int(query),
                key_set=head.key_set, index=index % config.predict_queries if query else index,
            )  # fmt: skip


def level_items(heads, config):
    """Beats of all heads, and which heads have to be done before each."""
    items, after = [], []
    for number, head in enumerate(heads):
        keys = list(row_items(head.k, head, config, query=False)) if head.send_keys else []
        items += keys
        after += [max((i for i in range(number) if heads[i].key_set == head.key_set), default=-1)] * len(keys)
        queries = list(row_items(head.q[: head.queries], head, config, query=True))
        group_beats = config.predict_queries * config.row_beats
        for start in range(0, len(queries), group_beats):
            group = queries[start : start + group_beats]
            items += group
            items.append(dict(
                marker=1, count=len(group) // config.row_beats, head_last=int(start + group_beats >= len(queries)),
            ))  # fmt: skip
        after += [-1] * (len(items) - len(after))
    return items, after


def expected_chunks(head, config, lane):
    q_levels, q_exponents = quantize_rows(head.q, config, head.predict_dims)
    k_levels, k_exponents = quantize_rows(head.k, config, head.predict_dims)
    scores = predict(q_levels, q_exponents, k_levels, k_exponents, head.mantissa, head.shift, config)
    n_q, n_k, keys = len(head.q), len(head.k), config.predict_keys
    items = []
    for query in range(head.queries):
        in_group = query % config.predict_queries
        if in_group % config.softmax_lanes != lane:
            continue
        visible = query + n_k - n_q + 1 if head.causal else n_k
        chunks = -(-visible // keys)
        row = np.full(chunks * keys, LOWEST)
        row[:visible] = scores[query, :visible]
        head_last = query == head.queries - 1
        for chunk in range(chunks):
            word = 0
            for i in range(keys):
                word |= (int(row[chunk * keys + i]) & ((1 << PREDICTED_BITS) - 1)) << (i * PREDICTED_BITS)
            seen = min(visible - chunk * keys, keys)
            items.append(dict(
                scores=word, visible_mask=(1 << seen) - 1, last=int(chunk == chunks - 1), query=query, visible=visible,
                maximum=int(row[:visible].max()), head_last=int(head_last),
                group_last=int(head_last or in_group == config.predict_queries - 1), **head.settings,
            ))  # fmt: skip
    return items


@block
def key_sets(clk, offered, levels, after, done):
    """Holds the keys of a head back until the last head with the same key set is done."""
    open_now = Signal(False)
    taken = 0

    @always(clk.posedge)
    def gate():
        nonlocal taken
        taken += bool(levels.valid and levels.ready)
        open_now.next = taken < len(after) and (after[taken] < 0 or done(after[taken]))

    @always_comb
    def forward():
        levels.valid.next = offered.valid and open_now
        offered.ready.next = levels.ready and open_now

    return gate, forward


@block
def rooms(clk, starts, started, generator, scarce):
    """Room for one group at a time, given at random, taken back when it is used."""

    @always(clk.posedge)
    def give():
        if starts.start:
            assert starts.room, "a group starts without room"
            started.append((int(starts.count), bool(starts.head_last)))
        if scarce:
            starts.room.next = not starts.start and (bool(starts.room) or generator.random() < 0.02)
        else:
            starts.room.next = True

    return give


def simulate(engine, config, heads, stall=0.0, out_stall=0.0, scarce=False, max_cycles=60000):
    clk, reset, starts = Signal(False), Signal(False), GroupStarts(config)
    head, levels = head_stream(config), levels_stream(config)
    offered = copy.copy(levels)  # the same fields
    offered.valid, offered.ready = Signal(False), Signal(False)
    chunks = [chunks_stream(config) for _ in range(config.softmax_lanes)]
    received, started = [[] for _ in chunks], []
    by_head = [[expected_chunks(one, config, lane) for one in heads] for lane in range(len(chunks))]
    expected = [[item for items in of_lane for item in items] for of_lane in by_head]
    ends = [np.cumsum([len(items) for items in of_lane]) for of_lane in by_head]
    items, after = level_items(heads, config)

    def done(number):
        return all(len(got) >= end[number] for got, end in zip(received, ends))

    cycles = run(
        clk,
        reset,
        [
            make(engine, predictor, clk, reset, head, levels, chunks, starts, config=config),
            drive(clk, head, [{**one.settings, "predict_dims": one.predict_dims} for one in heads], stall, seed=5),
            drive(clk, offered, items, stall, seed=6),
            key_sets(clk, offered, levels, after, done),
            rooms(clk, starts, started, random.Random(7), scarce),
        ]
        + [collect(clk, chunks[i], received[i], stall_probability=out_stall, seed=8 + i) for i in range(len(chunks))],
        until=lambda: done(len(heads) - 1),
        max_cycles=max_cycles,
    )
    for got, wanted in zip(received, expected):
        for number, (item, right) in enumerate(zip(got, wanted, strict=True)):
            assert item == right, f"chunk {number}"
    assert started == [(item["count"], bool(item["head_last"])) for item in items if item.get("marker")]
    return cycles


def heads_of(config, count, seed, **settings):
    generator = np.random.default_rng(seed)
    return [random_head(generator, config, number, **settings) for number in range(count)]


# Shapes --------------------------------------------------------------------------------------------------------------

SHAPES = {
    "2 bits": TINY.replace(prediction_bits=2),
    "3 bits": TINY.replace(prediction_bits=3),
    "8 bits, d = 64": TINY.replace(prediction_bits=8, d=64),
    "one beat a row, 8 dimensions a cycle": TINY.replace(stream_bits=128, predict_width=8),
    "two lanes of two queries, 8 keys": TINY.replace(predict_queries=4, predict_keys=8, softmax_lanes=2),
    "two lanes of one query, 16 dimensions a cycle": TINY.replace(
        stream_bits=128, predict_width=16, predict_queries=2, softmax_lanes=2
    ),
    "one dimension a cycle, one key": TINY.replace(predict_width=1, predict_keys=1, predict_queries=1),
    "one chunk": TINY.replace(max_keys=16, predict_keys=16),
    "three lanes of four queries": CONFIGS["tiny"].replace(predict_queries=12, softmax_lanes=3),
    "eight queries, more passes than steps": TINY.replace(predict_queries=8, predict_width=8),
    "small": CONFIGS["small_tiled"].replace(max_keys=64),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_scores_are_golden_for_every_shape(shape):
    simulate("icarus", SHAPES[shape], heads_of(SHAPES[shape], 4, seed=2), stall=0.05, out_stall=0.1)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stall, out_stall, scarce", [(0, 0, 0), (0.5, 0, 0), (0, 0.7, 0), (0.1, 0.3, 1)])
def test_scores_are_golden_and_in_order_whatever_stalls(engine, stall, out_stall, scarce):
    simulate(engine, TINY, heads_of(TINY, 4 if engine == "myhdl" else 10, seed=3), stall, out_stall, scarce)


@pytest.mark.parametrize("out_stall", [0.6, 0.9])
def test_nothing_is_overwritten_while_chunks_are_slow_to_leave(out_stall):
    """Multiplication faster than the streams: it fills both buffers of scores, and the ring of queries behind it."""
    heads = heads_of(TINY, 2, seed=12, n_q=36, n_k=40, predict_dims=2)
    heads[1] = random_head(np.random.default_rng(13), TINY, 1, n_q=20, n_k=9, predict_dims=2)
    simulate("icarus", TINY, heads, out_stall=out_stall)


# Settings ------------------------------------------------------------------------------------------------------------


def test_every_number_of_dimensions_is_predicted():
    generator = np.random.default_rng(4)
    simulate("icarus", TINY, [
        random_head(generator, TINY, i, n_q=3, n_k=9, predict_dims=i + 1) for i in range(TINY.d)
    ])  # fmt: skip


def test_every_shift_scores_golden_whatever_the_exponents():
    """All right shifts, left shifts for large exponents, and saturation at both ends."""
    generator = np.random.default_rng(5)
    heads = []
    for shift in range(32):
        head = random_head(generator, TINY, shift, n_q=4, n_k=16, shift=shift, causal=False, predict_dims=TINY.d)
        head.q[:] = np.clip(generator.integers(-127, 128, (4, 1)), -128, 127)
        head.k[::2] = head.k[::2] // (1 << generator.integers(0, 8, (8, 1)))
        heads.append(head)
    everything = [item["maximum"] for head in heads for item in expected_chunks(head, TINY, 0)]
    assert max(everything) == -LOWEST - 1
    simulate("icarus", TINY, heads)


def test_mantissas_round_to_four_bits_without_a_fifth():
    generator = np.random.default_rng(6)
    mantissas = [0x8000, 0x87FF, 0x8800, 0x97FF, 0xA800, 0xC000, 0xF7FF, 0xF800, 0xFFFF]
    simulate("icarus", TINY, [
        random_head(generator, TINY, i, n_q=2, n_k=8, mantissa=mantissas[i], shift=6, predict_dims=TINY.d)
        for i in range(len(mantissas))
    ])  # fmt: skip


@pytest.mark.parametrize("n_q, n_k", [(1, 1), (1, 64), (2, 2), (3, 64), (5, 7), (9, 64), (64, 64), (11, 13)])
def test_a_causal_query_sees_the_keys_before_it_and_its_own(n_q, n_k):
    simulate("icarus", TINY, heads_of(TINY, 2, seed=7, n_q=n_q, n_k=n_k, causal=True), out_stall=0.2)


def test_a_head_without_keys_of_its_own_uses_those_that_are_there():
    heads = heads_of(TINY, 2, seed=8, n_k=20, predict_dims=12, key_set=1)
    heads[1].k, heads[1].send_keys = heads[0].k, False
    simulate("icarus", TINY, heads)


@pytest.mark.parametrize("queries", [1, 2, 3, 4])
def test_a_head_cut_short_leaves_the_next_ones_right(queries):
    heads = heads_of(TINY, 4, seed=9, n_q=9)
    heads[0].queries = heads[2].queries = queries
    simulate("icarus", TINY, heads, out_stall=0.3)


def test_many_single_queries_do_not_overtake_each_other():
    """Heads of one group and one chunk: more of them are on their way than buffers and queues hold."""
    simulate("icarus", TINY, heads_of(TINY, 40, seed=10, n_q=1, n_k=3, predict_dims=1), out_stall=0.9)


# Reset ---------------------------------------------------------------------------------------------------------------


@block
def one_then_other(clk, streams, target, other, blocked):
    """The target has what the first stream offers, or the second one if ``other``; nothing while ``blocked``."""

    @always(clk.negedge)
    def choose():
        chosen = streams[int(other)]
        for name in target.fields:
            getattr(target, name).next = getattr(chosen, name)
        target.valid.next = chosen.valid and not blocked
        chosen.ready.next = target.ready and not blocked
        streams[1 - int(other)].ready.next = False

    return choose


@pytest.mark.parametrize("reset_at", [40, 93, 150, 246, 251, 333])
def test_after_a_reset_in_the_middle_all_begins_anew(reset_at):
    config = TINY
    old, new = heads_of(config, 6, seed=14, predict_dims=5), heads_of(config, 2, seed=15)
    clk, start, reset, starts, other = Signal(False), Signal(False), Signal(True), GroupStarts(config), Signal(False)
    head, levels, chunks = head_stream(config), levels_stream(config), chunks_stream(config)
    sources = [(head.like(), levels.like()) for _ in range(2)]
    received, started = [], []
    expected = [item for one in new for item in expected_chunks(one, config, 0)]
    cycle = 0

    @always(clk.posedge)
    def control():
        nonlocal cycle
        cycle += 1
        reset.next = cycle < 3 or cycle == reset_at
        if cycle == reset_at:
            other.next = True
        if cycle == reset_at + 2:  # what was there in the cycle of the reset is gone
            received.clear()

    run(
        clk,
        start,
        [
            make("icarus", predictor, clk, reset, head, levels, [chunks], starts, config=config),
            control,
            one_then_other(clk, [source[0] for source in sources], head, other, reset),
            one_then_other(clk, [source[1] for source in sources], levels, other, reset),
            rooms(clk, starts, started, random.Random(7), False),
            collect(clk, chunks, received),
        ]
        + [
            part
            for heads, source in zip((old, new), sources)
            for part in (
                drive(clk, source[0], [{**one.settings, "predict_dims": one.predict_dims} for one in heads]),
                drive(clk, source[1], level_items(heads, config)[0]),
            )
        ],
        until=lambda: cycle > reset_at + 2 and len(received) >= len(expected),
    )
    assert received == expected


# Rate ----------------------------------------------------------------------------------------------------------------


def busy_cycles(head, config):
    """Cycles that the head's chunks take without a gap."""
    steps = max(-(-head.predict_dims // config.predict_width), config.predict_queries // config.softmax_lanes)
    total = 0
    for first in range(0, head.queries, config.predict_queries):
        last = min(first + config.predict_queries, head.queries) - 1
        visible = last + len(head.k) - len(head.q) + 1 if head.causal else len(head.k)
        total += steps * -(-visible // config.predict_keys)
    return total


LATENCY = 42  # from the last step to the group's last chunk, without the chunks of the group


@pytest.mark.parametrize("shape, n_q, n_k, predict_dims, causal", [
    ("tiny", 30, 64, 16, False),
    ("tiny", 30, 64, 4, False),  # as many cycles a chunk as the scores take to be streamed out
    ("tiny", 64, 64, 16, True),
    ("small", 32, 128, 32, False),
])  # fmt: skip
def test_chunks_follow_each_other_without_a_gap(shape, n_q, n_k, predict_dims, causal):
    config = CONFIGS[shape]
    heads = heads_of(config, 1, seed=11, n_q=n_q, n_k=n_k, predict_dims=predict_dims, causal=causal)
    loading = (n_k + config.predict_queries) * config.row_beats
    cycles = simulate("icarus", config, heads) - loading
    passes = config.predict_queries // config.softmax_lanes
    last_group = passes * -(-n_k // config.predict_keys)
    # Where chunks take no longer than that, a group waits a cycle for the buffer.
    waits = -(-n_q // config.predict_queries) if predict_dims <= passes * config.predict_width else 0
    assert cycles <= 1.03 * busy_cycles(heads[0], config) + LATENCY + last_group + waits
