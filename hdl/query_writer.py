"""Queries on their way to the query memories of the PE rows, and the ring of blocks there."""

from myhdl import Signal, always, always_comb, intbv, modbv

from golden.config import OPERAND_BITS, clog2
from hdl.hierarchy import module
from hdl.occupancy import room_left
from hdl.stream import Bits, Stream
from hdl.tiled.interfaces import QUERY_WORD_BYTES, RING_BLOCKS, slot_bits

WORD_BITS = QUERY_WORD_BYTES * OPERAND_BITS


def query_beats_stream(config):
    return Stream(data=Bits(config.stream_bits), beat=Bits(max(1, clog2(config.row_beats))))


@module
def query_writer(clk, reset, beats, queries, head_end, block_done, idle, config):
    """Writes queries to their PE rows and slots, 32 bits a cycle, the lowest dimensions first.

    ``beats`` (``query_beats_stream``): the beats of a query in order; taken once in stream_bits / 32 cycles, and not
    while a new block would need a ring block that the array hasn't freed. ``queries`` (``hdl.tiled.interfaces.QueryWrites``): the first word
    of a beat is there one cycle after the beat came. Query i of a head goes to row i mod H, slot (i / H) mod G, ring
    block b mod 4 of the running block count b; ``head_end`` (one cycle, after the head's last beat): the next query
    starts a block. ``block_done`` (one cycle) frees the ring's oldest block. ``idle``: every word has been written.
    """
    words = config.stream_bits // WORD_BITS
    word_bits, beat_bits = clog2(words), clog2(config.row_beats)
    last_word, word_before_last, last_beat = words - 1, max(0, words - 2), config.row_beats - 1
    last_row, last_slot = config.rows - 1, config.slots - 1
    slot_place = word_bits + beat_bits
    ring_place = slot_place + slot_bits(config)

    # Where the next query goes.
    row = Signal(intbv(0, min=0, max=max(2, config.rows)))
    slot = Signal(intbv(0, min=0, max=max(2, config.slots)))
    ring_block = Signal(modbv(0, min=0, max=RING_BLOCKS))
    block_open = Signal(False)  # the block has a query already
    opens, is_room = Signal(False), Signal(True)

    # The beat that is being written.
    writing, takes = Signal(False), Signal(True)  # takes: the next beat can come, as this one's last word goes
    word = Signal(intbv(0, min=0, max=words))
    rest = Signal(intbv(0)[config.stream_bits :])
    written_row = Signal(intbv(0, min=0, max=max(2, config.rows)))
    base = Signal(intbv(0)[len(queries.address) :])

    @always_comb
    def accept():
        beats.ready.next = takes and (block_open or is_room)

    @always_comb
    def open_block():
        opens.next = beats.valid and beats.ready and not block_open

    room = room_left(clk, reset, opens, block_done, is_room, RING_BLOCKS)

    @always(clk.posedge)
    def place():
        if reset:
            row.next = 0
            slot.next = 0
            ring_block.next = 0
            block_open.next = False
        elif head_end:
            row.next = 0
            slot.next = 0
            block_open.next = False
            if block_open:
                ring_block.next = ring_block + 1
        elif beats.valid and beats.ready:
            block_open.next = True
            if beats.beat == last_beat:
                if row != last_row:
                    row.next = row + 1
                else:
                    row.next = 0
                    if slot != last_slot:
                        slot.next = slot + 1
                    else:
                        slot.next = 0
                        ring_block.next = ring_block + 1
                        block_open.next = False

    @always(clk.posedge)
    def write_control():
        if reset:
            writing.next = False
            idle.next = True
            takes.next = True
            word.next = 0
        elif beats.ready and beats.valid:
            writing.next = True
            idle.next = False
            takes.next = last_word == 0
            word.next = 0
        elif writing:
            if takes:
                writing.next = False
                idle.next = True
                word.next = 0
            else:
                takes.next = word == word_before_last
                word.next = word + 1

    @always(clk.posedge)
    def words_of_beat():
        if beats.ready and beats.valid:
            rest.next = beats.data
            written_row.next = row
            base.next = (ring_block << ring_place) | (slot << slot_place) | (beats.beat << word_bits)
        else:
            rest.next = rest >> WORD_BITS

    @always_comb
    def write():
        queries.enable.next = writing
        queries.row.next = written_row
        queries.address.next = base | word
        queries.data.next = rest[WORD_BITS:]

    return accept, open_block, room, place, write_control, words_of_beat, write
