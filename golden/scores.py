"""What the array organisations share: exact scores from dot products, and the sums that they leave."""

from dataclasses import dataclass

import numpy as np

from golden.config import DOT_BITS, FACTOR_SHIFT_BASE, SCORE_FRACTION, Config


@dataclass(frozen=True)
class Sums:
    """What an array leaves for the normalizer, and what it took.

    Attributes:
        numerator: int64 [n_q, d], sums of probability times value, 11 fraction bits.
        denominator: int64 [n_q], sums of probabilities, 11 fraction bits; at least 1024.
        rounds: rounds of 2d cycles, all rows together; None where the organisation has none.
    """

    numerator: np.ndarray
    denominator: np.ndarray
    rounds: int | None


def scale_scores(dots: np.ndarray, mantissa: int, shift: int, config: Config) -> np.ndarray:
    """Exact scores, log2 units with 7 fraction bits, of exact dot products; rounded half up, twice."""
    rounded = dots
    if config.dot_shift:
        rounded = (dots + (1 << (config.dot_shift - 1))) >> config.dot_shift
    rounded = np.minimum(rounded, (1 << (DOT_BITS - 1)) - 1)  # (-128)^2 * d alone reaches it
    right = FACTOR_SHIFT_BASE + shift - SCORE_FRACTION - config.dot_shift
    return (rounded * mantissa + (1 << (right - 1))) >> right
