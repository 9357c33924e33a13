"""From low-bit dot products to predicted scores (golden twin: golden.predictor.predict)."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv

from golden.config import FACTOR_SHIFT_BITS, PREDICTED_BITS, PREDICTED_MANTISSA_BITS, clog2
from golden.predictor import shift_base
from hdl.add_gated import add_gated
from hdl.choose import choose_a_cycle_later
from hdl.cleared import cleared_unless, either
from hdl.delay import delayed, register
from hdl.hierarchy import module
from hdl.wires import like

SCALER_CYCLES = 8
"""From a pass to its scores: select (2), register, partial products, product, fine shift, coarse shift, round."""

LOWEST, HIGHEST = -(1 << (PREDICTED_BITS - 1)), (1 << (PREDICTED_BITS - 1)) - 1
_FINE_BITS = 3  # of a shift; the coarse shift is by multiples of 8


class ScorePass:
    """The scores of one query a lane against one chunk.

    Attributes:
        number: which of the lane's queries; ``copies``: the same for each lane, from registers of their own.
        chunk: of the keys.
        mantissa, shift: of the head's factor; the mantissa as the predictor has it, 8 ... 15.
        causal, last_visible: last key that the first query of the group sees, the others one more each if causal.
    """

    def __init__(self, config):
        passes = config.predict_queries // config.softmax_lanes
        self.number = Signal(intbv(0, min=0, max=max(2, passes)))
        self.copies = [like(self.number) for _ in range(config.softmax_lanes)]
        self.chunk = Signal(intbv(0)[max(1, clog2(config.max_chunks)) :])
        self.mantissa = Signal(intbv(0)[PREDICTED_MANTISSA_BITS:])
        self.shift = Signal(intbv(0)[FACTOR_SHIFT_BITS:])
        self.causal = Signal(False)
        self.last_visible = Signal(intbv(0)[config.key_bits :])


def score_signals(config):
    """Signed predicted scores of a chunk."""
    return [Signal(intbv(0, min=LOWEST, max=HIGHEST + 1)) for _ in range(config.predict_keys)]


def signed_signal(bits):
    return Signal(intbv(0, min=-(1 << (bits - 1)), max=1 << (bits - 1)))


@block
def _product(clk, dot, mantissa, product):
    """dot * mantissa (8 ... 15) in carry chains, three cycles; ``mantissa``: the lower three bits, a cycle behind ``dot``."""
    bits = len(dot) + 2
    once, twice, high, low, high_sum, low_sum = (signed_signal(bits) for _ in range(6))
    late_mantissa = like(mantissa)
    always_counts = Signal(True)
    fours, rest = signed_signal(len(product) - 2), Signal(intbv(0)[2:])
    word = ConcatSignal(fours, rest)

    @always(clk.posedge)
    def arrive():
        once.next = dot.signed()

    @always_comb
    def double():
        twice.next = once << 1

    @always(clk.posedge)
    def multiply():
        high.next = high_sum
        low.next = low_sum
        fours.next = high + (low >> 2)
        rest.next = low[2:]

    @always_comb
    def join():
        product.next = word.signed()

    return (
        arrive, double, register(clk, mantissa, late_mantissa),
        add_gated(twice, always_counts, once, late_mantissa(2), high_sum),
        add_gated(twice, late_mantissa(1), once, late_mantissa(0), low_sum), multiply, join,
    )  # fmt: skip


@block
def _coarse(clk, clear, fine, shifted, places):
    """``fine`` shifted right by ``places``, or 0."""
    bits = len(shifted)
    moved = signed_signal(len(fine))

    @always_comb
    def shift():
        moved.next = fine >> places

    return shift, cleared_unless(clk, clear, moved(bits, 0), shifted)


@block
def _shift_right(clk, product, amount, shifted, beyond, lead):
    """``shifted`` = floor(product * 2^(lead - amount)), if that isn't ``beyond`` its bits; two cycles."""
    wide_bits, bits = len(product) + lead, len(shifted)
    fine_range = 1 << _FINE_BITS
    shifts = -(-wide_bits // fine_range) + 1  # the last one leaves only the sign
    wide, fine = signed_signal(wide_bits), signed_signal(wide_bits)
    clears = Signal(intbv(0)[shifts:])
    parts = [Signal(intbv(0)[wide_bits:]) for _ in range(shifts)]
    coarse = Signal(intbv(0)[wide_bits:])

    @always_comb
    def extend():
        wide.next = product << lead

    @always_comb
    def shift_fine():
        fine.next = wide >> (amount % fine_range)

    @always_comb
    def other_shifts():
        for i in range(shifts - 1):
            clears.next[i] = amount // fine_range != i
        clears.next[shifts - 1] = amount // fine_range < shifts - 1

    @always(clk.posedge)
    def cut():
        shifted.next = coarse[bits:]
        different = False
        for i in range(bits - 1, wide_bits - 1):
            if coarse[i] != coarse[wide_bits - 1]:
                different = True
        beyond.next = different

    return (
        extend, shift_fine, other_shifts, cut, either(parts, coarse),
        [_coarse(clk, clears(i), fine, parts[i], i * fine_range) for i in range(shifts)],
    )  # fmt: skip


@block
def _round(clk, twice, beyond, negative, visible, score):
    """Half of ``twice`` (two's complement), rounded half up and saturated; the lowest score if not ``visible``.

    ``beyond``: ``negative`` alone counts of the number. One cycle.
    """
    plus_one = signed_signal(len(twice) + 1)
    rounded = signed_signal(len(twice))

    @always_comb
    def increment():
        plus_one.next = twice.signed() + 1

    @always_comb
    def halve():
        rounded.next = plus_one >> 1

    @always(clk.posedge)
    def saturate():
        if not visible or (beyond and negative):
            score.next = LOWEST
        elif beyond or (rounded[PREDICTED_BITS - 1] and not rounded[PREDICTED_BITS]):
            score.next = HIGHEST
        else:
            score.next = rounded

    return increment, halve, saturate


@module
def key_scaler(clk, dots, number, mantissa, key_exponent, shift, visible, score, lead):
    """One key's score from the dot product ``number`` of those of the lane's queries, ``SCALER_CYCLES`` cycles later.

    ``mantissa``: the lower three bits, two cycles behind the dot products. Four cycles behind them come ``key_exponent`` and
    ``shift``: to the right, for a key exponent of 0, of dot * mantissa * 2^lead. The result has one fraction bit, for rounding.
    """
    selected, dot = (Signal(intbv(0)[len(dots[0]) :]) for _ in range(2))
    product = signed_signal(len(dot) + PREDICTED_MANTISSA_BITS)
    twice = Signal(intbv(0)[PREDICTED_BITS + 1 :])
    sign = len(product) - 1
    beyond, negative, early_negative = Signal(False), Signal(False), Signal(False)
    amount = Signal(intbv(0)[len(shift) :])

    @always(clk.posedge)
    def amounts():
        amount.next = shift - key_exponent
        early_negative.next = product[sign]
        negative.next = early_negative

    return (
        amounts,
        choose_a_cycle_later(clk, dots, number, selected),
        register(clk, selected, dot),
        _product(clk, dot, mantissa, product),
        _shift_right(clk, product, amount, twice, beyond, lead),
        _round(clk, twice, beyond, negative, visible, score),
    )


@block
def _visible_keys(clk, scoring, mask, lane, lanes, keys):
    """Which keys of the chunk the query sees, ``SCALER_CYCLES`` - 1 cycles after the pass."""
    key_count, key_shift = keys, clog2(keys)
    last_visible = Signal(intbv(0, min=0, max=2 * scoring.last_visible.max + 2 * lanes * scoring.number.max))
    chunk = Signal(intbv(0)[len(scoring.chunk) :])
    whole, partial = Signal(False), Signal(False)
    indices = tuple(number * lanes + lane for number in range(scoring.number.max))
    index = Signal(intbv(0)[clog2(indices[-1] + 1) + 1 :])  # of the query in its group
    last_key = Signal(intbv(0, min=0, max=max(2, keys)))
    early_mask = Signal(intbv(0)[keys:])

    @always_comb
    def place():
        index.next = indices[scoring.number]

    @always(clk.posedge)
    def masks():
        if scoring.causal:
            last_visible.next = scoring.last_visible + index
        else:
            last_visible.next = scoring.last_visible
        chunk.next = scoring.chunk
        whole.next = chunk < (last_visible >> key_shift)
        partial.next = chunk == (last_visible >> key_shift)
        last_key.next = last_visible % key_count
        for i in range(key_count):
            early_mask.next[i] = whole or (partial and i <= last_key)

    return place, masks, delayed(clk, early_mask, mask, SCALER_CYCLES - 1 - 3)


@module
def score_scaler(clk, scoring, results, scores, lane, config):
    """Predicted scores of one softmax lane: those of the query of ``scoring`` (ScorePass) out of ``results`` (Dots).

    A pass a cycle; ``scores`` (signed, one a key, invisible ones the lowest) come ``SCALER_CYCLES`` later.
    """
    key_count, lane_count = config.predict_keys, config.softmax_lanes
    pass_count = config.predict_queries // lane_count
    lead = 1 + max(0, 2 * ((1 << config.exponent_bits) - 1) - shift_base(config))  # 1: a fraction bit, for rounding
    base = shift_base(config) + lead - 1
    exponent_bits = config.exponent_bits
    queries = [number * lane_count + lane for number in range(pass_count)]
    query_exponent, late_query_exponent = (Signal(intbv(0)[exponent_bits:]) for _ in range(2))
    key_exponents = [Signal(intbv(0)[exponent_bits:]) for _ in range(key_count)]
    early_mantissa, mantissa = (Signal(intbv(0)[PREDICTED_MANTISSA_BITS - 1 :]) for _ in range(2))
    shift, late_shift, query_shift, late_query_shift = [
        Signal(intbv(0, min=0, max=base + (1 << FACTOR_SHIFT_BITS))) for _ in range(4)
    ]
    visible = Signal(intbv(0)[key_count:])

    number = scoring.copies[lane]
    exponents = [results.query_exponents[query] for query in queries]
    selectors = [
        choose_a_cycle_later(clk, exponents, number, query_exponent),
        delayed(clk, query_exponent, late_query_exponent, 1),
    ]
    selectors += [delayed(clk, results.key_exponents[key], key_exponents[key], 4) for key in range(key_count)]
    lower = PREDICTED_MANTISSA_BITS - 1

    @always(clk.posedge)
    def factor():
        early_mantissa.next = scoring.mantissa[lower:]
        mantissa.next = early_mantissa
        shift.next = scoring.shift + base
        late_shift.next = shift
        query_shift.next = late_shift - late_query_exponent

    shift_in_step = delayed(clk, query_shift, late_query_shift, 1)
    masks = _visible_keys(clk, scoring, visible, lane, lane_count, key_count)
    keys = [
        key_scaler(
            clk, [results.dots[query * key_count + key] for query in queries], number, mantissa, key_exponents[key],
            late_query_shift, visible(key), scores[key], lead,
        )  # fmt: skip
        for key in range(key_count)
    ]
    return selectors, factor, shift_in_step, masks, keys
