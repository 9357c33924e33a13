"""A lane's index queue: which keys of which queries it has still to score."""

from myhdl import Signal, always, always_comb, concat, intbv

from golden.config import clog2
from hdl.banked.interfaces import slot_bits
from hdl.fifo import queue_pointers
from hdl.hierarchy import module
from hdl.memory import distributed_ram

QUEUE_DEPTH = 16


@module
def index_queue(clk, reset, push, entry, pop, head, fills, config):
    """First in, first out, over distributed RAM; an entry is at the head two cycles after its `push`.

    push, entry: writes the `KeyIndex` `entry`; not in the cycle after `fills`, a register: one place is left at most.
    pop, head: removes the head, a `Record`, which is `active` unless the queue is empty.
    """
    pointer_bits = clog2(QUEUE_DEPTH)
    key_bits = len(entry.key)
    width = key_bits + 1 + slot_bits(config)
    top = key_bits + 1

    write_address, read_address = Signal(intbv(0)[pointer_bits:]), Signal(intbv(0)[pointer_bits:])
    written, read = Signal(intbv(0)[width:]), Signal(intbv(0)[width:])
    not_full, stays_free = Signal(True), Signal(True)  # unused: `fills` says it earlier
    free = Signal(intbv(QUEUE_DEPTH, min=0, max=QUEUE_DEPTH + 1))

    @always_comb
    def entry_word():
        written.next = concat(entry.slot, entry.key_set, entry.key)

    memory = distributed_ram(clk, push, write_address, written, read_address, read, depth=QUEUE_DEPTH)

    pointers = queue_pointers(
        clk, reset, push, pop, write_address, read_address, not_full, head.active, stays_free, depth=QUEUE_DEPTH
    )  # fmt: skip

    @always(clk.posedge)
    def room():
        if reset:
            free.next = QUEUE_DEPTH
            fills.next = False
        elif push and not pop:
            free.next = free - 1
            fills.next = free <= 2
        elif pop and not push:
            free.next = free + 1
            fills.next = free == 0

    @always_comb
    def head_entry():
        head.slot.next = read[width:top]
        head.key_set.next = read[key_bits]
        head.key.next = read[key_bits:]

    return entry_word, memory, pointers, room, head_entry
