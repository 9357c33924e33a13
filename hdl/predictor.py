"""The low-bit predictor: scores of every query against every visible key (golden twin: golden/predictor.py)."""

from myhdl import Signal, always, always_comb

from golden.config import FACTOR_SHIFT_BITS, PREDICTED_MANTISSA_BITS
from hdl.delay import delayed, register, register_copy
from hdl.fifo import fifo
from hdl.hierarchy import module
from hdl.levels import READ_CYCLES, LevelRead, Operands, groups_stream, level_memories
from hdl.predict_sequencer import GroupPlan, group_planner, step_sequencer
from hdl.score_array import Dots, score_array
from hdl.score_scaler import SCALER_CYCLES, ScorePass, score_scaler, score_signals
from hdl.score_store import StoreProgress, begun_stream, head_settings, score_store
from hdl.stream import Bits, Flag, Stream
from hdl.wires import like

_HEAD_QUEUE = 16  # heads in flight, at least
_SCALING_QUEUE = 4  # groups begun and not yet scaled, at least


def head_stream(config):
    """The stream ``head`` of docs/architecture.md."""
    return Stream(predict_dims=Bits(config.predict_dims_bits), **head_settings(config))


@module
def score_passes(clk, reset, begun, mantissa, results, scoring, valid, last, config):
    """Goes through the queries of each lane, one a cycle, when new ``results`` (Dots) are there.

    ``scoring`` (ScorePass) is what is scaled in this cycle, if ``valid``; ``last``: last chunk of its group.
    ``begun``: groups in order, well before their results (``valid`` alone), with their low-bit ``mantissa``.
    """
    pass_count = config.predict_queries // config.softmax_lanes
    incoming = Stream(
        mantissa=Bits(PREDICTED_MANTISSA_BITS), shift=Bits(FACTOR_SHIFT_BITS), causal=Flag(),
        last_visible=Bits(config.key_bits),
    )  # fmt: skip
    group = incoming.like()
    queue = fifo(clk, reset, incoming, group, depth=_SCALING_QUEUE)
    chunk_ends = Signal(False)
    next_number = like(scoring.number)

    @always_comb
    def begin():
        incoming.valid.next = begun.valid
        incoming.mantissa.next = mantissa
        incoming.shift.next = begun.shift
        incoming.causal.next = begun.causal
        incoming.last_visible.next = begun.last_visible

    @always_comb
    def passing():
        valid.next = results.ready or scoring.number != 0
        last.next = results.group_last
        chunk_ends.next = (results.ready or scoring.number != 0) and scoring.number == pass_count - 1

    @always_comb
    def settings():
        group.ready.next = chunk_ends and results.group_last
        scoring.mantissa.next = group.mantissa
        scoring.shift.next = group.shift
        scoring.causal.next = group.causal
        scoring.last_visible.next = group.last_visible

    @always_comb
    def next_pass():
        next_number.next = scoring.number
        if reset or (valid and scoring.number == pass_count - 1):
            next_number.next = 0
        elif valid:
            next_number.next = scoring.number + 1

    @always(clk.posedge)
    def place():
        if reset:
            scoring.chunk.next = 0
        elif chunk_ends:
            if results.group_last:
                scoring.chunk.next = 0
            else:
                scoring.chunk.next = scoring.chunk + 1

    copies = [register_copy(clk, next_number, copy) for copy in scoring.copies]
    return queue, begin, passing, settings, next_pass, register(clk, next_number, scoring.number), copies, place


@module
def predictor(clk, reset, head, levels, chunks, starts, config):
    """Scores of every query against every visible key, and their maxima; streams as in docs/architecture.md.

    Args:
        head: settings, one item a head (``head_stream``).
        levels: quantised rows and the ends of groups (hdl.quantizer.levels_stream).
        chunks: a stream for each softmax lane (hdl.score_store.chunks_stream).
        starts: hdl.group_starts.GroupStarts; ``room`` is looked at once for each group, before it is multiplied, and
            not in the cycle of a ``start``.

    A chunk takes max(predict_dims / predict_width, predict_queries / softmax_lanes) cycles, rounded up, without gaps
    while groups wait; groups and heads follow each other without one. The chunks of a group come once it is complete,
    one a cycle, while the next group is multiplied.
    """
    lane_count = config.softmax_lanes
    heads, groups = head.like(), groups_stream(config)
    plan, read, operands, results = GroupPlan(config), LevelRead(config), Operands(config), Dots(config)
    begun, scoring = begun_stream(config), ScorePass(config)
    progress = [StoreProgress(config) for _ in range(lane_count)]
    enable, last, group_last, read_enable, read_last, read_group_last = [Signal(False) for _ in range(6)]
    passing, last_passes, scored, last_scored = [Signal(False) for _ in range(4)]

    head_queue = fifo(clk, reset, head, heads, depth=_HEAD_QUEUE)
    memories = level_memories(clk, reset, levels, groups, read, operands, config)
    planner = group_planner(clk, reset, heads, groups, starts.room, starts.start, plan, config)
    sequencer = step_sequencer(clk, reset, plan, heads.key_set, progress, read, enable, last, group_last, config)

    @always_comb
    def start():
        starts.count.next = groups.count
        starts.head_last.next = groups.head_last

    @always_comb
    def begin():
        begun.valid.next = plan.take
        begun.query.next = plan.query
        begun.last_visible.next = plan.last_visible
        begun.count.next = groups.count
        begun.head_last.next = groups.head_last

    @always_comb
    def settings():
        begun.mantissa.next = heads.mantissa
        begun.shift.next = heads.shift
        begun.threshold.next = heads.threshold
        begun.key_set.next = heads.key_set
        begun.tag.next = heads.tag
        begun.causal.next = heads.causal
        begun.residual.next = heads.residual
        begun.n_k.next = heads.n_k
        begun.n_q.next = heads.n_q

    flags = [
        delayed(clk, enable, read_enable, READ_CYCLES, reset),
        delayed(clk, last, read_last, READ_CYCLES),
        delayed(clk, group_last, read_group_last, READ_CYCLES),
        delayed(clk, passing, scored, SCALER_CYCLES, reset),
        delayed(clk, last_passes, last_scored, SCALER_CYCLES),
    ]
    array = score_array(clk, reset, operands, read_enable, read_last, read_group_last, results, config)
    passes = score_passes(clk, reset, begun, plan.mantissa, results, scoring, passing, last_passes, config)
    lanes = []
    for lane in range(lane_count):
        scores = score_signals(config)
        lanes.append(score_scaler(clk, scoring, results, scores, lane, config))
        lanes.append(score_store(
            clk, reset, scores, scored, last_scored, begun, chunks[lane], progress[lane], lane, config
        ))  # fmt: skip
    return head_queue, memories, planner, sequencer, start, begin, settings, flags, array, passes, lanes
