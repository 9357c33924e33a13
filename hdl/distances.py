"""How far each predicted score of a chunk lies below its query's maximum, rounded up to an integer."""

from myhdl import Signal, always, always_comb, block, intbv, modbv

from golden.config import PREDICTED_BITS, PREDICTED_FRACTION
from hdl.hierarchy import module
from hdl.threshold import FARTHEST, HIDDEN

DISTANCES_CYCLES = 2
"""Latency of ``distances``."""

_ROUND_UP = (1 << PREDICTED_FRACTION) - 1


@block
def _distance(clk, score_field, visible_field, ceiling, distance):
    """One key: its score and whether it is visible, a register, the distance, a register."""
    distance_bits = len(distance)
    score = Signal(intbv(0, min=-(1 << (PREDICTED_BITS - 1)), max=1 << (PREDICTED_BITS - 1)))
    visible = Signal(False)
    # Never negative for a visible key, and at most 2 to the power PREDICTED_BITS.
    difference = Signal(modbv(0)[PREDICTED_BITS + 1 :])

    @always(clk.posedge)
    def operands():
        score.next = score_field.signed()
        visible.next = visible_field

    @always_comb
    def subtract():
        difference.next = ceiling - score

    @always(clk.posedge)
    def saturate():
        if not visible:
            distance.next = HIDDEN
        elif (difference >> distance_bits) != 0 or difference[distance_bits:] == HIDDEN:
            distance.next = FARTHEST
        else:
            distance.next = difference[distance_bits:]

    return operands, subtract, saturate


@module
def distances(clk, reset, scores, visible_mask, maximum, valid, last, distances, distances_valid, distances_last):
    """Distances of a chunk's keys to their query's maximum, log2 units with 3 fraction bits.

    scores: of all keys, signed, key 0 lowest. visible_mask: one bit a key. maximum: signed, of the query.
    valid: a chunk is at the inputs. last: it is its query's last one.
    distances: list of one signal a key; saturated to ``FARTHEST``, and ``HIDDEN`` for a key that the query doesn't see.
    distances_valid, distances_last: ``valid`` and ``last`` with the same latency.

    A pipeline without handshake, one chunk a cycle; latency ``DISTANCES_CYCLES``.
    """
    # One value more than a score: the ceiling of the largest one.
    ceiling = Signal(intbv(0, min=-(1 << PREDICTED_BITS), max=1 << PREDICTED_BITS))
    chunk_valid, chunk_last = [Signal(False) for _ in range(2)]

    @always(clk.posedge)
    def ceilings():
        ceiling.next = ((maximum + _ROUND_UP) >> PREDICTED_FRACTION) << PREDICTED_FRACTION

    @always(clk.posedge)
    def stages():
        if reset:
            chunk_valid.next = False
            distances_valid.next = False
        else:
            chunk_valid.next = valid
            distances_valid.next = chunk_valid
        chunk_last.next = last
        distances_last.next = chunk_last

    keys = [
        _distance(clk, scores((key + 1) * PREDICTED_BITS, key * PREDICTED_BITS), visible_mask(key), ceiling, distance)
        for key, distance in enumerate(distances)
    ]
    return ceilings, stages, keys
