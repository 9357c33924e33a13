"""One lane of the banked array: M multipliers that form a score of one of its keys, or weigh the key's value."""

from myhdl import Signal, always, always_comb, block, concat, intbv

from golden.config import OPERAND_BITS, clog2
from hdl.adder_tree import adder_tree, tree_bits
from hdl.banked.index_queue import index_queue
from hdl.banked.interfaces import Record, product_signal, slot_bits, word_bits
from hdl.banked.query_rows import query_memory
from hdl.banked.timing import SELECT_STAGE, scan_is_late
from hdl.banked.value_sums import value_sums
from hdl.delay import delayed
from hdl.hierarchy import module
from hdl.stream import Signed


@block
def _multiplier(clk, control, query_byte, probability, key_byte, product, config):
    """Stages: selection of the operand (2), operands (3), product (4)."""
    operand = Signed(config.probability_bits + 1).signal()

    @always(clk.posedge)
    def query_or_probability():
        if control.select_value:
            operand.next = probability
        else:
            operand.next = query_byte.signed()

    @always(clk.posedge)
    def multiply():
        product.next = operand * key_byte.signed()

    return query_or_probability, multiply


@block
def _low_part(wide, low):
    @always_comb
    def part():
        low.next = wide.signed()

    return part


@module
def dot_product(clk, control, products, dot, config):
    """Score so far (stage 6; 7 with more than four products), complete S - 1 cycles later; stands still in between."""
    bits = 2 * OPERAND_BITS
    terms = [Signed(bits).signal() for _ in products]
    parts = [_low_part(product(bits, 0), term) for product, term in zip(products, terms)]
    if len(terms) == 1:
        total, tree = terms[0], []
    else:
        total = Signed(tree_bits(bits, len(terms))).signal()
        tree = adder_tree(clk, terms, total)

    @always(clk.posedge)
    def score():
        if control.accumulate:
            if control.restart:
                dot.next = total
            else:
                dot.next = dot + total

    return parts, tree, score


@module
def work(clk, reset, control, push, entry, chosen_here, chosen, now, scored, full, config):
    """What a lane does: the next key of its queue in a score phase, the chosen score's key in a value phase.

    Args:
        push, entry, full: of the index queue.
        chosen_here, chosen: the choice for the next value phase is here.
        now: `Record`, from a phase's first cycle to its last one.
        scored: `Record`, the score phase's, for one period that takes in the scan.
    """
    capacity = config.lane_keys

    head, coming = Record(config), Record(config)
    ended = Record(config) if scan_is_late(config) else scored  # from the cycle after a score phase on
    pop, value_taken, has_room = Signal(False), Signal(False), Signal(False)
    stored = Signed(clog2(capacity) + 2).signal()  # scores made or in the making that have no value yet
    change = Signed(2).signal()

    queue = index_queue(clk, reset, push, entry, pop, head, full, config)

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

    @always(clk.posedge)
    def score_memory_level():
        if reset:
            stored.next = 0
        else:
            stored.next = stored + change

    @always_comb
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
            ended.key_set.next = now.key_set
            ended.key.next = now.key
        if chosen_here:
            coming.slot.next = chosen.slot
            coming.key_set.next = chosen.key_set
            coming.key.next = chosen.key

    keep = _kept_a_phase(clk, reset, control, ended, scored) if scan_is_late(config) else []
    return queue, events, change_of_level, score_memory_level, room, actives, records, keep


@block
def _kept_a_phase(clk, reset, control, ended, scored):
    """A score phase's record once more, from the end of the value phase after it."""

    @always(clk.posedge)
    def records():
        if control.to_score:
            scored.slot.next = ended.slot
            scored.key_set.next = ended.key_set
            scored.key.next = ended.key
        if reset:
            scored.active.next = False
        elif control.to_score:
            scored.active.next = ended.active

    return records


@module
def lane(
    clk, reset, control, row, push, entry, full, chosen_here, chosen, power_here, power, keys, active, scored, dot, sums,
    config,
):  # fmt: skip
    """A lane: index queue, Q memory, multipliers, score, output sums. The multipliers work in both phases.

    clock:     _/-\\_/-\\_/-\\_/-\\_/-\\_/-\\_/-\\_
    address:   <w0 ><w1 >                     stage 0
    operands:              <w0 ><w1 >         stage 3
    products:                   <w0 ><w1 >    stage 4; sums as well
    dot:                                  <w0 > stage 6

    Args:
        control: `Control`.
        row: `RowWrite`, writes the cluster's Q rows.
        push, entry, full: index queue; no push while it is full.
        chosen_here, chosen: the choice of a key for the next value phase is the lane's.
        power_here, power: so is the probability.
        keys: `KeyPort`.
        active: the lane works in this phase.
        scored: `Record` of the score phase before, while its dot product stands still.
        dot: dot product, stands still from stage 6 of a score phase's last word to that of the next one's first.
        sums: signed, M of them, stage 4: in a score phase, those of the slot that drains.
    """
    depth = 1 << (slot_bits(config) + word_bits(config))
    width = config.lane_width

    now = Record(config)
    slot = Signal(intbv(0)[slot_bits(config) :])
    selected_active, value_active = Signal(False), Signal(False)
    row_address = Signal(intbv(0)[slot_bits(config) + word_bits(config) :])
    read_word, query_word = (Signal(intbv(0)[width * OPERAND_BITS :]) for _ in range(2))
    probability = Signal(intbv(0)[config.probability_bits :])
    products = [product_signal(config) for _ in range(width)]

    what = work(clk, reset, control, push, entry, chosen_here, chosen, now, scored, full, config)

    @always_comb
    def addresses():
        keys.address.next = concat(now.key, control.word)
        row_address.next = concat(now.slot, control.word)
        keys.key_set.next = now.key_set
        keys.active.next = now.active
        active.next = now.active

    @always(clk.posedge)
    def probability_of_choice():
        if power_here:
            probability.next = power

    slot_in_stage_2 = delayed(clk, now.slot, slot, SELECT_STAGE)
    active_in_stage_2 = delayed(clk, now.active, selected_active, SELECT_STAGE, reset=reset)

    @always_comb
    def stage_2():
        value_active.next = selected_active and control.select_value

    rows = query_memory(clk, row.enable, row.address, row.data, row_address, read_word, depth=depth)

    @always(clk.posedge)
    def query_word_in_stage_2():
        query_word.next = read_word

    multipliers = []
    for m in range(width):
        high, low = (m + 1) * OPERAND_BITS, m * OPERAND_BITS
        query_byte, key_byte = query_word(high, low), keys.data(high, low)
        multipliers.append(_multiplier(clk, control, query_byte, probability, key_byte, products[m], config))

    score = dot_product(clk, control, products, dot, config)
    values = value_sums(clk, reset, control, slot, value_active, products, sums, config)

    return (
        what, addresses, probability_of_choice, slot_in_stage_2, active_in_stage_2, stage_2, rows, query_word_in_stage_2, multipliers, score,
        values,
    )  # fmt: skip
