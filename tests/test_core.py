"""The whole core equals the golden model, from stream to stream: odd sizes, stalls, faults, resets.

Small runs on the MyHDL model and on the converted Verilog in Icarus, where the bench can do anything at any time; long
random ones in Verilator. ``make soak`` runs longer ones still.
"""

import random
import shutil
from dataclasses import replace

import numpy as np
import pytest

from flows import engines, stimulus
from golden.config import CONFIGS
from golden.registers import REGISTER_MAP, ErrorCode, HeadMode
from hdl.registers import QUEUE_ITEMS
from tests.core_bench import (
    OKAY,
    SLVERR,
    T_MAX,
    check_outputs,
    early,
    is_cut_frame,
    late,
    play,
    random_head,
)

TINY = [config for config in CONFIGS.values() if config.d == 16]
each_tiny = pytest.mark.parametrize("config", TINY, ids=lambda config: config.name)
each_chain = pytest.mark.parametrize(  # the systolic array stands between the same blocks as the tiled one
    "config", [config for config in TINY if config.array != "systolic"], ids=lambda config: config.name
)
one_tiny = pytest.mark.parametrize("config", TINY[:1], ids=lambda config: config.name)  # what all organisations share
needs_verilator = pytest.mark.skipif(shutil.which("verilator") is None, reason="Verilator isn't installed")


# What must work ----------------------------------------------------------------------------------------------------------


@each_tiny
@pytest.mark.parametrize("engine, stall", [("icarus", 0.4), ("myhdl", 0)])
def test_heads_back_to_back_are_golden(config, engine, stall):
    """Queued as fast as software can, so that heads overlap; one of them with the keys of the head before."""
    generator, width = np.random.default_rng(11), config.tile_keys
    sizes = [(1, 1), (3, width + 1), (9, 2)]
    if engine == "icarus":
        sizes += [(2, config.max_keys), (5, width), (1, width - 1)]
    heads = [random_head(generator, config, *size) for size in sizes]
    heads.insert(2, random_head(generator, config, 2, keys_of=heads[1]))

    def scenario(bench):
        for one in heads:
            yield from bench.head(one)
        yield from bench.idle()
        check_outputs(bench.received, [(one, None) for one in heads])
        assert (yield from bench.get("ERROR")) == ErrorCode.NONE
        assert (yield from bench.get("HEADS.LO")) == len(heads)
        kept = sum(int(one.result.mask.sum()) for one in heads)
        assert (yield from bench.get("KEPT.LO")) == kept

    play(config, engine, scenario, stall, seed=12)


@each_chain
def test_thresholds_zero_and_one_causal_and_cross_are_golden(config):
    generator = np.random.default_rng(13)
    heads = [
        random_head(generator, config, n_q, n_k, threshold=threshold, causal=causal)
        for threshold in (0, T_MAX)
        for n_q, n_k, causal in ((6, 6, True), (2, 11, True), (11, 3, False))
    ]

    def scenario(bench):
        for one in heads:
            yield from bench.head(one)
        yield from bench.idle()
        check_outputs(bench.received, [(one, None) for one in heads])

    play(config, "icarus", scenario, stall=0.2, seed=14)


# Faults ------------------------------------------------------------------------------------------------------------------


def good_head(bench, generator, n_q=3, n_k=5, **settings):
    """After a fault: the next head is right, and there is no error."""
    bench.received.clear()
    one = random_head(generator, bench.config, n_q, n_k, **settings)
    yield from bench.head(one)
    yield from bench.idle()
    assert bench.take_frames() == [one.expected]
    assert (yield from bench.error()) == ErrorCode.NONE


@each_chain
def test_a_frame_that_ends_early_or_late_costs_no_more_than_its_head(config):
    """TLAST at the first, a middle and the last beat of K, V and Q, and after the frame's end."""
    generator = np.random.default_rng(15)
    one = random_head(generator, config, 5, 2, causal=False)
    keys = 2 * config.row_beats
    cuts = [0, keys - 1, 2 * keys - 1, 2 * keys, len(one.beats) - 2]

    def scenario(bench):
        for cut in cuts:
            yield from bench.head(one, early(one.beats, cut))
            yield from bench.idle()
            assert (yield from bench.error()) == ErrorCode.EARLY_TLAST
            frames = bench.take_frames()
            if cut < 2 * keys:
                assert frames == []
            for frame in frames:
                assert is_cut_frame(frame, one, cut)
            assert (yield from bench.field("STATUS.keys_valid")) == (cut >= 2 * keys)
            yield from good_head(bench, generator, 1, 1)
        for more in [1]:
            yield from bench.head(one, late(one.beats, more))
            yield from bench.idle()
            assert (yield from bench.error()) == ErrorCode.LATE_TLAST
            for frame in bench.take_frames():
                assert is_cut_frame(frame, one, len(one.beats))
            yield from good_head(bench, generator, 1, 1)

    play(config, "icarus", scenario, stall=0.2, seed=16)


@each_chain
def test_a_long_head_that_is_cut_ends_at_once_and_its_keys_stay(config):
    """Rows have left when TLAST comes early: the frame ends with TLAST and TUSER. Q alone goes on with the same keys."""
    generator = np.random.default_rng(17)
    one = random_head(generator, config, 48, 2, causal=False)
    more = random_head(generator, config, 2, keys_of=one)

    def scenario(bench):
        beats = early(one.beats, len(one.beats) - 2)
        yield from bench.head(one, beats[:-8])
        while not bench.received:
            yield bench.clk.posedge
        bench.to_send.extend(beats[-8:])
        yield from bench.head(more)
        yield from bench.idle()
        frames = bench.take_frames()
        assert len(frames) == 2 and frames[0][-1].user
        assert is_cut_frame(frames[0], one, len(beats))
        assert frames[1] == more.expected
        assert (yield from bench.error()) == ErrorCode.EARLY_TLAST

    play(config, "icarus", scenario, stall=0.1, seed=18)


def bad_descriptors(config):
    """(changes of a good descriptor, error code)."""
    return [
        ({"N_Q.value": 0}, ErrorCode.BAD_LENGTH),
        ({"N_Q.value": 1 << 16}, ErrorCode.BAD_LENGTH),
        ({"N_K.value": 0}, ErrorCode.BAD_LENGTH),
        ({"N_K.value": config.max_keys + 1}, ErrorCode.BAD_LENGTH),
        ({"N_Q.value": 6, "FLAGS.causal": 1}, ErrorCode.BAD_LENGTH),
        ({"MODE.value": HeadMode.APPEND}, ErrorCode.BAD_MODE),
        ({"MODE.value": 3}, ErrorCode.BAD_MODE),
        ({"FACTOR.mantissa": 0x7FFF}, ErrorCode.BAD_FACTOR),
        ({"FACTOR.shift": 32}, ErrorCode.BAD_FACTOR),
        ({"THRESHOLD.value": T_MAX + 1}, ErrorCode.BAD_THRESHOLD),
        ({"PREDICT_DIMS.value": 0}, ErrorCode.BAD_PREDICT_DIMS),
        ({"PREDICT_DIMS.value": config.d + 1}, ErrorCode.BAD_PREDICT_DIMS),
        ({"MODE.value": HeadMode.QUERIES}, ErrorCode.NO_KEYS),
    ]


@one_tiny
def test_a_bad_descriptor_drops_its_frame_and_says_why(config):
    generator = np.random.default_rng(19)
    one = random_head(generator, config, 3, 5, causal=False)
    cases = bad_descriptors(config)

    def scenario(bench):
        for changes, code in cases:
            yield from bench.head(one, **changes)
            yield from bench.idle()
            assert (yield from bench.error()) == code, changes
            assert bench.received == []
        yield from good_head(bench, generator, 2, 5)
        # Q alone with another number of keys than there are in the core
        yield from bench.head(one, **{"MODE.value": HeadMode.QUERIES, "N_K.value": 4})
        yield from bench.idle()
        assert (yield from bench.error()) == ErrorCode.BAD_LENGTH
        # ... or other predicted dimensions than those that its keys were quantised with
        yield from good_head(bench, generator, 2, 5, predict_dims=4)
        yield from bench.head(one, **{"MODE.value": HeadMode.QUERIES, "PREDICT_DIMS.value": 5})
        yield from bench.idle()
        assert (yield from bench.error()) == ErrorCode.BAD_PREDICT_DIMS
        assert bench.received == []
        yield from good_head(bench, generator)

    play(config, "icarus", scenario, stall=0.2, seed=20)


@one_tiny
def test_the_first_error_stays_and_errors_are_counted(config):
    """Through a good head and a soft reset, until software clears it; register accesses that fail count too."""
    generator = np.random.default_rng(21)
    one = random_head(generator, config, 2, 3, causal=False)
    hole = max(register.address for register in REGISTER_MAP) + 4

    def scenario(bench):
        yield from bench.head(one, **{"THRESHOLD.value": T_MAX + 1})
        yield from bench.head(one, early(one.beats, 1))
        yield from bench.head(one)
        yield from bench.idle()
        assert bench.take_frames() == [one.expected]
        assert (yield from bench.write(REGISTER_MAP["ID"].address, 1)) == SLVERR
        assert (yield from bench.write(hole, 1)) == SLVERR
        assert (yield from bench.read_any(REGISTER_MAP["COMMIT"].address))[0] == SLVERR
        yield from bench.soft_reset()
        assert (yield from bench.field("STATUS.error")) == 1
        assert (yield from bench.get("ERROR")) == ErrorCode.BAD_THRESHOLD
        assert (yield from bench.get("ERROR_COUNT")) == 5
        assert (yield from bench.error()) == ErrorCode.BAD_THRESHOLD
        assert (yield from bench.read_any(hole))[0] == SLVERR
        assert (yield from bench.error()) == ErrorCode.BAD_ADDRESS
        yield from good_head(bench, generator)

    play(config, "icarus", scenario, stall=0.2, seed=22)


@one_tiny
def test_a_commit_into_a_full_queue_is_refused_and_the_queue_stays(config):
    generator = np.random.default_rng(23)
    heads = [random_head(generator, config, 1, 2) for _ in range(QUEUE_ITEMS + 1)]

    def scenario(bench):
        # one waits in the loader for its frame, the others in the queue
        for one in heads:
            yield from bench.script(one.push())
        while not (yield from bench.field("STATUS.queue_full")):
            pass
        assert (yield from bench.field("STATUS.queue_level")) == QUEUE_ITEMS
        assert (yield from bench.write(REGISTER_MAP["COMMIT"].address, 1)) == OKAY
        yield from bench.cycles(4)
        assert (yield from bench.error()) == ErrorCode.QUEUE_FULL
        for one in heads:
            bench.to_send.extend(one.beats)
        yield from bench.idle()
        check_outputs(bench.received, [(one, None) for one in heads])

    play(config, "icarus", scenario)


@each_chain
@pytest.mark.parametrize("kind", ["external", "soft"])
def test_a_reset_in_the_middle_of_anything_is_safe(config, kind):
    """In K, in V, in Q, while it computes, while rows leave, between heads in flight."""
    generator = np.random.default_rng(24)
    one, other = random_head(generator, config, 9, 4), random_head(generator, config, 2, 3)
    beats = len(one.beats)

    def reached(bench, left, out):
        while len(bench.to_send) > left or len(bench.received) < out:
            yield bench.clk.posedge

    def scenario(bench):
        points = [(beats - 3, 0), (beats - one.query_start + 3, 0), (beats - one.query_start - 3, 0), (0, 0), (0, 7)]
        for left, out in points:
            yield from bench.head(one)
            if out:
                yield from bench.head(other)
            yield from reached(bench, left, out)
            yield from bench.cycles(bench.random.randrange(20))
            yield from getattr(bench, f"{kind}_reset")()
            assert (yield from bench.field("STATUS.keys_valid")) == 0
            assert (yield from bench.field("STATUS.busy")) == 0
            yield from good_head(bench, generator, 1, 2)

    play(config, "icarus", scenario, stall=0.1, seed=25)


def test_the_checks_of_outputs_see_what_is_wrong():
    """The checks of this file see a wrong row, a frame without end, a missing one and one too many."""
    config = TINY[0]
    one = random_head(np.random.default_rng(26), config, 3, 4)
    wrong = [replace(one.expected[0], data=one.expected[0].data ^ 1), *one.expected[1:]]
    abort = replace(one.expected[-1], data=0, last=True, user=True)
    check_outputs(one.expected, [(one, None)])
    check_outputs(one.expected[:2] + [abort], [(one, len(one.beats) - 1)])
    check_outputs([], [(one, len(one.beats) - 1)])
    for beats, sent in [
        (wrong, [(one, None)]),
        (one.expected[:-1], [(one, None)]),
        ([], [(one, None)]),
        (one.expected * 2, [(one, None)]),
        (wrong[:2] + [abort], [(one, len(one.beats) - 1)]),
        (one.expected[:2] + [abort], [(one, one.query_start)]),
        (one.expected[:2] + [abort], [(one, None)]),
    ]:
        with pytest.raises(AssertionError):
            check_outputs(beats, sent)


# Long random runs, in Verilator --------------------------------------------------------------------------------------------

IDLE = REGISTER_MAP.fields["STATUS.busy"].mask | REGISTER_MAP.fields["STATUS.queue_level"].mask
ENDING = [
    (stimulus.POLL, REGISTER_MAP["STATUS"].address, IDLE),
    *((stimulus.READ, REGISTER_MAP[f"{name}.{half}"].address, 0) for name in stimulus.COUNTERS for half in ("LO", "HI")),
    (stimulus.READ, REGISTER_MAP["ERROR"].address, 0),
    (stimulus.END, 0, 0),
]


def play_verilator(config, script, beats, expected, stall, seed):
    """A run that can't hang for ever; gives output beats and counters."""
    played = stimulus.Stimulus([*script, *ENDING], beats, expected)
    return engines.play("verilator", config, played, stall=stall, seed=seed, limit=200 * len(beats) + 100_000)


def random_sizes(generator, config):
    """Lengths around the edges of tiles and blocks, and any others."""
    width = config.tile_keys
    n_k = int(generator.choice([1, 2, width - 1, width, width + 1, config.max_keys, *generator.integers(1, config.max_keys, 6)]))
    n_q = int(generator.choice([1, 2, config.block_queries, config.block_queries + 1, *generator.integers(1, 70, 6)]))
    return n_q, n_k


def random_traffic(seed, config, count, fault_probability=0.0):
    """Heads back to back, some with the keys of an earlier one, some with faults.

    Returns:
        script, beats, [(head, beats that were sent if cut in Q or None)] of those that may come out, codes of all errors.
    """
    generator, chance = np.random.default_rng(seed), random.Random(seed)
    script, beats, sent, errors = [], [], [], []
    loaded = None
    for _ in range(count):
        n_q, n_k = random_sizes(generator, config)
        alone = loaded is not None and chance.random() < 0.3
        one = random_head(generator, config, n_q, n_k, keys_of=loaded if alone else None)
        frame, changes, cut = one.beats, {}, None
        fault = chance.choice(["early", "late", "descriptor"]) if chance.random() < fault_probability else None
        if fault == "early" and len(frame) > 1:
            last = chance.randrange(len(frame) - 1)
            if chance.random() < 0.6 and len(frame) - 1 > one.query_start:
                last = chance.randrange(one.query_start, len(frame) - 1)
            frame, cut = early(frame, last), last
            errors.append(ErrorCode.EARLY_TLAST)
        elif fault == "late":
            cut = len(frame)
            frame = late(frame, chance.randrange(1, 9))
            errors.append(ErrorCode.LATE_TLAST)
        elif fault == "descriptor":
            changes, code = chance.choice(bad_descriptors(config)[:2] + bad_descriptors(config)[5:12])
            errors.append(code)
        script += one.push(**changes)
        beats += frame
        if changes:
            continue
        if cut is None or cut >= one.query_start:
            sent.append((one, cut))
        if not alone:
            loaded = one if cut is None or cut >= one.query_start else None
    return script, beats, sent, errors


@needs_verilator
@each_tiny
@pytest.mark.parametrize("stall", [0, 60])
def test_random_heads_back_to_back_are_golden(config, stall, heads=40, seed=27):
    script, beats, sent, _ = random_traffic(seed + stall, config, heads)
    expected = [beat for one, _ in sent for beat in one.expected]
    run = play_verilator(config, script, beats, expected, stall, seed)
    check_outputs(run.beats, sent)
    assert run.counters["error"] == ErrorCode.NONE and run.counters["heads"] == heads
    assert run.counters["kept"] == sum(int(one.result.mask.sum()) for one, _ in sent)
    if config.array == "tiled":
        assert run.counters["rounds"] == sum(one.result.rounds for one, _ in sent)


@needs_verilator
@each_tiny
@pytest.mark.parametrize("stall", [0, 40])
def test_random_faults_leave_the_heads_around_them_golden(config, stall, heads=80, seed=28):
    script, beats, sent, errors = random_traffic(seed + stall, config, heads, fault_probability=0.5)
    run = play_verilator(config, script, beats, [], stall, seed)
    check_outputs(run.beats, sent)
    assert run.counters["error"] == errors[0]


@needs_verilator
@pytest.mark.soak
@each_tiny
@pytest.mark.parametrize("seed", range(100, 120))
def test_soak_of_heads(config, seed):
    stall = (0, 20, 50, 80)[seed % 4]
    script, beats, sent, _ = random_traffic(seed, config, 300)
    run = play_verilator(config, script, beats, [beat for one, _ in sent for beat in one.expected], stall, seed)
    check_outputs(run.beats, sent)


@needs_verilator
@pytest.mark.soak
@each_tiny
@pytest.mark.parametrize("seed", range(200, 220))
def test_soak_of_faults(config, seed):
    script, beats, sent, errors = random_traffic(seed, config, 400, fault_probability=0.3)
    run = play_verilator(config, script, beats, [], (0, 20, 50, 80)[seed % 4], seed)
    check_outputs(run.beats, sent)
    assert run.counters["error"] == errors[0]
