"""Every byte of K and V arrives in its lane's word, whatever waits and wherever rows were cut off."""

import numpy as np
import pytest
from myhdl import Signal, block, instance

from golden.config import CONFIGS
from hdl.banked.gather import gather
from hdl.banked.keys import KeyWrites
from hdl.corner_turn import key_beats_stream
from tests.cosimulation import ENGINES, drive, make, run
from tests.test_corner_turn import key_beats

TINY = CONFIGS["tiny"]
SHAPES = {
    "small": CONFIGS["small"],
    "bert": CONFIGS["bert"],
    "one_beat": TINY.replace(stream_bits=128, lanes=4),
    "one_word": TINY.replace(lane_width=8, d=64, lanes=8),
}


class KeyMemory:
    """What a write port wrote: bytes at (key set, value, key, dimension)."""

    def __init__(self, writes, config):
        self.writes, self.config = writes, config
        self.bytes, self.count = {}, 0
        self.late = []  # (cycles left, lane, place)

    def clock(self):
        """To be called in every cycle."""
        writes, width = self.writes, self.config.lane_width
        for left, lane, (key_set, value, key, word) in self.late:
            if left == 0:
                data = int(writes.data[lane]).to_bytes(width, "little")
                for m, byte in enumerate(data):
                    place = key_set, value, key * self.config.lanes + lane, word * width + m
                    self.bytes[place] = byte - 256 if byte > 127 else byte
        self.late = [(left - 1, *rest) for left, *rest in self.late if left]
        if writes.enable:
            self.count += 1
            place = int(writes.key_set), int(writes.value), int(writes.key), int(writes.word)
            self.late += [(lane, lane, place) for lane in range(self.config.lanes)]


def words_of(n_k, config):
    return -(-n_k // config.lanes) * config.slot_cycles


def simulate(engine, config, items, word_count, stall=0.0):
    clk, reset, beats, writes, busy = (
        Signal(False), Signal(False), key_beats_stream(config), KeyWrites(config), Signal(False),
    )  # fmt: skip
    memory = KeyMemory(writes, config)

    @block
    def record():
        @instance
        def recorder():
            while True:
                yield clk.posedge
                assert busy or not (memory.late or writes.enable), "a write after the gather said that it was through"
                memory.clock()

        return recorder

    cycles = run(
        clk,
        reset,
        [
            make(engine, gather, clk, reset, beats, writes, busy, config=config),
            drive(clk, beats, items, stall, seed=5),
            record(),
        ],
        until=lambda: memory.count >= word_count and not busy and not memory.late,
    )
    assert memory.count == word_count
    return memory.bytes, cycles


def check(engine, config, lengths, stall=0.0, seed=1):
    """Matrices of these lengths one after the other; compare what the last writer of each byte left."""
    generator = np.random.default_rng(seed)
    items, expected, words = [], {}, 0
    for number, n_k in enumerate(lengths):
        rows = generator.integers(-128, 128, (n_k, config.d)).astype(np.int8)
        key_set, value = number // 2 % 2, number % 2
        items += key_beats(rows, key_set, value, config)
        words += words_of(n_k, config)
        for key, t in np.ndindex(-(-n_k // config.lanes) * config.lanes, config.d):
            expected.pop((key_set, value, key, t), None)  # the last group's missing keys may become anything
        expected.update(((key_set, value, *place), int(rows[place])) for place in np.ndindex(*rows.shape))
    found, cycles = simulate(engine, config, items, words, stall)
    assert {place: found.get(place) for place in expected} == expected
    return len(items), cycles


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stall", [0, 0.3])
def test_every_byte_arrives_in_its_lane(engine, stall):
    check(engine, TINY, [64, 64, 37, 37, 16, 16], stall)


@pytest.mark.parametrize("engine", ENGINES)
def test_short_groups_wait_for_the_group_before_them(engine):
    check(engine, TINY, [1, 1, 9, 9, 8, 8, 1, 1, 2, 2, 17, 17])


@pytest.mark.parametrize("shape", SHAPES)
def test_other_shapes(shape):
    config = SHAPES[shape]
    check("icarus", config, [min(n, config.max_keys) for n in (67, 67, 1, 1, 40, 40)], 0.05, seed=2)


@pytest.mark.parametrize("shape", ["small", "bert"])
def test_full_groups_take_a_beat_a_cycle(shape):
    config = SHAPES[shape]
    beats, cycles = check("icarus", config, [64, 64, 64])
    assert cycles <= beats + config.lanes * config.row_beats + config.lanes + 10


@pytest.mark.parametrize("whole_keys, cut_beats", [(1, 0), (5, 1), (8, 0), (12, 1)])
def test_rows_that_were_cut_off_leave_no_trace_in_the_next_ones(whole_keys, cut_beats):
    config = TINY.replace(lanes=4)
    generator = np.random.default_rng(7)
    cut = generator.integers(-128, 128, (whole_keys + 1, config.d)).astype(np.int8)
    rows = generator.integers(-128, 128, (20, config.d)).astype(np.int8)
    items = key_beats(cut, 0, 0, config, whole=False)[: whole_keys * config.row_beats + cut_beats]
    items += key_beats(rows, 0, 0, config)
    words = words_of(20, config) + whole_keys // config.lanes * config.slot_cycles
    found, _ = simulate("icarus", config, items, words)
    assert all(found[0, 0, key, t] == rows[key, t] for key, t in np.ndindex(*rows.shape))
