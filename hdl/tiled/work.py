"""Work items of one PE row: their stream, the interface in which a packer places keys, and the queue."""

from myhdl import ConcatSignal, Signal, always, always_comb, intbv, modbv

from golden.config import clog2
from hdl.fifo import unpack
from hdl.hierarchy import module
from hdl.memory import distributed_ram
from hdl.stream import Bits, Flag, Stream

QUEUE_DEPTH = 16  # what distributed RAM has anyway; eight items would do
VALID_LANES = 4  # whose `valid` bits share a word of distributed RAM


def address_bits(entries):
    """Bits of a signal that counts `entries` places; at least one, as there are no signals without bits."""
    return max(1, clog2(entries))


def words_stream(config):
    """Bitmap words of one PE row for its packer: `bits` (never 0), `slot`, and `first`: the query's first word with a key.
    With `end`, the tile is over and nothing else counts."""
    return Stream(end=Flag(), slot=Bits(address_bits(config.slots)), first=Flag(), bits=Bits(config.tile_keys))


def work_items_stream(config):
    """The stream `work items` of docs/architecture.md. (`valid` is the stream's own.)"""
    return Stream(
        end=Flag(),
        slot=Bits(address_bits(config.slots)),
        first=Flag(),
        lane_valid=Bits(config.lanes),
        select=Bits(config.lanes * config.select_bits),
    )


class Placements:
    """From a packer to the work queue.

    With `enable`, lane `lane` of the item that is `sub_row` behind the last complete one gets `valid` and `select`, and
    the item gets `slot` and `first`. Every lane of every item is placed once, in one item the lanes in order. `commit`, in
    the cycle of the last placement or later, makes `count` items complete. `end` (with `sub_row` 0) appends an end-of-tile mark.

    From the queue: `room` for a word's items and an end mark. What was committed in this cycle and the two before isn't
    counted yet: a word looks at it later than that, and an end mark needs one place of those for a word's items.
    """

    def __init__(self, config):
        self.enable = Signal(False)
        self.lane = Bits(address_bits(config.lanes)).signal()
        self.sub_row = Bits(address_bits(config.max_sub_rows)).signal()
        self.valid = Signal(False)
        self.select = Bits(config.select_bits).signal()
        self.slot = Bits(address_bits(config.slots)).signal()
        self.first = Signal(False)
        self.commit = Signal(False)
        self.count = Bits(clog2(config.max_sub_rows + 1)).signal()
        self.end = Signal(False)
        self.room = Signal(False)


@module
def work_queue(clk, reset, placements, items, config):
    """Where a word's sub-rows are put together, and wait for the array (stream `items`).

    A packer goes around the lanes and fills the sub-rows side by side; each lane has its own memory, so this needs no
    registers and no multiplexer. An item is at `items` two cycles after its `commit`, or after the item before it was taken.
    """
    lanes, most = config.lanes, config.max_sub_rows
    depth = max(QUEUE_DEPTH, 1 << clog2(4 * most))
    pointer_bits = clog2(depth)
    full_level = depth - most - 1
    valid_lanes = min(VALID_LANES, lanes)
    valid_groups = lanes // valid_lanes
    group_shift = clog2(valid_lanes)
    group_mask = valid_lanes - 1

    write_pointer, read_pointer = (Signal(modbv(0)[pointer_bits + 1 :]) for _ in range(2))
    used = Signal(modbv(0)[pointer_bits + 1 :])
    write_address, read_address = (Signal(modbv(0)[pointer_bits:]) for _ in range(2))
    read_enable, occupied = Signal(False), Signal(False)

    lane_enables = [Signal(False) for _ in range(lanes)]
    lane_selects = [Signal(intbv(0)[config.select_bits :]) for _ in range(lanes)]
    valid_enables = [Signal(False) for _ in range(valid_groups)]
    valid_words = [Signal(intbv(0)[valid_lanes:]) for _ in range(valid_groups)]
    recent = [Signal(intbv(0)[valid_lanes:]) for _ in range(most)]  # `valid` of the latest lanes, the last one on top
    newest = Signal(intbv(0)[valid_lanes:])
    mark_enable = Signal(False)
    mark = ConcatSignal(placements.end, placements.slot, placements.first)
    read_mark = Signal(intbv(0)[len(mark) :])
    joined = [read_mark] + valid_words[::-1] + lane_selects[::-1]
    out_word = Signal(intbv(0)[sum(len(part) for part in joined) :])

    @always_comb
    def levels():
        used.next = write_pointer - read_pointer
        write_address.next = (write_pointer + placements.sub_row) & (depth - 1)
        read_address.next = read_pointer[pointer_bits:]
        read_enable.next = write_pointer != read_pointer and not occupied

    @always(clk.posedge)
    def room():
        placements.room.next = used <= full_level and not reset

    @always_comb
    def handshake():
        items.valid.next = occupied

    @always_comb
    def write_enables():
        mark_enable.next = placements.end or (placements.enable and placements.lane == 0)
        for place in range(lanes):
            lane_enables[place].next = placements.enable and placements.lane == place
        for place in range(valid_groups):
            valid_enables[place].next = (
                placements.enable
                and (placements.lane & group_mask) == group_mask
                and (placements.lane >> group_shift) == place
            )

    @always_comb
    def newest_valid():
        newest.next = (recent[placements.sub_row] >> 1) | (placements.valid << (valid_lanes - 1))

    @always(clk.posedge)
    def recent_valid():
        if placements.enable:
            recent[placements.sub_row].next = newest

    memories = [distributed_ram(clk, mark_enable, write_address, mark, read_address, read_mark, depth=depth)]
    for enable, word in zip(valid_enables, valid_words):
        memories.append(distributed_ram(clk, enable, write_address, newest, read_address, word, depth=depth))
    for enable, word in zip(lane_enables, lane_selects):
        memories.append(distributed_ram(clk, enable, write_address, placements.select, read_address, word, depth=depth))

    read_word = ConcatSignal(*joined)

    @always(clk.posedge)
    def pointers():
        if reset:
            write_pointer.next = 0
            read_pointer.next = 0
            occupied.next = False
        else:
            if placements.commit:
                write_pointer.next = write_pointer + placements.count
            elif placements.end:
                write_pointer.next = write_pointer + 1
            if read_enable:
                read_pointer.next = read_pointer + 1
                occupied.next = True
            elif items.ready:
                occupied.next = False

    @always(clk.posedge)
    def output_register():
        if read_enable:
            out_word.next = read_word

    return (
        levels, room, handshake, write_enables, newest_valid, recent_valid, memories, pointers, output_register,
        unpack(out_word, items),
    )  # fmt: skip
