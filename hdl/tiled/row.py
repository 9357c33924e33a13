"""One PE row of the tiled array: its lanes, its queries, and what turns their scores into sums.

A round's way through a row (d = 32, N = 16; stages and cycles from `hdl.tiled.timing`):

    cycle      0         32        64        96        128
    phase      |SDDMM k  |SpMM k-1 |SDDMM k+1|SpMM k   |
    `item`     |=======================|                    slot, first, valid: from `begin`, `take`
    `softmax`            .|=====================|           from `control.scale` on
    `spmm`                                   .|=========..  from the last probability on
    dots       ..|------->.=========|                       accumulate; stand still for the scaler
    scaler                |---------->                      N lanes + 6 cycles
    maximum                         |->                     + 3
    exponentials                     |--------->            N lanes + 4
    lanes' probabilities                |------|=========|  shifted in; SpMM's operands
    sums                                        |--------->

The budget, which `Timing` checks, in cycles from the round's first address: all dot products are there at d + 6, the new
maximum at d + N + 14, and the first probability can go into a lane 5 cycles later, but no earlier than at 2d + 4; the last one
must be there at 3d + 4, when SpMM needs its operands. So N is at most d / 2 or a little more: d = 16 takes N = 8.
"""

from myhdl import Signal, always, always_comb, block, concat, intbv

from golden.config import OPERAND_BITS, clog2
from hdl.delay import register
from hdl.hierarchy import module
from hdl.memory import ram_with_register
from hdl.tiled.interfaces import (
    QUERY_WORD_BYTES,
    RoundRecord,
    dot_signal,
    operand_signal,
    probability_signal,
    product_signal,
    query_address_bits,
    rescale_signal,
    slot_bits,
)
from hdl.tiled.lane import input_columns, lane
from hdl.tiled.pipeline import operands_of_word
from hdl.tiled.softmax import softmax
from hdl.tiled.sums import denominators, numerators


@block
def query_elements(clk, queries, control, slot, element, config):
    """The row's query memory: one element a cycle, from stage 0 (address) to stage 3 (`element`)."""
    depth = 1 << query_address_bits(config)

    read_address = Signal(intbv(0)[query_address_bits(config) :])
    word = Signal(intbv(0)[QUERY_WORD_BYTES * OPERAND_BITS :])
    elements = [operand_signal() for _ in range(QUERY_WORD_BYTES)]

    @always_comb
    def address():
        read_address.next = concat(control.ring, slot, control.word)

    memory = ram_with_register(clk, queries.enable, queries.address, queries.data, read_address, word, depth=depth)
    bytes_of_word = operands_of_word(word, elements)

    @always(clk.posedge)
    def choice():
        element.next = elements[control.byte]

    return address, memory, bytes_of_word, choice


@module
def row(clk, control, columns, queries, work, drain_address, numerator, denominator, valid, config):
    """A PE row. It has no state that outlives a reset: whatever it writes, the control has asked for.

    Args:
        control: `RowControl`.
        columns: int8 of all tile columns (stage 3).
        queries: `enable`, `address`, `data`: write port of this row's query memory.
        work: work items; an item at the head with `control.begin` and `control.round` is taken with `control.take`
            (an end mark stays, and the row idles in this round); end marks go with `control.advance`.
        drain_address: {block parity, slot, dimension} for the normalizer, a cycle before one in which `control.read` is low.
        numerator, denominator: what is there, three cycles later.
        valid: bit j: lane j has a key in this round; from the cycle after `control.take` to the next one.
    """
    lanes, width = config.lanes, config.select_bits
    dimension_bits, address_bits = clog2(config.d), len(drain_address)

    active, first = Signal(False), Signal(False)
    slot = Signal(intbv(0)[slot_bits(config) :])
    in_softmax, in_spmm = RoundRecord(config), RoundRecord(config)
    element, element_on_the_way = operand_signal(), operand_signal()
    dots = [dot_signal(config) for _ in range(lanes)]
    products = [product_signal(config) for _ in range(lanes)]
    probabilities = [probability_signal(config) for _ in range(lanes)]
    power = probability_signal(config)
    rescale, rescale_in_spmm = rescale_signal(config), rescale_signal(config)
    own_drain_address = Signal(intbv(0)[address_bits:])
    drain_query = Signal(intbv(0)[1 + slot_bits(config) :])

    @always_comb
    def take_or_advance():
        work.ready.next = (control.take and active) or control.advance

    @always(clk.posedge)
    def item():
        if control.begin:
            active.next = control.round and not work.end
            first.next = work.first
            slot.next = work.slot
        if control.take:
            if active:
                valid.next = work.lane_valid
            else:
                valid.next = 0

    element_of_query = query_elements(clk, queries, control, slot, element_on_the_way, config)
    element_to_lanes = register(clk, element_on_the_way, element)
    pes = []
    for j in range(lanes):
        inputs = [columns[column] for column in input_columns(j, config)]
        item_valid = work.lane_valid(j)
        item_select = work.select((j + 1) * width, j * width)
        previous = probabilities[j + 1] if j + 1 < lanes else power
        pes.append(
            lane(
                clk, control, inputs, element, active, item_valid, item_select, previous, probabilities[j], dots[j],
                products[j], config,
            )
        )  # fmt: skip

    @always(clk.posedge)
    def round_in_softmax():
        if control.scale:
            in_softmax.active.next = active
            in_softmax.first.next = first
            in_softmax.address.next = concat(control.ring[0], slot)

    probabilities_of_round = softmax(clk, control, dots, valid, in_softmax, power, rescale, config)

    @always(clk.posedge)
    def round_in_spmm():
        if control.pushed.last:
            in_spmm.active.next = in_softmax.active
            in_spmm.first.next = in_softmax.first
            in_spmm.address.next = in_softmax.address
            rescale_in_spmm.next = rescale

    address_to_drain = register(clk, drain_address, own_drain_address)

    @always_comb
    def query_to_drain():
        drain_query.next = own_drain_address[address_bits:dimension_bits]

    numerator_sums = numerators(
        clk, control, products, in_spmm, rescale_in_spmm, own_drain_address, numerator, config
    )  # fmt: skip
    denominator_sums = denominators(clk, control, power, in_spmm, rescale_in_spmm, drain_query, denominator, config)

    return (
        take_or_advance, item, element_of_query, element_to_lanes, pes, round_in_softmax, probabilities_of_round,
        round_in_spmm, address_to_drain, query_to_drain, numerator_sums, denominator_sums,
    )  # fmt: skip
