"""What the golden model promises, whatever comes in; and how far its integers are from float attention on real heads."""

import time
from dataclasses import replace
from fractions import Fraction
from math import ceil, log2
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import heads
from golden import banked, comparator, exp2, head, normalizer, packer, predictor, quantizer, reference, tiled, transform
from golden.config import CONFIGS, KEPT_FRACTION, OUTPUT_FRACTION, THRESHOLD_FRACTION, ConfigError

DATA = Path(__file__).resolve().parents[1] / "data"
ALL_KEPT = 1 << KEPT_FRACTION
ONE = 1 << OUTPUT_FRACTION  # in the output's units, an integer of V
T_MAX = 1 << THRESHOLD_FRACTION

ORGANISATIONS = sorted({config.array for config in CONFIGS.values()} - {"systolic"})  # its integers are the tiled ones
TINY = {config.array: config for config in CONFIGS.values() if config.d == 16}
HEAD_FILES = sorted(path for path in DATA.glob("*_n*.npz"))
EXAMPLES = settings(max_examples=40, deadline=None)


def config_for(array, d):
    """The first named configuration of an organisation and a number of dimensions."""
    return next(config for config in CONFIGS.values() if (config.array, config.d) == (array, d))


def captured(path):
    return heads.load(path)[0]


def rows_of(generator, count, d, kind):
    """int8 rows: noise of any size, or one of the corners."""
    corner = {"zero": 0, "plus": 127, "minus": -127, "least": -128}
    if kind in corner:
        return np.full((count, d), corner[kind], np.int8)
    limit = 1 << int(generator.integers(0, 8))
    rows = generator.integers(-limit, min(limit, 127), (count, d), endpoint=True).astype(np.int8)
    if kind == "signs":
        rows = generator.choice([-128, -127, 127], (count, d)).astype(np.int8)
    if kind == "equal":
        rows[:] = rows[:1]
    if kind == "some zero":
        rows[generator.random(count) < 0.5] = 0
    return rows


KINDS = ("noise", "noise", "signs", "equal", "some zero", "zero", "plus", "minus", "least")


def odd_sizes(config):
    width = config.tile_keys
    return [1, 2, width - 1, width, width + 1, config.max_keys - 1, config.max_keys]


@st.composite
def any_head(draw, array):
    """Rows and settings for the tiny configuration of an organisation."""
    config = TINY[array]
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_k = draw(st.sampled_from(odd_sizes(config)) | st.integers(1, config.max_keys))
    causal = draw(st.booleans())
    n_q = draw(st.integers(1, n_k if causal else 40))
    q, k, v = (rows_of(generator, n, config.d, draw(st.sampled_from(KINDS))) for n in (n_q, n_k, n_k))
    made = head.Settings(
        mantissa=draw(st.integers(1 << 15, (1 << 16) - 1)),
        shift=draw(st.integers(0, 15)),
        threshold=draw(st.sampled_from([0, 1, T_MAX - 1, T_MAX]) | st.integers(0, T_MAX >> draw(st.integers(0, 8)))),
        causal=causal,
        residual=draw(st.booleans()),
        predict_dims=draw(st.none() | st.integers(1, config.d)),
    )
    return q, k, v, made, config


def any_organisation(test):
    """The test for each organisation, with any head."""

    @pytest.mark.parametrize("array", ORGANISATIONS)
    @EXAMPLES
    @given(data=st.data())
    def claim(array, data):
        test(*data.draw(any_head(array)))

    claim.__name__, claim.__doc__ = test.__name__, test.__doc__
    return claim


def seen_keys(index, q, k, made):
    """How many keys a query sees: the last one all of them, each one before it one key less, if causal."""
    return len(k) - (len(q) - 1 - index if made.causal else 0)


# The whole head ------------------------------------------------------------------------------------------------------


@any_organisation
def test_no_row_is_ever_empty(q, k, v, made, config):
    """An empty row would divide by zero."""
    result = head.run(q, k, v, made, config)
    assert result.mask.any(axis=1).all()
    assert (result.kept > 0).all() and (result.kept <= ALL_KEPT).all()


@any_organisation
def test_only_visible_keys_are_kept(q, k, v, made, config):
    result = head.run(q, k, v, made, config)
    seen = np.array([np.arange(len(k)) < seen_keys(i, q, k, made) for i in range(len(q))])
    assert not (result.mask & ~seen).any()
    if made.threshold == 0:
        assert (result.mask == seen).all() and (result.kept == ALL_KEPT).all()


@any_organisation
def test_the_output_stays_within_the_values(q, k, v, made, config):
    """Up to rounding; a wrapped or overflowing sum would leave the range.

    A rescaled denominator loses less than 1, and earlier losses halve: less than 2 of at least 1024 in all. A final
    maximum needs no rescaling.
    """
    output = head.run(q, k, v, made, config).output.astype(int)
    rounding = 2
    if config.array != "banked":
        rounding += int(np.abs(v.astype(int)).max()) * ONE * 2 // 1024
    assert (output <= int(v.max()) * ONE + rounding).all() and (output >= int(v.min()) * ONE - rounding).all()


@any_organisation
def test_each_query_is_computed_for_itself(q, k, v, made, config):
    """A query alone, with the keys that it sees, gives the same bits: rows, causality and order don't mix."""
    whole = head.run(q, k, v, made, config)
    for index in {0, len(q) // 2, len(q) - 1}:
        visible = seen_keys(index, q, k, made)
        alone = head.run(q[index : index + 1], k[:visible], v[:visible], replace(made, causal=False), config)
        assert (alone.output[0] == whole.output[index]).all()
        assert (alone.mask[0] == whole.mask[index, :visible]).all() and alone.kept[0] == whole.kept[index]


@any_organisation
def test_all_predicted_dimensions_are_the_same_as_no_choice(q, k, v, made, config):
    every, none = (head.run(q, k, v, replace(made, predict_dims=dims), config) for dims in (config.d, None))
    assert (every.output == none.output).all() and (every.mask == none.mask).all()


@any_organisation
def test_the_mask_depends_on_the_predicted_dimensions_alone(q, k, v, made, config):
    dims = made.predict_dims or config.d
    other = [rows.copy() for rows in (q, k)]
    for rows in other:
        rows[:, dims:] = 127
    assert (head.predict_mask(q, k, made, config)[0] == head.predict_mask(*other, made, config)[0]).all()


@any_organisation
def test_a_higher_threshold_keeps_no_more(q, k, v, made, config):
    mask = head.predict_mask(q, k, made, config)[0]
    fewer = head.predict_mask(q, k, replace(made, threshold=min(2 * made.threshold + 1, T_MAX)), config)[0]
    assert not (fewer & ~mask).any()


@pytest.mark.parametrize("array", ORGANISATIONS)
@pytest.mark.parametrize("kind", ["equal", "zero"])
def test_equal_scores_give_the_mean_of_the_values(array, kind):
    """All keys the same: every one is a tie of the maximum, so all are kept under any threshold."""
    config, generator = TINY[array], np.random.default_rng(5)
    for n_k in odd_sizes(config):
        q = rows_of(generator, 3, config.d, "noise")
        k, v = rows_of(generator, n_k, config.d, kind), rows_of(generator, n_k, config.d, "noise")
        for threshold in (0, 1, T_MAX):
            result = head.run(q, k, v, head.Settings(50000, 6, threshold), config)
            assert result.mask.all() and (result.kept == ALL_KEPT).all()
            mean = v.astype(float).mean(axis=0) * ONE
            # numerator and sums are aligned to 10 bits of the divisor, which costs 2^-10 of 128 at most
            assert np.abs(result.output - mean).max() <= 128 * ONE * 2**-10 * 2 + 1


@pytest.mark.parametrize("array", ORGANISATIONS)
def test_threshold_one_keeps_the_ties_of_the_maximum_alone(array):
    config, generator = TINY[array], np.random.default_rng(6)
    q, k = rows_of(generator, 30, config.d, "noise"), rows_of(generator, config.max_keys, config.d, "noise")
    k[1::2] = k[::2]  # every key twice
    made = head.Settings(60000, 7, T_MAX)
    levels = [part for rows in (q, k) for part in quantizer.quantize_rows(rows, config, config.d)]
    scores = predictor.predict(*levels, made.mantissa, made.shift, config)
    assert (head.predict_mask(q, k, made, config)[0] == (scores == scores.max(axis=1, keepdims=True))).all()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("factor", [(65535, 0), (32768, 31)])
@pytest.mark.parametrize("corner", [-128, -127, 127])
def test_the_widths_hold_the_extremes(name, factor, corner):
    """±127 and -128 everywhere, the longest sequence, the largest and the smallest factor."""
    config = CONFIGS[name]
    q = np.stack([np.full(config.d, value, np.int8) for value in (corner, -corner if corner > -128 else 127)])
    k = v = np.full((config.max_keys, config.d), corner, np.int8)
    dots = q.astype(int) @ k.astype(int).T
    scores = head.ARRAYS[config.array].scale_scores(dots, *factor, config)
    assert np.abs(scores).max() < 1 << (config.score_bits - 1)
    assert np.abs(dots).max() < 1 << (config.dot_bits - 1)
    mask = np.ones(dots.shape, bool)
    sums = head.ARRAYS[config.array].attend(q, k, v, mask, *factor, config)
    assert np.abs(sums.numerator).max() < 1 << (config.numerator_bits - 1)
    assert sums.denominator.max() < 1 << config.denominator_bits
    assert abs(corner * config.max_keys) <= 1 << (config.value_sum_bits - 1)
    result = head.run(q, k, v, head.Settings(*factor, 0), config)
    assert np.abs(result.output - corner * ONE).max() <= 1


@pytest.mark.parametrize("broken, sentence", [
    (dict(q=np.zeros((1, 8), np.int8)), "dimensions"),
    (dict(q=np.zeros((0, 16), np.int8)), "1 to 65535"),
    (dict(q=np.zeros((1, 16), np.int16)), "int8"),
    (dict(k=np.zeros((65, 16), np.int8), v=np.zeros((65, 16), np.int8)), "1 to 64"),
    (dict(v=np.zeros((2, 16), np.int8)), "both must have n_k"),
    (dict(q=np.zeros((4, 16), np.int8), causal=True), "causal"),
    (dict(mantissa=32767), "mantissa"),
    (dict(shift=32), "shift"),
    (dict(threshold=T_MAX + 1), "threshold"),
    (dict(predict_dims=0), "predict_dims"),
    (dict(predict_dims=17), "predict_dims"),
])  # fmt: skip
def test_what_the_core_refuses_the_model_refuses(broken, sentence):
    rows = {name: np.zeros((3, 16), np.int8) for name in "qkv"}
    made = dict(mantissa=1 << 15, shift=0, threshold=0)
    for name, value in broken.items():
        (rows if name in rows else made)[name] = value
    for config in TINY.values():
        with pytest.raises(head.HeadError, match=sentence):
            head.run(**rows, settings=head.Settings(**made), config=config)


@pytest.mark.parametrize("name", [config.name for config in CONFIGS.values() if config.d == 64])
def test_a_long_wide_head_takes_less_than_two_seconds(name):
    one = captured(DATA / "wide_l2_n512.npz")[0]
    used = []
    for _ in range(2):
        started = time.process_time()
        head.run(one.q, one.k, one.v, one.settings(None, False, True), CONFIGS[name])
        used.append(time.process_time() - started)
    assert min(used) < 2


# Configurations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes, sentence", [
    (dict(lanes=1), "lanes is 1, but must be at least 2"),
    (dict(slots=1), "slots is 1, but must be at least 2"),
    (dict(output_ring=1), "output_ring is 1, but must be at least 2"),
    (dict(lanes=16), r"lanes is 16, but must be at most d / lane_width \(8\)"),
])  # fmt: skip
def test_a_shape_that_the_banked_array_cannot_have_is_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        CONFIGS["tiny"].replace(**changes)


# Distance to the truth -----------------------------------------------------------------------------------------------


def test_the_reference_is_softmax_attention():
    """Against the definition, term by term: every other distance rests on it."""
    generator = np.random.default_rng(7)
    q, k, v = generator.normal(size=(4, 6)), generator.normal(size=(5, 6)), generator.normal(size=(5, 6))
    mask = generator.random((4, 5)) < 0.6
    mask[:, 0] = True
    for causal, allowed in ((False, mask), (True, mask & (np.arange(5) <= np.arange(4)[:, None] + 1))):
        for i, row in enumerate(reference.attention(q, k, v, mask, causal)):
            weights = [np.exp(q[i] @ k[j] / 6**0.5) * allowed[i, j] for j in range(5)]
            assert np.allclose(row, sum(w * x for w, x in zip(weights, v)) / sum(weights))


@pytest.mark.parametrize("array", ORGANISATIONS)
@pytest.mark.parametrize("times", [1, 2, 4, 8])
def test_integers_cost_at_most_one_percent_under_the_same_mask(array, times):
    """Each captured head at most 1 %, all on average 0.3 %; larger query scales make heads as peaked as larger models'."""
    found = []
    for path in HEAD_FILES:
        for one in captured(path):
            one = replace(one, q_scale=one.q_scale * times)
            config = config_for(array, one.q.shape[1])
            result = head.run(one.q, one.k, one.v, one.settings(None, False, False), config)
            truth = reference.attention(*one.dequantised(), result.mask)
            found.append(reference.relative_error(one.output(result.output), truth))
    assert max(found) <= 0.01 and np.mean(found) <= 0.003


@pytest.mark.parametrize("array", ORGANISATIONS)
def test_int8_and_integers_cost_at_most_four_percent(array):
    """Against the floats before quantising, under the same mask: 4 % each, 2 % on average."""
    loaded = captured(DATA / "minilm_l2_n128_float.npz")
    config = config_for(array, 32)
    found = []
    for one in loaded:
        made = one.settings(None, False, True)
        found.append(heads.errors(one, head.run(one.q, one.k, one.v, made, config), made, config)["error_vs_float_masked"])
    assert max(found) <= 0.04 and np.mean(found) <= 0.02


@pytest.mark.parametrize("array", ORGANISATIONS)
def test_a_sparse_head_with_the_residual_is_within_seven_percent_of_the_dense_one(array):
    """T = 1/n, n = 512, on average; without the residual it is several times as far."""
    found, without = [], []
    for path in DATA.glob("minilm_*_n512.npz"):
        for one in captured(path):
            dense = reference.attention(*one.dequantised())
            for residual, errors in ((True, found), (False, without)):
                result = head.run(one.q, one.k, one.v, one.settings(None, False, residual), config_for(array, 32))
                errors.append(reference.relative_error(one.output(result.output), dense))
    assert np.mean(found) < 0.07 < 2 * np.mean(found) < np.mean(without)


ORGANISATION_DIFFERENCE = 0.001
"""Largest relative difference of a captured head between the organisations (measured: 0.00056)."""


@pytest.mark.parametrize("path", HEAD_FILES, ids=lambda path: path.stem)
def test_the_organisations_differ_by_the_rounding_of_probabilities_alone(path):
    """The same mask, and outputs within what rounding can do.

    A probability is rounded by half a unit (2^-11) at most, against the final maximum (banked) or against a smaller one
    and then shifted (tiled); the sums lose less than one unit at a rescaling, halved by each later one, so less than
    two. With K kept keys, numerators of two organisations differ by less than (K + 2) max|V| units, denominators D by
    K + 2, the output by twice (K + 2) max|V| / D, and its two roundings.
    """
    for one in captured(path):
        made = one.settings(None, False, False)
        results = {array: head.run(one.q, one.k, one.v, made, config_for(array, one.q.shape[1])) for array in ORGANISATIONS}
        first, *others = results.values()
        kept_keys = first.mask.sum(axis=1)
        config = config_for("tiled", one.q.shape[1])
        denominator = tiled.attend(one.q, one.k, one.v, first.mask, made.mantissa, made.shift, config).denominator
        largest = np.abs(one.v.astype(int)).max()
        bound = 2 * (kept_keys + 2) * largest * ONE / denominator + 2
        for other in others:
            assert (other.mask == first.mask).all() and (other.kept == first.kept).all()
            difference = np.abs(other.output.astype(int) - first.output)
            assert (difference.max(axis=1) <= bound).all()
            assert reference.relative_error(other.output, first.output) <= ORGANISATION_DIFFERENCE


@EXAMPLES
@given(data=st.data())
def test_without_rescaling_the_organisations_agree_to_the_bit(data):
    """One tile's worth of keys in one sub-row has its final maximum at once: nothing is left to differ."""
    q, k, v, made, config = data.draw(any_head("tiled"))
    k, v = k[: config.lanes], v[: config.lanes]
    mask = np.ones((len(q), len(k)), bool)
    one = tiled.attend(q, k, v, mask, made.mantissa, made.shift, config)
    other = banked.attend(q, k, v, mask, made.mantissa, made.shift, config)
    if packer.sub_rows(np.pad(mask, ((0, 0), (0, config.tile_keys - len(k)))), config).max() == 1:
        assert (one.numerator == other.numerator).all() and (one.denominator == other.denominator).all()


# Quantizer -----------------------------------------------------------------------------------------------------------


@EXAMPLES
@given(seed=st.integers(0, 2**32 - 1), bits=st.integers(2, 8), dims=st.integers(1, 16), kind=st.sampled_from(KINDS))
def test_levels_are_those_of_exact_arithmetic(seed, bits, dims, kind):
    """level = min(max, floor(2^(bits-1) |x| / 2^e + 1/2)), e = ceil(log2 m), m the row's maximum over the first r."""
    config = TINY["tiled"].replace(prediction_bits=bits)
    rows = rows_of(np.random.default_rng(seed), 4, config.d, kind)
    levels, exponents = quantizer.quantize_rows(rows, config, dims)
    for row, level, exponent in zip(rows.tolist(), levels.tolist(), exponents.tolist()):
        e = ceil(log2(max([1] + [abs(x) for x in row[:dims]])))
        assert exponent == e
        for dimension, x in enumerate(row):
            exact = int(Fraction(abs(x) << (bits - 1), 1 << e) + Fraction(1, 2)) if dimension < dims else 0
            assert level[dimension] == min(exact, (1 << (bits - 1)) - 1) * (-1 if x < 0 else 1)


@EXAMPLES
@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-60, 60))
def test_int8_is_within_half_a_step_of_the_floats(seed, exponent):
    x = np.random.default_rng(seed).normal(size=(5, 16)) * 2.0**exponent
    integers, scale = quantizer.to_int8(x)
    assert np.abs(integers * scale - x).max() <= scale * 0.5000001 and np.abs(integers.astype(int)).max() == 127


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="NaN or infinity"):
        quantizer.to_int8(np.array([[1.0, bad]]))


@EXAMPLES
@given(st.floats(1e-9, 0.2499), st.sampled_from([16, 32, 64]))
def test_the_factor_is_as_exact_as_its_mantissa(value, d):
    scale = value / log2(np.e) * d**0.5
    mantissa, shift = quantizer.factor(scale, 1.0, d)
    assert 1 << 15 <= mantissa < 1 << 16 and 0 <= shift < 32
    assert abs(mantissa * 2.0 ** -(18 + shift) / value - 1) <= 2**-16


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.0, np.nan, np.inf])
def test_a_factor_that_would_overflow_scores_is_refused(scale):
    with pytest.raises(ValueError, match="below 0.25"):
        quantizer.factor(scale, 1.0, 16)


# Comparator ----------------------------------------------------------------------------------------------------------


@EXAMPLES
@given(seed=st.integers(0, 2**32 - 1), threshold=st.integers(1, T_MAX) | st.integers(1, 1 << 20), spread=st.integers(1, 11))
def test_the_integer_threshold_is_the_softmax_threshold(seed, threshold, spread):
    """Exactly: kept if and only if e(s) / sum of e > T, or s is a tie of the maximum. Fractions, no bisection."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(-(1 << spread), 1 << spread, (3, 24))
    visible = generator.integers(1, 25, 3)
    mask, kept = comparator.compare(scores, visible, threshold)
    for row, count, bits, share in zip(scores.tolist(), visible.tolist(), mask.tolist(), kept.tolist()):
        peak = max(row[:count])
        top = -(-peak // 8)  # an integer in log2 units
        weights = [int(exp2.weight(np.array(8 * top - score))) for score in row[:count]]
        total = sum(weights)
        wanted = [
            Fraction(weight, total) > Fraction(threshold, T_MAX) or score == peak for weight, score in zip(weights, row)
        ]
        assert bits[:count] == wanted and not any(bits[count:])
        assert share == int(Fraction(sum(w for w, keep in zip(weights, wanted) if keep), total) * ALL_KEPT)


@EXAMPLES
@given(total=st.integers(1 << 15, 1 << 26), threshold=st.integers(1, T_MAX))
def test_bisection_finds_the_largest_kept_distance(total, threshold):
    every = np.arange(comparator.LONGEST_DISTANCE + 2)
    kept = [d for d, weight in zip(every, exp2.weight(every).tolist()) if Fraction(weight, total) > Fraction(threshold, T_MAX)]
    assert comparator.largest_kept_distance(np.array([total]), threshold)[0] == max(kept, default=-1)


def test_exponentials_fall_and_end_at_zero():
    """Monotonic, or a threshold on distances wouldn't be one on probabilities."""
    for function, one, end in ((exp2.weight, 1 << 16, 17 << 3), (exp2.probability, 1 << 11, 13 << 7)):
        values = function(np.arange(end + 1))
        assert values[0] == one and values[-1] == 0 and (np.diff(values) <= 0).all()


# Packer --------------------------------------------------------------------------------------------------------------

PACKERS = {
    name: CONFIGS[tiled_name].replace(name=name, **changes)
    for name, tiled_name, changes in [
        ("tiny", TINY["tiled"].name, {}),
        ("tiny span 1", TINY["tiled"].name, dict(span=1)),
        ("tiny span 3", TINY["tiled"].name, dict(span=3)),
        ("tiny full", TINY["tiled"].name, dict(span=4)),
        ("two lanes", TINY["tiled"].name, dict(lanes=2, span=1)),
        ("small", config_for("tiled", 32).name, {}),
        ("small span 2", config_for("tiled", 32).name, dict(span=2)),
        ("small span 15", config_for("tiled", 32).name, dict(span=15)),
        ("small full", config_for("tiled", 32).name, dict(span=16)),
    ]
}


def matches(keys, config, rounds):
    """Whether all keys find a lane when each lane takes ``rounds``: augmenting paths, nothing of the packer's rule."""
    taken = [[] for _ in range(config.lanes)]

    def place(key, visited):
        for back in range(config.span):
            lane = (key + back) % config.lanes
            if lane in visited:
                continue
            visited.add(lane)
            if len(taken[lane]) < rounds:
                taken[lane].append(key)
                return True
            for other in list(taken[lane]):
                if place(other, visited):
                    taken[lane].remove(other)
                    taken[lane].append(key)
                    return True
        return False

    return all(place(key, set()) for key in keys)


def check_packing(tiles, config):
    """Every key once, in a lane that reaches it; no sub-row too many."""
    columns, counts = packer.pack(tiles, config)
    for bits, assigned, count in zip(tiles, columns, counts.tolist()):
        keys = np.nonzero(bits)[0].tolist()
        assert sorted(assigned[assigned != packer.IDLE].tolist()) == keys
        assert (assigned[count:] == packer.IDLE).all()
        assert all((sub_row != packer.IDLE).any() for sub_row in assigned[:count])
        for lane in range(config.lanes):
            used = assigned[:, lane][assigned[:, lane] != packer.IDLE]
            assert ((lane - used) % config.lanes < config.span).all()
        assert matches(keys, config, count) and (count == 0 or not matches(keys, config, count - 1))


@pytest.mark.parametrize("name", PACKERS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), density=st.floats(0, 1), classes=st.integers(1, 16))
def test_no_packing_of_random_tiles_is_shorter(name, seed, density, classes):
    config, generator = PACKERS[name], np.random.default_rng(seed)
    tiles = generator.random((4, config.tile_keys)) < density
    tiles[2:] &= (np.arange(config.tile_keys) - generator.integers(16)) % config.lanes < classes  # clustered
    check_packing(tiles, config)


@pytest.mark.parametrize("name", ["small", "small full", "small span 2"])
def test_no_packing_of_real_tiles_is_shorter(name):
    config = PACKERS[name]
    tiles = []
    for path in (DATA / "minilm_l0_n512.npz", DATA / "minilm_l5_n512.npz"):
        one = captured(path)[3]
        mask = head.predict_mask(one.q, one.k, one.settings(None, False, True), config)[0]
        tiles += list(mask.reshape(-1, config.tile_keys)[::37])
    check_packing(np.array(tiles), config)


@pytest.mark.parametrize("name", [name for name, config in PACKERS.items() if config.full_connection])
def test_a_full_connection_shares_keys_evenly_and_lanes_ascend(name):
    config, generator = PACKERS[name], np.random.default_rng(8)
    tiles = generator.random((60, config.tile_keys)) < generator.random((60, 1))
    columns, counts = packer.pack(tiles, config)
    assert (counts == -(-tiles.sum(axis=1) // config.lanes)).all()
    for assigned, count in zip(columns, counts.tolist()):
        sizes = (assigned[:count] != packer.IDLE).sum(axis=1)
        assert count == 0 or sizes.max() - sizes.min() <= 1
        filled = packer.all_columns(assigned[:count])
        assert (np.diff(filled, axis=1) > 0).all() and (filled < config.tile_keys).all()


@EXAMPLES
@given(data=st.data())
def test_rounds_are_those_of_the_busiest_row(data):
    """Counted here the slow way: block by block, tile by tile."""
    q, k, v, made, config = data.draw(any_head("tiled"))
    result = head.run(q, k, v, made, config)
    rounds, width = 0, config.tile_keys
    for block in range(0, len(q), config.block_queries):
        for tile in range(0, len(k), width):
            busy = [0] * config.rows
            for i in range(block, min(block + config.block_queries, len(q))):
                bits = np.zeros((1, width), bool)
                bits[0, : len(k) - tile] = result.mask[i, tile : tile + width]
                busy[i % config.rows] += int(packer.sub_rows(bits, config)[0])
            rounds += max(busy)
    assert result.rounds == rounds


# Normalizer ----------------------------------------------------------------------------------------------------------


@EXAMPLES
@given(seed=st.integers(0, 2**32 - 1), keys=st.integers(1, 512), kept=st.integers(1, ALL_KEPT))
def test_the_normalizer_is_exact_to_a_unit_or_two(seed, keys, kept):
    """Against exact fractions: two divisors rounded down by 2^-16, two sums rounded to 18 bits."""
    generator = np.random.default_rng(seed)
    denominator = int(generator.integers(1 << 10, (keys << 11) + 1))
    numerator = generator.integers(-128 * denominator, 127 * denominator, (1, 8), endpoint=True)
    value_sum = generator.integers(-128 * keys, 127 * keys, (1, 8), endpoint=True)
    output = normalizer.normalize(numerator, np.array([denominator]), value_sum, np.array([keys]), np.array([kept]))
    for got, n, total in zip(output[0].tolist(), numerator[0].tolist(), value_sum[0].tolist()):
        exact = (Fraction(n, denominator) * kept + Fraction(total, keys) * (ALL_KEPT - kept)) / ALL_KEPT * ONE
        assert abs(got - exact) <= 2.5


@pytest.mark.parametrize("excess", [0, 1, 1000, 1 << 20])
@pytest.mark.parametrize("sign, limit", [(1, 32767), (-1, -32768)])
def test_the_output_saturates_and_never_wraps(excess, sign, limit):
    """128 times the divisor and beyond, as the floors of rescaling leave it."""
    divisor = np.array([2048 * 512])
    over = np.array([[sign * (128 * int(divisor[0]) + excess)]])
    output = normalizer.normalize(over, divisor, np.array([[sign * 128]]), np.array([1]), np.array([ALL_KEPT]))
    assert output[0, 0] == limit
    # on the way there, the 18 bits of a multiplier
    divisor = np.array([(1 << 21) - 1])
    aligned = normalizer.align(sign * (128 * divisor[:, None] + excess), normalizer.leading_one(divisor))[0, 0]
    assert aligned == ((1 << 17) - 1 if sign > 0 else -(1 << 17))



# Folded prediction -----------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), ridge=st.floats(0.01, 0.1))
def test_the_transform_leaves_scores_as_they_are(seed, ridge):
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(2, 16, 16)) * np.geomspace(1, 0.05, 16)
    q, k = generator.normal(size=(2, 100, 16)) @ mixing
    q_matrix, k_matrix = transform.calibrate([(q[:50], k[:50]), (q[50:], k[50:])], ridge)
    transform.check(q_matrix, k_matrix)
    scores = q @ k.T
    assert np.allclose((q @ q_matrix) @ (k @ k_matrix).T, scores, atol=1e-9 * np.abs(scores).max())


def test_the_transform_balances_both_moments_and_puts_the_strongest_first():
    generator = np.random.default_rng(9)
    q, k = generator.normal(size=(2, 400, 16)) @ generator.normal(size=(16, 16))
    q_matrix, k_matrix = transform.calibrate([(q, k)], 0.0)
    moments = [(rows @ matrix).T @ (rows @ matrix) / len(rows) for rows, matrix in ((q, q_matrix), (k, k_matrix))]
    for moment in moments:
        assert np.allclose(moment, np.diag(np.diag(moments[0])), atol=1e-8 * np.trace(moments[0]))
    assert (np.diff(np.diag(moments[0])) <= 0).all()


def test_a_shipped_transform_lets_half_the_dimensions_predict_nearly_as_well_as_all():
    """Error against dense of twelve heads, T = 2/n: with it, r = d / 2 costs a fifth (measured); without it, 3.5 times."""
    loaded = captured(DATA / "minilm_l2_n512.npz")
    stored = np.load(DATA / "transform_l2.npz")
    config = config_for("tiled", 32)

    def error(transformed, dims):
        found = []
        for number, one in enumerate(loaded):
            dense = reference.attention(*one.dequantised())
            if transformed:
                q, k, _ = one.dequantised()
                (q, q_scale), (k, k_scale) = (
                    quantizer.to_int8(rows @ stored[name][number].astype(float)) for rows, name in ((q, "q"), (k, "k"))
                )
                one = replace(one, q=q, k=k, q_scale=q_scale, k_scale=k_scale)
            made = one.settings(2 / 512, False, True, dims)
            result = head.run(one.q, one.k, one.v, made, config)
            found.append(reference.relative_error(one.output(result.output), dense))
        return np.mean(found)

    every, half, half_plain = error(False, None), error(True, 16), error(False, 16)
    assert half < 1.3 * every and half_plain > 2.5 * every


@pytest.mark.parametrize("name", ["q", "k"])
def test_a_singular_moment_is_refused(name):
    moments = dict(q_moment=np.eye(16), k_moment=np.eye(16))
    moments[f"{name}_moment"] = np.diag([1.0] * 15 + [0.0])
    with pytest.raises(transform.TransformError, match=f"second moment of {name} is singular"):
        transform.balance(**moments, ridge=0.0)
    transform.balance(**moments, ridge=0.03)


@pytest.mark.parametrize("q_matrix, k_matrix", [
    (np.eye(4), 2 * np.eye(4)),
    (np.zeros((4, 4)), np.eye(4)),
    (np.full((4, 4), np.nan), np.eye(4)),
])  # fmt: skip
def test_matrices_that_change_scores_are_refused(q_matrix, k_matrix):
    with pytest.raises(transform.TransformError):
        transform.check(q_matrix, k_matrix)


def test_a_folded_projection_gives_the_transformed_rows():
    generator = np.random.default_rng(10)
    x, weight, bias, matrix = (generator.normal(size=shape) for shape in ((7, 20), (20, 16), (16,), (16, 16)))
    folded_weight, folded_bias = transform.fold(weight, bias, matrix)
    assert np.allclose(x @ folded_weight + folded_bias, (x @ weight + bias) @ matrix)
    assert transform.fold(weight, None, matrix)[1] is None
