"""Small parts of the tiled array's pipelines: delays, bursts, operands out of a word."""

from myhdl import always, always_comb, block

from golden.config import OPERAND_BITS
from hdl.delay import cleared_register, port_copy, register
from hdl.tiled.interfaces import Burst
from hdl.wires import number_of


@block
def delay_number(clk, source, targets):
    """Each of `targets` is the one before it (the first one: `source`), a cycle later."""
    stages = [source] + targets
    return [register(clk, a, b) for a, b in zip(stages, stages[1:])]


@block
def count_burst(clk, reset, start, burst):
    """A burst begins in the cycle after `start` (which must not come while one is under way, but in its last cycle)."""
    last_index = burst.length - 1

    @always(clk.posedge)
    def count():
        if reset:
            burst.active.next = False
            burst.index.next = 0
        elif start:
            burst.active.next = True
            burst.index.next = 0
        elif burst.last:
            burst.active.next = False
        elif burst.active:
            burst.index.next = burst.index + 1

    @always_comb
    def ends():
        burst.first.next = burst.active and burst.index == 0
        burst.last.next = burst.active and burst.index == last_index

    return count, ends


@block
def burst_for_all_rows(clk, reset, start, burst):
    """A burst begins in the second cycle after `start`: all rows read registers, not what is made of the count."""
    counted = Burst(burst.length)
    return (
        count_burst(clk, reset, start, counted),
        [cleared_register(clk, reset, getattr(counted, name), getattr(burst, name)) for name in ("active", "first", "last")],
        register(clk, counted.index, burst.index),
    )


@block
def write_of_row(clk, writes, row, write, shift=0):
    """The writes of a row out of those of several, a cycle later: the rows are all over the part.

    writes, write: ports with ``enable``, ``address`` and ``data``; ``writes.row``: the row that is written, the number
    ``row`` without its lowest ``shift`` bits.
    """

    @always(clk.posedge)
    def enable():
        write.enable.next = writes.enable and writes.row == row >> shift

    return enable, port_copy(clk, writes, write, ("address", "data"))


@block
def operands_of_word(word, operands):
    """The int8 operands in a word, the lowest byte first."""
    return [
        number_of(word((i + 1) * OPERAND_BITS, i * OPERAND_BITS), operand) for i, operand in enumerate(operands)
    ]
