"""From the lanes' dot products to their probabilities, one lane a cycle: all that a cluster's lanes share."""

from myhdl import Signal, always, always_comb, block, concat, intbv

from golden.config import FACTOR_SHIFT_BITS, MANTISSA_BITS, SCORE_FRACTION, clog2
from hdl.banked.interfaces import SUM_SLOTS, Event, ScoreRecord, address_bits, dot_signal, probability_signal, slot_bits
from hdl.banked.timing import CHOSEN_CYCLES, POWER_CYCLES, SCORED_CYCLES
from hdl.delay import delayed, port_register
from hdl.exp2 import probability
from hdl.hierarchy import module
from hdl.memory import distributed_ram, ram_with_register
from hdl.scaler import SCALER_CYCLES, scaler
from hdl.stream import Bits, Signed
from hdl.wires import like, number_of


@module
def scan_of_scores(clk, reset, scan, dots, records, factor_slot, mantissa, shift, scored, config):
    """Dot products of the lanes to scores, one a cycle; SCORED_CYCLES (6) from a lane's turn to its score.

    Args:
        scan: `Burst`: whose turn it is.
        dots, records: of the lanes; stand still meanwhile.
        factor_slot, mantissa, shift: factor of a query in flight, read in the same cycle.
        scored: `ScoreRecord`, `active` for one cycle a score.
    """
    assert SCORED_CYCLES == 1 + SCALER_CYCLES
    actives, slots = [record.active for record in records], [record.slot for record in records]
    keys = [record.key for record in records]

    chosen = ScoreRecord(config)
    dot = dot_signal(config)

    @always(clk.posedge)
    def turn_with_score():
        if reset:
            chosen.active.next = False
        else:
            chosen.active.next = scan.active and actives[scan.lane]

    @always(clk.posedge)
    def lane_of_turn():
        dot.next = dots[scan.lane]
        chosen.lane.next = scan.lane
        chosen.slot.next = slots[scan.lane]
        chosen.key.next = keys[scan.lane]

    @always_comb
    def factor_address():
        factor_slot.next = chosen.slot

    scores = scaler(clk, dot, mantissa, shift, scored.score, config)
    alongside = [
        delayed(clk, chosen.active, scored.active, SCALER_CYCLES, reset=reset),
        delayed(clk, chosen.lane, scored.lane, SCALER_CYCLES),
        delayed(clk, chosen.slot, scored.slot, SCALER_CYCLES),
        delayed(clk, chosen.key, scored.key, SCALER_CYCLES),
    ]
    return turn_with_score, lane_of_turn, factor_address, scores, alongside


@block
def bit_of(active, slot, bit):
    """`bit` has the slot's bit set, if `active`."""

    @always_comb
    def decode():
        bit.next = 0
        if active:
            bit.next = 1 << slot

    return decode


@module
def maxima(clk, reset, scored, slot, maximum, release, config):
    """Maximum of each query's scores so far, rounded up to an integer.

    Args:
        scored: `ScoreRecord`; three cycles later the maximum includes it.
        slot, maximum: signed, log2 units; read in the same cycle.
        release: `Event`: the slot's query is through; the next one's first score comes long after that.
    """
    entries = 1 << slot_bits(config)
    below_one = (1 << SCORE_FRACTION) - 1

    counted, compared, released_here = Event(config), Event(config), Event(config)  # `released_here`: slots are far away
    started, released, counted_bit = (Signal(intbv(0)[config.slots :]) for _ in range(3))
    ceiling, compared_ceiling, stored = (Signed(config.maximum_bits).signal() for _ in range(3))
    # A score is compared with the maximum in the memory and with the score before it, which may be about to be written there.
    above_stored, above_previous, previous_counts, greater = (Signal(False) for _ in range(4))

    @always(clk.posedge)
    def ceiling_of_score():
        ceiling.next = (scored.score + below_one) >> SCORE_FRACTION  # no legal factor makes a score that this overflows
        counted.slot.next = scored.slot
        if reset:
            counted.active.next = False
        else:
            counted.active.next = scored.active

    @always(clk.posedge)
    def comparisons():
        compared_ceiling.next = ceiling
        compared.slot.next = counted.slot
        above_stored.next = ceiling > stored or not started[counted.slot]
        above_previous.next = ceiling > compared_ceiling
        previous_counts.next = greater and compared.slot == counted.slot
        if reset:
            compared.active.next = False
        else:
            compared.active.next = counted.active

    @always_comb
    def decision():
        greater.next = compared.active and above_stored
        if previous_counts:
            greater.next = compared.active and above_previous

    news = port_register(clk, release, released_here, ("active", "slot"))
    released_bit = bit_of(released_here.active, released_here.slot, released)
    counted_slot_bit = bit_of(counted.active, counted.slot, counted_bit)

    @always(clk.posedge)
    def queries_with_scores():
        if reset:
            started.next = 0
        else:
            started.next = (started & ~released) | counted_bit

    to_compare = distributed_ram(clk, greater, compared.slot, compared_ceiling, counted.slot, stored, depth=entries)
    to_subtract = distributed_ram(clk, greater, compared.slot, compared_ceiling, slot, maximum, depth=entries)

    return (
        ceiling_of_score, comparisons, decision, news, released_bit, counted_slot_bit, queries_with_scores, to_compare, to_subtract,
    )  # fmt: skip


@module
def score_memory(clk, reset, scored, choose, head, taken, config):
    """Scores that wait for their values: a queue of `lane_keys` for each lane, all in one block RAM.

    Args:
        scored: `ScoreRecord` to write. (The lanes see to it that there is room.)
        choose: `Burst`: whose turn it is.
        head: `ScoreRecord`, HEAD_CYCLES (2) after a lane's turn; not active if the lane has none.
        taken: in that cycle: the head goes. (The lane's next turn comes later than the cycle after the next one.)
    """
    address_width = clog2(config.lane_keys)
    key_bits, score_bits, lanes = len(head.key), config.score_bits, config.lanes
    slot_bit = score_bits + key_bits
    width = slot_bit + slot_bits(config)

    write_pointers = [Signal(intbv(0)[address_width + 1 :]) for _ in range(lanes)]
    read_pointers = [Signal(intbv(0)[address_width + 1 :]) for _ in range(lanes)]
    write_pointer, read_pointer, read_pointer_now, head_pointer, next_read_pointer, next_write_pointer = (
        Signal(intbv(0)[address_width + 1 :]) for _ in range(6)
    )
    top = 1 << (address_width + 1)
    read_lane = Signal(intbv(0)[address_bits(lanes) :])
    read_active, occupied, goes = Signal(False), Signal(False), Signal(False)
    lane_that_goes = Signal(intbv(0)[address_bits(lanes) :])
    write_address, read_address = (Signal(intbv(0)[address_bits(lanes) + address_width :]) for _ in range(2))
    written, word = (Signal(intbv(0)[width:]) for _ in range(2))
    score_part = word(score_bits, 0)

    @always_comb
    def write_word():
        written.next = concat(scored.slot, scored.key, scored.score)
        write_address.next = concat(scored.lane, write_pointer[address_width:])

    @always_comb
    def turn():
        write_pointer.next = write_pointers[scored.lane]
        read_pointer_now.next = read_pointers[choose.lane]
        read_address.next = concat(choose.lane, read_pointer_now[address_width:])

    memory = ram_with_register(
        clk, scored.active, write_address, written, read_address, word, depth=1 << len(read_address)
    )  # fmt: skip

    @always(clk.posedge)
    def read_of_turn():
        read_lane.next = choose.lane
        head.lane.next = read_lane
        read_pointer.next = read_pointer_now
        head_pointer.next = read_pointer
        occupied.next = write_pointers[choose.lane] != read_pointer_now
        if reset:
            read_active.next = False
            head.active.next = False
        else:
            read_active.next = choose.active
            head.active.next = read_active and occupied

    @always_comb
    def increment():
        next_write_pointer.next = (write_pointer + 1) % top

    @always(clk.posedge)
    def departure():
        next_read_pointer.next = (head_pointer + 1) % top
        lane_that_goes.next = head.lane
        goes.next = taken and not reset

    @always(clk.posedge)
    def pointers():
        if reset:
            for lane in range(lanes):
                write_pointers[lane].next = 0
                read_pointers[lane].next = 0
        else:
            if scored.active:
                write_pointers[scored.lane].next = next_write_pointer
            if goes:
                read_pointers[lane_that_goes].next = next_read_pointer

    @always_comb
    def head_word():
        head.slot.next = word[width:slot_bit]
        head.key.next = word[slot_bit:score_bits]

    score = number_of(score_part, head.score)
    return write_word, turn, memory, read_of_turn, increment, departure, pointers, head_word, score


@module
def choice_of_scores(
    clk, reset, choose, head, key_sets, usable, maximum, taken, chosen_here, chosen, power, powered, power_here,
    config,
):  # fmt: skip
    """Each lane's oldest score, if its query's turn has come and its maximum is final, becomes a probability.

    clock:      _/-\\_/-\\_/-\\_/-\\_/-\\_/-\\_/-\\_
    head:       <j  >                       HEAD_CYCLES (2) after lane j's turn
    chosen:          <j  >                  CHOSEN_CYCLES (3)
    power:                     <j  >        POWER_CYCLES (5)

    Args:
        choose: `Burst`.
        head, taken: of the score memory. key_sets, usable: bit for each slot. maximum: of the slot `head.slot`.
        chosen_here: bit for each lane: its turn. chosen: `Record`, not active if there is none.
        power: its probability, 11 fraction bits. powered: `Event`: there is one.
        power_here: bit for each lane: the probability is its own.
    """
    lanes = config.lanes
    gap_bits = config.maximum_bits + SCORE_FRACTION + 1
    cycles = POWER_CYCLES - CHOSEN_CYCLES

    turn, turn_at_choice = Signal(False), Signal(False)
    choices = Signal(intbv(0)[lanes:])
    gap = Signed(gap_bits).signal()
    distance = Bits(gap_bits - 1).signal()

    turn_in_step = delayed(clk, choose.active, turn_at_choice, CHOSEN_CYCLES - 1, reset=reset)

    @always_comb
    def take():
        taken.next = head.active and usable[head.slot]

    @always(clk.posedge)
    def choice():
        gap.next = (maximum << SCORE_FRACTION) - head.score
        chosen.slot.next = head.slot
        chosen.key_set.next = key_sets[head.slot]
        chosen.key.next = head.key
        if reset:
            chosen.active.next = False
            choices.next = 0
        else:
            chosen.active.next = taken
            if turn_at_choice:
                choices.next = 1 << head.lane
            else:
                choices.next = 0

    @always_comb
    def outputs():
        chosen_here.next = choices
        distance.next = gap[gap_bits - 1 :]  # never below zero where there is a score

    powers = probability(clk, distance, power)
    alongside = [
        delayed(clk, choices, power_here, cycles, reset=reset),
        delayed(clk, chosen.active, powered.active, cycles, reset=reset),
        delayed(clk, chosen.slot, powered.slot, cycles),
    ]
    return turn_in_step, take, choice, outputs, powers, alongside


@module
def denominators(clk, reset, powered, power, drain_sum, denominator, drained, config):
    """Sum of the probabilities of each of the SUM_SLOTS oldest queries.

    Args:
        powered, power: a probability, and its query.
        drain_sum, denominator: a query's sum, a cycle later; 0 if it has none.
        drained: the query is through.
    """
    index_bits = clog2(SUM_SLOTS)
    started, drained_bit, powered_bit = (Signal(intbv(0)[SUM_SLOTS:]) for _ in range(3))
    stored, to_drain, so_far, updated = (Bits(config.denominator_bits).signal() for _ in range(4))
    # Probabilities come from far away, and so does the news that a query is through: long before its slot has another one's.
    summand, powered_sum, powered_here = like(power), Signal(intbv(0)[index_bits:]), Signal(False)
    drained_here, drained_sum = Signal(False), like(drain_sum)

    @always(clk.posedge)
    def arrivals():
        summand.next = power
        powered_sum.next = powered.slot[index_bits:]
        powered_here.next = powered.active and not reset
        drained_here.next = drained and not reset
        drained_sum.next = drain_sum

    @always_comb
    def sum_so_far():
        if started[powered_sum]:
            so_far.next = stored
        else:
            so_far.next = 0

    @always_comb
    def update():
        updated.next = so_far + summand

    @always(clk.posedge)
    def drain():
        if started[drain_sum]:
            denominator.next = to_drain
        else:
            denominator.next = 0

    drained_sum_bit = bit_of(drained_here, drained_sum, drained_bit)
    powered_sum_bit = bit_of(powered_here, powered_sum, powered_bit)

    @always(clk.posedge)
    def queries_with_sums():
        if reset:
            started.next = 0
        else:
            started.next = (started & ~drained_bit) | powered_bit

    memories = [
        distributed_ram(clk, powered_here, powered_sum, updated, powered_sum, stored, depth=SUM_SLOTS),
        distributed_ram(clk, powered_here, powered_sum, updated, drain_sum, to_drain, depth=SUM_SLOTS),
    ]
    return (
        arrivals, sum_so_far, update, drain, drained_sum_bit, powered_sum_bit, queries_with_sums, memories,
    )  # fmt: skip


@module
def factors(clk, write, write_slot, mantissa, shift, slot, slot_mantissa, slot_shift, config):
    """Factor of each query in flight; `slot_mantissa`, `slot_shift` follow `slot` in the same cycle."""
    entries = 1 << slot_bits(config)
    width = MANTISSA_BITS + FACTOR_SHIFT_BITS
    written, read = Signal(intbv(0)[width:]), Signal(intbv(0)[width:])

    @always_comb
    def pack():
        written.next = concat(mantissa, shift)

    memory = distributed_ram(clk, write, write_slot, written, slot, read, depth=entries)

    @always_comb
    def unpack():
        slot_mantissa.next = read[width:FACTOR_SHIFT_BITS]
        slot_shift.next = read[FACTOR_SHIFT_BITS:]

    return pack, memory, unpack
