"""Plain float attention: the truth that the integers are measured against. Shares no code with the golden model."""

import numpy as np


def attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None, causal: bool = False
) -> np.ndarray:
    """softmax(q kᵀ / √d) v in float64, over the keys that the mask and causality leave.

    Args:
        q, k, v: [n_q, d], [n_k, d], [n_k, d], in their true units.
        mask: bool [n_q, n_k] of the keys that count; None for all.
    """
    logits = q.astype(np.float64) @ k.astype(np.float64).T / np.sqrt(q.shape[1])
    allowed = np.ones(logits.shape, dtype=bool) if mask is None else mask.copy()
    if causal:
        n_q, n_k = logits.shape
        allowed &= np.tril(np.ones((n_q, n_k), dtype=bool), n_k - n_q)
    logits = np.where(allowed, logits, -np.inf)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights @ v.astype(np.float64) / weights.sum(axis=1, keepdims=True)


def relative_error(output: np.ndarray, truth: np.ndarray) -> float:
    """‖output - truth‖ / ‖truth‖ of a whole head; 0 where both are zero."""
    distance, size = np.linalg.norm(output - truth), np.linalg.norm(truth)
    return float(distance / size) if size else float(distance)
