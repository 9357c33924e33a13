"""When what happens in the systolic array: stages of an element, the skew, and the schedule of a round.

Stages of an element of column c in row r, counted from the cycle in which its address is at the memories:

    0          address of the column memories (in row r also of its query memory, r cycles later)
    1, 2, 3    as in the tiled array: outputs and registers; query byte chosen
    4 + c + r  column register c, and query register c
    5 + c + r  operands of the lane that owns column c: its two multiplexers are between 4 and 5
    6 + c + r  product
    7 + c + r  SDDMM: score; SpMM: partial sum of this lane and those to its left
    6 + W + r  SpMM: the partial sum has left on the right, whatever the columns are

Lane j owns a column c from j to W - N + j, so it is needed from cycle j to cycle d + W - N + j - 1 of each phase. What
comes lane by lane is therefore timed lane by lane: its input selection, its phase, its score, its probability.

A round in row 0 (d = 16, N = 4, W = 16; P is `period`), S = `values`:

    cycle               0         d         d+W-N     S         S+d       P
    column memories     |  K      |                   |  V      |         |  K of the next round
    column 0            ....|=====K=====|             ....|=====V=====|
    column W - 1        ....              |=====K=====|                       |=====V=====|
    lane 0, at most     ....|========= SDDMM ========|....|======= SpMM =========|.... SDDMM of the next round
    lane N - 1, at most ....  |========= SDDMM ========|....|======= SpMM =========|
    scaler, maximum                                |------|
    exponentials                                       |----|
    sums of the queries                                                   |=========|

A lane's score waits for the scaler until d + W - N + j, when every column it may own has passed; its probability is there
just before the first V element that it may need. Then the next round may take the lanes from the left, although this
one still leaves on the right.
"""

from dataclasses import dataclass

from golden.config import Config, ConfigError
from hdl.tiled.timing import EXPONENT_CYCLES, MAXIMUM_CYCLES, SCALER_CYCLES

ELEMENT = 3  # stage in which an element leaves the memories, before any skew
COLUMN = ELEMENT + 1  # of column 0
OPERANDS = COLUMN + 1
PRODUCT = OPERANDS + 1
SCORE = PRODUCT + 1




@dataclass(frozen=True)
class Timing:
    """The schedule of one configuration, in cycles of row 0 from a round's first address.

    Raises:
        ConfigError: the array is too high, or d too small, for the schedule.
    """

    config: Config

    def __post_init__(self):
        config = self.config
        if config.d < config.lanes + 4:
            raise ConfigError(f"configuration {config.name!r}: d is {config.d}, but must be at least lanes + 4")
        if config.tile_keys < 2 * config.lanes:
            raise ConfigError(f"configuration {config.name!r}: tile_keys must be at least twice the lanes")
        if self.written - self.period >= self.period or self.taken + self.config.rows > self.period:
            raise ConfigError(f"configuration {config.name!r}: {config.rows} rows are too many for rounds of {self.period} cycles")

    @property
    def spare(self) -> int:
        """Columns without a lane: the most bubble registers that a partial sum passes."""
        return self.config.tile_keys - self.config.lanes

    @property
    def scale(self) -> int:
        """Lane 0 is chosen for the scaler."""
        return self.config.d - 1 + self.spare + SCORE

    @property
    def maximum(self) -> int:
        """The running maximum includes this round."""
        return self.scale + SCALER_CYCLES + self.config.lanes - 1 + MAXIMUM_CYCLES

    @property
    def exponents(self) -> int:
        """Lane 0 is chosen for its exponential; the maximum is needed a cycle later."""
        return self.maximum - 1

    @property
    def probabilities(self) -> int:
        """Lane 0 takes its probability."""
        return self.exponents + EXPONENT_CYCLES

    @property
    def values(self) -> int:
        """First address of V."""
        return self.probabilities + 1 - COLUMN

    @property
    def period(self) -> int:
        """Cycles of a round: when lane 0 is certainly free again."""
        return self.values + self.config.d + self.spare

    @property
    def sum_update(self) -> int:
        """First partial sum is there to be added to its query's sum."""
        return self.values + SCORE + self.config.tile_keys - 1

    @property
    def sum_read(self) -> int:
        """A query's sum is addressed: memory, register and rescaling meet the partial sum."""
        return self.sum_update - 3

    @property
    def sum_write(self) -> int:
        return self.sum_update + 1

    @property
    def written(self) -> int:
        """The last row writes the round's last sum."""
        return self.sum_write + self.config.d - 1 + self.config.rows - 1

    @property
    def taken(self) -> int:
        """The last row's work item has gone, and what is behind it is shown."""
        return COLUMN + self.config.lanes + self.config.rows + 1
