"""Sums of V over all keys of a head: what the mean value of residual compensation is made of."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv

from golden.config import OPERAND_BITS, clog2
from hdl.add_subtract import accumulate
from hdl.delay import register_copy
from hdl.hierarchy import module
from hdl.memory import distributed_ram
from hdl.stream import Bits, Flag, Signed
from hdl.wires import bits_of


class ValueSumAdds:
    """A beat of V to add: ``enable``, ``first`` (of key 0: replaces the sums), ``address`` = {key_set, beat}."""

    def __init__(self, config):
        self.enable = Flag().signal()
        self.first = Flag().signal()
        self.address = Bits(clog2(2 * config.row_beats)).signal()
        self.data = Bits(config.stream_bits).signal()


@block
def add(clk, first, value_bits, stored_bits, total_bits, bits):
    """``total_bits`` one cycle after the operands."""
    value, stored, total = (Signed(bits).signal() for _ in range(3))
    anew, never = Signal(False), Signal(False)

    @always(clk.posedge)
    def operands():
        value.next = value_bits.signed()
        stored.next = stored_bits.signed()

    return (
        operands, register_copy(clk, first, anew), accumulate(stored, anew, value, never, total),
        bits_of(total, total_bits),
    )  # fmt: skip


@module
def value_sum(clk, adds, reads, config):
    """Adds a beat of V a cycle (``ValueSumAdds``) to the sums of its key set; two cycles from register to memory.

    ``reads`` (``hdl.visible_sum.ValueSumsRead``): one cycle of latency, at any time.
    """
    bits = config.value_sum_bits
    depth = 2 * config.row_beats
    stored_word = Signal(intbv(0)[config.stream_bytes * bits :])
    read_word = Signal(intbv(0)[config.stream_bytes * bits :])
    so_far = Signal(intbv(0)[config.stream_bytes * bits :])
    totals = [Signal(intbv(0)[bits:]) for _ in range(config.stream_bytes)]
    total_word = ConcatSignal(*reversed(totals))
    adders = [
        add(
            clk, adds.first, adds.data(OPERAND_BITS * (i + 1), OPERAND_BITS * i), so_far(bits * (i + 1), bits * i),
            totals[i], bits,
        )
        for i in range(config.stream_bytes)
    ]  # fmt: skip
    write = Signal(False)
    write_address = Signal(intbv(0)[len(adds.address) :])
    running = distributed_ram(clk, write, write_address, total_word, adds.address, stored_word, depth=depth)
    readable = distributed_ram(clk, write, write_address, total_word, reads.address, read_word, depth=depth)

    if config.row_beats > 1:

        @always_comb
        def sums_so_far():
            so_far.next = stored_word

    else:  # the next beat of the key set comes in the cycle in which the sums with the last one are written

        @always_comb
        def sums_so_far():
            so_far.next = stored_word
            if write and write_address == adds.address:
                so_far.next = total_word

    @always(clk.posedge)
    def place_of_sums():
        write.next = adds.enable
        write_address.next = adds.address

    @always(clk.posedge)
    def read_register():
        reads.data.next = read_word

    return adders, sums_so_far, place_of_sums, running, readable, read_register
