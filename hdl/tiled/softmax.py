"""Scores of a round to probabilities, one lane a cycle: scaler, running maximum, exponential (`golden.tiled.attend`)."""

from myhdl import Signal, always, always_comb, concat, intbv

from golden.config import (
    DOT_BITS,
    FACTOR_SHIFT_BASE,
    FACTOR_SHIFT_BITS,
    MANTISSA_BITS,
    SCORE_FRACTION,
    Config,
)
from hdl.exp2 import probability
from hdl.hierarchy import module
from hdl.memory import distributed_ram
from hdl.multiplier import multiplier
from hdl.stream import Bits, Signed
from hdl.tiled.interfaces import dot_signal, probability_signal, score_signal

FINE_BITS = 3  # of the scaler's shift; the rest is a stage of its own
DISTANCE_INTEGER_BITS = 5  # probabilities are zero from a distance of 13
_COARSE = (1 << FACTOR_SHIFT_BITS) - (1 << FINE_BITS)
_FINE = (1 << FINE_BITS) - 1


@module
def scaler(clk, control, dots, score, config):
    """Exact score of the lane `control.chosen.index`, SCALER_CYCLES (6) later; `golden.scores.scale_scores`.

    dots: the lanes' dot products. score: log2 units, 7 fraction bits, signed. Factor: control.mantissa, control.shift.
    One DSP: 18 signed bits by the mantissa's 16 unsigned bits.
    """
    chosen = control.chosen
    half = (1 << config.dot_shift) >> 1
    dot_shift = config.dot_shift
    limit = (1 << (DOT_BITS - 1)) - 1
    # One fraction bit stays below the score, for rounding.
    least_shift = FACTOR_SHIFT_BASE - SCORE_FRACTION - config.dot_shift - 1

    dot = dot_signal(config)
    rounded = Signed(config.dot_bits - config.dot_shift + 1).signal()
    operand = Signed(DOT_BITS).signal()
    product = Signed(DOT_BITS + MANTISSA_BITS + 1).signal()
    coarse = Signed(config.score_bits + 1).signal()
    fine = Signed(config.score_bits + 1).signal()

    @always(clk.posedge)
    def choice():
        dot.next = dots[chosen.index]

    @always_comb
    def rounding_of_dot():
        rounded.next = (dot + half) >> dot_shift  # a dot product is below half of what its bits hold

    @always_comb
    def clamp():
        if rounded > limit:
            operand.next = limit
        else:
            operand.next = rounded

    product_of_operands = multiplier(clk, operand, control.mantissa, product)

    @always(clk.posedge)
    def shift_coarsely():
        coarse.next = (product >> least_shift) >> (control.shift & _COARSE)

    @always(clk.posedge)
    def shift_finely():
        fine.next = coarse >> (control.shift & _FINE)

    @always(clk.posedge)
    def rounding_of_score():
        score.next = (fine + 1) >> 1

    return choice, rounding_of_dot, clamp, product_of_operands, shift_coarsely, shift_finely, rounding_of_score


@module
def running_maximum(clk, control, score, valid, record, maximum, rescale, config):
    """Running maximum of the round's query, an integer; and by how much it grew.

    clock:    _/-\\_/-\\_/-\\_/-\\_/-\\_/-\\_/-\\_
    score:    <last>
    peak:          < includes it
    ceiling:            <
    maximum:                 < new until the next round's
    rescale:                           <

    Args:
        score, valid: of the lane `control.scored.index`, and whether it has a key.
        record: the round's `RoundRecord`.
        maximum: signed, log2 units; new MAXIMUM_CYCLES (3) after the last lane's score.
        rescale: new maximum minus old one, two cycles after that; 0 for the first round of a query; saturates where it
            leaves nothing of a sum.
    """
    scored = control.scored
    below_one = (1 << SCORE_FRACTION) - 1
    rescale_bits = len(rescale)
    most = (1 << rescale_bits) - 1
    entries = 1 << len(record.address)

    peak = score_signal(config)
    found = Signal(False)
    ceiling = Signed(config.maximum_bits).signal()
    stored, old = Signed(config.maximum_bits).signal(), Signed(config.maximum_bits).signal()
    growth_bits = config.maximum_bits + 1
    growth = Signed(growth_bits).signal()
    peak_is_new, ceiling_is_new, maximum_is_new, growth_is_new = (Signal(False) for _ in range(4))
    store = Signal(False)

    @always(clk.posedge)
    def peak_of_lanes():
        if scored.active:
            if scored.first:
                peak.next = score
                found.next = valid
            elif valid and (score > peak or not found):
                peak.next = score
                found.next = True

    @always(clk.posedge)
    def progress():
        peak_is_new.next = scored.last
        ceiling_is_new.next = peak_is_new
        maximum_is_new.next = ceiling_is_new
        growth_is_new.next = maximum_is_new

    @always(clk.posedge)
    def ceiling_of_peak():
        ceiling.next = (peak + below_one) >> SCORE_FRACTION  # no legal factor makes a score that this overflows

    @always(clk.posedge)
    def new_maximum():
        old.next = stored
        if ceiling_is_new:
            if record.first or ceiling > old:
                maximum.next = ceiling
            else:
                maximum.next = old

    @always_comb
    def store_enable():
        store.next = maximum_is_new and record.active

    maxima = distributed_ram(clk, store, record.address, maximum, record.address, stored, depth=entries)

    @always(clk.posedge)
    def difference():
        growth.next = maximum - old

    @always(clk.posedge)
    def saturation():
        if growth_is_new:
            if record.first:
                rescale.next = 0
            elif growth[growth_bits:rescale_bits] != 0:
                rescale.next = most
            else:
                rescale.next = growth[rescale_bits:]

    return peak_of_lanes, progress, ceiling_of_peak, new_maximum, store_enable, maxima, difference, saturation


@module
def softmax(clk, control, dots, valid, record, power, rescale, config):
    """Probabilities of a round against the running maximum, and by how much the maximum grew.

    Two bursts of one lane a cycle: `control.chosen` to `control.scored` (score, maximum), then `control.exponent` to
    `control.pushed` (probability).

    Args:
        control: `RowControl`.
        dots: the lanes' dot products; stand still during the first burst.
        valid: bit j: lane j has a key; taken with `control.scale`.
        record: the round's `RoundRecord`, constant from `control.scale` to `control.pushed.last`.
        power: probability of the lane `control.pushed.index`, 0 where it isn't valid.
        rescale: see `running_maximum`; constant from before the second burst's end.
    """
    lanes = config.lanes
    last_lane = lanes - 1
    scored, exponent, pushed = control.scored, control.exponent, control.pushed
    gap_bits = config.maximum_bits + SCORE_FRACTION + 1
    distance_bits = DISTANCE_INTEGER_BITS + SCORE_FRACTION
    largest = (1 << DISTANCE_INTEGER_BITS) - 1

    valid_ring = Signal(intbv(0)[lanes:])  # bit 0: of the lane that is scored or pushed
    score, kept_score, read_score = (score_signal(config) for _ in range(3))
    maximum = Signed(config.maximum_bits).signal()
    gap = Signed(gap_bits).signal()
    integer = Bits(DISTANCE_INTEGER_BITS).signal()
    distance = Bits(distance_bits).signal()
    exponential = probability_signal(config)
    lane_valid = Signal(False)

    @always(clk.posedge)
    def valid_of_lanes():
        if control.scale:
            valid_ring.next = valid
        elif scored.active or pushed.active:
            valid_ring.next = (valid_ring >> 1) | (lane_valid << last_lane)

    @always_comb
    def valid_of_lane():
        lane_valid.next = valid_ring[0]

    scores = scaler(clk, control, dots, score, config)
    maxima = running_maximum(clk, control, score, lane_valid, record, maximum, rescale, config)
    score_memory = distributed_ram(
        clk, scored.active, scored.index, score, exponent.index, read_score, depth=lanes
    )  # fmt: skip

    @always(clk.posedge)
    def gap_below_maximum():
        kept_score.next = read_score
        gap.next = (maximum << SCORE_FRACTION) - kept_score

    @always_comb
    def saturation():
        # below zero only where no key is
        if gap[gap_bits:distance_bits] != 0:
            integer.next = largest
        else:
            integer.next = gap[distance_bits:SCORE_FRACTION]

    @always_comb
    def distance_below_maximum():
        distance.next = concat(integer, gap[SCORE_FRACTION:])

    powers = probability(clk, distance, exponential)

    @always_comb
    def power_of_lane():
        if lane_valid:
            power.next = exponential
        else:
            power.next = 0

    return (
        valid_of_lanes, valid_of_lane, scores, maxima, score_memory, gap_below_maximum, saturation,
        distance_below_maximum, powers, power_of_lane,
    )  # fmt: skip
