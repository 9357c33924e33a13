"""Frames on the output: one a head; a head that was cut short is dropped whole, or its frame ends at once."""

import pytest
from myhdl import Signal, block, instance, intbv

from golden.config import CONFIGS
from hdl.normalizer import output_rows_stream
from hdl.output import output
from hdl.stream import AxiStream
from tests.cosimulation import ENGINES, RESET_CYCLES, collect, drive, make, run

CONFIG = CONFIGS["tiny_tiled"]
END = dict(tdata=0, tlast=1, tuser=1)


def head_beats(tag, rows, config=CONFIG):
    beats = rows * config.output_beats
    return [
        dict(data=tag << 32 | i + 1, tag=tag, key_set=tag & 1, head_last=i == beats - 1,
             row_last=(i + 1) % config.output_beats == 0)
        for i in range(beats)
    ]  # fmt: skip


def frame_beats(tag, rows):
    return [dict(tdata=beat["data"], tlast=beat["head_last"], tuser=0) for beat in head_beats(tag, rows)]


def frames_of(items, engine="icarus", script=None, done_count=0, stall=0.0, source_stall=0.0, seed=0, config=CONFIG):
    """Beats on the frame, key sets of ``head_done``, cycles that ``stall_out`` counts and should count.

    script: function of the test bench's signals that makes a process: it sends rows itself if ``items`` is None.
    """
    clk, reset, rows_out, frame = Signal(False), Signal(False), output_rows_stream(config), AxiStream(config.stream_bits)
    poison_valid, poison_tag = Signal(False), Signal(intbv(0)[4:])
    head_done, key_set, stall_out = Signal(False), Signal(False), Signal(False)
    received, done, stalls = [], [], []

    @block
    def watch():
        @instance
        def process():
            while True:
                yield clk.posedge
                if head_done:
                    done.append(int(key_set))
                assert bool(stall_out) == bool(frame.tvalid and not frame.tready)
                stalls.append(int(stall_out))

        return process

    parts = [
        make(engine, output, clk, reset, rows_out, frame, poison_valid, poison_tag, head_done, key_set, stall_out,
             config=config),
        watch(),
    ]  # fmt: skip
    if items is not None:
        parts.append(drive(clk, rows_out, items, source_stall, seed=seed))
    if script is None:
        parts.append(collect(clk, frame, received, stall_probability=stall, seed=seed + 1))
    else:
        parts.append(script(clk, rows_out, frame, poison_valid, poison_tag, received))
    run(clk, reset, parts, until=lambda: len(done) >= done_count)
    return received, done, stalls


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_each_head_is_a_frame(engine, stall):
    lengths = [1, 3, 2, 1, 4]
    items = [beat for tag, rows in enumerate(lengths) for beat in head_beats(tag, rows)]
    received, done, stalls = frames_of(items, engine, done_count=len(lengths), stall=stall, source_stall=stall, seed=3)
    assert received == [beat for tag, rows in enumerate(lengths) for beat in frame_beats(tag, rows)]
    assert done == [tag & 1 for tag in range(len(lengths))]
    assert any(stalls) == (stall > 0)


def test_one_beat_a_cycle():
    items = [beat for tag in range(4) for beat in head_beats(tag, 4)]
    _, _, stalls = frames_of(items, done_count=4)
    assert len(stalls) <= len(items) + RESET_CYCLES + 6


def scripted(steps):
    """A sink and a poison source that act at given numbers of accepted beats.

    steps: function of (send, poison, accept, wait) that yields clock edges.
    """

    @block
    def bench(clk, rows_out, frame, poison_valid, poison_tag, received):
        def sample():
            if frame.tvalid and frame.tready:
                received.append(dict(tdata=int(frame.tdata), tlast=int(frame.tlast), tuser=int(frame.tuser)))

        def wait(cycles=1):
            for _ in range(cycles):
                yield clk.posedge
                sample()

        def send(beats):
            for beat in beats:
                rows_out.valid.next = True
                for name, value in beat.items():
                    getattr(rows_out, name).next = value
                yield from wait()
                while not rows_out.ready:
                    yield from wait()
            rows_out.valid.next = False

        def poison(tag):
            poison_valid.next, poison_tag.next = True, tag
            yield from wait()
            poison_valid.next, poison_tag.next = False, 0

        def ready(is_ready):
            frame.tready.next = is_ready

        @instance
        def process():
            yield from wait(RESET_CYCLES + 1)
            yield from steps(send, poison, ready, wait, received)
            yield from wait(1000)

        return process

    return bench


@pytest.mark.parametrize("engine", ENGINES)
def test_a_head_poisoned_before_its_first_beat_leaves_nothing(engine):
    def steps(send, poison, ready, wait, received):
        ready(True)
        yield from poison(1)
        yield from poison(2)
        for tag in range(4):
            yield from send(head_beats(tag, 2))

    received, done, _ = frames_of(None, engine, scripted(steps), done_count=4)
    assert received == frame_beats(0, 2) + frame_beats(3, 2)
    assert done == [0, 1, 0, 1]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_frame_ends_at_once_when_its_head_is_poisoned(engine):
    """Also while no further row comes; and the next head, and the next with this tag, are whole."""

    def steps(send, poison, ready, wait, received):
        ready(True)
        yield from send(head_beats(5, 1))
        beats = head_beats(6, 3)
        yield from send(beats[:3])
        yield from wait(8)
        assert received[-1] == frame_beats(6, 3)[2]
        yield from poison(6)
        yield from wait(4)
        assert received[-1] == END
        yield from send(beats[3:] + head_beats(7, 1) + head_beats(6, 1))

    received, done, _ = frames_of(None, engine, scripted(steps), done_count=4)
    assert received == frame_beats(5, 1) + frame_beats(6, 3)[:3] + [END] + frame_beats(7, 1) + frame_beats(6, 1)
    assert done == [1, 0, 1, 0]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_offered_beat_stays_when_its_head_is_poisoned(engine):
    def steps(send, poison, ready, wait, received):
        ready(False)
        yield from send(head_beats(3, 1)[:2])  # one is offered, one waits behind it
        yield from wait(4)
        yield from poison(3)
        yield from wait(4)
        ready(True)
        yield from send(head_beats(3, 1)[2:] + head_beats(4, 1))

    received, _, _ = frames_of(None, engine, scripted(steps), done_count=2)
    assert received == frame_beats(3, 1)[:1] + [END] + frame_beats(4, 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_head_that_waits_behind_another_is_dropped_whole(engine):
    def steps(send, poison, ready, wait, received):
        ready(False)
        yield from send(head_beats(3, 1)[-1:] + head_beats(4, 1)[:1])
        yield from wait(3)
        yield from poison(4)
        yield from wait(3)
        ready(True)
        yield from send(head_beats(4, 1)[1:] + head_beats(5, 1))

    received, done, _ = frames_of(None, engine, scripted(steps), done_count=3)
    assert received == frame_beats(3, 1)[-1:] + frame_beats(5, 1)
    assert done == [1, 0, 1]


@pytest.mark.parametrize("engine", ENGINES)
def test_heads_are_done_in_order(engine):
    """A head that is dropped while the one before it still waits for the sink isn't done before that."""

    def steps(send, poison, ready, wait, received):
        ready(False)
        yield from send(head_beats(3, 1)[-1:])
        yield from poison(4)
        yield from send(head_beats(4, 1)[-1:])
        yield from wait(5)
        ready(True)

    received, done, _ = frames_of(None, engine, scripted(steps), done_count=2)
    assert received == frame_beats(3, 1)[-1:]
    assert done == [1, 0]


def test_poison_in_every_cycle_of_a_frame():
    """Whenever it comes, the frame is missing, or a prefix and the end; the neighbours are whole."""
    for delay in range(24):

        @block
        def bench(clk, rows_out, frame, poison_valid, poison_tag, received):
            @instance
            def process():
                for _ in range(RESET_CYCLES + 1 + delay):
                    yield clk.posedge
                poison_valid.next, poison_tag.next = True, 1
                yield clk.posedge
                poison_valid.next = False

            return process, collect(clk, frame, received, stall_probability=0.4, seed=delay)

        items = head_beats(0, 1) + head_beats(1, 6) + head_beats(2, 1)
        received, done, _ = frames_of(items, "myhdl", bench, done_count=3, source_stall=0.2, seed=delay)
        first, last, middle = frame_beats(0, 1), frame_beats(2, 1), frame_beats(1, 6)
        assert received[: len(first)] == first and received[-len(last) :] == last
        cut = received[len(first) : -len(last)]
        assert cut == [] or cut == middle[: len(cut) - 1] + [END] and len(cut) > 1
        assert done == [0, 1, 0]
