"""The register block keeps what the register map says, and so do the C header and the page made from it."""

import random
import re
import subprocess
from dataclasses import astuple, replace

import pytest
from myhdl import Signal, block, instance, intbv

from flows.registers import HEADER, MARKDOWN, header, markdown
from golden.config import named
from golden.registers import (
    DESCRIPTOR_FIELDS,
    REGISTER_MAP,
    WORD_BITS,
    Descriptor,
    ErrorCode,
    HeadMode,
    counter_steps,
)
from hdl.counters import CounterRead, Events, counters
from hdl.register_bus import OKAY, SLVERR
from hdl.registers import (
    QUEUE_ITEMS,
    CoreStatus,
    build_parameters,
    control_port,
    descriptor_stream,
    first_error,
    registers,
)
from hdl.stream import AxiLite
from tests.cosimulation import ENGINES, RESET_CYCLES, make, run

CONFIG = named("tiny")
STALLS = [0, 0.6]
ALL_BYTES = 0xF
GOOD = Descriptor(
    n_q=5, n_k=7, mantissa=0xC000, shift=3, threshold=1 << 20, causal=0, residual=1, predict_dims=8, mode=0
)


class Model:
    """The register block between two transactions, straight from the register map."""

    def __init__(self, config):
        self.config = config
        self.constants = build_parameters(config)
        self.reset()

    def reset(self):
        self.stored, self.events = {}, dict.fromkeys(REGISTER_MAP.counters, 0)
        for path, field in REGISTER_MAP.fields.items():
            if field.hardware == "na":
                self.constants[path] = field.reset
            elif field.writable and not field.pulse and not field.clears:
                self.stored[path] = self.constants[field.reset] if isinstance(field.reset, str) else field.reset
        self.high = dict.fromkeys(REGISTER_MAP.counters, 0)
        self.code, self.errors, self.queue, self.busy, self.keys_valid = 0, 0, [], 0, 0

    def raise_error(self, code):
        self.code = self.code or int(code)
        self.errors = min(self.errors + 1, REGISTER_MAP.fields["ERROR_COUNT.count"].mask)

    def count(self, step):
        if self.stored["CONTROL.enable_counters"]:
            for counter, number in step.items():
                self.events[counter] += number

    def descriptor(self):
        return Descriptor(**{part: self.stored[path] for part, path in DESCRIPTOR_FIELDS.items()})

    def _at(self, address):
        return next((register for register in REGISTER_MAP if register.address == address & ~3), None)

    def write(self, address, data, strobe):
        register = self._at(address)
        if register is None or not register.writable:
            self.raise_error(ErrorCode.BAD_ADDRESS)
            return SLVERR
        mask = sum(0xFF << 8 * byte for byte in range(4) if strobe >> byte & 1)
        for field in register.fields:
            new, enabled = (data & field.mask) >> field.lsb, (mask & field.mask) >> field.lsb
            if field.pulse and new & enabled:
                getattr(self, field.path.replace(".", "_"))()
            elif field.clears and enabled & 1:
                self.code = 0
            elif field.path in self.stored:
                self.stored[field.path] = self.stored[field.path] & ~enabled | new & enabled
        return OKAY

    def CONTROL_soft_reset(self):
        self.queue = []

    def CONTROL_clear_counters(self):
        self.events, self.high, self.errors = dict.fromkeys(self.events, 0), dict.fromkeys(self.high, 0), 0

    def COMMIT_push(self):
        if len(self.queue) == QUEUE_ITEMS:
            self.raise_error(ErrorCode.QUEUE_FULL)
        else:
            self.queue.append(self.descriptor())

    def read(self, address):
        register = self._at(address)
        if register is None or not register.readable:
            self.raise_error(ErrorCode.BAD_ADDRESS)
            return SLVERR, 0
        counter, _, half = register.path.partition(".")
        if half == "LO":
            self.high[counter] = self.events[counter] >> WORD_BITS
            return OKAY, self.events[counter] & 0xFFFFFFFF
        if half == "HI":
            return OKAY, self.high[counter]
        hardware = {
            "STATUS.busy": self.busy,
            "STATUS.keys_valid": self.keys_valid,
            "STATUS.error": int(self.code != 0),
            "STATUS.queue_full": int(len(self.queue) == QUEUE_ITEMS),
            "STATUS.queue_level": len(self.queue),
            "ERROR.code": self.code,
            "ERROR_COUNT.count": self.errors,
        }
        values = hardware | self.constants | self.stored
        return OKAY, sum(values[field.path] << field.lsb for field in register.fields if field.readable)


def item(descriptor, config):
    """The descriptor as it leaves the queue, or only what is wrong with it."""
    bad = descriptor.fault(config)
    return {"bad": int(bad)} if bad else {**vars(descriptor), "bad": int(ErrorCode.NONE)}


class Bench:
    """A register block, and what software and core do to it: actions, one after the other, as generators of cycles."""

    def __init__(self, stall=0, seed=0, config=CONFIG, axi=None):
        self.config, self.stall, self.random = config, stall, random.Random(seed)
        self.clk, self.reset = Signal(False), Signal(False)
        self.axi = axi or control_port()
        self.stream, self.status, self.events = descriptor_stream(config), CoreStatus(), Events(config)
        self.model = Model(config)
        self.soft_resets = 0

    def run(self, engine, script, own_reset=False, beside=(), max_cycles=60000):
        """Run `script` (a generator of clock cycles), after a reset unless the script drives `reset` on its own."""
        finished = False

        @block
        def software():
            @instance
            def steps():
                nonlocal finished
                for _ in range(RESET_CYCLES + 1):
                    yield self.clk.posedge
                yield from script
                finished = True
                while True:
                    yield self.clk.posedge

            return steps

        dut = make(
            engine, registers, self.clk, self.reset, self.axi, self.stream, self.status, self.events, self.config
        )
        reset = None if own_reset else self.reset
        return run(self.clk, reset, [dut, software(), self._monitor(), *beside], lambda: finished, max_cycles)

    @block
    def _monitor(self):
        """Every offer stays until it is taken."""
        axi = self.axi

        @instance
        def watch():
            before = None
            while True:
                yield self.clk.posedge
                now = [
                    (bool(valid), bool(ready), [int(part) for part in parts])
                    for valid, ready, parts in (
                        (axi.bvalid, axi.bready, (axi.bresp,)),
                        (axi.rvalid, axi.rready, (axi.rresp, axi.rdata)),
                    )
                ]
                for (was_valid, was_ready, was), (valid, _, parts) in zip(before or now, now):
                    assert self.reset or not was_valid or was_ready or (valid and parts == was), "offer withdrawn"
                before = None if self.reset else now
                self.soft_resets += int(self.status.soft_reset)

        return watch

    def _late(self):
        return self.random.randrange(5) if self.random.random() < self.stall else 0

    def _patient(self):
        return self.random.random() >= self.stall

    def write(self, address, data, strobe=ALL_BYTES):
        """One write; address and data come in any order."""
        axi, clk = self.axi, self.clk
        address_at, data_at, cycle = self._late(), self._late(), 0
        address_taken = data_taken = False
        while True:
            axi.awvalid.next = cycle >= address_at and not address_taken
            axi.wvalid.next = cycle >= data_at and not data_taken
            axi.awaddr.next = address if cycle >= address_at and not address_taken else 0
            axi.wdata.next = data if cycle >= data_at and not data_taken else 0
            axi.wstrb.next = strobe if cycle >= data_at and not data_taken else 0
            axi.bready.next = self._patient()
            yield clk.posedge
            cycle += 1
            if axi.bvalid:
                assert address_taken and data_taken, "an answer before the question"
            address_taken = address_taken or bool(axi.awvalid and axi.awready)
            data_taken = data_taken or bool(axi.wvalid and axi.wready)
            if axi.bvalid and axi.bready:
                axi.bready.next = False
                return int(axi.bresp)

    def read(self, address):
        axi, clk = self.axi, self.clk
        at, cycle, taken = self._late(), 0, False
        while True:
            axi.arvalid.next = cycle >= at and not taken
            axi.araddr.next = address if cycle >= at and not taken else 0
            axi.rready.next = self._patient()
            yield clk.posedge
            cycle += 1
            if axi.rvalid:
                assert taken, "an answer before the question"
            taken = taken or bool(axi.arvalid and axi.arready)
            if axi.rvalid and axi.rready:
                axi.rready.next = False
                return int(axi.rresp), int(axi.rdata)

    # Actions that are checked against the model.

    def checked_write(self, address, data, strobe=ALL_BYTES):
        response = yield from self.write(address, data, strobe)
        assert response == self.model.write(address, data, strobe), f"write {address:#x}"

    def checked_read(self, address):
        answer = yield from self.read(address)
        expected = self.model.read(address)
        assert answer == expected, f"read {address:#x}: {answer}, expected {expected}"

    def put(self, path, data):
        yield from self.checked_write(REGISTER_MAP[path].address, data)

    def get(self, path):
        yield from self.checked_read(REGISTER_MAP[path].address)

    def commit(self, descriptor):
        words = list(descriptor.words().items())
        self.random.shuffle(words)
        for path, word in words:
            yield from self.put(path, word)
        yield from self.put("COMMIT", 1)

    def pop(self):
        """Take what the queue offers."""
        for _ in range(4):
            yield self.clk.posedge
        if not self.model.queue:
            assert not self.stream.valid
            return
        assert self.stream.valid
        expected = item(self.model.queue.pop(0), self.config)
        assert {name: int(getattr(self.stream, name)) for name in expected} == expected
        self.stream.ready.next = True
        yield self.clk.posedge
        self.stream.ready.next = False

    def core_error(self):
        code = self.random.choice(list(ErrorCode)[1:])
        self.status.error_valid.next, self.status.error_code.next = True, int(code)
        yield self.clk.posedge
        self.status.error_valid.next, self.status.error_code.next = False, self.random.randrange(16)
        self.model.raise_error(code)

    def core_state(self):
        self.model.busy, self.model.keys_valid = self.random.randrange(2), self.random.randrange(2)
        self.status.busy.next, self.status.keys_valid.next = bool(self.model.busy), bool(self.model.keys_valid)
        yield self.clk.posedge

    def happen(self, cycles):
        """Random events."""
        steps = counter_steps(self.config)
        for _ in range(cycles):
            step = {name: self.random.choice((0, most, self.random.randint(0, most))) for name, most in steps.items()}
            for counter, number in step.items():
                getattr(self.events, counter.lower()).next = number
            yield self.clk.posedge
            self.model.count(step)
        for counter in steps:
            getattr(self.events, counter.lower()).next = 0


def random_descriptor(generator, config):
    """Mostly legal; often at, and just beyond, a limit."""

    def near(*limits):
        return generator.choice(limits) + generator.choice((0, 0, 0, -1, 1, 1 << 16, 1 << 31)) & 0xFFFFFFFF

    n_k = generator.randint(1, config.max_keys)
    good = Descriptor(
        n_q=generator.choice((1, 65535, n_k, generator.randint(1, 65535))),
        n_k=n_k,
        mantissa=generator.randrange(1 << 15, 1 << 16),
        shift=generator.randrange(32),
        threshold=generator.choice((0, 1, 1 << 24, generator.randrange(1 << 24))),
        causal=0,
        residual=generator.randrange(2),
        predict_dims=generator.randint(1, config.d),
        mode=generator.randrange(2),
    )
    changes = {
        "n_q": near(0, 1, 65535),
        "n_k": near(0, 1, config.max_keys),
        "mantissa": generator.randrange(1 << 16),
        "shift": generator.choice((31, 32, 1 << 15)),
        "threshold": near(0, 1 << 24),
        "causal": 1,
        "predict_dims": near(0, 1, config.d),
        "mode": near(0, 1, 2),
    }
    parts = generator.sample(sorted(changes), generator.choice((0, 1, 1, 2)))
    if "causal" in parts and generator.random() < 0.5:
        parts.append("n_q")
        changes["n_q"] = n_k + generator.choice((-1, 0, 1))
    return replace(good, **{part: changes[part] for part in parts})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stall", STALLS)
def test_random_traffic_agrees_with_the_map(engine, stall):
    bench = Bench(stall, seed=1)
    generator = random.Random(2)
    paths = list(REGISTER_MAP.registers)

    def address():
        where = generator.random()
        if where < 0.1:
            return generator.randrange(1 << REGISTER_MAP.address_bits)
        return REGISTER_MAP[generator.choice(paths)].address + generator.choice((0, 0, 0, 1, 2, 3))

    def script():
        for _ in range(400):
            action = generator.randrange(12)
            if action < 4:
                data = generator.choice((0, 1, 3, 4, generator.getrandbits(32)))
                yield from bench.checked_write(address(), data, generator.choice((ALL_BYTES, generator.randrange(16))))
            elif action < 8:
                yield from bench.checked_read(address())
            elif action == 8:
                yield from bench.pop()
            elif action == 9:
                yield from bench.core_error()
            elif action == 10:
                yield from bench.core_state()
            else:
                yield from bench.happen(generator.randrange(20))
            if generator.random() < 0.1:
                yield from bench.put("ERROR", 0)
        for path in paths:
            yield from bench.checked_read(REGISTER_MAP[path].address)

    bench.run(engine, script())


@pytest.mark.parametrize("engine", ENGINES)
def test_registers_have_the_access_of_the_map_and_nothing_else_is_there(engine):
    """Would catch a register that the hardware forgot, a read-only one that can be written, an alias."""
    bench = Bench()

    def script():
        for address in range(0, 1 << REGISTER_MAP.address_bits, 4):
            yield from bench.checked_read(address)
            yield from bench.put("ERROR", 0)
            for data in (0xFFFFFFFF, 0x00000000, 0xA5A5A5A5):
                if address != REGISTER_MAP["COMMIT"].address:
                    yield from bench.checked_write(address, data)
                    yield from bench.get("ERROR")
                    yield from bench.put("ERROR", 0)
                    yield from bench.checked_read(address)
        bench.model.reset()

    bench.run(engine, script())


@pytest.mark.parametrize("engine", ENGINES)
def test_an_address_beyond_the_map_is_no_alias(engine):
    bench = Bench(axi=AxiLite(12))
    beyond = 1 << REGISTER_MAP.address_bits

    def script():
        for address in (beyond, beyond << 1, beyond + beyond - 4):
            yield from bench.checked_read(address | REGISTER_MAP["N_Q"].address)
            yield from bench.checked_write(address | REGISTER_MAP["N_Q"].address, 99)
            yield from bench.checked_read(address | REGISTER_MAP["CYCLES.LO"].address)
        for path in ("N_Q", "ERROR", "ERROR_COUNT"):
            yield from bench.get(path)

    bench.run(engine, script())
    assert bench.model.code == ErrorCode.BAD_ADDRESS and bench.model.errors == 9


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("config", ["tiny", "bert"])
def test_descriptors_leave_in_order_with_what_is_wrong_with_them(engine, config):
    bench = Bench(seed=3, config=named(config))
    generator = random.Random(4)
    faults = set()

    def script():
        for number in range(80):
            descriptor = random_descriptor(generator, bench.config)
            faults.add(descriptor.fault(bench.config))
            yield from bench.commit(descriptor)
            if number % 3:
                yield from bench.pop()
            if len(bench.model.queue) > QUEUE_ITEMS - 1:
                yield from bench.pop()
        while bench.model.queue:
            yield from bench.pop()
        yield from bench.get("ERROR")  # the loader raises these, when it drains the frame

    bench.run(engine, script())
    assert {fault.name for fault in faults} == {
        "NONE", "BAD_LENGTH", "BAD_MODE", "BAD_FACTOR", "BAD_THRESHOLD", "BAD_PREDICT_DIMS"
    }  # fmt: skip


LIMITS = [
    ({}, "NONE"),
    ({"n_q": 0}, "BAD_LENGTH"),
    ({"n_q": 65535}, "NONE"),
    ({"n_q": 65536}, "BAD_LENGTH"),
    ({"n_q": 65537}, "BAD_LENGTH"),
    ({"n_k": 0}, "BAD_LENGTH"),
    ({"n_k": CONFIG.max_keys}, "NONE"),
    ({"n_k": CONFIG.max_keys + 1}, "BAD_LENGTH"),
    ({"n_k": (1 << 16) + 1}, "BAD_LENGTH"),
    ({"causal": 1, "n_q": 7}, "NONE"),
    ({"causal": 1, "n_q": 8}, "BAD_LENGTH"),
    ({"mantissa": 0x8000, "shift": 31}, "NONE"),
    ({"mantissa": 0x7FFF}, "BAD_FACTOR"),
    ({"shift": 32}, "BAD_FACTOR"),
    ({"threshold": 0}, "NONE"),
    ({"threshold": 1 << 24}, "NONE"),
    ({"threshold": (1 << 24) + 1}, "BAD_THRESHOLD"),
    ({"predict_dims": 0}, "BAD_PREDICT_DIMS"),
    ({"predict_dims": 1}, "NONE"),
    ({"predict_dims": CONFIG.d}, "NONE"),
    ({"predict_dims": CONFIG.d + 1}, "BAD_PREDICT_DIMS"),
    ({"mode": HeadMode.QUERIES}, "NONE"),
    ({"mode": HeadMode.APPEND}, "BAD_MODE"),
    ({"mode": 1 << 31}, "BAD_MODE"),
]


@pytest.mark.parametrize("changes, fault", LIMITS)
def test_a_number_beyond_its_limit_is_refused_not_cut(changes, fault):
    """The rule itself, which both the block and its model above follow."""
    assert replace(GOOD, **changes).fault(CONFIG).name == fault


@pytest.mark.parametrize("engine", ENGINES)
def test_the_block_draws_every_limit_where_the_rule_does(engine):
    bench = Bench()

    def script():
        for changes, _ in LIMITS:
            yield from bench.commit(replace(GOOD, **changes))
            yield from bench.pop()

    bench.run(engine, script())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sink", [0.05, 0.5])
def test_the_queue_keeps_its_level_while_it_is_filled_and_emptied(engine, sink):
    """Would catch a push and a pop in one cycle that count as one."""
    bench = Bench(seed=9)
    generator = random.Random(10)
    received, committed = [], 120

    @block
    def loader():
        @instance
        def take():
            while True:
                bench.stream.ready.next = generator.random() < sink
                yield bench.clk.posedge
                if bench.stream.valid and bench.stream.ready:
                    received.append(int(bench.stream.n_q))

        return take

    def script():
        yield from bench.commit(GOOD)
        for n_q in range(committed):
            for path, word in (("N_Q", n_q + 1), ("COMMIT", 1)):
                yield from bench.write(REGISTER_MAP[path].address, word)
        for _ in range(200 + 400 * (sink < 0.1)):
            yield bench.clk.posedge
        _, status = yield from bench.read(REGISTER_MAP["STATUS"].address)
        assert not status & REGISTER_MAP.fields["STATUS.queue_level"].mask
        _, errors = yield from bench.read(REGISTER_MAP["ERROR_COUNT"].address)
        assert len(received) == 1 + committed - errors
        assert received[1:] == sorted(set(received[1:]))

    bench.run(engine, script(), beside=[loader()])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_full_queue_refuses_and_keeps_what_it_has(engine):
    bench = Bench()

    def script():
        yield from bench.commit(GOOD)
        for n_q in range(2, QUEUE_ITEMS + 3):
            yield from bench.put("N_Q", n_q)
            yield from bench.put("COMMIT", 1)
            yield from bench.get("STATUS")
        assert bench.model.code == ErrorCode.QUEUE_FULL
        yield from bench.get("ERROR")
        yield from bench.get("ERROR_COUNT")
        while bench.model.queue:
            yield from bench.pop()
            yield from bench.get("STATUS")

    bench.run(engine, script())


@pytest.mark.parametrize("engine", ENGINES)
def test_the_first_error_stays_until_it_is_cleared(engine):
    bench = Bench(seed=5)

    def script():
        for _ in range(3):
            yield from bench.core_error()
            yield from bench.checked_read(REGISTER_MAP["COMMIT"].address)
            yield from bench.core_error()
            for path in ("ERROR", "STATUS", "ERROR_COUNT"):
                yield from bench.get(path)
            yield from bench.checked_write(REGISTER_MAP["ERROR"].address, 1, strobe=0xE)  # not the byte of the code
            yield from bench.get("ERROR")
            yield from bench.put("ERROR", 1)
            yield from bench.get("ERROR")
        yield from bench.put("CONTROL", 1 << REGISTER_MAP.fields["CONTROL.clear_counters"].lsb)
        yield from bench.get("ERROR_COUNT")

    bench.run(engine, script())


@pytest.mark.parametrize("engine", ENGINES)
def test_errors_of_one_cycle_are_all_counted_and_the_cores_is_the_first(engine):
    """Would catch an error that gets lost because another one, or a clear, came in the same cycle."""
    names = ("queue_full", "bad_write", "bad_read", "clear", "clear_count")
    clk, reset, core = Signal(False), Signal(False), CoreStatus()
    inputs = {name: Signal(False) for name in names}
    code, count = Signal(intbv(0)[4:]), Signal(intbv(0)[5:])
    generator = random.Random(6)
    checked = 0

    @block
    def stimulus():
        @instance
        def drive():
            nonlocal checked
            for _ in range(RESET_CYCLES + 1):
                yield clk.posedge
            expected_code = expected_count = uncounted = 0
            while True:
                errors = [name for name in ("queue_full", "bad_write", "bad_read") if generator.random() < 0.2]
                clears = [name for name in ("clear", "clear_count") if generator.random() < 0.1]
                core_code = generator.randrange(1, 9) if generator.random() < 0.2 else None
                for name in names:
                    inputs[name].next = name in errors + clears
                core.error_valid.next = core_code is not None
                core.error_code.next = core_code or 0
                yield clk.posedge
                assert (code, count) == (expected_code, expected_count)
                checked += 1
                first = core_code or int(
                    ErrorCode.QUEUE_FULL if "queue_full" in errors else ErrorCode.BAD_ADDRESS if errors else 0
                )
                if not expected_code or "clear" in clears:
                    expected_code = first
                expected_count = 0 if "clear_count" in clears else min(expected_count + uncounted, 31)
                uncounted = len(errors) + (core_code is not None)

        return drive

    dut = make(engine, first_error, clk, reset, core.error_valid, core.error_code, *inputs.values(), code, count)
    run(clk, reset, [dut, stimulus()], lambda: checked >= 1000)


@pytest.mark.parametrize("engine", ENGINES)
def test_counters_count_while_enabled_and_clear(engine):
    bench = Bench(seed=7)
    control = {field.path.partition(".")[2]: field.mask for field in REGISTER_MAP["CONTROL"].fields}
    halves = [path for path in REGISTER_MAP.registers if "." in path]

    def script():
        for value in (control["enable_counters"], 0, control["enable_counters"] | control["clear_counters"]):
            yield from bench.put("CONTROL", value)
            for path in halves:
                yield from bench.get(path)
            yield from bench.happen(200)
            for path in halves:
                yield from bench.get(path)

    bench.run(engine, script())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_counters_halves_are_of_one_moment_while_it_counts(engine):
    """Narrow halves, so that they carry and wrap. Would catch a high half that isn't the low half's."""
    low_bits, high_bits = 5, 6
    clk, reset, clear, enable = (Signal(False) for _ in range(4))
    events, read = Events(CONFIG), CounterRead()
    steps = counter_steps(CONFIG)
    generator = random.Random(8)
    history = [[0] * len(steps)]
    checked = 0

    @block
    def stimulus():
        @instance
        def happen():
            enable.next = True
            for _ in range(RESET_CYCLES):
                yield clk.posedge
            while True:
                step = [generator.randint(0, most) for most in steps.values()]
                for counter, number in zip(steps, step):
                    getattr(events, counter.lower()).next = number
                yield clk.posedge
                history.append([total + number for total, number in zip(history[-1], step)])
                if clear:
                    history[-1] = [0] * len(steps)

        def half(index, high):
            read.request.next, read.index.next, read.high.next = True, index, high
            yield clk.posedge
            while not read.done:
                yield clk.posedge
            value = int(read.value)
            read.request.next = False
            for _ in range(generator.choice((1, 1, 30))):
                yield clk.posedge
            return value

        @instance
        def ask():
            nonlocal checked
            for _ in range(RESET_CYCLES + 2):
                yield clk.posedge
            while True:
                index = generator.randrange(len(steps))
                asked = len(history)
                low = yield from half(index, False)
                answered = len(history)
                high = yield from half(index, True)
                meanwhile = history[max(0, asked - 4) : answered]
                possible = {totals[index] % (1 << low_bits + high_bits) for totals in meanwhile}
                assert low | high << low_bits in possible
                if checked % 25 == 24:
                    clear.next = True
                    yield clk.posedge
                    clear.next = False
                    high = yield from half(index, True)
                    assert high == 0, "a snapshot from before the clear"
                checked += 1

        return happen, ask

    dut = make(engine, counters, clk, reset, events, read, clear, enable, CONFIG, low_bits, high_bits)
    run(clk, reset, [dut, stimulus()], lambda: checked >= 200)
    assert max(map(max, history)) >> low_bits + high_bits, "no counter wrapped"


@pytest.mark.parametrize("engine", ENGINES)
def test_soft_reset_empties_the_queue_and_keeps_settings_errors_and_counters(engine):
    bench = Bench()
    mask = REGISTER_MAP.fields["CONTROL.soft_reset"].mask | REGISTER_MAP.fields["CONTROL.enable_counters"].mask

    def script():
        yield from bench.commit(GOOD)
        yield from bench.put("COMMIT", 1)
        yield from bench.core_error()
        yield from bench.happen(10)
        yield from bench.put("CONTROL", mask)
        yield from bench.pop()  # finds nothing
        for path in REGISTER_MAP.registers:
            if path != "COMMIT":
                yield from bench.get(path)
        yield from bench.put("COMMIT", 1)
        yield from bench.pop()

    bench.run(engine, script())
    assert bench.soft_resets == 1


@pytest.mark.parametrize("engine, cycles", [("myhdl", cycles) for cycles in range(1, 8)] + [("icarus", 3)])
def test_reset_in_the_middle_of_a_transaction(engine, cycles):
    bench = Bench()
    axi, reset = bench.axi, bench.reset

    def hold_reset():
        reset.next = True
        axi.awvalid.next = axi.wvalid.next = axi.arvalid.next = False
        for _ in range(RESET_CYCLES):
            yield bench.clk.posedge
        reset.next = False
        bench.model.reset()

    def script():
        yield from hold_reset()
        yield from bench.commit(GOOD)
        yield from bench.happen(30)
        axi.awvalid.next, axi.wvalid.next, axi.arvalid.next = True, cycles % 2 == 0, True
        axi.awaddr.next = axi.araddr.next = REGISTER_MAP["N_Q"].address
        for _ in range(cycles):
            yield bench.clk.posedge
        yield from hold_reset()
        for path in REGISTER_MAP.registers:
            if path != "COMMIT":
                yield from bench.get(path)
        yield from bench.commit(GOOD)
        yield from bench.pop()

    bench.run(engine, script(), own_reset=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_byte_strobe_writes_its_byte_alone(engine):
    bench = Bench(seed=11)

    def script():
        for register in REGISTER_MAP:
            if any(field.path in bench.model.stored for field in register.fields):
                for strobe in (1, 2, 4, 8, 0, 5, 10, 15):
                    data = bench.random.getrandbits(32) & ~REGISTER_MAP.fields["CONTROL.soft_reset"].mask
                    yield from bench.checked_write(register.address, data, strobe)
                    yield from bench.checked_read(register.address)

    bench.run(engine, script())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stall", STALLS)
def test_a_master_that_never_waits_gets_every_answer_in_order(engine, stall):
    """Questions stand in line while answers aren't taken: reads of constants, writes of good and bad addresses."""
    bench = Bench()
    axi = bench.axi
    generator = random.Random(12)
    asked = [generator.choice(("MAX_KEYS", "ROWS", "COMMIT", "ID", "CYCLES.LO", "LANES")) for _ in range(60)]
    written = [generator.choice(("N_Q", "ID")) for _ in range(60)]
    sent, answers = {"ar": 0, "aw": 0, "w": 0}, {"r": [], "b": []}

    def script():
        while len(answers["r"]) < len(asked) or len(answers["b"]) < len(written):
            axi.arvalid.next, axi.awvalid.next = sent["ar"] < len(asked), sent["aw"] < len(written)
            axi.wvalid.next = sent["w"] < len(written)
            axi.araddr.next = REGISTER_MAP[asked[min(sent["ar"], len(asked) - 1)]].address
            axi.awaddr.next = REGISTER_MAP[written[min(sent["aw"], len(written) - 1)]].address
            axi.wdata.next, axi.wstrb.next = sent["w"], ALL_BYTES
            axi.rready.next, axi.bready.next = generator.random() >= stall, generator.random() >= stall
            yield bench.clk.posedge
            sent["ar"] += int(axi.arvalid and axi.arready)
            sent["aw"] += int(axi.awvalid and axi.awready)
            sent["w"] += int(axi.wvalid and axi.wready)
            if axi.rvalid and axi.rready:
                answers["r"].append((int(axi.rresp), int(axi.rdata)))
            if axi.bvalid and axi.bready:
                answers["b"].append(int(axi.bresp))

    bench.run(engine, script())
    assert answers["r"] == [bench.model.read(REGISTER_MAP[path].address) for path in asked]
    assert answers["b"] == [OKAY if path == "N_Q" else SLVERR for path in written]


def test_reads_and_writes_go_on_side_by_side():
    """Would catch a channel that waits for the other: a read must be answered while a write's answer isn't taken."""
    bench = Bench()
    axi = bench.axi

    def script():
        axi.awvalid.next, axi.awaddr.next = True, REGISTER_MAP["N_K"].address
        axi.wvalid.next, axi.wdata.next, axi.wstrb.next = True, 77, ALL_BYTES
        for _ in range(8):
            yield bench.clk.posedge
            if axi.awready:
                axi.awvalid.next = False
            if axi.wready:
                axi.wvalid.next = False
        assert axi.bvalid
        answer = yield from bench.read(REGISTER_MAP["N_K"].address)
        assert answer == (OKAY, 77)
        assert axi.bvalid and not axi.awready
        axi.bready.next = True
        yield bench.clk.posedge

    bench.run("myhdl", script())


# The map and what is made from it ------------------------------------------------------------------------------------


def test_the_committed_header_and_page_are_those_of_the_map():
    message = "out of date: run python -m flows.registers"
    assert HEADER.read_text(encoding="utf-8") == header(), message
    assert MARKDOWN.read_text(encoding="utf-8") == markdown(), message


def test_the_header_has_every_address_field_and_code_and_compiles(tmp_path):
    """Prints the header's numbers from C, and the structure's offsets with them."""
    expected, lines = [], []
    for register in REGISTER_MAP:
        name = f"SANGER__{register.path.replace('.', '__')}"
        lines += [f"{name}_offset", f"offsetof(sanger_t, {register.path})"]
        expected += [register.address] * 2
        for field in register.fields:
            lines.append(f"{name}__{field.path.rpartition('.')[2].upper()}_bm")
            expected.append(field.mask)
    for name, enum in REGISTER_MAP.enums.items():
        for member in enum:
            lines.append(f"SANGER__{name.upper()}__{member.name}")
            expected.append(int(member))
    body = "".join(f'    printf("%lu\\n", (unsigned long)({line}));\n' for line in lines)
    source = tmp_path / "numbers.c"
    source.write_text(
        f'#include <stddef.h>\n#include <stdio.h>\n#include "{HEADER}"\nint main(void) {{\n{body}    return 0;\n}}\n'
    )
    subprocess.run(["gcc", "-Wall", "-Werror", "-o", tmp_path / "numbers", source], check=True)
    printed = subprocess.run([tmp_path / "numbers"], check=True, capture_output=True, text=True).stdout
    assert [int(line) for line in printed.split()] == expected


def test_the_page_has_every_address_access_and_code():
    text = MARKDOWN.read_text(encoding="utf-8")
    addresses = {}
    for section in re.split(r"\n### ", text)[1:]:
        name = section.split()[0]
        address = int(re.search(r"Absolute Address: (0x[0-9A-F]+)", section).group(1), 16)
        rows = re.findall(r"^\| *(\d+(?::\d+)?) *\| *(\w+) *\| *(\w+)", section, re.MULTILINE)
        addresses[address] = name, {identifier: (bits, access) for bits, identifier, access in rows}
    assert sorted(addresses) == [register.address for register in REGISTER_MAP]
    for register in REGISTER_MAP:
        name, rows = addresses[register.address]
        assert name == register.path.rpartition(".")[2]
        for field in register.fields:
            top = field.lsb + field.width - 1
            bits = str(top) if field.width == 1 else f"{top}:{field.lsb}"
            assert rows[field.path.rpartition(".")[2]] == (bits, field.software)
    for code in ErrorCode:
        assert f"| {int(code)} | {code.name} |" in text


def test_words_of_a_descriptor_are_those_of_its_fields():
    words = GOOD.words()
    read_back = [
        (words[path.partition(".")[0]] & REGISTER_MAP.fields[path].mask) >> REGISTER_MAP.fields[path].lsb
        for path in DESCRIPTOR_FIELDS.values()
    ]
    assert tuple(read_back) == astuple(GOOD)
