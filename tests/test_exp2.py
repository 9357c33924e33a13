"""Both exponentials give the golden model's bits for every distance."""

import numpy as np
import pytest
from myhdl import Signal, always, block, intbv

from golden import exp2 as golden
from golden.config import CONFIGS, DISTANCE_BITS, PROBABILITY_FRACTION, SCORE_FRACTION, WEIGHT_FRACTION
from hdl.exp2 import PROBABILITY_CYCLES, WEIGHT_CYCLES, probability, weight
from tests.cosimulation import ENGINES, make, run


def powers(engine, definition, distances, distance_bits, power_bits, latency):
    """What the pipeline makes of distances, one a cycle."""
    clk = Signal(False)
    distance, power = Signal(intbv(0)[distance_bits:]), Signal(intbv(0)[power_bits:])
    seen = []
    cycle = 0

    @block
    def bench():
        @always(clk.posedge)
        def feed():
            nonlocal cycle
            distance.next = int(distances[cycle % len(distances)])
            seen.append(int(power))
            cycle += 1

        return feed

    run(
        clk,
        None,
        [make(engine, definition, clk, distance, power), bench()],
        until=lambda: cycle > len(distances) + latency + 1,
        max_cycles=100000,
    )
    return seen[latency + 1 : latency + 1 + len(distances)]


@pytest.mark.parametrize("engine", ENGINES)
def test_weight_of_every_distance(engine):
    distances = np.random.default_rng(1).permutation(1 << DISTANCE_BITS)
    received = powers(engine, weight, distances, DISTANCE_BITS, WEIGHT_FRACTION + 1, WEIGHT_CYCLES)
    assert received == golden.weight(distances).tolist()


@pytest.mark.parametrize("engine", ENGINES)
def test_probability_of_every_distance_that_matters_and_some_beyond(engine):
    """Distances up to the widest that a score can have below its maximum; one is as good as zero there."""
    bits = CONFIGS["bert_tiled"].maximum_bits + SCORE_FRACTION + 1
    generator = np.random.default_rng(2)
    near = np.arange(14 << SCORE_FRACTION)
    far = [15 << SCORE_FRACTION, (16 << SCORE_FRACTION) - 1, 16 << SCORE_FRACTION, (1 << bits) - 1, 1 << (bits - 1)]
    distances = generator.permutation(np.concatenate([near, far, generator.integers(0, 1 << bits, 500)]))
    received = powers(engine, probability, distances, bits, PROBABILITY_FRACTION + 1, PROBABILITY_CYCLES)
    assert received == golden.probability(distances).tolist()
