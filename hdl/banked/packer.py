"""Words of a query's bitmap to the lanes' index queues (docs/banked.md, "lanes' index queues")."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv

from golden.config import clog2
from hdl.banked.interfaces import address_bits, slot_bits
from hdl.choose import choose
from hdl.hierarchy import module


@block
def _any_key(bits, flag):
    @always_comb
    def any_key():
        flag.next = bits != 0

    return any_key


@module
def packer(clk, reset, words, slot, key_set, enable, taken, fills, push, entry, counted, finished, config):
    """One group of N neighbouring keys a cycle: the key of group g in lane j is number w * (W / N) + g of that lane.

    Groups without keys take no time. G groups of a word take G + 1 cycles; a word without keys takes 2. From a word to
    its first push: 4 cycles. All stands still while a lane that gets a key has a full queue.

    Args:
        words: `words_stream`.
        slot, key_set: of the query that the next word belongs to.
        enable: that query may be packed. taken: its last word is taken in this cycle.
        fills, push, entry: index queues of the lanes: bits (no push there in the next cycle), bits, `KeyIndex` (the same
            for all lanes).
        counted: `Event` with `count`: so many keys of the slot were pushed in the cycle before.
        finished: with the count: this was the query's end.
    """
    lanes = config.lanes
    groups = config.tile_keys // lanes
    group_bits = address_bits(groups)
    index_shift = clog2(groups)

    held, held_last = Signal(False), Signal(False)
    held_bits = Signal(intbv(0)[config.tile_keys :])
    held_index = Signal(intbv(0)[len(words.index) :])
    held_slot, group_slot = (Signal(intbv(0)[slot_bits(config) :]) for _ in range(2))
    held_set, group_set = Signal(False), Signal(False)
    flags = [Signal(False) for _ in range(groups)]  # of the word that is offered
    word_flags = ConcatSignal(*reversed(flags))
    left, left_after = (Signal(intbv(0)[groups:]) for _ in range(2))
    lowest, group = Signal(intbv(0)[group_bits:]), Signal(intbv(0)[group_bits:])
    group_index = Signal(intbv(0)[len(words.index) :])
    group_keys, pushed = Signal(intbv(0)[lanes:]), Signal(intbv(0)[lanes:])
    group_valid, group_last, pushed_valid, pushed_last = (Signal(False) for _ in range(4))
    last_group, stall, ready, accept = (Signal(False) for _ in range(4))

    any_keys = [_any_key(words.word((g + 1) * lanes, g * lanes), flags[g]) for g in range(groups)]

    @always_comb
    def handshake():
        ready.next = enable and not held and not stall
        accept.next = words.valid and ready
        words.ready.next = ready
        taken.next = words.valid and ready and words.last

    @always_comb
    def lowest_group():
        lowest.next = 0
        for g in range(groups):
            if left[groups - 1 - g]:
                lowest.next = groups - 1 - g

    @always_comb
    def groups_left():
        left_after.next = 0
        if left != 0:
            left_after.next = left & (left - 1)

    @always_comb
    def last_of_word():
        last_group.next = left_after == 0

    @always(clk.posedge)
    def word():
        if not held and not stall:  # and not only with `accept`: many flip-flops wait for this
            held_bits.next = words.word
            held_index.next = words.index
            held_last.next = words.last
            held_slot.next = slot
            held_set.next = key_set

    @always(clk.posedge)
    def word_control():
        if reset:
            held.next = False
            group_valid.next = False
            pushed_valid.next = False
            pushed.next = 0
        elif not stall:
            if accept:
                held.next = True
            elif held:
                held.next = not last_group
            group_valid.next = held
            pushed_valid.next = group_valid
            if group_valid:
                pushed.next = group_keys
            else:
                pushed.next = 0

    # In a register, as everything in here waits for it.
    @always(clk.posedge)
    def stalls():
        if reset:
            stall.next = False
        elif stall:
            stall.next = (pushed & fills) != 0
        else:
            stall.next = group_valid and (group_keys & fills) != 0

    @always(clk.posedge)
    def groups_of_word():
        if not stall:
            left.next = left_after
            if not held:
                left.next = word_flags

    @always(clk.posedge)
    def group_stage():
        if not stall:
            group.next = lowest
            group_last.next = held_last and last_group
            group_slot.next = held_slot
            group_set.next = held_set
            group_index.next = held_index

    keys = choose([held_bits((g + 1) * lanes, g * lanes) for g in range(groups)], group, group_keys)

    @always(clk.posedge)
    def push_stage():
        if not stall:
            pushed_last.next = group_last
            entry.slot.next = group_slot
            entry.key_set.next = group_set
            entry.key.next = (group_index << index_shift) | group

    @always_comb
    def pushes():
        push.next = 0
        if not stall:
            push.next = pushed

    @always(clk.posedge)
    def count():
        counted.slot.next = entry.slot
        if reset or stall or not pushed_valid:
            counted.active.next = False
            finished.next = False
        else:
            counted.active.next = True
            finished.next = pushed_last
        total = intbv(0, min=0, max=lanes + 1)
        total[:] = 0
        for lane in range(lanes):
            if pushed[lane]:
                total[:] = total + 1
        counted.count.next = total

    return (
        any_keys, handshake, lowest_group, groups_left, last_of_word, word, word_control, stalls, groups_of_word, group_stage,
        keys, push_stage, pushes, count,
    )  # fmt: skip
