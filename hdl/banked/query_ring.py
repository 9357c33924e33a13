"""The ring of query rows: where the loader puts them, and when it may."""

from myhdl import Signal, always, always_comb, intbv, modbv

from golden.config import Config, clog2
from hdl.banked.interfaces import address_bits
from hdl.hierarchy import module
from hdl.occupancy import room_left


def group_bits(config: Config) -> int:
    """Of a group's place in the ring."""
    return address_bits(config.ring_groups)


def index_bits(config: Config) -> int:
    """Of a query in its group."""
    return address_bits(config.predict_queries)


class QueryRingWrites:
    """Write port: a beat of a query's row. `address` is {group mod ring_groups, index in the group, beat}."""

    def __init__(self, config: Config):
        self.enable = Signal(False)
        self.address = Signal(intbv(0)[query_address_bits(config) :])
        self.data = Signal(intbv(0)[config.stream_bits :])


def query_address_bits(config: Config) -> int:
    return group_bits(config) + index_bits(config) + clog2(config.row_beats)


@module
def query_ring_writer(clk, reset, beats, queries, group_end, group_done, idle, config):
    """Writes queries to the ring, a beat a cycle, a cycle after it came.

    `beats` (`hdl.query_writer.query_beats_stream`): the beats of a query in order; not taken while a new group would need
    a place that isn't free. `queries`: `QueryRingWrites`. `group_end` (one cycle, after the group's last beat): the
    next query begins a group. `group_done` (one cycle): the ring's oldest group has left it. `idle`: no write is left.
    """
    last_beat, beat_bits = config.row_beats - 1, clog2(config.row_beats)
    index_place, group_place = beat_bits, beat_bits + index_bits(config)

    group = Signal(modbv(0, min=0, max=config.ring_groups))
    index = Signal(intbv(0)[index_bits(config) :])
    is_open = Signal(False)  # the group has a query already
    accept, opens, is_room, takes = (Signal(value) for value in (False, False, True, True))

    @always_comb
    def handshake():
        beats.ready.next = takes
        accept.next = beats.valid and takes

    @always_comb
    def open_group():
        opens.next = accept and not is_open

    room = room_left(clk, reset, opens, group_done, is_room, config.ring_groups)

    @always(clk.posedge)
    def place():
        if reset:
            group.next = 0
            index.next = 0
            is_open.next = False
            takes.next = True
        elif group_end:
            group.next = group + 1
            index.next = 0
            is_open.next = False
            takes.next = is_room
        elif accept:
            is_open.next = True
            takes.next = True
            if beats.beat == last_beat:
                index.next = (index + 1) & ((1 << len(index)) - 1)
        else:
            takes.next = is_open or is_room

    @always(clk.posedge)
    def write():
        queries.enable.next = accept and not reset
        idle.next = not accept
        queries.address.next = (group << group_place) | (index << index_place) | beats.beat
        queries.data.next = beats.data

    return handshake, open_group, room, place, write
