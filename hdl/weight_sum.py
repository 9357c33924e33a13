"""The sum of a query's predicted exponentials, a chunk a cycle.

The comparator has two: one over all keys finds the sum that the threshold is a share of, one over the kept keys their
share.
"""

from myhdl import Signal, always, block, intbv, modbv

from golden.config import WEIGHT_FRACTION, clog2
from hdl.delay import register
from hdl.exp2 import WEIGHT_CYCLES, weight
from hdl.hierarchy import module
from hdl.wires import like


def weight_sum_cycles(keys):
    """Cycles from a query's last chunk at the inputs to ``done``."""
    return 1 + WEIGHT_CYCLES + clog2(keys) + 1


@block
def _add(clk, a, b, total):
    @always(clk.posedge)
    def add():
        total.next = a + b

    return add


@block
def _adder_tree(clk, terms, total):
    """Sum a list of two or more signals, a power of two of them; a register after every level."""
    parts = []
    while len(terms) > 1:
        sum_bits = len(terms[0]) + 1
        sums = [Signal(intbv(0)[sum_bits:]) for _ in terms[::2]] if len(terms) > 2 else [total]
        parts += [_add(clk, *pair) for pair in zip(terms[::2], terms[1::2], sums, strict=True)]
        terms = sums
    return parts


@module
def weight_sum(clk, reset, distances, valid, last, total, done):
    """Sum the weights of all chunks of a query.

    distances: list of one unsigned signal a key (2, 4, 8 ... of them), log2 units with 3 fraction bits; a distance
        of 136 or more counts nothing.
    valid: a chunk is at the inputs. last: it is its query's last one.
    total: with ``done``, for one cycle, the sum (16 fraction bits); wide enough for the longest query.

    A pipeline without handshake, one chunk a cycle; ``done`` comes ``weight_sum_cycles`` after the last chunk.
    """
    cycles = weight_sum_cycles(len(distances)) - 1
    top = cycles - 1
    weights = [Signal(intbv(0)[WEIGHT_FRACTION + 1 :]) for _ in distances]
    chunk_total = Signal(intbv(0)[WEIGHT_FRACTION + 1 + clog2(len(distances)) :])
    valids, lasts = [Signal(modbv(0)[cycles:]) for _ in range(2)]
    first = Signal(True)

    @always(clk.posedge)
    def stages():
        if reset:
            valids.next = 0
            lasts.next = 0
        else:
            valids.next = (valids << 1) | valid
            lasts.next = (lasts << 1) | last

    @always(clk.posedge)
    def query():
        if reset:
            first.next = True
            done.next = False
        else:
            done.next = valids[top] and lasts[top]
            if valids[top]:
                first.next = lasts[top]

    @always(clk.posedge)
    def accumulate():
        if valids[top]:
            if first:
                total.next = chunk_total
            else:
                total.next = total + chunk_total

    # Whoever has the distances has them for others too, far away.
    own = [like(distance) for distance in distances]
    arrivals = [register(clk, *pair) for pair in zip(distances, own, strict=True)]
    exponentials = [weight(clk, *pair) for pair in zip(own, weights, strict=True)]
    return arrivals, exponentials, _adder_tree(clk, weights, chunk_total), stages, query, accumulate
