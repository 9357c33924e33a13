"""One element of an output row: x * a + y * b, rounded and saturated (golden twin: ``golden.normalizer.normalize``)."""

from myhdl import always, always_comb

from golden.config import KEPT_FRACTION, MULTIPLIER_BITS, OUTPUT_BITS
from golden.normalizer import OUTPUT_SHIFT
from hdl.hierarchy import module
from hdl.multiplier import multiplier
from hdl.stream import Signed

WEIGHTED_SUM_CYCLES = 5


@module
def weighted_sum(clk, x, a, y, b, element):
    """element = (x * a + y * b) * 2^-17, rounded half up, saturated to int16; five cycles, one a cycle.

    x, a, y, b: 18 bits signed; a and b are shares with 16 fraction bits: not negative, together at most 1.
    Two multipliers.
    """
    product_bits = MULTIPLIER_BITS + KEPT_FRACTION  # as a and b, and so their sum, are at most 2^16
    x_product, y_product = (Signed(2 * MULTIPLIER_BITS).signal() for _ in range(2))
    total = Signed(product_bits).signal()
    halves = Signed(product_bits - OUTPUT_SHIFT + 1).signal()
    incremented = Signed(product_bits - OUTPUT_SHIFT + 2).signal()
    rounded = Signed(product_bits - OUTPUT_SHIFT + 1).signal()
    excess = Signed(product_bits - OUTPUT_SHIFT + 1 - (OUTPUT_BITS - 1)).signal()
    limit = 1 << (OUTPUT_BITS - 1)

    products = multiplier(clk, x, a, x_product), multiplier(clk, y, b, y_product)

    @always(clk.posedge)
    def addition():
        total.next = x_product + y_product

    @always_comb
    def in_halves():
        halves.next = total >> (OUTPUT_SHIFT - 1)

    @always_comb
    def half_more():
        incremented.next = halves + 1

    @always(clk.posedge)
    def rounding():
        rounded.next = incremented >> 1

    @always_comb
    def bits_beyond():
        excess.next = rounded >> (OUTPUT_BITS - 1)

    @always(clk.posedge)
    def saturation():
        # Yosys up to 2026 maps `excess < -1` wrongly (cmp2lut, YosysHQ/yosys#6085)
        if excess == 0 or excess == -1:
            element.next = rounded
        elif excess < 0:
            element.next = -limit
        else:
            element.next = limit - 1

    return products, addition, in_halves, half_more, rounding, bits_beyond, saturation
