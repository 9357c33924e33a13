"""The two factors of a query's output: kept / denominator and (1 - kept) / visible keys (golden: ``normalizer.share``)."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv

from golden.config import KEPT_FRACTION, clog2
from hdl.divider import divider, normalize, normalize_cycles
from hdl.hierarchy import module
from hdl.stream import Bits, Stream

SHARE_BITS = KEPT_FRACTION + 1  # 1.0 is a legal value


def group_stream(config, size):
    """Denominators and records of the queries of a group, ``queries`` of them (``size`` at most)."""
    fields = dict(queries=Bits(clog2(size) + 1))
    for i in range(size):
        fields[f"denominator_{i}"] = Bits(config.denominator_bits)
        fields[f"visible_{i}"] = Bits(config.key_count_bits)
        fields[f"kept_{i}"] = Bits(SHARE_BITS)
    return Stream(**fields)


def factors_stream(config):
    """Of one query: both factors (16 fraction bits), and the positions of the leading ones of their divisors."""
    return Stream(
        kept_factor=Bits(SHARE_BITS),
        dropped_factor=Bits(SHARE_BITS),
        denominator_position=Bits(clog2(config.denominator_bits)),
        visible_position=Bits(clog2(config.key_count_bits)),
    )


@block
def _operands(clk, load, shift, loaded, current):
    """A group's operands of one kind, side by side; ``current`` is that of the query in hand.

    load: a new group comes, or: there is no query in hand (a register: many flip-flops wait for it).
    """
    width, all_bits = len(current), len(loaded)
    waiting = Signal(intbv(0)[all_bits:])

    @always(clk.posedge)
    def shift_register():
        if load:
            waiting.next = loaded
        elif shift:
            waiting.next = waiting >> width

    @always(clk.posedge)
    def the_only_one():
        if load:
            waiting.next = loaded

    @always_comb
    def lowest():
        current.next = waiting[width:]

    return shift_register if all_bits > width else the_only_one, lowest


@block
def _share(clk, reset, weight, divisor, position, start, accepted, quotient, finished, taken):
    """One division of the query in hand: position and divider, fed while ``start`` is high."""
    width = len(divisor)
    wide = max(width, SHARE_BITS)  # the divider wants no fewer bits than its quotient has
    normalized = Signal(intbv(0)[width:])
    found_position = Signal(intbv(0)[len(position) :])
    request = Stream(dividend=Bits(wide), divisor=Bits(wide))
    result = Stream(quotient=Bits(SHARE_BITS))

    @always_comb
    def fill_request():
        request.valid.next = start
        request.divisor.next = normalized << (wide - width)
        request.dividend.next = weight << (wide - SHARE_BITS)
        accepted.next = request.ready
        result.ready.next = taken
        finished.next = result.valid
        quotient.next = result.quotient

    @always(clk.posedge)
    def position_of_division():
        if start and request.ready:
            position.next = found_position

    return (
        normalize(clk, divisor, normalized, found_position),
        divider(clk, reset, request, result, quotient_bits=SHARE_BITS),
        fill_request,
        position_of_division,
    )


@module
def factors(clk, reset, group, found, size, config):
    """Both shares of each query of the groups, in order.

    group: ``group_stream`` of this ``size``, found: ``factors_stream``. Two dividers work side by side, 11 cycles a query; a group is
    taken when the last division of the one before has begun. The first result is there 14 cycles after its group
    (denominators of 17 to 32 bits).
    """
    settle_cycles = max(normalize_cycles(config.denominator_bits), normalize_cycles(config.key_count_bits))
    one = 1 << KEPT_FRACTION

    left = Signal(intbv(0, min=0, max=size + 1))  # queries whose division hasn't begun
    none_left = Signal(True)
    settling = Signal(intbv(0, min=0, max=settle_cycles + 1))  # cycles until the positions are those of the query
    load, begin = Signal(False), Signal(False)
    start = Signal(False)  # the first query that is left may begin

    kept = Signal(intbv(0)[SHARE_BITS:])
    dropped = Signal(intbv(0)[SHARE_BITS:])
    denominator = Signal(intbv(0)[config.denominator_bits :])
    visible = Signal(intbv(0)[config.key_count_bits :])

    def side_by_side(name):
        signals = [getattr(group, f"{name}_{i}") for i in reversed(range(size))]
        return ConcatSignal(*signals) if size > 1 else signals[0]

    denominators, visibles, kepts = [side_by_side(name) for name in ("denominator", "visible", "kept")]

    kept_accepted, kept_finished, dropped_accepted, dropped_finished, taken = [Signal(False) for _ in range(5)]

    @always_comb
    def accept():
        group.ready.next = none_left
        load.next = group.valid and none_left

    @always_comb
    def begin_divisions():
        begin.next = start and kept_accepted and dropped_accepted
        dropped.next = one - kept

    @always(clk.posedge)
    def queries():
        if reset:
            left.next = 0
            none_left.next = True
            settling.next = 0
            start.next = False
        elif load:
            left.next = group.queries
            none_left.next = False
            settling.next = settle_cycles
            start.next = False
        elif begin:
            left.next = left - 1
            none_left.next = left == 1
            settling.next = settle_cycles
            start.next = False
        elif settling != 0:
            settling.next = settling - 1
            start.next = settling == 1 and not none_left

    @always_comb
    def results():
        found.valid.next = kept_finished and dropped_finished
        taken.next = kept_finished and dropped_finished and found.ready

    return (
        accept, begin_divisions, queries, results,
        _operands(clk, load, begin, kepts, kept),
        _operands(clk, none_left, begin, denominators, denominator),
        _operands(clk, none_left, begin, visibles, visible),
        _share(clk, reset, kept, denominator, found.denominator_position, start, kept_accepted,
               found.kept_factor, kept_finished, taken),
        _share(clk, reset, dropped, visible, found.visible_position, start, dropped_accepted,
               found.dropped_factor, dropped_finished, taken),
    )  # fmt: skip
