"""Gather: rows of K and V come key by key, and leave as words of N keys side by side, one key a lane.

The beats of N keys lie in one half of a small memory while those of the next N keys fill the other half. They leave
beat by beat: beat 0 of key 0, of key 1 and so on go to their lanes, which give them away word by word; then the beats 1.

    turn     0         1         2         3         0                   (N = 4 lanes, P = 4 words a beat)
    lane 0   k0 b0 ->  word 0    word 1    word 2    word 3
    lane 1             k1 b0 ->  word 0    word 1    word 2    word 3    a lane is a turn behind the one before it,
    lane 2                       k2 b0 ->  word 0    word 1    word 2    and so are its writes (`KeyWrites`)
"""

from myhdl import Signal, always, always_comb, block, concat, intbv

from golden.config import clog2
from hdl.banked.interfaces import address_bits
from hdl.choose import choose
from hdl.delay import register
from hdl.hierarchy import module
from hdl.memory import distributed_ram

HALVES = 2


@block
def _lane_words(clk, load, beat, part, data):
    """A lane takes a beat with `load`; `data` is its word `part`, a cycle later."""
    bits = len(data)
    held = Signal(intbv(0)[len(beat) :])
    chosen = Signal(intbv(0)[bits:])
    words = [held((p + 1) * bits, p * bits) for p in range(len(beat) // bits)]
    choice = choose(words, part, chosen)

    @always(clk.posedge)
    def beat_in_hand():
        if load:
            held.next = beat

    return beat_in_hand, choice, register(clk, chosen, data)


@module
def gather(clk, reset, beats, writes, busy, config):
    """Key words of complete groups of N keys.

    `beats` (`hdl.corner_turn.key_beats_stream`): one beat a cycle if N keys' words are written as fast (N * M >=
    `stream_bytes`); keys in order from 0 for K and again for V; a key 0 that comes before the last key of the rows before
    it abandons their last, incomplete group. A group is complete with its N keys or with `last`; lanes of keys that
    aren't there get anything. `writes` (`hdl.banked.keys.KeyWrites`): the first word of a group two cycles after the
    group's last beat. `busy`: words of complete groups have yet to be written.
    """
    lanes, parts = config.lanes, config.stream_bytes // config.lane_width
    turns = max(lanes, parts)
    lane_bits, beat_bits = clog2(lanes), clog2(config.row_beats)
    part_bits = clog2(parts)
    last_lane, last_beat, last_turn, last_part = lanes - 1, config.row_beats - 1, turns - 1, parts - 1
    depth = HALVES * lanes * config.row_beats

    # Beats into one half.
    write_half, read_half = Signal(False), Signal(False)
    full = [Signal(False) for _ in range(HALVES)]
    index = Signal(intbv(0)[address_bits(lanes) :])
    accept, complete, can_store = Signal(False), Signal(False), Signal(True)
    write_address, read_address = (Signal(intbv(0)[clog2(depth) :]) for _ in range(2))

    @always_comb
    def store():
        beats.ready.next = can_store
        accept.next = beats.valid and can_store
        index.next = beats.key & last_lane
        write_address.next = (write_half << (lane_bits + beat_bits)) | ((beats.key & last_lane) << beat_bits) | beats.beat

    @always_comb
    def find_complete():
        complete.next = accept and beats.beat == last_beat and (beats.last or index == last_lane)

    # Beats out of the other one.
    turn = Signal(intbv(0)[address_bits(turns) :])
    beat = Signal(intbv(0)[address_bits(config.row_beats) :])
    reading, through = Signal(False), Signal(False)
    beat_read = Signal(intbv(0)[config.stream_bits :])
    loads = Signal(intbv(0)[lanes:])

    memory = distributed_ram(clk, accept, write_address, beats.data, read_address, beat_read, depth=depth)

    @always_comb
    def fetch():
        reading.next = full[read_half]
        through.next = full[read_half] and turn == last_turn and beat == last_beat
        read_address.next = (read_half << (lane_bits + beat_bits)) | ((turn & last_lane) << beat_bits) | beat

    @always_comb
    def lane_of_beat():
        loads.next = 0
        for lane in range(lanes):
            if reading and turn == lane:
                loads.next[lane] = True

    @always(clk.posedge)
    def halves():
        if reset:
            full[0].next = False
            full[1].next = False
            write_half.next = False
            read_half.next = False
            can_store.next = True
        else:
            if complete:
                full[write_half].next = True
                write_half.next = not write_half
                can_store.next = through or not full[not write_half]  # (what is read is the other half)
            elif through:
                can_store.next = True
            if through:
                full[read_half].next = False
                read_half.next = not read_half

    @always(clk.posedge)
    def place():
        if reset:
            turn.next = 0
            beat.next = 0
        elif reading:
            if turn != last_turn:
                turn.next = turn + 1
            else:
                turn.next = 0
                if beat != last_beat:
                    beat.next = beat + 1
                else:
                    beat.next = 0

    # Which keys a half holds.
    group_keys = [Signal(intbv(0)[len(writes.key) :]) for _ in range(HALVES)]
    group_key_sets, group_values = ([Signal(False) for _ in range(HALVES)] for _ in range(2))

    @always(clk.posedge)
    def groups():
        if complete:
            group_keys[write_half].next = beats.key >> lane_bits
            group_key_sets[write_half].next = beats.key_set
            group_values[write_half].next = beats.value

    @always(clk.posedge)
    def write_control():
        writes.enable.next = reading and turn <= last_part and not reset
        writes.key.next = group_keys[read_half]
        writes.key_set.next = group_key_sets[read_half]
        writes.value.next = group_values[read_half]
        writes.word.next = (beat << part_bits) | (turn & last_part)

    # Words out of the lanes.
    lane_parts = [Signal(intbv(0)[max(1, part_bits) :]) for _ in range(lanes)]
    lane_words = [_lane_words(clk, loads(lane), beat_read, lane_parts[lane], writes.data[lane]) for lane in range(lanes)]

    @always(clk.posedge)
    def parts_of_lanes():
        lane_parts[0].next = turn & last_part
        for lane in range(1, lanes):
            lane_parts[lane].next = lane_parts[lane - 1]

    underway = Signal(intbv(0)[lanes + 1 :])

    @always(clk.posedge)
    def writes_underway():
        if reset:
            underway.next = 0
        else:
            underway.next = concat(underway[lanes:], writes.enable)

    @always_comb
    def business():
        busy.next = full[0] or full[1] or writes.enable or underway != 0

    return (
        store, find_complete, memory, fetch, lane_of_beat, halves, place, groups, write_control, lane_words,
        parts_of_lanes, writes_underway, business,
    )  # fmt: skip
