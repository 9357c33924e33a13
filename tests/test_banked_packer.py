"""Each lane's queue gets its keys, in order, and is never written while it is full."""

import random

import numpy as np
import pytest
from myhdl import Signal, block, instance, intbv

from golden.config import CONFIGS
from hdl.banked.interfaces import CountEvent, KeyIndex, slot_bits, words_stream
from hdl.banked.packer import packer
from tests.cosimulation import ENGINES, RESET_CYCLES, drive, make, run
from tests.test_banked_cluster import bitmap_words, random_masks

TINY, SMALL, BERT = CONFIGS["tiny"], CONFIGS["small"], CONFIGS["bert"]


def simulate(engine, config, masks, word_stall=0.0, full_probability=0.0, wait_probability=0.0):
    """Per lane the entries (query, key), per query its count when it was finished; and the cycles."""
    clk, reset, words = Signal(False), Signal(False), words_stream(config)
    slot = Signal(intbv(0)[slot_bits(config) :])
    key_set, enable, taken, finished = (Signal(False) for _ in range(4))
    fills, push = (Signal(intbv(0)[config.lanes :]) for _ in range(2))
    entry, counted = KeyIndex(config), CountEvent(config)
    lanes, counts, total = [[] for _ in range(config.lanes)], [], 0

    @block
    def queues():
        generator = random.Random(1)

        @instance
        def surroundings():
            nonlocal total
            query, full = 0, 0
            for _ in range(RESET_CYCLES):
                yield clk.posedge
            while True:
                for j in range(config.lanes):
                    fills.next[j] = generator.random() < full_probability
                enable.next = generator.random() >= wait_probability
                slot.next = query % config.slots
                key_set.next = query // config.slots % 2
                yield clk.posedge
                assert not int(push) & full, "pushed into a full queue"
                full = int(fills)
                for j in range(config.lanes):
                    if push[j]:
                        lanes[j].append((int(entry.key_set) * config.slots + int(entry.slot), int(entry.key)))
                if taken:
                    query += 1
                if counted.active:
                    assert int(counted.slot) == len(counts) % config.slots
                    total += int(counted.count)
                    if finished:
                        counts.append(total)
                        total = 0

        return surroundings

    items = [item for mask in masks for item in bitmap_words(mask, config)]
    cycles = run(
        clk,
        reset,
        [
            make(engine, packer, clk, reset, words, slot, key_set, enable, taken, fills, push, entry, counted, finished,
                 config=config),
            drive(clk, words, items, word_stall, seed=2),
            queues(),
        ],
        until=lambda: len(counts) == len(masks),
    )  # fmt: skip
    return lanes, counts, cycles


def check(lanes, counts, masks, config):
    assert counts == masks.sum(axis=1).tolist()
    for j, entries in enumerate(lanes):
        keys = masks[:, j :: config.lanes]
        assert entries == [(int(q) % (2 * config.slots), int(k)) for q, k in np.argwhere(keys)]


def some_masks(config):
    masks = np.concatenate([random_masks(config, 4, density) for density in (0.02, 0.3)])
    return np.concatenate([masks, np.ones_like(masks[:1]), np.zeros_like(masks[:2]), masks[:3]])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("word_stall, full, wait", [(0, 0, 0), (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5), (0.3, 0.3, 0.3)])
def test_every_key_is_pushed_once_and_in_order(engine, word_stall, full, wait):
    masks = some_masks(TINY)
    lanes, counts, _ = simulate(engine, TINY, masks, word_stall, full, wait)
    check(lanes, counts, masks, TINY)


@pytest.mark.parametrize("config", [SMALL, BERT], ids=lambda config: config.name)
def test_every_key_is_pushed_once_in_other_configurations(config):
    masks = some_masks(config)
    lanes, counts, _ = simulate("icarus", config, masks, full_probability=0.1)
    check(lanes, counts, masks, config)


def test_a_group_with_keys_takes_a_cycle_and_a_word_one_more():
    config = SMALL
    masks = random_masks(config, 20, 0.05)
    groups = masks.reshape(len(masks), -1, config.lanes).any(axis=2)
    words = masks.reshape(len(masks), -1, config.tile_keys).any(axis=2)
    cycles = simulate("icarus", config, masks)[2]
    assert cycles <= groups.sum() + words.sum() + 12
