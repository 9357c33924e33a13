"""A cluster of the banked array: N lanes that work on the same few queries, and what they share (docs/banked.md)."""

from myhdl import ConcatSignal, Signal, always, always_comb, intbv

from golden.config import FACTOR_SHIFT_BITS, MANTISSA_BITS, clog2
from hdl.banked.drain import drain
from hdl.banked.interfaces import (
    SUM_SLOTS,
    Burst,
    Control,
    CountEvent,
    Event,
    KeyIndex,
    Record,
    RowWrite,
    ScoredKey,
    ScoreRecord,
    dot_signal,
    entry_bits,
    probability_signal,
    product_signal,
    row_sum_signal,
    slot_bits,
)
from hdl.banked.lane import lane
from hdl.banked.packer import packer
from hdl.banked.phases import phases
from hdl.banked.query_rows import query_rows
from hdl.banked.scores import choice_of_scores, denominators, factors, maxima, scan_of_scores, score_memory
from hdl.banked.slots import slots
from hdl.banked.value_sums import value_sums
from hdl.delay import delayed, register, register_copy
from hdl.hierarchy import module
from hdl.stream import Bits, Signed


@module
def cluster(clk, reset, score_phase, word, queries, row, words, keys, sums, room, busy_lanes, config):
    """N lanes; up to A queries in flight. A lane makes a score every score phase and adds a value every value phase, if it has.

    Args:
        score_phase: this cluster is in a score phase (else in a value phase). word: 0 ... S - 1 in each phase. Registers.
        queries: `queries_stream`; ready while a slot is free.
        row: `row_stream`, words: `words_stream`; in the order of `queries`, early or late.
        keys: list of N `KeyPort`.
        sums: `sums_stream`, one row of S items a query, in the order of `queries`.
        room: number of free query slots.
        busy_lanes: how many lanes work in this phase; constant from a phase's second cycle to the next one's first.
    """
    lanes, width, sum_slot_bits = config.lanes, config.lane_width, clog2(SUM_SLOTS)

    control, scan, choose = Control(config), Burst(config), Burst(config)
    timing = phases(clk, reset, score_phase, word, control, scan, choose, config)

    open_, loadable, loaded, row_done, packing_set, packable, packed, finished, drainable, drained = (
        Signal(False) for _ in range(10)
    )
    opening, loading, packing, factor_slot = (Signal(intbv(0)[slot_bits(config) :]) for _ in range(4))
    drain_sum = Signal(intbv(0)[sum_slot_bits:])
    drain_entry = Signal(intbv(0)[entry_bits(config) :])
    usable, key_sets = Signal(intbv(0)[config.slots :]), Signal(intbv(0)[1 << slot_bits(config) :])
    counted, taken_event, release, powered = (
        CountEvent(config), Event(config), Event(config), Event(config)
    )  # fmt: skip
    scored, head = ScoreRecord(config), ScoreRecord(config)
    # Slots and lanes are all over the cluster.
    slots_reset, lane_resets = Signal(True), [Signal(True) for _ in range(lanes)]
    resets = [register_copy(clk, reset, copy) for copy in (slots_reset, *lane_resets)]
    ring = slots(
        clk, slots_reset, queries, open_, opening, loading, loadable, loaded, row_done, packing, packing_set, packable, packed,
        counted, finished, scored, taken_event, usable, key_sets, release, drainable, drained, drain_sum, drain_entry, room, config,
    )  # fmt: skip

    write = RowWrite(config)
    rows = query_rows(clk, reset, row, loading, loadable, loaded, row_done, write, config)

    fills = [Signal(False) for _ in range(lanes)]
    fill_bits = ConcatSignal(*reversed(fills))
    push, chosen_here, power_here = (Signal(intbv(0)[lanes:]) for _ in range(3))
    entry = KeyIndex(config)
    index_packer = packer(
        clk, reset, words, packing, packing_set, packable, packed, fill_bits, push, entry, counted, finished, config
    )  # fmt: skip

    chosen = Record(config)
    power = probability_signal(config)
    records = [ScoredKey(config) for _ in range(lanes)]
    dots = [dot_signal(config) for _ in range(lanes)]
    products = [[product_signal(config) for _ in range(width)] for _ in range(lanes)]
    uses = [Signal(intbv(0)[SUM_SLOTS:]) for _ in range(lanes)]
    actives = [Signal(False) for _ in range(lanes)]
    lane_array = [
        lane(
            clk, lane_resets[j], control, write, push(j), entry, fills[j], chosen_here(j), chosen, power_here(j), power, keys[j],
            actives[j], records[j], dots[j], products[j], uses[j], config,
        )
        for j in range(lanes)
    ]  # fmt: skip

    mantissa, shift = Signal(intbv(0)[MANTISSA_BITS:]), Signal(intbv(0)[FACTOR_SHIFT_BITS:])
    maximum = Signed(config.maximum_bits).signal()
    denominator = Bits(config.denominator_bits).signal()
    taken = Signal(False)
    query_factors = factors(
        clk, open_, opening, queries.mantissa, queries.shift, factor_slot, mantissa, shift, config
    )  # fmt: skip
    scores = scan_of_scores(clk, reset, scan, dots, records, factor_slot, mantissa, shift, scored, config)
    query_maxima = maxima(clk, reset, scored, head.slot, maximum, release, config)
    memory = score_memory(clk, reset, scored, choose, head, taken, config)
    choice = choice_of_scores(
        clk, reset, choose, head, key_sets, usable, maximum, taken, chosen_here, chosen, power, powered, power_here,
        config,
    )  # fmt: skip
    query_denominators = denominators(clk, reset, powered, power, drain_sum, denominator, drained, config)

    @always(clk.posedge)
    def choices():
        taken_event.active.next = taken and not reset
        taken_event.slot.next = head.slot

    has_room, row_starts = Signal(False), Signal(False)
    row_entry = Signal(intbv(0)[entry_bits(config) :])

    @always_comb
    def start_of_drain():
        drained.next = control.to_score and drainable and has_room

    start_of_row = [delayed(clk, drained, row_starts, 1, reset), register(clk, drain_entry, row_entry)]

    @always(clk.posedge)
    def drain_phase():
        if drained:
            control.drain_sum.next = drain_sum
        if reset:
            control.drain.next = False
        elif control.to_score:
            control.drain.next = drained

    row_sums, filled = [row_sum_signal(config) for _ in range(width)], Signal(False)
    values = value_sums(clk, reset, control, products, uses, row_sums, filled, config)
    row_buffer = drain(
        clk, reset, filled, row_sums, drained, row_starts, row_entry, denominator, has_room, sums, config
    )  # fmt: skip

    active_bits = ConcatSignal(*reversed(actives))

    @always(clk.posedge)
    def utilisation():
        total = intbv(0, min=0, max=lanes + 1)
        total[:] = 0
        for j in range(lanes):
            if active_bits[j]:
                total[:] = total + 1
        busy_lanes.next = total

    return (
        timing, resets, ring, rows, index_packer, lane_array, query_factors, scores, query_maxima, memory, choice,
        query_denominators, choices, start_of_drain, start_of_row, drain_phase, values, row_buffer, utilisation,
    )  # fmt: skip
