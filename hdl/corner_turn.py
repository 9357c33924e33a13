"""The corner turn: rows of K and V come key by key, and leave dimension by dimension for the column memories.

Keys are taken in groups of S = ``stream_bytes``, and each beat b of the rows of a group is a square of S keys by S
dimensions. S memories a byte wide ("banks") hold a group. Key i, dimension t of a square lie in bank (i + t) mod S, so
a row of bytes touches each bank once, and so does a column; two rotators move the bytes to and from their banks.
Inside a bank the byte lies at address i or at address t, in turn from group to group: then the row that comes at step n
of a group lies exactly where the column that left at step n of the group before lay. One group's room is enough: what
leaves never waits, so what comes can't overtake it.

                 bank 0     bank 1     bank 2     bank 3        (S = 4; "ki dt": key i, dimension t)
    address 0    k0 d0      k0 d1      k0 d2      k0 d3         written by row 0
    address 1    k1 d3      k1 d0      k1 d1      k1 d2         column 0 is the diagonal k0 d0, k1 d0, k2 d0, k3 d0;
    address 2    k2 d2      k2 d3      k2 d0      k2 d1         row 0 of the next group takes its place
    address 3    k3 d1      k3 d2      k3 d3      k3 d0
"""

import copy

from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv

from golden.config import OPERAND_BITS, clog2
from hdl.choose import choose_of_two
from hdl.delay import register
from hdl.fifo import pack, unpack, word_width
from hdl.hierarchy import module
from hdl.memory import distributed_ram
from hdl.stream import Bits, Flag, Stream
from hdl.wires import wire


def key_beats_stream(config):
    """Beats of rows of K and V. ``last``: the last beat of the last key; ``value``: of V."""
    return Stream(
        data=Bits(config.stream_bits),
        key=Bits(config.key_bits),
        beat=Bits(max(1, clog2(config.row_beats))),
        last=Flag(),
        key_set=Flag(),
        value=Flag(),
    )


@module
def rotator(clk, amount, inp, out, direction):
    """Rotates the bytes of a word: byte i of ``inp`` is byte i + direction * amount of ``out``, a cycle later for each
    bit of ``amount``. (Stages with one of four bytes to choose from would take twice the look-up tables.)"""
    width, stages = len(inp) // OPERAND_BITS, len(amount)
    parts = []
    source, source_amount = inp, amount
    for stage in range(stages):
        inputs = [source(OPERAND_BITS * (i + 1), OPERAND_BITS * i) for i in range(width)]
        outputs = [Signal(intbv(0)[OPERAND_BITS:]) for _ in range(width)]
        for i in range(width):
            there = inputs[(i - (direction << stage)) % width]
            parts.append(choose_of_two(clk, inputs[i], there, source_amount(0), outputs[i]))
        source = out if stage == stages - 1 else Signal(intbv(0)[len(inp) :])
        parts.append(wire(ConcatSignal(*reversed(outputs)), source))
        if stage < stages - 1:
            next_amount = Signal(intbv(0)[len(source_amount) - 1 :])  # its lowest bit is done with
            parts.append(register(clk, source_amount(len(source_amount), 1), next_amount))
            source_amount = next_amount
    return parts


@block
def delay(clk, reset, source, target, valids, cycles):
    """``target`` is ``source`` (``valid`` and fields) ``cycles`` later; ``valids`` has a bit for each item on its way.

    Nothing waits: ``ready`` plays no part.
    """
    source_word = pack(source)
    target_word = Signal(intbv(0)[word_width(source) :])
    words = [Signal(intbv(0)[word_width(source) :]) for _ in range(cycles)]
    top = cycles - 1
    mask = (1 << cycles) - 1

    @always(clk.posedge)
    def move_valid():
        if reset:
            valids.next = 0
        else:
            valids.next = ((valids << 1) & mask) | source.valid

    @always(clk.posedge)
    def move_words():
        words[0].next = source_word
        for i in range(1, cycles):
            words[i].next = words[i - 1]

    @always_comb
    def end():
        target_word.next = words[top]
        target.valid.next = valids[top]

    return move_valid, move_words, end, unpack(target_word, target)


@block
def bank_address(clk, place, address, bank, size, beat_bits):
    """Where bank ``bank`` has the item ``place``, one cycle later."""
    skewed = Signal(intbv(0, min=0, max=size))
    skew = tuple((bank - index) % size for index in range(size))

    @always_comb
    def skew_index():
        skewed.next = skew[place.index]

    @always(clk.posedge)
    def addresses():
        if place.skewed:
            address.next = (skewed << beat_bits) | place.beat
        else:
            address.next = (place.index << beat_bits) | place.beat

    return skew_index, addresses


@module
def corner_turn(clk, reset, beats, columns, busy, config):
    """Column words of complete key groups.

    ``beats`` (``key_beats_stream``): one beat a cycle, keys in order from 0 for K and again for V; a key 0 that comes
    before the last key of the rows before it abandons their last, incomplete group. A group is complete with its S keys
    or with ``last``; then its d column words leave, one a cycle; lanes of keys that aren't there hold anything. Only a
    group that is complete before the one before it has left (a short, last one) makes ``beats`` wait.
    ``columns`` (``hdl.tiled.interfaces.ColumnWrites``): the first word of a group comes 1 + 2 * log2(S) cycles after the
    group's last beat. ``busy``: words of complete groups have yet to leave.
    """
    size = config.stream_bytes
    size_bits, beat_bits = clog2(size), clog2(config.row_beats)
    latency = size_bits  # of a rotator
    last_index, last_beat, last_step = size - 1, config.row_beats - 1, config.d - 1
    place_fields = dict(skewed=Flag(), index=Bits(size_bits), beat=Bits(max(1, beat_bits)))
    column_fields = dict(key=Bits(config.key_bits), key_set=Flag(), value=Flag())

    # Rows, into the banks.
    rows_skewed = Signal(False)  # rows of this group lie skewed in the banks
    waiting = Signal(False)  # a complete group waits for the one before it to leave
    takes = Signal(True)  # `not waiting`: a register for the other side
    complete = Signal(False)
    storing = Stream(**place_fields)
    stored = Stream(**place_fields)
    write_enable = Signal(False)
    index_now = Signal(intbv(0)[size_bits:])
    row_in_banks = Signal(intbv(0)[config.stream_bits :])

    @always_comb
    def store():
        beats.ready.next = takes
        index_now.next = beats.key & last_index
        storing.valid.next = beats.valid and takes
        storing.skewed.next = rows_skewed
        storing.index.next = beats.key & last_index
        storing.beat.next = beats.beat

    @always_comb
    def find_complete():
        complete.next = storing.valid and beats.beat == last_beat and (beats.last or storing.index == last_index)

    @always(clk.posedge)
    def store_enable():
        write_enable.next = stored.valid and not reset

    turn_rows = rotator(clk, index_now, beats.data, row_in_banks, direction=1)
    store_delay = delay(clk, reset, storing, stored, Signal(intbv(0)[latency - 1 :]), cycles=latency - 1)

    # Which column leaves: a complete group, and the step in it.
    waiting_key = Signal(intbv(0)[config.key_bits :])
    waiting_key_set = Signal(False)
    waiting_value = Signal(False)
    step = Signal(intbv(0, min=0, max=config.d))
    leaving = Stream(**place_fields, **column_fields)
    free = Signal(False)

    @always_comb
    def leave():
        free.next = step == last_step or not leaving.valid
        leaving.index.next = step >> beat_bits
        leaving.beat.next = step & last_beat

    @always(clk.posedge)
    def column_control():
        if reset:
            rows_skewed.next = False
            waiting.next = False
            takes.next = True
            leaving.valid.next = False
            step.next = 0
        else:
            if complete:
                rows_skewed.next = not rows_skewed
            if free:
                step.next = 0
                leaving.valid.next = complete or waiting
                waiting.next = False
                takes.next = True
            else:
                step.next = step + 1
                if complete:
                    waiting.next = True
                    takes.next = False

    @always(clk.posedge)
    def column_group():
        if complete:
            waiting_key.next = beats.key
            waiting_key_set.next = beats.key_set
            waiting_value.next = beats.value
        if free:
            if waiting:
                leaving.skewed.next = rows_skewed
                leaving.key.next = waiting_key
                leaving.key_set.next = waiting_key_set
                leaving.value.next = waiting_value
            else:
                leaving.skewed.next = not rows_skewed
                leaving.key.next = beats.key
                leaving.key_set.next = beats.key_set
                leaving.value.next = beats.value

    # Columns, out of the banks: as many cycles behind as the rows are.
    fetching = leaving.like()
    to_fetch = copy.copy(fetching)
    to_fetch.fields = {name: kind for name, kind in fetching.fields.items() if name != "skewed"}
    fetched, column = to_fetch.like(), to_fetch.like()
    before_fetch, in_fetch, after_fetch = (Signal(intbv(0)[cycles:]) for cycles in (latency - 1, 1, latency))
    fetch_delays = (
        delay(clk, reset, leaving, fetching, before_fetch, cycles=latency - 1),
        delay(clk, reset, to_fetch, fetched, in_fetch, cycles=1),
        delay(clk, reset, fetched, column, after_fetch, cycles=latency),
    )
    banks = []
    column_bytes = [Signal(intbv(0)[OPERAND_BITS:]) for _ in range(size)]
    column_in_banks = ConcatSignal(*reversed(column_bytes))
    for bank in range(size):
        write_address = Signal(intbv(0)[size_bits + beat_bits :])
        read_address = Signal(intbv(0)[size_bits + beat_bits :])
        banks += [
            bank_address(clk, stored, write_address, bank, size, beat_bits),
            bank_address(clk, fetching, read_address, bank, size, beat_bits),
            distributed_ram(
                clk, write_enable, write_address, row_in_banks(OPERAND_BITS * (bank + 1), OPERAND_BITS * bank),
                read_address, column_bytes[bank], depth=config.d,
            ),
        ]  # fmt: skip
    turn_columns = rotator(clk, fetched.index, column_in_banks, columns.data, direction=-1)

    tile_bits, dimension_bits = clog2(config.tile_keys), clog2(config.d)
    group_mask = config.tile_keys // size - 1
    value_place = dimension_bits + clog2(config.max_tiles)

    @always_comb
    def column_write():
        columns.enable.next = column.valid
        columns.group.next = (column.key >> size_bits) & group_mask
        columns.address.next = (
            (column.key_set << (value_place + 1))
            | (column.value << value_place)
            | ((column.key >> tile_bits) << dimension_bits)
            | (column.beat << size_bits)
            | column.index
        )
        busy.next = waiting or leaving.valid or before_fetch != 0 or in_fetch != 0 or after_fetch != 0

    return (
        store, find_complete, store_enable, turn_rows, store_delay, leave, column_control, column_group, fetch_delays,
        banks, turn_columns, column_write,
    )  # fmt: skip
