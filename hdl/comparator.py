"""The threshold comparator: which keys a query keeps, and which share of its predicted probability they hold.

One softmax lane, in two passes over a query's predicted scores:

    chunks ──▶ distances ──┬──▶ delay memory ───────────────────────▶ keep ──▶ bits
                           │                                 reach ──▶ │
                           └──▶ weight sum ──▶ threshold search ──┘     └──▶ weight sum ──▶ divider ──▶ results

The first pass sums the weights of the visible keys; the sum and the threshold make the query's reach; the second pass
keeps the keys within reach and sums their weights. While a query is in its second pass the next ones are in their
first. Nothing waits inside: a chunk is taken only if there is room for it and its query everywhere behind.
"""

from myhdl import ConcatSignal, Signal, always, always_comb, intbv, modbv

from golden.config import (
    DISTANCE_BITS,
    FACTOR_SHIFT_BITS,
    KEPT_FRACTION,
    LENGTH_BITS,
    MANTISSA_BITS,
    PREDICTED_BITS,
    PREDICTED_FRACTION,
    THRESHOLD_FRACTION,
    clog2,
)
from hdl.delay import port_register, register_copy
from hdl.distances import distances
from hdl.divider import divider
from hdl.fifo import fifo
from hdl.hierarchy import module
from hdl.keep import keep
from hdl.memory import ram
from hdl.occupancy import any_left
from hdl.stream import Bits, Flag, Signed, Stream
from hdl.threshold import reach_stream, request_stream, threshold_search
from hdl.weight_sum import weight_sum

TAG_BITS = 4

QUERIES = 16
"""Queries in flight, from their last chunk to their result: enough for a chunk a cycle from 16 chunks a query."""

TURNAROUND = 32
"""At least the cycles from a query's last chunk into the delay memory to its first one out of it."""


def query_fields(config):
    """What a query carries through the comparator (docs/architecture.md, "chunks" and "bits")."""
    return {
        "query": Bits(LENGTH_BITS),
        "visible": Bits(config.key_count_bits),
        "group_last": Flag(),
        "head_last": Flag(),
        "mantissa": Bits(MANTISSA_BITS),
        "shift": Bits(FACTOR_SHIFT_BITS),
        "key_set": Flag(),
        "tag": Bits(TAG_BITS),
        "causal": Flag(),
        "residual": Flag(),
        "n_k": Bits(config.key_count_bits),
        "n_q": Bits(LENGTH_BITS),
    }


def chunks_stream(config):
    """Predicted scores of ``predict_keys`` keys, and the fields of their query."""
    return Stream(
        scores=Bits(config.predict_keys * PREDICTED_BITS),
        visible_mask=Bits(config.predict_keys),
        last=Flag(),
        maximum=Signed(PREDICTED_BITS),
        threshold=Bits(THRESHOLD_FRACTION + 1),
        **query_fields(config),
    )


def bits_stream(config):
    """Which of ``predict_keys`` keys are kept, and the fields of their query."""
    return Stream(bits=Bits(config.predict_keys), last=Flag(), **query_fields(config))


def results_stream(config):
    """The kept share of a query's predicted probability, 16 fraction bits; 1.0 = 65536."""
    return Stream(kept=Bits(KEPT_FRACTION + 1))


def _part(stream, *names):
    """A stream of some fields of another one: their signals are shared, ``valid`` and ``ready`` are its own."""
    part = Stream(**{name: stream.fields[name] for name in names})
    for name in names:
        setattr(part, name, getattr(stream, name))
    return part


@module
def comparator(clk, reset, chunks, bits, results, kept_count, config):
    """Softmax lane: bitmap of the kept keys and their share; ``golden.comparator.compare``.

    chunks: ``chunks_stream``. bits: ``bits_stream``, chunk for chunk. results: ``results_stream``, one a query, in
    order, later than its bits; 65536 where the query's ``residual`` is 0.
    kept_count: number of bits set, for one cycle a chunk, else 0 (0 ... predict_keys).

    One chunk a cycle for queries of 16 chunks and more, at least 15 cycles a query. With predict_keys = 8, a query's
    first bits are valid 33 cycles after its last chunk was transferred, its result 18 cycles after its last bits.
    """
    depth = 1 << clog2(config.max_chunks + TURNAROUND)
    word_bits = config.predict_keys * DISTANCE_BITS

    def distance_signals():
        return [Signal(intbv(0)[DISTANCE_BITS:]) for _ in range(config.predict_keys)]

    # Streams a query, by what they hold; those that join share the signals of the stream that they join to.
    chunk = chunks.like()  # as taken; ``valid`` and ``ready`` aren't used
    fields_in, fields = _part(chunk, *query_fields(config)), _part(bits, *query_fields(config))
    request, reach = request_stream(config), reach_stream(config)
    settings, sums = _part(request, "threshold", "gap", "residual", "chunks"), _part(request, "weight_sum")
    settings_in, sums_in = settings.like(), sums.like()
    settings_in.threshold, settings_in.residual = chunk.threshold, chunk.residual
    totals_in, totals = (_part(reach, "weight_sum", "residual").like() for _ in range(2))
    kept_sums_in = Stream(kept_sum=Bits(config.weight_sum_bits))
    kept_sums = kept_sums_in.like()
    division = Stream(dividend=Bits(config.weight_sum_bits), divisor=Bits(config.weight_sum_bits))
    quotient = Stream(quotient=Bits(KEPT_FRACTION + 1))
    quotient.quotient, quotient.valid, quotient.ready = results.kept, results.valid, results.ready
    kept = _part(bits, "bits", "last")

    # Intake: room for chunks in the delay memory, and for queries in every stream above.
    taken, taken_last, read, leaves, is_room, ready_here = [Signal(False) for _ in range(6)]
    free_chunks = Signal(intbv(depth, min=0, max=depth + 1))
    queries = Signal(intbv(0, min=0, max=QUERIES + 1))

    intake = port_register(clk, chunks, chunk, chunks.fields)

    @always(clk.posedge)
    def transfer():
        taken.next = chunks.valid and ready_here and not reset

    @always_comb
    def ends_of_queries():
        taken_last.next = taken and chunk.last

    @always(clk.posedge)
    def leaving():
        leaves.next = results.valid and results.ready and not reset  # to somewhere far away

    @always(clk.posedge)
    def room():
        if reset:
            free_chunks.next = depth
            queries.next = 0
            is_room.next = False
        else:
            if taken and not read:
                free_chunks.next = free_chunks - 1
            elif read and not taken:
                free_chunks.next = free_chunks + 1
            if taken_last and not leaves:
                queries.next = queries + 1
            elif leaves and not taken_last:
                queries.next = queries - 1
            # Three less than there is: transfers of this cycle and the two before aren't counted yet.
            is_room.next = free_chunks > 3 and queries < QUERIES - 3

    # Where the chunks come from is far from here.
    readies = register_copy(clk, is_room, chunks.ready), register_copy(clk, is_room, ready_here)

    @always(clk.posedge)
    def chunk_numbers():
        if reset or taken_last:
            settings_in.chunks.next = 0
        elif taken:
            settings_in.chunks.next = settings_in.chunks + 1

    @always_comb
    def query_settings():
        settings_in.valid.next = taken_last
        settings_in.gap.next = (-chunk.maximum) & ((1 << PREDICTED_FRACTION) - 1)
        fields_in.valid.next = taken_last

    # First pass: distances and the sum of their weights.
    seen, seen_valid, seen_last = distance_signals(), Signal(False), Signal(False)
    seen_word = ConcatSignal(*reversed(seen))
    distance_pipeline = distances(
        clk, reset, chunk.scores, chunk.visible_mask, chunk.maximum, taken, chunk.last, seen, seen_valid, seen_last
    )
    seen_sum = weight_sum(clk, reset, seen, seen_valid, seen_last, sums_in.weight_sum, sums_in.valid)

    write_address, read_address = [Signal(modbv(0)[clog2(depth) :]) for _ in range(2)]
    delayed_word = Signal(intbv(0)[word_bits:])
    delay_memory = ram(clk, seen_valid, write_address, seen_word, read_address, delayed_word, depth=depth)

    @always(clk.posedge)
    def addresses():
        if reset:
            write_address.next = 0
            read_address.next = 0
        else:
            if seen_valid:
                write_address.next = write_address + 1
            if read:
                read_address.next = read_address + 1

    # Between the passes: the reach.
    query_buffers = [
        fifo(clk, reset, fields_in, fields, depth=QUERIES),
        fifo(clk, reset, settings_in, settings, depth=QUERIES),
        fifo(clk, reset, sums_in, sums, depth=QUERIES),
    ]

    @always_comb
    def requests():
        request.valid.next = settings.valid and sums.valid
        settings.ready.next = request.ready and sums.valid
        sums.ready.next = request.ready and settings.valid

    search = threshold_search(clk, reset, request, reach, config)

    # Second pass: bits, and the sum of the kept weights.
    near, near_valid, near_last = distance_signals(), Signal(False), Signal(False)
    keeping = keep(clk, reset, reach, read, delayed_word, kept, near, near_valid, near_last, kept_count)
    kept_sum = weight_sum(clk, reset, near, near_valid, near_last, kept_sums_in.kept_sum, kept_sums_in.valid)

    @always_comb
    def bits_with_fields():
        bits.valid.next = kept.valid and fields.valid
        kept.ready.next = bits.ready and fields.valid
        fields.ready.next = bits.ready and kept.valid and kept.last

    # The kept share: a share of everything where the residual is not asked for.
    @always(clk.posedge)
    def query_totals():
        totals_in.valid.next = reach.valid and reach.ready and not reset
        totals_in.weight_sum.next = reach.weight_sum
        totals_in.residual.next = reach.residual

    # A result must not overtake the bits of its query: queries whose bits have left and whose division hasn't begun.
    any_complete, starts, bits_end = [Signal(False) for _ in range(3)]

    @always(clk.posedge)
    def last_bits():
        bits_end.next = bits.valid and bits.ready and bits.last and not reset

    completions = any_left(clk, reset, bits_end, starts, any_complete, QUERIES)

    # All of these are far away from one another: the divider is ready, and stays so, a cycle before it starts.
    @always(clk.posedge)
    def start_of_division():
        starts.next = division.ready and kept_sums.valid and totals.valid and any_complete and not starts and not reset

    @always_comb
    def divisions():
        division.valid.next = starts
        kept_sums.ready.next = starts
        totals.ready.next = starts
        division.divisor.next = totals.weight_sum
        if totals.residual:
            division.dividend.next = kept_sums.kept_sum
        else:
            division.dividend.next = totals.weight_sum

    share = [
        fifo(clk, reset, totals_in, totals, depth=QUERIES),
        fifo(clk, reset, kept_sums_in, kept_sums, depth=QUERIES),
        divider(clk, reset, division, quotient, quotient_bits=KEPT_FRACTION + 1),
    ]

    return (
        intake,
        transfer,
        ends_of_queries,
        leaving,
        room,
        readies,
        chunk_numbers,
        query_settings,
        distance_pipeline,
        seen_sum,
        addresses,
        delay_memory,
        query_buffers,
        requests,
        search,
        keeping,
        kept_sum,
        bits_with_fields,
        query_totals,
        last_bits,
        completions,
        start_of_division,
        divisions,
        share,
    )
