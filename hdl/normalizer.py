"""The normalizer: rows of O from the array's sums, with two factors a query (golden twin: golden/normalizer.py).

This is the part that all arrays share. What reads an array's sums and divides is in front of it:
``hdl/tiled/normalizer.py``, ``hdl/banked/normalizer.py``.
"""

from myhdl import ConcatSignal, Signal, always, always_comb, enum, intbv, modbv

from golden.config import MIN_QUERY_CYCLES, MULTIPLIER_BITS, OUTPUT_BITS, PROBABILITY_FRACTION, clog2
from golden.normalizer import ALIGNED
from hdl.align import ALIGN_CYCLES, align, align_bounded, align_up
from hdl.delay import cleared_register, delayed, held, register_copy
from hdl.factors import factors_stream
from hdl.fifo import fifo, half_slice
from hdl.hierarchy import module
from hdl.occupancy import any_left, room_for
from hdl.stream import Bits, Flag, Signed, Stream
from hdl.visible_sum import VISIBLE_SUM_CYCLES, VisibleStep, visible_sum
from hdl.weighted_sum import WEIGHTED_SUM_CYCLES, weighted_sum
from hdl.wires import bits_of, number_of

TAG_BITS = 4
NUMERATOR_CYCLES = 3  # from the address at ``NumeratorsRead`` to its data
BEATS_IN_FLIGHT = 16  # beats of O from the decision to make them to the sink
MIN_DENOMINATOR_POSITION = PROBABILITY_FRACTION - 1  # the largest probability of a query is at least a half

# When what happens to a step, in cycles after it has left the control.
OPERANDS = VISIBLE_SUM_CYCLES + ALIGN_CYCLES
ELEMENTS = OPERANDS + WEIGHTED_SUM_CYCLES

state_names = enum("WAIT", "PREPARE", "RESTART", "WALK", "QUERIES")


def output_rows_stream(config):
    """Rows of O: int16 elements, the lowest dimension in the low bits."""
    return Stream(
        data=Bits(config.stream_bits), tag=Bits(TAG_BITS), key_set=Flag(), row_last=Flag(), head_last=Flag()
    )


class NumeratorsRead:
    """Read port of finished sums: ``normalizer_width`` dimensions of a query, the lowest in the low bits.

    The queries come in groups of ``rows``; ``group`` counts them modulo ``groups`` (both powers of two).
    """

    def __init__(self, config, groups, rows):
        self.group = Signal(modbv(0)[clog2(groups) :])
        self.row = Signal(intbv(0)[max(1, clog2(rows)) :])
        self.word = Signal(intbv(0)[clog2(config.d // config.normalizer_width) :])
        self.data = Signal(intbv(0)[config.normalizer_width * config.numerator_bits :])


class QueryStep:
    """What else a step of a query is: the ``first`` of it, one that ends a ``beat`` (and that a row, and that a head).

    ``tag`` and ``key_set`` are the query's from the step before its first one to its last one.
    """

    def __init__(self):
        self.tag = Signal(intbv(0)[TAG_BITS:])
        self.key_set = Signal(False)
        self.first = Signal(False)
        self.beat = Signal(False)
        self.row_last = Signal(False)
        self.head_last = Signal(False)


@module
def step_control(
    clk, reset, work, factors_found, filled, beat_sent, step, query, read, released, group_queries, depth, config
):  # fmt: skip
    """Decides on the steps, one a cycle at most: ``normalizer_width`` dimensions of a query, or of the running sums of V.

    A head's steps: restart of the running sums, for causal heads a walk over the keys that its first query doesn't see
    (or, from the total, over those that it does: whichever are fewer), then query after query, as soon as factors and
    numerators are there and the output has room.

    work: stream, as of ``normalizer``; an item is taken when its first query may come. factors_found, filled, beat_sent: pulses,
    one more query has its factors, one more group its numerators, a beat has left. step: ``VisibleStep``, query: ``QueryStep``,
    read: address of ``NumeratorsRead`` (a cycle later than step, as NUMERATOR_CYCLES is one less than VISIBLE_SUM_CYCLES).
    released: pulse, a group's last step is decided on.
    """
    assert NUMERATOR_CYCLES + 1 == VISIBLE_SUM_CYCLES
    words = config.d // config.normalizer_width
    assert words >= MIN_QUERY_CYCLES == 4, "the next query may begin before this one is counted"
    beat_words = config.stream_bits // OUTPUT_BITS // config.normalizer_width  # steps that a beat of O takes
    assert beat_words >= 1, "normalizer_width elements have to fit a beat"
    limit = 2 * depth

    state = Signal(state_names.WAIT)
    word = Signal(intbv(0)[clog2(words) :])
    key = Signal(intbv(0)[config.key_count_bits :])  # of V, that `step` adds or subtracts: so a cycle late here
    first_key = Signal(intbv(0)[config.key_count_bits :])  # the last one that the head's first query sees
    keys_to_walk = Signal(intbv(0)[config.key_count_bits :])
    key_ends, walked = Signal(False), Signal(False)  # in the cycle before
    from_total, fewer_before = Signal(False), Signal(False)
    causal, head_last = Signal(False), Signal(False)
    queries_left = Signal(intbv(0)[len(work.count) :])
    row = Signal(intbv(0)[len(read.row) :])
    group = Signal(modbv(0)[len(read.group) :])  # of the step before

    word_begins, word_ends, may_begin = Signal(True), Signal(words == 1), Signal(False)
    block_ends, walk_ends, beat_begins, beat_ends = [Signal(False) for _ in range(4)]
    is_room, any_factors, any_groups, query_waits = (Signal(value) for value in (True, False, False, False))
    query_step, query_begins, last_of_group, last_begins, advance, group_ends, take, follow = [Signal(False) for _ in range(8)]

    @always_comb
    def places():
        beat_begins.next = (word & (beat_words - 1)) == 0
        beat_ends.next = (word & (beat_words - 1)) == beat_words - 1
        block_ends.next = queries_left == 1
        last_of_group.next = row == group_queries - 1 or queries_left == 1
        walk_ends.next = keys_to_walk <= 1
        fewer_before.next = first_key <= work.n_q

    @always_comb
    def decision():
        query_step.next = (
            state == state_names.QUERIES
            and (is_room or not beat_begins)
            and (not word_begins or may_begin)
        )

    @always_comb
    def consequences():
        advance.next = query_step or state == state_names.RESTART or state == state_names.WALK
        query_begins.next = query_step and word_begins
        group_ends.next = query_step and word_ends and last_of_group
        follow.next = query_step and word_ends and block_ends and work.valid and not work.head_first

    @always_comb
    def next_work():
        take.next = follow or state == state_names.PREPARE or (state == state_names.WAIT and work.valid and not work.head_first)

    @always_comb
    def work_taken():
        work.ready.next = take

    @always(clk.posedge)
    def progress():
        if reset:
            state.next = state_names.WAIT
        elif state == state_names.WAIT:
            if work.valid:
                if work.head_first:
                    state.next = state_names.PREPARE
                else:
                    state.next = state_names.QUERIES
        elif state == state_names.PREPARE:
            state.next = state_names.RESTART
        elif state == state_names.RESTART:
            if word_ends:
                if keys_to_walk != 0:
                    state.next = state_names.WALK
                else:
                    state.next = state_names.QUERIES
        elif state == state_names.WALK:
            if word_ends and walk_ends:
                state.next = state_names.QUERIES
        elif query_step and word_ends and block_ends and not follow:
            state.next = state_names.WAIT

    @always(clk.posedge)
    def work_in_hand():
        if take:
            query.tag.next = work.tag
            query.key_set.next = work.key_set
            causal.next = work.causal
            head_last.next = work.head_last

    @always(clk.posedge)
    def place_in_block():
        if take:
            queries_left.next = work.count
            row.next = 0
            word.next = 0
            word_begins.next = True
            word_ends.next = words == 1
        elif advance:
            word_begins.next = word_ends
            if word_ends:
                word.next = 0
                word_ends.next = words == 1
                if state == state_names.QUERIES:
                    queries_left.next = queries_left - 1
                    if row == group_queries - 1:
                        row.next = 0
                    else:
                        row.next = row + 1
            else:
                word.next = word + 1
                word_ends.next = word == words - 2

    @always(clk.posedge)
    def first_of_head():
        if state == state_names.WAIT and work.valid and work.head_first:
            if work.causal:
                first_key.next = work.n_k - work.n_q
            else:
                first_key.next = 0

    @always(clk.posedge)
    def ends_of_keys():
        key_ends.next = advance and word_ends and state != state_names.RESTART
        walked.next = state == state_names.WALK

    # Keys lie beside the memory of V's rows, far from where steps are decided on.
    @always(clk.posedge)
    def keys():
        if state == state_names.PREPARE:
            from_total.next = not work.causal or not fewer_before
            if fewer_before:
                key.next = 0
                keys_to_walk.next = first_key
            else:
                key.next = first_key
                keys_to_walk.next = work.n_q
        elif key_ends:
            if walked:
                keys_to_walk.next = keys_to_walk - 1
            if walked and walk_ends:
                key.next = first_key
            elif causal:
                key.next = key + 1

    # What waits is counted far away: that its count hears of a query's first step a cycle later, and is heard of two cycles later, is
    # early enough for the next query, which begins four cycles later or more.
    waiting = [
        any_left(clk, reset, factors_found, query.first, any_factors, limit - 1),
        any_left(clk, reset, filled, last_begins, any_groups, limit - 1),
        room_for(clk, reset, query.beat, beat_sent, is_room, BEATS_IN_FLIGHT, needed=2),
    ]

    @always(clk.posedge)
    def next_query():
        query_waits.next = any_factors and any_groups

    news = register_copy(clk, query_waits, may_begin)

    @always(clk.posedge)
    def group_of_block():
        if reset:
            group.next = 0
        elif released:
            group.next = group + 1

    # The step in registers -----------------------------------------------------------------------------------------------
    step_row = Signal(intbv(0)[len(read.row) :])

    @always(clk.posedge)
    def step_control_registers():
        if reset:
            step.valid.next = False
            query.first.next = False
            last_begins.next = False
            query.beat.next = False
            released.next = False
        else:
            step.valid.next = advance
            query.first.next = query_begins
            last_begins.next = query_begins and last_of_group
            query.beat.next = query_step and beat_ends
            released.next = group_ends

    @always_comb
    def key_of_step():
        step.key.next = key[config.key_bits :]

    @always(clk.posedge)
    def step_registers():
        step.restart.next = state == state_names.RESTART
        step.total.next = from_total
        step.subtract.next = state == state_names.WALK and from_total
        step.add.next = (state == state_names.WALK and not from_total) or (state == state_names.QUERIES and causal)
        step.key_set.next = query.key_set
        step.word.next = word
        query.row_last.next = word_ends
        query.head_last.next = word_ends and block_ends and head_last
        step_row.next = row
        read.row.next = step_row
        read.group.next = group
        read.word.next = step.word

    return (
        places, decision, consequences, next_work, work_taken, progress, work_in_hand, place_in_block, first_of_head,
        ends_of_keys, keys, waiting, next_query, news, group_of_block, step_control_registers, key_of_step, step_registers,
    )  # fmt: skip


@module
def normalizer(
    clk, reset, work, found, numerators, filled, released, values, value_sums, rows_out, group_queries, depth, config
):  # fmt: skip
    """Rows of O, in order, ``normalizer_width`` dimensions a cycle.

    work: stream, one item for the next ``count`` queries of a head: ``head_first`` and ``head_last`` (its first and its last
    ones), ``key_set tag causal n_k n_q``. found: ``factors_stream``, one item a query.
    numerators: ``NumeratorsRead``, NUMERATOR_CYCLES; a work item's queries make groups of ``group_queries``, the last one maybe
    smaller. filled: pulse, the numerators of one more group are there; released: pulse, the oldest group's last address
    comes in the next cycle. Work items, groups and factors that wait in here: ``depth`` at most.
    values: ``ValueWrites`` and value_sums: ``ValueSumsRead`` of the loader. rows_out: ``output_rows_stream``.

    Queries follow one another without a gap: d / normalizer_width cycles each. Between heads there are two cycles, the
    restart of the sums of V (as long as a query) and, in a causal head with n_q < n_k, a walk as long as
    min(n_q, n_k - n_q) queries. From a query's factors to its first beat: 21 cycles.
    """
    lanes = config.normalizer_width
    out_bits = OUTPUT_BITS * lanes
    max_denominator_position = config.denominator_bits - 1
    max_visible_position = clog2(config.max_keys)
    sums_go_up = max_visible_position <= ALIGNED
    # Banked: no numerator was rescaled, so none is below -128 * denominator.
    align_numerator = align_bounded if config.array == "banked" else align
    pieces = []

    waiting_work = work.like()
    next_work = Stream(**{name: field for name, field in work.fields.items() if name not in ("number", "residual")})
    query_factors = factors_stream(config)
    step = VisibleStep(config)
    query = QueryStep()
    firsts = [query.first] + [Signal(False) for _ in range(ELEMENTS - 1)]  # [i]: i cycles later
    end = QueryStep()  # of the step whose elements are there
    factors_found, beat_sent = Signal(False), Signal(False)
    visible_sums = Signal(intbv(0)[lanes * config.value_sum_bits :])

    pieces += [
        fifo(clk, reset, work, waiting_work, depth=depth),
        half_slice(clk, reset, waiting_work, next_work),
        fifo(clk, reset, found, query_factors, depth=depth),
        step_control(
            clk, reset, next_work, factors_found, filled, beat_sent, step, query, numerators, released,
            group_queries=group_queries, depth=depth, config=config,
        ),
        visible_sum(clk, reset, values, value_sums, step, visible_sums, config=config),
    ]  # fmt: skip
    pieces += [cleared_register(clk, reset, firsts[i], firsts[i + 1]) for i in range(ELEMENTS - 1)]
    pieces += [
        delayed(clk, query.beat, end.beat, ELEMENTS, reset),
        delayed(clk, query.row_last, end.row_last, ELEMENTS),
        delayed(clk, query.head_last, end.head_last, ELEMENTS),
    ]

    # Factors of the query whose numerators and sums of V are there, then of the one whose operands are. -------------------
    enter = firsts[VISIBLE_SUM_CYCLES - 1]
    enter_operands = firsts[OPERANDS - 1]
    numerator_distance = Signal(intbv(0)[clog2(max_denominator_position - MIN_DENOMINATOR_POSITION + 1) :])
    sum_distance = Signal(intbv(0)[clog2(max(max_visible_position, ALIGNED) + 1) :])
    kept_factor, dropped_factor, kept_operand, dropped_operand = [Signed(MULTIPLIER_BITS).signal() for _ in range(4)]

    @always_comb
    def factor_handshake():
        factors_found.next = found.valid and found.ready
        query_factors.ready.next = enter

    @always(clk.posedge)
    def factors_of_query():
        if enter:
            numerator_distance.next = query_factors.denominator_position - MIN_DENOMINATOR_POSITION
            if sums_go_up:
                sum_distance.next = ALIGNED - query_factors.visible_position
            else:
                sum_distance.next = query_factors.visible_position
            kept_factor.next = query_factors.kept_factor
            dropped_factor.next = query_factors.dropped_factor
        if enter_operands:
            kept_operand.next = kept_factor
            dropped_operand.next = dropped_factor

    # Elements ----------------------------------------------------------------------------------------------------------
    element_words = []
    for lane in range(lanes):
        numerator, value_sum = Signed(config.numerator_bits).signal(), Signed(config.value_sum_bits).signal()
        aligned_numerator, aligned_sum = Signed(MULTIPLIER_BITS).signal(), Signed(MULTIPLIER_BITS).signal()
        element, element_word = Signed(OUTPUT_BITS).signal(), Signal(intbv(0)[OUTPUT_BITS:])
        numerator_word = numerators.data(config.numerator_bits * (lane + 1), config.numerator_bits * lane)
        sum_word = visible_sums(config.value_sum_bits * (lane + 1), config.value_sum_bits * lane)
        pieces += [
            number_of(numerator_word, numerator),
            number_of(sum_word, value_sum),
            align_numerator(clk, numerator, numerator_distance, aligned_numerator,
                  lowest=MIN_DENOMINATOR_POSITION, highest=max_denominator_position),
            align_up(clk, value_sum, sum_distance, aligned_sum) if sums_go_up else
            align(clk, value_sum, sum_distance, aligned_sum, lowest=0, highest=max_visible_position),
            weighted_sum(clk, aligned_numerator, kept_operand, aligned_sum, dropped_operand, element),
            bits_of(element, element_word),
        ]  # fmt: skip
        element_words.append(element_word)

    # Beats: there is always room for one, the control sees to it. ---------------------------------------------------------
    beats = output_rows_stream(config)
    tag, key_set = query.tag, query.key_set
    if out_bits < config.stream_bits:
        gathered = Signal(intbv(0)[config.stream_bits - out_bits :])  # steps of a beat come one right after the other
        data = ConcatSignal(*reversed(element_words), gathered)

        @always(clk.posedge)
        def gathered_elements():
            gathered.next = data[:out_bits]

        pieces.append(gathered_elements)
    else:
        data = ConcatSignal(*reversed(element_words))
    # A query takes four cycles or more, so tag and key set need a register for every four cycles only.
    for cycle in range((ELEMENTS - 1) % MIN_QUERY_CYCLES, ELEMENTS, MIN_QUERY_CYCLES):
        held_tag, held_key_set = Signal(intbv(0)[TAG_BITS:]), Signal(False)
        pieces.append(held(clk, firsts[cycle], tag, held_tag))
        pieces.append(held(clk, firsts[cycle], key_set, held_key_set))
        tag, key_set = held_tag, held_key_set

    @always_comb
    def beat():
        beats.valid.next = end.beat
        beats.data.next = data
        beats.tag.next = tag
        beats.key_set.next = key_set
        beats.row_last.next = end.row_last
        beats.head_last.next = end.head_last
        beat_sent.next = rows_out.valid and rows_out.ready

    pieces.append(fifo(clk, reset, beats, rows_out, depth=BEATS_IN_FLIGHT))
    return pieces, factor_handshake, factors_of_query, beat
