"""Low-bit dot products: predict_queries x predict_keys cells, each predict_width products a cycle."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, concat, intbv

from golden.config import clog2
from hdl.add_subtract import accumulate, add_subtract, unlike
from hdl.delay import delayed, register
from hdl.hierarchy import module
from hdl.levels import COPIES
from hdl.stream import Signed
from hdl.wires import like, number_of, wire

_LEVELS_A_STAGE = 2  # of adders between registers
_TABLE_BITS = 2  # largest magnitudes whose products come from a table


def cell_cycles(config):
    """From operands to the dot product that contains them: products, sums, accumulator."""
    return 2 + -(-clog2(config.predict_width) // _LEVELS_A_STAGE)


@block
def _product_from_table(clk, index, product, bits):
    """``index``: two magnitudes of ``bits``. For few bits this is smaller than adders."""
    table = tuple((place >> bits) * (place % (1 << bits)) for place in range(1 << 2 * bits))

    @always(clk.posedge)
    def lookup():
        product.next = table[index]

    return lookup


@block
def _product_of_three_bits(clk, index, product):
    """The same for 3 bits, in 13 look-up tables of 4 inputs; from a table Yosys makes more, and there are many of these.

    With a = 4 a2 + a', b = 4 b2 + b': ab = a'b' + 4 (a2 b' + b2 a') + 16 a2 b2. If both a2 and b2 are 1, the middle is
    a' + b'; if not, it is one of these or nothing, without a carry.
    """
    b0, b1, b2, a0, a1, a2 = [index(i) for i in range(6)]
    units, twos, fours, middle_low, middle_high, middle_carry, eight, sixteen = [Signal(False) for _ in range(8)]

    @always_comb
    def outer():
        units.next = a0 and b0
        twos.next = a1 and b1
        fours.next = a2 and b2

    @always_comb
    def middle():
        middle_low.next = (a2 and b0) != (a0 and b2)
        middle_high.next = ((a2 and b1) != (a1 and b2)) != (fours and units)
        middle_carry.next = twos or ((a1 != b1) and units)

    @always_comb
    def carry_to_eights():
        eight.next = twos and (units or middle_low)

    @always_comb
    def carry_to_sixteens():
        sixteen.next = eight and middle_high

    @always(clk.posedge)
    def multiply():
        product.next[0] = units
        product.next[1] = (a1 and b0) != (a0 and b1)
        product.next[2] = (twos and not units) != middle_low
        product.next[3] = eight != middle_high
        product.next[4] = (fours and not middle_carry) != sixteen
        product.next[5] = fours and (middle_carry or sixteen)

    return outer, middle, carry_to_eights, carry_to_sixteens, multiply


@block
def _product_from_adders(clk, index, product, bits):
    """The same: AND-ed magnitudes, summed row by row in full adders."""

    @always(clk.posedge)
    def multiply():
        magnitude = intbv(0)[2 * bits :]
        partial = False
        unequal = False
        carry = False
        magnitude[:] = 0
        for j in range(bits):
            carry = False
            for i in range(bits):
                partial = index[bits + i] and index[j]
                unequal = magnitude[i + j] ^ partial
                magnitude[i + j] = unequal ^ carry
                if not unequal:
                    carry = partial
            magnitude[j + bits] = carry
        product.next = magnitude

    return multiply


@module
def level_product(clk, query_magnitude, key_magnitude, product):
    """The product of two magnitudes, unsigned; one cycle.

    Neither a DSP block nor a carry chain: for these few bits, both would be a waste.
    """
    bits = len(query_magnitude)
    index = Signal(intbv(0)[2 * bits :])

    @always_comb
    def join():
        index.next = concat(query_magnitude, key_magnitude)

    if bits == 3:
        multiplier = _product_of_three_bits(clk, index, product)
    else:
        multiply = _product_from_table if bits <= _TABLE_BITS else _product_from_adders
        multiplier = multiply(clk, index, product, bits)
    return join, multiplier


@module
def score_cell(clk, query_levels, key_levels, anew, capture, dot, config):
    """Dot product of one query and one key, predict_width dimensions a cycle; latency ``cell_cycles``.

    ``anew``: these operands are the first ones; ``capture``: what they and the ones before add up to goes to ``dot`` (two's
    complement). Both come one cycle before the end of the latency, with the sum that they are for. A sum has the sign of its
    first product still to come: two are added if their signs are alike, and subtracted if not.
    """
    bits, dot_bits = config.prediction_bits, config.predicted_dot_bits
    parts, nodes = [], []
    for place in range(config.predict_width):
        sign, low = (place + 1) * bits - 1, place * bits
        magnitude, negative = Signal(intbv(0)[2 * (bits - 1) :]), Signal(False)
        product = Signed(len(magnitude) + 1).signal()
        parts += [
            level_product(clk, query_levels(sign, low), key_levels(sign, low), magnitude),
            unlike(query_levels(sign), key_levels(sign), negative),
            number_of(ConcatSignal(False, magnitude), product),
        ]
        nodes.append((product, negative))
    level, stage = 0, 1  # signs come a cycle before the products
    while len(nodes) > 1:
        level += 1
        pairs, nodes = zip(nodes[::2], nodes[1::2]), []
        for (left, left_negative), (right, right_negative) in pairs:
            pair_sum, differ, subtract = Signed(len(left) + 1).signal(), Signal(False), Signal(False)
            parts += [
                unlike(left_negative, right_negative, differ),
                delayed(clk, differ, subtract, stage),
                add_subtract(left, right, subtract, pair_sum),
            ]
            nodes.append((pair_sum, left_negative))
        if level % _LEVELS_A_STAGE == 0 or len(nodes) == 1:
            stage += 1
            early_nodes, nodes = nodes, []
            for early_sum, negative in early_nodes:
                pair_sum = like(early_sum)
                parts.append(delayed(clk, early_sum, pair_sum, 1))
                nodes.append((pair_sum, negative))
    ((step_sum, negative),) = nodes

    # (nextpnr puts the flip-flop into the slice of the carry chain whose name is the last one: not the one of `dot`.)
    so_far, step, total = (Signed(dot_bits).signal() for _ in range(3))
    subtract = Signal(False)
    parts += [
        delayed(clk, negative, subtract, stage), wire(step_sum, step),
        accumulate(so_far, anew, step, subtract, total), register(clk, total, so_far),
    ]  # fmt: skip

    @always(clk.posedge)
    def result():
        if capture:
            dot.next = total[dot_bits:]

    return parts, result


class Dots:
    """Dot products of a chunk and the exponents of their rows; constant until the next chunk's are there.

    ``dots``: query * predict_keys + key, two's complement. ``ready`` is high in the first cycle of new ones.
    ``group_last``: the chunk is the last of its group.
    """

    def __init__(self, config):
        cells = config.predict_queries * config.predict_keys
        self.dots = [Signal(intbv(0)[config.predicted_dot_bits :]) for _ in range(cells)]
        self.query_exponents = [Signal(intbv(0)[config.exponent_bits :]) for _ in range(config.predict_queries)]
        self.key_exponents = [Signal(intbv(0)[config.exponent_bits :]) for _ in range(config.predict_keys)]
        self.ready = Signal(False)
        self.group_last = Signal(False)


@block
def _captured(clk, capture, source, target, cycles):
    """``target`` takes ``source`` of ``cycles`` ago at ``capture``."""
    late = Signal(intbv(0)[len(source) :])

    @always(clk.posedge)
    def take():
        if capture:
            target.next = late

    return delayed(clk, source, late, cycles), take


@module
def cell_control(clk, begins, capturing, anew, capture):
    """``anew`` and ``capture`` of the cells of one query: registers of their own, as few nets drive that many cells well.

    ``begins``, ``capturing``: in the next cycle a chunk's first sum (or none) is there, its last one.
    """
    return register(clk, capturing, capture), register(clk, begins, anew)


@module
def score_array(clk, reset, operands, enable, last, group_last, results, config):
    """Multiplies and sums ``operands`` (hdl.levels.Operands) into ``results`` (Dots).

    ``enable``: the operands count; ``last``: with them a chunk is complete (and a group, if ``group_last``). The next
    chunk can start in the next cycle. ``results`` are there ``cell_cycles`` later.
    """
    key_count = config.predict_keys
    queries = range(config.predict_queries)
    wait = cell_cycles(config) - 1
    summing, capturing, capture, begins, last_group, enabled_last = (Signal(False) for _ in range(6))
    anews, captures = ([Signal(False) for _ in queries] for _ in range(2))

    @always_comb
    def complete():
        enabled_last.next = enable and last

    # Behind the last sum of a chunk, or no sum, comes a first one.
    @always(clk.posedge)
    def beginning():
        begins.next = capturing or not summing

    @always(clk.posedge)
    def announce():
        results.ready.next = capture and not reset
        if capture:
            results.group_last.next = last_group

    flags = [
        delayed(clk, enable, summing, wait - 1, reset),
        delayed(clk, enabled_last, capturing, wait - 1, reset),
        delayed(clk, capturing, capture, 1, reset),
        delayed(clk, group_last, last_group, wait),
        [cell_control(clk, begins, capturing, anews[query], captures[query]) for query in queries],
    ]
    cells = [
        score_cell(
            clk, operands.query_levels[query][key * COPIES // key_count],
            operands.key_levels[key][query * COPIES // len(queries)], anews[query], captures[query],
            results.dots[query * key_count + key], config,
        )
        for query in queries
        for key in range(key_count)
    ]  # fmt: skip
    exponents = [
        _captured(clk, capture, operands.query_exponents[i], results.query_exponents[i], wait)
        for i in queries
    ] + [_captured(clk, capture, operands.key_exponents[i], results.key_exponents[i], wait) for i in range(key_count)]
    return complete, beginning, announce, flags, cells, exponents
