"""Control of the tiled array: phases and rounds, tiles, blocks (docs/architecture.md).

Two halves that meet in `Issue`: `block_sequence` follows the blocks and the heads of the work queues, and says which round
can begin; `round_sequence` keeps the period of 2d cycles and begins it.
"""

from myhdl import Signal, always, always_comb, concat, intbv, modbv

from golden.config import FACTOR_SHIFT_BITS, MANTISSA_BITS, Config, clog2
from hdl.delay import delayed
from hdl.fifo import pack, unpack
from hdl.hierarchy import module
from hdl.tiled.interfaces import QUERY_WORD_BYTES, RING_BITS
from hdl.tiled.pipeline import burst_for_all_rows, count_burst, delay_number
from hdl.tiled.timing import CHOSEN, COLUMNS, EXPONENT_CYCLES, PRODUCT, SCALER_CYCLES, WORD_REGISTER, Timing
from hdl.tiled.work import address_bits

IN_FLIGHT_BITS = 2  # rounds between begin and last sum: in SDDMM, before SpMM, in SpMM's pipeline
UNDRAINED_BLOCKS = 2  # the sums of so many blocks are kept


class Issue:
    """Between the halves of the control.

    Attributes:
        ready: the heads of the queues are a round of the tile below; stays until it begins.
        begin: that round begins.
        key_set, tile, number, mantissa, shift: of the round; number is the block's, modulo 4.
        scoring: an SDDMM phase is under way. written: the last sum of a round is written.
    """

    def __init__(self, config: Config):
        self.ready = Signal(False)
        self.begin = Signal(False)
        self.key_set = Signal(False)
        self.tile = Signal(intbv(0)[address_bits(config.max_tiles) :])
        self.number = Signal(intbv(0)[RING_BITS:])
        self.mantissa = Signal(intbv(0)[MANTISSA_BITS:])
        self.shift = Signal(intbv(0)[FACTOR_SHIFT_BITS:])
        self.scoring = Signal(False)
        self.written = Signal(False)


@module
def block_sequence(clk, reset, work, blocks, drains, drained, block_done, advance, issue, config):
    """Blocks and tiles. An empty tile, or the end of one, costs five cycles; a new block two more.

    A block is taken from `blocks` once the block two before it is drained. Its message to `drains` follows the last sum of
    its last round; `block_done` follows its last query read.

    Args:
        work: work items of all rows (only `valid` and `end` are read).
        advance: all rows show end-of-tile marks, which go in the next cycle (register).
    """
    valids, ends = [items.valid for items in work], [items.end for items in work]
    rows = config.rows

    all_shown, all_ended = Signal(False), Signal(False)
    advanced = Signal(intbv(0)[2:])  # the marks went in one of the two cycles before
    occupied = Signal(False)  # a block is in `block`
    block = blocks.like()
    block_word = Signal(intbv(0)[len(pack(blocks)) :])
    tile, next_tile = (Signal(modbv(0)[len(blocks.tiles) :]) for _ in range(2))
    load, last_tile = Signal(False), Signal(False)
    block_end = Signal(False)  # with `advance`: of the last tile
    undrained = Signal(intbv(0, min=0, max=UNDRAINED_BLOCKS + 1))
    releasing = Signal(False)  # block_done is due when SDDMM ends
    draining, offered = Signal(False), Signal(False)  # a block waits for its last sum; its message is at `drains`
    drain_word = Signal(intbv(0)[len(pack(drains)) :])
    in_flight = Signal(modbv(0)[IN_FLIGHT_BITS:])  # rounds
    before_drain = Signal(modbv(0)[IN_FLIGHT_BITS:])  # rounds that the waiting block still needs

    @always(clk.posedge)
    def heads_of_queues():
        shown = True
        marks = True
        for r in range(rows):
            shown = shown and valids[r]
            marks = marks and ends[r]
        all_shown.next = shown
        all_ended.next = marks

    @always_comb
    def handshakes():
        blocks.ready.next = not occupied and undrained != UNDRAINED_BLOCKS
        load.next = blocks.valid and not occupied and undrained != UNDRAINED_BLOCKS
        drains.valid.next = offered

    # A round's items stay at the heads for four cycles after it has begun; nothing begins so soon.
    @always(clk.posedge)
    def what_can_begin():
        advanced.next = ((advanced << 1) | advance) & 3
        if reset or advance or advanced != 0 or not occupied:
            issue.ready.next = False
            advance.next = False
            block_end.next = False
        else:
            issue.ready.next = all_shown and not all_ended
            # The message of the block before still waits only if the normalizer holds it, and so the next block, up.
            advance.next = all_shown and all_ended and not (last_tile and draining)
            block_end.next = all_shown and all_ended and last_tile and not draining

    @always(clk.posedge)
    def block_occupancy():
        if reset:
            occupied.next = False
        elif load:
            occupied.next = True
        elif block_end:
            occupied.next = False

    pack_blocks = pack(blocks)

    @always(clk.posedge)
    def block_register():
        if load:
            block_word.next = pack_blocks
            tile.next = 0
            next_tile.next = 1
            last_tile.next = blocks.tiles == 1
        elif advance:
            tile.next = next_tile
            next_tile.next = next_tile + 1
            last_tile.next = next_tile + 1 == block.tiles

    unpack_block = unpack(block_word, block)

    @always_comb
    def round_of_block():
        issue.key_set.next = block.key_set
        issue.tile.next = tile[len(issue.tile) :]
        issue.number.next = block.number
        issue.mantissa.next = block.mantissa
        issue.shift.next = block.shift

    @always(clk.posedge)
    def queries_released():
        if reset:
            releasing.next = False
            block_done.next = False
        else:
            block_done.next = releasing and not issue.scoring
            if block_end:
                releasing.next = True
            elif not issue.scoring:
                releasing.next = False

    @always(clk.posedge)
    def rounds_in_flight():
        if reset:
            in_flight.next = 0
        elif issue.begin and not issue.written:
            in_flight.next = in_flight + 1
        elif issue.written and not issue.begin:
            in_flight.next = in_flight - 1

    @always(clk.posedge)
    def blocks_undrained():
        if reset:
            undrained.next = 0
        elif load and not drained:
            undrained.next = undrained + 1
        elif drained and not load:
            undrained.next = undrained - 1

    @always(clk.posedge)
    def drain():
        if reset:
            draining.next = False
            offered.next = False
        elif block_end:
            draining.next = True
        elif offered:
            if drains.ready:
                draining.next = False
                offered.next = False
        elif draining and before_drain == 0:
            offered.next = True

    @always(clk.posedge)
    def rounds_before_drain():
        if block_end:
            if issue.written:
                before_drain.next = in_flight - 1
            else:
                before_drain.next = in_flight
        elif issue.written and draining:
            before_drain.next = before_drain - 1

    message = drains.like()
    for name in message.fields:
        setattr(message, name, getattr(block, name))
    pack_drain = pack(message)

    @always(clk.posedge)
    def drain_message():
        if block_end:
            drain_word.next = pack_drain

    unpack_drain = unpack(drain_word, drains)

    return (
        heads_of_queues, handshakes, what_can_begin, block_occupancy, block_register, unpack_block, round_of_block,
        queries_released, rounds_in_flight, blocks_undrained, drain, rounds_before_drain, drain_message, unpack_drain,
    )  # fmt: skip


@module
def round_sequence(clk, reset, issue, control, granted, read_address, round_tick, config):
    """The period of a round, and everything in the rows and memories that is timed by it.

    A period follows the one before without a gap if a round is ready by then; if not, but a round waits for its SpMM, the
    SDDMM phase runs empty; else the control waits, and begins in the cycle in which a round is ready.

    Args:
        control: `RowControl`.
        granted: the rows' sums will be free for the normalizer in the next cycle.
        read_address: of the column memories: {key set, value, tile, dimension}.
        round_tick: a round has begun (pulse).
    """
    timing = Timing(config)
    d, period = config.d, 2 * config.d
    dimension_bits, byte_bits = clog2(d), clog2(QUERY_WORD_BYTES)
    value_bit = dimension_bits + clog2(config.max_tiles)  # of the address
    last_score, last_value = d - 1, period - 1
    take_at, swap_at, scale_at = COLUMNS - 2, d + COLUMNS - 2, timing.scale - 2
    exponent_at = (timing.exponents - 4) % period

    count = Signal(modbv(0)[dimension_bits + 1 :])
    busy = Signal(False)
    this_round = Signal(False)  # a round, not an empty phase, is in SDDMM; then it waits for its SpMM
    pending = Signal(False)
    value_round = Signal(False)  # the SpMM phase has a round
    key_set, tile = Signal(False), Signal(intbv(0)[len(issue.tile) :])
    held_key_set, held_tile = Signal(False), Signal(intbv(0)[len(issue.tile) :])
    mantissa, shift = Signal(intbv(0)[MANTISSA_BITS:]), Signal(intbv(0)[FACTOR_SHIFT_BITS:])

    scoring, valuing, is_value, starting, writing_last = (Signal(False) for _ in range(5))
    read_soon = Signal(False)
    exponent_start, scored_start, pushed_start = Signal(False), Signal(False), Signal(False)
    dimension = Signal(intbv(0)[dimension_bits:])
    dimensions = [Signal(intbv(0)[dimension_bits:]) for _ in range(timing.sum_write)]

    @always_comb
    def beginning():
        control.begin.next = (count == last_value or not busy) and (issue.ready or pending)
        control.round.next = issue.ready
        issue.begin.next = (count == last_value or not busy) and issue.ready

    @always(clk.posedge)
    def period_count():
        if reset:
            busy.next = False
            count.next = 0
            this_round.next = False
            pending.next = False
            value_round.next = False
        else:
            if control.begin:
                busy.next = True
                count.next = 0
                this_round.next = issue.ready
            elif busy:
                count.next = count + 1
                busy.next = count != last_value
            if busy and count == last_score:
                value_round.next = pending
                pending.next = this_round

    @always(clk.posedge)
    def round_registers():
        if control.begin:
            key_set.next = issue.key_set
            tile.next = issue.tile
            control.ring.next = issue.number
            mantissa.next = issue.mantissa
            shift.next = issue.shift
        elif count == last_score:
            key_set.next = held_key_set
            tile.next = held_tile
            held_key_set.next = key_set
            held_tile.next = tile
        if control.scale:
            control.mantissa.next = mantissa
            control.shift.next = shift
        round_tick.next = issue.begin

    @always_comb
    def addresses():
        read_address.next = (
            (concat(key_set, count[dimension_bits]) << value_bit) | (tile << dimension_bits) | count[dimension_bits:]
        )
        dimension.next = count[dimension_bits:]
        control.word.next = count[dimension_bits:byte_bits]

    @always_comb
    def phases():
        is_value.next = count[dimension_bits]
        scoring.next = busy and not count[dimension_bits]
        issue.scoring.next = busy and not count[dimension_bits]
        valuing.next = value_round and count[dimension_bits]
        starting.next = busy and count == 0
        writing_last.next = value_round and count == last_value

    @always(clk.posedge)
    def strobes():
        control.take.next = busy and count == take_at
        control.swap.next = busy and count == swap_at
        control.scale.next = pending and count == scale_at
        exponent_start.next = pending and count == exponent_at

    stages = [
        delayed(clk, is_value, control.value, CHOSEN, reset),
        delayed(clk, scoring, control.accumulate, PRODUCT, reset),
        delayed(clk, starting, control.anew, PRODUCT, reset),
        delayed(clk, valuing, read_soon, timing.sum_read - 1, reset),
        delayed(clk, read_soon, control.read, 1, reset),
        delayed(clk, control.read, control.write, timing.sum_write - timing.sum_read, reset),
        delayed(clk, writing_last, issue.written, timing.sum_write + 1, reset),  # the rows are a cycle behind
        delay_number(clk, dimension, dimensions),
    ]

    @always(clk.posedge)
    def grant():
        granted.next = not read_soon

    byte_dimension = dimensions[WORD_REGISTER - 1]
    read_dimension, write_dimension = dimensions[timing.sum_read - 1], dimensions[timing.sum_write - 1]

    @always_comb
    def dimensions_of_stages():
        control.byte.next = byte_dimension[byte_bits:]
        control.read_dimension.next = read_dimension
        control.write_dimension.next = write_dimension

    bursts = [
        count_burst(clk, reset, control.scale, control.chosen),
        delayed(clk, control.scale, scored_start, SCALER_CYCLES - 2, reset),
        burst_for_all_rows(clk, reset, scored_start, control.scored),
        burst_for_all_rows(clk, reset, exponent_start, control.exponent),
        delayed(clk, exponent_start, pushed_start, EXPONENT_CYCLES, reset),
        burst_for_all_rows(clk, reset, pushed_start, control.pushed),
    ]

    return (
        beginning, period_count, round_registers, addresses, phases, strobes, stages, grant, dimensions_of_stages,
        bursts,
    )  # fmt: skip
