"""Rows of O from the tiled array's sums: reads them block by block, divides, and hands over to the normalizer."""

from myhdl import Signal

from hdl.drain import HALVES, drain
from hdl.factors import factors, factors_stream, group_stream
from hdl.hierarchy import module
from hdl.normalizer import NumeratorsRead, normalizer


@module
def tiled_normalizer(clk, reset, drains, sums, records, values, value_sums, rows_out, drained, config):
    """Rows of O, in order, of the blocks that the array has finished.

    drains: stream of finished blocks; sums: the array's read port; drained: pulse, the last read of a block was granted
    (its records are read, too). records: ``RecordsRead`` of the bitmaps. values: ``ValueWrites`` and value_sums:
    ``ValueSumsRead`` of the loader. rows_out: ``output_rows_stream``.

    A group of ``drain_rows`` queries takes d granted reads of the sums; while the next group is read, this one's queries
    go through one after the other, ``drain_rows`` dimensions a cycle: d cycles a group, and at least 11 a query (the
    dividers). From a group's last read to its first beat: 22 cycles.
    """
    size = config.drain_rows
    work = drains.like()
    group, found = group_stream(config, size), factors_stream(config)
    numerators = NumeratorsRead(config, HALVES, size)
    filled, released = Signal(False), Signal(False)

    return (
        drain(clk, reset, drains, sums, records, work, group, numerators, filled, released, drained, config=config),
        factors(clk, reset, group, found, size=size, config=config),
        normalizer(
            clk, reset, work, found, numerators, filled, released, values, value_sums, rows_out,
            group_queries=size, depth=2 * size, config=config,
        ),
    )  # fmt: skip
