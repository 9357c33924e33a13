"""Memories return what was written, at the right cycle."""
import random
import shutil
import subprocess

import pytest
from myhdl import Signal, block, instance, intbv

from hdl.convert import convert
from hdl.memory import (
    distributed_ram, dual_port_ram, dual_port_ram_with_registers, ram, ram_with_enable, ram_with_register,
)
from tests.cosimulation import ENGINES, NETLIST, make, run


def ports(width, depth):
    address_width = (depth - 1).bit_length()
    return dict(write_enable=Signal(False), write_address=Signal(intbv(0)[address_width:]),
                write_data=Signal(intbv(0)[width:]), read_address=Signal(intbv(0)[address_width:]),
                read_data=Signal(intbv(0)[width:]), depth=depth)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("memory", [ram, ram_with_enable, ram_with_register, distributed_ram])
def test_reads_return_the_latest_write(engine, memory, width=18, depth=32):
    clk, p = Signal(False), ports(width, depth)
    read_enable = Signal(False)
    if memory is ram_with_enable:
        p["read_enable"] = read_enable
    generator = random.Random(3)
    done = []

    @block
    def stimulus():
        @instance
        def process():
            contents = {}
            for address in range(depth):
                contents[address] = generator.getrandbits(width)
                p["write_enable"].next, p["write_address"].next = True, address
                p["write_data"].next = contents[address]
                yield clk.posedge
            expected = latched = None
            for _ in range(500):
                read, write = generator.sample(range(depth), 2)         # never the same word
                enable, data = generator.randrange(2), generator.getrandbits(width)
                read_enable.next = keep = generator.randrange(2)
                p["write_enable"].next, p["write_address"].next, p["write_data"].next = enable, write, data
                p["read_address"].next = read
                yield clk.posedge
                if memory is not distributed_ram and expected is not None:
                    assert p["read_data"] == expected                   # of the previous cycle's address
                if memory is ram_with_register:
                    expected, latched = latched, contents[read]         # of the cycle before that one
                elif memory is not ram_with_enable or keep:
                    expected = contents[read]
                if memory is distributed_ram:
                    assert p["read_data"] == expected
                if enable:
                    contents[write] = data
            done.append(True)
            yield clk.posedge
        return process

    run(clk, None, [make(engine, memory, clk, **p), stimulus()], until=lambda: done)


def dual_ports(width, depth):
    address_width = (depth - 1).bit_length()
    address_a, address_b = Signal(intbv(0)[address_width:]), Signal(intbv(0)[address_width:])
    return dict(write_enable=Signal(False), address_a=address_a, write_data=Signal(intbv(0)[width:]),
                read_data_a=Signal(intbv(0)[width:]), address_b=address_b, read_data_b=Signal(intbv(0)[width:]), depth=depth)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("memory", [dual_port_ram, dual_port_ram_with_registers])
def test_both_ports_read_what_port_a_wrote(engine, memory, width=18, depth=32):
    clk, p = Signal(False), dual_ports(width, depth)
    generator = random.Random(4)
    done = []

    @block
    def stimulus():
        @instance
        def process():
            contents, expected, latched = {}, (None, None), (None, None)
            for step in range(500):
                filling = step < depth
                a, b = (step, 0) if filling else generator.sample(range(depth), 2)       # never the same word
                enable, data = filling or generator.randrange(2), generator.getrandbits(width)
                p["write_enable"].next, p["write_data"].next = enable, data
                p["address_a"].next, p["address_b"].next = a, b
                yield clk.posedge
                for signal, word in zip((p["read_data_a"], p["read_data_b"]), expected):
                    assert word is None or signal == word                                # of the previous cycle's address
                read = None if enable else contents[a], None if filling else contents[b]
                if memory is dual_port_ram_with_registers:
                    expected, latched = latched, read                                    # of the cycle before that one
                else:
                    expected = read
                if enable:
                    contents[a] = data
            done.append(True)
            yield clk.posedge
        return process

    run(clk, None, [make(engine, memory, clk, **p), stimulus()], until=lambda: done)


needs_yosys = pytest.mark.skipif(not shutil.which("yosys"), reason="needs yosys")


@needs_yosys
@pytest.mark.parametrize("width, depth", [(18, 32), (32, 512), (72, 512)])
def test_block_rams_with_their_registers_inside_read_the_same(width, depth):
    test_reads_return_the_latest_write(NETLIST, ram_with_register, width, depth)
    if width < 36:
        test_both_ports_read_what_port_a_wrote(NETLIST, dual_port_ram_with_registers, width, depth)


@needs_yosys
@pytest.mark.parametrize("memory, width, depth, cell, count", [
    (ram, 18, 1024, "DP16KD", 1),
    (ram, 72, 512, "DP16KD", 2),
    (ram, 96, 512, "DP16KD", 3),
    (ram_with_enable, 36, 512, "DP16KD", 1),
    (dual_port_ram, 32, 1024, "DP16KD", 2),
    (distributed_ram, 32, 16, "TRELLIS_DPR16X4", 8),
    (distributed_ram, 32, 64, "TRELLIS_DPR16X4", 32),
])
def test_synthesis_infers_the_memory_and_no_collision_logic(tmp_path, memory, width, depth, cell, count):
    p = (dual_ports if memory is dual_port_ram else ports)(width, depth)
    if memory is ram_with_enable:
        p["read_enable"] = Signal(False)
    design = convert(memory.unelaborated(Signal(False), **p), tmp_path)
    script = f"read_verilog {' '.join(design.files)}; synth_ecp5 -top {design.top}; stat"
    report = subprocess.run(["yosys", "-p", script], capture_output=True, text=True, check=True).stdout
    cells = dict(line.split() for line in report[report.rindex("Number of cells:"):].splitlines()[1:]
                 if len(line.split()) == 2)
    assert int(cells[cell]) == count
    assert "TRELLIS_FF" not in cells


def test_reading_the_word_being_written_is_an_error_in_simulation():
    clk, p = Signal(False), ports(8, 32)
    with pytest.raises(AssertionError, match="being written"):
        run(clk, None, [ram_with_enable(clk, read_enable=Signal(True), **{**p, "write_enable": Signal(True)})],
            until=lambda: False, max_cycles=20)
