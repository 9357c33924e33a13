"""From the control of the systolic array to its rows, and from row to row."""

from myhdl import Signal

from hdl.delay import cleared_register, register
from hdl.hierarchy import module
from hdl.tiled import interfaces


class RowControl(interfaces.RowControl):
    """What the control tells row 0, and each row the next one a cycle later.

    As `hdl.tiled.interfaces.RowControl`, with the cycles of `hdl.systolic.timing`; what the bursts, sums and the query
    memory need is the same. (`round`, `advance`, `swap`, `value`, `clear` and `accumulate` aren't used.)

    Attributes:
        begin: the next cycle is cycle 0 of a round.
        take: cycle 3: lane 0 takes its column from the work item; lane j does so j cycles later, the last one ends the item.
        feed: stage 3, the query element belongs to the round; else zeros enter the chain.
        score: lane 0 is in SDDMM (else in SpMM, or idle) from cycle 4 on, as multiplexers count; lane j is j cycles later.
    """

    def __init__(self, config):
        super().__init__(config)
        self.feed = Signal(False)
        self.score = Signal(False)

    def flags(self):
        bursts = [self.chosen, self.scored, self.exponent, self.pushed]
        return [self.begin, self.take, self.feed, self.score, self.scale, self.read, self.write] + [
            flag for burst in bursts for flag in (burst.active, burst.first, burst.last)
        ]

    def numbers(self):
        return [
            self.ring, self.word, self.byte, self.read_dimension, self.write_dimension, self.mantissa, self.shift,
            self.chosen.index, self.scored.index, self.exponent.index, self.pushed.index,
        ]  # fmt: skip


@module
def hand_down(clk, reset, above, below):
    """`below` (`RowControl`) is `above`, a cycle later."""
    flags = [cleared_register(clk, reset, source, target) for source, target in zip(above.flags(), below.flags())]
    numbers = [register(clk, source, target) for source, target in zip(above.numbers(), below.numbers())]
    return flags, numbers
