"""Rows of sums out of a cluster: buffered, sent to the movers."""

from myhdl import Signal, always, always_comb, intbv

from hdl.banked.interfaces import entry_bits, row_sum_bits, word_bits
from hdl.fifo import fifo, spread_fifo
from hdl.hierarchy import module
from hdl.occupancy import room_left
from hdl.stream import Bits, Signed, Stream
from hdl.wires import bits_of, number_of, side_by_side, wire

BUFFERED_ROWS = 2


@module
def drain(clk, reset, filled, new_sums, reserve, start, entry, denominator, has_room, sums, config):
    """The row buffer, filled word by word (`value_sums`).

    Args:
        filled, new_sums: signed, one each dimension: the next word of a row.
        reserve: a row will come. start: before its first word; entry, denominator: of the row, at the same time.
        has_room: for a row (register).
        sums: `sums_stream`, its numerators a cycle behind.
    """
    width = config.lane_width
    last_word = config.slot_cycles - 1
    totals, row_sums = Stream(), Stream()
    row, row_out = (Stream(entry=Bits(entry_bits(config)), denominator=Bits(config.denominator_bits)) for _ in range(2))
    word = Signal(intbv(0)[word_bits(config) :])
    sent, row_sent = Signal(False), Signal(False)  # `row_sent`: in the cycle before

    totals.valid = filled
    sum_in, sum_out = ([Signal(intbv(0)[row_sum_bits(config) :]) for _ in range(width)] for _ in range(2))
    buffer = spread_fifo(clk, reset, totals, sum_in, row_sums, sum_out, depth=BUFFERED_ROWS * config.slot_cycles)
    row_buffer = fifo(clk, reset, row, row_out, depth=BUFFERED_ROWS)

    @always_comb
    def row_that_starts():
        row.valid.next = start
        row.entry.next = entry
        row.denominator.next = denominator

    @always(clk.posedge)
    def no_row_without_room():
        if __debug__:
            assert not (totals.valid and not totals.ready), "the row buffer has no room for a row that comes"
            assert row_out.valid or not row_sums.valid, "a row's first word comes before its entry"

    room = room_left(clk, reset, reserve, row_sent, has_room, BUFFERED_ROWS)

    numerators = [Signed(config.numerator_bits).signal() for _ in range(width)]
    raw = [Bits(config.numerator_bits).signal() for _ in range(width)]
    numbers = [
        [bits_of(sum_, bits) for sum_, bits in zip(new_sums, sum_in)],
        [number_of(bits, number) for bits, number in zip(sum_out, numerators)],
        [bits_of(number, bits) for number, bits in zip(numerators, raw)],
        wire(side_by_side(raw), sums.numerators),
    ]

    @always_comb
    def handshake():
        sent.next = row_sums.valid and sums.ready and not row_sent

    # `row_out` is there before the row's first word.
    @always(clk.posedge)
    def end_of_row():
        row_sent.next = sent and word == last_word and not reset

    @always_comb
    def outputs():
        row_sums.ready.next = sums.ready and not row_sent
        row_out.ready.next = row_sent
        sums.valid.next = row_sums.valid and not row_sent
        sums.entry.next = row_out.entry
        sums.word.next = word
        sums.denominator.next = row_out.denominator
        sums.last.next = word == last_word

    @always(clk.posedge)
    def word_of_row():
        if reset:
            word.next = 0
        elif sent:
            if word == last_word:
                word.next = 0
            else:
                word.next = word + 1

    return (
        buffer, row_buffer, row_that_starts, no_row_without_room, room, numbers, handshake, end_of_row, outputs, word_of_row,
    )  # fmt: skip
