"""From the control of the systolic array to its rows, and from row to row."""

from myhdl import Signal

from hdl.tiled import interfaces


class RowControl(interfaces.RowControl):
    """What the control tells row 0, and each row the next one a cycle later (`hand_down`).

    As `hdl.tiled.interfaces.RowControl`, with the cycles of `hdl.systolic.timing`; what the bursts, sums and the query
    memory need is the same. (`round`, `advance`, `swap`, `value`, `anew` and `accumulate` aren't used.)

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
        return [
            self.begin, self.take, self.feed, self.score, self.scale, self.read, self.write, *self.burst_flags(),
        ]  # fmt: skip
