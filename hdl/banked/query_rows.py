"""Q rows: beats of the stream to words, and the memory in which each lane keeps them."""

from myhdl import Signal, always, always_comb, block, concat, intbv

from golden.config import OPERAND_BITS
from hdl.banked.interfaces import word_bits
from hdl.delay import cleared_register, register
from hdl.hierarchy import module
from hdl.memory import TABLE_WORDS, distributed_ram
from hdl.wires import like, side_by_side, wire

MULTIPLIERS_A_PART = 2
"""... of a lane that lie together: a part of the Q word is next to them, in a memory of look-up tables of its own."""

_PART_BITS = MULTIPLIERS_A_PART * OPERAND_BITS


@module
def query_rows(clk, reset, row, slot, enable, loaded, row_done, write, config):
    """Writes a word of M operands a cycle; two beats may be waiting.

    Args:
        row: `row_stream`.
        slot, enable: of the row that comes next; whether it may.
        loaded: the row is being written, and all of its beats are here: it will be complete before anybody can read it.
        row_done: its last word is.
        write: `RowWrite`, a cycle later.
    """
    words = config.stream_bytes // config.lane_width  # of a beat
    bits = config.lane_width * OPERAND_BITS
    last_part, last_word = words - 1, config.slot_cycles - 1
    top = config.stream_bits - bits  # the highest word stays, so it needs no multiplexer
    last_beat_word = config.slot_cycles - words

    waiting, shifting = (Signal(intbv(0)[config.stream_bits :]) for _ in range(2))
    waits, shifts = Signal(False), Signal(False)  # there is a beat
    can_wait = Signal(True)  # `not waits`: a register for the other side, few loads
    word = Signal(intbv(0)[word_bits(config) :])
    step, load, reload, complete, was_complete = (Signal(False) for _ in range(5))

    @always_comb
    def progress():
        row.ready.next = can_wait
        step.next = shifts and enable
        reload.next = not shifts or (word & last_part) == last_part
        load.next = reload and (enable or not shifts)
        row_done.next = shifts and enable and word == last_word

    @always_comb
    def beats_here():
        complete.next = word >= last_beat_word or (waits and word + words >= last_beat_word)

    @always_comb
    def row_loaded():
        loaded.next = shifts and enable and complete and not was_complete

    @always(clk.posedge)
    def beats():
        if not waits:
            waiting.next = row.data
        if enable or not shifts:
            if reload:
                shifting.next = waiting
            else:
                shifting.next = (shifting >> bits) | ((shifting >> top) << top)

    @always(clk.posedge)
    def occupancy():
        if reset:
            waits.next = False
            can_wait.next = True
            shifts.next = False
        else:
            if load:
                shifts.next = waits
                waits.next = False
                can_wait.next = True
            if row.valid and can_wait:
                waits.next = True
                can_wait.next = False

    @always(clk.posedge)
    def count():
        if reset:
            word.next = 0
        elif step:
            if word == last_word:
                word.next = 0
            else:
                word.next = word + 1

    @always(clk.posedge)
    def completion():
        if reset or (step and word == last_word):
            was_complete.next = False
        elif step:
            was_complete.next = complete

    @always(clk.posedge)
    def write_register():
        write.address.next = concat(slot, word)
        write.data.next = shifting[bits:]
        if reset:
            write.enable.next = False
        else:
            write.enable.next = step

    return progress, beats_here, row_loaded, beats, occupancy, count, completion, write_register


@block
def query_memory(clk, write, address, control, word, config):
    """A lane's Q rows, for reading: the word at `address` (stage 1) is in `word` three cycles later, 0 in a value phase.

    Args:
        write: `RowWrite`; nothing is read while it is written.
        control: `Control`.
    """
    words = 1 << len(address)
    if words > TABLE_WORDS:
        # The last word is never written and stays zero: with a clear behind the memory, each bit would need one more register.
        zero_word = words
        address_or_zero = Signal(intbv(0, min=0, max=words + 1))

        @always(clk.posedge)
        def row_or_zero():
            address_or_zero.next = address
            if control.value_is_addressed:
                address_or_zero.next = zero_word

        memory = query_ram_with_register(
            clk, write.enable, write.address, write.data, address_or_zero, word, depth=words + 1
        )
        return row_or_zero, memory

    # A lane's multipliers lie far apart: the parts of its words lie next to theirs.
    late_address = like(address)
    late = register(clk, address, late_address)
    lows = range(0, len(word), _PART_BITS)
    parts = [Signal(intbv(0)[min(_PART_BITS, len(word) - low) :]) for low in lows]
    memories = [
        _query_part(
            clk, write.enable, write.address, write.data(low + len(part), low), late_address, control.value_is_next, part
        )
        for low, part in zip(lows, parts)
    ]
    return late, memories, wire(side_by_side(parts), word)


@module
def _query_part(clk, write_enable, write_address, write_data, address, clear, part):
    """Part of the words in look-up tables; its part of a word is there two cycles after `address`."""
    late_address, read_part = like(address), like(part)
    late = register(clk, address, late_address)
    memory = distributed_ram(
        clk, write_enable, write_address, write_data, late_address, read_part, depth=1 << len(address)
    )
    return late, memory, cleared_register(clk, clear, read_part, part)


@module
def query_ram_with_register(clk, write_enable, write_address, write_data, read_address, read_data, depth):
    """Block RAM, however small: the word at `read_address` is in `read_data` two cycles later; nothing is read while it is
    written."""
    memory = [Signal(intbv(0)[len(write_data) :]) for _ in range(depth)]  # zero until written
    latch = Signal(intbv(0)[len(write_data) :])

    @always(clk.posedge)
    def write():
        if write_enable:
            memory[write_address].next = write_data

    @always(clk.posedge)
    def read():
        latch.next = memory[read_address]
        read_data.next = latch

    return write, read


query_ram_with_register.array_attributes["memory"] = 'no_rw_check, ram_style = "block"'
