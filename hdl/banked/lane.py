"""One lane of the banked array: M multipliers that form a score of one of its keys, or weigh the key's value."""

from myhdl import Signal, always, always_comb, block, concat, intbv

from golden.config import MULTIPLIER_BITS, OPERAND_BITS, clog2
from hdl.add_chosen import add_chosen
from hdl.add_gated import counter
from hdl.adder_tree import adder_tree, tree_bits
from hdl.banked.index_queue import index_queue
from hdl.banked.interfaces import SUM_SLOTS, Record, ScoredKey, product_bits, slot_bits, word_bits
from hdl.banked.query_rows import MULTIPLIERS_A_PART, query_memory
from hdl.banked.timing import PROBABILITY_STAGE, SELECT_STAGE, late_scan_cycles, scan_is_late
from hdl.delay import delayed, register, register_behind_logic, register_copy
from hdl.hierarchy import module
from hdl.multiplier import multiplier
from hdl.stream import Signed
from hdl.wires import like, number_of, wire


QUERY_PLACE = MULTIPLIER_BITS - OPERAND_BITS
"""Lowest bit of an element of Q in a multiplier's operand; a probability is in the low bits."""


@block
def _multiplier(
    clk, query_low, query_high, probability_high, probability_low, key_byte, score_term, value_product, config
):  # fmt: skip
    """Stages: selection of the operand (4), operands (5), product (6).

    Query and probability, one of which is 0, have places of their own in the operand, all but a few bits.
    """
    bits = MULTIPLIER_BITS + OPERAND_BITS
    shared = Signal(intbv(0)[len(query_low) :])
    operand, key_operand = Signed(MULTIPLIER_BITS).signal(), Signed(OPERAND_BITS).signal()
    product = Signed(bits).signal()

    @always_comb
    def query_or_probability():
        shared.next = query_low | probability_high

    @always_comb
    def operands():
        operand.next = concat(query_high, shared, probability_low).signed()
        key_operand.next = key_byte.signed()

    multiply = multiplier(clk, operand, key_operand, product)

    @always_comb
    def score():
        score_term.next = product >> QUERY_PLACE

    value = number_of(product(product_bits(config), 0), value_product)
    return query_or_probability, operands, multiply, score, value


@module
def dot_product(clk, control, terms, dot, config):
    """Score so far (stage 7 + log2(M)) of the products `terms`, complete S - 1 cycles later; stands still in between.

    It begins with `config.dot_half`, which would cost the scaler a carry chain; a dot product is below half of what its bits hold.
    """
    bits = 2 * OPERAND_BITS
    wide_total, half, new_dot = like(dot), Signal(intbv(config.dot_half, min=dot.min, max=dot.max)), like(dot)
    if len(terms) == 1:
        total, tree = terms[0], []
    else:
        total = Signed(tree_bits(bits, len(terms))).signal()
        tree = adder_tree(clk, terms, total)

    @always(clk.posedge)
    def score():
        if control.accumulate:
            dot.next = new_dot

    return tree, wire(total, wide_total), add_chosen(wide_total, half, dot, control.restart, new_dot), score


@module
def work(clk, reset, control, push, entry, chosen_here, chosen, now, scored, fills, config):
    """What a lane does: the next key of its queue in a score phase, the chosen score's key in a value phase.

    Args:
        push, entry, fills: of the index queue.
        chosen_here, chosen: the choice for the next value phase is here.
        now: `Record`, from a phase's first cycle to its last one.
        scored: `ScoredKey`, the score phase's, for one period that takes in the scan.
    """
    capacity = config.lane_keys

    head, coming = Record(config), Record(config)
    ended = ScoredKey(config) if scan_is_late(config) else scored  # from the cycle after a score phase on
    pop, value_taken, has_room = Signal(False), Signal(False), Signal(False)
    stored = Signed(clog2(capacity) + 2).signal()  # scores made or in the making that have no value yet
    change = Signed(2).signal()

    queue = index_queue(clk, reset, push, entry, pop, head, fills, config)

    @always_comb
    def events():
        pop.next = control.to_score and head.active and has_room
        value_taken.next = chosen_here and chosen.active

    @always_comb
    def change_of_level():
        if pop and not value_taken:
            change.next = 1
        elif value_taken and not pop:
            change.next = -1
        else:
            change.next = 0

    score_memory_level = counter(clk, reset, change, stored)

    # Of the cycle before: a lane's next pop comes a period later.
    @always(clk.posedge)
    def room():
        has_room.next = stored != capacity

    @always(clk.posedge)
    def actives():
        if reset:
            now.active.next = False
            coming.active.next = False
            ended.active.next = False
        else:
            if control.to_score:
                now.active.next = pop
            elif control.to_value:
                now.active.next = coming.active
                ended.active.next = now.active
            if chosen_here:
                coming.active.next = chosen.active

    @always(clk.posedge)
    def records():
        if control.to_score:
            now.slot.next = head.slot
            now.key_set.next = head.key_set
            now.key.next = head.key
        elif control.to_value:
            now.slot.next = coming.slot
            now.key_set.next = coming.key_set
            now.key.next = coming.key
            ended.slot.next = now.slot
            ended.key.next = now.key
        if chosen_here:
            coming.slot.next = chosen.slot
            coming.key_set.next = chosen.key_set
            coming.key.next = chosen.key

    keep = _kept_a_phase(clk, reset, control, ended, scored, config) if scan_is_late(config) else []
    return queue, events, change_of_level, score_memory_level, room, actives, records, keep


@block
def _kept_a_phase(clk, reset, control, ended, scored, config):
    """A score phase's record once more, from the end of the value phase after it (or `late_scan_cycles` later) on."""
    keep = Signal(False)
    late = delayed(clk, control.to_score, keep, late_scan_cycles(config), reset)

    @always(clk.posedge)
    def records():
        if keep:
            scored.slot.next = ended.slot
            scored.key.next = ended.key
        if reset:
            scored.active.next = False
        elif keep:
            scored.active.next = ended.active

    return late, records


@module
def lane(
    clk, reset, control, row, push, entry, fills, chosen_here, chosen, power_here, power, keys, active, scored, dot,
    products, uses, config,
):  # fmt: skip
    """A lane: index queue, Q memory, multipliers, score. The multipliers work in both phases.

    clock:     _/-\\_/-\\_/-\\_/-\\_/-\\_/-\\_/-\\_/-\\_/-\\_
    address:   <w0 ><w1 >                          stage 0
    (operands):                      <w0 ><w1 >         stage 5
    products:                             <w0 ><w1 >    stage 6

    Args:
        control: `Control`.
        row: `RowWrite`, writes the cluster's Q rows.
        push, entry, fills: index queue; no push in the cycle after `fills`.
        chosen_here, chosen: the choice of a key for the next value phase is the lane's.
        power_here, power: so is the probability.
        keys: `KeyPort`.
        active: the lane works in this phase.
        scored: `ScoredKey` of the score phase before, while its dot product stands still.
        dot: dot product (`dot_product`), stands still from a score phase's last word to the next one's first.
        products: signed, [dimension], stage 6: in a value phase what the lane adds to its query's sums; zero without one.
        uses: a bit for each sum slot, stage 5: that of the query, in a value phase.
    """
    width = config.lane_width

    now = Record(config)
    slot = Signal(intbv(0)[slot_bits(config) :])
    active_before, weighs, value_active = (Signal(False) for _ in range(3))
    row_address = Signal(intbv(0)[slot_bits(config) + word_bits(config) :])
    query_word = Signal(intbv(0)[width * OPERAND_BITS :])
    probability = Signal(intbv(0)[config.probability_bits :])
    terms = [Signed(2 * OPERAND_BITS).signal() for _ in range(width)]
    weight, next_weight = like(probability), like(probability)  # 0 without a value
    # A lane's multipliers lie far apart: each few have a copy of their own.
    weights = [like(weight) for _ in range(0, width, MULTIPLIERS_A_PART)]
    slot_bit = Signal(intbv(0)[SUM_SLOTS:])
    sum_slot_bits = clog2(SUM_SLOTS)

    what = work(clk, reset, control, push, entry, chosen_here, chosen, now, scored, fills, config)

    @always_comb
    def addresses():
        keys.address.next = concat(now.key, control.word)
        keys.key_set.next = now.key_set
        keys.active.next = now.active
        active.next = now.active

    # The query memory is a cycle faster than those of the keys.
    @always(clk.posedge)
    def address_of_query():
        row_address.next = concat(now.slot, control.word)

    @always(clk.posedge)
    def probability_of_choice():
        if power_here:
            probability.next = power

    slot_when_selected = delayed(clk, now.slot, slot, SELECT_STAGE)
    active_at_probability = delayed(clk, now.active, active_before, PROBABILITY_STAGE, reset=reset)

    @always_comb
    def weight_of_key():
        if active_before and control.value_is_near:
            next_weight.next = probability
        else:
            next_weight.next = 0

    copies = [register_behind_logic(clk, next_weight, weight)] + [register_copy(clk, weight, copy) for copy in weights]

    @always(clk.posedge)
    def weighing():
        weighs.next = active_before and control.value_is_near and not reset

    weighing_when_selected = register(clk, weighs, value_active)

    @always_comb
    def sum_slot():
        slot_bit.next = 1 << slot[sum_slot_bits:]

    @always(clk.posedge)
    def sum_slot_of_products():
        uses.next = 0
        if value_active:
            uses.next = slot_bit

    rows = query_memory(clk, row, row_address, control, query_word, config)

    both = config.probability_bits - QUERY_PLACE  # bits in which query and probability meet
    multipliers = []
    for m in range(width):
        high, low = (m + 1) * OPERAND_BITS, m * OPERAND_BITS
        copy = weights[m // MULTIPLIERS_A_PART]
        probability_high, probability_low = copy(config.probability_bits, QUERY_PLACE), copy(QUERY_PLACE, 0)
        key_byte = keys.data(high, low)
        multipliers.append(
            _multiplier(
                clk, query_word(low + both, low), query_word(high, low + both), probability_high, probability_low,
                key_byte, terms[m], products[m], config,
            )
        )  # fmt: skip

    score = dot_product(clk, control, terms, dot, config)

    return (
        what, addresses, address_of_query, probability_of_choice, slot_when_selected, active_at_probability, weight_of_key,
        copies, weighing, weighing_when_selected, sum_slot, sum_slot_of_products, rows, multipliers, score,
    )  # fmt: skip
