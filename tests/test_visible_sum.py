"""Running sums of V: steps in any order, four cycles or more apart on a word."""

import random

import numpy as np
import pytest
from myhdl import Signal, block, instance, intbv

from golden.config import CONFIGS
from hdl.visible_sum import VISIBLE_SUM_CYCLES, ValueSumsRead, ValueWrites, VisibleStep, visible_sum
from tests.cosimulation import ENGINES, RESET_CYCLES, make, run

CONFIG = CONFIGS["tiny_tiled"]


@pytest.mark.parametrize("engine", ENGINES)
def test_each_step_leaves_base_and_change(engine, config=CONFIG, steps=600):
    generator = random.Random(1)
    words, lanes = config.d // config.drain_rows, config.drain_rows
    v = np.random.default_rng(2).integers(-128, 128, (2, config.max_keys, config.d))
    v[0, :, 0], v[0, :, 1] = -128, 127
    clk, reset = Signal(False), Signal(False)
    values, value_sums, step = ValueWrites(config), ValueSumsRead(config), VisibleStep(config)
    sums = Signal(intbv(0)[lanes * config.value_sum_bits :])
    checked = []

    @block
    def bench():
        @instance
        def totals():
            while True:
                yield clk.posedge
                key_set, beat = divmod(int(value_sums.address), config.row_beats)
                total = v[key_set].sum(axis=0)[beat * config.stream_bytes :][: config.stream_bytes]
                mask = (1 << config.value_sum_bits) - 1
                value_sums.data.next = sum((int(x) & mask) << (config.value_sum_bits * j) for j, x in enumerate(total))

        @instance
        def stimulus():
            for _ in range(RESET_CYCLES + 1):
                yield clk.posedge
            for key_set in range(2):
                for key in range(config.max_keys):
                    for beat in range(config.row_beats):
                        row = v[key_set, key, beat * config.stream_bytes :][: config.stream_bytes]
                        values.enable.next = True
                        values.address.next = (key_set * config.max_keys + key) * config.row_beats + beat
                        values.data.next = int.from_bytes(row.astype(np.int8).tobytes(), "little")
                        yield clk.posedge
            values.enable.next = False
            running, expected, last_use = np.zeros(config.d, dtype=np.int64), [], {}
            limit = 1 << (config.value_sum_bits - 1)
            for cycle in range(steps):
                free = [w for w in range(words) if cycle - last_use.get(w, -9) >= 4]
                word = generator.choice(free)
                valid, total, key_set = generator.random() < 0.8, generator.random() < 0.5, generator.randrange(2)
                restart = generator.random() < 0.1 or cycle < 8
                if cycle < words:  # nothing is in the sums before their restart
                    word, valid, restart = cycle, True, True
                change, key = generator.choice((-1, 0, 1)), generator.randrange(config.max_keys)
                here = slice(word * lanes, (word + 1) * lanes)
                base = v[key_set].sum(axis=0)[here] * total if restart else running[here]
                if (abs(base + change * v[key_set, key, here]) >= limit).any():
                    change = 0
                result = base + change * v[key_set, key, here]
                if valid:
                    running[here] = result
                    last_use[word] = cycle
                expected.append(result.tolist())
                step.valid.next, step.word.next, step.restart.next, step.total.next = valid, word, restart, total
                step.add.next, step.subtract.next = change > 0, change < 0
                step.key_set.next, step.key.next = key_set, key
                yield clk.posedge
                if cycle >= VISIBLE_SUM_CYCLES:
                    bits = config.value_sum_bits
                    found = [int(sums) >> (bits * lane) & ((1 << bits) - 1) for lane in range(lanes)]
                    found = [x - (x >> (bits - 1) << bits) for x in found]
                    assert found == expected[cycle - VISIBLE_SUM_CYCLES], f"step {cycle - VISIBLE_SUM_CYCLES}"
                    checked.append(cycle)

        return totals, stimulus

    run(clk, reset, [make(engine, visible_sum, clk, reset, values, value_sums, step, sums, config=config), bench()],
        until=lambda: len(checked) == steps - VISIBLE_SUM_CYCLES)  # fmt: skip
