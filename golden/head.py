"""One head, from int8 rows to output rows: all blocks together.

Units: lengths in rows, scores in log2 units; see each block for its number formats.
"""

from dataclasses import dataclass

import numpy as np

from golden import banked, comparator, normalizer, predictor, quantizer, tiled
from golden.config import FACTOR_SHIFT_BITS, KEPT_FRACTION, LENGTH_BITS, MANTISSA_BITS, THRESHOLD_FRACTION, Config


ARRAYS = {"tiled": tiled, "systolic": tiled, "banked": banked}


class HeadError(ValueError):
    """A head or a setting that the core can't take; the message says what is allowed."""


@dataclass(frozen=True)
class Settings:
    """What travels with a head, as its descriptor holds it.

    Attributes:
        mantissa, shift: the factor ``mantissa * 2^-(18 + shift)`` from integer dot products to log2 units.
        threshold: T with 24 fraction bits, 0 ... 2^24.
        causal: query i sees keys 0 ... i + n_k - n_q.
        residual: give the dropped probability the mean value.
        predict_dims: r, dimensions that the predictor reads; None for all.
    """

    mantissa: int
    shift: int
    threshold: int
    causal: bool = False
    residual: bool = True
    predict_dims: int | None = None


@dataclass(frozen=True)
class Result:
    """Attributes:
    output: int16 [n_q, d], 8 fraction bits in units of V's scale.
    mask: bool [n_q, n_k], the kept keys.
    kept: int64 [n_q], 1 - rho with 16 fraction bits.
    rounds: rounds of the array; None where its organisation has none.
    """

    output: np.ndarray
    mask: np.ndarray
    kept: np.ndarray
    rounds: int | None


def threshold_bits(threshold: float) -> int:
    """T as the descriptor holds it (24 fraction bits, rounded; a T above 0 never becomes 0).

    Raises:
        HeadError: T isn't within 0 ... 1.
    """
    if not 0 <= threshold <= 1:
        raise HeadError(f"the threshold is {threshold}, but must be 0 to 1")
    return max(round(threshold * 2**THRESHOLD_FRACTION), int(threshold > 0))


def visible_keys(n_q: int, n_k: int, causal: bool) -> np.ndarray:
    """How many keys each query sees: int64 [n_q]."""
    return np.arange(n_q) + (n_k - n_q + 1) if causal else np.full(n_q, n_k)


def check(q: np.ndarray, k: np.ndarray, v: np.ndarray, settings: Settings, config: Config) -> None:
    """Raise HeadError, with one sentence, unless the core takes this head with these settings."""
    for name, rows in (("q", q), ("k", k), ("v", v)):
        if rows.ndim != 2 or rows.dtype != np.int8:
            raise HeadError(f"{name} is {rows.dtype} {list(rows.shape)}, but must be int8 [rows, {config.d}]")
        if rows.shape[1] != config.d:
            raise HeadError(
                f"{name} has {rows.shape[1]} dimensions, but configuration {config.name!r} was built for {config.d}"
            )
    n_q, n_k = len(q), len(k)
    if len(v) != n_k:
        raise HeadError(f"k has {n_k} rows and v has {len(v)}, but both must have n_k")
    if not 1 <= n_q < 1 << LENGTH_BITS:
        raise HeadError(f"q has {n_q} rows, but must have 1 to {(1 << LENGTH_BITS) - 1}")
    if not 1 <= n_k <= config.max_keys:
        raise HeadError(f"k has {n_k} rows, but configuration {config.name!r} takes 1 to {config.max_keys}")
    if settings.causal and n_q > n_k:
        raise HeadError(f"a causal head has {n_q} queries and {n_k} keys, but can't have more queries than keys")
    if not 1 << (MANTISSA_BITS - 1) <= settings.mantissa < 1 << MANTISSA_BITS:
        raise HeadError(f"the factor's mantissa is {settings.mantissa}, but must be 32768 to 65535")
    if not 0 <= settings.shift < 1 << FACTOR_SHIFT_BITS:
        raise HeadError(f"the factor's shift is {settings.shift}, but must be 0 to {(1 << FACTOR_SHIFT_BITS) - 1}")
    if not 0 <= settings.threshold <= 1 << THRESHOLD_FRACTION:
        raise HeadError(f"the threshold is {settings.threshold}, but must be 0 to {1 << THRESHOLD_FRACTION}")
    if settings.predict_dims is not None and not 1 <= settings.predict_dims <= config.d:
        raise HeadError(f"predict_dims is {settings.predict_dims}, but must be 1 to {config.d}")


def run(q: np.ndarray, k: np.ndarray, v: np.ndarray, settings: Settings, config: Config) -> Result:
    """Attention of one head, bit for bit as the core computes it.

    Args:
        q, k, v: int8 [n_q, d], [n_k, d], [n_k, d].

    Raises:
        HeadError: shapes, lengths or settings that the core doesn't take.
    """
    check(q, k, v, settings, config)
    visible = visible_keys(len(q), len(k), settings.causal)
    mask, kept = predict_mask(q, k, settings, config)
    sums = ARRAYS[config.array].attend(q, k, v, mask, settings.mantissa, settings.shift, config)
    value_sum = v.astype(np.int64).cumsum(axis=0)[visible - 1]
    used = kept if settings.residual else np.full_like(kept, 1 << KEPT_FRACTION)
    output = normalizer.normalize(sums.numerator, sums.denominator, value_sum, visible, used)
    return Result(output, mask, kept, sums.rounds)


def predict_mask(q: np.ndarray, k: np.ndarray, settings: Settings, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Quantizer, predictor and comparator: the kept keys, bool [n_q, n_k], and their share, [n_q]."""
    dims = settings.predict_dims or config.d
    q_levels, q_exponent = quantizer.quantize_rows(q, config, dims)
    k_levels, k_exponent = quantizer.quantize_rows(k, config, dims)
    scores = predictor.predict(
        q_levels, q_exponent, k_levels, k_exponent, settings.mantissa, settings.shift, config
    )  # fmt: skip
    return comparator.compare(scores, visible_keys(len(q), len(k), settings.causal), settings.threshold)
