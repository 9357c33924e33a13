"""From low-bit dot products to predicted scores (golden twin: golden.predictor.predict)."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, concat, intbv

from golden.config import FACTOR_SHIFT_BITS, PREDICTED_BITS, PREDICTED_MANTISSA_BITS, clog2
from golden.predictor import shift_base
from hdl.add_gated import add_gated
from hdl.choose import choose_a_cycle_later
from hdl.delay import delayed, register, register_behind_logic
from hdl.hierarchy import module
from hdl.wires import like

SCALER_CYCLES = 8
"""From a pass to its scores: select (2), register, partial products, product, shift by 8s and 4, by 2 and 1, round."""

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


@module
def coarse_choice(places, negative, use_one, use_other, first):
    """Which of two words a coarse shift by ``places`` takes: one for ``first`` places, the other for one more.

    Neither (zeros) for fewer; for more, both or neither, as is the sign. Combinational. A module, or synthesis would
    dissolve the two signals, and take more than one look-up table for each bit that they choose.
    """

    @always_comb
    def choice():
        use_one.next = places == first or (places > first + 1 and negative)
        use_other.next = places == first + 1 or (places > first + 1 and negative)

    return choice


@block
def _coarse_pair(places, first, words, negative, word):
    """The first of the ``words`` for ``first`` places, the second for one more; zeros for fewer, the sign for more.

    Combinational, a look-up table a bit.
    """
    one, other = words
    ones = (1 << len(word)) - 1
    use_one, use_other = Signal(False), Signal(False)

    @always_comb
    def choose():
        if use_one and use_other:
            word.next = ones
        elif use_one:
            word.next = one
        elif use_other:
            word.next = other
        else:
            word.next = 0

    return coarse_choice(places, negative, use_one, use_other, first), choose


@block
def _coarse(places, first, words, negative, word):
    """The same with two words or more, for ``first`` places and on."""
    if len(words) == 2:
        return _coarse_pair(places, first, words, negative, word)
    last_places, last = first + len(words) - 1, words[-1]
    other = Signal(intbv(0)[len(word) :])

    @always_comb
    def choose_last():
        if places == last_places:
            word.next = last
        else:
            word.next = other

    return _coarse(places, first, words[:-1], negative, other), choose_last


@block
def _shift_right(clk, product, amount, shifted, beyond, lead):
    """``shifted`` = floor(product * 2^(lead - amount)), if that isn't ``beyond`` its bits; two cycles.

    The first shifts by multiples of 8 and by 4, the second by 2 and by 1: in this order there are the fewest bits to
    shift. What is ``beyond`` may have any bits, so the highest bit of ``shifted`` is always the sign.
    """
    fine_range, half_range = 1 << _FINE_BITS, 1 << (_FINE_BITS - 1)
    wide_bits, low_bits = len(product) + lead, len(shifted) - 1
    sign = wide_bits - 1
    by_four_bits = low_bits + half_range - 1  # the low bits before shifts by up to 3
    coarse_bits = low_bits + fine_range - 1
    wide = signed_signal(coarse_bits + wide_bits + 2 * fine_range)
    places, negative, late_negative = amount(len(amount), _FINE_BITS), product(len(product) - 1), Signal(False)
    four, two, one = amount(_FINE_BITS - 1), Signal(False), Signal(False)
    by_four, late_by_four = (Signal(intbv(0)[by_four_bits:]) for _ in range(2))
    by_two = Signal(intbv(0)[low_bits + 1 :])
    above, late_above = (Signal(False) for _ in range(2))

    # The coarse shift's bits, by the fewest places that bring a bit of the product there.
    coarse_shifts, fields = [], []
    starts = [0] + [start for start in range(lead % fine_range, lead + 1, fine_range) if start]
    for start, end in zip(starts, starts[1:] + [coarse_bits], strict=True):
        first = -((start - lead) // fine_range) if start < lead else 0
        count = max(2, -((start - sign) // fine_range) - first)  # so many numbers of places do, at most
        words = [wide(end + fine_range * i, start + fine_range * i) for i in range(first, first + count)]
        fields.append(Signal(intbv(0)[end - start :]))
        coarse_shifts.append(_coarse(places, first, words, negative, fields[-1]))
    coarse = ConcatSignal(*reversed(fields)) if len(fields) > 1 else fields[0]

    @always_comb
    def extend():
        wide.next = product << lead

    @always_comb
    def shift_by_four():
        if four:
            by_four.next = coarse[coarse_bits:half_range]
        else:
            by_four.next = coarse[by_four_bits:]

    @always_comb
    def bits_above():
        different = False
        for i in range(1 + sign // fine_range):
            for j in range(i * fine_range + by_four_bits, sign):
                if places == i and wide[j] != negative and (not four or j >= i * fine_range + coarse_bits):
                    different = True
        above.next = different

    @always(clk.posedge)
    def first_stage():
        late_by_four.next = by_four
        late_above.next = above
        late_negative.next = negative
        two.next = amount[1]
        one.next = amount[0]

    @always_comb
    def shift_by_two():
        if two:
            by_two.next = late_by_four[by_four_bits:2]
        else:
            by_two.next = late_by_four[low_bits + 1 :]

    @always(clk.posedge)
    def second_stage():
        if one:
            shifted.next = concat(late_negative, by_two[low_bits + 1 : 1])
        else:
            shifted.next = concat(late_negative, by_two[low_bits:])
        beyond.next = (
            late_above
            or (not two and late_by_four[low_bits + 1] != late_negative)
            or (not two and late_by_four[low_bits + 2] != late_negative)
            or (not one and by_two[low_bits] != late_negative)
        )

    return extend, coarse_shifts, shift_by_four, bits_above, first_stage, shift_by_two, second_stage


@block
def _round(clk, twice, beyond, negative, visible, score):
    """Half of ``twice`` (two's complement), rounded half up and saturated; the lowest score if not ``visible``.

    ``beyond``: ``negative`` alone counts of the number. One cycle.
    """
    plus_one = signed_signal(len(twice) + 1)
    rounded = signed_signal(len(twice))
    saturated = like(score)

    @always_comb
    def increment():
        plus_one.next = twice.signed() + 1

    @always_comb
    def halve():
        rounded.next = plus_one >> 1

    @always_comb
    def saturate():
        if not visible or (beyond and negative):
            saturated.next = LOWEST
        elif beyond or (rounded[PREDICTED_BITS - 1] and not rounded[PREDICTED_BITS]):
            saturated.next = HIGHEST
        else:
            saturated.next = rounded

    return increment, halve, saturate, register_behind_logic(clk, saturated, score)


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
