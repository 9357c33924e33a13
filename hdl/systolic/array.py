"""The paper's own array: operands that travel from row to row and from lane to lane, in place of a broadcast and an
adder tree (docs/organisations.md; golden twin: golden/tiled.py, as the order of additions within a round changes nothing)."""

from myhdl import Signal, always, always_comb, concat, intbv

from golden.config import clog2
from hdl.delay import delayed
from hdl.hierarchy import module
from hdl.stream import Bits, Signed
from hdl.systolic.control import round_sequence
from hdl.systolic.interfaces import RowControl
from hdl.systolic.row import row
from hdl.tiled.activity import count_keys, count_moves
from hdl.tiled.array import answers
from hdl.tiled.columns import column_memories, memory_count
from hdl.tiled.control import Issue, block_sequence
from hdl.tiled.interfaces import QueryWrites, hand_down, operand_signal, slot_bits
from hdl.tiled.pipeline import write_of_row


class _Head:
    """The head of a work queue as the block sequence sees it."""

    def __init__(self):
        self.valid = Signal(False)
        self.end = Signal(False)


@module
def skew(clk, columns, present, skewed):
    """Column c comes c cycles late; zeros without `present`, so that nothing moves between the phases of a round."""
    width = len(columns)
    gated = [operand_signal() for _ in columns]

    @always_comb
    def zeros_between():
        for c in range(width):
            if present:
                gated[c].next = columns[c]
            else:
                gated[c].next = 0

    return zeros_between, [
        delayed(clk, source, target, cycles)
        for cycles, (source, target) in enumerate(zip(gated, skewed))
    ]


@module
def systolic_array(clk, reset, columns, queries, work, blocks, drains, sums, drained, block_done, round_tick, activity, config):
    """The systolic array, with the ports of `hdl.tiled.array.array`.

    Throughput: a round every `hdl.systolic.timing.Timing.period` cycles (2 * (d + W) + 14 - N), whatever it skips, as long
    as work is there, across tiles, blocks and heads. Row r is r cycles behind row 0.

    Args:
        columns: `ColumnWrites`. queries: `QueryWrites`; written a cycle later.
        work: list of `rows` work item streams. blocks, drains: streams, one message a block.
        sums: `SumsRead`, answered SUMS_CYCLES after the grant.
        drained: pulse: the normalizer has read all sums of the oldest block that is not drained yet.
        block_done: pulse: the last query of a block has been read; its ring block may be written.
        round_tick: pulse: a round has begun. activity: `Activity`, what the lanes did.

    Raises:
        ConfigError: see `hdl.systolic.timing.Timing`.
    """
    rows = config.rows
    width = config.tile_keys

    issue = Issue(config)
    advance, taking, present = Signal(False), Signal(False), Signal(False)
    controls = [RowControl(config) for _ in range(rows)]
    heads = [_Head() for _ in range(rows)]
    head_valids, head_ends = [head.valid for head in heads], [head.end for head in heads]
    work_valids, work_ends = [items.valid for items in work], [items.end for items in work]
    column_address = Signal(intbv(0)[len(columns.address) :])
    column_operands, skewed = ([operand_signal() for _ in range(width)] for _ in range(2))
    registers = [skewed] + [[operand_signal() for _ in range(width)] for _ in range(rows)]
    row_queries = [QueryWrites(config) for _ in range(rows)]
    drain_address = Signal(intbv(0)[1 + slot_bits(config) + clog2(config.d) :])
    numerators = [Signed(config.numerator_bits).signal() for _ in range(rows)]
    denominators = [Bits(config.denominator_bits).signal() for _ in range(rows)]
    valids = [Signal(intbv(0)[config.lanes :]) for _ in range(rows)]
    bubbles = [Bits(clog2(width - config.lanes + 1)).signal() for _ in range(rows)]
    taking_before, taken = Signal(False), Signal(False)

    # Until all rows have taken their items, the heads of the queues belong to different rounds.
    @always_comb
    def heads_of_queues():
        for r in range(rows):
            head_valids[r].next = work_valids[r] and not taking
            head_ends[r].next = work_ends[r]

    blocks_and_tiles = block_sequence(clk, reset, heads, blocks, drains, drained, block_done, advance, issue, config)
    rounds = round_sequence(
        clk, reset, issue, controls[0], taking, present, sums.granted, column_address, round_tick, config
    )  # fmt: skip
    memories = column_memories(clk, columns, [column_address] * memory_count(config), column_operands, config)
    skewed_columns = skew(clk, column_operands, present, skewed)
    controls_of_rows = [hand_down(clk, reset, above, below) for above, below in zip(controls, controls[1:])]

    query_writes = [write_of_row(clk, queries, r, port) for r, port in enumerate(row_queries)]

    @always_comb
    def address_to_drain():
        drain_address.next = concat(sums.parity, sums.slot, sums.dimension)

    pe_rows = [
        row(
            clk, reset, controls[r], advance, registers[r], registers[r + 1], row_queries[r], work[r], drain_address,
            numerators[r], denominators[r], valids[r], bubbles[r], config,
        )
        for r in range(rows)
    ]  # fmt: skip

    @always(clk.posedge)
    def items_taken():
        taking_before.next = taking
        taken.next = taking_before and not taking and not reset

    keys_of_rows = count_keys(clk, reset, taken, valids, activity.multiplications, activity.idle_slots, config)
    moves_of_rows = count_moves(clk, reset, taken, bubbles, activity.register_moves, config)

    sums_of_rows = answers(clk, numerators, denominators, sums, row_cycles=2)

    return (
        heads_of_queues, blocks_and_tiles, rounds, memories, skewed_columns, controls_of_rows, query_writes,
        address_to_drain, pe_rows, sums_of_rows, items_taken, keys_of_rows, moves_of_rows,
    )  # fmt: skip
