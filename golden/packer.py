"""The packer: rows of a tile's bitmap to sub-rows of at most one key a lane.

Source: Sanger section 4.2 (pack and split); lane assignment for a lookaside connection: ``docs/packer.md``.
"""

import numpy as np

from golden.config import Config

IDLE = -1
"""Column of a lane that has no key in a sub-row."""


def sub_rows(bits: np.ndarray, config: Config) -> np.ndarray:
    """R, the number of sub-rows that each row of a tile is split into; 0 for an empty row.

    The smallest R such that every (cyclic) run of L neighbouring classes holds at most R * min(L + span - 1, N) keys,
    N lanes being all that a run can reach (Hall's condition).

    Args:
        bits: bool [rows, W].

    Returns:
        int64 [rows].
    """
    lanes = config.lanes
    counts = class_counts(bits, config)
    required = np.zeros(len(bits), dtype=np.int64)
    for length in range(1, lanes + 1):
        run = sum(np.roll(counts, -i, axis=1) for i in range(length)).max(axis=1)
        reached = min(length + config.span - 1, lanes)
        required = np.maximum(required, -(-run // reached))
    return required


def class_counts(bits: np.ndarray, config: Config) -> np.ndarray:
    """Keys of each class (column mod N): int64 [rows, N]."""
    return bits.reshape(len(bits), -1, config.lanes).sum(axis=1, dtype=np.int64)


def pack(bits: np.ndarray, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Assign the keys of each row of a tile to lanes and sub-rows.

    Args:
        bits: bool [rows, W], one row of a tile each.

    Returns:
        columns int64 [rows, W / N, N]: the tile column of each lane in each sub-row, ``IDLE`` where it has none,
        and the number of sub-rows [rows]; sub-rows from there on are idle.
    """
    columns = np.full((len(bits), config.max_sub_rows, config.lanes), IDLE, dtype=np.int64)
    count = sub_rows(bits, config)
    place = _place_full if config.full_connection else _place_lookaside
    row, column, lane, sub_row = place(bits, count, config)
    columns[row, sub_row, lane] = column
    return columns, count


def _place_lookaside(bits, count, config):
    """Queue around the ring of lanes: a lane takes the R oldest waiting keys, and hands the rest on.

    The order of the queue is class by class, columns ascending. What waits when the ring closes are the youngest
    keys of the last classes, so the queue starts with these.
    """
    lanes = config.lanes
    counts = class_counts(bits, config)
    carried = np.zeros(len(bits), dtype=np.int64)
    for lane in range(lanes):
        carried = np.maximum(carried + counts[:, lane] - count, 0)
    waiting, taken = carried.copy(), np.zeros_like(counts)
    for lane in range(lanes):
        taken[:, lane] = np.minimum(waiting + counts[:, lane], count)
        waiting += counts[:, lane] - taken[:, lane]
    last_taken = taken.cumsum(axis=1)

    by_class = np.argsort(np.arange(config.tile_keys) % lanes, kind="stable")
    age = bits[:, by_class].cumsum(axis=1) - 1
    row, position = np.nonzero(bits[:, by_class])
    turn = (age[row, position] + carried[row]) % counts.sum(axis=1)[row]
    lane = (last_taken[row] <= turn[:, None]).sum(axis=1)
    return row, by_class[position], lane, turn - (last_taken - taken)[row, lane]


def _place_full(bits, count, config):
    """Keys in ascending order, cut into sub-rows whose sizes differ by at most one, the larger ones first.

    A lane takes the next key once the lanes behind it would run out of columns otherwise, so that idle lanes can
    pass over unused columns with all N columns distinct and ascending (``docs/packer.md``).
    """
    total = bits.sum(axis=1)
    row, column = np.nonzero(bits)
    rank = bits.cumsum(axis=1)[row, column] - 1
    size, larger = total // np.maximum(count, 1), total % np.maximum(count, 1)
    border = larger * (size + 1)  # rank of the first key in a smaller sub-row
    sub_row = np.where(
        rank < border[row],
        rank // (size + 1)[row],
        larger[row] + (rank - border[row]) // np.maximum(size, 1)[row],
    )
    first = sub_row * size[row] + np.minimum(sub_row, larger[row])
    lane = np.zeros_like(column)
    earliest = column - (config.tile_keys - config.lanes)
    for place in range(config.lanes):
        here = np.nonzero(rank - first == place)[0]
        before = lane[here - 1] + 1 if place else 0
        lane[here] = np.maximum(before, earliest[here])
    return row, column, lane, sub_row


def all_columns(columns: np.ndarray) -> np.ndarray:
    """Columns of a full connection's sub-rows with the idle lanes' filled in: one after the lane before.

    Args:
        columns: int64 [..., N] with ``IDLE``.

    Returns:
        The same shape, N distinct ascending columns.
    """
    filled = columns.copy()
    before = np.full(columns.shape[:-1], -1, dtype=np.int64)
    for lane in range(columns.shape[-1]):
        filled[..., lane] = np.where(columns[..., lane] == IDLE, before + 1, columns[..., lane])
        before = filled[..., lane]
    return filled
