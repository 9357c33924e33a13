"""One PE row's bitmaps, packer and work queue."""

from myhdl import Signal, always, always_comb, intbv

from golden.config import clog2
from hdl.hierarchy import module
from hdl.memory import ram_with_enable
from hdl.packer import packer
from hdl.stream import Bits
from hdl.tiled.pipeline import write_of_row
from hdl.tiled.work import Placements, address_bits, work_queue, words_stream


class BitmapWrite:
    """Write port of the bitmaps: word `data` of the row with `row` in the low bits, at {block parity, tile, slot}."""

    def __init__(self, config):
        self.enable = Signal(False)
        self.row = Bits(address_bits(config.rows // config.softmax_lanes)).signal()
        self.address = Bits(1 + clog2(config.max_tiles) + address_bits(config.slots)).signal()
        self.data = Bits(config.tile_keys).signal()


@module
def bitmap_words(clk, reset, row, job, write, words, busy, config):
    """The bitmaps of one PE row, and what its packer needs of them: tile by tile and slot by slot the words that aren't
    0 (stream `words`), then an end mark.

    Takes a cycle a slot, and one a tile for the end mark, while the packer is ready; the first word comes four cycles
    after `start`. Slots without a query, and tiles that a query doesn't see, count as 0 whatever the memory holds.

    Args:
        row: number of the PE row, constant.
        job: `PackingJob`. `busy` from `start` on until the last end mark is taken.
        write: `BitmapWrite` for the rows that share a softmax lane.
    """
    slots, key_shift = config.slots, clog2(config.tile_keys)
    row_bits, slot_bits = clog2(config.rows), address_bits(config.slots)
    tile_bits = clog2(config.max_tiles)
    lane_shift = clog2(config.softmax_lanes)

    enable, read_enable = Signal(False), Signal(False)
    reading, last_tile = Signal(False), Signal(False)
    tile = Signal(intbv(0)[len(job.tiles) :])
    slot = Signal(intbv(0)[clog2(slots + 1) :])  # `slots`: the end mark
    query = Signal(intbv(0)[clog2(slots + 1) + row_bits :])
    address = Signal(intbv(0)[len(write.address) :])
    own_write = BitmapWrite(config)
    fetched, word = (Signal(intbv(0)[config.tile_keys :]) for _ in range(2))

    # beside `fetched`
    fetching, fetching_end, fetching_last, fetching_query = (Signal(False) for _ in range(4))
    fetching_tile = Signal(intbv(0)[len(job.tiles) :])
    last_key = Signal(intbv(0)[max(config.key_bits, len(query)) + 1 :])
    fetching_slot, word_slot = (Signal(intbv(0)[slot_bits:]) for _ in range(2))
    # beside `word`
    word_valid, word_end, word_last, word_seen = (Signal(False) for _ in range(4))
    # beside `words`
    shown_last = Signal(False)
    begun = Signal(intbv(0)[slots:])  # queries that have had a word

    @always_comb
    def moves():
        enable.next = words.ready or not words.valid
        read_enable.next = reading and (words.ready or not words.valid)
        last_tile.next = tile + 1 == job.tiles

    @always_comb
    def addresses():
        query.next = (slot << row_bits) | row
        address.next = (job.parity << (tile_bits + slot_bits)) | (tile << slot_bits) | (slot & (slots - 1))

    # Long before `start`.
    on_the_way = write_of_row(clk, write, row, own_write, lane_shift)
    memory = ram_with_enable(
        clk, own_write.enable, own_write.address, own_write.data, read_enable, address, fetched,
        depth=2 << (tile_bits + slot_bits),
    )  # fmt: skip

    @always(clk.posedge)
    def position():
        if job.start:
            tile.next = 0
            slot.next = 0
        elif read_enable:
            slot.next = slot + 1
            if slot == slots:
                slot.next = 0
                tile.next = tile + 1
        if reset:
            reading.next = False
        elif job.start:
            reading.next = True
        elif read_enable and slot == slots:
            reading.next = not last_tile

    @always(clk.posedge)
    def at_the_memory():
        if reset:
            fetching.next = False
        elif enable:
            fetching.next = reading
        if enable:
            fetching_end.next = slot == slots
            fetching_last.next = last_tile
            fetching_query.next = query < job.count
            fetching_tile.next = tile
            fetching_slot.next = slot & (slots - 1)
            last_key.next = job.last_key
            if job.causal:
                last_key.next = job.last_key + query

    @always(clk.posedge)
    def behind_the_memory():
        if reset:
            word_valid.next = False
        elif enable:
            word_valid.next = fetching
        if enable:
            word.next = fetched
            word_end.next = fetching_end
            word_last.next = fetching_last
            word_slot.next = fetching_slot
            word_seen.next = fetching_query and fetching_tile <= (last_key >> key_shift)

    @always(clk.posedge)
    def show():
        if reset:
            words.valid.next = False
        elif enable:
            words.valid.next = word_valid and (word_end or (word_seen and word != 0))
        if enable:
            words.bits.next = word
            words.end.next = word_end
            words.slot.next = word_slot
            words.first.next = not begun[word_slot]
            shown_last.next = word_end and word_last
        if job.start:
            begun.next = 0
        elif enable and word_valid and word_seen and not word_end and word != 0:
            begun.next = begun | (1 << word_slot)

    @always(clk.posedge)
    def occupied():
        if reset:
            busy.next = False
        elif job.start:
            busy.next = True
        elif words.valid and words.ready and shown_last:
            busy.next = False

    return moves, addresses, on_the_way, memory, position, at_the_memory, behind_the_memory, show, occupied


@module
def row_packer(clk, reset, row, job, write, items, busy, config):
    """Bitmaps, packer and queue of PE row number `row`: work items (stream `items`), see the modules it is made of."""
    words, placements = words_stream(config), Placements(config)
    bitmaps = bitmap_words(clk, reset, row, job, write, words, busy, config)
    packing = packer(clk, reset, words, placements, config)
    queue = work_queue(clk, reset, placements, items, config)
    return bitmaps, packing, queue
