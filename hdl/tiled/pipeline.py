"""Small parts of the tiled array's pipelines: delays, bursts, operands out of a word."""

from myhdl import always, block

from golden.config import OPERAND_BITS
from hdl.delay import register
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
        burst.first.next = start and not reset
        burst.last.next = not reset and (
            (start and last_index == 0) or (burst.active and not burst.last and burst.index + 1 == last_index)
        )
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

    return count


@block
def operands_of_word(word, operands):
    """The int8 operands in a word, the lowest byte first."""
    return [
        number_of(word((i + 1) * OPERAND_BITS, i * OPERAND_BITS), operand) for i, operand in enumerate(operands)
    ]
