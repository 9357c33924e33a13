"""What a run on an engine gives."""

from dataclasses import dataclass


class ToolError(RuntimeError):
    """A tool failed, or a result is wrong; the message says which, and where the log is."""


class SimulationError(ToolError):
    """A simulator failed or hung; the message names the log that says why."""


@dataclass(frozen=True)
class Run:
    """What an engine brought back.

    Attributes:
        beats: of the output stream.
        counters: the core's own, by name (cycles, rounds, kept, slots, heads, multiplications, ..., error).
    """

    beats: list
    counters: dict
