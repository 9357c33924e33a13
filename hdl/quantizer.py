"""The row-scaled low-bit quantizer: int8 rows to levels and exponents (golden twin: golden/quantizer.py)."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv

from golden.config import OPERAND_BITS, clog2
from hdl.delay import port_register, register
from hdl.fifo import fifo
from hdl.hierarchy import module
from hdl.occupancy import room_left
from hdl.stream import Bits, Flag, Stream

HOLD_SLACK = 11  # beats beyond a row that the hold-back memory takes, so that finding an exponent never stalls it

LEVEL_BEATS = 8
"""Beats of levels that can wait or be on their way to the output, which takes less cycles."""

REACH_PART = 4  # elements of a beat whose reaches are put together before a register: one look-up table a bit


def _places(config):
    """Fields that go through unchanged."""
    return dict(
        predict_dims=Bits(config.predict_dims_bits),
        last=Flag(),
        marker=Flag(),
        query=Flag(),
        key_set=Flag(),
        index=Bits(config.key_bits),
        count=Bits(clog2(config.predict_queries) + 1),
        head_last=Flag(),
    )


def rows_stream(config):
    """The stream ``rows`` of docs/architecture.md."""
    return Stream(data=Bits(config.stream_bits), **_places(config))


def levels_stream(config):
    """The stream ``levels`` of docs/architecture.md."""
    return Stream(
        levels=Bits(config.stream_bytes * config.prediction_bits),
        exponent=Bits(config.exponent_bits),
        **_places(config),
    )


@block
def magnitude_of(operand_word, used, operand, negative, magnitude, reach):
    """|x|, or 0 where ``used`` is 0, and what it asks of the row's exponent (combinational; no carry chains).

    ``operand_word``: x in two's complement. ``reach``: bit e is 1 only if |x| > 2^e, and always for the largest such e.
    """
    sign = OPERAND_BITS - 1

    @always_comb
    def name_operand():
        operand.next = operand_word

    @always_comb
    def negate():
        lower = False  # whether any lower bit of x is 1; so it is then of -x
        negative.next = operand[sign]
        for i in range(OPERAND_BITS):
            magnitude.next[i] = used and (operand[i] != (operand[sign] and lower))
            lower = lower or operand[i]

    @always_comb
    def compare():
        lower = False
        for i in range(OPERAND_BITS - 1):
            reach.next[i] = magnitude[i + 1] or (magnitude[i] and lower)
            lower = lower or magnitude[i]

    return name_operand, negate, compare


@block
def level_of(clk, negative, magnitude, exponent, level, bits):
    """The rounded level, sign on top of its magnitude (two cycles)."""
    shifted = Signal(intbv(0)[OPERAND_BITS + bits :])
    scaled = Signal(intbv(0)[bits + 1 :])  # with one fraction bit; at most 2^bits, as a magnitude is at most 2^exponent
    scaled_negative = Signal(False)
    rounded = Signal(intbv(0)[bits - 1 :])
    mask = (2 << bits) - 1
    sign_bit = 1 << (bits - 1)
    half_up = tuple(min((twice + 1) >> 1, sign_bit - 1) for twice in range(2 << bits))

    @always_comb
    def align():
        shifted.next = magnitude << bits

    @always(clk.posedge)
    def scale():
        scaled.next = (shifted >> exponent) & mask
        scaled_negative.next = negative

    @always_comb
    def round_half_up():
        rounded.next = half_up[scaled]

    @always(clk.posedge)
    def sign():
        if scaled_negative and rounded != 0:
            level.next = rounded | sign_bit
        else:
            level.next = rounded

    return align, scale, round_half_up, sign


@block
def _either_register(clk, words, target):
    """All ``words`` (a list of signals) ORed, a cycle later."""
    width = len(target)
    together = Signal(intbv(0)[width:])

    @always_comb
    def disjunction():
        ored_so_far = intbv(0)[width:]  # (no signal of the module around may have this name)
        ored_so_far[:] = 0
        for i in range(len(words)):
            ored_so_far[:] = ored_so_far | words[i]
        together.next = ored_so_far

    return disjunction, register(clk, together, target)


@module
def quantizer(clk, reset, rows, levels, config):
    """Levels and exponents of the rows, in order, markers in their places.

    ``rows``, ``levels``: the streams of docs/architecture.md (``rows_stream``, ``levels_stream``); one beat a cycle.
    A level of 0 has the sign 0. A row's exponent needs its whole row, so its beats wait in a memory: a row leaves
    9 cycles after its last beat came, then a beat a cycle; a marker leaves 8 cycles after it came, behind the row
    before it.
    """
    width = config.stream_bytes
    bits = config.prediction_bits
    depth = 1 << clog2(config.row_beats + HOLD_SLACK)
    coming = rows.like()  # a beat, while `used` is found
    taken, left = Signal(False), Signal(False)  # a beat comes, or leaves the memory
    operand_slices = [coming.data(OPERAND_BITS * (i + 1), OPERAND_BITS * i) for i in range(width)]

    # Operands beyond predict_dims count as 0.
    beat = Signal(intbv(0, min=0, max=max(2, config.row_beats)))
    dims_in_beat = Signal(intbv(0, min=0, max=width + 1))
    used = Signal(intbv(0)[width:])
    lowest = tuple((1 << count) - 1 for count in range(width + 1))
    width_bits = clog2(width)

    @always_comb
    def limit():
        if beat < (rows.predict_dims >> width_bits):
            dims_in_beat.next = width
        elif beat == (rows.predict_dims >> width_bits):
            dims_in_beat.next = rows.predict_dims & (width - 1)
        else:
            dims_in_beat.next = 0

    # Nothing waits from here to the memory: a beat is taken only if there is room for it in the end.
    @always(clk.posedge)
    def take_beat():
        coming.data.next = rows.data
        used.next = lowest[dims_in_beat]

    coming_places = port_register(clk, rows, coming, _places(config))

    # Sign and magnitude, and what a beat asks of its row's exponent.
    operands = [Signal(intbv(0)[OPERAND_BITS:]) for _ in range(width)]
    negatives = [Signal(False) for _ in range(width)]
    magnitudes = [Signal(intbv(0)[OPERAND_BITS:]) for _ in range(width)]
    reaches = [Signal(intbv(0)[OPERAND_BITS - 1 :]) for _ in range(width)]
    negative_word = ConcatSignal(*reversed(negatives))
    magnitude_word = ConcatSignal(*reversed(magnitudes))
    split_fields = dict(negatives=Bits(width), magnitudes=Bits(width * OPERAND_BITS), **_places(config))
    split, held = Stream(**split_fields), Stream(**split_fields)
    parts = -(-width // REACH_PART)
    part_reaches = [Signal(intbv(0)[OPERAND_BITS - 1 :]) for _ in range(parts)]
    splitters = [
        magnitude_of(operand_slices[i], used(i), operands[i], negatives[i], magnitudes[i], reaches[i])
        for i in range(width)
    ]

    @always_comb
    def transfers():
        taken.next = rows.valid and rows.ready
        left.next = held.valid and held.ready

    accept = room_left(clk, reset, taken, left, rows.ready, depth)

    @always(clk.posedge)
    def no_beat_without_room():
        if __debug__:
            assert split.ready or not split.valid, "a beat was taken for which the memory has no room"

    @always(clk.posedge)
    def split_control():
        if reset:
            coming.valid.next = False
            split.valid.next = False
            beat.next = 0
        else:
            coming.valid.next = taken
            split.valid.next = coming.valid
            if taken and not rows.marker:
                if rows.last:
                    beat.next = 0
                else:
                    beat.next = beat + 1

    @always(clk.posedge)
    def split_beats():
        split.negatives.next = negative_word
        split.magnitudes.next = magnitude_word

    reach_of_beat = [
        _either_register(clk, reaches[p * REACH_PART : (p + 1) * REACH_PART], part_reaches[p]) for p in range(parts)
    ]

    split_places = port_register(clk, coming, split, _places(config))
    hold = fifo(clk, reset, split, held, depth=depth)

    # The exponent of a row.
    found = Stream(exponent=Bits(config.exponent_bits))
    exponents = Stream(exponent=Bits(config.exponent_bits))
    row_reach = Signal(intbv(0)[OPERAND_BITS - 1 :])
    row_continues = Signal(False)

    @always(clk.posedge)
    def reach_of_row():
        found.valid.next = False
        if reset:
            row_continues.next = False
        elif split.valid and not split.marker:
            found.valid.next = split.last
            row_continues.next = not split.last
            together = intbv(0)[OPERAND_BITS - 1 :]
            together[:] = 0
            if row_continues:
                together[:] = row_reach
            for p in range(parts):
                together[:] = together | part_reaches[p]
            row_reach.next = together

    @always_comb
    def exponent_of_row():
        found.exponent.next = 0
        for i in range(OPERAND_BITS - 1):
            if row_reach[i]:
                found.exponent.next = i + 1

    # Never full: an exponent leaves with the last beat of its row, and came after it.
    exponent_queue = fifo(clk, reset, found, exponents, depth=depth)

    # Scaling and rounding: two stages, for whose beats there is room behind them.
    enter, room, gone = Signal(False), Signal(True), Signal(False)
    scaled = Stream(exponent=Bits(config.exponent_bits), **_places(config))
    made = levels.like()
    level_codes = [Signal(intbv(0)[bits:]) for _ in range(width)]
    level_word = ConcatSignal(*reversed(level_codes))
    levelers = [
        level_of(
            clk, held.negatives(i), held.magnitudes(OPERAND_BITS * (i + 1), OPERAND_BITS * i),
            exponents.exponent, level_codes[i], bits,
        )
        for i in range(width)
    ]  # fmt: skip

    @always_comb
    def release():
        enter.next = held.valid and room and (held.marker or exponents.valid)

    @always(clk.posedge)
    def goes():
        gone.next = levels.valid and levels.ready and not reset  # to somewhere far away

    @always_comb
    def take():
        held.ready.next = room and (held.marker or exponents.valid)
        exponents.ready.next = room and held.valid and held.last and not held.marker

    room_for_levels = room_left(clk, reset, enter, gone, room, LEVEL_BEATS)

    @always(clk.posedge)
    def level_control():
        scaled.valid.next = enter and not reset
        made.valid.next = scaled.valid and not reset

    @always(clk.posedge)
    def level_exponents():
        scaled.exponent.next = exponents.exponent
        made.exponent.next = scaled.exponent

    @always_comb
    def level_beats():
        made.levels.next = level_word

    scaled_places = port_register(clk, held, scaled, _places(config))
    level_places = port_register(clk, scaled, made, _places(config))
    way_out = fifo(clk, reset, made, levels, depth=LEVEL_BEATS)

    return (
        limit, take_beat, coming_places, splitters, transfers, accept, no_beat_without_room,
        split_control, split_beats, reach_of_beat, split_places, hold, reach_of_row,
        exponent_of_row, exponent_queue, levelers, release, goes, take, room_for_levels, level_control, level_exponents,
        level_beats, scaled_places, level_places, way_out,
    )  # fmt: skip
