"""When what happens in the tiled array: pipeline stages of an element, and the schedule of a round.

An element's stages, counted from the cycle in which its address is at the memories (`tree` = stages of the adder tree):

    0      address of the column and query memories
    1, 2   their outputs, and the registers behind these
    3      columns broadcast to the rows; query byte chosen
    4      column chosen by each lane: it crosses the chip in a cycle of its own
    5      operands of the lanes, the multipliers' registers
    6      product
    7      SDDMM: score of the lane so far
    6 + tree, 7 + tree    SpMM: sum over the lanes; sum of the query, written in that cycle

A round, counted from stage 0 of its first element (d = 32, N = 16):

    cycle              0        32       64       96       128
    column memories    |SDDMM k |SpMM k-1|SDDMM   |SpMM k  |
                       |        |        |    k+1 |        |
    dot products ready           38
    scaler, maximum              |-----|  62
    exponentials                         |---|  85
    shifted into the lanes                  |---|
    operands of SpMM k                               101 ...

The scaler reads the lanes' scores during the SpMM phase, in which they stand still, and probabilities are shifted into
the lanes during the SDDMM phase, in which nothing reads them: neither needs a second register.
"""

from dataclasses import dataclass

from golden.config import Config, ConfigError, clog2
from hdl.exp2 import PROBABILITY_CYCLES

WORD_REGISTER = 2  # stage in which the word of a memory is in its register
COLUMNS = 3
CHOSEN = 4
OPERANDS = 5
PRODUCT = 6
SCORE = 7

SCALER_CYCLES = 6  # from the choice of a lane to its score
MAXIMUM_CYCLES = 3  # from the last lane's score to the running maximum
EXPONENT_CYCLES = 2 + PROBABILITY_CYCLES  # from the choice of a lane to its probability


@dataclass(frozen=True)
class Timing:
    """The schedule of one configuration; cycles count from a round's first address.

    Raises:
        ConfigError: maximum and exponentials of a round take longer than the multipliers' other work hides; or a lane has
            an odd number of inputs, which its multiplexer of pairs can't have.
    """

    config: Config

    def __post_init__(self):
        config = self.config
        if config.lane_inputs % 2:
            raise ConfigError(
                f"configuration {config.name!r}: span * tile_keys / lanes is {config.lane_inputs}, but must be even"
            )
        if self.probabilities + config.lanes > 3 * config.d + OPERANDS - 1:
            raise ConfigError(
                f"configuration {config.name!r}: d is {config.d}, which is too few cycles a phase for"
                f" {config.lanes} lanes: maximum and exponentials of a round would not hide"
            )

    @property
    def tree_cycles(self) -> int:
        """Stages of the adder tree."""
        return clog2(self.config.lanes)

    @property
    def total(self) -> int:
        """Stage of the sum over the lanes."""
        return PRODUCT + self.tree_cycles

    @property
    def sum_read(self) -> int:
        """Stage in which a query's sum is addressed: memory, register and rescaling meet the sum over the lanes."""
        return self.total - 3

    @property
    def sum_write(self) -> int:
        return self.total + 1

    @property
    def scale(self) -> int:
        """First lane is chosen for the scaler: all scores are complete."""
        return self.config.d - 1 + SCORE

    @property
    def scores(self) -> int:
        """First scaled score."""
        return self.scale + SCALER_CYCLES

    @property
    def maximum(self) -> int:
        """The running maximum includes this round."""
        return self.scores + self.config.lanes - 1 + MAXIMUM_CYCLES

    @property
    def exponents(self) -> int:
        """First lane is chosen for its exponential; the maximum is needed a cycle later.

        Not before the next round, or the probabilities would replace those that the SpMM phase still reads; nor so early
        that all are there before that phase's last sum is written.
        """
        last_write = 2 * self.config.d - 1 + self.sum_write
        return max(2 * self.config.d, self.maximum - 1, last_write - self.config.lanes - EXPONENT_CYCLES + 1)

    @property
    def probabilities(self) -> int:
        """First probability is shifted into the lanes."""
        return self.exponents + EXPONENT_CYCLES
