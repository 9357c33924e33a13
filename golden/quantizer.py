"""The row-scaled low-bit quantizer, and the host's side: floats to int8 and a head's factor.

Source: Sanger section 3.1 (4-bit symmetric linear quantisation); power-of-two row scales: ``docs/algorithm.md``.
"""

import math

import numpy as np

from golden.config import FACTOR_SHIFT_BASE, FACTOR_SHIFT_BITS, MANTISSA_BITS, Config

INT8_MAX = 127


def quantize_rows(rows: np.ndarray, config: Config, predict_dims: int) -> tuple[np.ndarray, np.ndarray]:
    """Levels and exponents of int8 rows: ``x`` is about ``level * 2^exponent / 2^(bits - 1)``.

    Args:
        rows: int8 [n, d].
        predict_dims: r; dimensions from r on get level 0 and have no say in the exponent.

    Returns:
        levels [n, d], int64 in -max_level ... max_level, and exponents [n] in 0 ... 7.
    """
    magnitude = np.abs(rows.astype(np.int64))
    magnitude[:, predict_dims:] = 0
    row_maximum = np.maximum(magnitude.max(axis=1), 1)
    exponent = sum((row_maximum > (1 << e)).astype(np.int64) for e in range(8))
    level = ((magnitude << config.prediction_bits) >> exponent[:, None]) + 1 >> 1
    level = np.minimum(level, config.max_level)
    return np.where(rows < 0, -level, level), exponent


def to_int8(x: np.ndarray) -> tuple[np.ndarray, float]:
    """Symmetric int8 of one tensor: ``x`` is about ``int8 * scale`` (host side).

    Raises:
        ValueError: ``x`` holds a NaN or an infinity.
    """
    if not np.isfinite(x).all():
        raise ValueError("holds NaN or infinity; only finite numbers can be quantised")
    largest = float(np.abs(x).max(initial=0.0))
    scale = largest / INT8_MAX if largest else 1.0
    return np.clip(np.rint(x / scale), -INT8_MAX, INT8_MAX).astype(np.int8), scale


def factor(q_scale: float, k_scale: float, d: int) -> tuple[int, int]:
    """Mantissa and shift that take an integer dot product to log2 units (host side).

    The factor ``q_scale * k_scale * log2(e) / sqrt(d)`` is ``mantissa * 2^-(18 + shift)``. One too small for the
    shift's range becomes the smallest there is, which scores every key 0 as the true one would.

    Raises:
        ValueError: the factor isn't positive and below 1/4, where scores would overflow.
    """
    value = q_scale * k_scale * math.log2(math.e) / math.sqrt(d)
    if not 0 < value < 0.25:
        raise ValueError(
            f"q_scale * k_scale * log2(e) / sqrt(d) is {value:g}, but must be above 0 and below 0.25; scale the inputs"
        )
    shift = MANTISSA_BITS - FACTOR_SHIFT_BASE - math.frexp(value)[1]
    mantissa = round(value * 2.0 ** (FACTOR_SHIFT_BASE + shift))
    if mantissa == 1 << MANTISSA_BITS:
        mantissa, shift = mantissa >> 1, shift - 1
    if shift < 0:
        return (1 << MANTISSA_BITS) - 1, 0
    if shift >= 1 << FACTOR_SHIFT_BITS:
        return 1 << (MANTISSA_BITS - 1), (1 << FACTOR_SHIFT_BITS) - 1
    return mantissa, shift
