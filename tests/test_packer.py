"""Sub-rows and lanes are those of the golden packer, for every kind of bitmap word."""

import random

import numpy as np
import pytest
from myhdl import Signal

from golden import packer as golden
from golden.config import CONFIGS
from hdl.hierarchy import module
from hdl.packer import packer
from hdl.tiled.work import Placements, address_bits, work_items_stream, words_stream, work_queue
from tests.cosimulation import ENGINES, collect, drive, make, run

TINY = CONFIGS["tiny_tiled"]
SHAPES = {
    "tiny": TINY,
    "span1": TINY.replace(name="span1", span=1),
    "span3": TINY.replace(name="span3", span=3),
    "full": TINY.replace(name="full", span=4),
    "two_lanes": TINY.replace(name="two_lanes", lanes=2, span=1),
    "narrow": TINY.replace(name="narrow", lanes=8, span=3),
    "small": CONFIGS["small_tiled"],
    "small_span1": CONFIGS["small_tiled"].replace(name="small_span1", span=1),
    "small_span15": CONFIGS["small_tiled"].replace(name="small_span15", span=15),
    "small_full": CONFIGS["small_tiled"].replace(name="small_full", span=16),
}


@module
def packer_and_queue(clk, reset, words, items, config):
    placements = Placements(config)
    return packer(clk, reset, words, placements, config), work_queue(clk, reset, placements, items, config)


def all_kinds_of_words(config, count, seed=0):
    """bool [words, W], none empty: densities 0 to 1, one class alone, neighbouring classes alone, runs of keys."""
    generator = np.random.default_rng(seed)
    width, lanes = config.tile_keys, config.lanes
    classes = np.arange(width) % lanes
    words = [np.ones(width, bool)]
    for number in range(count - 1):
        kind = number % 4
        density = generator.uniform(0, 1) ** generator.integers(1, 4)
        word = generator.random(width) < density
        if kind == 1:
            word &= (classes - generator.integers(lanes)) % lanes < generator.integers(1, lanes + 1)
        elif kind == 2:
            word = (classes - generator.integers(lanes)) % lanes < generator.integers(1, 3)
            word |= generator.random(width) < 0.1
        elif kind == 3:
            word &= np.roll(np.arange(width) < generator.integers(1, width), generator.integers(width))
        word[generator.integers(width)] |= not word.any()
        words.append(word)
    return np.array(words)


def word_items(words, config, seed=0):
    """What `words_stream` brings, an end mark here and there."""
    generator = random.Random(seed)
    items = []
    for word in words:
        bits = sum(1 << int(column) for column in np.nonzero(word)[0])
        items.append(dict(end=0, slot=generator.randrange(config.slots), first=generator.randrange(2), bits=bits))
        while generator.random() < 0.2:
            items.append(dict(end=1, slot=0, first=0, bits=generator.getrandbits(config.tile_keys)))
    return items


def lane_select(lane, column, config):
    if config.full_connection:
        return column
    back = (lane - column % config.lanes) % config.lanes
    assert back < config.span
    return back * config.max_sub_rows + column // config.lanes


def expected_items(items, config):
    """The contract's work items, from golden.packer: [(slot, first, [column select or None, a lane])] or "end"."""
    expected = []
    for item in items:
        if item["end"]:
            expected.append("end")
            continue
        word = np.array([[bool(item["bits"] >> column & 1) for column in range(config.tile_keys)]])
        columns, count = golden.pack(word, config)
        every_column = golden.all_columns(columns)
        for sub_row in range(int(count[0])):
            lanes = []
            for lane in range(config.lanes):
                column = int(columns[0, sub_row, lane])
                valid = column != golden.IDLE
                if config.full_connection:
                    lanes.append((valid, int(every_column[0, sub_row, lane])))
                else:
                    lanes.append((valid, lane_select(lane, column, config) if valid else None))
            expected.append((item["slot"], item["first"] if sub_row == 0 else 0, lanes))
    return expected


def readable(item, config):
    """A received item in the form of `expected_items`."""
    if item["end"]:
        return "end"
    mask = (1 << config.select_bits) - 1
    lanes = []
    for lane in range(config.lanes):
        valid = bool(item["lane_valid"] >> lane & 1)
        select = item["select"] >> lane * config.select_bits & mask
        lanes.append((valid, select if valid or config.full_connection else None))
    return item["slot"], item["first"], lanes


def pack_words(engine, config, words, inp_stall=0.0, out_stall=0.0, seed=0):
    """Returns cycles, received and expected items."""
    clk, reset, inp, out = Signal(False), Signal(False), words_stream(config), work_items_stream(config)
    sent = word_items(words, config, seed)
    expected, received = expected_items(sent, config), []
    cycles = run(
        clk, reset,
        [make(engine, packer_and_queue, clk, reset, inp, out, config),
         drive(clk, inp, sent, inp_stall, seed=1),
         collect(clk, out, received, stall_probability=out_stall, seed=2)],
        until=lambda: len(received) >= len(expected), max_cycles=400 * len(sent) + 1000,
    )  # fmt: skip
    return cycles, [readable(item, config) for item in received], expected


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("inp_stall, out_stall", [(0, 0), (0.9, 0), (0, 0.97)])
@pytest.mark.parametrize("shape", ["tiny", "full"])
def test_items_are_those_of_the_golden_packer_under_stalls(engine, shape, inp_stall, out_stall):
    config = SHAPES[shape]
    _, received, expected = pack_words(engine, config, all_kinds_of_words(config, 60), inp_stall, out_stall)
    assert received == expected


@pytest.mark.parametrize("shape", [name for name in SHAPES if name not in ("tiny", "full")])
def test_items_are_those_of_the_golden_packer_in_every_shape(shape):
    config = SHAPES[shape]
    words = all_kinds_of_words(config, 60 if config.tile_keys > 16 else 200, seed=3)
    _, received, expected = pack_words("icarus", config, words)
    assert received == expected


def two_trips(words, config):
    """R as the lookaside packer finds it: a trip around the ring for all R, and a second one unless the least R that is
    left over carries nothing. int64 [words]."""
    counts = golden.class_counts(words, config)
    found = np.zeros(len(words), np.int64)
    settled = ~words.any(axis=1)
    possible = np.stack([counts.sum(axis=1) <= r * config.lanes for r in range(1, config.max_sub_rows + 1)])
    waiting = np.zeros_like(possible, dtype=np.int64)
    for trip in range(2):
        for lane in range(config.lanes):
            begin = max(0, lane - config.span + 2) if trip == 0 else lane - config.span + 2
            recent = sum((counts[:, place % config.lanes] for place in range(begin, lane + 1)), np.zeros(len(words), np.int64))
            for r in range(1, config.max_sub_rows + 1):
                waiting[r - 1] = np.maximum(waiting[r - 1] + counts[:, lane] - r, 0)
                possible[r - 1] &= waiting[r - 1] <= recent
        least = possible.argmax(axis=0)
        settled_now = ~settled & ((waiting[least, np.arange(len(words))] == 0) | (trip == 1))
        found[settled_now] = least[settled_now] + 1
        settled |= settled_now
    return found


@pytest.mark.parametrize("lanes, width", [(4, 16), (16, 64), (8, 16), (4, 32)])
def test_two_trips_around_the_ring_find_the_golden_number_of_sub_rows(lanes, width):
    for span in range(1, lanes):
        config = TINY.replace(name="shape", lanes=lanes, tile_keys=width, span=span, max_keys=64)
        words = all_kinds_of_words(config, 4000, seed=span)
        assert np.array_equal(two_trips(words, config), golden.sub_rows(words, config))


@pytest.mark.parametrize("shape", ["small", "small_full"])
def test_packing_takes_no_longer_than_the_rounds_of_the_array(shape):
    config = SHAPES[shape]
    words = all_kinds_of_words(config, 40, seed=5)
    sub_rows = golden.sub_rows(words, config)
    cycles, _, expected = pack_words("myhdl", config, words)
    assert cycles <= config.round_cycles * sub_rows.sum() + 10
    keys = words.sum(axis=1)
    longest = keys + keys // sub_rows + 8 if config.full_connection else 2 * config.lanes + 7 + (config.span - 1) * config.max_sub_rows
    assert cycles <= (config.lanes * sub_rows + longest).sum() + 2 * expected.count("end") + 10
