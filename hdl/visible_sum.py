"""The sum of V over the keys that a query sees, for ``normalizer_width`` dimensions a cycle: the head's total, or, in causal
heads, a running sum that takes one more row of V with each query."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv

from golden.config import OPERAND_BITS, clog2
from hdl.choose import choose
from hdl.hierarchy import module
from hdl.memory import distributed_ram, ram_with_register
from hdl.stream import Signed

VISIBLE_SUM_CYCLES = 4  # from a step to its sums


class ValueWrites:
    """Rows of V, beat by beat; address is {key set, key, beat}."""

    def __init__(self, config):
        self.enable = Signal(False)
        self.address = Signal(intbv(0)[clog2(2 * config.max_keys * config.row_beats) :])
        self.data = Signal(intbv(0)[config.stream_bits :])


class ValueSumsRead:
    """Sums of V over all keys of a key set, ``stream_bytes`` dimensions side by side, the lowest in the low bits.

    address is {key set, beat}; the data is there one cycle later.
    """

    def __init__(self, config):
        self.address = Signal(intbv(0)[clog2(2 * config.row_beats) :])
        self.data = Signal(intbv(0)[config.stream_bytes * config.value_sum_bits :])


class VisibleStep:
    """One step: the running sums of the dimensions of ``word`` become (and leave as) base + change.

    valid: the running sums change. restart: base is ``total`` of the key set, or 0; otherwise base is the running sum.
    add, subtract: change is V of ``key``, or that negated; otherwise 0.
    Steps on the same word must be four or more cycles apart.
    """

    def __init__(self, config):
        self.valid = Signal(False)
        self.restart = Signal(False)
        self.total = Signal(False)
        self.add = Signal(False)
        self.subtract = Signal(False)
        self.key_set = Signal(False)
        self.key = Signal(intbv(0)[config.key_bits :])
        self.word = Signal(intbv(0)[clog2(config.d // config.normalizer_width) :])


@block
def _sum_of_lane(clk, stored, total, value, restart, take_total, add, subtract, result):
    """base and change, then their sum: two cycles for one dimension."""
    base = Signed(len(stored)).signal()
    change = Signed(OPERAND_BITS + 1).signal()
    running_sum = Signed(len(stored)).signal()

    @always(clk.posedge)
    def base_and_change():
        if not restart:
            base.next = stored.signed()
        elif take_total:
            base.next = total.signed()
        else:
            base.next = 0
        if add:
            change.next = value.signed()
        elif subtract:
            change.next = -value.signed()
        else:
            change.next = 0

    @always(clk.posedge)
    def addition():
        running_sum.next = base + change

    @always_comb
    def as_bits():
        result.next = running_sum[len(result) :]

    return base_and_change, addition, as_bits


@module
def visible_sum(clk, reset, values, value_sums, step, sums, config):
    """Running sums of V; the memory of V's rows is in here.

    values: ``ValueWrites``. value_sums: ``ValueSumsRead``. step: ``VisibleStep``, one a cycle.
    sums: ``normalizer_width`` signed sums side by side, the lowest dimension in the low bits, four cycles after their step.
    """
    lanes = config.normalizer_width
    sum_bits = config.value_sum_bits
    words = config.d // lanes
    assert words >= VISIBLE_SUM_CYCLES, "steps on the same word must be four or more cycles apart"
    parts = config.stream_bytes // lanes  # steps that a beat of V lasts
    assert parts >= 1
    beat_bits, part_bits = clog2(config.row_beats), clog2(parts)
    pieces = []

    # Cycle 0: addresses. Cycle 1: the memories' data. Cycle 2: V in a register, totals chosen.
    value_address = Signal(intbv(0)[len(values.address) :])
    value_beat = Signal(intbv(0)[config.stream_bits :])
    total = Signal(intbv(0)[lanes * sum_bits :])
    chosen_total = Signal(intbv(0)[lanes * sum_bits :])
    part_1 = Signal(intbv(0)[max(1, part_bits) :])
    part_2 = Signal(intbv(0)[max(1, part_bits) :])

    @always_comb
    def addresses():
        value_address.next = (((step.key_set << config.key_bits) | step.key) << beat_bits) | (step.word >> part_bits)
        value_sums.address.next = (step.key_set << beat_bits) | (step.word >> part_bits)

    rows = ram_with_register(clk, values.enable, values.address, values.data, value_address, value_beat,
                             depth=2 * config.max_keys * config.row_beats)  # fmt: skip

    def slices(signal, bits):
        return [signal(bits * (i + 1), bits * i) for i in range(parts)]

    pieces.append(choose(slices(value_sums.data, lanes * sum_bits), part_1, chosen_total))

    @always(clk.posedge)
    def words_in_registers():
        total.next = chosen_total
        part_1.next = step.word & (parts - 1)
        part_2.next = part_1

    # The step's settings, along with it.
    word_1, word_2, word_3, word_4 = [Signal(intbv(0)[clog2(words) :]) for _ in range(4)]
    valid_1, valid_2, valid_3, valid_4 = [Signal(False) for _ in range(4)]
    restart_1, restart_2, total_1, total_2, add_1, add_2, subtract_1, subtract_2 = [Signal(False) for _ in range(8)]

    @always(clk.posedge)
    def settings():
        word_1.next = step.word
        word_2.next = word_1
        word_3.next = word_2
        word_4.next = word_3
        restart_1.next = step.restart
        restart_2.next = restart_1
        total_1.next = step.total
        total_2.next = total_1
        add_1.next = step.add
        add_2.next = add_1
        subtract_1.next = step.subtract
        subtract_2.next = subtract_1

    @always(clk.posedge)
    def valid_steps():
        if reset:
            valid_1.next = False
            valid_2.next = False
            valid_3.next = False
            valid_4.next = False
        else:
            valid_1.next = step.valid
            valid_2.next = valid_1
            valid_3.next = valid_2
            valid_4.next = valid_3

    # Cycle 2: V of the step's dimensions, running sums. Cycle 3: base and change. Cycle 4: sums.
    step_values = Signal(intbv(0)[lanes * OPERAND_BITS :])
    stored = Signal(intbv(0)[lanes * sum_bits :])
    pieces.append(choose(slices(value_beat, lanes * OPERAND_BITS), part_2, step_values))
    running = distributed_ram(clk, valid_4, word_4, sums, word_2, stored, depth=words)

    results = [Signal(intbv(0)[sum_bits:]) for _ in range(lanes)]
    for lane in range(lanes):
        low, high = lane * sum_bits, (lane + 1) * sum_bits
        value = step_values(OPERAND_BITS * (lane + 1), OPERAND_BITS * lane)
        pieces.append(
            _sum_of_lane(clk, stored(high, low), total(high, low), value, restart_2, total_2, add_2, subtract_2,
                         results[lane])
        )  # fmt: skip
    together = ConcatSignal(*reversed(results))

    @always_comb
    def output():
        sums.next = together

    return addresses, rows, words_in_registers, settings, valid_steps, running, output, pieces
