"""Build parameters of the core, and every width that follows from them.

One frozen dataclass; nothing else in the project repeats a width. Lengths are run-time values and no part of it.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property

# Number formats that no build parameter changes (docs/algorithm.md, "Number formats").
OPERAND_BITS = 8  # int8 queries, keys and values
MANTISSA_BITS = 16  # of the head's factor; normalised, so the leading bit is one
FACTOR_SHIFT_BITS = 5
FACTOR_SHIFT_BASE = 18  # factor = mantissa * 2^-(18 + shift), below 1/4
PREDICTED_MANTISSA_BITS = 4  # of the same factor, in prediction
PREDICTED_FRACTION = 3  # fraction bits of a predicted score (log2 units)
PREDICTED_BITS = 12  # signed, saturating
DISTANCE_BITS = 8  # of a predicted score below its maximum; saturates where the exponential is zero anyway
WEIGHT_FRACTION = 16  # fraction bits of a predicted exponential
THRESHOLD_FRACTION = 24
KEPT_FRACTION = 16  # fraction bits of 1 - rho, the kept share of the predicted probability
SCORE_FRACTION = 7  # fraction bits of an exact score (log2 units)
DOT_BITS = 18  # of an exact dot product as the scaler's multiplier takes it
PROBABILITY_FRACTION = 11  # fraction bits of a probability; 1.0 is a legal value
MULTIPLIER_BITS = 18  # signed operands of one DSP block
OUTPUT_BITS = 16
OUTPUT_FRACTION = 8
LENGTH_BITS = 16  # of n_q
SYSTOLIC_OVERHEAD = 16  # cycles of a systolic round, at most, besides 2 * (d + tile_keys)
MIN_QUERY_CYCLES = 4  # of a query in the normalizer, which adds up V in a loop of that many stages


def clog2(x: int) -> int:
    """Bits that address ``x`` entries: ceil(log2(x)), and 0 for 1."""
    return (x - 1).bit_length()


class ConfigError(ValueError):
    """A build parameter outside what the core supports; the message says what is allowed."""


@dataclass(frozen=True)
class Config:
    """Build parameters. Shapes are those of ``docs/architecture.md``.

    Attributes:
        name: the configuration's name, as flags and reports show it.
        array: organisation of the PE array: ``tiled``, ``systolic`` (the paper's; what is said of ``tiled`` holds) or ``banked``.
        rows: H, PE rows (tiled: row r owns queries r, r + H, ... of a block) or clusters (banked).
        lanes: N, lanes of a row or cluster; banked: lane j owns the keys k with k mod N = j.
        tile_keys: W, keys of a tile; banked: of a word of the bitmap.
        slots: G, queries of one row in a block of H * G queries (tiled), or in flight in a cluster (banked).
        span: lane j reads tile columns c with c mod N in {j - span + 1 ... j} (cyclic); N is the full connection
            (tiled only).
        lane_width: M, multipliers of a lane (banked only; 1 otherwise).
        ring_groups: groups of queries whose bitmaps and rows wait for the array (banked only).
        output_ring: queries between dispatch and the normalizer (banked only).
        d: dimensions of a head.
        max_keys: the longest ``n_k``.
        stream_bits: width of the AXI4-Stream ports.
        predict_queries, predict_keys, predict_width: queries x keys x dimensions that the predictor multiplies a cycle.
        softmax_lanes: queries whose predicted scores are post-processed side by side.
        drain_rows: PE rows that the normalizer drains side by side; banked: movers, each of which takes finished rows
            from every ``drain_rows``-th cluster.
        prediction_bits: sign and magnitude of a quantised level.
    """

    name: str
    rows: int
    slots: int
    lanes: int
    tile_keys: int
    span: int
    d: int
    max_keys: int
    stream_bits: int
    predict_queries: int
    predict_keys: int
    predict_width: int
    softmax_lanes: int
    drain_rows: int
    prediction_bits: int = 4
    array: str = "tiled"
    lane_width: int = 1
    ring_groups: int = 1
    output_ring: int = 1

    def __post_init__(self):
        def require(condition, sentence):
            if not condition:
                raise ConfigError(f"configuration {self.name!r}: {sentence}")

        for field in fields(self):
            value = getattr(self, field.name)
            require(not isinstance(value, int) or value >= 1, f"{field.name} is {value}, but must be at least 1")
        require(self.array in ARRAYS, f"array is {self.array!r}, but must be one of {', '.join(ARRAYS)}")
        require(2 <= self.prediction_bits <= 8, f"prediction_bits is {self.prediction_bits}, but must be 2 to 8")
        require(self.span <= self.lanes, f"span is {self.span}, but must be at most lanes ({self.lanes})")
        require(self.d >= 16 and self.d & (self.d - 1) == 0, f"d is {self.d}, but must be a power of two from 16")
        powers = ["rows", "slots", "lanes", "tile_keys", "max_keys", "predict_keys", "drain_rows"]
        powers += ["predict_queries"] if self.array != "banked" else ["lane_width", "ring_groups", "output_ring"]
        for name in powers:
            require(self._power_of_two(name), f"{name} is {getattr(self, name)}, but must be a power of two")
        for large, small in (
            ("tile_keys", "lanes"),
            ("tile_keys", "predict_keys"),
            ("tile_keys", "stream_bytes"),
            ("max_keys", "tile_keys"),
            ("d", "stream_bytes"),
            ("stream_bytes", "predict_width"),
            ("predict_queries", "softmax_lanes"),
            *ORGANISATION_MULTIPLES[self.array],
        ):
            require(
                getattr(self, large) % getattr(self, small) == 0,
                f"{large} ({getattr(self, large)}) must be a multiple of {small} ({getattr(self, small)})",
            )
        require(
            self.d >= MIN_QUERY_CYCLES * self.normalizer_width,
            f"d / (drain_rows * lane_width) is {self.d / self.normalizer_width:g}, but must be at least {MIN_QUERY_CYCLES}",
        )
        if self.array == "banked":
            for field in ("lanes", "slots", "output_ring"):
                require(getattr(self, field) >= 2, f"{field} is {getattr(self, field)}, but must be at least 2")
            require(self.slot_cycles >= 4, f"d / lane_width is {self.slot_cycles}, but must be at least 4")
            require(
                self.lanes <= self.slot_cycles,
                f"lanes is {self.lanes}, but must be at most d / lane_width ({self.slot_cycles})",
            )
        else:
            require(self.lane_width == 1, f"lane_width is {self.lane_width}, but is 1 unless the array is banked")
        if self.array == "systolic":
            require(self.full_connection, f"span is {self.span}, but a systolic array has the full connection ({self.lanes})")
        require(self.stream_bits in (64, 128, 256, 512), f"stream_bits is {self.stream_bits}, but must be 64 to 512")

    def _power_of_two(self, name):
        return getattr(self, name) & (getattr(self, name) - 1) == 0

    def replace(self, **changes) -> "Config":
        """The same configuration with some build parameters changed (validated again)."""
        return replace(self, **changes)

    # -- shapes ---------------------------------------------------------------------------------------------------
    @property
    def stream_bytes(self) -> int:
        return self.stream_bits // 8

    @property
    def row_beats(self) -> int:
        """Stream beats of one row of Q, K or V."""
        return self.d // self.stream_bytes

    @property
    def normalizer_width(self) -> int:
        """Dimensions that the normalizer takes a cycle."""
        return self.drain_rows * self.lane_width

    @property
    def output_beats(self) -> int:
        """Stream beats of one row of O."""
        return self.d * OUTPUT_BITS // self.stream_bits

    @property
    def block_queries(self) -> int:
        return self.rows * self.slots

    @property
    def multipliers(self) -> int:
        """Of the array."""
        return self.rows * self.lanes * self.lane_width

    @property
    def slot_cycles(self) -> int:
        """Cycles in which a banked lane makes a score, or adds a value."""
        return self.d // self.lane_width

    @property
    def lane_keys(self) -> int:
        """Keys that a banked lane owns at most."""
        return self.max_keys // self.lanes

    @property
    def max_tiles(self) -> int:
        return self.max_keys // self.tile_keys

    @property
    def max_chunks(self) -> int:
        """Groups of ``predict_keys`` keys that the longest sequence has."""
        return self.max_keys // self.predict_keys

    @property
    def max_sub_rows(self) -> int:
        """Sub-rows of a full row of a tile (W / N)."""
        return self.tile_keys // self.lanes

    @property
    def lane_inputs(self) -> int:
        """Tile columns that a lane can read: the inputs of its multiplexer."""
        return self.span * self.tile_keys // self.lanes

    @property
    def full_connection(self) -> bool:
        return self.span == self.lanes

    @property
    def round_cycles(self) -> int:
        """Cycles of one round: d of SDDMM and d of SpMM; systolic: the most that they and the skew take."""
        if self.array == "systolic":
            return 2 * (self.d + self.tile_keys) + SYSTOLIC_OVERHEAD
        return 2 * self.d

    # -- widths ---------------------------------------------------------------------------------------------------
    @property
    def key_count_bits(self) -> int:
        """Holds 0 ... max_keys."""
        return clog2(self.max_keys + 1)

    @property
    def key_bits(self) -> int:
        """Holds a key's index."""
        return clog2(self.max_keys)

    @property
    def predict_dims_bits(self) -> int:
        """Holds 0 ... d."""
        return clog2(self.d + 1)

    @property
    def exponent_bits(self) -> int:
        """Of a row's power-of-two scale: 0 ... 7."""
        return clog2(OPERAND_BITS)

    @property
    def max_level(self) -> int:
        return (1 << (self.prediction_bits - 1)) - 1

    @property
    def predicted_dot_bits(self) -> int:
        """Signed dot product of two rows of levels."""
        return (self.d * self.max_level**2).bit_length() + 1

    @property
    def weight_bits(self) -> int:
        """Unsigned predicted exponential, 1.0 included."""
        return WEIGHT_FRACTION + 1

    @property
    def weight_sum_bits(self) -> int:
        """Sum of the predicted exponentials of a query."""
        return WEIGHT_FRACTION + clog2(self.max_keys) + 1

    @property
    def dot_bits(self) -> int:
        """Signed exact dot product of two int8 rows; (-128)^2 * d included."""
        return 2 * (OPERAND_BITS - 1) + clog2(self.d) + 2

    @property
    def dot_shift(self) -> int:
        """Low bits of a dot product that the scaler rounds away, so that one multiplier takes it."""
        return max(0, self.dot_bits - 1 - DOT_BITS)

    @property
    def dot_half(self) -> int:
        """Half of a unit of what is left, added for rounding."""
        return (1 << self.dot_shift) >> 1

    @property
    def score_bits(self) -> int:
        """Signed exact score; no legal factor (below 1/4) overflows it."""
        return self.score_integer_bits + SCORE_FRACTION

    @property
    def score_integer_bits(self) -> int:
        """Signed integer part of a score, as the running maximum has it (rounded up, so one more value)."""
        return 2 * (OPERAND_BITS - 1) + clog2(self.d) - 2 + 1

    @property
    def maximum_bits(self) -> int:
        """Signed running maximum: a score rounded up to an integer."""
        return self.score_integer_bits + 1

    @property
    def probability_bits(self) -> int:
        return PROBABILITY_FRACTION + 1

    @property
    def denominator_bits(self) -> int:
        """Sum of a query's probabilities, 1.0 each at most."""
        return PROBABILITY_FRACTION + clog2(self.max_keys) + 1

    @property
    def numerator_bits(self) -> int:
        """Signed sum of probability times value; a guard bit for the floors of rescaling."""
        return PROBABILITY_FRACTION + clog2(self.max_keys) + OPERAND_BITS + 1

    @property
    def value_sum_bits(self) -> int:
        """Signed sum of one dimension of V over the visible keys."""
        return OPERAND_BITS + clog2(self.max_keys)

    @property
    def select_bits(self) -> int:
        """Of a lane's multiplexer."""
        return clog2(self.lane_inputs)

    @cached_property
    def macs_per_cycle(self) -> int:
        """Low-bit multiply-accumulates of the predictor a cycle."""
        return self.predict_queries * self.predict_keys * self.predict_width


ARRAYS = ("tiled", "banked", "systolic")
ORGANISATION_MULTIPLES = {
    "tiled": (("block_queries", "predict_queries"), ("rows", "softmax_lanes"), ("rows", "drain_rows")),
    "systolic": (("block_queries", "predict_queries"), ("rows", "softmax_lanes"), ("rows", "drain_rows")),
    "banked": (("d", "lane_width"), ("stream_bytes", "lane_width"), ("rows", "drain_rows")),
}
"""(larger, smaller): build parameters of which the first must be a multiple of the second."""

_TILED = dict(span=2, d=32, max_keys=512, stream_bits=128, predict_queries=8, predict_keys=8, predict_width=4,
              softmax_lanes=1, drain_rows=4)  # fmt: skip
_BANKED = dict(array="banked", rows=4, lanes=4, lane_width=8, span=1, tile_keys=64, max_keys=512, stream_bits=128,
               predict_queries=12, predict_keys=8, predict_width=4, softmax_lanes=3, drain_rows=1, ring_groups=32,
               output_ring=64)  # fmt: skip
_PAPER = dict(rows=64, slots=8, lanes=16, tile_keys=64, span=16, d=64, max_keys=512, stream_bits=128, predict_queries=32,
              predict_keys=8, predict_width=8, softmax_lanes=4, drain_rows=8)  # fmt: skip

CONFIGS = {
    config.name: config
    for config in (
        Config("tiny", array="banked", rows=2, slots=2, lanes=2, lane_width=2, tile_keys=16, span=1, d=16, max_keys=64,
               stream_bits=64, predict_queries=3, predict_keys=4, predict_width=2, softmax_lanes=1, drain_rows=2,
               ring_groups=4, output_ring=8),
        Config("small", slots=4, d=32, **_BANKED),
        Config("small_3bit", slots=4, d=32, prediction_bits=3, **_BANKED),
        # 64 dimensions take the prediction 16 cycles: time enough for 12 queries one after the other.
        Config("bert", slots=8, d=64, **{**_BANKED, "softmax_lanes": 1}),
        Config("tiny_tiled", rows=2, slots=4, lanes=4, tile_keys=16, span=2, d=16, max_keys=64, stream_bits=64,
               predict_queries=2, predict_keys=4, predict_width=2, softmax_lanes=1, drain_rows=2),
        Config("tiny_paper", array="systolic", rows=2, slots=4, lanes=4, tile_keys=16, span=4, d=16, max_keys=64, stream_bits=64,
               predict_queries=2, predict_keys=4, predict_width=2, softmax_lanes=1, drain_rows=2),
        Config("small_tiled", rows=8, slots=8, lanes=16, tile_keys=64, **_TILED),
        Config("bert_tiled", rows=8, slots=8, lanes=16, tile_keys=64, **{**_TILED, "d": 64}),
        Config("paper", array="systolic", **_PAPER),
        Config("paper_tiled", **_PAPER),
    )
}  # fmt: skip


def named(name: str) -> Config:
    """The named configuration.

    Raises:
        ConfigError: no configuration has that name; the message lists those that exist.
    """
    if name not in CONFIGS:
        raise ConfigError(f"there is no configuration {name!r}; there are {', '.join(CONFIGS)}")
    return CONFIGS[name]
