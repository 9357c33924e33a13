"""The normalizer: out = a * numerator + b * sum of V, with two factors a query.

``a = (1 - rho) / denominator`` and ``b = rho / visible`` (residual compensation, ``docs/algorithm.md``). Both are
divided once a query; numerator and sum of V are first brought to 18 bits by the leading one of their divisor.
"""

import numpy as np

from golden.config import KEPT_FRACTION, MULTIPLIER_BITS, OPERAND_BITS, OUTPUT_BITS, OUTPUT_FRACTION

ALIGNED = MULTIPLIER_BITS - 1 - OPERAND_BITS
"""Position that a divisor's leading one is shifted to: |sum| <= 128 * divisor then fits a multiplier's 18 bits."""

OUTPUT_SHIFT = ALIGNED + KEPT_FRACTION - OUTPUT_FRACTION


def leading_one(x: np.ndarray) -> np.ndarray:
    """Position of the highest bit that is set; x at least 1."""
    return np.frexp(x.astype(np.float64))[1].astype(np.int64) - 1


def align(total: np.ndarray, position: np.ndarray) -> np.ndarray:
    """``total * 2^(9 - position)``, rounded half up and saturated to 18 bits signed.

    Args:
        total: [n, d], signed sums of at most 128 * divisor.
        position: [n], of the divisor's leading one.
    """
    right = position[:, None] - ALIGNED
    rounded = np.where(
        right > 0, (total + (1 << np.maximum(right - 1, 0))) >> np.maximum(right, 0), total << np.maximum(-right, 0)
    )
    limit = 1 << (MULTIPLIER_BITS - 1)
    return np.clip(rounded, -limit, limit - 1)


def share(weight: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    """``weight * 2^p / divisor`` rounded down, p the position of the divisor's leading one: at most ``weight``."""
    return (weight << leading_one(divisor)) // divisor


def normalize(
    numerator: np.ndarray, denominator: np.ndarray, value_sum: np.ndarray, visible: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """Output rows.

    Args:
        numerator, denominator: [n_q, d] and [n_q], as the array leaves them.
        value_sum: [n_q, d], sum of V over the visible keys.
        visible: [n_q], how many keys these are.
        kept: [n_q], 1 - rho with 16 fraction bits; 65536 without residual compensation.

    Returns:
        int16 [n_q, d], 8 fraction bits in units of V's scale; saturated.
    """
    a = share(kept, denominator)
    b = share((1 << KEPT_FRACTION) - kept, visible)
    total = align(numerator, leading_one(denominator)) * a[:, None] + align(value_sum, leading_one(visible)) * b[:, None]
    limit = 1 << (OUTPUT_BITS - 1)
    return np.clip((total + (1 << (OUTPUT_SHIFT - 1))) >> OUTPUT_SHIFT, -limit, limit - 1).astype(np.int16)
