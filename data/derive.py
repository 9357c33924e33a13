"""Heads of other sizes than MiniLM's 32 dimensions, made from the captured ones, for configurations of other ``d``.

- ``wide_*``: d = 64; two neighbouring heads side by side (their scores add up), as many tokens.
- ``narrow_*``: d = 16; the first 16 dimensions of each head, the first 64 tokens, 2 heads.

Run ``python data/derive.py [--out DIR]`` after ``data/capture.py``; it rewrites the same integers.
"""

import argparse
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
WIDE = {"wide_l2_n128.npz": "minilm_l2_n128.npz", "wide_l2_n512.npz": "minilm_l2_n512.npz"}
NARROW = {"narrow_l2_n64.npz": "minilm_l2_n128.npz"}
NARROW_DIMS, NARROW_TOKENS, NARROW_HEADS = 16, 64, 2
INT8_MAX = 127


def _floats(stored, name):
    return stored[name] * stored[f"{name}_scale"][:, None, None].astype(np.float64)


def _quantised(x):
    scale = np.abs(x).max(axis=(1, 2)) / INT8_MAX
    return np.rint(x / scale[:, None, None]).astype(np.int8), scale.astype(np.float32)


def wide(stored) -> dict:
    """Heads 2i and 2i + 1 side by side: [heads / 2, n, 64]."""
    arrays = {}
    for name in "qkv":
        x = _floats(stored, name)
        arrays[name], arrays[f"{name}_scale"] = _quantised(np.concatenate([x[0::2], x[1::2]], axis=2))
    return arrays


def narrow(stored) -> dict:
    """The first dimensions, tokens and heads."""
    arrays = {}
    for name in "qkv":
        arrays[name] = stored[name][:NARROW_HEADS, :NARROW_TOKENS, :NARROW_DIMS]
        arrays[f"{name}_scale"] = stored[f"{name}_scale"][:NARROW_HEADS]
    return arrays


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the files (default: %(default)s)")
    folder = parser.parse_args().out
    for made, sources in ((wide, WIDE), (narrow, NARROW)):
        for target, source in sources.items():
            stored = np.load(HERE / source)
            np.savez_compressed(folder / target, **made(stored), source=f"{stored['source']}; {made.__name__} of {source}")


if __name__ == "__main__":
    main()
