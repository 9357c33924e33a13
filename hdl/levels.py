"""Memories of quantised rows: the keys of two heads, the queries of a ring of groups."""

from myhdl import ConcatSignal, Signal, always, always_comb, intbv

from golden.config import clog2
from hdl.choose import choose_a_cycle_later
from hdl.delay import port_register, register_copy
from hdl.hierarchy import module
from hdl.memory import ram_with_register
from hdl.query_levels import beat_steps, query_levels, query_places
from hdl.stream import Bits, Flag, Stream

READ_CYCLES = 4
"""From the address of a step to its operands."""


COPIES = 2
"""Of each row's levels, as they go to many cells."""


def level_groups(config):
    """Groups of queries in the ring: two blocks' worth, or half of what the ring of a banked array holds."""
    if config.array == "banked":
        return max(2, config.ring_groups // 2)
    return max(2, 2 * config.block_queries // config.predict_queries)


def step_bits(config):
    """Bits of a step's number; a chunk may take more cycles than it has steps."""
    return max(1, clog2(max(config.d // config.predict_width, config.predict_queries // config.softmax_lanes)))


def operand_bits(config):
    """Bits of the levels that a row gives in one step."""
    return config.predict_width * config.prediction_bits


def groups_stream(config):
    """Groups whose queries are all there, oldest first."""
    return Stream(count=Bits(clog2(config.predict_queries) + 1), head_last=Flag())


class LevelRead:
    """What is multiplied in this cycle: dimensions of ``step`` of the keys of ``chunk`` and the queries of the group in
    ``slot``. ``group_done``: the group isn't needed after this cycle.
    """

    def __init__(self, config):
        self.key_set = Signal(False)
        self.chunk = Signal(intbv(0)[max(1, clog2(config.max_chunks)) :])
        self.step = Signal(intbv(0)[step_bits(config) :])
        self.slot = Signal(False)
        self.group_done = Signal(False)


class Operands:
    """One step of all queries and keys; ``query_levels``, ``key_levels``: dimension 0 lowest, sign and magnitude.

    There are COPIES of each: of the queries' one for each part of the keys, and the other way round.
    """

    def __init__(self, config):
        bits = operand_bits(config)
        self.query_levels, self.key_levels = (
            [[Signal(intbv(0)[bits:]) for _ in range(COPIES)] for _ in range(rows)]
            for rows in (config.predict_queries, config.predict_keys)
        )
        self.query_exponents = [Signal(intbv(0)[config.exponent_bits :]) for _ in range(config.predict_queries)]
        self.key_exponents = [Signal(intbv(0)[config.exponent_bits :]) for _ in range(config.predict_keys)]


@module
def level_memory(clk, write_enable, write_address, write_word, read_address, step, levels, exponent, steps, depth):
    """Rows of one key of each chunk: a word is a beat's levels under their exponent.

    ``step``: which one of the word's ``steps`` goes to ``levels`` (a list of copies), two cycles after its address. Latency
    ``READ_CYCLES`` from the address: memory, its register, chosen step (2).
    """
    width = len(levels[0])
    level_bits = len(write_word) - len(exponent)
    read_word = Signal(intbv(0)[len(write_word) :])
    word_levels = Signal(intbv(0)[width:])
    word_exponent = Signal(intbv(0)[len(exponent) :])
    exponent_field = read_word(len(write_word), level_bits)
    memory = ram_with_register(clk, write_enable, write_address, write_word, read_address, read_word, depth=depth)
    choice = choose_a_cycle_later(
        clk, [read_word((i + 1) * width, i * width) for i in range(steps)], step, word_levels
    )  # fmt: skip

    @always(clk.posedge)
    def operands():
        word_exponent.next = exponent_field
        exponent.next = word_exponent

    return memory, choice, operands, [register_copy(clk, word_levels, copy) for copy in levels]


@module
def level_memories(clk, reset, levels, groups, read, operands, config):
    """Stores the ``levels`` stream (docs/architecture.md), names complete ``groups`` and reads them out step by step.

    A group can be read as soon as ``groups`` has it. ``levels.ready`` goes low while the ring is full.
    ``operands`` come ``READ_CYCLES`` after ``read``.
    """
    key_count, key_shift = config.predict_keys, clog2(config.predict_keys)
    beat_count, chunk_count, ring_size = config.row_beats, config.max_chunks, level_groups(config)
    steps, places = beat_steps(config), query_places(config)
    beat_shift = clog2(steps)
    key_depth, query_depth = 2 * chunk_count * beat_count, ring_size * places * beat_count

    beat = Signal(intbv(0)[max(1, clog2(beat_count)) :])
    ring_group = Signal(intbv(0)[clog2(ring_size) :])
    waiting_groups = Signal(intbv(0, min=0, max=ring_size + 1))
    fetched, query_enable = Signal(False), Signal(False)
    marked = groups.like()
    key_enables = Signal(intbv(0)[key_count:])
    key_write_address = Signal(intbv(0)[clog2(key_depth) :])
    query_write_address = Signal(intbv(0)[clog2(query_depth) :])
    taken = levels.like()  # as they came; ``ready`` isn't used
    level_word = ConcatSignal(taken.exponent, taken.levels)
    write_word = Signal(intbv(0)[len(level_word) :])

    intake = port_register(clk, levels, taken, [name for name in levels.fields if name != "predict_dims"])

    @always(clk.posedge)
    def take():
        taken.valid.next = levels.valid and levels.ready and not reset

    @always_comb
    def mark():
        marked.valid.next = taken.valid and taken.marker
        marked.count.next = taken.count
        marked.head_last.next = taken.head_last

    @always(clk.posedge)
    def ring():
        if reset:
            beat.next = 0
            ring_group.next = 0
            waiting_groups.next = 0
        else:
            if taken.valid and taken.marker:
                ring_group.next = (ring_group + 1) % ring_size
            elif taken.valid:
                if taken.last:
                    beat.next = 0
                else:
                    beat.next = (beat + 1) % beat_count
            if marked.valid and not fetched:
                waiting_groups.next = waiting_groups + 1
            elif fetched and not marked.valid:
                waiting_groups.next = waiting_groups - 1

    # A register for the other side. Behind a marker a cycle goes by until it is counted.
    @always(clk.posedge)
    def room():
        if reset:
            levels.ready.next = True
        elif levels.valid and levels.ready and levels.marker:
            levels.ready.next = False
        elif marked.valid and not fetched:
            levels.ready.next = waiting_groups != ring_size - 1
        else:
            levels.ready.next = waiting_groups != ring_size or fetched

    @always(clk.posedge)
    def writes():
        write_word.next = level_word
        key_write_address.next = (taken.key_set * chunk_count + (taken.index >> key_shift)) * beat_count + beat
        query_write_address.next = (ring_group * places + taken.index % places) * beat_count + beat
        key_enables.next = 0
        if taken.valid and not taken.marker and not taken.query:
            key_enables.next = 1 << (taken.index % key_count)
        query_enable.next = taken.valid and not taken.marker and taken.query

    queries = query_levels(
        clk, reset, query_enable, query_write_address, write_word, marked, groups, fetched, read, operands, config
    )

    key_address = Signal(intbv(0)[clog2(key_depth) :])
    early_step, step = (Signal(intbv(0)[max(1, beat_shift) :]) for _ in range(2))

    @always_comb
    def address():
        key_address.next = (read.key_set * chunk_count + read.chunk) * beat_count + (
            (read.step >> beat_shift) % beat_count
        )

    @always(clk.posedge)
    def step_of_beat():
        early_step.next = read.step % steps
        step.next = early_step

    keys = [
        level_memory(
            clk, key_enables(i), key_write_address, write_word, key_address, step, operands.key_levels[i],
            operands.key_exponents[i], steps, key_depth,
        )
        for i in range(key_count)
    ]  # fmt: skip
    return intake, take, mark, ring, room, writes, queries, address, step_of_beat, keys
