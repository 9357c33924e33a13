"""The banked array: key memories, and clusters that work on their queries (golden twin: golden/banked.py)."""

from myhdl import Signal, always, intbv

from golden.config import clog2
from hdl.banked.cluster import cluster
from hdl.banked.interfaces import KeyPort, word_bits
from hdl.banked.keys import keys, scores_in_even_phases
from hdl.delay import far_copy
from hdl.hierarchy import module


@module
def phase_copy(clk, next_odd_phase, next_word, score_phase, word, even):
    """A cluster's own registers: whether it, which makes scores in even (else: odd) phases, does so now, and the word."""

    @always(clk.posedge)
    def step():
        score_phase.next = next_odd_phase != even
        word.next = next_word

    return step


@module
def banked_array(clk, reset, key_writes, queries, rows, words, sums, rooms, round_tick, activity, config):
    """H clusters, and the copies of the keys that they share. In a round each lane can make a score and add a value.

    Args:
        key_writes: `KeyWrites`.
        queries, rows, words: lists of streams, one each a cluster: `queries_stream`, `row_stream`, `words_stream`.
        sums: list of `sums_stream`, one a cluster; a query's row leaves some time after its last word came.
        rooms: how many queries each cluster may get at once.
        round_tick: pulse, 2 * slot_cycles cycles with a query in a cluster are over.
        activity: `Activity`: each busy lane multiplies d times in a phase; a slot without a score is idle.
    """
    clusters = range(config.rows)
    last_word = config.slot_cycles - 1
    slots = config.slots

    odd_phase, round_end, occupied = Signal(False), Signal(False), Signal(False)
    word = Signal(intbv(0)[word_bits(config) :])
    next_odd_phase, next_word = Signal(False), Signal(intbv(0)[word_bits(config) :])
    score_phases = [Signal(False) for _ in clusters]
    cluster_words = [Signal(intbv(0)[word_bits(config) :]) for _ in clusters]
    ports = [[KeyPort(config) for _ in range(config.lanes)] for _ in clusters]
    busy_lanes = [Signal(intbv(0, min=0, max=config.lanes + 1)) for _ in clusters]
    busy_now, scoring_now = (
        [Signal(intbv(0, min=0, max=config.lanes + 1)) for _ in clusters] for _ in range(2)
    )
    number_of_clusters, lane_slots = config.rows, config.rows * config.lanes
    phase_shift = clog2(config.d)
    lanes_busy, lanes_scoring, lanes_idle = (Signal(intbv(0, min=0, max=lane_slots + 1)) for _ in range(3))
    in_first_word, first_word, in_first_of_round, first_of_round = (Signal(False) for _ in range(4))

    resets = [Signal(True) for _ in clusters]
    copies = [far_copy(clk, reset, copy) for copy in resets]

    @always(clk.posedge)
    def phase_counter():
        word.next = next_word
        odd_phase.next = next_odd_phase
        if reset:
            next_word.next = 0
            next_odd_phase.next = False
        elif next_word == last_word:
            next_word.next = 0
            next_odd_phase.next = not next_odd_phase
        else:
            next_word.next = next_word + 1

    phases = [
        phase_copy(
            clk, next_odd_phase, next_word, score_phases[c], cluster_words[c], even=scores_in_even_phases(c, config)
        )
        for c in clusters
    ]  # fmt: skip
    memories = keys(clk, key_writes, odd_phase, ports, config)
    array = [
        cluster(
            clk, resets[c], score_phases[c], cluster_words[c], queries[c], rows[c], words[c], ports[c], sums[c],
            rooms[c], busy_lanes[c], config,
        )
        for c in clusters
    ]  # fmt: skip

    @always(clk.posedge)
    def rounds():
        in_flight = False
        for c in range(number_of_clusters):
            if rooms[c] != slots:
                in_flight = True
        round_end.next = odd_phase and word == last_word
        occupied.next = in_flight
        round_tick.next = round_end and occupied and not reset

    # In a phase's first cycle `busy_lanes` are those of the phase before.
    @always(clk.posedge)
    def done_by_lanes():
        busy = intbv(0, min=0, max=lane_slots + 1)
        scoring = intbv(0, min=0, max=lane_slots + 1)
        busy[:] = 0
        scoring[:] = 0
        for c in range(number_of_clusters):
            busy_now[c].next = busy_lanes[c]
            scoring_now[c].next = 0
            if not score_phases[c]:
                scoring_now[c].next = busy_lanes[c]
            busy[:] = busy + busy_now[c]
            scoring[:] = scoring + scoring_now[c]
        lanes_busy.next = busy
        lanes_scoring.next = scoring
        in_first_word.next = word == 0
        in_first_of_round.next = word == 0 and round_end
        first_word.next = in_first_word
        first_of_round.next = in_first_of_round and occupied
        activity.multiplications.next = 0
        activity.register_moves.next = 0
        activity.idle_slots.next = 0
        if first_word:
            activity.multiplications.next = lanes_busy << phase_shift
            lanes_idle.next = lane_slots - lanes_scoring
            if first_of_round:
                activity.idle_slots.next = lanes_idle - lanes_scoring

    return copies, phase_counter, phases, memories, array, rounds, done_by_lanes
