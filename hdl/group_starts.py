"""Between the predictor and what takes its bitmaps: permission to begin a group of queries."""

from myhdl import Signal

from golden.config import clog2
from hdl.stream import Bits


class GroupStarts:
    """Permission for the predictor to begin a group, and its word that it does.

    `start` (one cycle, only while `room`; `room` knows of it in the next cycle) comes with the group's `count` of queries
    and whether it is the `head_last` group of its head.
    """

    def __init__(self, config):
        self.room = Signal(False)
        self.start = Signal(False)
        self.count = Bits(clog2(config.predict_queries) + 1).signal()
        self.head_last = Signal(False)
