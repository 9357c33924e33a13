"""The quantizer gives golden levels and exponents, and everything else comes out in its place."""

import numpy as np
import pytest
from myhdl import Signal

from golden.config import CONFIGS
from golden.quantizer import quantize_rows
from hdl.quantizer import levels_stream, quantizer, rows_stream
from tests.cosimulation import ENGINES, collect, drive, make, run

TINY = CONFIGS["tiny_tiled"]
SHAPES = {
    "tiny": TINY,
    "one_beat": TINY.replace(stream_bits=128),
    "three_bits": TINY.replace(prediction_bits=3),
    "four_beats": TINY.replace(d=32),
}


def row_beats(row, config, **places):
    """Beats of one row of int8, and what should come of them."""
    levels, exponents = quantize_rows(row[None], config, places["predict_dims"])
    sent, expected = [], []
    for beat in range(config.row_beats):
        part = slice(beat * config.stream_bytes, (beat + 1) * config.stream_bytes)
        places = {**places, "last": int(beat == config.row_beats - 1)}
        sent.append({"data": int.from_bytes(row[part].tobytes(), "little"), **places})
        word = 0
        for i, level in enumerate(levels[0, part].tolist()):
            code = abs(level) | (level < 0) << (config.prediction_bits - 1)
            word |= code << (i * config.prediction_bits)
        expected.append({"levels": word, "exponent": int(exponents[0]), **places})
    return sent, expected


def traffic(config, rows, seed=1, marker_every=5):
    """Rows of every size of number, with other predict_dims for each, and markers between them."""
    generator = np.random.default_rng(seed)
    sent, expected = [], []
    for index in range(rows):
        limit = 1 << int(generator.integers(0, 8))
        row = generator.integers(-limit, min(limit, 127), config.d, endpoint=True).astype(np.int8)
        if index % 7 == 0:  # only the ends of a row, so that a limit in the wrong place shows
            row[1:-1] = 0
        places = dict(
            predict_dims=int(generator.integers(1, config.d, endpoint=True)),
            marker=0,
            query=int(generator.integers(2)),
            key_set=int(generator.integers(2)),
            index=int(generator.integers(config.max_keys)),
            count=int(generator.integers(config.predict_queries + 1)),
            head_last=int(generator.integers(2)),
        )
        one_sent, one_expected = row_beats(row, config, **places)
        sent += one_sent
        expected += one_expected
        if index % marker_every == marker_every - 1:
            for _ in range(1 + index % 2):
                marker = dict(data=int(generator.integers(2**32)), marker=1, last=int(generator.integers(2)),
                              query=0, key_set=1, index=3, predict_dims=2, count=index % 3, head_last=1)  # fmt: skip
                sent.append(marker)
                expected.append({**marker, "levels": None, "exponent": None})
    return sent, expected


def same(received, expected):
    """Equal but for the operands of markers."""
    for item, wanted in zip(received, expected, strict=True):
        ignored = ("levels", "exponent", "data") if wanted["marker"] else ("data",)
        assert {k: v for k, v in item.items() if k not in ignored} == {
            k: v for k, v in wanted.items() if k not in ignored
        }


def simulate(engine, config, sent, inp_stall=0.0, out_stall=0.0):
    clk, reset, rows, levels = Signal(False), Signal(False), rows_stream(config), levels_stream(config)
    received = []
    cycles = run(
        clk,
        reset,
        [
            make(engine, quantizer, clk, reset, rows, levels, config=config),
            drive(clk, rows, sent, inp_stall, seed=3),
            collect(clk, levels, received, stall_probability=out_stall, seed=4),
        ],
        until=lambda: len(received) >= len(sent),
    )
    return received, cycles


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("inp_stall, out_stall", [(0, 0), (0.6, 0), (0, 0.6), (0.4, 0.4)])
def test_levels_are_golden_and_in_order_whatever_stalls(engine, inp_stall, out_stall):
    sent, expected = traffic(TINY, 60)
    same(simulate(engine, TINY, sent, inp_stall, out_stall)[0], expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_levels_are_golden_for_other_shapes(shape):
    sent, expected = traffic(SHAPES[shape], 60, seed=2)
    same(simulate("icarus", SHAPES[shape], sent, 0.1, 0.1)[0], expected)


def test_every_operand_is_golden_against_every_row_maximum():
    sent, expected = [], []
    places = dict(predict_dims=TINY.d, marker=0, query=0, key_set=0, index=0, count=0, head_last=0)
    for largest in [1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 127, -128]:
        bound = min(abs(largest), 127)
        values = np.arange(-bound, bound + 1)
        values = np.resize(values, -(-len(values) // (TINY.d - 1)) * (TINY.d - 1)).reshape(-1, TINY.d - 1)
        for row in np.insert(values, 3, largest, axis=1).astype(np.int8):
            one_sent, one_expected = row_beats(row, TINY, **places)
            sent += one_sent
            expected += one_expected
    same(simulate("icarus", TINY, sent)[0], expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_beat_a_cycle_goes_through(shape):
    sent, _ = traffic(SHAPES[shape], 60)
    assert simulate("myhdl", SHAPES[shape], sent)[1] <= len(sent) + SHAPES[shape].row_beats + 12


@pytest.mark.parametrize("engine", ENGINES)
def test_the_last_row_leaves_without_another_beat_behind_it(engine):
    sent, expected = traffic(TINY, 1)
    same(simulate(engine, TINY, sent)[0], expected)
