"""The threshold search finds the distance that the golden model bisects for."""

import numpy as np
import pytest
from myhdl import Signal

from golden.comparator import largest_kept_distance
from golden.config import CONFIGS, THRESHOLD_FRACTION
from hdl.threshold import FARTHEST, SEARCH_CYCLES, request_stream, reach_stream, threshold_search
from tests.cosimulation import ENGINES, collect, drive, make, run

ONE = 1 << THRESHOLD_FRACTION


def search(engine, config, requests, request_stall=0.0, result_stall=0.0):
    """Results for (weight_sum, threshold, gap), and the cycles that they took."""
    clk, reset = Signal(False), Signal(False)
    request, result = request_stream(config), reach_stream(config)
    items = [
        {"weight_sum": s, "threshold": t, "gap": g, "residual": i % 2, "chunks": i % config.max_chunks}
        for i, (s, t, g) in enumerate(requests)
    ]
    received = []
    cycles = run(
        clk,
        reset,
        [
            make(engine, threshold_search, clk, reset, request, result, config=config),
            drive(clk, request, items, request_stall, seed=1),
            collect(clk, result, received, stall_probability=result_stall, seed=2),
        ],
        until=lambda: len(received) == len(items),
        max_cycles=100 * len(items) + 100,
    )
    for sent, got in zip(items, received, strict=True):
        assert all(got[name] == sent[name] for name in ("weight_sum", "residual", "chunks"))
    return [item["reach"] for item in received], cycles


def expected(requests):
    return [
        FARTHEST if t == 0 else max(int(largest_kept_distance(np.array([s]), t)[0]), g) for s, t, g in requests
    ]


def thresholds_around(config):
    """Sums from one weight to the most, thresholds that put the limit on, just below and just above table entries."""
    generator = np.random.default_rng(5)
    most = 65536 * config.max_keys
    requests = []
    for s in [35734, 65535, 65536, 65537, most - 1, most, *generator.integers(35734, most, 12).tolist()]:
        limits = [0, 1, 2, 3, 32767, 32768, 35733, 35734, 60097, 65534, 65535, 65536, 65537]
        limits += (2 ** generator.uniform(0, 17, 12)).astype(int).tolist()
        exact = [-(-limit * ONE // s) for limit in limits]
        requests += [(s, t + by, 0) for t in exact for by in (-1, 0) if 0 <= t + by < 2 * ONE]
        requests += [(s, t, 0) for t in (0, 1, ONE - 1, ONE, ONE + 1, 2 * ONE - 1)]
    return [(s, t, int(generator.integers(8))) for s, t, _ in requests]


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_reach_is_the_bisected_distance_for_every_kind_of_limit(name):
    requests = thresholds_around(CONFIGS[name])
    received, _ = search("icarus", CONFIGS[name], requests)
    assert received == expected(requests)


def test_reach_is_the_bisected_distance_for_every_limit_of_a_narrow_range():
    """With a sum of 2^16 the limit is T / 256: every limit up to 300 and, in steps of 97, up to above 1.0."""
    limits = [*range(300), *range(300, 66000, 97)]
    requests = [(1 << 16, limit << 8, 0) for limit in limits]
    received, _ = search("icarus", CONFIGS["tiny_tiled"], requests)
    assert received == expected(requests)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("request_stall, result_stall", [(0, 0), (0.9, 0), (0, 0.9), (0.5, 0.5)])
def test_reaches_stay_in_order_whatever_stalls(engine, request_stall, result_stall):
    requests = thresholds_around(CONFIGS["tiny_tiled"])[::23]
    received, _ = search(engine, CONFIGS["tiny_tiled"], requests, request_stall, result_stall)
    assert received == expected(requests)


def test_a_search_takes_fifteen_cycles():
    requests = thresholds_around(CONFIGS["tiny_tiled"])[:40]
    _, cycles = search("myhdl", CONFIGS["tiny_tiled"], requests)
    assert SEARCH_CYCLES == 14
    assert cycles <= 40 * (SEARCH_CYCLES + 1) + 6
