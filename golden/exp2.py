"""Powers of two with a fractional exponent: a small table and a shift.

Both tables hold 2^(-f / 2^F) for one integer step, with 16 fraction bits; the integer part of the exponent shifts.
"""

import numpy as np

from golden.config import PREDICTED_FRACTION, PROBABILITY_FRACTION, SCORE_FRACTION, WEIGHT_FRACTION


def _table(fraction: int) -> tuple[int, ...]:
    steps = 1 << fraction
    return tuple(round(2.0 ** (WEIGHT_FRACTION - f / steps)) for f in range(steps))


WEIGHT_TABLE = _table(PREDICTED_FRACTION)
"""2^(-f/8), 16 fraction bits: of predicted scores."""

PROBABILITY_TABLE = _table(SCORE_FRACTION)
"""2^(-f/128), 16 fraction bits: of exact scores."""

_LARGEST_SHIFT = 62  # what NumPy shifts an int64 by at most; everything is zero long before


def weight(distance: np.ndarray) -> np.ndarray:
    """Predicted exponential 2^-distance, truncated.

    Args:
        distance: predicted maximum minus score, at least 0, in log2 units with 3 fraction bits.

    Returns:
        Unsigned with 16 fraction bits, 1.0 = 65536; zero from a distance of 17.
    """
    shift = np.minimum(distance >> PREDICTED_FRACTION, _LARGEST_SHIFT)
    return np.asarray(WEIGHT_TABLE, dtype=np.int64)[distance % (1 << PREDICTED_FRACTION)] >> shift


def probability(distance: np.ndarray) -> np.ndarray:
    """Probability 2^-distance, rounded to nearest (half up).

    Args:
        distance: running maximum minus score, at least 0, in log2 units with 7 fraction bits.

    Returns:
        Unsigned with 11 fraction bits, 1.0 = 2048; at least 1024 for a distance below 1.
    """
    shift = np.minimum((distance >> SCORE_FRACTION) + WEIGHT_FRACTION - PROBABILITY_FRACTION - 1, _LARGEST_SHIFT)
    entry = np.asarray(PROBABILITY_TABLE, dtype=np.int64)[distance % (1 << SCORE_FRACTION)]
    return ((entry >> shift) + 1) >> 1
