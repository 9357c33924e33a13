"""Sums of V over all keys of a head: what the mean value of residual compensation is made of."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv

from golden.config import OPERAND_BITS, clog2
from hdl.hierarchy import module
from hdl.memory import distributed_ram
from hdl.stream import Bits, Flag


class ValueSumAdds:
    """A beat of V to add: ``enable``, ``first`` (of key 0: replaces the sums), ``address`` = {key_set, beat}."""

    def __init__(self, config):
        self.enable = Flag().signal()
        self.first = Flag().signal()
        self.address = Bits(clog2(2 * config.row_beats)).signal()
        self.data = Bits(config.stream_bits).signal()


@block
def add(first, value_bits, stored_bits, total_bits, bits):
    value = Signal(intbv(0, min=-(1 << (OPERAND_BITS - 1)), max=1 << (OPERAND_BITS - 1)))
    stored = Signal(intbv(0, min=-(1 << (bits - 1)), max=1 << (bits - 1)))
    total = Signal(intbv(0, min=-(1 << (bits - 1)), max=1 << (bits - 1)))
    modulus = 1 << bits

    @always_comb
    def operands():
        value.next = value_bits.signed()
        if first:
            stored.next = 0
        else:
            stored.next = stored_bits.signed()

    @always_comb
    def sum_of_two():
        total.next = value + stored

    @always_comb
    def as_bits():
        total_bits.next = total & (modulus - 1)

    return operands, sum_of_two, as_bits


@module
def value_sum(clk, adds, reads, config):
    """Adds a beat of V a cycle (``ValueSumAdds``) to the sums of its key set; one cycle from register to memory.

    ``reads`` (``hdl.visible_sum.ValueSumsRead``): one cycle of latency, at any time.
    """
    bits = config.value_sum_bits
    depth = 2 * config.row_beats
    stored_word = Signal(intbv(0)[config.stream_bytes * bits :])
    read_word = Signal(intbv(0)[config.stream_bytes * bits :])
    totals = [Signal(intbv(0)[bits:]) for _ in range(config.stream_bytes)]
    total_word = ConcatSignal(*reversed(totals))
    adders = [
        add(
            adds.first, adds.data(OPERAND_BITS * (i + 1), OPERAND_BITS * i), stored_word(bits * (i + 1), bits * i),
            totals[i], bits,
        )
        for i in range(config.stream_bytes)
    ]  # fmt: skip
    running = distributed_ram(clk, adds.enable, adds.address, total_word, adds.address, stored_word, depth=depth)
    readable = distributed_ram(clk, adds.enable, adds.address, total_word, reads.address, read_word, depth=depth)

    @always(clk.posedge)
    def read_register():
        reads.data.next = read_word

    return adders, running, readable, read_register
