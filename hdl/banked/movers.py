"""The movers: finished rows out of the clusters' row buffers into the ring.

Each mover takes whole rows from its own clusters. A row's words go to the ring's banks in turn, and each mover has its
turn at each bank: with two of them, in cycle t mover p writes bank (p + t) mod 2. So a bank has one write port only, and
only one row can be complete in a cycle.
"""

from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv, modbv

from golden.config import clog2
from hdl.banked.interfaces import address_bits, entry_bits, word_bits
from hdl.banked.raw_ring import ring_address_bits
from hdl.choose import choose
from hdl.delay import delayed, register, register_copy
from hdl.hierarchy import module
from hdl.wires import like, side_by_side


MOVED_CYCLES = 2
"""From the cycle in which a word is taken to that in which it is `Moved`."""


class Moved:
    """A word on its way: it goes to ``bank`` at {``entry``, ``place``}; ``last``: it is its row's last one."""

    def __init__(self, config):
        self.active = Signal(False)
        self.last = Signal(False)
        self.entry = Signal(intbv(0)[entry_bits(config) :])
        self.place = Signal(intbv(0)[clog2(config.slot_cycles // config.drain_rows) :])
        self.numerators = Signal(intbv(0)[config.lane_width * config.numerator_bits :])
        self.denominator = Signal(intbv(0)[config.denominator_bits :])


@module
def mover(clk, reset, turn, sums, moved, config):
    """Rows of some clusters, one after the other, a word a cycle; a row costs its words, if others wait, and three cycles, if not.

    turn: bank that words may go to in this cycle. sums: list of ``sums_stream``; a power of two of them, served round robin.
    moved: ``Moved``, MOVED_CYCLES after the word was taken.
    """
    clusters = len(sums)
    last_word = config.slot_cycles - 1
    banks = config.drain_rows
    bank_bits = clog2(banks)

    valids, readies = [stream.valid for stream in sums], [stream.ready for stream in sums]
    valid_bits, late_valid_bits, waiting = (Signal(intbv(0)[clusters:]) for _ in range(3))
    served = Signal(intbv(0)[address_bits(clusters) :])
    served_bit, next_served_bit = (Signal(intbv(1)[clusters:]) for _ in range(2))  # the same
    in_turn = Signal(intbv(0)[clusters:])  # ... if its word may go now: a register for the other side
    next_served = Signal(intbv(0)[address_bits(clusters) :])
    moving, next_moving = Signal(False), Signal(False)
    word, next_word = (Signal(modbv(0)[word_bits(config) :]) for _ in range(2))
    any_waits, transfer, row_ends, row_ended, late_reset = [Signal(False) for _ in range(5)]

    # Numerators lie far apart, a cycle behind: the cluster's number is in a register for each of them.
    served_now = like(served)  # from the next cycle on
    numerators = [Signal(intbv(0)[config.numerator_bits :]) for _ in range(config.lane_width)]
    moved_numerators = side_by_side(numerators)
    selections = []
    for place, numerator in enumerate(numerators):
        own_served, low = like(served), place * config.numerator_bits
        selections += [
            register_copy(clk, served, own_served),
            choose([s.numerators(low + config.numerator_bits, low) for s in sums], own_served, numerator),
        ]
    entry, place, denominator = like(moved.entry), like(moved.place), like(moved.denominator)
    selections += [
        choose([s.entry for s in sums], served, entry), choose([s.denominator for s in sums], served, denominator),
        register(clk, served_now, served),
    ]  # fmt: skip

    @always_comb
    def valid_streams():
        for i in range(clusters):
            valid_bits.next[i] = valids[i]

    @always_comb
    def candidates():
        # The cluster in hand shows its row's last word, and nothing of the next one; clusters are far away, and seen a cycle late.
        if moving or row_ended:
            waiting.next = late_valid_bits & ~served_bit
        else:
            waiting.next = late_valid_bits

    @always_comb
    def round_robin():
        any_waits.next = waiting != 0
        next_served.next = served
        for i in range(clusters):
            if waiting[(served + clusters - i) & (clusters - 1)]:
                next_served.next = (served + clusters - i) & (clusters - 1)

    @always_comb
    def transfers():
        transfer.next = in_turn != 0
        row_ends.next = in_turn != 0 and word == last_word

    @always(clk.posedge)
    def no_word_without_its_row():
        if __debug__:
            assert in_turn & ~valid_bits == 0, "a row's next word isn't there"

    @always_comb
    def handshake():
        for i in range(clusters):
            readies[i].next = in_turn[i]

    @always_comb
    def next_cluster():
        next_moving.next = moving
        next_served_bit.next = served_bit
        served_now.next = served
        if row_ends or not moving:
            next_moving.next = any_waits
            next_served_bit.next = 1 << next_served
            served_now.next = next_served
        if late_reset:
            served_now.next = 0

    @always_comb
    def next_bank():
        next_word.next = word
        if transfer:
            next_word.next = word + 1

    @always(clk.posedge)
    def row_in_hand():
        in_turn.next = 0
        if reset:
            moving.next = False
            served_bit.next = 1
            word.next = 0
        else:
            word.next = next_word
            moving.next = next_moving
            served_bit.next = next_served_bit
            if next_moving and (next_word & (banks - 1)) == ((turn + 1) & (banks - 1)):
                in_turn.next = next_served_bit

    @always(clk.posedge)
    def cycle_before():
        late_valid_bits.next = valid_bits
        row_ended.next = row_ends
        late_reset.next = reset

    @always_comb
    def place_in_bank():
        place.next = word >> bank_bits

    moved_word = [
        delayed(clk, transfer, moved.active, MOVED_CYCLES, reset=reset),
        delayed(clk, row_ends, moved.last, MOVED_CYCLES, reset=reset),
        delayed(clk, place, moved.place, MOVED_CYCLES),
        delayed(clk, entry, moved.entry, MOVED_CYCLES),
        delayed(clk, denominator, moved.denominator, MOVED_CYCLES),
        register(clk, moved_numerators, moved.numerators),
    ]

    return (
        selections, valid_streams, candidates, round_robin, transfers, no_word_without_its_row, handshake, next_cluster, next_bank, row_in_hand,
        cycle_before, place_in_bank, moved_word,
    )  # fmt: skip


@block
def _to_bank(bank, turn, moved, completed, write, config):
    """The word of the mover whose turn at this bank it was; the last bank's words complete rows."""
    banks = config.drain_rows
    source = Signal(intbv(0)[max(1, clog2(banks)) :])
    words = [ConcatSignal(m.active, m.last, m.entry, m.place, m.numerators, m.denominator) for m in moved]
    width = len(words[0])
    word = Signal(intbv(0)[width:])
    denominator_end = config.denominator_bits
    address_end = denominator_end + config.lane_width * config.numerator_bits
    entry_end = address_end + len(moved[0].place)
    address_width = ring_address_bits(config)

    @always_comb
    def mover_in_turn():
        source.next = (bank + banks - turn) & (banks - 1)

    selection = choose(words, source, word)

    @always_comb
    def bank_write():
        write.enable.next = word[width - 1]
        write.address.next = word[address_end + address_width : address_end]
        write.data.next = word[address_end:denominator_end]

    @always_comb
    def complete_row():
        completed.active.next = word[width - 1] and word[width - 2]
        completed.entry.next = word[width - 2 : entry_end]
        completed.denominator.next = word[denominator_end:]

    return mover_in_turn, selection, bank_write, complete_row if bank == banks - 1 else ()


@module
def movers(clk, reset, sums, writes, completed, config):
    """All movers: ``drain_rows`` of them, mover p takes the rows of the clusters c with c mod ``drain_rows`` = p.

    sums: list of ``sums_stream``, one a cluster. writes: list of ``RingWrite``, one a bank; completed: ``RowComplete``; both
    MOVED_CYCLES after a word was taken.
    """
    count = config.drain_rows
    turn_of_moved = Signal(modbv(0)[max(1, clog2(count)) :])
    turns = [Signal(modbv(0)[max(1, clog2(count)) :]) for _ in range(count)]
    moved = [Moved(config) for _ in range(count)]

    @always(clk.posedge)
    def rotation():
        if reset:
            for p in range(count):
                turns[p].next = p
        else:
            for p in range(count):
                turns[p].next = (turns[p] + 1) & (count - 1)

    late_turn = delayed(clk, turns[0], turn_of_moved, MOVED_CYCLES)

    all_movers = [mover(clk, reset, turns[p], sums[p::count], moved[p], config=config) for p in range(count)]
    banks = [_to_bank(bank, turn_of_moved, moved, completed, writes[bank], config) for bank in range(count)]
    return rotation, late_turn, all_movers, banks
