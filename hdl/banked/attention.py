"""The banked organisation between the comparators and the output: bitmap ring and dispatcher, array, normalizer."""

from myhdl import Signal, intbv

from hdl.banked.array import banked_array
from hdl.banked.bitmaps import WordsRead, bitmap_ring, compared_stream, heads_stream
from hdl.banked.dispatcher import dispatcher
from hdl.banked.interfaces import queries_stream, row_stream, sums_stream, words_stream
from hdl.banked.normalizer import banked_normalizer
from hdl.banked.records import RecordsRead
from hdl.delay import far_copy
from hdl.hierarchy import module


@module
def banked_attention(
    clk, reset, keys, queries, values, value_sums, starts, bits, results, rows_out, queries_done, round_tick, activity, config
):  # fmt: skip
    """Rows of O, from kept keys.

    keys, queries, values: write ports of the loader (``KeyWrites``, ``QueryRingWrites``, ``ValueWrites``); value_sums: its read
    port. starts: ``GroupStarts`` of the predictor. bits, results: lists of streams, one each a softmax lane.
    rows_out: ``output_rows_stream``. queries_done: pulse, the last query of the oldest group has been read. round_tick: pulse, a
    round of the array is over. activity: `Activity`, what the lanes did.
    """
    heads, compared, bitmap_words = heads_stream(config), compared_stream(config), WordsRead(config)
    headers, rows, words, sums = (
        [stream(config) for _ in range(config.rows)] for stream in (queries_stream, row_stream, words_stream, sums_stream)
    )  # fmt: skip
    rooms = [Signal(intbv(0, min=0, max=config.slots + 1)) for _ in range(config.rows)]
    records, entry_freed = RecordsRead(config), Signal(False)
    ring_reset, dispatch_reset, array_reset, normalize_reset = resets = [Signal(True) for _ in range(4)]
    return (
        [far_copy(clk, reset, copy) for copy in resets],
        bitmap_ring(clk, ring_reset, starts, bits, results, heads, compared, bitmap_words, queries_done, config),
        dispatcher(
            clk, dispatch_reset, queries, heads, compared, bitmap_words, rooms, headers, rows, words, entry_freed, records,
            queries_done, config,
        ),
        banked_array(clk, array_reset, keys, headers, rows, words, sums, rooms, round_tick, activity, config),
        banked_normalizer(clk, normalize_reset, sums, records, values, value_sums, rows_out, entry_freed, config),
    )  # fmt: skip
