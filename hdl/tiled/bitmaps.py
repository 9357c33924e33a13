"""Bitmaps and query records: from the comparator's streams to work items, and to the normalizer."""

from myhdl import ConcatSignal, Signal, always, always_comb, intbv
from myhdl._Signal import Constant

from golden.config import KEPT_FRACTION, clog2
from hdl.delay import port_copy, register_copy
from hdl.fifo import fifo, register_slice
from hdl.hierarchy import module
from hdl.memory import distributed_ram
from hdl.stream import Bits, Stream
from hdl.tiled.blocks import (
    BITMAP_BLOCKS,
    BlockHead,
    BlockStates,
    PackingJob,
    block_head_stream,
    block_scheduler,
    block_tracker,
    lane_groups_stream,
)
from hdl.tiled.interfaces import RING_BITS, RING_BLOCKS
from hdl.tiled.row_packer import BitmapWrite, row_packer
from hdl.tiled.work import address_bits
from hdl.wires import side_by_side

PENDING = 16  # queries of a softmax lane between their last bits and their result


class KeptWrite:
    """Write port of the query records of the rows of a softmax lane: `kept` at {block mod 4, slot}; `parity`: of the
    block."""

    def __init__(self, config):
        self.enable = Signal(False)
        self.parity = Signal(False)
        self.row = Bits(address_bits(config.rows // config.softmax_lanes)).signal()
        self.address = Bits(RING_BITS + address_bits(config.slots)).signal()
        self.kept = Bits(KEPT_FRACTION + 1).signal()


@module
def bitmap_lane(clk, reset, groups, bits, results, write, record, number, config):
    """One softmax lane's bits to bitmap words, and its results to query records. A chunk a cycle, no latency but a
    register each.

    Args:
        groups: stream (`lane_groups_stream`) of the groups that the lane's queries belong to.
        bits, results: streams from the comparator. Chunks of a tile that a query doesn't have are 0.
        write, record: write ports (`BitmapWrite`, `KeptWrite`).
        number: block (mod 4) of the query at `bits`.
    """
    chunks, chunk_bits = config.tile_keys // config.predict_keys, config.predict_keys
    last_chunk = chunks - 1
    lane_bits, row_bits = clog2(config.softmax_lanes), clog2(config.rows)
    row_mask, slot_mask = config.rows // config.softmax_lanes - 1, config.slots - 1
    tile_bits, slot_bits = clog2(config.max_tiles), address_bits(config.slots)
    depth = BITMAP_BLOCKS * config.block_queries // config.predict_queries

    waiting = groups.like()
    place = Stream(number=Bits(RING_BITS), slot=Bits(slot_bits), row=Bits(len(write.row)))
    pending = place.like()
    parts = [Signal(intbv(0)[chunk_bits:]) for _ in range(chunks)]
    word = side_by_side(parts)
    chunk = Signal(intbv(0)[address_bits(chunks) :])
    tile = Signal(intbv(0)[address_bits(config.max_tiles) :])
    query = Signal(intbv(0)[len(waiting.queries) :])
    accept, result, first_chunk = (Signal(False) for _ in range(3))

    group_queue = fifo(clk, reset, groups, waiting, depth=max(2, depth))
    pending_queue = fifo(clk, reset, place, pending, depth=PENDING)

    @always_comb
    def handshakes():
        accept.next = bits.valid and waiting.valid and place.ready
        bits.ready.next = waiting.valid and place.ready
        result.next = results.valid and pending.valid
        results.ready.next = pending.valid
        first_chunk.next = chunk == 0
        pending.ready.next = results.valid

    @always_comb
    def places():
        number.next = waiting.number
        place.number.next = waiting.number
        place.slot.next = (bits.query >> row_bits) & slot_mask
        place.row.next = (bits.query >> lane_bits) & row_mask
        place.valid.next = accept and bits.last
        waiting.ready.next = accept and bits.last and query + 1 == waiting.queries

    @always(clk.posedge)
    def position():
        if reset:
            chunk.next = 0
            tile.next = 0
            query.next = 0
        elif accept and bits.last:
            chunk.next = 0
            tile.next = 0
            query.next = query + 1
            if query + 1 == waiting.queries:
                query.next = 0
        elif accept and chunk == last_chunk:
            chunk.next = 0
            tile.next = tile + 1
        elif accept:
            chunk.next = chunk + 1

    @always(clk.posedge)
    def words():
        for part in range(chunks):
            if chunk == part:  # not only if it is accepted: what isn't is written again
                parts[part].next = bits.bits
            elif first_chunk:
                parts[part].next = 0

    @always(clk.posedge)
    def write_words():
        write.enable.next = accept and (bits.last or chunk == last_chunk) and not reset
        write.row.next = place.row
        write.address.next = (waiting.number[0] << (tile_bits + slot_bits)) | (tile << slot_bits) | place.slot

    @always_comb
    def write_data():
        write.data.next = word

    @always(clk.posedge)
    def write_records():
        record.enable.next = result and not reset
        record.parity.next = pending.number[0]
        record.row.next = pending.row
        record.address.next = (pending.number << slot_bits) | pending.slot
        record.kept.next = results.kept

    return (
        group_queue, pending_queue, handshakes, places, position, words, write_words, write_data, write_records,
    )  # fmt: skip


@module
def block_heads(clk, bits, number, head, config):
    """Writes to `head` what the first query of a block tells, with the last chunk of that query. It is always in the first
    softmax lane.

    Args:
        bits: stream of the first softmax lane; `number`: block (mod 4) of its query.
    """
    block_mask, key_mask = config.block_queries - 1, (1 << config.key_bits) - 1
    last_key = Signal(intbv(0)[config.key_bits :])
    fields = [last_key if name == "last_key" else getattr(bits, name) for name in block_head_stream(config).fields]
    word = ConcatSignal(*fields)

    @always_comb
    def last_visible():
        last_key.next = (bits.visible - 1) & key_mask

    @always(clk.posedge)
    def write():
        head.enable.next = bits.valid and bits.ready and bits.last and (bits.query & block_mask) == 0
        head.number.next = number
        head.parity.next = number[0]
        head.visible.next = bits.visible
        head.causal.next = bits.causal
        head.word.next = word

    return last_visible, write


@module
def query_records(clk, lane_records, head, records, config):
    """What the normalizer reads of a query of each row: `records.visible` and `records.kept` follow `records.address`,
    {block mod 4, slot}, by a cycle.

    How many keys a query sees isn't stored, but counted on from the first query of its block (`head`).

    Args:
        lane_records: `KeptWrite`, one a softmax lane.
    """
    rows, row_bits = config.rows, clog2(config.rows)
    lane_mask, lane_bits = config.softmax_lanes - 1, clog2(config.softmax_lanes)
    slot_bits, slot_mask = address_bits(config.slots), (1 << address_bits(config.slots)) - 1
    visible_mask = (1 << config.key_count_bits) - 1
    depth = RING_BLOCKS << slot_bits
    written = [record.enable for record in lane_records]
    written_row = [record.row for record in lane_records]
    visible, kept = records.visible, records.kept

    enables = [Signal(False) for _ in range(rows)]
    kept_read = [Signal(intbv(0)[KEPT_FRACTION + 1 :]) for _ in range(rows)]
    number = Signal(intbv(0)[RING_BITS:])
    of_block = ConcatSignal(head.causal, head.visible)
    of_block_read = Signal(intbv(0)[len(of_block) :])
    causal, block_visible = of_block_read(len(of_block) - 1), of_block_read(len(head.visible), 0)
    place = Signal(intbv(0)[slot_bits + row_bits :])

    memories = [distributed_ram(clk, head.enable, head.number, of_block, number, of_block_read, depth=RING_BLOCKS)]
    for row in range(rows):
        record = lane_records[row & lane_mask]
        memories.append(
            distributed_ram(
                clk, enables[row], record.address, record.kept, records.address, kept_read[row], depth=depth
            )  # fmt: skip
        )

    @always_comb
    def addresses():
        number.next = records.address >> slot_bits
        place.next = (records.address & slot_mask) << row_bits
        for row in range(rows):
            enables[row].next = written[row & lane_mask] and written_row[row & lane_mask] == row >> lane_bits

    @always(clk.posedge)
    def read():
        for row in range(rows):
            kept[row].next = kept_read[row]
            if causal:
                visible[row].next = (block_visible + (place | row)) & visible_mask
            else:
                visible[row].next = block_visible

    return memories, addresses, read


@module
def bitmaps(clk, reset, groups, bits, results, blocks, items, records, drained, config):
    """From bits to work items: bitmaps of two blocks, packers, queues, and query records of four blocks.

    Args:
        groups: `GroupStarts`, from the predictor.
        bits, results: lists of streams, one each a softmax lane, from the comparator.
        blocks: stream (`hdl.tiled.interfaces.blocks_stream`) to the array, one message when a block is complete and the
            block before it has been packed and taken.
        items: list of streams (`hdl.tiled.work.work_items_stream`) to the array, one a PE row.
        records: read port for the normalizer, data one cycle behind the address (`hdl.drain.RecordsRead`).
        drained: pulse, the normalizer has read all of the oldest block.
    """
    lanes, lane_mask = config.softmax_lanes, config.softmax_lanes - 1
    lane_groups = [lane_groups_stream(config) for _ in range(lanes)]
    writes = [BitmapWrite(config) for _ in range(lanes)]
    lane_records = [KeptWrite(config) for _ in range(lanes)]
    numbers = [Signal(intbv(0)[RING_BITS:]) for _ in range(lanes)]
    states, head, job = BlockStates(config), BlockHead(config), PackingJob(config)
    busy = [Signal(False) for _ in range(config.rows)]
    block_packed = Signal(False)
    row_numbers = [Constant(intbv(row)[address_bits(config.rows) :]) for row in range(config.rows)]

    # What a lane waits for is decided far from the comparator.
    bits_here = [stream.like() for stream in bits]
    slices = [register_slice(clk, reset, stream, here) for stream, here in zip(bits, bits_here)]
    tracker = block_tracker(clk, reset, groups, lane_groups, lane_records, block_packed, drained, states, config)
    stores = [
        bitmap_lane(
            clk, reset, lane_groups[lane], bits_here[lane], results[lane], writes[lane], lane_records[lane], numbers[lane],
            config,
        )
        for lane in range(lanes)
    ]  # fmt: skip
    first_queries = block_heads(clk, bits_here[0], numbers[0], head, config)
    scheduler = block_scheduler(clk, reset, head, states, busy, job, blocks, block_packed, config)
    resets = [Signal(True) for _ in row_numbers]
    # The rows are all over the part.
    row_jobs = [PackingJob(config) for _ in row_numbers]
    row_packers = [
        row_packer(clk, resets[row], row_numbers[row], row_jobs[row], writes[row & lane_mask], items[row], busy[row], config)
        for row in range(config.rows)
    ]
    copies = [register_copy(clk, reset, copy) for copy in resets]
    copies += [port_copy(clk, job, copy, vars(job)) for copy in row_jobs]
    query_record = query_records(clk, lane_records, head, records, config)
    return tracker, slices, stores, first_queries, scheduler, copies, row_packers, query_record
