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
from hdl.predictor import head_stream, predictor
from hdl.quantizer import levels_stream
from hdl.score_store import chunks_stream
from tests.cosimulation import ENGINES, collect, drive, make, run

TINY = CONFIGS["tiny"]
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
def rooms(clk, room, group_start, started, generator, scarce):
    """Room for one group at a time, given at random, taken back when it is used."""

    @always(clk.posedge)
    def give():
        if group_start:
            started.append(bool(room))
        if scarce:
            room.next = not group_start and (bool(room) or generator.random() < 0.02)
        else:
            room.next = True

    return give


def simulate(engine, config, heads, stall=0.0, out_stall=0.0, scarce=False, max_cycles=60000, check=True):
    clk, reset, room, group_start = [Signal(False) for _ in range(4)]
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
            make(engine, predictor, clk, reset, head, levels, chunks, room, group_start, config=config),
            drive(clk, head, [{**one.settings, "predict_dims": one.predict_dims} for one in heads], stall, seed=5),
            drive(clk, offered, items, stall, seed=6),
            key_sets(clk, offered, levels, after, done),
            rooms(clk, room, group_start, started, random.Random(7), scarce),
        ]
        + [collect(clk, chunks[i], received[i], stall_probability=out_stall, seed=8 + i) for i in range(len(chunks))],
        until=lambda: done(len(heads) - 1),
        max_cycles=max_cycles,
    )
    for got, wanted in zip(received, expected):
        for number, (item, right) in enumerate(zip(got, wanted, strict=True)):
            assert item == right, f"chunk {number}"
    assert len(started) == sum(-(-one.queries // config.predict_queries) for one in heads)
    assert all(started), "a group started without room"
    return cycles


def heads_of(config, count, seed, **settings):
    generator = np.random.default_rng(seed)
    return [random_head(generator, config, number, **settings) for number in range(count)]


@pytest.mark.parametrize("engine", ENGINES)
def test_first(engine):
    simulate(engine, TINY, heads_of(TINY, 3, seed=1))
