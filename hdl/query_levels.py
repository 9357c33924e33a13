"""Queries of the predictor: a ring of whole groups in block RAM, and the two groups in hand beside the cells.

A group is multiplied with every chunk, so that the same few words are read again and again; only these are kept in
memories of their own for each query:

    beats ──▶ ring ──▶ steps of a beat, each a cycle later ──▶ choice for each class ──▶ two groups ──▶ operands

A beat holds S steps, but a query's memory takes one a cycle. So S queries are brought over side by side, one beat a
cycle, and step s of a beat waits s cycles: in each cycle every class of queries (number modulo S) gets another step.
"""

from myhdl import ConcatSignal, Signal, always, always_comb, intbv

from golden.config import clog2
from hdl.choose import choose_a_cycle_later
from hdl.delay import delayed, register_copy, stream_register
from hdl.fifo import fifo, half_slice
from hdl.hierarchy import module
from hdl.memory import distributed_ram, ram
from hdl.wires import like

_TAP_CYCLES = 2  # from an address of the ring to step 0 of its beat: memory, register
_WRITE_CYCLES = _TAP_CYCLES + 1  # ... and to where it is written
_READ_STAGES = 3  # registers of the address in front of a query's memory; a fourth one is behind it


def beat_steps(config):
    """Steps in a beat of levels."""
    return config.stream_bytes // config.predict_width


def query_sets(config):
    """Of a group: queries that are fetched side by side."""
    return -(-config.predict_queries // beat_steps(config))


def query_places(config):
    """Places of a group in the ring."""
    return 1 << clog2(query_sets(config) * beat_steps(config))


@module
def query_memory(clk, valid, set_number, write_address, write_word, read_address, levels, exponent, number, depth):
    """The steps of one query in the two groups in hand; it takes those of set ``number``. From ``read_address`` to the
    operands: one cycle. ``levels``: a list of copies."""
    enable = Signal(False)
    word = Signal(intbv(0)[len(write_word) :])
    level_bits = len(levels[0])
    word_levels = word(level_bits, 0)

    @always_comb
    def ours():
        enable.next = valid and set_number == number

    @always(clk.posedge)
    def operands():
        exponent.next = word >> level_bits

    memory = distributed_ram(clk, enable, write_address, write_word, read_address, word, depth=depth)
    return ours, operands, memory, [register_copy(clk, word_levels, copy) for copy in levels]


@module
def query_levels(clk, reset, write_enable, write_address, write_word, marked, groups, fetched, read, operands, config):
    """Takes beats of queries, and gives complete groups, oldest first, step by step.

    ``write_address``: {group of the ring, query, beat}; ``write_word``: exponent above the levels. ``marked``: a group
    is complete (``valid`` alone: the ring has room for it). ``fetched``: pulse, the oldest group's place in the ring is
    free. ``groups``: groups that can be read; a group can when it is in ``groups``, until ``read.group_done``.
    ``operands``: of ``read``, four cycles later.

    A group takes queries * row_beats + 3 cycles (the queries rounded up to a multiple of the steps of a beat), so it
    is about as fast as the stream that brings it.
    """
    steps, beats, queries = beat_steps(config), config.row_beats, config.predict_queries
    places, sets = query_places(config), query_sets(config)
    width = config.predict_width * config.prediction_bits
    level_bits = steps * width
    word_bits = width + config.exponent_bits
    depth = 2 * beats * steps
    ring_size = (1 << len(write_address)) // (places * beats)

    # Which beat is fetched: `position` in its set of queries, which is also the step that goes to the first class.
    late_mark, waiting, in_hand, complete = (marked.like() for _ in range(4))
    marks = [
        stream_register(clk, reset, marked, late_mark),
        fifo(clk, reset, late_mark, waiting, depth=ring_size),
        half_slice(clk, reset, waiting, in_hand),
    ]
    fetching, fetch_last, begin = [Signal(False) for _ in range(3)]
    slot = Signal(False)
    free_slots = Signal(intbv(2, min=0, max=3))
    group = Signal(intbv(0)[clog2(ring_size) :])
    set_number = Signal(intbv(0)[max(1, clog2(sets)) :])
    beat = Signal(intbv(0)[max(1, clog2(beats)) :])
    position = Signal(intbv(0)[max(1, clog2(steps)) :])
    fetch_address = Signal(intbv(0)[len(write_address) :])

    @always_comb
    def ends():
        fetch_last.next = fetching and position == steps - 1 and beat == beats - 1 and set_number == sets - 1
        begin.next = in_hand.valid and free_slots != 0 and not fetching and not fetched

    @always_comb
    def pop():
        in_hand.ready.next = fetched

    @always(clk.posedge)
    def control():
        if reset:
            fetching.next = False
            fetched.next = False
            slot.next = True
            free_slots.next = 2
            group.next = 0
        else:
            fetched.next = fetch_last
            if begin:
                fetching.next = True
                slot.next = not slot
            elif fetch_last:
                fetching.next = False
                group.next = (group + 1) % ring_size
            if begin and not read.group_done:
                free_slots.next = free_slots - 1
            elif read.group_done and not begin:
                free_slots.next = free_slots + 1

    @always(clk.posedge)
    def place():
        if not fetching:
            position.next = 0
            beat.next = 0
            set_number.next = 0
        elif position != steps - 1:
            position.next = position + 1
        else:
            position.next = 0
            if beat != beats - 1:
                beat.next = beat + 1
            else:
                beat.next = 0
                if set_number != sets - 1:
                    set_number.next = set_number + 1
                else:
                    set_number.next = 0

    @always_comb
    def address():
        fetch_address.next = ((group * places) + (set_number * steps) + position) * beats + beat

    beat_word = Signal(intbv(0)[len(write_word) :])
    ring = ram(
        clk, write_enable, write_address, write_word, fetch_address, beat_word, depth=1 << len(write_address)
    )  # fmt: skip

    # Step s of a beat, s cycles late, under the exponent of its row.
    taps = [Signal(intbv(0)[word_bits:]) for _ in range(steps)]
    exponent = beat_word(len(write_word), level_bits)
    skew = [
        delayed(clk, ConcatSignal(exponent, beat_word((i + 1) * width, i * width)), taps[i], 1 + i)
        for i in range(steps)
    ]

    # What is written: the counters above, later by the way to the first class, and by one more for each further class.
    slot_address = Signal(intbv(0)[clog2(depth) :])

    @always_comb
    def first_class():
        slot_address.next = (slot * beats + beat) * steps + position

    parts, class_words, class_writes = [], [], []
    tap = like(position)
    valid, late_address, late_set = (
        Signal(False), Signal(intbv(0)[len(slot_address) :]), Signal(intbv(0)[len(set_number) :])
    )  # fmt: skip
    parts += [
        delayed(clk, position, tap, _TAP_CYCLES),
        delayed(clk, fetching, valid, _WRITE_CYCLES, reset),
        delayed(clk, slot_address, late_address, _WRITE_CYCLES),
        delayed(clk, set_number, late_set, _WRITE_CYCLES),
    ]
    for number in range(min(steps, queries)):
        if number:
            early, tap = tap, like(position)
            earlier = valid, late_address, late_set
            valid, late_address, late_set = (
                Signal(False), Signal(intbv(0)[len(slot_address) :]), Signal(intbv(0)[len(set_number) :])
            )  # fmt: skip
            parts += [
                delayed(clk, early, tap, 1),
                delayed(clk, earlier[0], valid, 1, reset),
                delayed(clk, earlier[1], late_address, 1),
                delayed(clk, earlier[2], late_set, 1),
            ]
        class_words.append(Signal(intbv(0)[word_bits:]))
        class_writes.append((valid, late_set, late_address, class_words[-1]))
        parts.append(choose_a_cycle_later(clk, taps, tap, class_words[-1]))

    # The groups in hand.
    read_address = Signal(intbv(0)[len(slot_address) :])

    @always_comb
    def read_place():
        read_address.next = (read.slot * beats * steps) + read.step % (beats * steps)

    memories = []
    for query in range(queries):
        own_address = Signal(intbv(0)[len(slot_address) :])
        memories += [
            delayed(clk, read_address, own_address, _READ_STAGES),
            query_memory(
                clk, *class_writes[query % steps], own_address, operands.query_levels[query],
                operands.query_exponents[query], query // steps, depth,
            ),
        ]  # fmt: skip

    # The first read comes to a query's memory after the last write to it. Never full: it is two groups at most.
    @always(clk.posedge)
    def last_fetched():
        if fetched:
            complete.count.next = in_hand.count
            complete.head_last.next = in_hand.head_last

    parts.append(delayed(clk, fetch_last, complete.valid, max(2, steps - 1), reset))
    queue = fifo(clk, reset, complete, groups, depth=2)
    return (
        marks, ends, pop, control, place, address, ring, skew, first_class, parts, read_place, memories,
        last_fetched, queue,
    )  # fmt: skip
