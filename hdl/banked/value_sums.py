"""A cluster's output sums: for each dimension, over all of its lanes, those of the two oldest queries in flight.

A lane's products of a value phase belong to one of the two queries. So there are two sums over the lanes, each of the products
that its query uses. The second query's waits for a phase: one adder and one memory serve both queries in turn.
"""

from myhdl import Signal, always, always_comb, block, concat, intbv

from hdl.add_chosen import add_chosen
from hdl.add_gated import add_gated
from hdl.adder_tree import adder_tree, tree_bits, tree_cycles
from hdl.banked.interfaces import (
    SUM_SLOTS,
    product_bits,
    row_sum_bits,
    word_bits,
)
from hdl.banked.timing import OPERAND_STAGE, PRODUCT_STAGE, drain_delay, lanes_total_stage
from hdl.delay import cleared_register, delayed, register, register_copy
from hdl.hierarchy import module
from hdl.memory import TABLE_WORDS, distributed_ram
from hdl.stream import Signed
from hdl.wires import bits_of, like, number_of, side_by_side, wire

REGISTERED_CYCLES = 4  # so long a delay is made of registers, a longer one of distributed memory


@block
def _phase_later(clk, totals, late, word, config):
    """`late` are the `totals` of slot_cycles cycles ago; `word` counts with them."""
    if config.slot_cycles <= REGISTERED_CYCLES:
        return [delayed(clk, total, copy, config.slot_cycles) for total, copy in zip(totals, late)]
    bits = len(totals[0])
    raw = [Signal(intbv(0)[bits:]) for _ in totals]
    raw_word, read = side_by_side(raw), Signal(intbv(0)[bits * len(totals) :])
    always_on = Signal(True)
    memory = distributed_ram(clk, always_on, word, raw_word, word, read, depth=config.slot_cycles)
    return (
        memory,
        [bits_of(total, part) for total, part in zip(totals, raw)],
        [number_of(read((m + 1) * bits, m * bits), copy) for m, copy in enumerate(late)],
    )


@block
def _sum_of_lanes(clk, products, uses_next, total):
    """Of one dimension: the sum of those of the lanes' `products` that a query uses.

    The gates are in the carry chains of the first adders, so that they take no look-up tables on ECP5.

    uses_next: [lane], flags, a cycle before the products; total: signed, log2(N) cycles after these.
    """
    # Registers for each dimension, as they lie far apart.
    uses = [Signal(False) for _ in products]
    copies = [register_copy(clk, next_, use) for next_, use in zip(uses_next, uses)]
    operands = list(zip(products, uses))
    pairs = list(zip(operands[::2], operands[1::2]))
    sums = [Signed(tree_bits(len(products[0]), 2)).signal() for _ in pairs] if len(pairs) > 1 else [total]
    pieces = []
    for ((left, use_left), (right, use_right)), pair_sum in zip(pairs, sums):
        wide_left, wide_right, new_sum = (like(pair_sum) for _ in range(3))
        pieces += [
            wire(left, wide_left), wire(right, wide_right),
            add_gated(wide_left, use_left, wide_right, use_right, new_sum), register(clk, new_sum, pair_sum),
        ]  # fmt: skip
    return copies, pieces, adder_tree(clk, sums, total) if len(sums) > 1 else []


@module
def _flag_of_slot(clk, present, first_is_next, of_first, of_second, flag):
    """A flag of the slot of the next cycle's pass, which says whether it has sums (`present`): `of_first` if the first slot has
    some, `of_second` if the second one has. A register for one dimension, as they lie far apart."""

    @always(clk.posedge)
    def slot_of_next_pass():
        if first_is_next:
            flag.next = present[0] == of_first
        else:
            flag.next = present[1] == of_second

    return slot_of_next_pass


@block
def _sum_so_far(clk, control, present, written_first, written_word, new, so_far, config):
    """A dimension's sums of both slots, in distributed RAM; `so_far` is 0 for a slot without any.

    If there are words to spare, those that are read then are never written, and stay zero: in a register with a clear input the
    zero would cost more, as all eight flip-flops around have to have that in common.

    Args:
        control, present: the slot and word that are read; the slots with sums.
        written_first, written_word: the slot and word that are written a cycle later; new: what.
        so_far: signed, a cycle later.
    """
    words = word_bits(config)
    depth = SUM_SLOTS << words
    spare = 2 * depth <= TABLE_WORDS
    stored, stored_number = Signal(intbv(0)[len(new) :]), like(so_far)
    flag, always_on = Signal(False), Signal(True)
    own_first, own_word = like(written_first), like(written_word)
    read_address, write_address = (Signal(intbv(0)[1 + spare + words :]) for _ in range(2))

    if spare:  # a slot's sums are in the half of its own number

        @always_comb
        def addresses():
            read_address.next = concat(flag, control.total_first, control.total_word)
            write_address.next = concat(own_first, own_first, own_word)

        read = register(clk, stored_number, so_far)

    else:

        @always_comb
        def addresses():
            read_address.next = concat(control.total_first, control.total_word)
            write_address.next = concat(own_first, own_word)

        read = cleared_register(clk, flag, stored_number, so_far)

    return (
        _flag_of_slot(clk, present, control.total_first_is_next, spare, False, flag), addresses, number_of(stored, stored_number), read,
        register_copy(clk, written_first, own_first), register_copy(clk, written_word, own_word),
        distributed_ram(clk, always_on, write_address, new, read_address, stored, depth=depth << spare),
    )  # fmt: skip


@block
def _sum_of_one_dimension(clk, first, total, late, so_far, sum_, sum_bits):
    """Cycles: `first`; `so_far`, `total` (if `first`) or `late`; the new `sum_`, which is to be written."""
    is_first, new_sum = Signal(False), like(sum_)

    @always_comb
    def raw():
        sum_bits.next = sum_[len(sum_) :]

    return (
        register_copy(clk, first, is_first), add_chosen(so_far, total, late, is_first, new_sum),
        register(clk, new_sum, sum_), raw,
    )  # fmt: skip


@module
def value_sums(clk, reset, control, products, uses, sums, filled, config):
    """Adds the products of all lanes to the sums of their queries.

    In every period each of the two queries has its pass: S cycles, one for each word, in which the products of the value phase
    are added. A query drains in a pass: its new sums go to the row buffer, and the next pass begins with zeros.

    clock:       _/-\\_/-\\_/-\\_/-\\_
    stored:      <T  >                 stage `lanes_total_stage`, the second query's S cycles later
    totals:           <T+1>            (and the sum so far)
    sums:                  <T+2>       (written in this cycle)

    Args:
        control: `Control`.
        products: signed, [lane][dimension], `PRODUCT_STAGE`.
        uses: [lane], a bit for each sum slot, a stage before: the query to which they belong, if to any.
        sums: signed, M of them; filled: they belong to a row that drains.
    """
    lanes, width, words = config.lanes, config.lane_width, word_bits(config)
    terms_bits, bits = product_bits(config), row_sum_bits(config)
    total_bits = tree_bits(terms_bits, lanes)
    at_totals = lanes_total_stage(config)
    late_drain = drain_delay(config)
    padding = at_totals + 1 - PRODUCT_STAGE - tree_cycles(lanes)
    pieces = []

    # [sum slot][dimension]
    added, totals = (
        [[Signed(total_bits).signal() for _ in range(width)] for _ in range(SUM_SLOTS)] for _ in range(2)
    )  # fmt: skip
    for slot in range(SUM_SLOTS):
        uses_next = [use(slot) for use in uses]
        for m in range(width):
            of_lanes = [products[lane][m] for lane in range(lanes)]
            pieces.append(_sum_of_lanes(clk, of_lanes, uses_next, added[slot][m]))
            pieces.append(delayed(clk, added[slot][m], totals[slot][m], padding))
    late = [Signed(total_bits).signal() for _ in range(width)]
    pieces.append(_phase_later(clk, totals[1], late, control.total_word, config))

    # Slots with sums, and the slot that drains: one stage later, in the middle of its pass.
    sum_word = Signal(intbv(0)[words:])
    first, last, drains_now, drains_second, used_first, used_second, used_late = (Signal(False) for _ in range(7))
    any_use = Signal(intbv(0)[SUM_SLOTS:])
    present = Signal(intbv(0)[SUM_SLOTS:])
    first_may_drain, second_may_drain, first_drains = (Signal(False) for _ in range(3))

    @always(clk.posedge)
    def any_lane():
        together = intbv(0)[SUM_SLOTS:]
        together[:] = 0
        for lane in range(lanes):
            together[:] = together | uses[lane]
        any_use.next = together

    @always_comb
    def query_that_drains():
        first_may_drain.next = control.drain and control.drain_sum == 0
        second_may_drain.next = control.drain and control.drain_sum != 0

    pieces += [
        delayed(clk, any_use(0), used_first, at_totals - OPERAND_STAGE, reset=reset),
        delayed(clk, any_use(1), used_second, at_totals - OPERAND_STAGE, reset=reset),
        delayed(clk, used_second, used_late, config.slot_cycles, reset=reset),
        delayed(clk, first_may_drain, first_drains, late_drain, reset=reset),
        delayed(clk, second_may_drain, drains_second, late_drain + config.slot_cycles, reset=reset),
    ]

    @always(clk.posedge)
    def stages():
        first.next = control.total_first
        last.next = control.total_last
        sum_word.next = control.total_word

    @always_comb
    def slot_of_pass():
        drains_now.next = drains_second
        if first:
            drains_now.next = first_drains

    @always(clk.posedge)
    def slots_with_sums():
        if reset:
            present.next = 0
        elif last:
            if first:
                present.next[0] = (present[0] or used_first) and not drains_now
            else:
                present.next[1] = (present[1] or used_late) and not drains_now
        filled.next = drains_now and not reset

    new = [Signal(intbv(0)[bits:]) for _ in range(width)]
    for m in range(width):
        so_far = Signed(bits).signal()
        pieces += [
            _sum_so_far(clk, control, present, first, sum_word, new[m], so_far, config),
            _sum_of_one_dimension(clk, control.total_first, totals[0][m], late[m], so_far, sums[m], new[m]),
        ]
    return (
        pieces, any_lane, query_that_drains, stages, slot_of_pass, slots_with_sums,
    )  # fmt: skip
