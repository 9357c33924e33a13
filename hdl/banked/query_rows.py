"""Q rows: beats of the stream to words for the lanes' Q memories."""

from myhdl import Signal, always, always_comb, concat, intbv

from golden.config import OPERAND_BITS
from hdl.banked.interfaces import row_stream, word_bits
from hdl.choose import choose
from hdl.fifo import fifo
from hdl.hierarchy import module


@module
def query_rows(clk, reset, row, slot, enable, loaded, row_done, write, config):
    """Writes a word of M operands a cycle, from a FIFO of two rows.

    Args:
        row: `row_stream`.
        slot, enable: of the row that comes next; whether it may.
        loaded: the beat that completes the row is being written: no more than `stream_bytes` / M cycles.
        row_done: its last word is.
        write: `RowWrite`, a cycle later.
    """
    words = config.stream_bytes // config.lane_width  # of a beat
    bits = config.lane_width * OPERAND_BITS
    row_bits = word_bits(config)
    last_part, last_word = words - 1, config.slot_cycles - 1
    last_beat_word = config.slot_cycles - words

    beats = row_stream(config)
    word = Signal(intbv(0)[row_bits:])
    chosen = Signal(intbv(0)[bits:])
    step = Signal(False)
    buffer = fifo(clk, reset, row, beats, depth=2 * config.row_beats)

    parts = [beats.data((part + 1) * bits, part * bits) for part in range(words)]
    selection = choose(parts, word, chosen)

    @always_comb
    def progress():
        step.next = beats.valid and enable
        beats.ready.next = enable and (word & last_part) == last_part
        loaded.next = beats.valid and enable and word == last_beat_word
        row_done.next = beats.valid and enable and word == last_word

    @always(clk.posedge)
    def count():
        if reset:
            word.next = 0
        elif step:
            if word == last_word:
                word.next = 0
            else:
                word.next = word + 1

    @always(clk.posedge)
    def write_register():
        write.address.next = concat(slot, word)
        write.data.next = chosen
        if reset:
            write.enable.next = False
        else:
            write.enable.next = step

    return buffer, selection, progress, count, write_register
