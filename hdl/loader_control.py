"""The loader's decisions: which beat of the frame goes where, when a head may come, and what is wrong with it."""

from myhdl import Signal, always, always_comb, enum, intbv, modbv

from golden.config import clog2
from golden.registers import ErrorCode
from hdl.fifo import register_slice
from hdl.heads_in_flight import heads_in_flight
from hdl.hierarchy import module
from hdl.registers import ERROR_BITS
from hdl.stream import Bits, Flag, Stream
from hdl.tiled.interfaces import TAG_BITS
from hdl.wires import like


class Moves:
    """What goes on in this cycle.

    From the control: `key`, `value`, `query` (a beat of K, V or Q goes) and `marker`; `padding`: the beat is zeros, not
    the frame's; where it belongs: `key_set`, `row` (key; for a query its index in its group), `beat`, `last_beat` (of
    its row), `last_row` (of K, V or Q); of a marker: `count`, `head_last`.
    From the loader: `ready`: something can go; `keys_busy`: parts of K or V have yet to be written to the array's memories.
    """

    def __init__(self, config):
        self.key = Flag().signal()
        self.value = Flag().signal()
        self.query = Flag().signal()
        self.marker = Flag().signal()
        self.padding = Flag().signal()
        self.key_set = Flag().signal()
        self.row = Signal(modbv(0)[config.key_bits :])
        self.beat = Bits(max(1, clog2(config.row_beats))).signal()
        self.last_beat = Flag().signal()
        self.last_row = Flag().signal()
        self.count = Bits(clog2(config.predict_queries) + 1).signal()
        self.head_last = Flag().signal()
        self.ready = Flag().signal()
        self.keys_busy = Flag().signal()


@module
def rows_to_come(clk, begin, queries_alone, n_k, n_q, rows):
    """Counts the rows of K, V and Q, or of Q alone: for each of them, ``rows`` says whether it is the ``last`` one.

    ``begin``: what comes begins anew, with the other inputs as they are in the last such cycle; nothing of ``rows`` counts
    until then.
    """
    left = Signal(intbv(0)[max(len(n_q), len(n_k)) :])
    parts_left = Signal(modbv(0)[2:])  # after this one

    @always(clk.posedge)
    def part():
        if begin:
            rows.valid.next = True
            if queries_alone:
                parts_left.next = 0
            else:
                parts_left.next = 2
        elif rows.valid and rows.ready and rows.last:
            rows.valid.next = parts_left != 0
            parts_left.next = parts_left - 1

    @always(clk.posedge)
    def count():
        if (begin and queries_alone) or (not begin and rows.ready and rows.last and parts_left == 1):
            left.next = n_q
            rows.last.next = n_q == 1
        elif begin or (rows.ready and rows.last):
            left.next = n_k
            rows.last.next = n_k == 1
        elif rows.valid and rows.ready:
            left.next = left - 1
            rows.last.next = left == 2

    return part, count


@module
def loader_control(
    clk, reset, frame, descriptor, head, moves, head_done, head_done_key_set, poison_valid, poison_tag, status, config
):
    """One head after the other: descriptor, K, V, Q with a marker after each group.

    ``frame`` (AxiStream): its data isn't looked at. ``moves`` (``Moves``): a beat goes in the cycle in which the frame
    brings it. The other ports are those of the loader. A head costs 5 cycles more than its moves.
    """
    EARLY_TLAST, LATE_TLAST = int(ErrorCode.EARLY_TLAST), int(ErrorCode.LATE_TLAST)
    NO_KEYS, BAD_LENGTH, NONE = int(ErrorCode.NO_KEYS), int(ErrorCode.BAD_LENGTH), int(ErrorCode.NONE)
    BAD_PREDICT_DIMS = int(ErrorCode.BAD_PREDICT_DIMS)
    last_beat, beat_before_last = config.row_beats - 1, max(0, config.row_beats - 2)
    last_in_group = config.predict_queries - 1
    states = enum("IDLE", "TAKE", "CHECK", "ADMIT", "KEYS", "VALUES", "OPEN", "QUERIES", "MARK", "DRAIN")
    state = Signal(states.IDLE)

    # The descriptor in hand; its settings stay in ``head``, whose next item they become. That is far from here, with the predictor
    # and the normalizer: what is asked for here, it gets from here.
    n_q, n_k, predict_dims = like(head.n_q), like(head.n_k), like(head.predict_dims)
    bad = Signal(intbv(0)[ERROR_BITS:])
    queries_alone = Signal(False)
    loaded_keys = Signal(intbv(0)[config.key_count_bits :])  # n_k of the valid key set
    loaded_dims = Signal(intbv(0)[config.predict_dims_bits :])  # of its keys as the predictor has them
    refusal = Signal(intbv(0)[ERROR_BITS:])
    keys_valid = Signal(False)
    key_set = Signal(False)  # the one that was loaded last; keys are loaded into the other

    @always(clk.posedge)
    def settings():
        if descriptor.ready:
            bad.next = descriptor.bad
            queries_alone.next = descriptor.mode
            n_q.next = descriptor.n_q
            n_k.next = descriptor.n_k
            predict_dims.next = descriptor.predict_dims
            head.mantissa.next = descriptor.mantissa
            head.shift.next = descriptor.shift
            head.threshold.next = descriptor.threshold
            head.causal.next = descriptor.causal
            head.residual.next = descriptor.residual
        head.n_q.next = n_q
        head.n_k.next = n_k
        head.predict_dims.next = predict_dims

    # The queue is far away, too: a register says to it, and to all settings, that the descriptor goes.
    @always(clk.posedge)
    def next_descriptor():
        descriptor.ready.next = state == states.IDLE and descriptor.valid and not reset

    @always(clk.posedge)
    def check():
        if state == states.CHECK:
            if bad != NONE:
                refusal.next = bad
            elif queries_alone and not keys_valid:
                refusal.next = NO_KEYS
            elif queries_alone and n_k != loaded_keys:
                refusal.next = BAD_LENGTH
            elif queries_alone and predict_dims != loaded_dims:
                refusal.next = BAD_PREDICT_DIMS
            else:
                refusal.next = NONE

    # Heads in flight.
    start = Signal(False)
    room = Signal(False)
    tag = Signal(intbv(0)[TAG_BITS:])
    free_sets = Signal(intbv(0)[2:])
    any_head = Signal(False)
    other_set_free = Signal(False)
    flight = heads_in_flight(
        clk, reset, start, key_set, head_done, head_done_key_set, tag, room, free_sets, any_head
    )  # fmt: skip

    @always_comb
    def departure():
        start.next = state == states.OPEN and room
        if key_set:
            other_set_free.next = free_sets[0]
        else:
            other_set_free.next = free_sets[1]

    # Settings are far from here, and rows are counted where they are; the count comes through a register slice.
    counted, row_here = Stream(last=Flag()), Stream(last=Flag())
    begin = Signal(True)

    # The beat of this cycle. What can be known a cycle before is in registers: nearly everything here hangs on `take`.
    moving = Signal(False)
    from_frame = Signal(True)  # `not moves.padding`, for which a whole beat waits
    sink_ready = Signal(False)
    take = Signal(False)
    ends_row = Signal(last_beat == 0)
    ends_head = Signal(False)
    early = Signal(False)  # TLAST came before the head's last beat
    late = Signal(False)  # ... and not with it
    cut = Signal(False)  # `early` happened in this row
    head_sent = Signal(False)

    @always_comb
    def beats_move():
        moving.next = state == states.KEYS or state == states.VALUES or state == states.QUERIES

    @always_comb
    def find_sink():
        sink_ready.next = moves.ready and moving and row_here.valid

    @always(clk.posedge)
    def begin_to_count():
        begin.next = reset or state == states.IDLE or state == states.TAKE

    row_counter = rows_to_come(clk, begin, queries_alone, n_k, n_q, counted)
    way_here = register_slice(clk, begin, counted, row_here)

    @always_comb
    def row_in_hand():
        moves.last_row.next = row_here.last
        row_here.ready.next = take and ends_row

    @always_comb
    def beat():
        frame.tready.next = (sink_ready and from_frame) or state == states.DRAIN
        take.next = sink_ready and (frame.tvalid or not from_frame)
        ends_head.next = state == states.QUERIES and moves.last_row and ends_row

    @always_comb
    def judge():
        early.next = take and from_frame and frame.tlast and not ends_head
        late.next = take and from_frame and ends_head and not frame.tlast

    @always_comb
    def move():
        moves.key.next = take and state == states.KEYS
        moves.value.next = take and state == states.VALUES
        moves.query.next = take and state == states.QUERIES
        moves.marker.next = state == states.MARK and moves.ready and head_sent
        moves.last_beat.next = ends_row
        if state == states.QUERIES or state == states.MARK:
            moves.key_set.next = key_set
        else:
            moves.key_set.next = not key_set

    # What comes next.
    drain_after = Signal(False)

    @always(clk.posedge)
    def next_state():
        if reset:
            state.next = states.IDLE
        elif state == states.IDLE:
            if descriptor.valid:
                state.next = states.TAKE
        elif state == states.TAKE:
            state.next = states.CHECK
        elif state == states.CHECK:
            state.next = states.ADMIT
        elif state == states.ADMIT:
            if refusal != NONE:
                state.next = states.DRAIN
            elif queries_alone:
                state.next = states.OPEN
            elif other_set_free:
                state.next = states.KEYS
        elif state == states.KEYS:
            if take and ends_row:
                if early or cut:
                    state.next = states.IDLE
                elif moves.last_row:
                    state.next = states.VALUES
        elif state == states.VALUES:
            if early:
                state.next = states.IDLE
            elif take and ends_row and moves.last_row:
                state.next = states.OPEN
        elif state == states.OPEN:
            if room:
                state.next = states.QUERIES
        elif state == states.QUERIES:
            if take and ends_row and (moves.last_row or early or cut or moves.row == last_in_group):
                state.next = states.MARK
        elif state == states.MARK:
            if moves.marker:
                if not moves.head_last:
                    state.next = states.QUERIES
                elif drain_after:
                    state.next = states.DRAIN
                else:
                    state.next = states.IDLE
        elif frame.tvalid and frame.tlast:
            state.next = states.IDLE

    @always(clk.posedge)
    def place():
        if state == states.IDLE:
            moves.padding.next = False
            from_frame.next = True
            moves.beat.next = 0
            ends_row.next = last_beat == 0
            cut.next = False
            drain_after.next = False
        elif take:
            moves.padding.next = (moves.padding or early) and not ends_row
            from_frame.next = (from_frame and not early) or ends_row
            cut.next = cut or early
            drain_after.next = late
            if ends_row:
                moves.beat.next = 0
                ends_row.next = last_beat == 0
            else:
                moves.beat.next = moves.beat + 1
                ends_row.next = moves.beat == beat_before_last

    @always(clk.posedge)
    def row():
        if not moving:
            moves.row.next = 0
        elif take and ends_row:
            if moves.last_row:
                moves.row.next = 0
            else:
                moves.row.next = moves.row + 1

    @always(clk.posedge)
    def group():
        if state == states.CHECK:
            moves.head_last.next = False
        if state == states.QUERIES:  # counts with the group's last beat, and not only then, as it is far from what it takes
            moves.count.next = moves.row + 1
            moves.head_last.next = moves.last_row or early or cut

    @always(clk.posedge)
    def valid_keys():
        if reset:
            keys_valid.next = False
            key_set.next = False
        elif state == states.ADMIT and refusal == NONE and not queries_alone:
            keys_valid.next = False
        elif state == states.VALUES and take and ends_row and moves.last_row and not early:
            keys_valid.next = True
            key_set.next = not key_set

    @always(clk.posedge)
    def settings_of_keys():
        if state == states.VALUES:
            loaded_keys.next = n_k
            loaded_dims.next = predict_dims

    # The head sets off when its keys and values are in the array's memories.
    @always(clk.posedge)
    def head_message():
        if reset:
            head_sent.next = True
            head.valid.next = False
        elif start:
            head_sent.next = False
        elif head.valid:
            if head.ready:
                head.valid.next = False
                head_sent.next = True
        elif not head_sent and not moves.keys_busy:
            head.valid.next = True
        if start:
            head.tag.next = tag
            head.key_set.next = key_set

    # What software and the output, which are far away, learn.
    was_early, was_late, was_refused, of_queries = (Signal(False) for _ in range(4))

    @always(clk.posedge)
    def judgements():
        was_early.next = early and not reset
        was_late.next = late and not reset
        was_refused.next = state == states.ADMIT and refusal != NONE and not reset
        of_queries.next = state == states.QUERIES

    @always(clk.posedge)
    def errors():
        status.error_valid.next = was_early or was_late or was_refused
        poison_valid.next = of_queries and (was_early or was_late)
        poison_tag.next = head.tag
        if was_early:
            status.error_code.next = EARLY_TLAST
        elif was_late:
            status.error_code.next = LATE_TLAST
        else:
            status.error_code.next = refusal

    @always(clk.posedge)
    def state_of_core():
        status.keys_valid.next = keys_valid
        # Not `state != IDLE`: with it, Yosys doesn't see that this is a state machine, and leaves all states to be decoded.
        status.busy.next = any_head or not (state == states.IDLE)

    return (
        settings, next_descriptor, check, flight, departure, beats_move, find_sink, begin_to_count, row_counter, way_here, row_in_hand,
        beat, judge, move, next_state, place, row, group, valid_keys, settings_of_keys, head_message, judgements, errors,
        state_of_core,
    )  # fmt: skip
