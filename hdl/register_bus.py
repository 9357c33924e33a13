"""From AXI4-Lite to the fields of a register map, and back."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, instances, intbv

from golden.config import clog2
from golden.registers import REGISTER_MAP, WORD_BITS, WORD_BYTES
from hdl.hierarchy import module

OKAY, SLVERR = 0, 2

BYTE_BITS = clog2(WORD_BYTES)
WORD_ADDRESS_BITS = REGISTER_MAP.address_bits - BYTE_BITS

# Registers whose words are gathered by `shown_word`; counters have a port of their own.
WORD_REGISTERS = tuple(register for register in REGISTER_MAP if "." not in register.path)


def word_address(register):
    return register.address >> BYTE_BITS


def _by_word_address(number):
    """A table over all word addresses: `number(register)`, and 0 where there is no register."""
    table = [0] * (1 << WORD_ADDRESS_BITS)
    for register in REGISTER_MAP:
        table[word_address(register)] = int(number(register))
    return tuple(table)


def _counter_index(register):
    return 0 if register in WORD_REGISTERS else REGISTER_MAP.counters.index(register.path.partition(".")[0])


class Write:
    """A write as fields see it: while `enable`, `data` goes to the word at `address`, byte by byte as `strobe` says."""

    def __init__(self):
        self.enable = Signal(False)
        self.address = Signal(intbv(0)[WORD_ADDRESS_BITS:])
        self.data = Signal(intbv(0)[WORD_BITS:])
        self.strobe = Signal(intbv(0)[WORD_BYTES:])


# Fields ------------------------------------------------------------------------------------------------------------


@block
def stored_field(clk, reset, write, value, address, lsb, initial):
    """A field that keeps what software writes."""
    width = len(value)

    @always(clk.posedge)
    def store():
        if reset:
            value.next = initial
        elif write.enable and write.address == address:
            for i in range(width):
                if write.strobe[(lsb + i) // 8]:
                    value.next[i] = write.data[lsb + i]

    return store


@block
def pulse_field(clk, reset, write, pulse, address, lsb):
    """A bit that lasts one cycle when software writes 1."""
    byte = lsb // 8

    @always(clk.posedge)
    def drive():
        pulse.next = False
        if write.enable and write.address == address and write.strobe[byte]:
            pulse.next = write.data[lsb] and not reset

    return drive


@block
def cleared_field(clk, reset, write, clear, address, lsb):
    """One cycle of `clear` when software writes the byte that starts the field, whatever the value."""
    byte = lsb // 8

    @always(clk.posedge)
    def drive():
        clear.next = write.enable and write.address == address and write.strobe[byte] and not reset

    return drive


def word_pieces(fields):
    """A word for `shown_word` out of its fields: (lsb, width, a signal or a number). Numbers and signals don't mix."""
    if all(isinstance(value, int) for _, _, value in fields):
        return sum(value << lsb for lsb, _, value in fields)
    pieces, end = [], WORD_BITS
    for lsb, width, value in sorted(fields, key=lambda field: -field[0]):
        if lsb + width < end:
            pieces.append("0" * (end - lsb - width))
        pieces.append(value)
        end = lsb
    return pieces + ["0" * end] * (end > 0)


@block
def shown_word(clk, read_address, address, pieces, before, after):
    """`after` is `before`, or, one cycle after `read_address` is `address`, this word on top of it.

    Comparators, as a table of one bit a word would become a block RAM.

    Args:
        pieces: the word: a number, or signals and strings of zeros, most significant first.
    """
    if isinstance(pieces, int):
        word = pieces
    elif len(pieces) == 1:
        word = pieces[0]
    else:
        word = ConcatSignal(*pieces)

    selected = Signal(False)

    @always(clk.posedge)
    def select():
        selected.next = read_address == address

    @always_comb
    def merge():
        if selected:
            after.next = before | word
        else:
            after.next = before

    return select, merge


# Channels ----------------------------------------------------------------------------------------------------------


@module
def write_channel(clk, reset, axi, write, bad_address):
    """AW, W and B: address and data in either order, one write at a time, at least four cycles each.

    `write.enable`, or one cycle later `bad_address` (no register, or none that software can write), lasts one cycle.
    """
    writable = _by_word_address(lambda register: register.writable)
    byte_bits, word_end = BYTE_BITS, REGISTER_MAP.address_bits

    address = Signal(intbv(0)[len(axi.awaddr) :])
    have_address, have_data, both, known, good = (Signal(False) for _ in range(5))

    @always(clk.posedge)
    def take_address():
        if axi.awvalid and axi.awready:
            axi.awready.next = False
            have_address.next = True
            address.next = axi.awaddr
        elif both:
            have_address.next = False
        else:
            axi.awready.next = not have_address and not axi.bvalid
        if reset:
            axi.awready.next = False
            have_address.next = False

    @always(clk.posedge)
    def take_data():
        if axi.wvalid and axi.wready:
            axi.wready.next = False
            have_data.next = True
            write.data.next = axi.wdata
            write.strobe.next = axi.wstrb
        elif both:
            have_data.next = False
        else:
            axi.wready.next = not have_data and not axi.bvalid
        if reset:
            axi.wready.next = False
            have_data.next = False

    @always_comb
    def slice_address():
        write.address.next = address[word_end:byte_bits]
        both.next = have_address and have_data

    @always_comb
    def look_up():
        known.next = writable[write.address]

    @always_comb
    def decide():
        good.next = known and (address >> word_end) == 0

    @always_comb
    def let_through():
        write.enable.next = both and good

    @always(clk.posedge)
    def respond():
        if both:
            axi.bvalid.next = True
            axi.bresp.next = OKAY if good else SLVERR
        elif axi.bready:
            axi.bvalid.next = False
        bad_address.next = both and not good and not reset
        if reset:
            axi.bvalid.next = False

    return instances()


@module
def read_channel(clk, reset, axi, word, shown, counter, bad_address):
    """AR and R: one read at a time, at least four cycles each; a counter takes as long as `counter` does.

    Args:
        word: the word address; `shown` is what that register shows, one cycle later.
        counter: `hdl.counters.CounterRead`.
        bad_address: one cycle (no register, or none that software can read).
    """
    readable = _by_word_address(lambda register: register.readable)
    of_counter = _by_word_address(lambda register: register not in WORD_REGISTERS)
    of_high = _by_word_address(lambda register: register.path.endswith(".HI"))
    counter_indexes = _by_word_address(_counter_index)
    byte_bits, word_end = BYTE_BITS, REGISTER_MAP.address_bits

    address = Signal(intbv(0)[len(axi.araddr) :])
    have_address, decoded, inside, known, is_counter, respond = (Signal(False) for _ in range(6))

    @always(clk.posedge)
    def take_address():
        if axi.arvalid and axi.arready:
            axi.arready.next = False
            address.next = axi.araddr
        else:
            axi.arready.next = not have_address and not decoded and not axi.rvalid
        have_address.next = axi.arvalid and axi.arready
        if reset:
            axi.arready.next = False
            have_address.next = False

    @always_comb
    def slice_address():
        word.next = address[word_end:byte_bits]

    @always(clk.posedge)
    def decode():
        known.next = readable[word]
        is_counter.next = of_counter[word]
        counter.high.next = of_high[word]
        counter.index.next = counter_indexes[word]
        inside.next = (address >> word_end) == 0
        if have_address:
            decoded.next = True
        elif respond:
            decoded.next = False
        if reset:
            decoded.next = False

    @always_comb
    def ask_counter():
        counter.request.next = decoded and inside and is_counter

    @always_comb
    def decide():
        respond.next = decoded and (not counter.request or counter.done)

    @always(clk.posedge)
    def drive():
        if respond:
            axi.rvalid.next = True
            if not known or not inside:
                axi.rdata.next = 0
                axi.rresp.next = SLVERR
            elif counter.request:
                axi.rdata.next = counter.value
                axi.rresp.next = OKAY
            else:
                axi.rdata.next = shown
                axi.rresp.next = OKAY
        elif axi.rready:
            axi.rvalid.next = False
        bad_address.next = respond and not (known and inside) and not reset
        if reset:
            axi.rvalid.next = False

    return instances()
