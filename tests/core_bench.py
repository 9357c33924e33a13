"""A bench for the whole core: software's register accesses, frames in, frames out, with stalls and faults.

A scenario is a generator of clock cycles that plays software. It queues descriptors and frames, waits, and looks at
what came out::

    def scenario(bench):
        yield from bench.head(one)              # descriptor and frame, without waiting for anything else
        yield from bench.idle()
        assert bench.take_frames() == [output_frame(one.result.output, bench.config)]

    play(config, "icarus", scenario, stall=0.4, seed=3)
"""

import atexit
import functools
import random
import shutil
import tempfile
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from myhdl import _simulator, always, block, instance

from flows import stimulus
from flows.stimulus import Beat, frame, output_frame
from golden import head as golden
from golden.config import THRESHOLD_FRACTION, Config
from golden.registers import REGISTER_MAP, HeadMode
from hdl.core import core, ports
from tests import cosimulation
from tests.cosimulation import run

T_MAX = 1 << THRESHOLD_FRACTION
OKAY, SLVERR = 0, 2
RESET_CYCLES = 4  # until what is counted, without a reset of its own, is known in Icarus


# Heads -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    """Rows and settings, and what the golden model makes of them. ``k`` and ``v`` of a head with Q alone are those in
    the core."""

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    settings: golden.Settings
    mode: HeadMode
    config: Config

    @functools.cached_property
    def result(self):
        return golden.run(self.q, self.k, self.v, self.settings, self.config)

    @property
    def beats(self):
        """Its input frame."""
        matrices = (self.q,) if self.mode == HeadMode.QUERIES else (self.k, self.v, self.q)
        return frame(self.config, *matrices)

    @property
    def expected(self):
        """Its output frame."""
        return output_frame(self.result.output, self.config)

    @property
    def query_start(self):
        """The beat of its frame that Q begins with."""
        return 0 if self.mode == HeadMode.QUERIES else 2 * len(self.k) * self.config.row_beats

    def push(self, **changes):
        """Script lines that queue its descriptor, some parts of it changed."""
        lines = stimulus.push_descriptor(len(self.q), len(self.k), self.settings, self.config, self.mode)
        for path, value in changes.items():
            register = path.split(".")[0]
            field = REGISTER_MAP.fields[path]
            address = REGISTER_MAP[register].address
            lines = [
                (operation, at, data & ~field.mask | value << field.lsb)
                if (operation, at) == (stimulus.WRITE, address)
                else (operation, at, data)
                for operation, at, data in lines
            ]
        return lines


def random_head(generator, config, n_q=None, n_k=None, keys_of=None, **settings):
    """Rows of all sizes of numbers; now and then zeros, equal rows or extremes.

    Args:
        keys_of: an earlier head whose K and V are used (Q alone).
    """

    def rows(count):
        limit = 1 << int(generator.integers(2, 8))
        made = generator.integers(-limit, min(limit, 127), (count, config.d), endpoint=True)
        kind = generator.integers(0, 12)
        if kind == 0:
            made[:] = made[:1]
        elif kind == 1:
            made[generator.random(count) < 0.5] = 0
        elif kind == 2:
            made = generator.choice([-128, -127, 127], (count, config.d))
        elif kind == 3:
            made[:] = generator.choice([-128, 127, 0])
        return made.astype(np.int8)

    causal = settings.pop("causal", bool(generator.random() < 0.3))
    if keys_of is not None:
        k, v = keys_of.k, keys_of.v
    else:
        n_k = n_k or int(generator.integers(1, config.max_keys, endpoint=True))
        k, v = rows(n_k), rows(n_k)
    n_q = n_q or int(generator.integers(1, 40))
    causal = causal and n_q <= len(k)
    thresholds = [0, 1, T_MAX, T_MAX // len(k), T_MAX // len(k) * 2 % T_MAX, T_MAX // 4]
    made = golden.Settings(
        mantissa=int(generator.integers(1 << 15, 1 << 16)),
        shift=int(generator.integers(0, 14)),
        threshold=thresholds[generator.integers(len(thresholds))],
        causal=causal,
        residual=bool(generator.random() < 0.7),
        predict_dims=int(generator.integers(1, config.d, endpoint=True)),
    )
    mode = HeadMode.KEYS_VALUES_QUERIES
    if keys_of is not None:  # the predictor has the keys quantised with these dimensions
        mode, made = HeadMode.QUERIES, replace(made, predict_dims=keys_of.settings.predict_dims)
    return Head(rows(n_q), k, v, replace(made, **settings), mode, config)


def early(beats, last):
    """The frame cut off after beat ``last``, by its TLAST."""
    return [*beats[:last], Beat(beats[last].data, True)]


def late(beats, more):
    """The frame with ``more`` further beats before its TLAST."""
    return [*(Beat(beat.data, False) for beat in beats), *(Beat(number, number == more - 1) for number in range(more))]


def split_frames(beats):
    """Frames of an output stream, and the beats of one that hasn't ended."""
    frames, current = [], []
    for beat in beats:
        current.append(beat)
        if beat.last:
            frames.append(current)
            current = []
    return frames, current


def is_cut_frame(received, one, sent_beats):
    """Whether a frame that ended with TLAST and TUSER holds, up to there, right rows of queries that had come whole."""
    *rows, end = received
    complete = (sent_beats - one.query_start) // one.config.row_beats
    return (
        end.last
        and end.user
        and not any(beat.last or beat.user for beat in rows)
        and rows == [replace(beat, last=False) for beat in one.expected[: len(rows)]]
        and 0 < len(rows) <= complete * one.config.output_beats
    )


def check_outputs(beats, sent):
    """Every good head came out whole, in order; a head that was cut short came as a cut frame, or not at all.

    Args:
        beats: of the output stream.
        sent: (head, beats of it that were sent if it was cut in Q or None) each; dropped heads left out.
    """
    frames, rest = split_frames(beats)
    assert rest == [], "the last frame doesn't end"
    frames = deque(frames)
    for number, (one, cut_at) in enumerate(sent):
        if cut_at is None:
            assert frames, f"head {number} is missing"
            assert frames.popleft() == one.expected, f"head {number} differs"
        elif frames and is_cut_frame(frames[0], one, cut_at):
            frames.popleft()
    assert not frames, "frames that nobody sent, or cut ones with wrong rows"


# The bench -------------------------------------------------------------------------------------------------------------


class CoreBench:
    """The core's ports with a source, a sink, and software; see the module."""

    def __init__(self, config, stall=0.0, seed=1):
        self.config, self.stall = config, stall
        self.clk, self.reset, self.input, self.output, self.axi = ports(config)
        self.random = random.Random(seed)
        self.to_send = deque()
        self.received = []
        self.holding = True  # the output must keep what it offers
        self._send = True

    # Streams.

    def _stalled(self):
        return self.random.random() < self.stall

    @block
    def streams(self):
        clk, source, sink = self.clk, self.input, self.output

        @instance
        def send():
            while True:
                while self._stalled() or not self.to_send or not self._send:
                    yield clk.posedge
                beat = self.to_send.popleft()
                source.tdata.next, source.tlast.next, source.tvalid.next = beat.data, beat.last, True
                yield clk.posedge
                while not source.tready and self._send:
                    yield clk.posedge
                source.tvalid.next = False
                source.tdata.next = self.random.getrandbits(self.config.stream_bits)
                source.tlast.next = self._stalled()

        waiting = [None]

        @always(clk.posedge)
        def receive():
            sink.tready.next = not self._stalled()
            beat = Beat(int(sink.tdata), bool(sink.tlast), bool(sink.tuser)) if sink.tvalid else None
            if self.holding:
                assert waiting[0] is None or beat == waiting[0], f"offered {waiting[0]}, then {beat}"
                if beat and sink.tready:
                    self.received.append(beat)
            waiting[0] = None if sink.tready or not self.holding else beat

        return send, receive

    def take_frames(self):
        """Frames that came out since the last call; none may be open."""
        frames, rest = split_frames(self.received)
        assert rest == [], "the last frame doesn't end"
        self.received.clear()
        return frames

    # Register accesses.

    def _late(self):
        return self.random.randrange(4) if self._stalled() else 0

    def write(self, address, data, strobe=15):
        """A write; gives the response."""
        axi, cycle = self.axi, 0
        address_at, data_at = self._late(), self._late()
        address_taken = data_taken = False
        while True:
            axi.awvalid.next, axi.awaddr.next = cycle >= address_at and not address_taken, address
            axi.wvalid.next = cycle >= data_at and not data_taken
            axi.wdata.next, axi.wstrb.next = data, strobe
            axi.bready.next = not self._stalled()
            yield self.clk.posedge
            cycle += 1
            address_taken = address_taken or bool(axi.awvalid and axi.awready)
            data_taken = data_taken or bool(axi.wvalid and axi.wready)
            if axi.bvalid and axi.bready:
                axi.bready.next = axi.awvalid.next = axi.wvalid.next = False
                return int(axi.bresp)

    def read_any(self, address):
        """A read; gives response and data."""
        axi, cycle, taken = self.axi, 0, False
        at = self._late()
        while True:
            axi.arvalid.next, axi.araddr.next = cycle >= at and not taken, address
            axi.rready.next = not self._stalled()
            yield self.clk.posedge
            cycle += 1
            taken = taken or bool(axi.arvalid and axi.arready)
            if axi.rvalid and axi.rready:
                axi.rready.next = axi.arvalid.next = False
                return int(axi.rresp), int(axi.rdata)

    def put(self, path, data):
        """Write a register of the map."""
        response = yield from self.write(REGISTER_MAP[path].address, data)
        assert response == OKAY, path

    def get(self, path):
        """Read a register of the map."""
        response, data = yield from self.read_any(REGISTER_MAP[path].address)
        assert response == OKAY, path
        return data

    def field(self, path):
        """Read a field of the map."""
        field = REGISTER_MAP.fields[path]
        word = yield from self.get(path.split(".")[0])
        return (word & field.mask) >> field.lsb

    # What software does.

    def script(self, lines):
        """Lines of ``flows.stimulus``, except those that wait for output."""
        for operation, address, data in lines:
            if operation == stimulus.WRITE:
                assert (yield from self.write(address, data)) == OKAY
            else:
                assert operation == stimulus.POLL
                while (yield from self.read_any(address))[1] & data:
                    pass

    def head(self, one, beats=None, **changes):
        """Queue a head's descriptor (some of its parts changed), and its frame or other beats in its place."""
        self.to_send.extend(one.beats if beats is None else beats)
        yield from self.script(one.push(**changes))

    def idle(self):
        """Until everything that was queued has gone in and come out."""
        while self.to_send or self.input.tvalid:
            yield self.clk.posedge
        status, fields = "STATUS", REGISTER_MAP.fields
        mask = fields["STATUS.busy"].mask | fields["STATUS.queue_level"].mask
        while (yield from self.get(status)) & mask:
            pass
        for _ in range(4):  # the last beat may have been taken in this cycle
            yield self.clk.posedge

    def error(self):
        """The error code, cleared."""
        code = yield from self.get("ERROR")
        yield from self.put("ERROR", 0)
        return code

    def cycles(self, count):
        for _ in range(count):
            yield self.clk.posedge

    def stop_streams(self):
        """Nothing more goes in; what was queued is forgotten, and what comes out is no longer looked at."""
        self._send = self.holding = False
        yield from self.cycles(2)
        self.to_send.clear()

    def start_streams(self):
        self.received.clear()
        self._send = self.holding = True
        yield self.clk.posedge

    def external_reset(self):
        """In the middle of anything."""
        self._send = self.holding = False
        self.reset.next = True
        yield from self.cycles(RESET_CYCLES)
        self.to_send.clear()
        self.reset.next = False
        yield self.clk.posedge
        yield from self.start_streams()

    def soft_reset(self):
        yield from self.stop_streams()
        yield from self.put("CONTROL", 1 | REGISTER_MAP.fields["CONTROL.enable_counters"].mask)
        yield from self.cycles(4)
        yield from self.start_streams()


@functools.cache
def _compiled(config):
    """Folder with the compiled Verilog of a configuration, and its ports: once for a test process."""
    made = cosimulation.make("icarus", core, *ports(config), config)
    made.kill()
    del _simulator._signals[:]
    atexit.register(shutil.rmtree, made.folder)
    return made.folder


def _icarus(bench):
    compiled = _compiled(bench.config)
    folder = Path(tempfile.mkdtemp(prefix="core-", dir=cosimulation.BUILD / "cosim"))
    shutil.copytree(compiled, folder, dirs_exist_ok=True)
    dut = core.unelaborated(bench.clk, bench.reset, bench.input, bench.output, bench.axi, bench.config)
    return cosimulation._Icarus(folder, **dict(dut.ports))


def play(config, engine, scenario, stall=0.0, seed=1, max_cycles=60000):
    """Run a scenario on the MyHDL model (``myhdl``) or on the converted Verilog in Icarus (``icarus``).

    Raises:
        TimeoutError: it didn't end within ``max_cycles``: something hung.
    """
    bench = CoreBench(config, stall, seed)
    finished = [False]

    @block
    def software():
        @instance
        def steps():
            yield from bench.cycles(RESET_CYCLES + 1)
            yield from scenario(bench)
            finished[0] = True
            while True:
                yield bench.clk.posedge

        return steps

    if engine == "icarus":
        dut = _icarus(bench)
    else:
        dut = core(bench.clk, bench.reset, bench.input, bench.output, bench.axi, config)
    # The scenario drives the reset too, so the bench does it all.
    return run(bench.clk, None, [dut, _power_up(bench), bench.streams(), software()], lambda: finished[0], max_cycles)


@block
def _power_up(bench):
    @instance
    def reset():
        bench.reset.next = True
        yield from bench.cycles(RESET_CYCLES)
        bench.reset.next = False

    return reset
