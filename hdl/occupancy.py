"""Counts of items on their way, of which a register says what others wait for: whether there is room, whether one is there."""

from myhdl import Signal, always, block, intbv


@block
def room_left(clk, reset, taken, freed, is_room, places):
    """`is_room` (a register): of the `places`, which are `taken` and `freed` one by one, one is free."""
    return any_left(clk, reset, freed, taken, is_room, places, at_reset=places)


@block
def room_for(clk, reset, taken, freed, is_room, places, needed):
    """`is_room` (a register): of the `places`, which are `taken` and `freed` one by one, `needed` (two or more) are free. So a place may
    count as taken up to `needed` - 1 cycles late: as many more have been decided on by then."""
    left = Signal(intbv(places, min=0, max=places + 1))

    @always(clk.posedge)
    def count():
        if reset:
            left.next = places
            is_room.next = True
        elif freed and not taken:
            left.next = left + 1
            is_room.next = left > needed - 2
        elif taken and not freed:
            left.next = left - 1
            is_room.next = left > needed

    return count


@block
def any_left(clk, reset, come, gone, is_there, most, at_reset=0):
    """`is_there` (a register): of the items, which have `come` and `gone` one by one, one is left; never more than `most`."""
    left = Signal(intbv(at_reset, min=0, max=most + 1))
    there_at_reset = at_reset != 0

    @always(clk.posedge)
    def count():
        if reset:
            left.next = at_reset
            is_there.next = there_at_reset
        elif come and not gone:
            left.next = left + 1
            is_there.next = True
        elif gone and not come:
            left.next = left - 1
            is_there.next = left != 1

    return count
