"""``python -m flows calibrate``: transforms for folded prediction, from captured heads; and their use on heads."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from flows import heads
from flows.heads import Head, InputError
from golden import quantizer, transform

TOKENS_PER_DIMENSION = 4
"""Fewer tokens than this times d make a poor estimate of second moments."""


def calibrate(paths: list, ridge: float, out: Path) -> dict:
    """Make one pair of matrices for each position of the head axis, pooled over all files, and write them.

    Returns:
        ``heads``, ``d`` and ``tokens`` (the fewest rows that a moment was made of).

    Raises:
        InputError: files that can't be read or don't fit one another, or singular moments; nothing is written then.
    """
    if not (np.isfinite(ridge) and ridge >= 0):
        raise InputError(f"the ridge is {ridge}, but must be 0 or more")
    if not out.resolve().parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.resolve().parent}")
    files = [heads.load(path)[0] for path in paths]
    shapes = {(len(loaded), loaded[0].q.shape[1]) for loaded in files}
    if len(shapes) > 1:
        sizes = ", ".join(f"{count} heads of {d} dimensions" for count, d in sorted(shapes))
        raise InputError(f"the files don't fit one another ({sizes}); all need as many heads and dimensions")
    ((count, d),) = shapes
    pairs = []
    for number in range(count):
        rows = [loaded[number].dequantised()[:2] for loaded in files]
        try:
            pairs.append(transform.calibrate(rows, ridge))
        except transform.TransformError as error:
            raise InputError(f"head {number}: {error}") from None
    tokens = min(sum(len(getattr(loaded[0], name)) for loaded in files) for name in "qk")
    q, k = (np.stack(side).astype(np.float32) for side in zip(*pairs))
    with open(out, "wb") as file:
        np.savez_compressed(file, q=q, k=k, ridge=ridge, tokens=tokens, source=", ".join(path.name for path in paths))
    return {"heads": count, "d": d, "tokens": tokens}


def apply(path: Path, loaded: list) -> list:
    """Heads with their queries and keys transformed and quantised again.

    Raises:
        InputError: the transform can't be read or doesn't fit the heads.
    """
    arrays = heads.read(path)
    missing = [name for name in "qk" if name not in arrays]
    if missing:
        raise InputError(f"{path}: holds no array {' or '.join(missing)}; `python -m flows calibrate` makes transforms")
    q, k = (np.asarray(arrays[name]) for name in "qk")
    d = loaded[0].q.shape[1]
    if not np.issubdtype(q.dtype, np.floating) or q.dtype != k.dtype or q.shape != k.shape:
        raise InputError(f"{path}: q and k must both be floats of one shape, [heads, {d}, {d}]")
    if q.ndim == 2:
        q, k = q[None], k[None]
    if q.shape != (len(loaded), d, d):
        raise InputError(
            f"{path}: its matrices have shape {list(q.shape)}, but the head file needs [{len(loaded)}, {d}, {d}]"
        )
    made = []
    for number, one in enumerate(loaded):
        try:
            transform.check(q[number].astype(np.float64), k[number].astype(np.float64))
        except transform.TransformError as error:
            raise InputError(f"{path}: head {number}: {error}") from None
        made.append(_transformed(one, q[number], k[number]))
    return made


def _transformed(one: Head, q_matrix, k_matrix) -> Head:
    q, k, v = one.floats or one.dequantised()
    q_int8, q_scale = quantizer.to_int8(q @ q_matrix.astype(np.float64))
    k_int8, k_scale = quantizer.to_int8(k @ k_matrix.astype(np.float64))
    return replace(one, q=q_int8, k=k_int8, q_scale=q_scale, k_scale=k_scale, floats=(q, k, v))
