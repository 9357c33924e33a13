"""What a simulation is fed and what it must answer, the same for every engine.

A stimulus is a script of register accesses, the beats of the input stream, and the beats expected on the output.
The testbench ``hdl/testbench.v`` reads it from three text files; the MyHDL engine plays it directly.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golden import head
from golden.config import OUTPUT_BITS, Config
from golden.registers import REGISTER_MAP, Descriptor, HeadMode

WRITE, POLL, READ, WAIT_OUTPUT, END = "wprde"
"""Operations of a script line: write data; read until ``value & data`` is 0; read and log; wait until ``data`` output
beats have come; end."""

SCRIPT_FILE, INPUT_FILE, EXPECTED_FILE = "script.txt", "input.hex", "expected.hex"
OUTPUT_FILE, LOG_FILE = "output.hex", "registers.txt"

ACTIVITY = ("MULTIPLICATIONS", "REGISTER_MOVES", "IDLE_SLOTS")
"""What the lanes did: docs/organisations.md."""

COUNTERS = ("CYCLES", "ROUNDS", "KEPT", "SLOTS", "HEADS") + ACTIVITY
"""Counters that the script reads at its end, low word first."""


@dataclass(frozen=True)
class Beat:
    """One word of a stream: data, whether it ends its frame, and TUSER."""

    data: int
    last: bool
    user: bool = False

    def line(self) -> str:
        return f"{int(self.user)}{int(self.last)} {self.data:x}"


@dataclass(frozen=True)
class Stimulus:
    """Attributes:
    script: (operation, address, data).
    beats: of the input, frame after frame.
    expected: of the output.
    """

    script: list
    beats: list
    expected: list

    def write(self, folder: Path) -> None:
        """The three files that the testbench reads."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{operation} {address:x} {data:x}\n" for operation, address, data in self.script)
        (folder / SCRIPT_FILE).write_text(lines)
        for name, beats in ((INPUT_FILE, self.beats), (EXPECTED_FILE, self.expected)):
            (folder / name).write_text("".join(beat.line() + "\n" for beat in beats))


def build(heads: list, results: list, config: Config) -> Stimulus:
    """Heads back to back.

    Args:
        heads: (q, k, v, settings) each; int8 rows and ``golden.head.Settings``.
        results: what the golden model says of each.
    """
    script, beats, expected = [], [], []
    for (q, k, v, settings), result in zip(heads, results):
        script += push_descriptor(len(q), len(k), settings, config)
        beats += frame(config, k, v, q)
        expected += output_frame(result.output, config)
    script.append((WAIT_OUTPUT, 0, len(expected)))
    script.append((POLL, REGISTER_MAP["STATUS"].address, REGISTER_MAP.fields["STATUS.busy"].mask))
    for path in [f"{name}.{half}" for name in COUNTERS for half in ("LO", "HI")] + ["ERROR"]:
        script.append((READ, REGISTER_MAP[path].address, 0))
    script.append((END, 0, 0))
    return Stimulus(script, beats, expected)


def push_descriptor(
    n_q: int, n_k: int, settings: head.Settings, config: Config, mode: HeadMode = HeadMode.KEYS_VALUES_QUERIES
) -> list:
    """Script lines that queue one head's descriptor, once there is room for it."""
    descriptor = Descriptor(
        n_q=n_q,
        n_k=n_k,
        mantissa=settings.mantissa,
        shift=settings.shift,
        threshold=settings.threshold,
        causal=int(settings.causal),
        residual=int(settings.residual),
        predict_dims=settings.predict_dims or config.d,
        mode=mode,
    )
    lines = [(WRITE, REGISTER_MAP[path].address, word) for path, word in descriptor.words().items()]
    lines.append((POLL, REGISTER_MAP["STATUS"].address, REGISTER_MAP.fields["STATUS.queue_full"].mask))
    lines.append((WRITE, REGISTER_MAP["COMMIT"].address, 1))
    return lines


def frame(config: Config, *matrices: np.ndarray) -> list:
    """Beats of one input frame: the rows of each int8 matrix in turn, lowest dimension in the lowest byte."""
    words = [
        int.from_bytes(word, "little")
        for matrix in matrices
        for word in np.ascontiguousarray(matrix).view(np.uint8).reshape(-1, config.stream_bytes)
        for word in [word.tobytes()]
    ]
    return [Beat(word, number == len(words) - 1) for number, word in enumerate(words)]


def output_frame(output: np.ndarray, config: Config) -> list:
    """Beats of one output frame: int16 [n_q, d]."""
    data = np.ascontiguousarray(output.astype("<i2")).view(np.uint8).reshape(-1, config.stream_bytes)
    return [Beat(int.from_bytes(word.tobytes(), "little"), number == len(data) - 1) for number, word in enumerate(data)]


def read_beats(path: Path) -> list:
    """The beats that a testbench logged; a line that a killed simulation left half-written ends the list."""
    beats = []
    for line in path.read_text().splitlines():
        flags, _, data = line.partition(" ")
        try:
            beats.append(Beat(int(data, 16), flags[1] == "1", flags[0] == "1"))
        except (ValueError, IndexError):
            break
    return beats


def read_log(path: Path) -> dict:
    """Registers that a testbench logged: address to value."""
    return {int(address, 16): int(value, 16) for address, value in map(str.split, path.read_text().splitlines())}


def counters(log: dict) -> dict:
    """The counters of a register log, by lower-case name, and the error code."""
    values = {}
    for name in COUNTERS:
        low, high = (log[REGISTER_MAP[f"{name}.{half}"].address] for half in ("LO", "HI"))
        values[name.lower()] = high << 32 | low
    values["error"] = log[REGISTER_MAP["ERROR"].address]
    return values


def outputs(beats: list, heads: list, config: Config) -> list:
    """Output beats as int16 matrices, one a head; missing rows are left out.

    Args:
        heads: (q, ...) each, for the number of rows.
    """
    data = b"".join(beat.data.to_bytes(config.stream_bytes, "little") for beat in beats)
    rows = np.frombuffer(data[: len(data) // (2 * config.d) * 2 * config.d], dtype="<i2").reshape(-1, config.d)
    assert OUTPUT_BITS == 16
    split = np.cumsum([len(one[0]) for one in heads])[:-1]
    return np.split(rows.astype(np.int16), split)
