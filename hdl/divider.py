"""Division: a sequential divider for shares, and the shift that brings a divisor's leading one to the top.

A *share* is a quotient of at most 1 or a little more, with many fraction bits. ``golden.normalizer.share`` needs both
parts: with ``normalized = divisor * 2^(width - 1 - position)`` from ``normalize``,

    (weight << position) // divisor == (weight << (width - 1)) // normalized

and that is a quotient of ``divider`` for ``dividend = weight << (width - quotient_bits)``.
"""

from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv, modbv

from golden.config import clog2
from hdl.delay import register
from hdl.hierarchy import module

DIGITS = 2  # quotient bits that one step of the divider finds: radix 4


def division_cycles(quotient_bits):
    """Cycles from the transfer of a request to the first one in which its result is valid."""
    return -(-quotient_bits // DIGITS) + 1


@module
def divider(clk, reset, request, result, quotient_bits):
    """Sequential restoring divider, two digits a cycle.

    quotient = floor(dividend * 2^(quotient_bits - 1) / divisor), for dividend < 2 * divisor.

    request: stream of ``dividend`` and ``divisor``, unsigned, of the same width.
    result: stream of ``quotient`` (quotient_bits, at least 3).

    A result is valid ``division_cycles`` after its request was transferred (10 for 17 bits); the next request is
    taken from the cycle after that in which the result leaves (11 cycles a division).
    """
    assert quotient_bits > DIGITS, "quotient_bits: more than one step finds"
    width = len(request.divisor)
    steps = division_cycles(quotient_bits) - 1
    excess = steps * DIGITS - quotient_bits
    radix = 1 << DIGITS

    # Before each step: what is left of the dividend, scaled so that the next digits are floor(remainder / divisor).
    remainder = Signal(intbv(0)[width + DIGITS :])
    divisor = Signal(intbv(0)[width:])
    triple = Signal(intbv(0)[width + DIGITS :])
    digits = Signal(modbv(0)[steps * DIGITS :])
    step = Signal(intbv(0, min=0, max=steps))
    idle = Signal(True)
    finished = Signal(False)

    sign = width + DIGITS  # of a difference: its highest bit
    limit = 1 << sign
    minus_one, minus_two, minus_three = [Signal(intbv(0, min=-limit, max=limit)) for _ in range(radix - 1)]
    digit = Signal(intbv(0)[DIGITS:])
    rest = Signal(intbv(0)[width:])

    @always_comb
    def differences():
        minus_one.next = remainder - divisor
        minus_two.next = remainder - (divisor << 1)
        minus_three.next = remainder - triple

    @always_comb
    def next_digit():
        if not minus_three[sign]:
            digit.next = 3
            rest.next = minus_three[width:]
        elif not minus_two[sign]:
            digit.next = 2
            rest.next = minus_two[width:]
        elif not minus_one[sign]:
            digit.next = 1
            rest.next = minus_one[width:]
        else:
            digit.next = 0
            rest.next = remainder[width:]

    @always(clk.posedge)
    def control():
        if reset:
            idle.next = True
            finished.next = False
        elif idle:
            idle.next = not request.valid
        elif finished:
            if result.ready:
                finished.next = False
                idle.next = True
        elif step == steps - 1:
            finished.next = True

    @always(clk.posedge)
    def division():
        if idle:
            remainder.next = request.dividend << 1
            divisor.next = request.divisor
            triple.next = request.divisor + (request.divisor << 1)
            step.next = 0
        elif not finished:
            remainder.next = rest << DIGITS
            digits.next = (digits << DIGITS) | digit
            if step != steps - 1:
                step.next = step + 1

    @always_comb
    def handshake():
        request.ready.next = idle
        result.valid.next = finished
        result.quotient.next = digits >> excess

    return differences, next_digit, control, division, handshake


# Normalization --------------------------------------------------------------------------------------------------------

LEVELS = 2  # of shifts between two registers of ``normalize``


def normalize_cycles(width):
    """Latency of ``normalize`` for values of ``width`` bits: 3 cycles for 17 to 32 bits."""
    return -(-clog2(width) // LEVELS)


@block
def _shift_level(value, shifted, moved, amount):
    """Shift up by ``amount`` if only zeros fall out."""
    staying_bits = len(value) - amount

    @always_comb
    def shift():
        if (value >> staying_bits) == 0:
            shifted.next = value << amount
            moved.next = True
        else:
            shifted.next = value
            moved.next = False

    return shift


@module
def normalize(clk, value, normalized, position):
    """Shift the leading one of an unsigned ``value`` to the top: normalized = value * 2^(width - 1 - position).

    value, normalized: of the same width, at least 3 bits. position: of the leading one, clog2(width) bits.
    Where value is 0, normalized is 0 and position has no meaning.

    A pipeline without handshake, one value a cycle; latency ``normalize_cycles``.
    """
    width = len(value)
    levels = clog2(width)
    highest_minus_places = Signal(modbv(0)[levels:])

    parts = []
    shifted, moves = value, []
    for level in range(levels):
        unshifted, shifted, moved = shifted, Signal(intbv(0)[width:]), Signal(False)
        parts.append(_shift_level(unshifted, shifted, moved, amount=1 << (levels - 1 - level)))
        moves.append(moved)
        if (level + 1) % LEVELS == 0 or level + 1 == levels:
            combinational = [shifted, *moves]
            shifted, moves = Signal(intbv(0)[width:]), [Signal(False) for _ in moves]
            parts += [register(clk, *pair) for pair in zip(combinational, [shifted, *moves], strict=True)]
    places = ConcatSignal(*moves)

    @always_comb
    def subtract():
        highest_minus_places.next = width - 1 - places

    @always_comb
    def outputs():
        normalized.next = shifted
        position.next = highest_minus_places

    return parts, subtract, outputs
