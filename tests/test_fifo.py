"""Stream buffers lose, repeat and reorder nothing, whatever stalls."""
import random

import pytest
from myhdl import Signal, always, block

from hdl.fifo import fifo, half_slice, register_slice, spread_fifo
from hdl.hierarchy import module
from hdl.stream import Bits, Flag, Signed, Stream
from tests.cosimulation import ENGINES, collect, collect_behind, drive, make, run

STALLS = [(0, 0), (0.5, 0), (0, 0.5), (0.7, 0.2), (0.2, 0.7)]


def streams():
    inp = Stream(score=Signed(12), key=Bits(9), last=Flag())
    return Signal(False), Signal(False), inp, inp.like()


def items(count, seed=0):
    generator = random.Random(seed)
    return [{"score": generator.randrange(-2048, 2048), "key": generator.randrange(512), "last": generator.randrange(2)}
            for _ in range(count)]


def transfer(engine, buffer, count, inp_stall=0, out_stall=0, **parameters):
    clk, reset, inp, out = streams()
    sent, received = items(count), []
    cycles = run(clk, reset,
                 [make(engine, buffer, clk, reset, inp, out, **parameters),
                  drive(clk, inp, sent, inp_stall, seed=1),
                  collect(clk, out, received, stall_probability=out_stall, seed=2)],
                 until=lambda: len(received) >= count)
    assert received == sent
    return cycles


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("inp_stall, out_stall", STALLS)
@pytest.mark.parametrize("depth", [2, 16])
def test_fifo_keeps_every_item_in_order(engine, inp_stall, out_stall, depth):
    transfer(engine, fifo, 200, inp_stall, out_stall, depth=depth)


@module
def spread_alone(clk, reset, inp, out, key, last, depth):
    return spread_fifo(clk, reset, inp, [inp.key, inp.last], out, [key, last], depth)


@block
def takes(clk, ready, stall, seed):
    generator = random.Random(seed)

    @always(clk.posedge)
    def step():
        ready.next = generator.random() >= stall

    return step


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("inp_stall, out_stall", STALLS)
@pytest.mark.parametrize("depth", [2, 16])
def test_parts_of_a_spread_fifo_are_a_cycle_behind_in_order(engine, inp_stall, out_stall, depth):
    clk, reset, inp, _ = streams()
    out, key, last = Stream(), Bits(9).signal(), Bits(1).signal()
    sent, keys, lasts = items(200), [], []
    cycles = run(clk, reset,
                 [make(engine, spread_alone, clk, reset, inp, out, key, last, depth=depth),
                  drive(clk, inp, sent, inp_stall, seed=1), takes(clk, out.ready, out_stall, seed=2),
                  collect_behind(clk, out, key, keys), collect_behind(clk, out, last, lasts)],
                 until=lambda: len(keys) >= 200)
    assert (keys, lasts) == ([item["key"] for item in sent], [item["last"] for item in sent])
    assert inp_stall or out_stall or cycles <= 200 + 9


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("inp_stall, out_stall", STALLS)
def test_register_slice_keeps_every_item_in_order(engine, inp_stall, out_stall):
    transfer(engine, register_slice, 200, inp_stall, out_stall)


@module
def slice_alone(clk, reset, inp, out):
    return half_slice(clk, reset, inp, out)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("inp_stall, out_stall", STALLS)
def test_half_slice_keeps_every_item_in_order(engine, inp_stall, out_stall):
    transfer(engine, slice_alone, 200, inp_stall, out_stall)


def test_an_item_goes_through_half_slice_every_second_cycle():
    assert 2 * 200 <= transfer("myhdl", half_slice, 200) <= 2 * 200 + 8


@pytest.mark.parametrize("buffer, parameters", [(fifo, {"depth": 4}), (register_slice, {})])
def test_an_item_a_cycle_goes_through(buffer, parameters):
    assert transfer("myhdl", buffer, 200, **parameters) <= 200 + 8


@pytest.mark.parametrize("engine", ENGINES)
def test_fifo_holds_depth_items_and_one_more(engine):
    clk, reset, inp, out = streams()
    cycles = 0

    def settled():
        nonlocal cycles
        cycles += 1
        return cycles > 40

    taken = []

    def supply():
        for item in items(30):
            taken.append(item)
            yield item

    run(clk, reset, [make(engine, fifo, clk, reset, inp, out, depth=8), drive(clk, inp, supply())], until=settled)
    assert len(taken) - 1 == 8 + 1              # the last one is offered and not taken


def test_depth_must_be_a_power_of_two():
    with pytest.raises(AssertionError, match="power of two"):
        fifo(*streams(), depth=12)
