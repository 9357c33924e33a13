"""``python -m flows simulate``: heads through an engine, compared with the golden model bit by bit."""

import json
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flows import calibrate, engines, heads, report, stimulus
from flows.heads import InputError
from flows.run import SimulationError
from golden import head
from golden.config import Config

_LEAST_LIMIT = 100_000
_CYCLES_PER_ROUND_LIMIT = 16  # times 2d: far beyond anything that still moves


def simulate(
    path: Path, config: Config, engine: str, threshold: float | None, causal: bool, residual: bool, only: int | None,
    out: Path | None, report_path: Path | None, waves: Path | None, stall: int, seed: int,
    transform: Path | None, predict_dims: int | None,
) -> bool:  # fmt: skip
    """Run the heads of a file back to back, print the report and write the files that were asked for.

    Returns:
        Whether the engine's output equals the golden model's, bit for bit.

    Raises:
        InputError: bad input; nothing has been written then.
        SimulationError: the simulator failed.
    """
    started = time.monotonic()
    for target in (out, report_path, waves):
        if target is not None and not target.resolve().parent.is_dir():
            raise InputError(f"{target}: there is no folder {target.resolve().parent}")
    if waves is not None and engine == "golden":
        raise InputError("the golden engine has no waveforms; choose another engine for --waves")
    loaded, many = heads.load(path, config)
    if transform is not None:
        loaded = calibrate.apply(transform, loaded)
    if only is not None:
        if not 0 <= only < len(loaded):
            raise InputError(f"{path}: there is no head {only}; there are 0 to {len(loaded) - 1}")
        loaded = [loaded[only]]
    try:
        settings = [one.settings(threshold, causal, residual, predict_dims) for one in loaded]
        for one, setting in zip(loaded, settings):
            head.check(one.q, one.k, one.v, setting, config)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console,
        disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("golden model (heads)", total=len(loaded))
        results = []
        for one, setting in zip(loaded, settings):
            results.append(head.run(one.q, one.k, one.v, setting, config))
            bar.advance(task)
        outputs, counters, exact = [result.output for result in results], None, True
        if engine != "golden":
            rows = [(one.q, one.k, one.v, setting) for one, setting in zip(loaded, settings)]
            played = stimulus.build(rows, results, config)
            task = bar.add_task(f"{engine} (output beats)", total=len(played.expected))
            run = engines.play(
                engine, config, played, waves, stall, seed, _limit(results, config, stall),
                lambda beats: bar.update(task, completed=beats),
            )  # fmt: skip
            bar.update(task, completed=len(run.beats))
            counters = run.counters
            exact = run.beats == played.expected
            outputs = stimulus.outputs(run.beats, rows, config) if exact else outputs
            if not exact:
                _tell_difference(console, run.beats, played.expected)
                outputs = _partial_outputs(run.beats, rows, config) or outputs
    distances = [heads.errors(one, result, setting, config) for one, result, setting in zip(loaded, results, settings)]
    used = [len(one.k) ** -1 if threshold is None else threshold for one in loaded]
    wall = time.monotonic() - started
    made = report.simulation(config, engine, used, loaded, results, distances, counters, exact, wall)
    report.print_simulation(made)
    if out is not None:
        _write_outputs(out, loaded, outputs, results, many and only is None)
    if report_path is not None:
        report.write_json(made, report_path)
    return exact


def measure(
    path: Path, config: Config, threshold: float, report_path: Path, transform: Path | None = None,
    predict_dims: int | None = None,
) -> dict:  # fmt: skip
    """Report of the heads of a file run in Verilator, with residual compensation and without stalls; also written.

    Raises:
        InputError: bad input.
        SimulationError: the run failed, or was not bit-exact; there is no report then.
    """
    exact = simulate(
        path, config, "verilator", threshold, causal=False, residual=True, only=None, out=None, report_path=report_path,
        waves=None, stall=0, seed=1, transform=transform, predict_dims=predict_dims,
    )  # fmt: skip
    if not exact:
        report_path.unlink()
        raise SimulationError(f"{report_path.stem} isn't bit-exact")
    return json.loads(report_path.read_text())


def _limit(results, config, stall):
    """Cycles after which a run counts as hung."""
    rounds = sum((result.rounds or 0) + result.output.shape[0] for result in results)
    return (_LEAST_LIMIT + _CYCLES_PER_ROUND_LIMIT * config.round_cycles * rounds) * 100 // max(100 - stall, 1)


def _tell_difference(console, beats, expected):
    pairs = list(zip(beats, expected))
    wrong = [number for number, (beat, wanted) in enumerate(pairs) if beat != wanted]
    where = f"the first at beat {wrong[0]}" if wrong else f"{len(beats)} beats came, {len(expected)} were expected"
    console.print(f"NOT bit-exact: {len(wrong)} of {len(pairs)} output beats differ, {where}", style="bold red")


def _partial_outputs(beats, rows, config):
    outputs = stimulus.outputs(beats, rows, config)
    complete = all(len(output) == len(one[0]) for output, one in zip(outputs, rows))
    return outputs if complete else None


def _write_outputs(path, loaded, outputs, results, many):
    arrays = {
        "o": [one.output(output) for one, output in zip(loaded, outputs)],
        "o_int": outputs,
        "mask": [result.mask for result in results],
    }
    with open(path, "wb") as file:
        np.savez_compressed(file, **{name: np.stack(list_) if many else list_[0] for name, list_ in arrays.items()})
