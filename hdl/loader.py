"""The loader: K, V and Q from the input stream to the array, the predictor and the normalizer."""

from myhdl import Signal, always, always_comb

from hdl.banked.gather import gather
from hdl.banked.query_ring import query_ring_writer
from hdl.corner_turn import corner_turn, key_beats_stream
from hdl.delay import register_copy, stream_register
from hdl.fifo import fifo, register_slice
from hdl.hierarchy import module
from hdl.loader_control import Moves, loader_control
from hdl.occupancy import any_left, room_for
from hdl.quantizer import rows_stream
from hdl.query_writer import query_beats_stream, query_writer
from hdl.stream import Bits, Flag, Stream
from hdl.value_sum import ValueSumAdds, value_sum
from hdl.wires import wire

MOVES = 16
"""Beats and markers that can wait for their sinks."""


def moves_stream(moves, config):
    """``moves`` (`hdl.loader_control.Moves`) with the beat's ``data`` and its head's ``predict_dims``."""
    flags = ("key", "value", "query", "marker", "key_set", "last_beat", "last_row", "head_last")
    numbers = ("row", "beat", "count")
    return Stream(
        data=Bits(config.stream_bits), predict_dims=Bits(config.predict_dims_bits),
        **{name: Flag() for name in flags}, **{name: Bits(len(getattr(moves, name))) for name in numbers},
    )  # fmt: skip


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
    The first beat of K is taken four cycles after its descriptor, and comes out at ``rows`` four cycles later.
    """
    banked = config.array == "banked"
    moves = Moves(config)
    control = loader_control(
        clk, reset, frame, descriptor, head, moves, head_done, head_done_key_set, poison_valid, poison_tag, status,
        config,
    )  # fmt: skip

    # What goes, through a queue: the control decides by the frame and by the room there alone, the sinks behind it wait for one
    # another, and may be far away.
    coming = moves_stream(moves, config)
    late, moved = coming.like(), coming.like()
    names = [name for name in coming.fields if name not in ("data", "predict_dims")]
    places = [wire(getattr(moves, name), getattr(coming, name)) for name in names]
    is_room, left, keys_come, keys_left, any_keys = (Signal(value) for value in (True, False, False, False, False))
    queue = [
        # The control hears of it a cycle later, as it is far away, and is counted a cycle later.
        room_for(clk, reset, late.valid, left, is_room, MOVES, needed=3),
        register_copy(clk, is_room, moves.ready),
        any_left(clk, reset, keys_come, keys_left, any_keys, MOVES),
        stream_register(clk, reset, coming, late),
        fifo(clk, reset, late, moved, depth=MOVES),
    ]

    @always_comb
    def beat():
        coming.valid.next = moves.key or moves.value or moves.query or moves.marker
        coming.predict_dims.next = head.predict_dims
        coming.data.next = frame.tdata
        if moves.padding:
            coming.data.next = 0

    @always_comb
    def keys_on_their_way():
        keys_come.next = late.valid and (late.key or late.value)

    @always(clk.posedge)
    def leave():
        if __debug__:
            assert late.ready or not late.valid, "no room for a beat that was taken"
        left.next = go and not reset
        keys_left.next = go and (moved.key or moved.value) and not reset

    # A beat goes to all of its sinks at once. Each sees just the others' `ready`, for its own is known to it.
    go, row_goes, key_goes, query_goes, marker_goes = (Signal(False) for _ in range(5))
    moving_rows, key_beats, query_beats = rows_stream(config), key_beats_stream(config), query_beats_stream(config)
    queries_written = Signal(False)

    @always_comb
    def go_together():
        go.next = moved.valid and moved.ready
        row_goes.next = moved.valid and (
            (moved.key and key_beats.ready) or (moved.query and query_beats.ready) or (moved.marker and queries_written)
        )
        key_goes.next = moved.valid and (moved.value or (moved.key and moving_rows.ready))
        query_goes.next = moved.valid and moved.query and moving_rows.ready
        marker_goes.next = moved.valid and moved.marker and moving_rows.ready and queries_written

    # Keys and queries to the quantizer.
    @always_comb
    def row_beats():
        moving_rows.valid.next = row_goes
        moving_rows.data.next = moved.data
        moving_rows.predict_dims.next = moved.predict_dims
        moving_rows.last.next = moved.last_beat and not moved.marker
        moving_rows.marker.next = moved.marker
        moving_rows.query.next = not moved.key
        moving_rows.key_set.next = moved.key_set
        moving_rows.index.next = moved.row
        moving_rows.count.next = moved.count
        moving_rows.head_last.next = moved.marker and moved.head_last

    row_register = register_slice(clk, reset, moving_rows, rows)

    # Keys and values to the array's memories.
    @always_comb
    def array_beats():
        key_beats.valid.next = key_goes
        key_beats.data.next = moved.data
        key_beats.key.next = moved.row
        key_beats.beat.next = moved.beat
        key_beats.last.next = moved.last_row and moved.last_beat
        key_beats.key_set.next = moved.key_set
        key_beats.value.next = moved.value

    arrange = gather if banked else corner_turn
    arranging, arrived = Signal(False), Signal(False)
    beats_there = key_beats.like()
    way_there = register_slice(clk, reset, key_beats, beats_there)
    arrangement = arrange(clk, reset, beats_there, keys, arranging, config=config)

    @always(clk.posedge)
    def arrivals():
        arrived.next = beats_there.valid and beats_there.ready

    @always(clk.posedge)
    def keys_underway():
        moves.keys_busy.next = keys_come or any_keys or beats_there.valid or arrived or arranging

    # Queries to the query memories.
    queries_end = Signal(False)  # the next query begins a block (banked: a group)

    @always_comb
    def word_beats():
        query_beats.valid.next = query_goes
        query_beats.data.next = moved.data
        query_beats.beat.next = moved.beat
        queries_end.next = marker_goes and (banked or moved.head_last)

    write_queries = query_ring_writer if banked else query_writer
    writer = write_queries(clk, reset, query_beats, queries, queries_end, queries_done, queries_written, config=config)

    # Values to the normalizer: rows, and their sums.
    adds = ValueSumAdds(config)
    key_bits, beat_bits = config.key_bits, (config.row_beats - 1).bit_length()

    @always(clk.posedge)
    def value_beats():
        values.enable.next = go and moved.value and not reset
        values.address.next = (((moved.key_set << key_bits) | moved.row) << beat_bits) | moved.beat
        values.data.next = moved.data
        adds.first.next = moved.row == 0
        adds.address.next = (moved.key_set << beat_bits) | moved.beat

    @always_comb
    def summands():
        adds.enable.next = values.enable
        adds.data.next = values.data

    sums = value_sum(clk, adds, value_sums, config=config)

    @always_comb
    def readiness():
        if moved.value:
            moved.ready.next = key_beats.ready
        elif moved.key:
            moved.ready.next = key_beats.ready and moving_rows.ready
        elif moved.query:
            moved.ready.next = query_beats.ready and moving_rows.ready
        else:
            moved.ready.next = queries_written and moving_rows.ready

    return (
        control, places, queue, beat, keys_on_their_way, leave, go_together, row_beats, row_register, array_beats, way_there, arrangement, arrivals,
        keys_underway, word_beats, writer, value_beats, summands, sums, readiness,
    )  # fmt: skip
