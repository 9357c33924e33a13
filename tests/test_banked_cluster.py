"""A cluster's sums are golden, whatever the masks and the stalls, and its lanes hardly ever wait."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from myhdl import Signal, always, block, instance, intbv

from golden.banked import attend
from golden.config import CONFIGS, SCORE_FRACTION
from hdl.banked.cluster import cluster
from hdl.banked.interfaces import KeyPort, queries_stream, row_stream, sums_stream, word_bits, words_stream
from hdl.banked.timing import KEY_CYCLES
from tests.cosimulation import ENGINES, collect, drive, make, run

TINY, SMALL, BERT = CONFIGS["tiny_banked"], CONFIGS["small_banked"], CONFIGS["bert_banked"]
SETS = 2


@dataclass
class Work:
    """Queries [n, d], masks [n, max_keys], key set and factor of each; keys and values [set, max_keys, d]."""

    q: np.ndarray
    mask: np.ndarray
    key_set: np.ndarray
    factors: list
    k: np.ndarray
    v: np.ndarray
    received: list = field(default_factory=list)


def random_work(config, masks, seed=0, extreme=False, shift=3):
    """Random operands for the given masks; the key set changes now and then."""
    generator = np.random.default_rng(seed)
    shape = (SETS, config.max_keys, config.d)

    def operands(*shape):
        if extreme:
            return generator.choice(np.array([-128, 127], dtype=np.int8), shape)
        return generator.integers(-128, 128, shape).astype(np.int8)

    masks = np.asarray(masks, dtype=bool)
    n = len(masks)
    q = operands(n, config.d)
    if extreme:
        q[0], q[n // 2] = -128, 127
    k = operands(*shape)
    if extreme:
        k[:, : config.max_keys // 2] = np.where(generator.random((SETS, config.max_keys // 2, 1)) < 0.5, -128, 127)
    sets = np.cumsum(generator.random(n) < 0.3) % SETS
    factors = [(int(generator.integers(1 << 15, 1 << 16)), shift + s) for s in range(SETS)]
    return Work(q, masks, sets, [factors[s] for s in sets], k, operands(*shape))


def random_masks(config, n, density, seed=0):
    """At least one key a query."""
    generator = np.random.default_rng(seed)
    masks = generator.random((n, config.max_keys)) < density
    masks[np.arange(n), generator.integers(0, config.max_keys, n)] |= ~masks.any(axis=1)
    return masks


def expected_sums(work, config):
    """(numerators [n, d], denominator [n]) of the golden model, query by query."""
    numerators, denominators = [], []
    for i in range(len(work.q)):
        s = work.key_set[i]
        sums = attend(work.q[i : i + 1], work.k[s], work.v[s], work.mask[i : i + 1], *work.factors[i], config)
        numerators.append(sums.numerator[0].tolist())
        denominators.append(int(sums.denominator[0]))
    return numerators, denominators


def bitmap_words(mask, config):
    """Items of the `words` stream: non-zero words in ascending order, or one that is zero."""
    rows = mask.reshape(-1, config.tile_keys)
    items = [
        {"word": sum(1 << int(b) for b in np.flatnonzero(row)), "index": i, "last": 0}
        for i, row in enumerate(rows)
        if row.any()
    ] or [{"word": 0, "index": 0, "last": 0}]
    items[-1]["last"] = 1
    return items


def stream_items(work, config):
    headers = [
        {"entry": i % config.output_ring, "key_set": int(work.key_set[i]), "mantissa": m, "shift": s}
        for i, (m, s) in enumerate(work.factors)
    ]
    beats = [
        int.from_bytes(row[b : b + config.stream_bytes].tobytes(), "little")
        for row in work.q
        for b in range(0, config.d, config.stream_bytes)
    ]
    words = [item for mask in work.mask for item in bitmap_words(mask, config)]
    return headers, beats, words


@block
def phase_counter(clk, score_phase, word, config):
    last = config.slot_cycles - 1

    @always(clk.posedge)
    def count():
        if word == last:
            word.next = 0
            score_phase.next = not score_phase
        else:
            word.next = word + 1

    return count


@block
def key_memories(clk, score_phase, ports, work, config):
    """Data KEY_CYCLES after the address: K for addresses of a score phase, V for those of a value phase."""
    width, words = config.lane_width, config.slot_cycles
    memory = {}
    for value, operands in ((False, work.k), (True, work.v)):
        for s in range(SETS):
            for key in range(config.max_keys):
                for w in range(words):
                    data = operands[s, key, w * width : (w + 1) * width].tobytes()
                    memory[value, s, key, w] = int.from_bytes(data, "little")

    @instance
    def read():
        lanes = config.lanes
        pipe = [[0] * lanes for _ in range(KEY_CYCLES - 1)]
        while True:
            yield clk.posedge
            now = []
            for j, port in enumerate(ports):
                key, w = divmod(int(port.address), words)
                now.append(memory[not score_phase, int(port.key_set), key * lanes + j, w])
            pipe.append(now)
            for port, data in zip(ports, pipe.pop(0)):
                port.data.next = data

    return read


def simulate(engine, config, work, header_stall=0.0, row_stall=0.0, word_stall=0.0, out_stall=0.0, max_cycles=40000):
    """Cycles taken, and lanes busy in [score, value] phases, summed over phases."""
    clk, reset = Signal(False), Signal(False)
    score_phase, word = Signal(False), Signal(intbv(0)[word_bits(config) :])
    queries, row, words, sums = (
        make_stream(config) for make_stream in (queries_stream, row_stream, words_stream, sums_stream)
    )
    keys = [KeyPort(config) for _ in range(config.lanes)]
    room = Signal(intbv(0, min=0, max=config.slots + 1))
    busy_lanes = Signal(intbv(0, min=0, max=config.lanes + 1))
    busy, rooms = [0, 0], []
    headers, beats, items = stream_items(work, config)
    last = config.slot_cycles - 1

    @block
    def utilisation():
        @instance
        def count():
            while True:
                yield clk.posedge
                if not reset:
                    rooms.append(int(room))
                if word == last and not reset:
                    busy[0 if score_phase else 1] += int(busy_lanes)

        return count

    cycles = run(
        clk,
        reset,
        [
            make(engine, cluster, clk, reset, score_phase, word, queries, row, words, keys, sums, room, busy_lanes, config=config),
            phase_counter(clk, score_phase, word, config),
            key_memories(clk, score_phase, keys, work, config),
            drive(clk, queries, headers, header_stall, seed=1),
            drive(clk, row, beats, row_stall, seed=2),
            drive(clk, words, items, word_stall, seed=3),
            collect(clk, sums, work.received, stall_probability=out_stall, seed=4),
            utilisation(),
        ],
        until=lambda: len(work.received) == len(work.q) * config.slot_cycles,
        max_cycles=max_cycles,
    )  # fmt: skip
    assert rooms[-1] == config.slots and set(rooms) == set(range(config.slots + 1))
    return cycles, busy


def check(work, config):
    """Everything that a cluster sent is golden, in order."""
    numerators, denominators = expected_sums(work, config)
    bits, words = config.numerator_bits, config.slot_cycles
    for i in range(len(work.q)):
        items = work.received[i * words : (i + 1) * words]
        assert [item["word"] for item in items] == list(range(words))
        assert [item["last"] for item in items] == [0] * (words - 1) + [1]
        assert {item["entry"] for item in items} == {i % config.output_ring}
        row = []
        for item in items:
            for m in range(config.lane_width):
                number = item["numerators"] >> (m * bits) & ((1 << bits) - 1)
                row.append(number - (1 << bits) if number >> (bits - 1) else number)
        assert {item["denominator"] for item in items} == {denominators[i]}, f"query {i}"
        assert row == numerators[i], f"query {i}"


STALLS = {
    "none": {},
    "headers": dict(header_stall=0.9),
    "rows": dict(row_stall=0.9),
    "words": dict(word_stall=0.9),
    "sums": dict(out_stall=0.9),
    "all": dict(header_stall=0.5, row_stall=0.5, word_stall=0.5, out_stall=0.5),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stalls", STALLS)
def test_sums_are_golden_whatever_stalls(engine, stalls):
    masks = np.concatenate([random_masks(TINY, 8, density, seed=i) for i, density in enumerate((0.03, 0.2, 0.6))])
    work = random_work(TINY, masks, seed=1)
    busy = simulate(engine, TINY, work, **STALLS[stalls])[1]
    check(work, TINY)
    assert busy == [masks.sum(), masks.sum()]
