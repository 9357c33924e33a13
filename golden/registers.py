"""The register map: `registers.rdl` elaborated into plain Python data.

Everybody who needs an address, a field or an error code takes it from `REGISTER_MAP` (or the enums below it), so the
`.rdl` file is the only place where one is written down. See `docs/registers.md`.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path

from systemrdl import RDLCompiler
from systemrdl.node import AddrmapNode, FieldNode, RegfileNode, RegNode

from golden.config import FACTOR_SHIFT_BITS, LENGTH_BITS, MANTISSA_BITS, THRESHOLD_FRACTION, Config

RDL_FILE = Path(__file__).with_name("registers.rdl")

WORD_BYTES = 4
WORD_BITS = 8 * WORD_BYTES

# The descriptor's parts and the fields that hold them.
DESCRIPTOR_FIELDS = {
    "n_q": "N_Q.value",
    "n_k": "N_K.value",
    "mantissa": "FACTOR.mantissa",
    "shift": "FACTOR.shift",
    "threshold": "THRESHOLD.value",
    "causal": "FLAGS.causal",
    "residual": "FLAGS.residual",
    "predict_dims": "PREDICT_DIMS.value",
    "mode": "MODE.value",
}


@dataclass(frozen=True)
class Field:
    """Bits `lsb + width − 1 … lsb` of a register.

    `software` is "r", "w" or "rw"; `hardware` is "na", "r", "w" or "rw": what the core does with it. `reset` is a
    number, the path of the field whose value it takes, or None. `pulse`: a written 1 lasts one cycle. `clears`: a write
    makes it 0, whatever is written.
    """

    path: str
    lsb: int
    width: int
    software: str
    hardware: str
    reset: int | str | None = None
    pulse: bool = False
    clears: bool = False

    @property
    def readable(self):
        return "r" in self.software

    @property
    def writable(self):
        return "w" in self.software

    @property
    def mask(self):
        return ((1 << self.width) - 1) << self.lsb


@dataclass(frozen=True)
class Register:
    """A 32-bit word. `path` is "N_Q", or "CYCLES.LO" in a register file."""

    path: str
    address: int
    fields: tuple

    @property
    def readable(self):
        return any(field.readable for field in self.fields)

    @property
    def writable(self):
        return any(field.writable for field in self.fields)


@dataclass(frozen=True)
class RegisterMap:
    """All registers by path, in the order of their addresses; enums by name; `bytes` up to the last register's end."""

    registers: dict
    enums: dict
    bytes: int

    def __getitem__(self, path):
        return self.registers[path]

    def __iter__(self):
        return iter(self.registers.values())

    @cached_property
    def fields(self):
        """All fields by path: "ERROR.code"."""
        return {field.path: field for register in self for field in register.fields}

    @property
    def address_bits(self):
        """Bits of a byte address."""
        return (self.bytes - 1).bit_length()

    @cached_property
    def counters(self):
        """Names of the counters (pairs of a low and a high word), in the order of their addresses."""
        return tuple(path.removesuffix(".LO") for path in self.registers if path.endswith(".LO"))


def compile_rdl(path=RDL_FILE):
    """The elaborated root node, as the PeakRDL exporters take it."""
    compiler = RDLCompiler()
    compiler.compile_file(str(path))
    return compiler.elaborate()


def read_map(path=RDL_FILE):
    """`path` elaborated into a `RegisterMap`."""
    root = compile_rdl(path)
    top = root.top
    registers, enums = {}, {}
    for node in _registers(top):
        fields = []
        for field in node.fields():
            fields.append(_field(field, top))
            encoding = field.get_property("encode")
            if encoding is not None:
                enums[encoding.type_name] = IntEnum(
                    encoding.type_name, {member.name: member.value for member in encoding}
                )
        register = Register(_path(node, top), node.absolute_address, tuple(fields))
        registers[register.path] = register
    registers = dict(sorted(registers.items(), key=lambda item: item[1].address))
    return RegisterMap(registers, enums, top.size)


def _path(node, top):
    return node.get_rel_path(top)


def _registers(node):
    for child in node.children(unroll=True):
        if isinstance(child, RegNode):
            if child.get_property("regwidth") != WORD_BITS:
                raise ValueError(f"{child.get_path()}: a register has {WORD_BITS} bits")
            yield child
        elif isinstance(child, (RegfileNode, AddrmapNode)):
            yield from _registers(child)


def _field(node, top):
    reset = node.get_property("reset")
    if isinstance(reset, FieldNode):
        reset = _path(reset, top)
    on_write = node.get_property("onwrite")
    if on_write is not None and on_write.name != "wclr":
        raise ValueError(f"{node.get_path()}: onwrite = {on_write.name} isn't built")
    return Field(
        path=_path(node, top),
        lsb=node.lsb,
        width=node.width,
        software=node.get_property("sw").name,
        hardware=node.get_property("hw").name,
        reset=reset,
        pulse=bool(node.get_property("singlepulse")),
        clears=on_write is not None,
    )


REGISTER_MAP = read_map()

ErrorCode = REGISTER_MAP.enums["error_code"]
ArrayOrganisation = REGISTER_MAP.enums["array_organisation"]
HeadMode = REGISTER_MAP.enums["head_mode"]

COUNTER_HIGH_BITS = REGISTER_MAP[f"{REGISTER_MAP.counters[0]}.HI"].fields[0].width


def counter_steps(config: Config) -> dict:
    """The most that each counter grows in a cycle, by name, in the order of their addresses.

    What the lanes did is counted for a row and a round at once; banked: for all clusters and half a round.
    """
    slots = config.rows * config.lanes
    steps = {"KEPT": slots, "SLOTS": slots, "MULTIPLICATIONS": 2 * config.d * config.lanes, "IDLE_SLOTS": config.lanes}
    if config.array == "banked":
        steps.update(MULTIPLICATIONS=config.d * slots, IDLE_SLOTS=slots)
    if config.array == "systolic":
        steps["REGISTER_MOVES"] = config.d * (config.tile_keys - config.lanes)
    return {counter: steps.get(counter, 1) for counter in REGISTER_MAP.counters}


@dataclass(frozen=True)
class Descriptor:
    """The settings of one head as software writes them: any numbers that fit the registers' fields."""

    n_q: int
    n_k: int
    mantissa: int
    shift: int
    threshold: int
    causal: int
    residual: int
    predict_dims: int
    mode: int

    def fault(self, config: Config) -> ErrorCode:
        """What is wrong with the descriptor by itself (the first in this order), or `NONE`."""
        if self.mode not in (HeadMode.KEYS_VALUES_QUERIES, HeadMode.QUERIES):
            return ErrorCode.BAD_MODE
        if not (1 <= self.n_q < 1 << LENGTH_BITS and 1 <= self.n_k <= config.max_keys):
            return ErrorCode.BAD_LENGTH
        if self.causal and self.n_q > self.n_k:
            return ErrorCode.BAD_LENGTH
        if not self.mantissa >> (MANTISSA_BITS - 1) or self.shift >= 1 << FACTOR_SHIFT_BITS:
            return ErrorCode.BAD_FACTOR
        if self.threshold > 1 << THRESHOLD_FRACTION:
            return ErrorCode.BAD_THRESHOLD
        if not 1 <= self.predict_dims <= config.d:
            return ErrorCode.BAD_PREDICT_DIMS
        return ErrorCode.NONE

    def words(self) -> dict:
        """What to write to which register (by path), `COMMIT` aside."""
        words = {}
        for part, path in DESCRIPTOR_FIELDS.items():
            register = path.partition(".")[0]
            words[register] = words.get(register, 0) | getattr(self, part) << REGISTER_MAP.fields[path].lsb
        return words
