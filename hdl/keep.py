"""The comparator's second pass: the distances of a query again, now against its reach."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv, modbv

from golden.config import DISTANCE_BITS
from hdl.fifo import fifo, half_slice
from hdl.hierarchy import module
from hdl.occupancy import room_left
from hdl.stream import Bits, Flag, Stream
from hdl.threshold import HIDDEN

DEPTH = 16
"""Chunks that can wait at the output; the passage from the memory's address to there and back takes less cycles."""

_STAGES = 3  # memory, its register, comparison


@block
def _compare(clk, field, reach, kept, kept_distance):
    """One key: a register behind the memory, then the comparison."""
    distance = Signal(intbv(0)[DISTANCE_BITS:])

    @always(clk.posedge)
    def distances():
        distance.next = field

    @always(clk.posedge)
    def compare():
        if distance <= reach:
            kept.next = True
            kept_distance.next = distance
        else:
            kept.next = False
            kept_distance.next = HIDDEN

    return distances, compare


@module
def _next_read(comparing, is_room, read):
    """Whether a chunk is read. The memory may be far from what else hangs on it: a module, or synthesis would make one look-up
    table for both."""

    @always_comb
    def condition():
        read.next = comparing and is_room

    return condition


@module
def keep(clk, reset, reach, read, word, kept, distances, distances_valid, distances_last, kept_count):
    """Compare a query's distances with its reach, one chunk a cycle without gaps between queries.

    reach: stream of ``reach`` and ``chunks`` (the query's number of chunks, minus 1).
    read: the next chunk of distances is taken from the memory; word: it comes a cycle later, key 0 lowest.
    kept: stream of ``bits`` (one a key: it is kept) and ``last`` (the query's last chunk).
    distances, distances_valid, distances_last: the same chunks for the sum of weights, a dropped key as ``HIDDEN``.
    kept_count: number of keys kept, for one cycle a chunk, else 0.

    Latency: a chunk's ``distances`` come 5 cycles after its query's reach was transferred, the count one cycle and
    ``kept`` two cycles after them. A reach is taken every second cycle at most.
    """
    keys = len(distances)
    chunk = Stream(bits=Bits(keys), last=Flag())
    # The next query: what comes before needn't know in the same cycle where this one is.
    coming = Stream(reach=Bits(DISTANCE_BITS), chunks=Bits(len(reach.chunks)))
    comparing = Signal(False)
    remaining = Signal(intbv(0)[len(reach.chunks) :])
    # The reach goes along with the chunks: one for the query being read, then one a stage of the memory.
    reach_read, reach_memory, reach_chunk = [Signal(intbv(0)[DISTANCE_BITS:]) for _ in range(3)]
    valids, lasts = [Signal(modbv(0)[_STAGES:]) for _ in range(2)]
    # Registers, as everything hangs on them: there is room for a chunk; it will be the query's last one.
    is_room, at_last = Signal(True), Signal(False)
    reading, leaves, last_read = (Signal(False) for _ in range(3))  # `reading`: `read` for the registers here
    is_kept = [Signal(False) for _ in distances]
    bits = ConcatSignal(*reversed(is_kept))

    next_reads = _next_read(comparing, is_room, read), _next_read(comparing, is_room, reading)

    @always(clk.posedge)
    def leaving():
        leaves.next = kept.valid and kept.ready and not reset  # the output is far from here

    @always_comb
    def last_reads():
        last_read.next = reading and at_last

    @always_comb
    def take():
        coming.ready.next = last_read or not comparing

    @always(clk.posedge)
    def query():
        if reset:
            comparing.next = False
        elif coming.ready:
            comparing.next = coming.valid
        if coming.ready:
            remaining.next = coming.chunks
            at_last.next = coming.chunks == 0
            reach_read.next = coming.reach
        elif reading:
            remaining.next = remaining - 1
            at_last.next = remaining == 1

    rooms = room_left(clk, reset, reading, leaves, is_room, DEPTH)

    @always(clk.posedge)
    def stages():
        if reset:
            valids.next = 0
        else:
            valids.next = (valids << 1) | reading
        lasts.next = (lasts << 1) | last_read
        reach_memory.next = reach_read
        reach_chunk.next = reach_memory

    @always_comb
    def chunks():
        chunk.valid.next = valids[_STAGES - 1]
        chunk.last.next = lasts[_STAGES - 1]
        chunk.bits.next = bits
        distances_valid.next = valids[_STAGES - 1]
        distances_last.next = lasts[_STAGES - 1]

    @always(clk.posedge)
    def counts():
        count = intbv(0, min=0, max=keys + 1)
        for key in range(keys):
            count[:] = count + bits[key]
        if valids[_STAGES - 1]:
            kept_count.next = count
        else:
            kept_count.next = 0

    comparisons = [
        _compare(clk, word((key + 1) * DISTANCE_BITS, key * DISTANCE_BITS), reach_chunk, is_kept[key], distances[key])
        for key in range(keys)
    ]
    waiting = fifo(clk, reset, chunk, kept, depth=DEPTH)
    following = half_slice(clk, reset, reach, coming)
    return next_reads, leaving, last_reads, take, following, query, rooms, stages, comparisons, chunks, counts, waiting
