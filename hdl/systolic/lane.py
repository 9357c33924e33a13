"""One PE of the systolic array: two multiplexers over the row's registers, a multiplier, a score, a partial sum, bubbles."""

from myhdl import Signal, always, always_comb, intbv

from golden.config import clog2
from hdl.delay import register
from hdl.hierarchy import module
from hdl.multiplier import multiplier
from hdl.stream import Signed
from hdl.systolic.timing import Timing
from hdl.tiled.interfaces import operand_signal, product_signal


def partial_signal(config):
    """Signed sum of the products of some lanes for one output element, 11 fraction bits."""
    return Signed(len(product_signal(config)) + clog2(config.lanes)).signal()


@module
def query_multiplexer(queries, select, score, probability, operand):
    """First operand: the lane's query register in SDDMM, else its own probability."""

    @always_comb
    def choice():
        if score:
            operand.next = queries[select]
        else:
            operand.next = probability

    return choice


@module
def column_multiplexer(columns, select, valid, operand):
    """Second operand: the lane's column register; zero, so that nothing moves, where the lane has no key."""

    @always_comb
    def choice():
        if valid:
            operand.next = columns[select]
        else:
            operand.next = 0

    return choice


@module
def bubbles(clk, partial, count, delayed, config):
    """`delayed` is `partial` of `count` cycles ago: a register for each column between this lane's and the next one's.

    count: 0 ... W - N.
    """
    most = Timing(config).spare
    stages = [partial] + [partial_signal(config) for _ in range(most)]
    registers = [register(clk, a, b) for a, b in zip(stages, stages[1:])]

    @always_comb
    def tap():
        delayed.next = stages[count]

    return registers, tap


@module
def multiply_add(clk, score, first, second, before, dot, partial, config):
    """The multiplier, and behind it two adders: the score in place (zero outside SDDMM), and the passing partial sum.

    score: of the cycle in which the multiplier has its operands.
    """
    product = product_signal(config)
    score_of_product = Signal(False)

    multiply = multiplier(clk, first, second, product)

    @always(clk.posedge)
    def phase():
        score_of_product.next = score

    @always(clk.posedge)
    def accumulate():
        if score_of_product:
            dot.next = dot + product
        else:
            dot.next = 0

    @always(clk.posedge)
    def pass_on():
        partial.next = before + product

    return multiply, phase, accumulate, pass_on


@module
def lane(
    clk, take, score, push, queries, columns, active, item_valid, item_select, next_column, column, power, before, dot,
    after, config,
):  # fmt: skip
    """A PE. Stages are those of `hdl.systolic.timing`, c the lane's column.

    clock:      _/-\\_/-\\_/-\\_/-\\_/-\\_
    columns[c]: <t0 ><t1 >              stage 4 + c
    (operands):      <t0 ><t1 >         stage 5 + c, the multiplier's
    product:              <t0 ><t1 >    stage 6 + c
    dot, partial:              <t0 >    stage 7 + c
    after:                     <t0 >    and a cycle later for each column skipped

    Args:
        take, score, push: flags of this lane (`RowControl`, j cycles later for lane j).
        queries, columns: the row's W query registers and W column registers.
        active, item_valid, item_select: of the row's work item, read with `take`; an idle lane has a column too.
        next_column: `column` of the next lane; 0, that is W, for the last one.
        column: this lane's. It changes with `take`, when the next lane still has its old one.
        power: probability, taken with `push`.
        before, after: partial sums, from the left and to the right.
        dot: score so far; zero outside SDDMM.
    """
    mask = config.tile_keys - 1

    valid = Signal(False)
    gap = Signal(intbv(0)[len(column) :])
    probability = Signal(intbv(0)[len(power) :])
    first = Signed(config.probability_bits + 1).signal()
    second = operand_signal()
    score_of_operands = Signal(False)
    partial = partial_signal(config)

    @always(clk.posedge)
    def selection():
        if take:
            valid.next = item_valid and active
            if active:
                column.next = item_select

    @always(clk.posedge)
    def skipped_columns():
        # The next lane's bubbles are still in use when this lane begins another round: hold.
        if not score:
            gap.next = (next_column - column - 1) & mask

    @always(clk.posedge)
    def exponential():
        if push:
            probability.next = power

    @always(clk.posedge)
    def phase():
        score_of_operands.next = score

    return (
        selection, skipped_columns, exponential, phase,
        query_multiplexer(queries, column, score, probability, first),
        column_multiplexer(columns, column, valid, second),
        multiply_add(clk, score_of_operands, first, second, before, dot, partial, config),
        bubbles(clk, partial, gap, after, config),
    )  # fmt: skip
