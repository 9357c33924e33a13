"""The queries in flight in a cluster: which slot is free, filled, known, done.

Slots form a ring. A slot's way: header taken (`opening`) - Q row loaded (`loading`) - bitmap packed (`packing`) - all
scores made (known) - all values chosen (done): then it is free again (`release`), and only its sums remain, until they
drain. Queries are released and drained in the order in which they came.
"""

from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv, modbv

from golden.config import clog2
from hdl.add_gated import counter
from hdl.banked.interfaces import SUM_SLOTS, Event, slot_bits
from hdl.delay import cleared_register, register
from hdl.hierarchy import module
from hdl.memory import distributed_ram
from hdl.occupancy import any_left
from hdl.stream import Signed
from hdl.wires import like


@block
def _slot_counters(clk, reset, number, counted, finished, scored, taken, release, known, done, key_count_bits):
    """One slot: keys pushed that have no score yet, scores that have no value yet. All are zero in between queries."""
    unscored, unvalued = Signed(key_count_bits + 1).signal(), Signed(key_count_bits + 1).signal()
    packed = Signal(False)
    counted_here, scored_here, taken_here, release_here = (Signal(False) for _ in range(4))
    unscored_change, unvalued_change = Signed(len(counted.count) + 1).signal(), Signed(2).signal()

    @always_comb
    def here():
        counted_here.next = counted.active and counted.slot == number
        scored_here.next = scored.active and scored.slot == number
        taken_here.next = taken.active and taken.slot == number
        release_here.next = release.active and release.slot == number

    @always_comb
    def changes():
        if counted_here and scored_here:
            unscored_change.next = counted.count - 1
        elif counted_here:
            unscored_change.next = counted.count
        elif scored_here:
            unscored_change.next = -1
        else:
            unscored_change.next = 0
        if scored_here and not taken_here:
            unvalued_change.next = 1
        elif taken_here and not scored_here:
            unvalued_change.next = -1
        else:
            unvalued_change.next = 0

    @always(clk.posedge)
    def progress():
        if reset:
            packed.next = False
            known.next = False
            done.next = False
        else:
            if release_here:
                packed.next = False
            elif counted_here and finished:
                packed.next = True
            known.next = packed and unscored == 0 and not release_here
            done.next = known and unvalued == 0 and not release_here

    counters = counter(clk, reset, unscored_change, unscored), counter(clk, reset, unvalued_change, unvalued)
    return here, changes, progress, counters


@module
def slots(
    clk, reset, queries, open_, opening, loading, loadable, loaded, row_done, packing, packing_set, packable, packed,
    counted, finished, scored, taken, usable, key_sets, release, drainable, drained, drain_sum, drain_entry, room, config,
):  # fmt: skip
    """Ring of the queries in flight.

    Args:
        queries: headers; one is taken (`open_`, into the slot `opening`) in any cycle in which a slot is free.
        loading, loadable: slot whose row comes next; it has a header.
        loaded: its row is as good as loaded (it is before its first use). row_done: its last word is written.
        packing, packing_set: slot whose words come next, and its key set. packable: its row is loaded.
        packed: its last word is taken.
        counted, finished: keys pushed (`CountEvent`), with the last of a query.
        scored, taken: `Event`: a score goes to its memory, and three cycles later it is in the maximum; a score was chosen for its
            value in the cycle before.
        usable: bit for each slot: all scores are there, and there are sums for its values.
        key_sets: bit for each slot.
        release: `Event`: all its values are chosen; the slot is free again.
        drainable, drain_sum, drain_entry: a released query has its sums there, which are complete at the end of the value
            phase; its ring entry. drained: they are read.
        room: number of free slots.
    """
    pointer_bits = clog2(config.slots)
    width = slot_bits(config)
    entries = 1 << width
    ring_size = config.slots
    assert ring_size >= SUM_SLOTS

    open_pointer, load_pointer, pack_pointer, oldest_pointer, drain_pointer = (
        Signal(modbv(0)[pointer_bits + 1 :]) for _ in range(5)
    )
    first_window = (1 << SUM_SLOTS) - 1
    window, released_bit, drained_bit = (Signal(intbv(value)[ring_size:]) for value in (first_window, 0, 0))
    oldest, entering = (Signal(intbv(0)[width:]) for _ in range(2))
    opening_entry, draining_entry = (Signal(intbv(0)[pointer_bits + 1 :]) for _ in range(2))
    released_sums = Signal(intbv(0, min=0, max=SUM_SLOTS + 1))  # of queries that have no slot any more
    sum_bits = clog2(SUM_SLOTS)
    in_flight = Signal(intbv(0, min=0, max=ring_size + 1))
    # `open_` once more, for what is here: the memories of the headers are far away.
    can_open, open_here = Signal(True), Signal(False)
    counted_score = Event(config)  # `scored` a cycle later: it comes from far away, and isn't in the maximum sooner
    knowns, dones = [Signal(False) for _ in range(ring_size)], [Signal(False) for _ in range(ring_size)]
    known_bits, done_bits = ConcatSignal(*reversed(knowns)), ConcatSignal(*reversed(dones))

    @always_comb
    def header():
        queries.ready.next = in_flight != ring_size
        open_.next = queries.valid and in_flight != ring_size
        open_here.next = queries.valid and can_open
        room.next = ring_size - in_flight

    @always(clk.posedge)
    def pointers():
        if reset:
            open_pointer.next = 0
            load_pointer.next = 0
            pack_pointer.next = 0
            oldest_pointer.next = 0
            drain_pointer.next = 0
            released_sums.next = 0
            in_flight.next = 0
            can_open.next = True
        else:
            if open_here:
                open_pointer.next = open_pointer + 1
            if row_done:
                load_pointer.next = load_pointer + 1
            if packed:
                pack_pointer.next = pack_pointer + 1
            if release.active:
                oldest_pointer.next = oldest_pointer + 1
            if drained:
                drain_pointer.next = drain_pointer + 1
            if release.active and not drained:
                released_sums.next = released_sums + 1
            elif drained and not release.active:
                released_sums.next = released_sums - 1
            if open_here and not release.active:
                in_flight.next = in_flight + 1
                can_open.next = in_flight != ring_size - 1
            elif release.active and not open_here:
                in_flight.next = in_flight - 1
                can_open.next = True

    @always_comb
    def slot_numbers():
        opening.next = open_pointer[pointer_bits:]
        loading.next = load_pointer[pointer_bits:]
        packing.next = pack_pointer[pointer_bits:]
        oldest.next = oldest_pointer[pointer_bits:]
        entering.next = (drain_pointer + SUM_SLOTS) & (ring_size - 1)
        opening_entry.next = open_pointer
        draining_entry.next = drain_pointer
        drain_sum.next = drain_pointer[sum_bits:]

    @always_comb
    def changes_of_window():
        released_bit.next = 0
        if release.active:
            released_bit.next = 1 << oldest
        drained_bit.next = 0
        if drained:
            drained_bit.next = 1 << entering

    # The slots from the oldest one on whose queries have sums: SUM_SLOTS queries from the oldest one that hasn't drained.
    @always(clk.posedge)
    def window_of_sums():
        if reset:
            window.next = first_window
        else:
            window.next = (window & ~released_bit) | drained_bit

    # A cycle later, as headers come from far away; the key set is needed when the row is there.
    opened, opened_slot, opened_set = Signal(False), like(opening), Signal(False)

    @always(clk.posedge)
    def header_taken():
        opened.next = open_
        opened_slot.next = opening
        opened_set.next = queries.key_set

    @always(clk.posedge)
    def set_of_slot():
        if opened:
            for slot in range(entries):  # (an index would become arithmetic of 28 bits)
                if opened_slot == slot:
                    key_sets.next[slot] = opened_set

    @always_comb
    def flags():
        packing_set.next = key_sets[packing]
        usable.next = known_bits & window
        release.active.next = done_bits[oldest] and released_sums != SUM_SLOTS
        release.slot.next = oldest

    # Registers, as much waits for them.
    waiting = [
        any_left(clk, reset, open_here, row_done, loadable, ring_size),
        any_left(clk, reset, loaded, packed, packable, ring_size),
        any_left(clk, reset, release.active, drained, drainable, SUM_SLOTS),
    ]
    entry_of_slot = distributed_ram(
        clk, open_, opening_entry, queries.entry, draining_entry, drain_entry, depth=2 * entries
    )  # fmt: skip
    score_registers = [
        cleared_register(clk, reset, scored.active, counted_score.active),
        register(clk, scored.slot, counted_score.slot),
    ]
    counters = [
        _slot_counters(
            clk, reset, number, counted, finished, counted_score, taken, release, knowns[number], dones[number],
            config.key_count_bits,
        )
        for number in range(ring_size)
    ]  # fmt: skip
    return (
        header, pointers, slot_numbers, changes_of_window, window_of_sums, header_taken, set_of_slot, flags, waiting,
        entry_of_slot, score_registers, counters,
    )  # fmt: skip
