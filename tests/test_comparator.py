"""A softmax lane keeps the golden model's keys and computes its shares, whatever stalls."""

import numpy as np
import pytest
from myhdl import Signal, always, block, instance, intbv

from golden.comparator import compare
from golden.config import CONFIGS, KEPT_FRACTION, PREDICTED_BITS, THRESHOLD_FRACTION, clog2
from hdl.comparator import bits_stream, chunks_stream, comparator, query_fields, results_stream
from tests.cosimulation import ENGINES, collect, drive, make, run

TINY, SMALL = CONFIGS["tiny_tiled"], CONFIGS["small_tiled"]
ONE = 1 << THRESHOLD_FRACTION
ALL = 1 << KEPT_FRACTION
LOWEST, HIGHEST = -(1 << (PREDICTED_BITS - 1)), (1 << (PREDICTED_BITS - 1)) - 1


# Of chunks, bits and results.
STALLS = [(0, 0, 0), (0.7, 0, 0), (0, 0.7, 0), (0, 0, 0.95), (0.3, 0.3, 0.8), (0.1, 0.9, 0.1)]


class Query:
    """Predicted scores of the visible keys, threshold, and whether the kept share is asked for."""

    def __init__(self, scores, threshold, residual=True):
        self.scores = np.asarray(scores, dtype=np.int64)
        self.threshold = int(threshold)
        self.residual = residual

    def chunks(self, config, fields, generator):
        """Items of the ``chunks`` stream; scores of keys that aren't visible are noise."""
        keys = config.predict_keys
        count = -(-self.scores.size // keys)
        scores = generator.integers(LOWEST, HIGHEST + 1, count * keys)
        scores[: self.scores.size] = self.scores
        for chunk in range(count):
            here = range(chunk * keys, (chunk + 1) * keys)
            yield {
                "scores": sum((int(scores[k]) % (1 << PREDICTED_BITS)) << (PREDICTED_BITS * (k % keys)) for k in here),
                "visible_mask": sum((k < self.scores.size) << (k % keys) for k in here),
                "last": chunk == count - 1,
                "maximum": int(self.scores.max()),
                "threshold": self.threshold,
                **fields,
            }

    def expected(self, config, fields):
        """Items of the ``bits`` stream, and the result."""
        mask, kept = compare(self.scores[None], np.array([self.scores.size]), self.threshold)
        keys = config.predict_keys
        count = -(-self.scores.size // keys)
        mask = np.pad(mask[0], (0, count * keys - self.scores.size)).reshape(count, keys)
        words = (mask << np.arange(keys)).sum(axis=1).tolist()
        bits = [{"bits": word, "last": chunk == count - 1, **fields} for chunk, word in enumerate(words)]
        return bits, int(kept[0]) if self.residual else ALL


def expectation(config, queries):
    """Items of the ``chunks`` stream, and what ``bits`` and ``results`` must bring for them."""
    generator = np.random.default_rng(7)
    items, bits_expected, results_expected = [], [], []
    for query in queries:
        fields = {name: int(generator.integers(1 << kind.width)) for name, kind in query_fields(config).items()}
        fields |= {"visible": query.scores.size, "residual": int(query.residual)}
        items += query.chunks(config, fields, generator)
        bits, result = query.expected(config, fields)
        bits_expected += bits
        results_expected.append(result)
    return items, bits_expected, results_expected


def check(engine, config, queries, stalls=(0.0, 0.0, 0.0)):
    """Run the queries and compare everything with the golden model.

    ``stalls``: of chunks, bits and results. Returns the cycles that the run took.
    """
    items, bits_expected, results_expected = expectation(config, queries)
    clk, reset = Signal(False), Signal(False)
    chunks, bits, results = chunks_stream(config), bits_stream(config), results_stream(config)
    kept_count = Signal(intbv(0)[clog2(config.predict_keys + 1) :])
    bits_received, results_received = [], []
    counted = 0

    @block
    def observe():
        @always(clk.posedge)
        def count():
            nonlocal counted
            counted += int(kept_count)
            assert len(results_received) <= sum(item["last"] for item in bits_received), "a result before its bits"

        return count

    cycles = run(
        clk,
        reset,
        [
            make(engine, comparator, clk, reset, chunks, bits, results, kept_count, config=config),
            drive(clk, chunks, items, stalls[0], seed=1),
            collect(clk, bits, bits_received, stall_probability=stalls[1], seed=2),
            collect(clk, results, results_received, stall_probability=stalls[2], seed=3),
            observe(),
        ],
        until=lambda: len(results_received) == len(queries),
        max_cycles=100 * len(items) + 1000,
    )
    assert bits_received == bits_expected
    assert results_received == results_expected
    assert counted == sum(item["bits"].bit_count() for item in bits_expected)
    return cycles


def random_queries(config, count, seed, longest=None):
    """Lengths, scales, ties, thresholds and residual flags of every kind."""
    generator = np.random.default_rng(seed)
    queries = []
    for _ in range(count):
        length = int(generator.integers(1, (longest or config.max_keys) + 1))
        scale = 2.0 ** generator.uniform(0, 11)
        scores = np.clip(np.rint(generator.normal(0, scale, length)), LOWEST, HIGHEST)
        if generator.random() < 0.3:
            scores[generator.integers(0, length, 3)] = scores.max()
        shares = [ONE // (4 * length), ONE // length, 2 * ONE // (length + 1), ONE // 3, ONE]
        threshold = generator.choice([0, 1, 50, *shares])
        queries.append(Query(scores, threshold, generator.random() < 0.7))
    return queries


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stalls", STALLS)
def test_bits_and_shares_are_golden_whatever_stalls(engine, stalls):
    check(engine, TINY, random_queries(TINY, 25, seed=11), stalls)


def test_bits_and_shares_are_golden_for_many_queries():
    check("icarus", TINY, random_queries(TINY, 400, seed=13))


def test_bits_and_shares_are_golden_with_eight_keys_a_chunk():
    check("icarus", SMALL, random_queries(SMALL, 60, seed=17))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stalls", [(0, 0, 0), (0.5, 0.5, 0.9)])
def test_single_keys_are_kept_whole(engine, stalls):
    """Also at any threshold, and when more of them come than queries fit in."""
    scores = [LOWEST, HIGHEST, -1, 0, 1, 7, 8, 9, -7, -8, -9]
    check(engine, TINY, [Query([s], t) for s in scores for t in (0, 1, ONE - 1, ONE)], stalls)


def test_extreme_scores_are_dropped_or_kept_as_the_golden_model_does():
    """Distances beyond what their eight bits hold; all of them are kept if the threshold is 0."""
    rows = [[LOWEST, HIGHEST], [HIGHEST] + [LOWEST] * 63, [LOWEST] * 64, [HIGHEST] * 64, [LOWEST] * 63 + [LOWEST + 1]]
    rows += [[HIGHEST, HIGHEST - by] for by in (0, 1, 127, 128, 135, 136, 246, 247, 248, 253, 254, 255, 256, 511, 512)]
    check("icarus", TINY, [Query(row, t, r) for row in rows for t in (0, 1, 2, ONE // 64, ONE) for r in (True, False)])


def test_every_tie_of_the_maximum_is_kept_and_no_query_is_ever_empty():
    rows = [np.full(64, top) for top in range(-9, 10)] + [np.arange(64) // 8 * 8 + top for top in range(8)]
    check("icarus", TINY, [Query(row, t) for row in rows for t in (ONE // 64, ONE // 64 - 1, ONE // 2, ONE)])


def test_every_length_with_its_partial_last_chunk():
    generator = np.random.default_rng(19)
    check("icarus", TINY, [Query(generator.integers(-60, 60, n), ONE // n) for n in range(1, 65)])


def rate(config, length, count=60):
    """Cycles a query, back to back."""
    generator = np.random.default_rng(23)

    def queries(number):
        return [Query(generator.integers(-100, 100, length), ONE // length) for _ in range(number)]

    some = count // 2
    return (check("icarus", config, queries(count)) - check("icarus", config, queries(some))) / (count - some)


def test_long_queries_pass_at_one_chunk_a_cycle():
    """The sum of one query while the one before it is compared, without a gap."""
    assert rate(TINY, 64) == 16
    assert rate(SMALL, 17 * 8, count=20) == 17
    assert rate(SMALL, 512, count=6) == 64


def test_short_queries_take_fifteen_cycles():
    assert rate(TINY, 1) == 15
    assert rate(TINY, 15 * 4) == 15


@pytest.mark.parametrize("config, first_bits, result", [(TINY, 32, 49), (SMALL, 33, 51)])
def test_latency_of_a_single_chunk(config, first_bits, result):
    """What the docstring says: cycles from the transfer of the only chunk to the bits and to the result."""
    clk, reset = Signal(False), Signal(False)
    streams = chunks_stream(config), bits_stream(config), results_stream(config)
    kept_count = Signal(intbv(0)[clog2(config.predict_keys + 1) :])
    transfers = {}
    cycle = 0

    @block
    def observe():
        @always(clk.posedge)
        def note():
            nonlocal cycle
            cycle += 1
            for name, stream in zip(("chunk", "bits", "result"), streams, strict=True):
                if stream.valid and stream.ready:
                    transfers.setdefault(name, cycle)

        return note

    items = list(Query([5], 1).chunks(config, {"residual": 1, "visible": 1}, np.random.default_rng(1)))
    simulated = make("icarus", comparator, clk, reset, *streams, kept_count, config=config)
    sinks = collect(clk, streams[1], []), collect(clk, streams[2], [])
    run(clk, reset, [simulated, drive(clk, streams[0], items), *sinks, observe()], until=lambda: "result" in transfers)
    assert transfers["bits"] - transfers["chunk"] == first_bits
    assert transfers["result"] - transfers["chunk"] == result


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cycles_before", [7, 60, 117, 150])
def test_reset_forgets_the_queries_in_flight(engine, cycles_before):
    """Whatever is under way: sums, search, comparison, division."""
    forgotten, *_ = expectation(TINY, random_queries(TINY, 20, seed=31))
    items, bits_expected, results_expected = expectation(TINY, random_queries(TINY, 8, seed=29))
    clk, reset = Signal(False), Signal(True)
    streams = chunks, bits, results = chunks_stream(TINY), bits_stream(TINY), results_stream(TINY)
    kept_count = Signal(intbv(0)[clog2(TINY.predict_keys + 1) :])
    bits_received, results_received = [], []

    @instance
    def stimulus():
        for batch, cycles in ((forgotten, cycles_before), (items, None)):
            reset.next = True
            chunks.valid.next = False
            yield clk.posedge
            yield clk.posedge
            reset.next = False
            bits_received.clear()
            results_received.clear()
            cycle = sent = 0
            while sent < len(batch) and cycle != cycles:
                chunks.valid.next = True
                for name, value in batch[sent].items():
                    getattr(chunks, name).next = value
                yield clk.posedge
                cycle += 1
                sent += int(chunks.ready)
        chunks.valid.next = False

    simulated = make(engine, comparator, clk, reset, *streams, kept_count, config=TINY)
    sinks = collect(clk, bits, bits_received), collect(clk, results, results_received)
    run(clk, None, [simulated, stimulus, *sinks], until=lambda: results_received == results_expected, max_cycles=2000)
    assert bits_received == bits_expected
