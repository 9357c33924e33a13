"""``python -m flows performance``: the measured figures of whole layers, side by side in docs/performance.md.

Every figure is a sum or a mean over all heads of the files: cycles, kept scores and pairs are added up, errors averaged.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flows import report, simulate
from flows.engines import BUILD, ROOT
from flows.heads import InputError
from golden.config import CONFIGS

REPORTS = BUILD / "reports" / "performance"
PAGE = ROOT / "docs" / "performance.md"

# Configuration, tokens, T * n, dimensions that predict (None: all, without a transform).
CASES = (
    ("small", 512, 1, 16), ("small", 512, 2, 16), ("small", 128, 1, 16), ("small", 128, 2, 16),
    ("small_tiled", 512, 1, 16), ("small_tiled", 512, 2, 16),
    ("small", 512, 1, None), ("small", 512, 2, None), ("small", 128, 1, None), ("small", 128, 2, None),
    ("small_tiled", 512, 1, None), ("small_tiled", 128, 1, None),
)  # fmt: skip

INTRODUCTION = """# Measured performance

All {layers} layers of MiniLM-L6 with their 12 heads, captured as floats from the beginning of `data/alice.txt`, each layer's heads
back to back in Verilator; every run is bit-exact against the golden model. T is in units of 1/n. With r = 16, the transform
of folded prediction is applied (calibrated on other text), and half of the dimensions predict. Cycles are the core's own
counter, added up over the layers; efficiency is non-zeros · 2d over multipliers · cycles; the speed-up is against
n_q · n_k · 2d over multipliers; errors are ‖O − O_ref‖ / ‖O_ref‖, residual on (`error_vs_masked`: off), means over the heads.

Made by `make performance`; single reports: `build/reports/performance`.

"""


def report_path(config: str, layer: int, n: int, times: int, dims: int | None) -> Path:
    return REPORTS / f"{config}-l{layer}-n{n}-t{times}-r{dims or 'd'}.json"


def cases(folder: Path) -> Iterator[tuple]:
    """(configuration, layer, n, T * n, dims, heads' file, transform) for all files of a folder of captured heads."""
    for config, n, times, dims in CASES:
        for path in sorted(folder.glob(f"minilm_l*_n{n}_float.npz")):
            layer = int(path.stem.split("_")[1][1:])
            yield config, layer, n, times, dims, path, folder / f"transform_l{layer}.npz" if dims else None


def measure(folder: Path) -> None:
    """Run what has no report yet, and write the page.

    Raises:
        InputError: the folder has no captured heads.
        SimulationError: a run failed, or was not bit-exact.
    """
    REPORTS.mkdir(parents=True, exist_ok=True)
    todo = list(cases(folder))
    if not todo:
        raise InputError(f"{folder}: has no minilm_l*_n*_float.npz; `make performance` captures them")
    for number, (config, layer, n, times, dims, path, transform) in enumerate(todo, 1):
        made = report_path(config, layer, n, times, dims)
        print(f"{number} of {len(todo)}: {made.stem}", flush=True)
        if not made.exists():
            simulate.measure(path, CONFIGS[config], times / n, made, transform, dims)
    write_page(todo)


def pooled(reports: list[dict], multipliers: int) -> dict:
    """Figures of several runs together."""
    heads = [one["heads"] for one in reports]
    cycles = sum(one["cycles"] for one in reports)
    pairs = sum(one["heads"] * one["n_q"] * one["n_k"] for one in reports)
    kept = sum(one["density"] * one["heads"] * one["n_q"] * one["n_k"] for one in reports)
    return {
        "density": kept / pairs,
        "cycles": cycles,
        **report.work_rates(kept, pairs, reports[0]["d"], multipliers, cycles),
        **{name: np.average([one[name] for one in reports], weights=heads) for name in report.ERRORS},
    }


def write_page(measured: list[tuple]) -> None:
    """docs/performance.md, from the reports of the ``cases``."""
    rows, ratios, cycles = [], [], {}
    for case in CASES:
        found = [report_path(*one[:5]) for one in measured if (one[0], *one[2:5]) == case]
        reports = [json.loads(path.read_text()) for path in found]
        config, n, times, dims = case
        figures = pooled(reports, CONFIGS[config].multipliers)
        cycles[case] = figures["cycles"]
        rows.append({
            "configuration": f"`{config}`", "n": n, "T · n": times, "r": dims or "d", "density": f"{figures['density']:.3f}",
            "cycles": f"{figures['cycles']:,}", "efficiency": f"{figures['efficiency']:.3f}",
            "speed-up": f"{figures['speedup_vs_dense']:.2f}", "error vs dense": f"{figures['error_vs_dense']:.4f}",
            "vs masked": f"{figures['error_vs_masked']:.4f}", "vs float masked": f"{figures['error_vs_float_masked']:.4f}",
        })  # fmt: skip
    for case in CASES:
        tiled = (f"{case[0]}_tiled", *case[1:])
        if tiled in cycles:
            ratios.append({
                "n": case[1], "T · n": case[2], "r": case[3] or "d",
                "cycles of `small_tiled` over cycles of `small`": f"{cycles[tiled] / cycles[case]:.2f}",
            })  # fmt: skip
    layers = len({one[1] for one in measured})
    tables = [report.markdown_table(list(table[0]), [list(row.values()) for row in table]) for table in (rows, ratios)]
    PAGE.write_text(INTRODUCTION.format(layers=layers) + "\n\n".join(tables) + "\n")
    print(PAGE)
