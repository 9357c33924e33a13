"""The threshold comparator: which scores matter, and how much probability the others hold.

Source: Sanger section 3.1 (threshold on the predicted softmax); integer threshold: ``docs/algorithm.md``.
"""

import numpy as np

from golden.config import KEPT_FRACTION, PREDICTED_FRACTION, THRESHOLD_FRACTION
from golden.exp2 import WEIGHT_TABLE, weight

LONGEST_DISTANCE = (WEIGHT_TABLE[0].bit_length() << PREDICTED_FRACTION) - 1
"""No distance above this has a weight above zero."""


def largest_kept_distance(weight_sum: np.ndarray, threshold: int) -> np.ndarray:
    """Largest distance to the maximum whose share of the sum is above the threshold, by bisection; -1 for none.

    Args:
        weight_sum: [n_q], sums of weights.
        threshold: T with 24 fraction bits.
    """
    limit = (weight_sum.astype(object) * threshold >> THRESHOLD_FRACTION).astype(np.int64)
    low = np.full(weight_sum.shape, -1)  # kept, or no distance at all
    high = np.full(weight_sum.shape, LONGEST_DISTANCE + 1)  # dropped
    while (high - low > 1).any():
        middle = (low + high) // 2
        kept = weight(np.maximum(middle, 0)) > limit
        low, high = np.where(kept & (high - low > 1), middle, low), np.where(~kept & (high - low > 1), middle, high)
    return low


def compare(scores: np.ndarray, visible: np.ndarray, threshold: int) -> tuple[np.ndarray, np.ndarray]:
    """Bitmap of the kept keys, and the kept share of the predicted probability.

    Args:
        scores: predicted, [n_q, n_k].
        visible: [n_q], keys 0 ... visible - 1 can be seen; at least 1.
        threshold: T with 24 fraction bits; 0 keeps every visible key.

    Returns:
        mask, bool [n_q, n_k] with at least one key a row, and ``kept`` [n_q]: 1 - rho with 16 fraction bits,
        rounded down; exactly 65536 where everything visible is kept.
    """
    seen = np.arange(scores.shape[1])[None, :] < visible[:, None]
    maximum = np.where(seen, scores, scores.min()).max(axis=1)
    ceiling = -((-maximum) >> PREDICTED_FRACTION) << PREDICTED_FRACTION
    distance = np.where(seen, ceiling[:, None] - scores, 0)
    weights = np.where(seen, weight(distance), 0)
    weight_sum = weights.sum(axis=1)
    if threshold == 0:
        mask = seen
    else:
        # every tie of the maximum passes, so no row is ever empty
        reach = np.maximum(largest_kept_distance(weight_sum, threshold), ceiling - maximum)
        mask = seen & (distance <= reach[:, None])
    kept_sum = np.where(mask, weights, 0).sum(axis=1)
    return mask, (kept_sum << KEPT_FRACTION) // weight_sum
