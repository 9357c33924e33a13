"""The loader: K, V and Q from the input stream to the array, the predictor and the normalizer."""

from myhdl import Signal, always, always_comb, intbv

from hdl.banked.gather import gather
from hdl.banked.query_ring import query_ring_writer
from hdl.corner_turn import corner_turn, key_beats_stream
from hdl.fifo import register_slice
from hdl.hierarchy import module
from hdl.loader_control import Moves, loader_control
from hdl.quantizer import rows_stream
from hdl.query_writer import query_beats_stream, query_writer
from hdl.value_sum import ValueSumAdds, value_sum


@module
def loader(
    clk, reset, frame, descriptor, rows, head, keys, queries, values, value_sums, queries_done, head_done,
    head_done_key_set, poison_valid, poison_tag, status, config,
):  # fmt: skip
    """Takes one frame for each descriptor and brings its rows where they are needed (docs/architecture.md).

    ``frame`` (AxiStream): a beat a cycle of K and V, and of Q (tiled: in stream_bits / 32 cycles); not ready without a
    descriptor. ``descriptor``, ``rows``, ``head``: streams. ``keys``, ``queries``, ``values``: write ports that
    never wait (tiled: ``ColumnWrites``, ``QueryWrites``; banked: ``KeyWrites``, ``QueryRingWrites``).
    ``value_sums``: read port, one cycle. ``queries_done``: the oldest block (banked: group) of queries isn't needed any
    more; ``head_done`` (with the head's ``head_done_key_set``): one cycle each. ``poison_valid`` (one cycle, with
    ``poison_tag``) comes before the marker that closes its head. ``status``: ``error_valid`` (one cycle, with ``error_code``), ``keys_valid``, ``busy``.
    The first beat of K is taken two cycles after its descriptor, and comes out at ``rows`` one cycle later.
    """
    banked = config.array == "banked"
    moves = Moves(config)
    control = loader_control(
        clk, reset, frame, descriptor, head, moves, head_done, head_done_key_set, poison_valid, poison_tag, status,
        config,
    )  # fmt: skip

    data = Signal(intbv(0)[config.stream_bits :])

    @always_comb
    def beat_data():
        if moves.padding:
            data.next = 0
        else:
            data.next = frame.tdata

    # Keys and queries to the quantizer.
    moving_rows = rows_stream(config)

    @always_comb
    def row_beats():
        moving_rows.valid.next = moves.key or moves.query or moves.marker
        moving_rows.data.next = data
        moving_rows.predict_dims.next = head.predict_dims
        moving_rows.last.next = moves.last_beat and not moves.marker
        moving_rows.marker.next = moves.marker
        moving_rows.query.next = not moves.key
        moving_rows.key_set.next = moves.key_set
        moving_rows.index.next = moves.row
        moving_rows.count.next = moves.count
        moving_rows.head_last.next = moves.marker and moves.head_last

    row_register = register_slice(clk, reset, moving_rows, rows)

    # Keys and values to the array's memories.
    key_beats = key_beats_stream(config)

    @always_comb
    def array_beats():
        key_beats.valid.next = moves.key or moves.value
        key_beats.data.next = data
        key_beats.key.next = moves.row
        key_beats.beat.next = moves.beat
        key_beats.last.next = moves.last_row and moves.last_beat
        key_beats.key_set.next = moves.key_set
        key_beats.value.next = moves.value

    arrange = gather if banked else corner_turn
    arrangement = arrange(clk, reset, key_beats, keys, moves.keys_busy, config=config)

    # Queries to the query memories.
    query_beats = query_beats_stream(config)
    queries_written = Signal(False)
    queries_end = Signal(False)  # the next query begins a block (banked: a group)

    @always_comb
    def word_beats():
        query_beats.valid.next = moves.query
        query_beats.data.next = data
        query_beats.beat.next = moves.beat
        queries_end.next = moves.marker and (banked or moves.head_last)

    write_queries = query_ring_writer if banked else query_writer
    writer = write_queries(clk, reset, query_beats, queries, queries_end, queries_done, queries_written, config=config)

    # Values to the normalizer: rows, and their sums.
    adds = ValueSumAdds(config)
    key_bits, beat_bits = config.key_bits, (config.row_beats - 1).bit_length()

    @always(clk.posedge)
    def value_beats():
        values.enable.next = moves.value and not reset
        values.address.next = (((moves.key_set << key_bits) | moves.row) << beat_bits) | moves.beat
        values.data.next = frame.tdata
        adds.first.next = moves.row == 0
        adds.address.next = (moves.key_set << beat_bits) | moves.beat

    @always_comb
    def summands():
        adds.enable.next = values.enable
        adds.data.next = values.data

    sums = value_sum(clk, adds, value_sums, config=config)

    @always_comb
    def readiness():
        moves.key_ready.next = key_beats.ready and moving_rows.ready
        moves.value_ready.next = key_beats.ready
        moves.query_ready.next = query_beats.ready and moving_rows.ready
        moves.marker_ready.next = queries_written and moving_rows.ready

    return (
        control, beat_data, row_beats, row_register, array_beats, arrangement, word_beats, writer, value_beats,
        summands, sums, readiness,
    )  # fmt: skip
