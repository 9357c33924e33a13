"""A cluster's sums are golden, whatever the masks and the stalls, and its lanes hardly ever wait."""

import shutil
from dataclasses import dataclass, field

import numpy as np
import pytest
from myhdl import Signal, always, block, instance, intbv

from golden.banked import attend
from golden.config import CONFIGS
from hdl.banked.cluster import cluster
from hdl.banked.interfaces import KeyPort, queries_stream, row_stream, sums_stream, word_bits, words_stream
from hdl.banked.timing import KEY_CYCLES
from tests.cosimulation import NETLIST, collect, collect_behind, drive, make, run

TINY, SMALL, BERT = CONFIGS["tiny"], CONFIGS["small"], CONFIGS["bert"]
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
    busy, rooms, taken, numerators = [0, 0], [], [], []
    headers, beats, items = stream_items(work, config)
    last = config.slot_cycles - 1

    @block
    def words_in_a_row():
        @instance
        def watch():
            was_taken, was_last = False, False
            while True:
                yield clk.posedge
                assert not was_taken or bool(sums.valid) != was_last, "not the words of a row without a pause, and then one"
                was_taken, was_last = bool(sums.valid and sums.ready), bool(sums.last)

        return watch

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
            collect(clk, sums, taken, stall_probability=out_stall, seed=4),
            collect_behind(clk, sums, sums.numerators, numerators),
            words_in_a_row(),
            utilisation(),
        ],
        until=lambda: len(numerators) == len(work.q) * config.slot_cycles,
        max_cycles=max_cycles,
    )  # fmt: skip
    work.received = [{**item, "numerators": number} for item, number in zip(taken, numerators, strict=True)]
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


SHAPES = {
    "four_slots": TINY.replace(slots=4),
    "four_cycles_a_phase": TINY.replace(lane_width=4, drain_rows=1),
    "as_many_lanes_as_cycles": TINY.replace(lanes=8, slots=4),
    "one_multiplier_a_lane": TINY.replace(lane_width=1),
    "eight_multipliers_a_lane": TINY.replace(lane_width=8, d=64, slots=4),
}


def some_masks(config, each=3):
    """Some queries of every density."""
    return np.concatenate([random_masks(config, each, density, seed=i) for i, density in enumerate((0.02, 0.2, 0.6))])


@pytest.mark.parametrize("stalls", STALLS)
def test_sums_are_golden_whatever_stalls(stalls):
    config = SHAPES["four_slots"]
    masks = some_masks(config)
    work = random_work(config, masks, seed=1)
    busy = simulate("icarus", config, work, **STALLS[stalls])[1]
    check(work, config)
    assert busy == [masks.sum(), masks.sum()]


@pytest.mark.parametrize("stalls", ["none", "all"])
def test_sums_are_golden_in_myhdl(stalls):
    work = random_work(TINY, some_masks(TINY, 2), seed=2)
    simulate("myhdl", TINY, work, **STALLS[stalls])
    check(work, TINY)


@pytest.mark.skipif(not shutil.which("yosys"), reason="needs yosys")
def test_the_netlist_makes_golden_sums():
    """For ECP5, with the registers of multipliers and memories inside their blocks, and control sets shared."""
    work = random_work(TINY, some_masks(TINY, 2), seed=2)
    simulate(NETLIST, TINY, work, **STALLS["all"])
    check(work, TINY)


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_are_golden_for_other_shapes(shape):
    config = SHAPES[shape]
    work = random_work(config, some_masks(config), seed=3)
    simulate("icarus", config, work, **STALLS["none"])
    check(work, config)


def special_masks(config):
    """Masks that fill queues and memories of single lanes, or leave them empty."""
    keys = np.arange(config.max_keys)
    one_lane = [keys % config.lanes == j for j in (0, 1)]
    single = [keys == key for key in (0, 1, config.max_keys - 1, config.max_keys // 2)]
    everything, nothing = keys >= 0, keys < 0
    return np.array([one_lane[0], one_lane[0], one_lane[1], *single, everything, everything, nothing, single[1],
                     nothing, nothing, one_lane[1], single[2]])  # fmt: skip


@pytest.mark.parametrize("slots, stalls", [(2, "none"), (4, "none"), (4, "all")])
def test_one_key_all_keys_and_one_lanes_keys(slots, stalls):
    config = TINY.replace(slots=slots)
    work = random_work(config, special_masks(config), seed=4)
    simulate("icarus", config, work, **STALLS[stalls])
    check(work, config)


@pytest.mark.parametrize("out_stall", [0, 0.95])
def test_a_lane_far_ahead_of_the_others_keeps_queries_apart(out_stall):
    """A busy lane holds up a query while the other lane could add values of all later ones."""
    config = SHAPES["four_slots"]
    counts = [[9, 0], [0, 1], [0, 2], [1, 1], [0, 1], [0, 9], [1, 0], [2, 0], [1, 0], [1, 1]]
    work = random_work(config, masks_of_counts(counts, config), seed=10)
    simulate("icarus", config, work, out_stall=out_stall)
    check(work, config)


def test_a_lane_stops_scoring_while_its_score_memory_is_full():
    """Sums that nobody takes hold up the values, and later queries' scores pile up."""
    config = TINY.replace(slots=4, max_keys=16)
    counts = [[config.lane_keys, 1]] * 10
    work = random_work(config, masks_of_counts(counts, config), seed=11)
    simulate("icarus", config, work, out_stall=0.97)
    check(work, config)


@pytest.mark.parametrize("shift", [0, 13])
def test_extreme_operands_and_factors(shift):
    config = SHAPES["four_slots"]
    work = random_work(config, np.concatenate([special_masks(config)[1:8], some_masks(config, 1)]), 5, True, shift)
    simulate("icarus", config, work)
    check(work, config)


def test_small_is_golden():
    masks = np.concatenate([random_masks(SMALL, 8, density, seed=i) for i, density in enumerate((0.02, 0.2))])
    masks[:, 128:] = False
    masks[:, 5] |= ~masks.any(axis=1)
    work = random_work(SMALL, masks, seed=6)
    simulate("icarus", SMALL, work, **STALLS["none"])
    check(work, SMALL)


def test_bert_is_golden():
    masks = random_masks(BERT, 8, 0.02, seed=7)
    work = random_work(BERT, masks, seed=7)
    simulate("icarus", BERT, work, **STALLS["none"])
    check(work, BERT)


def periods_of_ideal_queues(counts, slots):
    """Periods that lanes take for queries with `counts` [query, lane] keys: lanes independent, `slots` queries in flight,
    a value in the period after its query's last score, the drain and the next query in no time."""
    waiting, flight, period = list(counts), [], 0
    while waiting or flight:
        while waiting and len(flight) < slots:
            keys = waiting.pop(0)
            flight.append([keys.copy(), keys.copy(), False])
        for lane in range(counts.shape[1]):
            for part in (0, 1):
                query = next((query for query in flight if query[part][lane]), None)
                if query and (part == 0 or query[2]):
                    query[part][lane] -= 1
        for query in flight:
            query[2] = not query[0].any()
        while flight and not flight[0][1].any():
            flight.pop(0)
        period += 1
    return period


def masks_of_counts(counts, config, seed=0):
    """Random keys, as many for each query and lane as `counts` says."""
    generator = np.random.default_rng(seed)
    masks = np.zeros((len(counts), config.max_keys), dtype=bool)
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            masks[i, generator.choice(config.lane_keys, count, replace=False) * config.lanes + j] = True
    return masks


@pytest.mark.parametrize("config", [SMALL, SHAPES["four_slots"]], ids=lambda config: config.name)
def test_lanes_never_wait_within_long_queries(config):
    counts = np.full((4, config.lanes), 20)
    work = random_work(config, masks_of_counts(counts, config), seed=8)
    cycles, busy = simulate("icarus", config, work)
    check(work, config)
    # The last query's values come after its scores; besides: loading, from its last score to its first value, draining.
    assert cycles <= 2 * config.slot_cycles * (counts.sum(axis=0).max() + counts[-1].max()) + 64


@pytest.mark.parametrize("most, queries, efficiency", [(1, 40, 0.48), (5, 32, 0.86), (12, 10, 0.95)])
def test_short_queries_take_hardly_longer_than_ideal_queues(most, queries, efficiency):
    """Loading, and the way from the last score to the first value, take some 60 cycles a query, whatever its keys: that shows
    where a query has one key a lane, as many queries as slots are in flight, and one leaves every other period."""
    generator = np.random.default_rng(9)
    counts = generator.integers(0, most + 1, (queries, SMALL.lanes))
    counts[~counts.any(axis=1), 0] = 1
    work = random_work(SMALL, masks_of_counts(counts, SMALL), seed=9)
    cycles, _ = simulate("icarus", SMALL, work)
    check(work, SMALL)
    ideal = 2 * SMALL.slot_cycles * periods_of_ideal_queues(counts, SMALL.slots)
    filling = 6 * SMALL.slot_cycles
    assert ideal >= efficiency * (cycles - filling)
