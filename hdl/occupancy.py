"""Counts of items on their way, of which a register says what others wait for: whether there is room, whether one is there."""

from myhdl import Signal, always, block, intbv


@block
def room_left(clk, reset, taken, freed, is_room, places):
    """`is_room` (a register): of the `places`, which are `taken` and `freed` one by one, one is free."""
    in_use = Signal(intbv(0, min=0, max=places + 1))
    last_place = places - 1

    @always(clk.posedge)
    def count():
        if reset:
            in_use.next = 0
            is_room.next = True
        elif taken and not freed:
            in_use.next = in_use + 1
            is_room.next = in_use != last_place
        elif freed and not taken:
            in_use.next = in_use - 1
            is_room.next = True

    return count


@block
def any_left(clk, reset, come, gone, is_there, most):
    """`is_there` (a register): of the items, which have `come` and `gone` one by one, one is left; never more than `most`."""
    left = Signal(intbv(0, min=0, max=most + 1))

    @always(clk.posedge)
    def count():
        if reset:
            left.next = 0
            is_there.next = False
        elif come and not gone:
            left.next = left + 1
            is_there.next = True
        elif gone and not come:
            left.next = left - 1
            is_there.next = left != 1

    return count
