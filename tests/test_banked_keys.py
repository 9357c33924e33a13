"""Every cluster reads K in its score phases and V in its value phases, while the other key set is written."""

import random
import re
import shutil
import subprocess

import pytest
from myhdl import Signal, block, instance

from golden.config import CONFIGS
from hdl.banked.interfaces import KeyPort
from hdl.banked.keys import CLUSTERS_A_COPY, KeyWrites, LaneWrite, keys, lane_keys, scores_in_even_phases
from hdl.banked.timing import KEY_CYCLES
from hdl.convert import convert
from tests.cosimulation import ENGINES, make, run

TINY = CONFIGS["tiny"]
SHAPES = {
    "two_clusters": TINY,
    "four_clusters": TINY.replace(rows=4),
    "two_copies": TINY.replace(rows=8, lanes=4),
}


def ports_of(config):
    return Signal(False), KeyWrites(config), Signal(False), [
        [KeyPort(config) for _ in range(config.lanes)] for _ in range(config.rows)
    ]  # fmt: skip


@block
def writer(clk, writes, contents, todo, generator, config):
    """Writes all (key set, value, key, word) of `todo`; lane j's data come j + 1 cycles later."""

    @instance
    def write():
        late = []  # (cycle, lane, data)
        cycle = 0
        while True:
            for _, lane, data in [item for item in late if item[0] == cycle]:
                writes.data[lane].next = data
            late = [item for item in late if item[0] > cycle]
            writes.enable.next = False
            if todo and generator.random() < 0.8:
                key_set, value, key, word = todo.pop(0)
                writes.enable.next, writes.key_set.next, writes.value.next = True, key_set, value
                writes.key.next, writes.word.next = key, word
                for lane in range(config.lanes):
                    data = generator.getrandbits(8 * config.lane_width)
                    contents[key_set, value, lane, key, word] = data
                    late.append((cycle + lane + 1, lane, data))
            yield clk.posedge
            cycle += 1

    return write


def simulate(engine, config, cycles=1200):
    clk = Signal(False)
    _, writes, odd_phase, ports = ports_of(config)
    generator = random.Random(3)
    contents, todo, checked = {}, [], []
    places = [(value, key, word) for value in (0, 1) for key in range(config.lane_keys) for word in range(config.slot_cycles)]
    todo += [(0, *place) for place in places]

    @block
    def readers():
        @instance
        def read():
            while todo:
                yield clk.posedge
            for _ in range(config.lanes + 4):
                yield clk.posedge
            history = []
            for cycle in range(cycles):
                loading = (1, None, 0, None)[cycle // 300]  # a key set, which isn't read then
                if cycle % 300 == 0 and loading is not None:
                    todo[:] = [(loading, *place) for place in generator.sample(places, 200)]
                odd = cycle // config.slot_cycles % 2
                odd_phase.next = odd
                now = []
                for number, cluster in enumerate(ports):
                    value = int(scores_in_even_phases(number, config) == bool(odd))
                    for lane, port in enumerate(cluster):
                        key, word = generator.randrange(config.lane_keys), generator.randrange(config.slot_cycles)
                        key_set = generator.randrange(2) if loading is None else 1 - loading
                        port.address.next = key * config.slot_cycles + word
                        port.key_set.next, port.active.next = key_set, True
                        now.append((port, contents.get((key_set, value, lane, key, word))))
                history.append(now)
                yield clk.posedge
                if len(history) > KEY_CYCLES:
                    for port, data in history.pop(0):
                        if data is not None:
                            assert port.data == data
                            checked.append(1)
                if cycle % 300 > 280:
                    for cluster in ports:
                        for port in cluster:
                            port.active.next = False
                    history.clear()
            assert len(checked) > cycles // 2 * config.rows * config.lanes
            checked.append(None)
            yield clk.posedge

        return read

    run(
        clk,
        None,
        [make(engine, keys, clk, writes, odd_phase, ports, config), writer(clk, writes, contents, todo, generator, config), readers()],
        until=lambda: checked and checked[-1] is None,
        max_cycles=4000,
    )  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_lane_reads_its_keys_and_values_while_the_other_set_loads(engine, shape):
    simulate(engine, SHAPES[shape])


def test_reading_a_set_that_is_written_is_an_error_in_simulation():
    clk = Signal(False)
    _, writes, odd_phase, ports = ports_of(TINY)
    writes.enable, writes.key_set = Signal(True), Signal(True)
    ports[1][0].active, ports[1][0].key_set = Signal(True), Signal(True)
    with pytest.raises(AssertionError, match="at the same time"):
        run(clk, None, [keys(clk, writes, odd_phase, ports, TINY)], until=lambda: False, max_cycles=20)


@pytest.mark.skipif(not shutil.which("yosys"), reason="needs yosys")
def test_synthesis_makes_block_rams_of_a_lanes_keys(tmp_path):
    """16 of the 64 of `small`: 4 lanes, one copy, four block RAMs for 64 bits with two ports."""
    config = CONFIGS["small"]
    write, ports = LaneWrite(config), [KeyPort(config) for _ in range(CLUSTERS_A_COPY)]
    data = KeyWrites(config).data[0]
    design = convert(
        lane_keys.unelaborated(Signal(False), write, data, Signal(False), ports, config), tmp_path
    )
    script = f"read_verilog {' '.join(design.files)}; synth_ecp5 -top {design.top}; stat"
    report = subprocess.run(["yosys", "-p", script], capture_output=True, text=True, check=True).stdout
    cells = dict(re.findall(r"^\s+(\w+)\s+(\d+)$", report[report.rindex("Number of cells:") :], re.M))
    assert int(cells["DP16KD"]) == 16
    assert "TRELLIS_DPR16X4" not in cells
