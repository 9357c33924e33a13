"""What the rows did in a round, for the counters (docs/organisations.md, "Activity"): one row a cycle."""

from myhdl import Signal, always, block, intbv

from golden.config import clog2
from golden.registers import counter_steps
from hdl.hierarchy import module


class Activity:
    """From an array to the counters: how much each of them grows in this cycle."""

    def __init__(self, config):
        steps = counter_steps(config)
        for counter in ("MULTIPLICATIONS", "REGISTER_MOVES", "IDLE_SLOTS"):
            setattr(self, counter.lower(), Signal(intbv(0)[steps[counter].bit_length() :]))


@block
def _turns(clk, reset, taken, row, chosen, rows):
    """`row` counts all rows once after `taken`; `chosen`: it did in the cycle before."""
    last_row = rows - 1
    counting = Signal(False)

    @always(clk.posedge)
    def turn():
        chosen.next = counting and not reset
        if reset:
            counting.next = False
            row.next = 0
        elif taken:
            counting.next = True
            row.next = 0
        elif row == last_row:
            counting.next = False
        elif counting:
            row.next = row + 1

    return turn


@block
def _ones(clk, bits, count):
    """How many of a few bits are set."""
    counts = tuple(number.bit_count() for number in range(1 << len(bits)))

    @always(clk.posedge)
    def look_up():
        count.next = counts[bits]

    return look_up


@module
def count_keys(clk, reset, taken, valids, multiplications, idle_slots, config):
    """Multiplications and idle lane slots of a round.

    Args:
        taken: pulse: `valids` are those of a round, and stay for `rows` cycles.
        valids: a row each; bit j: lane j has a key, and multiplies d times in SDDMM and d times in SpMM.
    """
    lanes, work_shift = config.lanes, clog2(2 * config.d)
    row = Signal(intbv(0, min=0, max=max(2, config.rows)))
    chosen, looked_up, counted = (Signal(False) for _ in range(3))
    valid = Signal(intbv(0)[lanes:])
    keys = Signal(intbv(0)[clog2(lanes + 1) :])
    parts = (lanes + 3) // 4
    counts = [Signal(intbv(0)[3:]) for _ in range(parts)]
    ones = [_ones(clk, valid(min(4 * i + 4, lanes), 4 * i), counts[i]) for i in range(parts)]

    @always(clk.posedge)
    def choice():
        valid.next = valids[row]
        looked_up.next = chosen
        counted.next = looked_up

    @always(clk.posedge)
    def keys_of_row():
        count = intbv(0, min=0, max=lanes + 1)
        count[:] = 0
        for i in range(parts):
            count[:] = count + counts[i]
        keys.next = count

    @always(clk.posedge)
    def steps():
        if counted:
            multiplications.next = keys << work_shift
            idle_slots.next = lanes - keys
        else:
            multiplications.next = 0
            idle_slots.next = 0

    return _turns(clk, reset, taken, row, chosen, config.rows), choice, ones, keys_of_row, steps


@module
def count_moves(clk, reset, taken, bubbles, register_moves, config):
    """Moves of partial sums into bubble registers in a round: `bubbles` of each row for each of d elements."""
    element_shift = clog2(config.d)
    row = Signal(intbv(0, min=0, max=max(2, config.rows)))
    chosen = Signal(False)
    passed = Signal(intbv(0)[len(bubbles[0]) :])

    @always(clk.posedge)
    def choice():
        passed.next = bubbles[row]

    @always(clk.posedge)
    def steps():
        if chosen:
            register_moves.next = passed << element_shift
        else:
            register_moves.next = 0

    return _turns(clk, reset, taken, row, chosen, config.rows), choice, steps
