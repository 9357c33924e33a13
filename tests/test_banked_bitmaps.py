"""From bits to bitmaps in order: what the ring gives is the golden mask of each query, whatever runs apart or waits."""

from collections import deque

import numpy as np
import pytest
from myhdl import Signal, block, instance

from golden.config import CONFIGS
from hdl.banked.bitmaps import BITMAP_WORD_CYCLES, WordsRead, bitmap_ring, compared_stream, heads_stream
from hdl.comparator import bits_stream, results_stream
from hdl.group_starts import GroupStarts
from tests import test_bitmaps
from tests.cosimulation import ENGINES, collect, make, run
from tests.test_bitmaps import heads_of_all_kinds, random_head

TINY, SMALL = CONFIGS["tiny"], CONFIGS["small"]
LANES = TINY.replace(name="lanes", predict_queries=12, softmax_lanes=3, ring_groups=2)
HEAD_FIELDS = ("mantissa", "shift", "key_set", "tag", "causal", "n_k", "n_q")


def bitmap_words(mask, config):
    """{index: word} of the words that aren't zero."""
    padded = np.pad(mask, (0, -len(mask) % config.tile_keys)).reshape(-1, config.tile_keys)
    words = [sum(1 << int(bit) for bit in np.flatnonzero(tile)) for tile in padded]
    return {index: word for index, word in enumerate(words) if word}


class Surroundings(test_bitmaps.Surroundings):
    """Predictor and comparator as for the tiled array; here a dispatcher that reads all words of each query."""

    def __init__(self, heads, config, stall, seed):
        self.heads, self.config, self.stall = heads, config, stall
        self.random = test_bitmaps.random.Random(seed)
        self.groups = GroupStarts(config)
        self.bits = [bits_stream(config) for _ in range(config.softmax_lanes)]
        self.results = [results_stream(config) for _ in range(config.softmax_lanes)]
        self.chunks_to_send, self.results_to_send = [deque() for _ in self.bits], [deque() for _ in self.bits]
        self.head_messages, self.compared = heads_stream(config), compared_stream(config)
        self.words, self.group_done = WordsRead(config), Signal(False)
        self.received_heads, self.queries, self.bitmaps = [], [], []
        self.count = sum(len(head.mask) for head in heads)
        self.most_groups_open, self.groups_open = 0, 0

    def done(self):
        return len(self.bitmaps) == self.count and len(self.received_heads) == len(self.heads)

    @block
    def dispatcher(self, clk, reset):
        compared, words = self.compared, self.words

        @instance
        def process():
            while True:
                compared.ready.next = self.random.random() >= self.stall
                self.group_done.next = False
                yield clk.posedge
                if self.groups.start:
                    self.groups_open += 1
                    self.most_groups_open = max(self.most_groups_open, self.groups_open)
                if reset or not (compared.valid and compared.ready):
                    continue
                compared.ready.next = False
                query = {name: int(getattr(compared, name)) for name in compared.fields}
                self.queries.append(query)
                indices = [index for index in range(self.config.max_tiles) if query["words"] >> index & 1]
                bitmap = {}
                words.group.next, words.place.next, words.lane.next = query["group"], query["place"], query["lane"]
                for step in range(len(indices) + BITMAP_WORD_CYCLES):
                    if step < len(indices):
                        words.index.next = indices[step]
                    yield clk.posedge
                    self.groups_open += int(self.groups.start)
                    if step > BITMAP_WORD_CYCLES - 1:
                        bitmap[indices[step - BITMAP_WORD_CYCLES]] = int(words.word)
                self.bitmaps.append(bitmap)
                if query["group_last"]:
                    self.group_done.next = True
                    self.groups_open -= 1
                    yield clk.posedge
                    self.groups_open += int(self.groups.start)

        return process

    def instances(self, clk, engine, reset):
        parts = [
            make(engine, bitmap_ring, clk, reset, self.groups, self.bits, self.results, self.head_messages, self.compared,
                 self.words, self.group_done, self.config),
            self.predictor(clk), self.dispatcher(clk, reset),
            collect(clk, self.head_messages, self.received_heads, None, self.stall, seed=1),
        ]  # fmt: skip
        return parts + [self.comparator(clk, lane) for lane in range(self.config.softmax_lanes)]

    def check(self):
        config, number, group = self.config, 0, 0
        for head, message in zip(self.heads, self.received_heads):
            assert message == dict({name: head.fields[name] for name in HEAD_FIELDS}, visible=head.visible[0])
            n_q = len(head.mask)
            for query in range(n_q):
                index = query % config.predict_queries
                words = bitmap_words(head.mask[query], config)
                assert self.bitmaps[number] == words, f"bitmap of query {query}"
                last = query == n_q - 1
                group_last = last or index == config.predict_queries - 1
                assert self.queries[number] == dict(
                    group=group % config.ring_groups, index=index, lane=index % config.softmax_lanes,
                    place=index // config.softmax_lanes, words=sum(1 << w for w in words), kept=int(head.kept[query]),
                    group_last=group_last, head_last=last,
                )  # fmt: skip
                number += 1
                group += group_last
        assert self.most_groups_open <= config.ring_groups


def run_heads(engine, config, heads, stall=0.0, seed=0, max_cycles=40000):
    clk, reset = Signal(False), Signal(False)
    surroundings = Surroundings(heads, config, stall, seed)
    run(clk, reset, surroundings.instances(clk, engine, reset), surroundings.done, max_cycles)
    surroundings.check()
    return surroundings


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stall", [0, 0.5])
def test_heads_back_to_back_keep_their_order_and_settings(engine, stall):
    run_heads(engine, TINY, heads_of_all_kinds(TINY, 8), stall)


@pytest.mark.parametrize("stall", [0, 0.5])
def test_softmax_lanes_may_run_apart(stall):
    run_heads("icarus", LANES, heads_of_all_kinds(LANES.replace(slots=8), 9, seed=2), stall, seed=1)


def test_small_configuration():
    generator = np.random.default_rng(1)
    heads = [random_head(SMALL, 0, 30, 150, True, 0.1, generator), random_head(SMALL, 1, 20, 300, False, 0.02, generator)]
    run_heads("icarus", SMALL, heads)


@pytest.mark.parametrize("config", [TINY, LANES], ids=lambda config: config.name)
def test_heads_of_one_query_fill_the_ring(config):
    generator = np.random.default_rng(3)
    heads = [random_head(config, n, 1, 1 + 7 * n % 64, n % 2 == 0, 0.5, generator) for n in range(25)]
    assert run_heads("icarus", config, heads).most_groups_open == config.ring_groups


def test_masks_with_whole_words_empty_and_full():
    generator = np.random.default_rng(3)
    full, skewed, one = (random_head(TINY, n, 12, 64, False, 1, generator) for n in range(3))
    skewed.mask &= np.arange(64) % 32 == 3
    one.mask[:] = np.arange(64) == 63 - np.arange(12)[:, None] * 5
    run_heads("icarus", TINY, [full, skewed, one])


def test_a_bitmap_without_keys_has_one_empty_word():
    generator = np.random.default_rng(3)
    head = random_head(TINY, 0, 4, 40, False, 0.5, generator)
    head.mask[1] = False
    surroundings = Surroundings([head], TINY, 0, 0)
    clk, reset = Signal(False), Signal(False)
    run(clk, reset, surroundings.instances(clk, "icarus", reset), surroundings.done)
    assert surroundings.queries[1]["words"] == 1 << 40 // TINY.tile_keys and surroundings.bitmaps[1] == {2: 0}
