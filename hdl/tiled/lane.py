"""One PE of the tiled array: a multiplier that forms a score, and later weighs a value with its exponential."""

from myhdl import Signal, always, always_comb, intbv

from golden.config import Config
from hdl.add_subtract import accumulate
from hdl.delay import held
from hdl.hierarchy import module
from hdl.multiplier import multiplier
from hdl.stream import Signed
from hdl.tiled.interfaces import operand_signal
from hdl.wires import like, wire


def input_columns(lane_index: int, config: Config) -> list[int]:
    """Tile columns at the inputs of a lane's multiplexer, in the order of `select` (docs/architecture.md, work items)."""
    if config.full_connection:
        return list(range(config.tile_keys))
    per_class = config.tile_keys // config.lanes
    return [
        place * config.lanes + (lane_index - back) % config.lanes
        for back in range(config.span)
        for place in range(per_class)
    ]


@module
def lane(clk, control, inputs, element, active, item_valid, item_select, previous, probability, dot, product, config):
    """A PE: column multiplexer, multiplier, score, probability.

    clock:    _/-\\_/-\\_/-\\_/-\\_/-\\_
    inputs:   <t0 ><t1 >                 stage 3
    (chosen):      <t0 ><t1 >            stage 4
    (operands):         <t0 ><t1 >       stage 5, the multiplier's
    product:                 <t0 ><t1 >  stage 6
    dot:                          <t0 >  stage 7

    Args:
        control: `RowControl`.
        inputs: int8 of the tile columns that this lane can read (stage 3; K in the SDDMM phase, V in the SpMM phase).
        element: int8 of the query (stage 4), the same for all lanes of the row.
        active, item_valid, item_select: of the row's work item, read with `control.take`. A lane that isn't valid
            multiplies zeros.
        previous: the neighbour's probability, or the new one at the end of the row; taken with `control.pushed.active`.
        probability: this lane's probability (SpMM's operand).
        dot: dot product so far; stands still in the SpMM phase.
        product: to the row's adder tree.
    """
    pushed = control.pushed
    pairs = config.lane_inputs // 2
    lowest, limit = element.min, element.max

    now_valid, held_valid = Signal(False), Signal(False)
    now_select = Signal(intbv(0)[config.select_bits :])
    held_select = Signal(intbv(0)[config.select_bits :])
    pair_chosen = Signal(intbv(0)[pairs:])
    column_operand = operand_signal()
    row_operand = Signed(config.probability_bits + 1).signal()

    @always(clk.posedge)
    def selection():
        if control.take:
            now_valid.next = item_valid and active
            now_select.next = item_select
        elif control.swap:
            now_valid.next = held_valid
            now_select.next = held_select
            held_valid.next = now_valid
            held_select.next = now_select

    @always(clk.posedge)
    def probability_chain():
        if pushed.active:
            probability.next = previous

    # Gated pairs, or-ed: a fifth fewer look-up tables than a multiplexer, and the gates make the zeros.
    @always_comb
    def choice_of_pair():
        for i in range(pairs):
            pair_chosen.next[i] = now_valid and (now_select >> 1) == i

    @always(clk.posedge)
    def choice_of_column():
        operand = intbv(0, min=lowest, max=limit)
        for i in range(pairs):
            if pair_chosen[i]:
                if now_select[0]:
                    operand[:] = operand | inputs[2 * i + 1]
                else:
                    operand[:] = operand | inputs[2 * i]
        column_operand.next = operand

    @always_comb
    def operand_of_row():
        if control.value:
            row_operand.next = probability
        else:
            row_operand.next = element

    multiply = multiplier(clk, row_operand, column_operand, product)

    never = Signal(False)
    step, total = like(dot), like(dot)
    score = [
        wire(product, step), accumulate(dot, control.anew, step, never, total), held(clk, control.accumulate, total, dot)
    ]  # fmt: skip

    return selection, probability_chain, choice_of_pair, choice_of_column, operand_of_row, multiply, score
