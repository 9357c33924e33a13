"""Reads finished sums out of the array, group by group, and turns them: from one dimension of several queries at a time
to several dimensions of one query."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv, modbv

from golden.config import clog2
from hdl.choose import choose, rotate
from hdl.delay import delayed
from hdl.hierarchy import module
from hdl.memory import ram_with_register
from hdl.wires import wire

HALVES = 2  # groups that the buffer holds
SUMS_CYCLES = 5  # from a granted read of the array's sums to these


class RecordsRead:
    """Read port of the query records, one memory a PE row; data one cycle after the address (two are allowed)."""

    def __init__(self, config):
        self.address = Signal(intbv(0)[2 + max(1, clog2(config.slots)) :])  # {block mod 4, slot}
        self.visible = [Signal(intbv(0)[config.key_count_bits :]) for _ in range(config.rows)]
        self.kept = [Signal(intbv(0)[17:]) for _ in range(config.rows)]


@block
def _write_row(clk, dimension, bank, row, places):
    """The row whose element goes to this bank: bank = (row + dimension) mod places."""

    @always(clk.posedge)
    def row_of_bank():
        row.next = (bank + places - (dimension & (places - 1))) & (places - 1)

    return row_of_bank


@module
def drain(clk, reset, drains, sums, records, work, group, numerators, filled, released, drained, config):
    """Sums of the array's finished blocks, into a buffer of two groups.

    drains: stream, one message a block; copied to ``work``, a stream with the same fields, when the block is begun.
    sums, records: read ports of the array and of the bitmaps. A group of ``drain_rows`` queries is read in d granted
    cycles; between groups of a block there is no gap if a half of the buffer is free.
    group: stream, the queries' denominators and records, with the group's first element.
    numerators: ``NumeratorsRead``, NUMERATOR_CYCLES. filled: pulse, a group is complete. released: pulse, the older group
    isn't needed any more after the next cycle. drained: pulse, the last read of a block has been granted.
    """
    lanes, dimensions = config.drain_rows, config.d
    lane_bits = clog2(lanes)
    assert lanes >= 2 and dimensions % lanes == 0
    row_groups = config.rows // lanes
    slots = config.slots
    slot_bits = max(1, clog2(slots))
    words = dimensions // lanes

    # The read in hand --------------------------------------------------------------------------------------------------
    idle, waiting, request = Signal(True), Signal(False), Signal(False)  # no block; no room for a group; reading
    number = Signal(intbv(0)[2:])
    slot = Signal(intbv(0)[slot_bits:])
    row_group = Signal(intbv(0)[len(sums.row_group) :])
    dimension = Signal(modbv(0)[clog2(dimensions) :])
    half = Signal(False)
    groups_left = Signal(intbv(0)[clog2(config.block_queries) + 1 :])  # after the one in hand
    last_queries = Signal(intbv(0)[lane_bits + 1 :])  # queries of the block's last group

    reserved = Signal(intbv(0, min=0, max=HALVES + 1))
    capturing = Signal(False)  # a group has been begun whose denominators aren't there yet
    room, take, advance, first, last, group_begin, group_end, begin = [Signal(False) for _ in range(8)]

    @always_comb
    def conditions():
        room.next = reserved != HALVES and group.ready and not capturing
        take.next = idle and drains.valid and work.ready
        advance.next = request and sums.granted

    @always_comb
    def borders():
        first.next = dimension == 0
        last.next = dimension == dimensions - 1

    @always_comb
    def ends():
        group_begin.next = advance and first
        group_end.next = advance and last

    @always_comb
    def begins():
        begin.next = room and (waiting or (group_end and groups_left != 0))

    @always_comb
    def ports():
        drains.ready.next = take
        work.valid.next = idle and drains.valid
        sums.request.next = request
        sums.parity.next = number[0]
        sums.slot.next = slot
        sums.dimension.next = dimension
        sums.row_group.next = row_group
        records.address.next = (number << slot_bits) | slot

    copies = [wire(getattr(drains, name), getattr(work, name)) for name in drains.fields]

    @always(clk.posedge)
    def control():
        if reset:
            idle.next = True
            waiting.next = False
            request.next = False
        elif idle:
            idle.next = not take
            waiting.next = take
        elif waiting:
            waiting.next = not room
            request.next = room
        elif group_end:
            if groups_left == 0:
                idle.next = True
                request.next = False
            elif not room:
                waiting.next = True
                request.next = False

    @always(clk.posedge)
    def buffer_use():
        if reset:
            reserved.next = 0
            capturing.next = False
            half.next = False
            drained.next = False
        else:
            if begin and not released:
                reserved.next = reserved + 1
            elif released and not begin:
                reserved.next = reserved - 1
            if begin:
                capturing.next = True
            elif group.valid:
                capturing.next = False
            if group_end:
                half.next = not half
            drained.next = group_end and groups_left == 0

    @always(clk.posedge)
    def place():
        if take:
            number.next = drains.number
            groups_left.next = (drains.count - 1) >> lane_bits
            last_queries.next = ((drains.count - 1) & (lanes - 1)) + 1
            slot.next = 0
            row_group.next = 0
            dimension.next = 0
        elif advance:
            dimension.next = dimension + 1
            if group_end and groups_left != 0:
                groups_left.next = groups_left - 1
                if row_group == row_groups - 1:
                    row_group.next = 0
                    slot.next = slot + 1
                else:
                    row_group.next = row_group + 1

    # The elements, SUMS_CYCLES after their grant; written a cycle later ---------------------------------------------------
    arriving, writing, writing_last, writing_half = (Signal(False) for _ in range(4))
    arriving_dimension = Signal(intbv(0)[clog2(dimensions) :])
    written_word = Signal(intbv(0)[clog2(words) :])

    in_step = [
        delayed(clk, advance, arriving, SUMS_CYCLES, reset=reset),
        delayed(clk, arriving, writing, 1, reset=reset),
        delayed(clk, group_begin, group.valid, SUMS_CYCLES, reset=reset),
        delayed(clk, last, writing_last, SUMS_CYCLES + 1),
        delayed(clk, half, writing_half, SUMS_CYCLES + 1),
        delayed(clk, dimension, arriving_dimension, SUMS_CYCLES),
    ]

    @always(clk.posedge)
    def arrivals():
        written_word.next = arriving_dimension >> lane_bits
        filled.next = writing and writing_last and not reset

    @always_comb
    def group_message():
        if groups_left == 0:
            group.queries.next = last_queries
        else:
            group.queries.next = lanes

    operands = []
    for lane in range(lanes):
        operands.append(wire(sums.denominators[lane], getattr(group, f"denominator_{lane}")))
        for name, column in (("visible", records.visible), ("kept", records.kept)):
            operands.append(choose(column[lane::lanes], row_group, getattr(group, f"{name}_{lane}")))

    # Element (row, dimension) goes to bank (row + dimension) mod lanes -----------------------------------------------------
    arrived = ConcatSignal(*reversed(sums.numerators))
    turn = Signal(intbv(0)[lane_bits:])
    turned = Signal(intbv(0)[len(numerators.data) :])
    written = Signal(intbv(0)[len(numerators.data) :])

    @always_comb
    def turn_back():
        turn.next = (lanes - (arriving_dimension & (lanes - 1))) & (lanes - 1)

    turning = rotate(arrived, turn, turned, lanes)

    @always(clk.posedge)
    def written_elements():
        written.next = turned

    read_address = ConcatSignal(numerators.group, numerators.row, numerators.word)
    bits = config.numerator_bits
    read_parts, banks = [], []
    for bank in range(lanes):
        row, part = Signal(intbv(0)[lane_bits:]), Signal(intbv(0)[bits:])
        banks.append(_write_row(clk, arriving_dimension, bank, row, lanes))
        banks.append(
            ram_with_register(
                clk, writing, ConcatSignal(writing_half, row, written_word), written(bits * (bank + 1), bits * bank),
                read_address, part, depth=HALVES * dimensions,
            )
        )  # fmt: skip
        read_parts.append(part)
    stored = ConcatSignal(*reversed(read_parts))

    # ... and dimension l of a word comes from bank (row + l) mod lanes -----------------------------------------------------
    read_row = Signal(intbv(0)[lane_bits:])
    stored_row = Signal(intbv(0)[lane_bits:])
    lined_up = Signal(intbv(0)[len(numerators.data) :])

    @always(clk.posedge)
    def stored_elements():
        read_row.next = numerators.row
        stored_row.next = read_row
        numerators.data.next = lined_up

    lining_up = rotate(stored, stored_row, lined_up, lanes)

    return (
        conditions, borders, ends, begins, ports, copies, control, buffer_use, place, in_step, arrivals,
        group_message, operands, turn_back, turning, written_elements, banks, stored_elements, lining_up,
    )  # fmt: skip
