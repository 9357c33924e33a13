"""The tiled and the systolic organisation between the comparators and the output: bitmaps and packers, array, normalizer."""

from myhdl import Signal

from hdl.drain import RecordsRead
from hdl.hierarchy import module
from hdl.systolic.array import systolic_array
from hdl.tiled.array import array
from hdl.tiled.bitmaps import bitmaps
from hdl.tiled.interfaces import SumsRead, blocks_stream, drains_stream
from hdl.tiled.normalizer import tiled_normalizer
from hdl.tiled.work import work_items_stream

ARRAYS = {"tiled": array, "systolic": systolic_array}


@module
def tiled_attention(
    clk, reset, keys, queries, values, value_sums, starts, bits, results, rows_out, queries_done, round_tick, activity, config
):  # fmt: skip
    """Rows of O, from kept keys.

    keys, queries, values: write ports of the loader (``ColumnWrites``, ``QueryWrites``, ``ValueWrites``); value_sums: its read
    port. starts: ``GroupStarts`` of the predictor. bits, results: lists of streams, one each a softmax lane.
    rows_out: ``output_rows_stream``. queries_done: pulse, the last query of the oldest block has been read. round_tick: pulse, a
    round has begun. activity: `Activity`, what the lanes did.
    """
    attend = ARRAYS[config.array]
    blocks, drains, sums, records = blocks_stream(config), drains_stream(config), SumsRead(config), RecordsRead(config)
    work = [work_items_stream(config) for _ in range(config.rows)]
    drained = Signal(False)
    return (
        bitmaps(clk, reset, starts, bits, results, blocks, work, records, drained, config),
        attend(clk, reset, keys, queries, work, blocks, drains, sums, drained, queries_done, round_tick, activity, config),
        tiled_normalizer(clk, reset, drains, sums, records, values, value_sums, rows_out, drained, config),
    )
