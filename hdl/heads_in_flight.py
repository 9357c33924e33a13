"""Accounts of the heads between the loader and the output: their tags, and the key sets that they use."""

from myhdl import Signal, always, always_comb, intbv, modbv

from hdl.hierarchy import module
from hdl.tiled.interfaces import TAG_BITS

MOST_HEADS = (1 << TAG_BITS) - 1


@module
def heads_in_flight(clk, reset, start, start_key_set, done, done_key_set, tag, room, free_sets, any_head):
    """``start`` (one cycle): a head with ``start_key_set`` and ``tag`` sets off; ``done`` (one cycle): one has ended.

    ``tag``: of the head that starts next. ``room``: there may be one more. ``free_sets``: bit s is 1 if no head uses
    key set s. ``any_head``: there is one. All take a start or an end into account one cycle later.
    """
    users = [Signal(intbv(0, min=0, max=MOST_HEADS + 1)) for _ in range(2)]
    heads = Signal(intbv(0, min=0, max=MOST_HEADS + 1))
    next_tag = Signal(modbv(0)[TAG_BITS:])

    @always(clk.posedge)
    def count_heads():
        if reset:
            heads.next = 0
            next_tag.next = 0
        else:
            if start:
                next_tag.next = next_tag + 1
            if start and not done:
                heads.next = heads + 1
            elif done and not start:
                heads.next = heads - 1

    @always(clk.posedge)
    def count_users():
        for key_set in range(2):
            if reset:
                users[key_set].next = 0
            elif start and start_key_set == key_set and not (done and done_key_set == key_set):
                users[key_set].next = users[key_set] + 1
            elif done and done_key_set == key_set and not (start and start_key_set == key_set):
                users[key_set].next = users[key_set] - 1

    @always_comb
    def accounts():
        tag.next = next_tag
        room.next = heads != MOST_HEADS
        any_head.next = heads != 0
        free_sets.next[0] = users[0] == 0
        free_sets.next[1] = users[1] == 0

    return count_heads, count_users, accounts
