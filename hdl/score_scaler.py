"""From low-bit dot products to predicted scores (golden twin: golden.predictor.predict)."""

from myhdl import Signal, always, always_comb, block, intbv

from golden.config import FACTOR_SHIFT_BITS, PREDICTED_BITS, PREDICTED_MANTISSA_BITS, clog2
from golden.predictor import shift_base
from hdl.delay import delayed
from hdl.hierarchy import module

SCALER_CYCLES = 6
"""From a pass to its scores: select, partial products, product, coarse shift, fine shift, round."""

LOWEST, HIGHEST = -(1 << (PREDICTED_BITS - 1)), (1 << (PREDICTED_BITS - 1)) - 1
_FINE_BITS = 3  # of a shift; the coarse shift is a multiple of 8


class ScorePass:
    """The scores of one query a lane against one chunk.

    Attributes:
        number: which of the lane's queries.
        chunk: of the keys.
        mantissa, shift: of the head's factor; the mantissa as the predictor has it, 8 ... 15.
        causal, last_visible: last key that the first query of the group sees, the others one more each if causal.
    """

    def __init__(self, config):
        self.number = Signal(intbv(0, min=0, max=max(2, config.predict_queries // config.softmax_lanes)))
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
    """dot * mantissa in look-up tables, two cycles; ``mantissa`` (8 ... 15) is constant for the first."""
    BITS = len(product)
    fourfold, twofold, once = signed_signal(BITS), signed_signal(BITS), signed_signal(BITS)
    high, low = signed_signal(BITS), signed_signal(BITS)

    @always_comb
    def gate():
        fourfold.next = 0
        twofold.next = 0
        once.next = 0
        if mantissa[2]:
            fourfold.next = dot << 2
        if mantissa[1]:
            twofold.next = dot << 1
        if mantissa[0]:
            once.next = dot

    @always(clk.posedge)
    def multiply():
        high.next = (dot << 3) + fourfold
        low.next = twofold + once
        product.next = high + low

    return gate, multiply


@block
def _shift_right(clk, product, amount, shifted, lead):
    """floor(product * 2^(lead - amount)), in two cycles."""
    FINE = 1 << _FINE_BITS
    MOST = -(-len(shifted) // FINE) * FINE  # this far, only the sign is left
    wide, coarse = signed_signal(len(shifted)), signed_signal(len(shifted))
    coarse_amount = Signal(intbv(0)[MOST.bit_length() :])
    fine_amount = Signal(intbv(0)[_FINE_BITS:])

    @always_comb
    def split():
        wide.next = product << lead
        if amount >= MOST:
            coarse_amount.next = MOST
        else:
            coarse_amount.next = (amount // FINE) * FINE

    @always(clk.posedge)
    def shift():
        coarse.next = wide >> coarse_amount
        fine_amount.next = amount % FINE
        shifted.next = coarse >> fine_amount

    return split, shift


@block
def _round(clk, twice, visible, score):
    """Half of ``twice``, rounded half up and saturated; the lowest score if not ``visible`` (one cycle)."""
    SIGN = len(twice) - 1
    in_range = twice(PREDICTED_BITS + 1, 0)
    plus_one = signed_signal(PREDICTED_BITS + 2)
    rounded = signed_signal(PREDICTED_BITS + 1)
    beyond = Signal(False)

    @always_comb
    def increment():
        plus_one.next = in_range.signed() + 1

    @always_comb
    def halve():
        rounded.next = plus_one >> 1

    @always_comb
    def compare():
        beyond.next = False
        for i in range(PREDICTED_BITS, SIGN):
            if twice[i] != twice[SIGN]:
                beyond.next = True

    @always(clk.posedge)
    def saturate():
        if not visible or (beyond and twice[SIGN]):
            score.next = LOWEST
        elif beyond or (rounded[PREDICTED_BITS - 1] and not rounded[PREDICTED_BITS]):
            score.next = HIGHEST
        else:
            score.next = rounded

    return increment, halve, compare, saturate


@module
def key_scaler(clk, dot, key_exponent, common_amount, mantissa, visible, score, lead):
    """One key's score from its selected dot product, ``SCALER_CYCLES`` - 1 cycles later."""
    product = signed_signal(len(dot) + PREDICTED_MANTISSA_BITS)
    twice = signed_signal(len(product) + lead)
    amount, product_amount = Signal(intbv(0)[len(common_amount) :]), Signal(intbv(0)[len(common_amount) :])

    @always(clk.posedge)
    def amounts():
        amount.next = common_amount - key_exponent
        product_amount.next = amount

    return (
        amounts,
        _product(clk, dot, mantissa, product),
        _shift_right(clk, product, product_amount, twice, lead),
        _round(clk, twice, visible, score),
    )


@block
def _visible_keys(clk, scoring, mask, lane, lanes, keys):
    """Which keys of the chunk the query sees, ``SCALER_CYCLES`` - 1 cycles after the pass."""
    KEYS, KEY_SHIFT = keys, clog2(keys)
    last_visible = Signal(intbv(0, min=0, max=2 * scoring.last_visible.max + 2 * lanes * scoring.number.max))
    chunk = Signal(intbv(0)[len(scoring.chunk) :])
    whole, partial = Signal(False), Signal(False)
    last_key = Signal(intbv(0, min=0, max=max(2, keys)))
    early_mask = Signal(intbv(0)[keys:])

    @always(clk.posedge)
    def masks():
        if scoring.causal:
            last_visible.next = scoring.last_visible + scoring.number * lanes + lane
        else:
            last_visible.next = scoring.last_visible
        chunk.next = scoring.chunk
        whole.next = chunk < (last_visible >> KEY_SHIFT)
        partial.next = chunk == (last_visible >> KEY_SHIFT)
        last_key.next = last_visible % KEYS
        for i in range(KEYS):
            early_mask.next[i] = whole or (partial and i <= last_key)

    return masks, delayed(clk, early_mask, mask, SCALER_CYCLES - 1 - 3)


@module
def score_scaler(clk, scoring, results, scores, lane, config):
    """Predicted scores of one softmax lane: those of the query of ``scoring`` (ScorePass) out of ``results`` (Dots).

    A pass a cycle; ``scores`` (signed, one a key, invisible ones the lowest) come ``SCALER_CYCLES`` later.
    """
    KEYS, LANES = config.predict_keys, config.softmax_lanes
    PASSES = config.predict_queries // LANES
    lead = 1 + max(0, 2 * ((1 << config.exponent_bits) - 1) - shift_base(config))  # 1: a fraction bit, for rounding
    BASE = shift_base(config) + lead - 1
    # The queries of this lane.
    dots = [results.dots[(p * LANES + lane) * KEYS + key] for p in range(PASSES) for key in range(KEYS)]
    query_exponents = [results.query_exponents[p * LANES + lane] for p in range(PASSES)]
    key_exponents = results.key_exponents

    selected = [signed_signal(config.predicted_dot_bits) for _ in range(KEYS)]
    selected_exponents = [Signal(intbv(0)[config.exponent_bits :]) for _ in range(KEYS)]
    amount = Signal(intbv(0, min=0, max=BASE + (1 << FACTOR_SHIFT_BITS)))
    mantissa = Signal(intbv(0)[PREDICTED_MANTISSA_BITS:])
    visible = Signal(intbv(0)[KEYS:])

    @always(clk.posedge)
    def select():
        for key in range(KEYS):
            selected[key].next = dots[scoring.number * KEYS + key]
            selected_exponents[key].next = key_exponents[key]
        amount.next = scoring.shift + BASE - query_exponents[scoring.number]
        mantissa.next = scoring.mantissa

    masks = _visible_keys(clk, scoring, visible, lane, LANES, KEYS)
    keys = [
        key_scaler(clk, selected[key], selected_exponents[key], amount, mantissa, visible(key), scores[key], lead)
        for key in range(KEYS)
    ]
    return select, masks, keys
