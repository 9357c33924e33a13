"""A key's score is golden for every factor, exponent and dot product, the edges of its range included."""

import numpy as np
import pytest
from myhdl import Signal, instance, intbv

from golden.config import CONFIGS, FACTOR_SHIFT_BITS, MANTISSA_BITS, PREDICTED_BITS, PREDICTED_MANTISSA_BITS
from golden.predictor import predict, predicted_mantissa, shift_base
from hdl.score_scaler import LOWEST, SCALER_CYCLES, key_scaler
from tests.cosimulation import ENGINES, make, run


def cases(config, count):
    """(dot, exponents, predicted mantissa, shift, visible); in every other case the score is close to its largest."""
    generator = np.random.default_rng(1)
    limit = config.d * config.max_level**2
    largest = 1 << (PREDICTED_BITS - 1)
    for number in range(count):
        q_exponent, k_exponent = generator.integers(0, 1 << config.exponent_bits, 2).tolist()
        mantissa = int(generator.integers(8, 16))
        shift = int(generator.integers(0, 1 << FACTOR_SHIFT_BITS))
        dot = int(generator.integers(-limit, limit, endpoint=True))
        if number % 2:
            shift = int(generator.integers(0, 12))
            right = shift_base(config) + shift - q_exponent - k_exponent
            near = (largest + generator.uniform(-3, 2)) * generator.choice([-1, 1])
            dot = int(np.clip(round(near * 2.0**right / mantissa), -limit, limit))
        yield dot, q_exponent, k_exponent, mantissa, shift, number % 16 != 0


def expected(dot, q_exponent, k_exponent, mantissa, shift, visible, config):
    if not visible:
        return LOWEST
    full_mantissa = mantissa << (MANTISSA_BITS - PREDICTED_MANTISSA_BITS)
    assert predicted_mantissa(full_mantissa) == mantissa
    one = np.ones((1, 1), int)
    return int(predict(one * dot, one[0] * q_exponent, one, one[0] * k_exponent, full_mantissa, shift, config)[0, 0])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bits, queries", [(2, 4), (4, 3), (8, 1)])
def test_scores_are_golden(engine, bits, queries):
    config = CONFIGS["tiny_tiled"].replace(prediction_bits=bits)
    lead = 1 + max(0, 2 * 7 - shift_base(config))
    base = shift_base(config) + lead - 1
    clk = Signal(False)
    dots = [Signal(intbv(0)[config.predicted_dot_bits :]) for _ in range(queries)]
    query = Signal(intbv(0, min=0, max=max(2, queries)))
    key_exponent = Signal(intbv(0)[3:])
    mantissa, visible = Signal(intbv(0)[PREDICTED_MANTISSA_BITS - 1 :]), Signal(False)
    shift = Signal(intbv(base, min=0, max=base + (1 << FACTOR_SHIFT_BITS)))
    score = Signal(intbv(0, min=LOWEST, max=-LOWEST))
    sent, received = list(cases(config, 1500)), []

    @instance
    def drive():
        for number in range(len(sent) + SCALER_CYCLES):
            if number < len(sent):
                query.next = number % queries
                for other in range(queries):  # other cases for the other queries
                    dots[(number + other) % queries].next = sent[number - other][0] % (1 << config.predicted_dot_bits)
            if 0 <= number - 2 < len(sent):  # this belongs to the second stage from there
                mantissa.next = sent[number - 2][3] % (1 << len(mantissa))
            if 0 <= number - 4 < len(sent):  # these to the second after it
                key_exponent.next = sent[number - 4][2]
                shift.next = base + sent[number - 4][4] - sent[number - 4][1]
            if 0 <= number - SCALER_CYCLES + 1 < len(sent):  # and this to the last one
                visible.next = sent[number - SCALER_CYCLES + 1][5]
            yield clk.posedge
            yield clk.negedge
            if number >= SCALER_CYCLES - 1:
                received.append(int(score))

    ports = (clk, dots, query, mantissa, key_exponent, shift, visible, score)
    scaler = make(engine, key_scaler, *ports, lead=lead)
    run(clk, None, [scaler, drive], until=lambda: len(received) >= len(sent))
    wanted = [expected(*one, config) for one in sent]
    assert -LOWEST - 1 in wanted and LOWEST in wanted
    assert received[: len(sent)] == wanted
