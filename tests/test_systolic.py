"""The systolic array leaves the golden model's sums, one round a period, whenever its neighbours come and go; and a whole
core with it the output of one with the tiled array. ``make paper`` runs the paper's own size, 64 x 16 PEs, in Verilator."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from myhdl import Signal, instance, intbv

from flows import engines, heads, stimulus
from golden import head as golden_head
from golden.config import CONFIGS, THRESHOLD_FRACTION, ConfigError
from golden.packer import all_columns, pack
from hdl.systolic.array import systolic_array
from hdl.systolic.lane import bubbles, partial_signal
from hdl.systolic.timing import Timing
from tests import test_tiled
from tests.cosimulation import ENGINES, make, run
from tests.test_tiled import random_head, some_heads

TINY = CONFIGS["tiny_paper"]
FULL = CONFIGS["tiny_tiled"].replace(name="tiny_full", span=TINY.span)
PAPER, PAPER_TILED = CONFIGS["paper"], CONFIGS["paper_tiled"]
DATA = Path(__file__).resolve().parents[1] / "data"
T_MAX = 1 << THRESHOLD_FRACTION
needs_verilator = pytest.mark.skipif(shutil.which("verilator") is None, reason="Verilator isn't installed")
ODD = TINY.replace(name="odd", rows=4, lanes=2, span=2, drain_rows=1, slots=2)


class Bench(test_tiled.Bench):
    array = systolic_array

    def register_moves(self):
        """A partial sum waits wherever a column is skipped, but for those left of lane 0."""
        moves = 0
        for head in self.heads:
            n_q, n_k = head.mask.shape
            bits = np.pad(head.mask, ((0, 0), (0, -n_k % self.config.tile_keys))).reshape(-1, self.config.tile_keys)
            columns, count = pack(bits, self.config)
            used = all_columns(columns)[np.arange(columns.shape[1]) < count[:, None]]
            waits = np.diff(used, axis=1, append=self.config.tile_keys) - 1
            moves += int(waits.sum()) * self.config.d
        return moves


@pytest.mark.parametrize("engine", ENGINES)
def test_sums_are_the_golden_models(engine):
    """Would catch anything wrong in a lane, the skew, the bubbles, the scaler, maxima or sums, and mixed-up heads or blocks."""
    Bench(TINY, some_heads(TINY)).run(engine).check()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_partial_sum_waits_a_cycle_for_each_column_skipped(engine):
    """One bubble too many or too few would show here, apart from all else."""
    clk, reset = Signal(False), Signal(False)
    partial, delayed = partial_signal(TINY), partial_signal(TINY)
    most = Timing(TINY).spare
    count = Signal(intbv(0)[TINY.select_bits :])
    generator = np.random.default_rng(1)
    sent, seen = [], []

    @instance
    def stimulus():
        while True:
            yield clk.posedge
            if len(sent) % (2 * most) == 0:
                count.next = len(sent) // (2 * most)
            sent.append(int(generator.integers(partial.min, partial.max)))
            partial.next = sent[-1]
            yield clk.negedge
            seen.append((int(count), int(delayed)))

    dut = make(engine, bubbles, clk, partial, count, delayed, TINY)
    run(clk, reset, [dut, stimulus], until=lambda: len(seen) == 2 * most * (most + 1))
    for cycle, (waits, value) in enumerate(seen):
        if cycle >= most:
            assert value == sent[cycle - waits], f"bubbles: {waits} columns skipped, cycle {cycle}"
    assert {waits for waits, value in seen} == set(range(most + 1))


def lone_weights(config, generator):
    """A head of one tile and d = W, and for each of its queries the lane that has all the weight in its only sub-row.

    All N lanes of a sub-row have keys. Key c is the unit vector of dimension c and a query that of one column, so a single
    lane's exponential isn't zero, and the query's output is the partial sum that this lane began. Every lane of every row
    has the weight with no bubble behind it, with W - N bubbles, and with some.
    """
    lanes, width, rows = config.lanes, config.tile_keys, config.rows
    spare = width - lanes
    kept, lane_of_query = [], []
    for j in range(lanes):
        for gap in (0, spare, *generator.integers(0, spare, 2)):
            before = int(generator.integers(0, spare - gap + 1)) if j + 1 < lanes else spare - gap
            columns = np.arange(lanes) + before + np.where(np.arange(lanes) > j, gap, 0)
            for _ in range(rows):  # one query each
                kept.append(columns)
                lane_of_query.append(j)
    head = random_head(generator, config, len(kept), width, density=0.0, shift=6)
    lane_of_query = np.array(lane_of_query)
    columns = np.array(kept)
    head.mask[:] = False
    np.put_along_axis(head.mask, columns, True, axis=1)
    head.k = np.eye(width, config.d, dtype=np.int8) * 127
    head.q = head.k[columns[np.arange(len(columns)), lane_of_query]]
    return head, lane_of_query


def blame(config, lane_of_query, got, golden):
    """Rows and lanes whose partial sums come at the wrong time: sentences, none if all sums are right.

    A lane's partial sum passes all lanes to its right, so the last lane with wrong sums has the fault.
    """
    wrong = (got != golden).any(axis=1)
    row_of_query = np.arange(len(got)) % config.rows
    sentences = []
    for r in range(config.rows):
        lanes = lane_of_query[wrong & (row_of_query == r)]
        if len(lanes):
            last = lanes.max()
            here = wrong & (row_of_query == r) & (lane_of_query == last)
            late = (got[here, 1:] == golden[here, :-1]).all()
            early = (got[here, :-1] == golden[here, 1:]).all()
            how = "a bubble too many" if late else "a bubble too few" if early else "wrong sums"
            sentences.append(f"row {r}, lane {last}: {how}")
    return sentences


@pytest.mark.parametrize("engine", ENGINES)
def test_each_lane_of_each_row_passes_its_sums_on_in_time(engine):
    """Names the row and the lane if a single one has a bubble too many or too few, or loses one of its W - N."""
    head, lane_of_query = lone_weights(TINY, np.random.default_rng(8))
    bench = Bench(TINY, [head]).run(engine)
    faults = blame(TINY, lane_of_query, bench.numerator[0], head.golden(TINY).numerator)
    assert not faults, "; ".join(faults)
    bench.check()


def test_another_shape_leaves_the_golden_models_sums():
    """More rows than lanes: would catch widths and times that are right for one shape only."""
    Bench(ODD, some_heads(ODD, seed=5)[1:3]).run("myhdl").check()


@pytest.mark.parametrize("density", (0.0, 1.0), ids=("one key", "all keys"))
def test_extreme_densities(density):
    """One key a query, in every column: idle lanes fill up to it, all bubbles on one side. All keys: no lane idles."""
    head = random_head(np.random.default_rng(2), TINY, TINY.tile_keys, 2 * TINY.tile_keys, density=density)
    head.mask[np.arange(TINY.tile_keys), np.arange(TINY.tile_keys)] = True
    Bench(TINY, [head]).run("myhdl").check()


def causal_head(generator, n):
    head = random_head(generator, TINY, n, n, density=0.6)
    head.mask &= np.tri(n, dtype=bool)
    np.fill_diagonal(head.mask, True)
    return head


def test_causal_and_cross_attention_one_after_the_other():
    """Rows that idle in some tiles only, a lone query, and more keys than queries: row r keeps r cycles behind row 0."""
    generator = np.random.default_rng(4)
    heads = [causal_head(generator, TINY.tile_keys + 5), random_head(generator, TINY, 1, TINY.max_keys),
             random_head(generator, TINY, 5, TINY.tile_keys + 3)]  # fmt: skip
    Bench(TINY, heads).run("myhdl").check()


@pytest.mark.parametrize("engine", ENGINES)
def test_late_neighbours_change_nothing_but_the_time(engine):
    """Would catch a round begun without its work items, and sums read or replaced too early."""
    Bench(TINY, some_heads(TINY, seed=4)[1:3], late_work=0.97, late_drain=0.9).run(engine, max_cycles=120000).check()


def test_queries_and_sums_stay_until_they_are_read():
    """Blocks of few rounds, and a normalizer that takes longer for a block than the array."""
    head = random_head(np.random.default_rng(7), TINY, 3 * TINY.block_queries, TINY.tile_keys, density=0.1)
    Bench(TINY, [head]).run("myhdl").check()
    Bench(TINY, [head], drain_delay=800).run("myhdl").check()


def test_rounds_follow_one_another_whatever_they_skip():
    """A bubble saves no time: sparse or dense, a round begins every `period` cycles, across tiles, blocks and heads."""
    generator = np.random.default_rng(5)
    heads = [random_head(generator, TINY, TINY.block_queries, n_k, density=density) for n_k, density in ((32, 0.1), (29, 0.9))]
    bench = Bench(TINY, heads, preload=True).run("myhdl")
    bench.check()
    assert set(np.diff(bench.ticks)) == {Timing(TINY).period}


@pytest.mark.parametrize("config", [config for config in CONFIGS.values() if config.array == "systolic"], ids=lambda c: c.name)
def test_a_round_takes_at_most_two_passes_and_sixteen_cycles(config):
    assert Timing(config).period <= 2 * (config.d + config.tile_keys) + 16


def test_more_rows_than_a_round_has_cycles_are_refused():
    with pytest.raises(ConfigError, match="too many"):
        Timing(TINY.replace(name="high", rows=128))


def test_a_lookaside_connection_is_refused():
    """Partial sums travel to the right, so the lanes' columns must ascend."""
    with pytest.raises(ConfigError, match="full connection"):
        TINY.replace(name="lookaside", span=2)


# The whole core, in Verilator ----------------------------------------------------------------------------------------


def captured(name, config, **changes):
    """(q, k, v, settings) of the heads of a shipped file at T = 1 / n_k, some settings changed."""
    loaded, _ = heads.load(DATA / name, config)
    return [(one.q, one.k, one.v, replace(one.settings(None, False, True), **changes)) for one in loaded]


def cut(head, n_q, n_k):
    """The first queries and keys of a head."""
    q, k, v, settings = head
    return q[:n_q], k[:n_k], v[:n_k], settings


def play(config, rows):
    """The heads back to back through the core: output beats, those of the golden model, and counters."""
    results = [golden_head.run(*row, config) for row in rows]
    played = stimulus.build(rows, results, config)
    run = engines.play("verilator", config, played, limit=100_000 + 2000 * sum(result.rounds for result in results))
    return run.beats, played.expected, run.counters


def check_both(systolic, tiled, rows):
    """Both cores answer alike, and as the golden model does; the counters of the systolic one fit, too."""
    assert (systolic.rows, systolic.lanes, systolic.tile_keys) == (tiled.rows, tiled.lanes, tiled.tile_keys)
    beats, expected, counters = play(systolic, rows)
    wrong = [number for number, (beat, wanted) in enumerate(zip(beats, expected)) if beat != wanted]
    assert not wrong, f"{systolic.name}: {len(wrong)} of {len(expected)} output beats differ, the first is beat {wrong[0]}"
    assert beats == expected, systolic.name
    tiled_beats, _, tiled_counters = play(tiled, rows)
    assert tiled_beats == beats, f"{tiled.name} and {systolic.name} differ"
    for counter in ("rounds", "kept", "slots", "multiplications", "idle_slots"):
        assert counters[counter] == tiled_counters[counter], counter
    assert counters["error"] == 0 and tiled_counters["register_moves"] == 0 < counters["register_moves"]
    return counters


@needs_verilator
def test_whole_cores_with_either_array_answer_alike():
    """Captured heads, causal, cross attention, odd sizes, thresholds 0 and 1, back to back."""
    one, other = captured("narrow_l2_n64.npz", TINY)
    rows = [one, other, *captured("narrow_l2_n64.npz", TINY, causal=True)]
    for threshold in (0, T_MAX):
        q, k, v, settings = one
        settings = replace(settings, threshold=threshold)
        sizes = ((7, 64), (13, 37), (1, 1), (1, 17), (33, 15))
        rows += [cut((q, k, v, settings), *size) for size in sizes]
        rows += [cut((q, k, v, replace(settings, causal=True)), n, n) for n in (17, 31)]
    rows += [cut(other, *size) for size in ((64, 3), (9, 33), (5, 64))]
    check_both(TINY, FULL, rows)


@needs_verilator
@pytest.mark.paper
@pytest.mark.parametrize("name", ["wide_l2_n128.npz", "wide_l2_n512.npz"])
def test_the_papers_size_answers_like_the_tiled_one(name):
    """64 x 16 PEs; a round costs at most what is promised when work is there."""
    rows = captured(name, PAPER)
    counters = check_both(PAPER, PAPER_TILED, rows)
    assert counters["kept"] == counters["slots"] - counters["idle_slots"]
