"""Event counters: many wide counters for the price of one wide adder.

Each counter has a narrow accumulator; a sweep empties one accumulator a cycle into its word of a memory.
"""

from myhdl import Signal, always, always_comb, block, instances, intbv
from myhdl._Signal import Constant

from golden.config import clog2
from golden.registers import COUNTER_HIGH_BITS, REGISTER_MAP, WORD_BITS, counter_steps
from hdl.hierarchy import module
from hdl.memory import distributed_ram
from hdl.wires import wire


class Events:
    """What happened in a cycle: one number a counter, named like it in lower case (`events.kept`).

    Args:
        config: build parameters; they bound the numbers (`golden.registers.counter_steps`).
    """

    def __init__(self, config):
        for counter, most in counter_steps(config).items():
            setattr(self, counter.lower(), Signal(intbv(0)[most.bit_length() :]))


class CounterRead:
    """A read of half a counter: `request` stays until `done`, which lasts one cycle and comes with `value`.

    clock:    /-\\_/-\\_/-\\_/-\\_/-\\_
    request:  _/-----------\\_______
    done:     _________/---\\_______
    """

    def __init__(self):
        self.request = Signal(False)
        self.index = Signal(intbv(0)[clog2(len(REGISTER_MAP.counters)) :])
        self.high = Signal(False)
        self.done = Signal(False)
        self.value = Signal(intbv(0)[WORD_BITS:])


@block
def accumulator(clk, reset, step, clear, enable, taken, total):
    """`total` of the steps since it was last taken."""

    @always(clk.posedge)
    def accumulate():
        if reset or clear:
            total.next = 0
        elif taken and enable:
            total.next = step
        elif taken:
            total.next = 0
        elif enable:
            total.next = total + step

    return accumulate


@block
def is_number(index, number, flag):
    @always_comb
    def compare():
        flag.next = index == number

    return compare


@module
def counters(clk, reset, events, read, clear, enable, config, low_bits=WORD_BITS, high_bits=COUNTER_HIGH_BITS):
    """Counts `events` while `enable`; `clear` (one cycle) makes every counter 0, events of that cycle are lost.

    Reading the low half answers within one sweep (as many cycles as there are counters, and two), with a value that is
    exact at one of those cycles, and keeps the high half of the same cycle for later reads of it. A high half that was
    never taken reads 0. After a clear, the high half too answers within a sweep only.

    Args:
        low_bits, high_bits: the two halves of a counter; together they wrap.
    """
    steps = counter_steps(config)
    count = len(steps)
    bits = low_bits + high_bits
    bounds = [most * count for most in steps.values()]
    accumulated_bits = max(bounds).bit_length()

    index = Signal(intbv(0)[clog2(count) :])
    accumulated = [Signal(intbv(0)[accumulated_bits:]) for _ in range(count)]
    parts = []
    for number, (counter, bound) in enumerate(zip(steps, bounds)):
        taken = Signal(False)
        total = Signal(intbv(0)[bound.bit_length() :])
        step = getattr(events, counter.lower())
        parts.append(is_number(index, number, taken))
        parts.append(accumulator(clk, reset, step, clear, enable, taken, total))
        parts.append(wire(total, accumulated[number]))

    # The memories have no reset: the first sweep after a clear takes every old value as 0.
    to_clear = Signal(intbv(count)[clog2(count + 1) :])
    clearing, swept_clearing = Signal(False), Signal(False)

    always_on = Constant(True)
    stored = Signal(intbv(0)[bits:])
    swept_index = Signal(intbv(0)[clog2(count) :])
    swept_steps = Signal(intbv(0)[accumulated_bits:])
    swept_value = Signal(intbv(0)[bits:])
    total_value = Signal(intbv(0)[bits + 1 :])
    value = Signal(intbv(0)[bits:])
    value_high = Signal(intbv(0)[high_bits:])
    take_high, write_high = Signal(False), Signal(False)
    stored_high = Signal(intbv(0)[high_bits:])

    memory = distributed_ram(clk, always_on, swept_index, value, index, stored, depth=count)
    high_memory = distributed_ram(clk, write_high, swept_index, value_high, read.index, stored_high, depth=count)

    @always(clk.posedge)
    def sweep():
        if reset or index == count - 1:
            index.next = 0
        else:
            index.next = index + 1
        swept_index.next = index
        swept_steps.next = accumulated[index]
        swept_clearing.next = clearing
        if clearing:
            swept_value.next = 0
        else:
            swept_value.next = stored
        if reset or clear:
            to_clear.next = count
        elif clearing:
            to_clear.next = to_clear - 1

    @always_comb
    def add():
        clearing.next = to_clear != 0
        total_value.next = swept_value + swept_steps

    @always_comb
    def split():
        value.next = total_value[bits:]
        take_high.next = read.request and not read.done and not read.high and swept_index == read.index

    @always_comb
    def keep_high():
        write_high.next = take_high or swept_clearing
        if take_high:
            value_high.next = total_value[bits:low_bits]
        else:
            value_high.next = 0

    @always(clk.posedge)
    def answer():
        read.done.next = False
        if read.request and not read.done and read.high:
            read.done.next = not reset and not clearing and not swept_clearing
            read.value.next = stored_high
        elif take_high:
            read.done.next = not reset
            read.value.next = value[low_bits:]

    return instances()
