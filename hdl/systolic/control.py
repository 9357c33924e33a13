"""Control of the systolic array: the period of a round. (Tiles and blocks: `hdl.tiled.control.block_sequence`.)"""

from myhdl import Signal, always, always_comb, concat, intbv

from golden.config import FACTOR_SHIFT_BITS, MANTISSA_BITS, clog2
from hdl.delay import delayed
from hdl.hierarchy import module
from hdl.systolic.timing import COLUMN, ELEMENT, Timing
from hdl.tiled.interfaces import QUERY_WORD_BYTES, Burst
from hdl.tiled.pipeline import count_burst, delay_number
from hdl.tiled.timing import EXPONENT_CYCLES, SCALER_CYCLES, WORD_REGISTER

SUM_CYCLES = 4  # from the address of a query's sum to that of its successor


@module
def round_sequence(clk, reset, issue, control, taking, present, granted, read_address, round_tick, config):
    """The period of a round, and everything that is timed by it; what comes in the rows is said to row 0 alone.

    A round follows the one before without a gap if it is ready by then. It begins and ends for itself: nothing waits for
    the next one. After a reset an empty period goes by, in which what was in the registers leaves them.

    Args:
        issue: `hdl.tiled.control.Issue`.
        control: `RowControl` of row 0.
        taking: some row may still have to take its work item.
        present: stage 3, the column memories' outputs belong to a round; else zeros enter the columns.
        granted: the sums' read ports are free for the normalizer, in all rows.
        read_address: of the column memories: {key set, value, tile, dimension}.
        round_tick: a round has begun (pulse).
    """
    timing = Timing(config)
    d, rows = config.d, config.rows
    dimension_bits, byte_bits = clog2(d), clog2(QUERY_WORD_BYTES)
    value_bit = dimension_bits + clog2(config.max_tiles)  # of the address
    last = timing.period - 1
    take_at, scale_at, exponent_at = ELEMENT - 1, timing.scale - 2, timing.exponents - 2
    first_value, all_taken, all_read = timing.values - 1, timing.taken - 1, d + rows - 1
    behind_values = timing.values + d
    sums_at = timing.sum_read - 2

    count = Signal(intbv(0, min=0, max=timing.period))
    busy = Signal(False)  # a period is under way
    live = Signal(False)  # with a round
    is_value = Signal(False)
    dimension = Signal(intbv(0)[dimension_bits:])
    dimensions = [Signal(intbv(0)[dimension_bits:]) for _ in range(WORD_REGISTER)]
    key_set, tile = Signal(False), Signal(intbv(0)[len(issue.tile) :])
    mantissa, shift = Signal(intbv(0)[MANTISSA_BITS:]), Signal(intbv(0)[FACTOR_SHIFT_BITS:])

    feeding, reading, scoring = Signal(False), Signal(False), Signal(False)
    exponent_start, scored_start, pushed_start, sums_start, writes_start = (Signal(False) for _ in range(5))
    reads, writes = Burst(d), Burst(d)
    window = Burst(d + rows - 1)  # from when row 0 reads its sums until the last row has
    last_writes, writing_last = Burst(rows), Signal(False)

    @always_comb
    def beginning():
        control.begin.next = (count == last or not busy) and issue.ready
        issue.begin.next = (count == last or not busy) and issue.ready

    @always(clk.posedge)
    def period_count():
        if reset:
            busy.next = True
            live.next = False
            count.next = 0
        elif control.begin:
            busy.next = True
            live.next = True
            count.next = 0
        elif count == last:
            busy.next = False
            live.next = False
            count.next = 0
        elif busy:
            count.next = count + 1

    @always(clk.posedge)
    def phase():
        if reset or control.begin or count == last:
            is_value.next = False
        elif count == first_value:
            is_value.next = True

    @always(clk.posedge)
    def dimension_count():
        if control.begin or count == first_value:
            dimension.next = 0
        else:
            dimension.next = (dimension + 1) & (d - 1)

    @always(clk.posedge)
    def round_registers():
        if control.begin:
            key_set.next = issue.key_set
            tile.next = issue.tile
            control.ring.next = issue.number
            mantissa.next = issue.mantissa
            shift.next = issue.shift
        if control.scale:
            control.mantissa.next = mantissa
            control.shift.next = shift
        round_tick.next = issue.begin

    @always_comb
    def addresses():
        read_address.next = (concat(key_set, is_value) << value_bit) | (tile << dimension_bits) | dimension
        control.word.next = dimension[dimension_bits:byte_bits]

    @always_comb
    def phases():
        feeding.next = live and count < d
        reading.next = live and (count < d or (is_value and count < behind_values))
        scoring.next = live and not is_value

    @always(clk.posedge)
    def queries_in_use():
        if reset or count == all_read:
            issue.scoring.next = False
        elif control.begin:
            issue.scoring.next = True

    @always(clk.posedge)
    def items_in_use():
        if reset or count == all_taken:
            taking.next = False
        elif control.begin:
            taking.next = True

    @always(clk.posedge)
    def strobes():
        control.take.next = live and count == take_at
        control.scale.next = live and count == scale_at
        exponent_start.next = live and count == exponent_at
        sums_start.next = live and count == sums_at

    stages = [
        delayed(clk, feeding, control.feed, ELEMENT, reset),
        delayed(clk, reading, present, ELEMENT, reset),
        delayed(clk, scoring, control.score, COLUMN, reset),
        delayed(clk, sums_start, writes_start, SUM_CYCLES, reset),
        delay_number(clk, dimension, dimensions),
    ]
    byte_dimension = dimensions[WORD_REGISTER - 1]

    @always_comb
    def dimensions_of_stages():
        control.byte.next = byte_dimension[byte_bits:]
        control.read.next = reads.active
        control.read_dimension.next = reads.index
        control.write.next = writes.active
        control.write_dimension.next = writes.index
        granted.next = not window.active

    bursts = [
        count_burst(clk, reset, control.scale, control.chosen),
        delayed(clk, control.scale, scored_start, SCALER_CYCLES, reset),
        count_burst(clk, reset, scored_start, control.scored),
        count_burst(clk, reset, exponent_start, control.exponent),
        delayed(clk, exponent_start, pushed_start, EXPONENT_CYCLES, reset),
        count_burst(clk, reset, pushed_start, control.pushed),
        count_burst(clk, reset, sums_start, reads),
        count_burst(clk, reset, sums_start, window),
        count_burst(clk, reset, writes_start, writes),
        count_burst(clk, reset, writes.last, last_writes),
    ]

    @always_comb
    def last_row_written():
        issue.written.next = last_writes.last

    return (
        beginning, period_count, phase, dimension_count, round_registers, addresses, phases, queries_in_use, items_in_use,
        strobes, stages, dimensions_of_stages, bursts, last_row_written,
    )  # fmt: skip
