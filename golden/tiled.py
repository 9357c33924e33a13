"""The tiled array: score-stationary SDDMM, exponentials against an online integer maximum, SpMM.

Source: Sanger section 4.3; the order of rounding: ``docs/algorithm.md``, "Online maximum".
"""

import numpy as np

from golden.config import SCORE_FRACTION, Config
from golden.exp2 import probability
from golden.packer import IDLE, pack
from golden.scores import Sums, scale_scores


def count_rounds(sub_rows: np.ndarray, config: Config) -> int:
    """Rounds of a head: all rows work on the same tile, which takes as many as its busiest row.

    Args:
        sub_rows: [n_q, tiles].
    """
    n_q, tiles = sub_rows.shape
    blocks = -(-n_q // config.block_queries)
    padded = np.zeros((blocks * config.block_queries, tiles), dtype=np.int64)
    padded[:n_q] = sub_rows
    per_row = padded.reshape(blocks, config.slots, config.rows, tiles).sum(axis=1)
    return int(per_row.max(axis=1).sum())


def attend(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray, mantissa: int, shift: int, config: Config
) -> Sums:
    """Sums over the kept keys, tile by tile and sub-row by sub-row.

    Args:
        q, k, v: int8 [n_q, d], [n_k, d], [n_k, d].
        mask: bool [n_q, n_k], at least one key a row.
    """
    n_q, n_k = mask.shape
    width, lanes = config.tile_keys, config.lanes
    tiles = -(-n_k // width)
    padding = ((0, tiles * width - n_k), (0, 0))
    keys, values = np.pad(k, padding).astype(np.float64), np.pad(v, padding).astype(np.float64)
    bits = np.pad(mask, ((0, 0), (0, tiles * width - n_k)))
    queries = q.astype(np.float64)

    maximum = np.zeros(n_q, dtype=np.int64)
    first = np.ones(n_q, dtype=bool)
    numerator = np.zeros((n_q, q.shape[1]), dtype=np.int64)
    denominator = np.zeros(n_q, dtype=np.int64)
    counts = np.zeros((n_q, tiles), dtype=np.int64)
    for tile in range(tiles):
        here = slice(tile * width, (tile + 1) * width)
        columns, counts[:, tile] = pack(bits[:, here], config)
        # integers below 2^53, so float64 is exact
        dots = (queries @ keys[here].T).astype(np.int64)
        scores = scale_scores(dots, mantissa, shift, config)
        for sub_row in range(int(counts[:, tile].max(initial=0))):
            busy = np.nonzero(counts[:, tile] > sub_row)[0]
            column = columns[busy, sub_row]
            valid = column != IDLE
            score = np.take_along_axis(scores[busy], np.maximum(column, 0), axis=1)
            ceiling = -((-score) >> SCORE_FRACTION)
            lowest = ceiling.min(initial=0) - 1
            peak = np.where(valid, ceiling, lowest).max(axis=1)
            new_maximum = np.where(first[busy], peak, np.maximum(maximum[busy], peak))
            distance = (new_maximum[:, None] << SCORE_FRACTION) - score
            lane_probability = np.where(valid, probability(np.maximum(distance, 0)), 0)

            by_column = np.zeros((len(busy), width))
            row, lane = np.nonzero(valid)
            by_column[row, column[row, lane]] = lane_probability[row, lane]
            rescale = np.minimum(np.where(first[busy], 0, new_maximum - maximum[busy]), 62)
            # "first" writes instead of adding: the sums are still zero here
            numerator[busy] = (numerator[busy] >> rescale[:, None]) + (by_column @ values[here]).astype(np.int64)
            denominator[busy] = (denominator[busy] >> rescale) + lane_probability.sum(axis=1)
            maximum[busy], first[busy] = new_maximum, False
    return Sums(numerator, denominator, count_rounds(counts, config))
