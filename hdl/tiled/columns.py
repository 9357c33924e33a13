"""Operand memories of the tiled array: the columns of K and V, `stream_bytes` keys a memory."""

from myhdl import Signal, always_comb, block, intbv

from hdl.delay import port_register, register
from hdl.hierarchy import module
from hdl.memory import ram_with_register
from hdl.tiled.interfaces import ColumnWrites, operand_signal
from hdl.tiled.pipeline import operands_of_word


@block
def _memory(clk, columns, group, read_address, outputs, depth):
    """Keys `group * stream_bytes` and up of every tile."""
    write = Signal(False)
    word = Signal(intbv(0)[len(columns.data) :])

    @always_comb
    def write_enable():
        write.next = columns.enable and columns.group == group

    memory = ram_with_register(clk, write, columns.address, columns.data, read_address, word, depth=depth)
    return write_enable, memory, operands_of_word(word, outputs)


def memory_count(config):
    """Number of operand memories, each of a part of a tile's keys."""
    return config.tile_keys // config.stream_bytes


@module
def column_memories(clk, columns, read_addresses, outputs, config):
    """One dimension of a tile's K or V a cycle.

    The output register of each memory is followed by another, so that a column has a cycle to reach all rows; writes have
    one to reach all memories, and are done a cycle later.

    clock:           _/-\\_/-\\_/-\\_/-\\_
    read_addresses:  <t0 ><t1 >
    outputs:                       <t0 ><t1 >

    Args:
        columns: `ColumnWrites`.
        read_addresses: [memory], all the same: {key set, value (or key), tile, dimension}, as in the writes.
        outputs: int8 of the tile's columns, three cycles later.
    """
    keys = config.stream_bytes
    depth = 4 * config.max_tiles * config.d
    registers = [operand_signal() for _ in outputs]
    written = ColumnWrites(config)
    memories = [
        _memory(clk, written, group, read_addresses[group], registers[group * keys : (group + 1) * keys], depth)
        for group in range(memory_count(config))
    ]
    on_the_way = port_register(clk, columns, written, ("enable", "group", "address", "data"))
    return memories, on_the_way, [register(clk, source, target) for source, target in zip(registers, outputs)]
