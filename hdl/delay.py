"""Registers in a row, to keep one signal in step with a pipeline."""

from myhdl import always, block

from hdl.hierarchy import module
from hdl.wires import like, wire


@block
def register(clk, source, target):
    @always(clk.posedge)
    def step():
        target.next = source

    return step


@block
def port_register(clk, source, target, names):
    """The signals ``names`` of a port or a stream, a cycle later."""
    return [register(clk, getattr(source, name), getattr(target, name)) for name in names]


@block
def held(clk, enable, source, target):
    """``target`` is what ``source`` was at the last clock edge with ``enable``."""

    @always(clk.posedge)
    def step():
        if enable:
            target.next = source

    return step


@module
def register_copy(clk, source, copy):
    """One of several registers with the same ``source``, each for a part of what reads it (a block's reset): a module, or
    synthesis would make one register of all copies."""
    return register(clk, source, copy)


@block
def far_copy(clk, source, copy):
    """``register_copy`` for a part that is far away: two of them in a row."""
    halfway = like(copy)
    return register_copy(clk, source, halfway), register_copy(clk, halfway, copy)


@module
def register_behind_logic(clk, source, target):
    """A register whose constants are logic: a module, or synthesis would make a clear or a set of them. On ECP5 eight flip-flops
    have that in common, so that a few with one of their own keep others away."""
    return register(clk, source, target)


@block
def port_copy(clk, source, copy, names):
    """The same of the signals ``names`` of a port."""
    return [register_copy(clk, getattr(source, name), getattr(copy, name)) for name in names]


@block
def cleared_register(clk, reset, source, target):
    """``target`` is ``source`` of the cycle before, or 0 if there was ``reset``. The clear takes no look-up table, but on ECP5 eight
    flip-flops have it in common: it is for many bits side by side."""

    @always(clk.posedge)
    def step():
        if reset:
            target.next = 0
        else:
            target.next = source

    return step


@block
def delayed(clk, source, target, cycles, reset=None):
    """``target`` is ``source`` of ``cycles`` (perhaps no) cycles ago; with ``reset`` all registers in between clear."""
    if cycles == 0:
        return wire(source, target)
    stages = [source] + [like(target) for _ in range(cycles - 1)] + [target]
    if reset is None:
        return [register(clk, stages[i], stages[i + 1]) for i in range(cycles)]
    return [cleared_register(clk, reset, stages[i], stages[i + 1]) for i in range(cycles)]


@block
def stream_register(clk, reset, source, target):
    """The items of a stream that nobody stops, a cycle later."""
    return [
        cleared_register(clk, reset, source.valid, target.valid),
        port_register(clk, source, target, source.fields),
    ]
