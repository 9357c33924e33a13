"""One PE row of the systolic array: its registers, its lanes, and what turns their scores into sums."""

from myhdl import Signal, always, always_comb, concat, intbv
from myhdl._Signal import Constant

from golden.config import clog2
from hdl.delay import delayed
from hdl.hierarchy import module
from hdl.systolic.lane import lane, partial_signal
from hdl.tiled.interfaces import (
    RoundRecord,
    dot_signal,
    operand_signal,
    probability_signal,
    rescale_signal,
    slot_bits,
)
from hdl.tiled.row import query_elements
from hdl.tiled.softmax import softmax
from hdl.tiled.sums import denominators, query_sums


@module
def operand_rows(clk, element, feed, above, queries, columns):
    """The row's registers: the query moves one to the right a cycle, the columns come from the row above.

    element: of the query (stage 3), not taken without `feed`: zeros follow the query, so its scores stand still.
    above: column registers of the row above, or skewed columns. queries, columns: registers.
    """
    width = len(queries)

    @always(clk.posedge)
    def query_chain():
        if feed:
            queries[0].next = element
        else:
            queries[0].next = 0
        for c in range(1, width):
            queries[c].next = queries[c - 1]

    @always(clk.posedge)
    def column_registers():
        for c in range(width):
            columns[c].next = above[c]

    return query_chain, column_registers


@module
def row(
    clk, reset, control, advance, above, columns, query_writes, work, drain_address, numerator, denominator, valid, bubbles,
    config,
):  # fmt: skip
    """A PE row.

    Scores leave the lanes, and probabilities enter them, lane by lane from the left: one scaler and one exponential a row
    keep up with the skew of the columns (the paper has an exponential in each lane), and the chain of probabilities that
    gives the row's sum is this order in time.

    Args:
        control: `RowControl` of this row. advance: end-of-tile marks go.
        above, columns: column registers of the row above, and of this one.
        query_writes: `enable`, `address`, `data`: write port of this row's query memory.
        work: work items; an item at the head with `control.begin` is taken lane by lane; with an end mark the row idles.
        drain_address: {block parity, slot, dimension} for the normalizer, in cycles in which `control.read` is low.
        numerator, denominator: what is there, two cycles later.
        valid: bit j: lane j has a key in this round; bubbles: registers that a partial sum passes. From the take to the
            next one; 0 if the row idles.
    """
    lanes, width, select_bits = config.lanes, config.tile_keys, config.select_bits
    spare = width - lanes
    dimension_bits, address_bits = clog2(config.d), len(drain_address)

    active, first = Signal(False), Signal(False)
    slot = Signal(intbv(0)[slot_bits(config) :])
    in_softmax, in_spmm = RoundRecord(config), RoundRecord(config)
    element = operand_signal()
    queries = [operand_signal() for _ in range(width)]
    takes = [control.take] + [Signal(False) for _ in range(lanes - 1)]
    scores = [control.score] + [Signal(False) for _ in range(lanes - 1)]
    pushes = [control.pushed.first] + [Signal(False) for _ in range(lanes - 1)]
    last_take = takes[lanes - 1]
    lane_columns = [Signal(intbv(j)[select_bits:]) for j in range(lanes)] + [Constant(intbv(0)[select_bits:])]
    first_column = lane_columns[0]
    partials = [Constant(intbv(0, min=partial_signal(config).min, max=partial_signal(config).max))]
    partials += [partial_signal(config) for _ in range(lanes)]
    dots = [dot_signal(config) for _ in range(lanes)]
    power = probability_signal(config)
    rescale, rescale_in_spmm = rescale_signal(config), rescale_signal(config)
    drain_query = Signal(intbv(0)[1 + slot_bits(config) :])

    @always_comb
    def take_or_advance():
        work.ready.next = (last_take and active) or advance

    @always(clk.posedge)
    def item():
        if control.begin:
            active.next = not work.end
            first.next = work.first
            slot.next = work.slot
        if last_take:
            if active:
                valid.next = work.lane_valid
                bubbles.next = spare - first_column
            else:
                valid.next = 0
                bubbles.next = 0

    element_of_query = query_elements(clk, query_writes, control, slot, element, config)
    registers = operand_rows(clk, element, control.feed, above, queries, columns)
    flags = [
        delayed(clk, chain[j], chain[j + 1], 1, reset) for chain in (takes, scores, pushes) for j in range(lanes - 1)
    ]
    pes = []
    for j in range(lanes):
        item_valid = work.lane_valid(j)
        item_select = work.select((j + 1) * select_bits, j * select_bits)
        pes.append(
            lane(
                clk, takes[j], scores[j], pushes[j], queries, columns, active, item_valid, item_select,
                lane_columns[j + 1], lane_columns[j], power, partials[j], dots[j], partials[j + 1], config,
            )
        )  # fmt: skip

    @always(clk.posedge)
    def round_in_softmax():
        if control.scale:
            in_softmax.active.next = active
            in_softmax.first.next = first
            in_softmax.address.next = concat(control.ring[0], slot)

    probabilities_of_round = softmax(clk, control, dots, valid, in_softmax, power, rescale, config)

    @always(clk.posedge)
    def round_in_spmm():
        if control.pushed.last:
            in_spmm.active.next = in_softmax.active
            in_spmm.first.next = in_softmax.first
            in_spmm.address.next = in_softmax.address
            rescale_in_spmm.next = rescale

    @always_comb
    def query_to_drain():
        drain_query.next = drain_address[address_bits:dimension_bits]

    numerator_sums = query_sums(
        clk, control, partials[lanes], in_spmm, rescale_in_spmm, drain_address, numerator, config
    )  # fmt: skip
    denominator_sums = denominators(clk, control, power, in_spmm, rescale_in_spmm, drain_query, denominator, config)

    return (
        take_or_advance, item, element_of_query, registers, flags, pes, round_in_softmax, probabilities_of_round,
        round_in_spmm, query_to_drain, numerator_sums, denominator_sums,
    )  # fmt: skip
