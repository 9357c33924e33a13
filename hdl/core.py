"""The core: from the stream of K, V and Q rows to the stream of O rows. docs/architecture.md has the picture."""

from myhdl import Signal, always, always_comb, intbv

from golden.config import Config, clog2
from hdl.banked.attention import banked_attention
from hdl.banked.keys import KeyWrites
from hdl.banked.query_ring import QueryRingWrites
from hdl.comparator import bits_stream, chunks_stream, comparator, results_stream
from hdl.counters import Events
from hdl.delay import cleared_register, far_copy, register, register_copy
from hdl.group_starts import GroupStarts
from hdl.hierarchy import module
from hdl.loader import loader
from hdl.normalizer import TAG_BITS, output_rows_stream
from hdl.output import output
from hdl.predictor import head_stream, predictor
from hdl.quantizer import levels_stream, quantizer, rows_stream
from hdl.registers import CoreStatus, control_port, descriptor_stream, registers
from hdl.stream import AxiStream
from hdl.tiled.activity import Activity
from hdl.tiled.attention import tiled_attention
from hdl.tiled.interfaces import ColumnWrites, QueryWrites
from hdl.visible_sum import ValueSumsRead, ValueWrites

RESET_CYCLES = 32  # longer than any pipeline between two blocks


def ports(config: Config) -> tuple:
    """Signals for the core's ports: clk, reset, s_axis, m_axis, s_axil."""
    return (
        Signal(False),
        Signal(True),
        AxiStream(config.stream_bits),
        AxiStream(config.stream_bits),
        control_port(),
    )


@module
def core(clk, reset, s_axis, m_axis, s_axil, config):
    """Sparse attention, head after head.

    s_axis: AXI4-Stream of int8 rows, one frame a head: K, V and Q, or Q alone (its TUSER is ignored).
    m_axis: AXI4-Stream of int16 rows with 8 fraction bits, one frame a head.
    s_axil: AXI4-Lite control, docs/registers.md; a head's descriptor is committed before its frame is taken.
    reset: synchronous, active high.
    """
    if config.array == "banked":
        attention, keys, queries = banked_attention, KeyWrites(config), QueryRingWrites(config)
    else:
        attention, keys, queries = tiled_attention, ColumnWrites(config), QueryWrites(config)

    softmax_lanes = range(config.softmax_lanes)
    restart, reset_left = Signal(True), Signal(intbv(0, min=0, max=RESET_CYCLES))
    load_reset, quantize_reset, predict_reset, compare_reset, attend_reset, output_reset = resets = [
        Signal(True) for _ in range(6)
    ]
    control_reset = Signal(True)
    status, events = CoreStatus(), Events(config)
    descriptor, rows, levels, head = (
        descriptor_stream(config), rows_stream(config), levels_stream(config), head_stream(config),
    )  # fmt: skip
    chunks = [chunks_stream(config) for _ in softmax_lanes]
    bits = [bits_stream(config) for _ in softmax_lanes]
    results = [results_stream(config) for _ in softmax_lanes]
    kept_counts = [Signal(intbv(0)[clog2(config.predict_keys + 1) :]) for _ in softmax_lanes]
    starts = GroupStarts(config)
    values, value_sums, rows_out = ValueWrites(config), ValueSumsRead(config), output_rows_stream(config)
    queries_done, round_tick, activity = Signal(False), Signal(False), Activity(config)
    head_done, head_done_key_set, stall_out = Signal(False), Signal(False), Signal(False)
    done_seen, done_seen_key_set = Signal(False), Signal(False)  # by the loader, which is far away
    poison_valid, poison_tag = Signal(False), Signal(intbv(0)[TAG_BITS:])

    # Pipelines between blocks have no reset of their own: they run empty while the state that they would reach is held.
    @always(clk.posedge)
    def cycles_of_reset():
        if reset or status.soft_reset:
            reset_left.next = RESET_CYCLES - 1
        elif reset_left != 0:
            reset_left.next = reset_left - 1

    @always(clk.posedge)
    def any_reset():
        restart.next = reset or status.soft_reset or reset_left != 0

    copies = [far_copy(clk, restart, copy) for copy in resets], register_copy(clk, reset, control_reset)

    control = registers(clk, control_reset, s_axil, descriptor, status, events, config)
    load = loader(
        clk, load_reset, s_axis, descriptor, rows, head, keys, queries, values, value_sums, queries_done, done_seen,
        done_seen_key_set, poison_valid, poison_tag, status, config,
    )  # fmt: skip
    end_of_head = [
        cleared_register(clk, load_reset, head_done, done_seen), register(clk, head_done_key_set, done_seen_key_set),
    ]  # fmt: skip
    quantize = quantizer(clk, quantize_reset, rows, levels, config)
    predict = predictor(clk, predict_reset, head, levels, chunks, starts, config)
    compare = [
        comparator(clk, compare_reset, chunks[lane], bits[lane], results[lane], kept_counts[lane], config)
        for lane in softmax_lanes
    ]
    attend = attention(
        clk, attend_reset, keys, queries, values, value_sums, starts, bits, results, rows_out, queries_done, round_tick, activity,
        config,
    )  # fmt: skip
    put_out = output(
        clk, output_reset, rows_out, m_axis, poison_valid, poison_tag, head_done, head_done_key_set, stall_out, config
    )  # fmt: skip
    count = event_counts(clk, restart, status, s_axis, round_tick, activity, kept_counts, head_done, stall_out, events, config)
    return control, load, end_of_head, quantize, predict, compare, attend, put_out, cycles_of_reset, any_reset, copies, count


@module
def event_counts(clk, reset, status, s_axis, round_tick, activity, kept_counts, head_done, stall_out, events, config):
    """What the counters count, one cycle later; the output, which is far away, two. Nothing during a ``reset``: until it has reached
    every block, what they report has no meaning.
    """
    lane_slots = config.rows * config.lanes
    lanes = config.softmax_lanes
    stalled = Signal(False)

    @always(clk.posedge)
    def ticks():
        events.cycles.next = status.busy
        events.rounds.next = round_tick
        events.slots.next = lane_slots if round_tick else 0
        events.heads.next = head_done
        events.stall_in.next = s_axis.tvalid and not s_axis.tready
        stalled.next = stall_out
        events.stall_out.next = stalled
        if reset:
            events.cycles.next = 0
            events.rounds.next = 0
            events.slots.next = 0
            events.heads.next = 0
            events.stall_in.next = 0
            events.stall_out.next = 0

    @always(clk.posedge)
    def kept():
        total = 0
        for lane in range(lanes):
            total = total + kept_counts[lane]
        events.kept.next = total
        if reset:
            events.kept.next = 0

    @always(clk.posedge)
    def done_by_lanes():
        events.multiplications.next = activity.multiplications
        events.register_moves.next = activity.register_moves
        events.idle_slots.next = activity.idle_slots
        if reset:
            events.multiplications.next = 0
            events.register_moves.next = 0
            events.idle_slots.next = 0

    return ticks, kept, done_by_lanes
