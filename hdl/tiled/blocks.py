"""Which block a group belongs to, when a block is complete, and in which order blocks are packed."""

from myhdl import Signal, always, always_comb, enum, intbv, modbv

from golden.config import FACTOR_SHIFT_BITS, LENGTH_BITS, MANTISSA_BITS, clog2
from hdl.fifo import pack, unpack
from hdl.hierarchy import module
from hdl.memory import distributed_ram
from hdl.stream import Bits, Flag, Stream
from hdl.tiled.interfaces import RING_BITS, RING_BLOCKS, TAG_BITS

BITMAP_BLOCKS = 2  # blocks that have bitmaps; RING_BLOCKS have query records
Scheduler = enum("WAIT", "READ", "EXTENT", "TILES", "START", "COPY", "BEGIN", "PACK")


class BlockStates:
    """The two blocks that have bitmaps, by parity of their number: queries that have begun, whether all of them are in,
    and the block's place in its head."""

    def __init__(self, config):
        self.counts = [Bits(clog2(config.block_queries + 1)).signal() for _ in range(BITMAP_BLOCKS)]
        self.complete = [Signal(False) for _ in range(BITMAP_BLOCKS)]
        self.head_first = [Signal(False) for _ in range(BITMAP_BLOCKS)]
        self.head_last = [Signal(False) for _ in range(BITMAP_BLOCKS)]


class BlockHead:
    """Write port for what is known of block `number` (mod 4) from its first query: how many keys it sees, and all else
    in `word`, a packed `block_head_stream`."""

    def __init__(self, config):
        self.enable = Signal(False)
        self.number = Bits(RING_BITS).signal()
        self.parity = Signal(False)  # of the number
        self.visible = Bits(config.key_count_bits).signal()
        self.causal = Signal(False)
        self.word = Bits(sum(kind.width for kind in block_head_stream(config).fields.values())).signal()


class PackingJob:
    """The block to pack: `start` lasts a cycle, the rest holds still until all rows are done.

    `last_key` is the last visible key of the block's first query.
    """

    def __init__(self, config):
        self.start = Signal(False)
        self.parity = Signal(False)
        self.count = Bits(clog2(config.block_queries + 1)).signal()
        self.tiles = Bits(clog2(config.max_tiles + 1)).signal()
        self.last_key = Bits(config.key_bits).signal()
        self.causal = Signal(False)


def block_head_stream(config):
    """Fields of a block's first query (not used as a stream)."""
    return Stream(
        last_key=Bits(config.key_bits),
        mantissa=Bits(MANTISSA_BITS),
        shift=Bits(FACTOR_SHIFT_BITS),
        key_set=Flag(),
        tag=Bits(TAG_BITS),
        causal=Flag(),
        residual=Flag(),
        n_k=Bits(config.key_count_bits),
        n_q=Bits(LENGTH_BITS),
    )


def lane_groups_stream(config):
    """Groups of a softmax lane: `number` of the block (mod 4), and how many `queries` of the group are the lane's."""
    return Stream(number=Bits(RING_BITS), queries=Bits(clog2(config.predict_queries // config.softmax_lanes) + 1))


@module
def block_tracker(clk, reset, groups, lane_groups, arrivals, block_packed, drained, states, config):
    """Counts groups into blocks, and queries until a block is complete.

    A block ends with its last group's room or with its head. A new one may begin if one of the two halves of the
    bitmaps is packed, and one of the four parts of the query records is drained.

    Args:
        groups: `GroupStarts`.
        lane_groups: streams, one a softmax lane, each with room for the groups of two blocks.
        arrivals: one a softmax lane, `enable` and `parity`: a query of that block is in.
        block_packed, drained: pulses, one a block, in order.
        states: `BlockStates`; `complete` until packed.
    """
    lanes = config.softmax_lanes
    lane_bits = clog2(lanes)
    last_group = config.block_queries // config.predict_queries - 1
    valids = [lane.valid for lane in lane_groups]
    queries = [lane.queries for lane in lane_groups]
    numbers = [lane.number for lane in lane_groups]
    arrived = [lane.enable for lane in arrivals]
    arrived_parity = [lane.parity for lane in arrivals]
    counts, complete = states.counts, states.complete
    head_first, head_last = states.head_first, states.head_last

    number = Signal(modbv(0)[RING_BITS:])
    parity, packed_parity = Signal(False), Signal(False)
    group = Signal(intbv(0, min=0, max=last_group + 2))
    is_open, head_begins = Signal(False), Signal(True)
    in_bitmaps = Signal(intbv(0, min=0, max=BITMAP_BLOCKS + 1))
    in_records = Signal(intbv(0, min=0, max=RING_BLOCKS + 1))
    opens, closes = Signal(False), Signal(False)
    closed = [Signal(False) for _ in range(BITMAP_BLOCKS)]
    received = [Signal(intbv(0)[len(counts[0]) :]) for _ in range(BITMAP_BLOCKS)]

    @always_comb
    def room():
        groups.room.next = is_open or (in_bitmaps != BITMAP_BLOCKS and in_records != RING_BLOCKS)

    @always_comb
    def borders():
        opens.next = groups.start and not is_open
        closes.next = groups.start and (groups.head_last or group == last_group)
        parity.next = number[0]

    @always(clk.posedge)
    def place():
        if __debug__:
            assert groups.room or not groups.start, "a group begins without room"
        if reset:
            number.next = 0
            group.next = 0
            is_open.next = False
            head_begins.next = True
        elif groups.start:
            is_open.next = not closes
            head_begins.next = groups.head_last
            group.next = group + 1
            if closes:
                group.next = 0
                number.next = number + 1

    @always(clk.posedge)
    def levels():
        if reset:
            in_bitmaps.next = 0
            in_records.next = 0
        else:
            if opens and not block_packed:
                in_bitmaps.next = in_bitmaps + 1
            elif block_packed and not opens:
                in_bitmaps.next = in_bitmaps - 1
            if opens and not drained:
                in_records.next = in_records + 1
            elif drained and not opens:
                in_records.next = in_records - 1

    @always(clk.posedge)
    def count():
        if groups.start:
            counts[parity].next = counts[parity] + groups.count
            if opens:
                counts[parity].next = groups.count
                head_first[parity].next = head_begins
            head_last[parity].next = groups.head_last

    @always(clk.posedge)
    def completion():
        for half in range(BITMAP_BLOCKS):
            arriving = intbv(0)[lane_bits + 1 :]
            for lane in range(lanes):
                if arrived[lane] and arrived_parity[lane] == half:
                    arriving[:] = arriving + 1
            if reset:
                closed[half].next = False
                received[half].next = 0
            elif block_packed and packed_parity == half:
                closed[half].next = False
                received[half].next = 0
            else:
                if closes and parity == half:
                    closed[half].next = True
                received[half].next = received[half] + arriving
            complete[half].next = closed[half] and received[half] == counts[half]

    @always(clk.posedge)
    def packed_in_order():
        if reset:
            packed_parity.next = False
        elif block_packed:
            packed_parity.next = not packed_parity

    @always_comb
    def groups_of_lanes():
        for lane in range(lanes):
            valids[lane].next = groups.start and groups.count > lane
            numbers[lane].next = number
            queries[lane].next = (groups.count + (lanes - 1) - lane) >> lane_bits

    return room, borders, place, levels, count, completion, packed_in_order, groups_of_lanes


@module
def block_scheduler(clk, reset, head, states, busy, job, blocks, block_packed, config):
    """Starts the packers of all rows on the next complete block, and tells the array (stream `blocks`).

    Five cycles from `complete` to `start`, which the rows see a cycle later; `busy` comes in the cycle after that.
    `block_packed` (pulse) when no row is `busy` and the array has taken the message, so the packers are at most the work
    queues and one message ahead of the array.
    """
    tile_shift, rows = clog2(config.tile_keys), config.rows
    state = Signal(Scheduler.WAIT)
    number = Signal(modbv(0)[RING_BITS:])
    parity, any_busy = Signal(False), Signal(False)
    end_key = Signal(intbv(0)[config.key_bits + 1 :])  # last visible key of the block's last query
    read_word = Signal(intbv(0)[len(head.word) :])
    first = block_head_stream(config)
    counts, complete = states.counts, states.complete
    head_first, head_last = states.head_first, states.head_last

    heads = distributed_ram(
        clk, head.enable, head.parity, head.word, parity, read_word, depth=BITMAP_BLOCKS
    )  # fmt: skip
    fields = unpack(read_word, first)

    @always_comb
    def half():
        parity.next = number[0]

    @always(clk.posedge)
    def rows_under_way():
        running = False
        for row in range(rows):
            running = running or busy[row]
        any_busy.next = running

    @always(clk.posedge)
    def step():
        block_packed.next = False
        job.start.next = False
        if reset:
            state.next = Scheduler.WAIT
            number.next = 0
            blocks.valid.next = False
        elif state == Scheduler.WAIT:
            if complete[parity]:
                state.next = Scheduler.READ
        elif state == Scheduler.READ:
            state.next = Scheduler.EXTENT
        elif state == Scheduler.EXTENT:
            state.next = Scheduler.TILES
        elif state == Scheduler.TILES:
            job.start.next = True
            blocks.valid.next = True
            state.next = Scheduler.START
        else:
            if blocks.ready:
                blocks.valid.next = False
            if state == Scheduler.START:
                state.next = Scheduler.COPY
            elif state == Scheduler.COPY:
                state.next = Scheduler.BEGIN
            elif state == Scheduler.BEGIN:
                state.next = Scheduler.PACK
            elif not any_busy and not blocks.valid:
                block_packed.next = True
                number.next = number + 1
                state.next = Scheduler.WAIT

    @always(clk.posedge)
    def message():
        if state == Scheduler.READ:
            blocks.number.next = number
            blocks.count.next = counts[parity]
            blocks.head_first.next = head_first[parity]
            blocks.head_last.next = head_last[parity]
            blocks.mantissa.next = first.mantissa
            blocks.shift.next = first.shift
            blocks.key_set.next = first.key_set
            blocks.tag.next = first.tag
            blocks.causal.next = first.causal
            blocks.residual.next = first.residual
            blocks.n_k.next = first.n_k
            blocks.n_q.next = first.n_q
            job.last_key.next = first.last_key
        if state == Scheduler.EXTENT:
            end_key.next = job.last_key
            if job.causal:
                end_key.next = job.last_key + job.count - 1
        if state == Scheduler.TILES:
            blocks.tiles.next = (end_key >> tile_shift) + 1

    @always_comb
    def job_of_message():
        job.parity.next = blocks.number[0]
        job.count.next = blocks.count
        job.tiles.next = blocks.tiles
        job.causal.next = blocks.causal

    return heads, fields, half, rows_under_way, step, message, job_of_message
