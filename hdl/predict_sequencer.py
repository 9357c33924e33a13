"""In which order groups, chunks and steps are predicted."""

from myhdl import Signal, always, always_comb, intbv

from golden.config import LENGTH_BITS, MANTISSA_BITS, PREDICTED_MANTISSA_BITS, clog2
from hdl.hierarchy import module
from hdl.levels import step_bits
from hdl.score_store import MOST_GROUPS

_DROPPED_BITS = MANTISSA_BITS - PREDICTED_MANTISSA_BITS
_LARGEST_MANTISSA = (1 << PREDICTED_MANTISSA_BITS) - 1


class GroupPlan:
    """The next group: its first query with the last key that it sees, and how it is multiplied.

    ``last_chunk``: its number. ``first_step`` ... ``last_step`` (modulo their range): cycles of a chunk; steps 0 and up
    have operands, those before only fill up the cycles that the scores take. ``mantissa``: as the predictor has it.
    Constant while ``valid``, as is the rest that is known of the group, in the queues of heads and groups;
    ``take`` ends it.
    """

    def __init__(self, config):
        self.valid = Signal(False)
        self.take = Signal(False)
        self.query = Signal(intbv(0)[LENGTH_BITS:])
        self.last_visible = Signal(intbv(0)[config.key_bits :])
        self.last_chunk = Signal(intbv(0)[max(1, clog2(config.max_chunks)) :])
        self.last_step = Signal(intbv(0)[step_bits(config) :])
        self.first_step = Signal(intbv(0)[step_bits(config) :])
        self.mantissa = Signal(intbv(0)[PREDICTED_MANTISSA_BITS:])


@module
def group_planner(clk, reset, heads, groups, room, group_start, plan, config):
    """Prepares the ``plan`` of the oldest group of the oldest head, once there is ``room``, in 3 cycles.

    ``group_start``: pulse, room for one group is claimed; ``room`` counts again from the third cycle after it.
    """
    WAIT, EXTENT, CLAIM, READY = range(4)
    query_count, key_shift, step_shift = config.predict_queries, clog2(config.predict_keys), clog2(config.predict_width)
    last_pass, step_range = config.predict_queries // config.softmax_lanes - 1, 1 << step_bits(config)
    state = Signal(intbv(WAIT, min=0, max=READY + 1))
    head_first = Signal(True)
    group_last_visible = Signal(intbv(0)[config.key_bits :])
    last_step = Signal(intbv(0)[step_bits(config) :])
    rounded = Signal(intbv(0)[PREDICTED_MANTISSA_BITS + 1 :])

    @always_comb
    def settings():
        last_step.next = 0
        if heads.predict_dims != 0:
            last_step.next = (heads.predict_dims - 1) >> step_shift
        rounded.next = (heads.mantissa >> _DROPPED_BITS) + heads.mantissa[_DROPPED_BITS - 1]

    @always_comb
    def pop():
        groups.ready.next = plan.take
        heads.ready.next = plan.take and groups.head_last

    @always(clk.posedge)
    def control():
        group_start.next = False
        if reset:
            state.next = WAIT
            head_first.next = True
            plan.valid.next = False
        elif state == WAIT:
            if heads.valid and groups.valid:
                state.next = EXTENT
        elif state == EXTENT:
            state.next = CLAIM
        elif state == CLAIM:
            if room:
                group_start.next = True
                plan.valid.next = True
                state.next = READY
        elif plan.take:
            head_first.next = groups.head_last
            plan.valid.next = False
            state.next = WAIT

    @always(clk.posedge)
    def extent():
        if state == WAIT and heads.valid and groups.valid:
            if head_first:
                plan.query.next = 0
                if heads.causal:
                    plan.last_visible.next = heads.n_k - heads.n_q
                else:
                    plan.last_visible.next = heads.n_k - 1
            else:
                plan.query.next = plan.query + query_count
                if heads.causal:
                    plan.last_visible.next = plan.last_visible + query_count
        if state == EXTENT:
            if heads.causal:
                group_last_visible.next = plan.last_visible + groups.count - 1
            else:
                group_last_visible.next = plan.last_visible

    @always(clk.posedge)
    def work():
        if state == CLAIM:
            plan.last_chunk.next = group_last_visible >> key_shift
            plan.last_step.next = last_step
            if last_step >= last_pass:
                plan.first_step.next = 0
            else:
                plan.first_step.next = (last_step + (step_range - last_pass)) % step_range
            if rounded > _LARGEST_MANTISSA:
                plan.mantissa.next = _LARGEST_MANTISSA
            else:
                plan.mantissa.next = rounded

    return settings, pop, control, extent, work


@module
def step_sequencer(clk, reset, plan, key_set, progress, read, enable, last, group_last, config):
    """Steps of chunks of groups, one a cycle in ``read`` (hdl.levels.LevelRead), without a gap if it can.

    A chunk takes its steps, or as many cycles as its scores take to be scaled, if that is more (``enable`` is low
    before the first step then).
    ``last``: step of the chunk; ``group_last``: its chunk is the last of the group. ``progress``: of the score stores,
    whose conditions for a start are kept here. ``plan.take``: a group has started in the cycle before.
    """
    lane_count, step_range = config.softmax_lanes, 1 << step_bits(config)
    two = MOST_GROUPS - 1  # buffers of a score store
    finished = [lane.finished for lane in progress]
    free_chunks = [lane.free_chunks for lane in progress]
    groups_in_use = [Signal(intbv(0, min=0, max=MOST_GROUPS + 1)) for _ in range(lane_count)]  # begun, not finished
    chunk_bits = len(read.chunk)
    busy = Signal(False)  # in the cycles of a chunk
    at_last = Signal(False)  # in its last one
    one_step = Signal(False)  # it is the only one
    more = Signal(False)  # of the group after this chunk
    boundary, free, start_chunk, start_group = [Signal(False) for _ in range(4)]
    next_chunk = Signal(intbv(0)[chunk_bits + 1 :])  # of the group in hand
    next_slot = Signal(False)
    last_chunk = Signal(intbv(0)[chunk_bits:])
    first_step, last_step, before_last = [Signal(intbv(0)[step_bits(config) :]) for _ in range(3)]

    @always_comb
    def following():
        boundary.next = not busy or at_last

    @always_comb
    def buffers():
        free.next = True
        for i in range(lane_count):
            if more:
                if groups_in_use[i] > two and free_chunks[i] <= next_chunk:
                    free.next = False
            elif groups_in_use[i] > two or (groups_in_use[i] == two and free_chunks[i] == 0):
                free.next = False

    @always_comb
    def start():
        start_chunk.next = boundary and more and free
        start_group.next = boundary and not more and free and plan.valid and not plan.take

    @always_comb
    def strobes():
        enable.next = busy and read.step <= last_step
        last.next = at_last
        group_last.next = not more
        read.group_done.next = busy and at_last and not more

    @always(clk.posedge)
    def control():
        if reset:
            busy.next = False
            more.next = False
            next_slot.next = False
        elif start_group:
            busy.next = True
            more.next = plan.last_chunk != 0
            next_slot.next = not next_slot
        elif start_chunk:
            busy.next = True
            more.next = next_chunk != last_chunk
        elif boundary:
            busy.next = False

    @always(clk.posedge)
    def place():
        plan.take.next = start_group and not reset
        if start_group:
            read.step.next = plan.first_step
            at_last.next = plan.first_step == plan.last_step
        elif start_chunk:
            read.step.next = first_step
            at_last.next = one_step
        elif not boundary:
            read.step.next = (read.step + 1) % step_range
            at_last.next = read.step == before_last
        if start_group:
            read.chunk.next = 0
            next_chunk.next = 1
        elif start_chunk:
            read.chunk.next = next_chunk[chunk_bits:]
            next_chunk.next = next_chunk + 1

    @always(clk.posedge)
    def group():
        if start_group:
            read.slot.next = next_slot
            read.key_set.next = key_set
            last_chunk.next = plan.last_chunk
            last_step.next = plan.last_step
            before_last.next = (plan.last_step + (step_range - 1)) % step_range
            one_step.next = plan.first_step == plan.last_step
            first_step.next = plan.first_step

    @always(clk.posedge)
    def groups():
        for i in range(lane_count):
            if reset:
                groups_in_use[i].next = 0
            elif start_group and not finished[i]:
                groups_in_use[i].next = groups_in_use[i] + 1
            elif finished[i] and not start_group:
                groups_in_use[i].next = groups_in_use[i] - 1

    return groups, following, buffers, start, strobes, control, place, group
