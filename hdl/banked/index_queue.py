"""A lane's index queue: which keys of which queries it has still to score."""

from myhdl import Signal, always, always_comb, concat, intbv, modbv

from golden.config import clog2
from hdl.banked.interfaces import slot_bits
from hdl.hierarchy import module
from hdl.memory import distributed_ram

QUEUE_DEPTH = 16


@module
def index_queue(clk, reset, push, entry, pop, head, full, config):
    """First in, first out, over distributed RAM; an entry is at the head two cycles after its `push`.

    push, entry: writes the `KeyIndex` `entry`; not while `full`.
    pop, head: removes the head, a `Record`, which is `active` unless the queue is empty.
    """
    pointer_bits = clog2(QUEUE_DEPTH)
    key_bits = len(entry.key)
    width = key_bits + 1 + slot_bits(config)
    top = key_bits + 1

    write_pointer, read_pointer = Signal(modbv(0)[pointer_bits + 1 :]), Signal(modbv(0)[pointer_bits + 1 :])
    write_address, read_address = Signal(intbv(0)[pointer_bits:]), Signal(intbv(0)[pointer_bits:])
    written, read = Signal(intbv(0)[width:]), Signal(intbv(0)[width:])
    next_write, next_read = (Signal(modbv(0)[pointer_bits + 1 :]) for _ in range(2))
    is_full, occupied = Signal(False), Signal(False)

    @always_comb
    def entry_word():
        written.next = concat(entry.slot, entry.key_set, entry.key)
        write_address.next = write_pointer[pointer_bits:]
        read_address.next = read_pointer[pointer_bits:]
        next_write.next = write_pointer + 1
        next_read.next = read_pointer + 1

    memory = distributed_ram(clk, push, write_address, written, read_address, read, depth=QUEUE_DEPTH)

    @always(clk.posedge)
    def pointers():
        if reset:
            write_pointer.next = 0
            read_pointer.next = 0
            is_full.next = False
            occupied.next = False
        else:
            if push:
                write_pointer.next = next_write
            if pop:
                read_pointer.next = next_read
            if push and not pop:
                occupied.next = True
                is_full.next = (next_write ^ read_pointer) == QUEUE_DEPTH
            elif pop and not push:
                occupied.next = next_read != write_pointer
                is_full.next = False

    @always_comb
    def levels():
        full.next = is_full
        head.active.next = occupied

    @always_comb
    def head_entry():
        head.slot.next = read[width:top]
        head.key_set.next = read[key_bits]
        head.key.next = read[key_bits:]

    return entry_word, memory, pointers, levels, head_entry
