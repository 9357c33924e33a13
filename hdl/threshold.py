"""From a query's sum and the threshold to its reach: the largest distance to the maximum that is kept.

A key is kept if its weight is above limit = T * sum, rounded down. A weight is a table entry shifted right, so

    entry >> i > limit    is the same as    entry >= (limit + 1) << i

and no search is needed: with the leading one of ``limit + 1`` shifted to that of the table's entries, its position
gives the integer part of the largest such distance, and comparisons with the entries give the fraction.
"""

from myhdl import Signal, always, always_comb, block, intbv, modbv

from golden.config import DISTANCE_BITS, PREDICTED_FRACTION, THRESHOLD_FRACTION, WEIGHT_FRACTION, clog2
from golden.exp2 import WEIGHT_TABLE
from hdl.divider import normalize, normalize_cycles
from hdl.hierarchy import module
from hdl.multiplier import multiplier
from hdl.stream import Bits, Flag, Stream

HIDDEN = (1 << DISTANCE_BITS) - 1
"""Distance that stands for a key that the query doesn't see."""

FARTHEST = HIDDEN - 1
"""Largest distance of a key that the query sees; larger ones saturate. All from 136 have a weight of zero."""

MULTIPLIER_BITS = 18  # unsigned operands of one DSP block


def request_stream(config):
    """What the threshold search takes, one item a query.

    weight_sum: of its visible keys. threshold: T. gap: of the maximum below its ceiling, 3 fraction bits.
    residual: whether the kept share is asked for. chunks: how many the query has, minus 1.
    """
    return Stream(
        weight_sum=Bits(config.weight_sum_bits),
        threshold=Bits(THRESHOLD_FRACTION + 1),
        gap=Bits(PREDICTED_FRACTION),
        residual=Flag(),
        chunks=Bits(max(1, clog2(config.max_chunks))),
    )


def reach_stream(config):
    """What the threshold search gives: a query's reach, and fields of its request that are needed with it."""
    return Stream(
        reach=Bits(DISTANCE_BITS),
        weight_sum=Bits(config.weight_sum_bits),
        residual=Flag(),
        chunks=Bits(max(1, clog2(config.max_chunks))),
    )


# The table's entries from the second on, falling, and the one that would follow, aligned to where ``normalize`` puts a
# leading one.
_STEPS = tuple(2 * entry for entry in (*WEIGHT_TABLE[1:], WEIGHT_TABLE[0] >> 1))

# Clock cycles after the one that takes a request; in each, the registers named here are written.
_PRODUCTS = 4
_ACCUMULATE = 2  # the first product is added to the limit: after operands and product
_BOUND = _ACCUMULATE + _PRODUCTS
_COMPARE = _BOUND + normalize_cycles(WEIGHT_FRACTION + 1) + 1
_DISTANCE = _COMPARE + 1
_REACH = _DISTANCE + 1

SEARCH_CYCLES = _REACH + 2
"""From the transfer of a request to the first cycle in which its result is valid."""


@block
def _compare(clk, value, step, at_most):
    """One table entry: it still is at least the bound."""

    @always(clk.posedge)
    def compare():
        at_most.next = value <= step

    return compare


@module
def threshold_search(clk, reset, request, result, config):
    """The largest distance whose weight is above the threshold's share of the sum (the golden model bisects for it).

    request: ``request_stream``. result: ``reach_stream``; reach has 3 fraction bits, is at least the gap, so that every
    tie of the maximum is kept, and is ``FARTHEST`` for T = 0, so that every visible key is kept.

    A result is valid ``SEARCH_CYCLES`` after its request was transferred (14), and the next request is taken in the
    cycle after the one in which it leaves.
    """
    # T * sum in four products of halves: that of the high halves is in the limit's units.
    low_bits = THRESHOLD_FRACTION // 2
    half_bits = max(THRESHOLD_FRACTION + 1, config.weight_sum_bits) - low_bits
    assert half_bits <= MULTIPLIER_BITS, "max_keys: the sum of the weights is too wide for one multiplier"
    bound_bits = WEIGHT_FRACTION + 1

    weight_sum = Signal(intbv(0)[config.weight_sum_bits :])
    threshold = Signal(intbv(0)[THRESHOLD_FRACTION + 1 :])
    gap = Signal(intbv(0)[PREDICTED_FRACTION:])
    cycle = Signal(intbv(0, min=0, max=_REACH + 1))
    idle = Signal(True)
    finished = Signal(False)

    sum_half, threshold_half = [Signal(intbv(0)[half_bits:]) for _ in range(2)]
    product = Signal(intbv(0)[2 * half_bits :])
    limit = Signal(intbv(0)[2 * half_bits + 1 :])
    bound, normalized = [Signal(intbv(0)[bound_bits:]) for _ in range(2)]
    position = Signal(intbv(0)[clog2(bound_bits) :])
    at_most = [Signal(False) for _ in _STEPS]
    nothing_above = Signal(False)
    distance = Signal(modbv(0)[DISTANCE_BITS:])  # and one integer step

    @always(clk.posedge)
    def control():
        if reset:
            idle.next = True
            finished.next = False
        elif idle:
            idle.next = not request.valid
        elif finished:
            if result.ready:
                finished.next = False
                idle.next = True
        elif cycle == _REACH:
            finished.next = True

    @always(clk.posedge)
    def query():
        if idle:
            cycle.next = 0
            weight_sum.next = request.weight_sum
            threshold.next = request.threshold
            gap.next = request.gap
            result.residual.next = request.residual
            result.chunks.next = request.chunks
        elif cycle != _REACH:
            cycle.next = cycle + 1

    # Order of the products: low * low, low sum * high T, high sum * low T, high * high.
    @always_comb
    def operands():
        if cycle[1]:
            sum_half.next = weight_sum >> low_bits
        else:
            sum_half.next = weight_sum[low_bits:]
        if cycle[0]:
            threshold_half.next = threshold >> low_bits
        else:
            threshold_half.next = threshold[low_bits:]

    multiply = multiplier(clk, sum_half, threshold_half, product)

    @always(clk.posedge)
    def limits():
        if cycle == _ACCUMULATE:
            limit.next = product
        elif cycle == _ACCUMULATE + 2:
            limit.next = limit + product
        elif cycle < _BOUND:
            limit.next = (limit >> low_bits) + product

    @always(clk.posedge)
    def bounds():
        if cycle == _BOUND:
            bound.next = limit[WEIGHT_FRACTION:] + 1
            nothing_above.next = (limit >> WEIGHT_FRACTION) != 0

    comparisons = [_compare(clk, normalized, step, below) for step, below in zip(_STEPS, at_most, strict=True)]

    @always(clk.posedge)
    def distances():
        fraction = intbv(0)[PREDICTED_FRACTION + 1 :]
        for step in range(len(_STEPS)):
            if at_most[step]:  # and so it is for all smaller steps
                fraction[:] = step + 1
        distance.next = ((WEIGHT_FRACTION - position) << PREDICTED_FRACTION) + fraction

    @always(clk.posedge)
    def reaches():
        if threshold == 0:
            result.reach.next = FARTHEST
        elif nothing_above or distance < gap + len(_STEPS):
            result.reach.next = gap
        else:
            result.reach.next = distance - len(_STEPS)

    @always_comb
    def handshake():
        request.ready.next = idle
        result.valid.next = finished
        result.weight_sum.next = weight_sum

    normalizing = normalize(clk, bound, normalized, position)
    return (
        control,
        query,
        operands,
        multiply,
        limits,
        bounds,
        normalizing,
        comparisons,
        distances,
        reaches,
        handshake,
    )
