"""The packer for the full connection (docs/packer.md)."""

from myhdl import Signal, always, always_comb, enum, intbv

from golden.config import clog2
from hdl.hierarchy import module
from hdl.tiled.work import address_bits

Full = enum("IDLE", "COUNT", "DIVIDE", "RELOAD", "ASSIGN", "END")


@module
def full_packer(clk, reset, words, placements, config):
    """Keys in ascending order, in sub-rows whose sizes differ by at most one; a lane takes the next key once the lanes
    behind it would run out of columns otherwise, and the next unused column if it is idle.

    A word of k keys in R sub-rows takes at most k + k / R + 7 + N * R cycles, an end mark two.
    """
    lanes, width, elements = config.lanes, config.tile_keys, config.max_sub_rows
    last_lane, lane_shift = lanes - 1, clog2(lanes)
    spare = width - lanes
    total_bits, column_bits = clog2(width + 1), config.select_bits

    state = Signal(Full.IDLE)
    lane = Signal(intbv(0)[address_bits(lanes) :])
    sub_row = Signal(intbv(0)[address_bits(elements) :])
    total = Signal(intbv(0)[total_bits:])  # then what the division leaves: sub-rows of one key more
    sub_rows = Signal(intbv(0)[clog2(elements + 1) :])
    size, left = (Signal(intbv(0)[clog2(lanes + 1) :]) for _ in range(2))
    divided, last_sub_row, first = (Signal(False) for _ in range(3))
    slot = Signal(intbv(0)[len(words.slot) :])

    keys, others = (Signal(intbv(0)[width:]) for _ in range(2))  # keys to come; and the same but for the lowest
    any_keys = Signal(False)
    lowest, lowest_valid, lowest_moves = Signal(intbv(0)[width:]), Signal(False), Signal(False)
    column, column_valid, column_moves = Signal(intbv(0)[column_bits:]), Signal(False), Signal(False)
    unused = Signal(intbv(0)[total_bits:])  # the column behind the lane before
    go, take = Signal(False), Signal(False)

    @always_comb
    def flags():
        words.ready.next = (state == Full.RELOAD and placements.room) or (state == Full.IDLE and words.end)
        others.next = keys & (keys - 1)
        any_keys.next = keys != 0
        divided.next = total < sub_rows
        last_sub_row.next = sub_row + 1 == sub_rows

    @always_comb
    def moves():
        go.next = state == Full.ASSIGN and (left == 0 or column_valid)
        take.next = state == Full.ASSIGN and left != 0 and column_valid and column <= lane + spare

    @always_comb
    def key_moves():
        column_moves.next = take or not column_valid
        lowest_moves.next = take or not column_valid or not lowest_valid

    @always(clk.posedge)
    def step():
        if reset:
            state.next = Full.IDLE
        elif state == Full.IDLE:
            if words.valid and words.end:
                state.next = Full.END
            elif words.valid:
                state.next = Full.COUNT
        elif state == Full.COUNT:
            if not any_keys:
                state.next = Full.DIVIDE
        elif state == Full.DIVIDE:
            if divided:
                state.next = Full.RELOAD
        elif state == Full.RELOAD:
            if placements.room:
                state.next = Full.ASSIGN
        elif state == Full.ASSIGN:
            if go and lane == last_lane and last_sub_row:
                state.next = Full.IDLE
        elif placements.room:  # END
            state.next = Full.IDLE

    @always(clk.posedge)
    def share():
        if state == Full.IDLE:
            total.next = 0
            size.next = 0
        elif state == Full.COUNT and any_keys:
            total.next = total + 1
        elif state == Full.COUNT:
            sub_rows.next = (total + last_lane) >> lane_shift
        elif state == Full.DIVIDE and not divided:
            total.next = total - sub_rows
            size.next = size + 1

    @always(clk.posedge)
    def keys_to_come():
        if state == Full.IDLE or state == Full.RELOAD:
            keys.next = words.bits
            lowest_valid.next = False
            column_valid.next = False
        elif state == Full.COUNT:
            keys.next = others
        elif state == Full.ASSIGN:
            if lowest_moves:
                keys.next = others
                lowest.next = keys ^ others
                lowest_valid.next = any_keys
            if column_moves:
                column_valid.next = lowest_valid

    @always(clk.posedge)
    def encode():
        index = intbv(0)[column_bits:]
        for position in range(width):
            if lowest[position]:
                index[:] = index | position
        if column_moves:
            column.next = index

    @always(clk.posedge)
    def places():
        if state == Full.RELOAD:
            slot.next = words.slot
            first.next = words.first
            lane.next = 0
            sub_row.next = 0
            unused.next = 0
            left.next = size
            if total != 0:
                left.next = size + 1
        elif go and lane == last_lane:
            lane.next = 0
            sub_row.next = 0
            if not last_sub_row:
                sub_row.next = sub_row + 1
            unused.next = 0
            left.next = size
            if sub_row + 1 < total:
                left.next = size + 1
        elif go:
            lane.next = lane + 1
            if take:
                unused.next = column + 1
                left.next = left - 1
            else:
                unused.next = unused + 1

    @always(clk.posedge)
    def place():
        if take:
            placements.select.next = column
        else:
            placements.select.next = unused[column_bits:]
        placements.valid.next = take
        placements.lane.next = lane
        placements.sub_row.next = sub_row
        if state == Full.END:
            placements.sub_row.next = 0
        placements.slot.next = slot
        placements.first.next = first and sub_row == 0
        placements.count.next = sub_rows
        if reset:
            placements.enable.next = False
            placements.commit.next = False
            placements.end.next = False
        else:
            placements.enable.next = go
            placements.commit.next = go and lane == last_lane and last_sub_row
            placements.end.next = state == Full.END and placements.room

    return flags, moves, key_moves, step, share, keys_to_come, encode, places, place
