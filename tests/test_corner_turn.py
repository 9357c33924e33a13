"""The corner turn writes every dimension of every key where the array looks for it, at a beat a cycle."""

import numpy as np
import pytest
from myhdl import Signal, block, instance

from golden.config import CONFIGS
from hdl.corner_turn import corner_turn, key_beats_stream
from hdl.tiled.interfaces import ColumnWrites
from tests.cosimulation import ENGINES, drive, make, run

TINY = CONFIGS["tiny_tiled"]
SHAPES = {
    "tiny": TINY,
    "one_beat": TINY.replace(stream_bits=128),
    "four_beats": TINY.replace(d=32),
    "one_group_a_tile": TINY.replace(tile_keys=16, stream_bits=128, d=32),
    "wide": CONFIGS["small_tiled"].replace(stream_bits=256, d=32),
}


def key_beats(rows, key_set, value, config, whole=True):
    """Beats of rows [n, d] as the corner turn takes them; not ``whole``: the last key isn't among them."""
    items = []
    for key, row in enumerate(rows):
        for beat in range(config.row_beats):
            part = row[beat * config.stream_bytes : (beat + 1) * config.stream_bytes]
            items.append(
                dict(data=int.from_bytes(part.tobytes(), "little"), key=key, beat=beat, key_set=key_set, value=value,
                     last=int(whole and key == len(rows) - 1 and beat == config.row_beats - 1))
            )  # fmt: skip
    return items


def column_bytes(writes, config):
    """{(key_set, value, key, dimension): byte} of a list of (group, address, data)."""
    found = {}
    for group, address, data in writes:
        dimension = address % config.d
        tile = address // config.d % config.max_tiles
        value, key_set = address // config.d // config.max_tiles % 2, address // config.d // config.max_tiles // 2
        first_key = tile * config.tile_keys + group * config.stream_bytes
        for i, byte in enumerate(data.to_bytes(config.stream_bytes, "little")):
            found[key_set, value, first_key + i, dimension] = byte - 256 * (byte > 127)
    return found


@block
def record(clk, columns, busy, writes):
    @instance
    def writer():
        while True:
            yield clk.posedge
            if columns.enable:
                assert busy, "a column after the corner turn said that it was through"
                writes.append((int(columns.group), int(columns.address), int(columns.data)))

    return writer


def simulate(engine, config, items, word_count, stall=0.0):
    clk, reset, beats, columns, busy = (
        Signal(False), Signal(False), key_beats_stream(config), ColumnWrites(config), Signal(False),
    )  # fmt: skip
    writes = []
    cycles = run(
        clk,
        reset,
        [
            make(engine, corner_turn, clk, reset, beats, columns, busy, config=config),
            drive(clk, beats, items, stall, seed=5),
            record(clk, columns, busy, writes),
        ],
        until=lambda: len(writes) >= word_count and not busy,
    )
    assert len(writes) == word_count
    return writes, cycles


def words_of(n_k, config):
    return -(-n_k // config.stream_bytes) * config.d


def check(engine, config, lengths, stall=0.0, seed=1):
    """Matrices of these lengths one after the other; compare what the last writer of each byte left."""
    generator = np.random.default_rng(seed)
    items, expected, words = [], {}, 0
    for number, n_k in enumerate(lengths):
        rows = generator.integers(-128, 128, (n_k, config.d)).astype(np.int8)
        key_set, value = number // 2 % 2, number % 2
        items += key_beats(rows, key_set, value, config)
        words += words_of(n_k, config)
        for key, t in np.ndindex(-(-n_k // config.stream_bytes) * config.stream_bytes, config.d):
            expected.pop((key_set, value, key, t), None)  # the last group's missing keys may become anything
        expected.update(((key_set, value, *place), int(rows[place])) for place in np.ndindex(*rows.shape))
    writes, cycles = simulate(engine, config, items, words, stall)
    found = column_bytes(writes, config)
    assert {place: found.get(place) for place in expected} == expected
    return len(items), cycles


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stall", [0, 0.3])
def test_every_byte_arrives_in_its_column(engine, stall):
    check(engine, TINY, [64, 64, 37, 37, 16, 16], stall)


@pytest.mark.parametrize("engine", ENGINES)
def test_short_groups_wait_for_the_group_before_them(engine):
    check(engine, TINY, [1, 1, 9, 9, 8, 8, 1, 1, 2, 2, 17, 17])


@pytest.mark.parametrize("shape", SHAPES)
def test_other_shapes(shape):
    config = SHAPES[shape]
    check("icarus", config, [min(n, config.max_keys) for n in (67, 67, 1, 1, 40, 40)], 0.05, seed=2)


def test_full_groups_take_a_beat_a_cycle():
    beats, cycles = check("myhdl", TINY, [64, 64, 64])
    assert cycles <= beats + TINY.d + 12


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("whole_keys, cut_beats", [(1, 0), (5, 1), (8, 0), (12, 1)])
def test_rows_that_were_cut_off_leave_no_trace_in_the_next_ones(engine, whole_keys, cut_beats):
    generator = np.random.default_rng(7)
    cut = generator.integers(-128, 128, (whole_keys + 1, TINY.d)).astype(np.int8)
    rows = generator.integers(-128, 128, (20, TINY.d)).astype(np.int8)
    items = key_beats(cut, 0, 0, TINY, whole=False)[: whole_keys * TINY.row_beats + cut_beats]
    items += key_beats(rows, 0, 0, TINY)
    words = words_of(20, TINY) + whole_keys // TINY.stream_bytes * TINY.d
    writes, _ = simulate(engine, TINY, items, words)
    found = column_bytes(writes, TINY)
    assert all(found[0, 0, key, t] == rows[key, t] for key, t in np.ndindex(*rows.shape))
