"""From low-bit dot products to predicted scores (golden twin: golden.predictor.predict)."""

from myhdl import Signal, always, always_comb, block, intbv

from golden.config import FACTOR_SHIFT_BITS, PREDICTED_BITS, PREDICTED_MANTISSA_BITS, clog2
from golden.predictor import shift_base
from hdl.delay import delayed
from hdl.hierarchy import module

SCALER_CYCLES = 6
"""From a pass to its scores: select, partial products, product, fine shift, coarse shift, round."""

LOWEST, HIGHEST = -(1 << (PREDICTED_BITS - 1)), (1 << (PREDICTED_BITS - 1)) - 1
_FINE_BITS = 3  # of a shift; the coarse shift is by multiples of 8


class ScorePass:
    """The scores of one query a lane against one chunk.

    Attributes:
        number: which of the lane's queries; ``select``: the same, one bit each.
        chunk: of the keys.
        mantissa, shift: of the head's factor; the mantissa as the predictor has it, 8 ... 15.
        causal, last_visible: last key that the first query of the group sees, the others one more each if causal.
    """

    def __init__(self, config):
        passes = config.predict_queries // config.softmax_lanes
        self.number = Signal(intbv(0, min=0, max=max(2, passes)))
        self.select = Signal(intbv(1)[passes:])
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
def _select(clk, candidates, one_hot, selected):
    """``selected`` is the candidate whose bit is set: this takes fewer look-up tables than a number."""
    candidate_count, bits = len(candidates), len(selected)

    @always(clk.posedge)
    def select():
        either = intbv(0)[bits:]
        either[:] = 0
        for i in range(candidate_count):
            if one_hot[i]:
                either[:] = either | candidates[i]
        selected.next = either

    return select


@block
def _product(clk, dot, mantissa, product):
    """dot * mantissa in look-up tables, two cycles; ``mantissa`` (8 ... 15) is constant for the first."""
    bits = len(product)
    number, fourfold, twofold, once, high, low = [signed_signal(bits) for _ in range(6)]

    @always_comb
    def read():
        number.next = dot.signed()

    @always_comb
    def gate():
        fourfold.next = 0
        twofold.next = 0
        once.next = 0
        if mantissa[2]:
            fourfold.next = number << 2
        if mantissa[1]:
            twofold.next = number << 1
        if mantissa[0]:
            once.next = number

    @always(clk.posedge)
    def multiply():
        high.next = (number << 3) + fourfold
        low.next = twofold + once
        product.next = high + low

    return read, gate, multiply


@block
def _shift_right(clk, product, amount, shifted, beyond, lead):
    """``shifted`` = floor(product * 2^(lead - amount)), if that isn't ``beyond`` its bits; two cycles."""
    wide_bits, bits = len(product) + lead, len(shifted)
    fine_range = 1 << _FINE_BITS
    most = -(-wide_bits // fine_range) * fine_range  # this far, only the sign is left
    wide, fine, coarse = signed_signal(wide_bits), signed_signal(wide_bits), signed_signal(wide_bits)
    coarse_amount = Signal(intbv(0)[most.bit_length() :])

    @always_comb
    def extend():
        wide.next = product << lead

    @always(clk.posedge)
    def shift_fine():
        fine.next = wide >> (amount % fine_range)
        if amount >= most:
            coarse_amount.next = most
        else:
            coarse_amount.next = (amount // fine_range) * fine_range

    @always_comb
    def shift_coarse():
        coarse.next = fine >> coarse_amount

    @always(clk.posedge)
    def cut():
        shifted.next = coarse[bits:]
        different = False
        for i in range(bits - 1, wide_bits - 1):
            if coarse[i] != coarse[wide_bits - 1]:
                different = True
        beyond.next = different

    return extend, shift_fine, shift_coarse, cut


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
def key_scaler(clk, dot, query_exponent, key_exponent, mantissa, shift, visible, score, lead):
    """One key's score from its selected dot product and exponents, ``SCALER_CYCLES`` - 1 cycles later.

    ``shift``: to the right, for exponents of 0, of dot * mantissa * 2^lead; a cycle later than these. The result has
    one fraction bit, for rounding.
    """
    product = signed_signal(len(dot) + PREDICTED_MANTISSA_BITS)
    twice = Signal(intbv(0)[PREDICTED_BITS + 1 :])
    beyond, negative, early_negative = Signal(False), Signal(False), Signal(False)
    exponents = Signal(intbv(0)[len(key_exponent) + 1 :])
    amount = Signal(intbv(0)[len(shift) :])

    @always(clk.posedge)
    def amounts():
        exponents.next = query_exponent + key_exponent
        amount.next = shift - exponents
        early_negative.next = product < 0
        negative.next = early_negative

    return (
        amounts,
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
    dots = [Signal(intbv(0)[config.predicted_dot_bits :]) for _ in range(key_count)]
    query_exponent = Signal(intbv(0)[exponent_bits:])
    key_exponents = [Signal(intbv(0)[exponent_bits:]) for _ in range(key_count)]
    mantissa = Signal(intbv(0)[PREDICTED_MANTISSA_BITS:])
    shift, late_shift = [Signal(intbv(0, min=0, max=base + (1 << FACTOR_SHIFT_BITS))) for _ in range(2)]
    visible = Signal(intbv(0)[key_count:])

    selectors = [
        _select(clk, [results.dots[query * key_count + key] for query in queries], scoring.select, dots[key])
        for key in range(key_count)
    ]
    selectors.append(
        _select(clk, [results.query_exponents[query] for query in queries], scoring.select, query_exponent)
    )
    selectors += [delayed(clk, results.key_exponents[key], key_exponents[key], 1) for key in range(key_count)]

    @always(clk.posedge)
    def factor():
        mantissa.next = scoring.mantissa
        shift.next = scoring.shift + base
        late_shift.next = shift

    masks = _visible_keys(clk, scoring, visible, lane, lane_count, key_count)
    keys = [
        key_scaler(
            clk, dots[key], query_exponent, key_exponents[key], mantissa, late_shift, visible(key), scores[key], lead
        )
        for key in range(key_count)
    ]
    return selectors, factor, masks, keys
