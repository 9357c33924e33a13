"""The normalizer: rows of O from the array's sums, with two factors a query (golden twin: golden/normalizer.py)."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, enum, intbv

from golden.config import MULTIPLIER_BITS, OUTPUT_BITS, PROBABILITY_FRACTION, clog2
from golden.normalizer import ALIGNED
from hdl.align import ALIGN_CYCLES, align, align_up
from hdl.delay import cleared_register, delayed
from hdl.drain import NUMERATOR_CYCLES, NumeratorsRead, drain
from hdl.factors import factors, factors_stream, group_stream
from hdl.fifo import fifo
from hdl.hierarchy import module
from hdl.stream import Bits, Flag, Signed, Stream
from hdl.visible_sum import VISIBLE_SUM_CYCLES, VisibleStep, visible_sum
from hdl.weighted_sum import WEIGHTED_SUM_CYCLES, weighted_sum

TAG_BITS = 4
BEATS_IN_FLIGHT = 16  # beats of O from the decision to make them to the sink
BLOCKS_IN_FLIGHT = 4  # begun to be read out of the array, not yet normalized
MIN_QUERY_CYCLES = 4  # d / drain_rows
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


class QueryStep:
    """What else a step of a query is: the ``first`` of it, one that ends a ``beat`` (and that a row, and that a head)."""

    def __init__(self):
        self.first = Signal(False)
        self.beat = Signal(False)
        self.row_last = Signal(False)
        self.head_last = Signal(False)


@block
def _hold(clk, enable, value, held):
    @always(clk.posedge)
    def register():
        if enable:
            held.next = value

    return register


@block
def _signed(word, number):
    @always_comb
    def copy():
        number.next = word.signed()

    return copy


@block
def _bits(number, word):
    @always_comb
    def copy():
        word.next = number[len(word) :]

    return copy


@module
def step_control(clk, reset, work, factors_found, filled, beat_sent, step, query, read, released, config):
    """Decides on the steps, one a cycle at most: ``drain_rows`` dimensions of a query, or of the running sums of V.

    A head's steps: restart of the running sums, for causal heads a walk over the keys that its first query doesn't see
    (or, from the total, over those that it does: whichever are fewer), then query after query, as soon as factors and
    numerators are there and the output has room.

    work: stream of blocks, as ``drains``. factors_found, filled, beat_sent: pulses, one more query has its factors, one more
    group its numerators, a beat has left. step: ``VisibleStep``, query: ``QueryStep``, read: address of ``NumeratorsRead``
    (a cycle later than step, as NUMERATOR_CYCLES is one less than VISIBLE_SUM_CYCLES). released: pulse for ``drain``.
    """
    assert NUMERATOR_CYCLES + 1 == VISIBLE_SUM_CYCLES
    lanes = config.drain_rows
    words = config.d // lanes
    beat_words = config.stream_bits // OUTPUT_BITS // lanes  # steps that a beat of O takes
    assert beat_words >= 1, "drain_rows elements have to fit a beat"
    limit_factors, limit_groups = 1 << clog2(4 * lanes), 4

    state = Signal(state_names.WAIT)
    word = Signal(intbv(0)[clog2(words) :])
    key = Signal(intbv(0)[config.key_count_bits :])  # of V, that this step adds or subtracts
    first_key = Signal(intbv(0)[config.key_count_bits :])  # the last one that the head's first query sees
    keys_to_walk = Signal(intbv(0)[config.key_count_bits :])
    from_total, fewer_before = Signal(False), Signal(False)
    queries_left = Signal(intbv(0)[clog2(config.block_queries + 1) :])
    row = Signal(intbv(0)[clog2(lanes) :])
    half = Signal(False)
    factors_waiting = Signal(intbv(0, min=0, max=limit_factors))
    groups_waiting = Signal(intbv(0, min=0, max=limit_groups))
    beats = Signal(intbv(0, min=0, max=BEATS_IN_FLIGHT + 1))

    word_ends, block_ends, walk_ends, beat_ends = [Signal(False) for _ in range(4)]
    query_step, query_begins, advance, group_ends = [Signal(False) for _ in range(4)]

    @always_comb
    def places():
        word_ends.next = word == words - 1
        beat_ends.next = (word & (beat_words - 1)) == beat_words - 1
        block_ends.next = queries_left == 1
        walk_ends.next = keys_to_walk <= 1
        fewer_before.next = first_key <= work.n_q

    @always_comb
    def decision():
        query_step.next = (
            state == state_names.QUERIES
            and beats != BEATS_IN_FLIGHT
            and (word != 0 or (factors_waiting != 0 and groups_waiting != 0))
        )

    @always_comb
    def consequences():
        advance.next = query_step or state == state_names.RESTART or state == state_names.WALK
        query_begins.next = query_step and word == 0
        group_ends.next = query_step and word_ends and (row == lanes - 1 or block_ends)
        work.ready.next = query_step and word_ends and block_ends

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
        elif query_step and word_ends and block_ends:
            state.next = state_names.WAIT

    @always(clk.posedge)
    def place_in_block():
        if state == state_names.WAIT:
            queries_left.next = work.count
            row.next = 0
            word.next = 0
        elif advance:
            if word_ends:
                word.next = 0
                if state == state_names.QUERIES:
                    queries_left.next = queries_left - 1
                    if row == lanes - 1:
                        row.next = 0
                    else:
                        row.next = row + 1
            else:
                word.next = word + 1

    @always(clk.posedge)
    def keys():
        if state == state_names.WAIT:
            if work.valid and work.head_first:
                if work.causal:
                    first_key.next = work.n_k - work.n_q
                else:
                    first_key.next = 0
        elif state == state_names.PREPARE:
            from_total.next = not work.causal or not fewer_before
            if fewer_before:
                key.next = 0
                keys_to_walk.next = first_key
            else:
                key.next = first_key
                keys_to_walk.next = work.n_q
        elif advance and word_ends and state != state_names.RESTART:
            if state == state_names.WALK:
                keys_to_walk.next = keys_to_walk - 1
            if state == state_names.WALK and walk_ends:
                key.next = first_key
            elif work.causal:
                key.next = key + 1

    @always(clk.posedge)
    def waiting():
        if reset:
            factors_waiting.next = 0
            groups_waiting.next = 0
            beats.next = 0
            half.next = False
        else:
            if factors_found and not query_begins:
                factors_waiting.next = factors_waiting + 1
            elif query_begins and not factors_found:
                factors_waiting.next = factors_waiting - 1
            if filled and not group_ends:
                groups_waiting.next = groups_waiting + 1
            elif group_ends and not filled:
                groups_waiting.next = groups_waiting - 1
            if query_step and beat_ends and not beat_sent:
                beats.next = beats + 1
            elif beat_sent and not (query_step and beat_ends):
                beats.next = beats - 1
            if group_ends:
                half.next = not half

    # The step in registers -----------------------------------------------------------------------------------------------
    step_row = Signal(intbv(0)[clog2(lanes) :])
    step_half = Signal(False)

    @always(clk.posedge)
    def step_control_registers():
        if reset:
            step.valid.next = False
            query.first.next = False
            query.beat.next = False
            released.next = False
        else:
            step.valid.next = advance
            query.first.next = query_begins
            query.beat.next = query_step and beat_ends
            released.next = group_ends

    @always(clk.posedge)
    def step_registers():
        step.restart.next = state == state_names.RESTART
        step.total.next = from_total
        step.subtract.next = state == state_names.WALK and from_total
        step.add.next = (state == state_names.WALK and not from_total) or (state == state_names.QUERIES and work.causal)
        step.key_set.next = work.key_set
        step.key.next = key[config.key_bits :]
        step.word.next = word
        query.row_last.next = word_ends
        query.head_last.next = word_ends and block_ends and work.head_last
        step_row.next = row
        step_half.next = half
        read.row.next = step_row
        read.half.next = step_half
        read.word.next = step.word

    return places, decision, consequences, progress, place_in_block, keys, waiting, step_control_registers, step_registers


@module
def normalizer(clk, reset, drains, sums, records, values, value_sums, rows_out, drained, config):
    """Rows of O, in order, of the blocks that the array has finished.

    drains: stream of finished blocks; sums: the array's read port; drained: pulse, the last read of a block was granted
    (its records are read, too). records: ``RecordsRead`` of the bitmaps. values: ``ValueWrites`` and value_sums:
    ``ValueSumsRead`` of the loader. rows_out: ``output_rows_stream``.

    A group of ``drain_rows`` queries takes d granted reads of the sums; while the next group is read, this one's queries
    go through one after the other, ``drain_rows`` dimensions a cycle: d cycles a group, and at least 11 a query (the
    dividers). From a group's last read to its first beat: 20 cycles. A causal head with n_q < n_k begins with a
    walk of min(n_q, n_k - n_q) * d / drain_rows cycles.
    """
    lanes = config.drain_rows
    out_bits = OUTPUT_BITS * lanes
    max_denominator_position = config.denominator_bits - 1
    max_visible_position = clog2(config.max_keys)
    sums_go_up = max_visible_position <= ALIGNED
    pieces = []

    work, begun = drains.like(), drains.like()
    group = group_stream(config)
    found, query_factors = factors_stream(config), factors_stream(config)
    numerators = NumeratorsRead(config)
    step = VisibleStep(config)
    query = QueryStep()
    firsts = [query.first] + [Signal(False) for _ in range(ELEMENTS - 1)]  # [i]: i cycles later
    end = QueryStep()  # of the step whose elements are there
    filled, released, factors_found, beat_sent = [Signal(False) for _ in range(4)]
    visible_sums = Signal(intbv(0)[lanes * config.value_sum_bits :])

    pieces += [
        drain(clk, reset, drains, sums, records, begun, group, numerators, filled, released, drained, config=config),
        fifo(clk, reset, begun, work, depth=BLOCKS_IN_FLIGHT),
        factors(clk, reset, group, found, config=config),
        fifo(clk, reset, found, query_factors, depth=2 * lanes),
        step_control(clk, reset, work, factors_found, filled, beat_sent, step, query, numerators, released, config=config),
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
            _signed(numerator_word, numerator),
            _signed(sum_word, value_sum),
            align(clk, numerator, numerator_distance, aligned_numerator,
                  lowest=MIN_DENOMINATOR_POSITION, highest=max_denominator_position),
            align_up(clk, value_sum, sum_distance, aligned_sum) if sums_go_up else
            align(clk, value_sum, sum_distance, aligned_sum, lowest=0, highest=max_visible_position),
            weighted_sum(clk, aligned_numerator, kept_operand, aligned_sum, dropped_operand, element),
            _bits(element, element_word),
        ]  # fmt: skip
        element_words.append(element_word)

    # Beats: there is always room for one, the control sees to it. ---------------------------------------------------------
    beats = output_rows_stream(config)
    tag, key_set = work.tag, work.key_set
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
        pieces.append(_hold(clk, firsts[cycle], tag, held_tag))
        pieces.append(_hold(clk, firsts[cycle], key_set, held_key_set))
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
