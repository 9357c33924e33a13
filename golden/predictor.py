"""The low-bit predictor: scores of quantised queries and keys, in log2 units.

Source: Sanger section 3.1; number formats: ``docs/algorithm.md``.
"""

import numpy as np

from golden.config import (
    MANTISSA_BITS,
    PREDICTED_BITS,
    PREDICTED_FRACTION,
    PREDICTED_MANTISSA_BITS,
    FACTOR_SHIFT_BASE,
    Config,
)

_DROPPED_BITS = MANTISSA_BITS - PREDICTED_MANTISSA_BITS


def predicted_mantissa(mantissa: int) -> int:
    """The head's mantissa rounded to 4 bits, 8 ... 15 (saturating, as 16 would need a fifth)."""
    return min((mantissa + (1 << (_DROPPED_BITS - 1))) >> _DROPPED_BITS, (1 << PREDICTED_MANTISSA_BITS) - 1)


def shift_base(config: Config) -> int:
    """Right shift that takes ``dot * predicted mantissa`` to a score, for factor shift 0 and exponents 0."""
    return FACTOR_SHIFT_BASE - _DROPPED_BITS - PREDICTED_FRACTION + 2 * (config.prediction_bits - 1)


def predict(
    q_levels: np.ndarray, q_exponent: np.ndarray, k_levels: np.ndarray, k_exponent: np.ndarray,
    mantissa: int, shift: int, config: Config,
) -> np.ndarray:  # fmt: skip
    """Predicted scores.

    Args:
        q_levels, k_levels: [n_q, d] and [n_k, d]; q_exponent, k_exponent: [n_q] and [n_k].
        mantissa, shift: the head's factor.

    Returns:
        Scores [n_q, n_k], int64 in -2048 ... 2047: log2 units with 3 fraction bits, rounded half up, saturated.
    """
    # exact in float64, and through BLAS
    dot = (q_levels.astype(np.float64) @ k_levels.T.astype(np.float64)).astype(np.int64)
    product = dot * predicted_mantissa(mantissa)
    right = shift_base(config) + shift - q_exponent[:, None] - k_exponent[None, :]
    # floor(product * 2^-right + 1/2); a negative right shift is a left shift
    lead = 1 + max(0, -int(right.min()))
    rounded = (((product << lead) >> np.minimum(right + lead - 1, 62)) + 1) >> 1
    limit = 1 << (PREDICTED_BITS - 1)
    return np.clip(rounded, -limit, limit - 1)
