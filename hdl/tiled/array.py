"""The tiled array: column memories, PE rows and their control (golden twin: golden/tiled.py)."""

import copy

from myhdl import Signal, always, always_comb, block, concat, intbv

from golden.config import clog2
from hdl.delay import cleared_register, delayed, port_copy, register, register_copy
from hdl.drain import SUMS_CYCLES
from hdl.hierarchy import module
from hdl.stream import Bits, Signed
from hdl.tiled.activity import count_keys
from hdl.tiled.columns import column_memories, memory_count
from hdl.tiled.control import Issue, block_sequence, round_sequence
from hdl.tiled.interfaces import (
    BURSTS_ON_THEIR_WAY,
    Burst,
    QueryWrites,
    RowControl,
    hand_down,
    operand_signal,
    slot_bits,
)
from hdl.tiled.pipeline import write_of_row
from hdl.tiled.row import row
from hdl.wires import like


@block
def to_row(clk, reset, control, row_control):
    """A row's copy of the control, a cycle behind it; BURSTS_ON_THEIR_WAY have left it a cycle before all else."""
    on_the_way = copy.copy(control)
    registers = []
    for name in BURSTS_ON_THEIR_WAY:
        burst = getattr(control, name)
        setattr(on_the_way, name, Burst(burst.length))
        registers.append(port_copy(clk, burst, getattr(on_the_way, name), ("active", "first", "last", "index")))
    return registers, hand_down(clk, reset, on_the_way, row_control)


@block
def of_row_group(clk, group, values, value):
    """The value of the row that belongs to the group, a cycle later: rows and normalizer are far apart."""

    if len(values) == 1:
        return register(clk, values[0], value)

    @always(clk.posedge)
    def choice():
        value.next = values[group]

    return choice


@block
def answers(clk, numerators, denominators, sums, row_cycles):
    """The sums of the row group that was asked for, SUMS_CYCLES after the grant; the rows have them `row_cycles` after it.

    A register at each row, one behind the choice of the row group, and more there if rows are early.
    """
    side_by_side, late = len(sums.numerators), SUMS_CYCLES - 2 - row_cycles
    group = Signal(intbv(0)[len(sums.row_group) :])
    parts = [delayed(clk, sums.row_group, group, row_cycles + 1)] if len(numerators) > side_by_side else []
    for i in range(side_by_side):
        for values, value in ((numerators, sums.numerators[i]), (denominators, sums.denominators[i])):
            left = [like(value) for _ in values[i::side_by_side]]
            chosen = like(value)
            parts += [register(clk, source, target) for source, target in zip(values[i::side_by_side], left)]
            parts += [of_row_group(clk, group, left, chosen), delayed(clk, chosen, value, late)]
    return parts


@module
def array(clk, reset, columns, queries, work, blocks, drains, sums, drained, block_done, round_tick, activity, config):
    """The tiled array. Throughput: a round every 2d cycles as long as work is there, across tiles, blocks and heads.

    A round that begins in cycle 0 has its sums written by cycle 4d + 11 or earlier, if another one follows it or not.
    Each row works by a copy of the control of its own, a cycle behind it, and so do the column memories.

    Args:
        columns: `ColumnWrites`, queries: `QueryWrites`; both written a cycle later.
        work: list of `rows` work item streams. blocks, drains: streams, one message a block.
        sums: `SumsRead`, answered SUMS_CYCLES after the grant.
        drained: pulse: the normalizer has read all sums of the oldest block that is not drained yet.
        block_done: pulse: the last query of a block has been read; its ring block may be written.
        round_tick: pulse: a round has begun. activity: `Activity`, what the lanes did.

    Raises:
        ConfigError: see `hdl.tiled.timing.Timing`.
    """
    rows = config.rows

    control, issue = RowControl(config), Issue(config)
    controls = [RowControl(config) for _ in range(rows)]
    next_column_address = Signal(intbv(0)[len(columns.address) :])
    column_addresses = [like(next_column_address) for _ in range(memory_count(config))]
    column_operands = [operand_signal() for _ in range(config.tile_keys)]
    row_queries = [QueryWrites(config) for _ in range(rows)]
    drain_address = Signal(intbv(0)[1 + slot_bits(config) + clog2(config.d) :])
    numerators = [Signed(config.numerator_bits).signal() for _ in range(rows)]
    denominators = [Bits(config.denominator_bits).signal() for _ in range(rows)]
    valids = [Signal(intbv(0)[config.lanes :]) for _ in range(rows)]
    is_round, will_be_taken, taken = (Signal(False) for _ in range(3))

    blocks_and_tiles = block_sequence(clk, reset, work, blocks, drains, drained, block_done, control.advance, issue, config)
    rounds = round_sequence(clk, reset, issue, control, sums.granted, next_column_address, round_tick, config)
    copies = [to_row(clk, reset, control, row_control) for row_control in controls]
    in_step = [
        [register_copy(clk, next_column_address, address) for address in column_addresses],
        cleared_register(clk, reset, will_be_taken, taken),
    ]
    memories = column_memories(clk, columns, column_addresses, column_operands, config)

    query_writes = [write_of_row(clk, queries, r, port) for r, port in enumerate(row_queries)]

    @always_comb
    def address_to_drain():
        drain_address.next = concat(sums.parity, sums.slot, sums.dimension)

    pe_rows = [
        row(
            clk, controls[r], column_operands, row_queries[r], work[r], drain_address, numerators[r], denominators[r],
            valids[r], config,
        )
        for r in range(rows)
    ]  # fmt: skip

    @always(clk.posedge)
    def items_taken():
        if control.begin:
            is_round.next = control.round
        will_be_taken.next = control.take and is_round
        activity.register_moves.next = 0

    keys_of_rows = count_keys(clk, reset, taken, valids, activity.multiplications, activity.idle_slots, config)

    sums_of_rows = answers(clk, numerators, denominators, sums, row_cycles=3)

    return (
        blocks_and_tiles, rounds, copies, in_step, memories, query_writes, address_to_drain, pe_rows, sums_of_rows,
        items_taken, keys_of_rows,
    )  # fmt: skip
