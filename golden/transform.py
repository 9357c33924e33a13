"""Folded prediction: the balanced transform that puts nearly all of every score into the first dimensions (host side).

``q kᵀ`` doesn't change when q is multiplied by an invertible A and k by A⁻ᵀ. The balanced choice makes both second
moments the same diagonal matrix, dimensions in falling order (``docs/algorithm.md``, "Folded prediction").
"""

import numpy as np

DEFAULT_RIDGE = 0.03


class TransformError(ValueError):
    """A transform that can't be made or used; the message says why."""


def balance(q_moment: np.ndarray, k_moment: np.ndarray, ridge: float = DEFAULT_RIDGE) -> tuple[np.ndarray, np.ndarray]:
    """Matrices [d, d] that queries and keys are multiplied by from the right.

    Args:
        q_moment, k_moment: second moments E[q qᵀ] and E[k kᵀ], [d, d].
        ridge: added to both diagonals, in units of the mean eigenvalue.

    Raises:
        TransformError: a moment isn't positive definite even with the ridge.
    """
    moments = []
    for name, moment in (("q", q_moment), ("k", k_moment)):
        d = len(moment)
        regular = moment + np.eye(d) * (ridge * np.trace(moment) / d)
        eigenvalues, vectors = np.linalg.eigh(regular)
        if not eigenvalues[0] > 1e-12 * eigenvalues[-1]:
            raise TransformError(f"the second moment of {name} is singular; use more tokens or a larger ridge")
        moments.append((eigenvalues, vectors))
    q_values, q_vectors = moments[0]
    k_regular = moments[1][1] * moments[1][0] @ moments[1][1].T
    root = q_vectors * np.sqrt(q_values) @ q_vectors.T
    inverse_root = q_vectors / np.sqrt(q_values) @ q_vectors.T
    strength, axes = np.linalg.eigh(root @ k_regular @ root)
    strength, axes = strength[::-1], axes[:, ::-1]
    return inverse_root @ axes * strength**0.25, root @ axes * strength**-0.25


def calibrate(heads: list, ridge: float = DEFAULT_RIDGE) -> tuple[np.ndarray, np.ndarray]:
    """The transform of one head from captured rows: ``heads`` is a list of (q [n_q, d], k [n_k, d]), pooled."""
    moments = [
        sum(rows.T.astype(np.float64) @ rows for rows in side) / sum(len(rows) for rows in side) for side in zip(*heads)
    ]
    return balance(*moments, ridge)


def check(q_matrix: np.ndarray, k_matrix: np.ndarray) -> None:
    """Raise TransformError unless the pair leaves scores as they are (q_matrix · k_matrixᵀ = 1)."""
    d = q_matrix.shape[0]
    if not (np.isfinite(q_matrix).all() and np.isfinite(k_matrix).all()):
        raise TransformError("the transform holds NaN or infinity")
    if not np.allclose(q_matrix @ k_matrix.T, np.eye(d), atol=1e-4):
        raise TransformError("the transform's two matrices don't leave scores as they are (or are singular)")


def fold(weight: np.ndarray, bias: np.ndarray | None, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Fold a transform into a projection ``x @ weight + bias``, at no cost at run time.

    Args:
        weight: [model width, d]; bias: [d] or None; matrix: [d, d], the query's or the key's.
    """
    return weight @ matrix, None if bias is None else bias @ matrix
