"""The packer for a lookaside connection (docs/packer.md)."""

from myhdl import Signal, always, always_comb, block, enum, intbv, modbv
from myhdl._Signal import Constant

from golden.config import clog2
from hdl.hierarchy import module
from hdl.tiled.work import address_bits

Lookaside = enum("IDLE", "SETTLE", "COUNTED", "CHOOSE", "BEGIN", "DROP", "ASSIGN", "END")


@block
def _queue(clk, load, counted, count, recent, waiting, impossible, sub_rows):
    """Keys that wait for the next lane if each lane takes `sub_rows`, and whether any have waited for too long."""
    mask = (1 << len(waiting)) - 1
    arrived = Signal(intbv(0)[len(waiting) :])

    @always_comb
    def arrive():
        arrived.next = (waiting + count) & mask  # wraps only once impossible

    @always(clk.posedge)
    def wait():
        if load:
            waiting.next = 0
            impossible.next = False
        else:
            if counted:
                waiting.next = 0
                if arrived > sub_rows:
                    waiting.next = arrived - sub_rows
            if waiting > recent:
                impossible.next = True

    return arrive, wait


@module
def settle(clk, load, counted, second_trip, count, needed, carried, missing, config):
    """How many sub-rows a word needs, and how many keys are carried over the end of the ring of lanes.

    For each number of sub-rows R at once, keys wait in a queue around the ring: c = max(0, c + count - R). R is
    impossible if there are more than R * N keys in all, or if ever a key waits for more than `span` - 1 lanes.

    Args:
        load: a new word begins.
        counted, count: keys of the next class, in order, once around the ring or twice (`second_trip`).
        needed: the least R that isn't impossible, and `carried`: its c; combinational, as of the counts so far. Final
            after one trip if `carried` is 0, else after two.
        missing: how many keys of the last `span` - 1 classes aren't carried (combinational).
    """
    lanes, elements = config.lanes, config.max_sub_rows
    lane_shift, last_lane = clog2(lanes), lanes - 1
    count_bits, carried_bits = len(count), len(carried)
    line_bits = (config.span - 1) * count_bits
    line_mask, carried_mask = (1 << line_bits) - 1, (1 << carried_bits) - 1
    oldest = line_bits - count_bits

    waiting = [Signal(intbv(0)[carried_bits:]) for _ in range(elements)]  # by R; no R = 0
    impossible = [Signal(False) for _ in range(elements)]
    total = Signal(intbv(0)[clog2(config.tile_keys + lanes) :])  # keys, and N - 1 more to round up
    recent = Signal(intbv(0)[carried_bits:])  # keys of the last span - 1 classes
    if config.span == 1:
        recent = Constant(intbv(0)[carried_bits:])
    line = Signal(intbv(0)[max(1, line_bits) :])  # their counts, the latest lowest

    queues = [
        _queue(clk, load, counted, count, recent, waiting[sub_rows], impossible[sub_rows], sub_rows)
        for sub_rows in range(1, elements)
    ]

    @always(clk.posedge)
    def all_keys():
        if load:
            total.next = last_lane
        elif counted and not second_trip:
            total.next = total + count

    @always(clk.posedge)
    def recent_keys():
        if load:
            line.next = 0
            recent.next = 0
        elif counted:
            line.next = ((line << count_bits) | count) & line_mask
            recent.next = (recent + count - (line >> oldest)) & carried_mask

    @always_comb
    def choose():
        needed.next = elements
        carried.next = 0
        for fewer in range(1, elements):
            if not impossible[elements - fewer] and (total >> lane_shift) <= elements - fewer:
                needed.next = elements - fewer
                carried.next = waiting[elements - fewer]

    @always_comb
    def rest():
        missing.next = (recent - carried) & carried_mask

    if config.span == 1:
        return queues, all_keys, choose, rest
    return queues, all_keys, recent_keys, choose, rest


@module
def lookaside_packer(clk, reset, words, placements, config):
    """Lane j takes the oldest waiting keys of the classes (column mod N) j - span + 1 ... j, at most R.

    A word of R sub-rows takes N + 4 + N * R cycles if no key is carried over the end of the ring of lanes, else
    at most 2N + 7 + N * R + (span - 1) * W / N. An end mark takes two.
    """
    lanes, span, elements, width = config.lanes, config.span, config.max_sub_rows, config.tile_keys
    inputs = config.lane_inputs
    last_lane = lanes - 1
    newest = inputs - elements  # place of a lane's own class in the window
    class_mask = (1 << elements) - 1
    ring_top = width - elements
    count_bits, carried_bits, select_bits = clog2(elements + 1), clog2(inputs + 1), config.select_bits

    state = Signal(Lookaside.IDLE)
    load, settled, last_sub_row, rotate, taking = (Signal(False) for _ in range(5))
    second_trip, counted, any_carried = (Signal(False) for _ in range(3))
    count, needed, sub_rows = (Signal(intbv(0)[count_bits:]) for _ in range(3))
    lane, sub_row = Signal(modbv(0)[address_bits(lanes) :]), Signal(modbv(0)[address_bits(elements) :])
    carried, missing, drop = (Signal(intbv(0)[carried_bits:]) for _ in range(3))
    slot, first = Signal(intbv(0)[len(words.slot) :]), Signal(False)

    # The word, class by class; the class of the lane in hand is lowest.
    ring = Signal(intbv(0)[width:])
    own_class = Signal(intbv(0)[elements:])
    # Keys that the lane may take, the oldest lowest; and what is left of them
    window, left = (Signal(intbv(0)[inputs:]) for _ in range(2))
    taken = Signal(intbv(0)[inputs:])  # one bit, of `window` a cycle before
    assigned, committed = Signal(False), Signal(False)
    taken_lane, taken_sub_row = Signal(modbv(0)[len(lane) :]), Signal(modbv(0)[len(sub_row) :])

    @always_comb
    def flags():
        words.ready.next = state == Lookaside.IDLE
        load.next = state == Lookaside.IDLE
        settled.next = second_trip or carried == 0
        rotate.next = (
            state == Lookaside.SETTLE
            or state == Lookaside.BEGIN and placements.room
            or state == Lookaside.ASSIGN and last_sub_row
        )
        taking.next = state == Lookaside.ASSIGN or state == Lookaside.DROP
        own_class.next = ring & class_mask

    @always(clk.posedge)
    def step():
        if reset:
            state.next = Lookaside.IDLE
        elif state == Lookaside.IDLE:
            if words.valid and words.end:
                state.next = Lookaside.END
            elif words.valid:
                state.next = Lookaside.SETTLE
        elif state == Lookaside.SETTLE:
            if lane == last_lane:
                state.next = Lookaside.COUNTED
        elif state == Lookaside.COUNTED:
            state.next = Lookaside.CHOOSE
        elif state == Lookaside.CHOOSE:
            if settled:
                state.next = Lookaside.BEGIN
            else:
                state.next = Lookaside.SETTLE
        elif state == Lookaside.BEGIN:
            if placements.room and drop == 0:
                state.next = Lookaside.ASSIGN
            elif placements.room:
                state.next = Lookaside.DROP
        elif state == Lookaside.DROP:
            if drop == 1:
                state.next = Lookaside.ASSIGN
        elif state == Lookaside.ASSIGN:
            if lane == last_lane and last_sub_row:
                state.next = Lookaside.IDLE
        elif placements.room:  # END
            state.next = Lookaside.IDLE

    @always(clk.posedge)
    def places():
        if load:
            lane.next = 0
            sub_row.next = 0
            slot.next = words.slot
            first.next = words.first
        elif state == Lookaside.SETTLE:
            lane.next = lane + 1
        elif state == Lookaside.ASSIGN:
            sub_row.next = sub_row + 1
            if last_sub_row:
                sub_row.next = 0
                lane.next = lane + 1

    # Of the next cycle; the numbers stand still from CHOOSE on.
    @always(clk.posedge)
    def end_of_lane():
        if state == Lookaside.ASSIGN and not last_sub_row:
            last_sub_row.next = sub_row + 2 == sub_rows
        else:
            last_sub_row.next = sub_rows == 1

    @always(clk.posedge)
    def settled_numbers():
        if load:
            second_trip.next = False
        elif state == Lookaside.CHOOSE:
            second_trip.next = True
            sub_rows.next = needed
            any_carried.next = carried != 0
            drop.next = 0
            if carried != 0:
                drop.next = missing
        elif state == Lookaside.DROP:
            drop.next = drop - 1

    @always(clk.posedge)
    def turning():
        if load:
            for place in range(width):
                ring.next[place] = words.bits[(place % elements) * lanes + place // elements]
        elif rotate:
            ring.next = (ring >> elements) | (own_class << ring_top)

    @always(clk.posedge)
    def count_class():
        keys = intbv(0)[count_bits:]
        for place in range(elements):
            keys[:] = keys + own_class[place]
        count.next = keys
        counted.next = state == Lookaside.SETTLE

    settling = settle(clk, load, counted, second_trip, count, needed, carried, missing, config)

    @always_comb
    def left_keys():
        left.next = window
        if taking:
            left.next = window & (window - 1)

    @always(clk.posedge)
    def waiting_keys():
        if rotate and state == Lookaside.BEGIN and not any_carried:
            window.next = own_class << newest
        elif rotate:
            window.next = (left >> elements) | (own_class << newest)
        else:
            window.next = left

    @always(clk.posedge)
    def take_oldest():
        taken.next = window ^ left
        taken_lane.next = lane
        taken_sub_row.next = sub_row
        if reset:
            assigned.next = False
            committed.next = False
        else:
            assigned.next = state == Lookaside.ASSIGN
            committed.next = state == Lookaside.ASSIGN and lane == last_lane and last_sub_row

    @always(clk.posedge)
    def place():
        select = intbv(0)[select_bits:]
        for position in range(inputs):
            if taken[position]:
                # how many classes back, then which key of the class
                select[:] = select | (newest - position + 2 * (position % elements))
        placements.select.next = select
        placements.valid.next = taken != 0
        placements.lane.next = taken_lane
        placements.sub_row.next = taken_sub_row
        if state == Lookaside.END:
            placements.sub_row.next = 0
        placements.slot.next = slot
        placements.first.next = first and taken_sub_row == 0
        placements.count.next = sub_rows
        if reset:
            placements.enable.next = False
            placements.commit.next = False
            placements.end.next = False
        else:
            placements.enable.next = assigned
            placements.commit.next = committed
            placements.end.next = state == Lookaside.END and placements.room

    return (
        flags, step, places, end_of_lane, settled_numbers, turning, count_class, settling, left_keys, waiting_keys, take_oldest,
        place,
    )  # fmt: skip
