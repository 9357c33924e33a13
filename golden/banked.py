"""The banked array: a lane owns its keys, and the maximum of a query is final before its first exponential.

Differs from the tiled array in one place: nothing is rescaled, as the running maximum doesn't grow any more when
probabilities are made (``docs/algorithm.md``). Sums of integers come in any order.
"""

import numpy as np

from golden.config import SCORE_FRACTION, Config
from golden.exp2 import probability
from golden.scores import Sums, scale_scores


def attend(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray, mantissa: int, shift: int, config: Config
) -> Sums:
    """Sums over the kept keys, against the final maximum of each query.

    Args:
        q, k, v: int8 [n_q, d], [n_k, d], [n_k, d].
        mask: bool [n_q, n_k], at least one key a row.

    Returns:
        Sums; ``rounds`` is None, as lanes work independently.
    """
    dots = (q.astype(np.float64) @ k.astype(np.float64).T).astype(np.int64)
    scores = scale_scores(dots, mantissa, shift, config)
    ceiling = -((-scores) >> SCORE_FRACTION)
    maximum = np.where(mask, ceiling, ceiling.min()).max(axis=1)
    distance = np.where(mask, (maximum[:, None] << SCORE_FRACTION) - scores, 0)
    probabilities = np.where(mask, probability(distance), 0)
    # integers below 2^53, so float64 is exact
    numerator = (probabilities.astype(np.float64) @ v.astype(np.float64)).astype(np.int64)
    return Sums(numerator, probabilities.sum(axis=1), None)
