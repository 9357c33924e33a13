"""Memories with one write and one or two read ports, in the form that synthesis recognizes.

Contents are undefined until written, and so is what a synchronous read of a word returns in the cycle that writes it.
Of the latter, ``ram_with_enable`` makes an error in MyHDL's simulation.

The memories with registers behind their outputs: block RAMs have such registers, and without them their outputs are slow.
"""
from myhdl import always, always_comb

from hdl.hierarchy import module
from hdl.wires import like

TABLE_WORDS = 16
"""of a ``distributed_ram`` that takes the fewest look-up tables: what those of one of them hold."""


def _words(depth, word):
    """``depth`` signals of the type of ``word``."""
    return [like(word) for _ in range(depth)]


@module
def ram(clk, write_enable, write_address, write_data, read_address, read_data, depth):
    """Block RAM: the word at ``read_address`` is in ``read_data`` after the next clock edge.

    clock:         _/-\\_/-\\_/-\\_
    read_address:  <a0 ><a1 >
    read_data:          <d0 ><d1 >
    """
    memory = _words(depth, write_data)

    @always(clk.posedge)
    def write():
        if write_enable:
            memory[write_address].next = write_data

    @always(clk.posedge)
    def read():
        read_data.next = memory[read_address]

    return write, read


@module
def ram_with_enable(clk, write_enable, write_address, write_data, read_enable, read_address, read_data, depth):
    """Block RAM whose ``read_data`` changes only at clock edges with ``read_enable``."""
    memory = _words(depth, write_data)

    @always(clk.posedge)
    def write():
        if write_enable:
            memory[write_address].next = write_data

    @always(clk.posedge)
    def read():
        if __debug__:
            assert not (read_enable and write_enable and read_address == write_address), "reads the word being written"
        if read_enable:
            read_data.next = memory[read_address]

    return write, read


@module
def ram_with_register(clk, write_enable, write_address, write_data, read_address, read_data, depth):
    """Block RAM with its output register: the word at ``read_address`` is in ``read_data`` after two clock edges.

    clock:         _/-\\_/-\\_/-\\_/-\\_
    read_address:  <a0 ><a1 >
    read_data:               <d0 ><d1 >
    """
    memory = _words(depth, write_data)
    latch = like(read_data)

    @always(clk.posedge)
    def write():
        if write_enable:
            memory[write_address].next = write_data

    @always(clk.posedge)
    def read():
        latch.next = memory[read_address]
        read_data.next = latch

    return write, read


@module
def dual_port_ram(clk, write_enable, address_a, write_data, read_data_a, address_b, read_data_b, depth):
    """True dual-port block RAM: port A writes or reads the word at ``address_a``, port B reads the one at ``address_b``;
    the words are in ``read_data_a`` and ``read_data_b`` after the next clock edge (``read_data_a``: unless A wrote)."""
    memory = _words(depth, write_data)

    @always(clk.posedge)
    def port_a():
        if write_enable:
            memory[address_a].next = write_data
        read_data_a.next = memory[address_a]

    @always(clk.posedge)
    def port_b():
        read_data_b.next = memory[address_b]

    return port_a, port_b


@module
def dual_port_ram_with_registers(clk, write_enable, address_a, write_data, read_data_a, address_b, read_data_b, depth):
    """The same with output registers: the words are in ``read_data_a`` and ``read_data_b`` after two clock edges."""
    memory = _words(depth, write_data)
    latch_a, latch_b = like(read_data_a), like(read_data_b)

    @always(clk.posedge)
    def port_a():
        if write_enable:
            memory[address_a].next = write_data
        latch_a.next = memory[address_a]
        read_data_a.next = latch_a

    @always(clk.posedge)
    def port_b():
        latch_b.next = memory[address_b]
        read_data_b.next = latch_b

    return port_a, port_b


@module
def distributed_ram(clk, write_enable, write_address, write_data, read_address, read_data, depth):
    """Memory in look-up tables: ``read_data`` follows ``read_address`` in the same cycle."""
    memory = _words(depth, write_data)

    @always(clk.posedge)
    def write():
        if write_enable:
            memory[write_address].next = write_data

    @always_comb
    def read():
        read_data.next = memory[read_address]

    return write, read


# Yosys would add logic that returns the old word in a collision (for 72 bits x 512: 92 LUT4 and 155 flip-flops).
ram.array_attributes["memory"] = "no_rw_check"
ram_with_enable.array_attributes["memory"] = "no_rw_check"
ram_with_register.array_attributes["memory"] = "no_rw_check"
dual_port_ram.array_attributes["memory"] = "no_rw_check"
dual_port_ram_with_registers.array_attributes["memory"] = "no_rw_check"
# Yosys would merge a register behind the read port into a block RAM.
distributed_ram.array_attributes["memory"] = 'ram_style = "distributed"'
