"""Figures of a simulation: one function makes the dict that goes to JSON, another prints it."""

import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from tabulate import tabulate

from flows.stimulus import ACTIVITY
from golden.config import Config

ERRORS = ("error_vs_dense", "error_vs_masked", "error_vs_float_masked")


def simulation(
    config: Config, engine: str, thresholds: list, heads: list, results: list, distances: list, counters: dict | None,
    bit_exact: bool, wall_seconds: float,
) -> dict:  # fmt: skip
    """The report of a run.

    Figures of several heads: lengths and thresholds are those of the first (all heads of a file share them),
    density, cycles, rounds and what follows from them count all heads together, errors are means over heads.
    Cycles and rounds are the core's own counters; the golden engine has no cycles, and rounds of the tiled array only.

    Args:
        thresholds: T of each head.
        heads: ``flows.heads.Head`` each; results: ``golden.head.Result`` each; distances: ``flows.heads.errors`` each.
        counters: of the core, or None.
    """
    d = config.d
    kept = int(sum(result.mask.sum() for result in results))
    pairs = sum(len(head.q) * len(head.k) for head in heads)
    lanes = config.multipliers
    golden_rounds = [result.rounds for result in results]
    rounds = counters["rounds"] if counters else None if None in golden_rounds else sum(golden_rounds)
    cycles = counters["cycles"] if counters else None

    def mean(name):
        values = [distance[name] for distance in distances]
        return None if None in values else float(np.mean(values))

    rates = work_rates(kept, pairs, d, lanes, cycles) if cycles else {"efficiency": None, "speedup_vs_dense": None}
    report = {
        "config": config.name,
        "engine": engine,
        "heads": len(heads),
        "n_q": len(heads[0].q),
        "n_k": len(heads[0].k),
        "d": d,
        "threshold": thresholds[0],
        "density": kept / pairs,
        "cycles": cycles,
        "rounds": rounds,
        "utilization": kept / (rounds * config.rows * config.lanes) if rounds else None,
        **rates,
        "activity": {name.lower(): counters[name.lower()] for name in ACTIVITY} if counters else None,
        "bit_exact": bit_exact,
        **{name: mean(name) for name in ERRORS},
        "wall_seconds": round(wall_seconds, 3),
    }
    report["per_head"] = [
        {"density": float(result.mask.mean()), "rounds": result.rounds, **distance}
        for result, distance in zip(results, distances)
    ]
    return report


def work_rates(kept: float, pairs: int, d: int, multipliers: int, cycles: int) -> dict:
    """Non-zeros, and all pairs of a query and a key, times 2d, over what the multipliers could do in that time."""
    work = 2 * d / (multipliers * cycles)
    return {"efficiency": kept * work, "speedup_vs_dense": pairs * work}


def markdown_table(headers: list[str], rows: list[list[str]]) -> str:
    """Markdown; the first column is text, the others are numbers."""
    aligned = ("left", *("right" for _ in headers[1:]))
    return tabulate(rows, headers, tablefmt="pipe", colalign=aligned, disable_numparse=True)


def write_json(report: dict, path: Path) -> None:
    """Write a report as JSON."""
    path.write_text(json.dumps(report, indent=2) + "\n")


def print_simulation(report: dict) -> None:
    """The table of a run."""
    table = Table(title="Sanger: simulation", show_header=False)
    for name, value in report.items():
        if name != "per_head":
            table.add_row(name, _text(value))
    Console().print(table)


def _text(value):
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{_text(number)} {name.replace('_', ' ')}" for name, number in value.items())
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
