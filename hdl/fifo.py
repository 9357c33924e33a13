"""Buffers for streams: ``fifo``, ``register_slice`` and ``half_slice``.

All are generic over the fields of the stream and cut every combinational path between their two sides.
"""
from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv, modbv

from hdl.delay import held
from hdl.hierarchy import module
from hdl.memory import distributed_ram
from hdl.wires import like, number_of, side_by_side, wire


def word_width(stream):
    """Bits in one item of the stream."""
    return sum(kind.width for kind in stream.fields.values())


def pack(stream):
    """One signal that holds all fields of the stream, the first field in the most significant bits."""
    signals = [getattr(stream, name) for name in stream.fields]
    if len(signals) > 1:
        return ConcatSignal(*signals)
    return signals[0] if signals[0]._type is bool else signals[0](word_width(stream), 0)


@block
def unpack(word, stream):
    """Processes that drive the fields of the stream from what ``pack`` made."""
    copies, top = [], word_width(stream)
    for name, kind in stream.fields.items():
        bottom = top - kind.width
        part = word(bottom) if stream.__dict__[name]._type is bool else word(top, bottom)
        copy = number_of if kind.signed else wire
        copies.append(copy(part, getattr(stream, name)))
        top = bottom
    return copies


PART_BITS = 32
"""Of a word that shares an enable."""


def _part_borders(bits):
    return [(min(low + PART_BITS, bits), low) for low in range(0, bits, PART_BITS)]


def parts_of(word):
    """A word's slices of PART_BITS (the last one may be shorter), the lowest first. Of a signal: MyHDL doesn't slice a
    ``ConcatSignal``."""
    if word._type is bool:
        return [word]
    return [word(high, low) for high, low in _part_borders(len(word))]


def ready_of_parts(bits):
    """A signal for each part of a word of so many bits."""
    return [Signal(False) for _ in _part_borders(bits)]


def part_signals(bits):
    """Signals for the parts of a word of so many bits, the lowest first."""
    return [Signal(intbv(0)[high - low:]) for high, low in _part_borders(bits)]


@block
def join_parts(parts, word):
    """``word`` is made of the parts."""
    return wire(side_by_side(parts), word)


@module
def part_register(clk, occupied, ready, source, part):
    """Register for a part of a word, which takes what comes unless it is ``occupied`` and not ``ready``.

    A module, so that each part has an enable next to it: a wide word is spread over the chip, and the control waits for none.
    """

    @always(clk.posedge)
    def take():
        if ready or not occupied:
            part.next = source

    return take


@module
def part_of_slice(clk, occupied, ready, waiting, source, part):
    """The two registers of a ``register_slice`` for a part of a word."""
    waiting_part = like(part)

    @always(clk.posedge)
    def words():
        if not waiting:
            waiting_part.next = source
        if ready or not occupied:
            if waiting:
                part.next = waiting_part
            else:
                part.next = source

    return words


@block
def queue_pointers(clk, reset, write, read, write_address, read_address, not_full, filled, stays_free, depth):
    """Addresses in a queue of ``depth`` words, a power of two; whether there is room for a ``write`` and a word to ``read``.

    ``not_full`` and ``filled`` are registers, as the logic of both sides goes on behind them; ``stays_free`` is what
    ``not_full`` will be in the next cycle.
    """
    # One bit more than an address: equal means empty, equal but for the top bit means full.
    address_width = depth.bit_length() - 1
    write_pointer, read_pointer, next_write, next_read = (Signal(modbv(0)[address_width + 1:]) for _ in range(4))

    @always_comb
    def addresses():
        next_write.next = write_pointer + 1
        next_read.next = read_pointer + 1
        write_address.next = write_pointer[address_width:]
        read_address.next = read_pointer[address_width:]

    @always_comb
    def room():
        stays_free.next = not_full
        if write and not read:
            stays_free.next = (next_write ^ read_pointer) != depth
        elif read and not write:
            stays_free.next = True

    @always(clk.posedge)
    def pointers():
        if reset:
            write_pointer.next = 0
            read_pointer.next = 0
            not_full.next = True
            filled.next = False
        else:
            if write:
                write_pointer.next = next_write
            if read:
                read_pointer.next = next_read
            not_full.next = stays_free
            if write and not read:
                filled.next = True
            elif read and not write:
                filled.next = next_read != write_pointer

    return addresses, room, pointers


@block
def fifo_control(clk, reset, inp, out, write_address, read_address, not_full, occupied, depth):
    """What a ``fifo`` does without its words."""
    write_enable, read_enable = Signal(False), Signal(False)
    filled, stays_free = Signal(False), Signal(True)

    @always_comb
    def enables():
        write_enable.next = inp.valid and not_full
        read_enable.next = filled and (out.ready or not occupied)

    pointers = queue_pointers(
        clk, reset, write_enable, read_enable, write_address, read_address, not_full, filled, stays_free, depth
    )

    @always(clk.posedge)
    def occupancy():
        if reset:
            occupied.next = False
        elif read_enable:
            occupied.next = True
        elif out.ready:
            occupied.next = False

    @always_comb
    def handshake():
        inp.ready.next = not_full
        out.valid.next = occupied

    return enables, pointers, occupancy, handshake


@module
def part_behind(clk, write_enable, write_address, source, occupied, ready, read_address, part, depth):
    """A part of a ``spread_fifo``, with registers of its own for what the control says."""
    takes, address, read_part = Signal(False), like(read_address), like(part)

    @always(clk.posedge)
    def control():
        takes.next = ready or not occupied
        address.next = read_address

    memory = distributed_ram(clk, write_enable, write_address, source, address, read_part, depth=depth)
    return control, memory, held(clk, takes, read_part, part)


@block
def spread_fifo(clk, reset, inp, inp_parts, out, out_parts, depth):
    """A ``fifo`` for words that lie all over the chip: ``out_parts`` are a cycle behind ``out``, those of the item on offer in the
    cycle before.

    inp, out: streams, of which nothing but the handshake counts. inp_parts, out_parts: what lies together, unsigned.
    """
    address_width = depth.bit_length() - 1
    write_address, read_address = (Signal(intbv(0)[address_width:]) for _ in range(2))
    not_full, occupied = Signal(True), Signal(False)

    control = fifo_control(clk, reset, inp, out, write_address, read_address, not_full, occupied, depth)
    # A word that is read is still there a cycle later, even if its place is written in that cycle.
    parts = [
        part_behind(clk, not_full, write_address, source, occupied, out.ready, read_address, part, depth)
        for source, part in zip(inp_parts, out_parts, strict=True)
    ]
    return control, parts


@module
def fifo(clk, reset, inp, out, depth):
    """First in, first out, over distributed RAM.

    Holds ``depth`` items (a power of two) and one more in the output register.  An item appears at ``out`` two cycles
    after it was taken from ``inp``, and one item can go through every cycle.
    """
    assert depth >= 2 and depth & (depth - 1) == 0, "depth: a power of two"
    inp_word = pack(inp)
    read_word = Signal(intbv(0)[word_width(inp):])
    out_word = Signal(intbv(0)[word_width(inp):])
    out_parts = part_signals(len(out_word))

    address_width = depth.bit_length() - 1
    write_address = Signal(intbv(0)[address_width:])
    read_address = Signal(intbv(0)[address_width:])
    not_full, occupied = Signal(True), Signal(False)

    control = fifo_control(clk, reset, inp, out, write_address, read_address, not_full, occupied, depth)
    # The next free place follows the input, and not only with `write_enable`: a whole word waits for this.
    memory = distributed_ram(clk, not_full, write_address, inp_word, read_address, read_word, depth=depth)

    # Not only with `read_enable`: many flip-flops wait for this.
    output_register = [
        part_register(clk, occupied, out.ready, source, part) for source, part in zip(parts_of(read_word), out_parts)
    ]
    return (
        control, memory, output_register, join_parts(out_parts, out_word), unpack(out_word, out),
    )  # fmt: skip


@module
def register_slice(clk, reset, inp, out, readies=None):
    """Two registers that cut a stream: all outputs come from registers, one item a cycle, one cycle of latency.

    readies: the same as ``out.ready``, for each part of the word, if they have logic of their own.
    """
    inp_word = Signal(intbv(0)[word_width(inp):])
    out_word = Signal(intbv(0)[word_width(inp):])
    out_parts = part_signals(len(out_word))
    occupied = Signal(False)
    waiting = Signal(False)             # a second item is held: out was stalled when it came
    accepting = Signal(True)            # not so: a register for the other side, as a whole word waits for `waiting`

    @always(clk.posedge)
    def control():
        if reset:
            occupied.next = False
            waiting.next = False
            accepting.next = True
        elif out.ready or not occupied:
            occupied.next = waiting or inp.valid
            waiting.next = False
            accepting.next = True
        elif inp.valid:
            waiting.next = True
            accepting.next = False

    words = [
        part_of_slice(clk, occupied, ready, waiting, source, part)
        for source, part, ready in zip(parts_of(inp_word), out_parts, readies or [out.ready] * len(out_parts), strict=True)
    ]

    @always_comb
    def handshake():
        inp.ready.next = accepting
        out.valid.next = occupied

    return (
        wire(pack(inp), inp_word), control, words, join_parts(out_parts, out_word), handshake, unpack(out_word, out),
    )  # fmt: skip


@block
def half_slice(clk, reset, inp, out):
    """One register that cuts a stream: all outputs come from registers, an item every second cycle, one cycle of latency.

    ``out`` may have some of the fields of ``inp`` only.
    """
    occupied, free = Signal(False), Signal(True)  # the same, for either side

    @always(clk.posedge)
    def control():
        if reset:
            occupied.next = False
            free.next = True
        elif free:
            occupied.next = inp.valid
            free.next = not inp.valid
        elif out.ready:
            occupied.next = False
            free.next = True

    @always_comb
    def handshake():
        inp.ready.next = free
        out.valid.next = occupied

    fields = [held(clk, free, getattr(inp, name), getattr(out, name)) for name in out.fields]
    return control, handshake, fields
