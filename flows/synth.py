"""``python -m flows synth``: a configuration through the open tools, from Verilog to a report of area and clock.

The tools' options are those of the targets in ``sanger.core``, and edalize's flows run them. Work folders are named by
the content of the sources: a run that was interrupted goes on with what the tools had finished.
"""

import copy
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from edalize.flows.generic import Generic
from edalize.flows.icestorm import Icestorm
from edalize.flows.trellis import Trellis
from edalize.flows.vivado import Vivado
from fusesoc.capi2.exprs import Expr
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from flows import pins, synth_report, verilog
from flows.engines import BUILD, ROOT
from flows.heads import InputError
from flows.run import ToolError
from flows.synth_report import Part
from golden.config import Config

NAME = "sanger"  # of edalize's files
PINS = pins.NAME  # the core with pins around it
_SMALL = "tiny"  # for its options: a block on its own leaves most of the part free, as this configuration does
REPORTS = BUILD / "reports"
_POLL_SECONDS = 0.5
_SECONDS_BETWEEN_LINES = 60  # of progress, where there is no terminal
_SECONDS_TO_END = 10  # for tools to remove what they were writing


class SynthesisError(ToolError):
    """A tool failed, or the result breaks the core's rules; the message says which and where the log is."""


class OutOfTime(SynthesisError):
    """The time was up; what is finished stays."""


@dataclass(frozen=True)
class Step:
    """What one tool makes: the program (None: Yosys), its name in progress, the file it makes and its log."""

    tool: str
    makes: str
    log: str | None = None


@dataclass(frozen=True)
class Target:
    """Where a configuration goes: the target of ``sanger.core``, edalize's flow and the device."""

    core_target: str
    flow: type
    part: Part
    steps: tuple[Step, ...] = ()


_YOSYS = Step("yosys", f"{NAME}.json", "yosys.log")
TARGETS = {
    "ecp5": Target(
        "synth_ecp5", Trellis, Part("LFE5U-85F-6BG381C", lut=83640, reg=83640, blkmem=208, dsp=156),
        (_YOSYS, Step("nextpnr-ecp5", f"{NAME}.config", "next.log"), Step("ecppack", f"{NAME}.bit")),
    ),
    "ice40": Target(
        "synth_ice40", Icestorm, Part("iCE40UP5K-SG48", lut=5280, reg=5280, blkmem=30, dsp=8),
        (_YOSYS, Step("nextpnr-ice40", f"{NAME}.asc", "next.log"), Step("icepack", f"{NAME}.bin")),
    ),
    "xilinx": Target(
        "synth_xilinx", Generic, Part("XCK26 (UltraScale+)", lut=117120, reg=234240, blkmem=144, dsp=1248), (_YOSYS,)
    ),
    "xilinx7": Target(
        "synth_xilinx7", Generic, Part("XC7A100T", lut=63400, reg=126800, blkmem=135, dsp=240), (_YOSYS,)
    ),
    "vivado": Target("vivado", Vivado, Part("XCK26-SFVC784-2LV-C", lut=117120, reg=234240, blkmem=144, dsp=1248)),
}  # fmt: skip


def synthesize(
    config: Config, target: str, place: bool = True, report_path: Path | None = None, simulation: Path | None = None,
    minutes: float = 60,
) -> dict:  # fmt: skip
    """Run the tools, print the report and write it as JSON: to ``build/reports``, and to ``report_path``.

    Args:
        place: through place and route; otherwise Yosys only.
        simulation: report of ``python -m flows simulate`` of this configuration, for heads a second.
        minutes: after which the tools are stopped.

    Raises:
        InputError: bad input, or a tool isn't installed.
        OutOfTime: what Yosys found is printed and written all the same.
        SynthesisError: a tool failed, or the result breaks a rule (latches, loops, dissolved memories).
    """
    chosen = TARGETS[target]
    if report_path is not None and not report_path.resolve().parent.is_dir():
        raise InputError(f"{report_path}: there is no folder {report_path.resolve().parent}")
    cycles = _measured(simulation, config)
    steps = chosen.steps if place else chosen.steps[:1]
    _check_installed(steps)
    folder = set_up(config, target)
    if not steps:
        print(f"the project is set up in {folder}; it is built with Vivado: make -C {folder}")
        return {"folder": str(folder)}
    late = None
    try:
        run(folder, steps, minutes, f"{config.name} for {chosen.part.name}")
    except OutOfTime as error:
        if not (folder / _YOSYS.makes).exists():
            raise
        late = error
    made = read(folder, config, target)
    if cycles:
        made["performance"] = synth_report.performance(made, cycles)
    synth_report.print_synthesis(made)
    REPORTS.mkdir(parents=True, exist_ok=True)
    for path in (REPORTS / f"synthesis-{target}-{config.name}.json", report_path):
        if path is not None:
            path.write_text(json.dumps(made, indent=1) + "\n")
    if late:
        raise late
    if made["mistakes"]:
        raise SynthesisError("; ".join(made["mistakes"]))
    return made


def read(folder: Path, config: Config, target: str, top: str | None = None) -> dict:
    """The report of a work folder; ``top`` as in ``set_up``.

    Raises:
        SynthesisError: a tool's report can't be read.
    """
    chosen = TARGETS[target]
    try:
        made = synth_report.parse(folder, NAME, top or _toplevel(chosen), chosen.part)
    except synth_report.ReportError as error:
        raise SynthesisError(str(error)) from None
    times = json.loads((folder / "seconds.json").read_text()) if (folder / "seconds.json").exists() else {}
    revision = folder / "revision.txt"
    log = (folder / "yosys.log").read_text(errors="replace")
    return {
        "config": config.name,
        "target": target,
        "array": config.array,
        **made,
        "seconds": times,
        "revision": revision.read_text() if revision.exists() else "",
        "yosys": (re.search(r"Yosys [\d.+]+", log) or [""])[0],
        "mistakes": synth_report.mistakes(made, log),
        "registers_outside": sorted(set(re.findall(r"^Module (\S+) keeps its registers", log, re.MULTILINE))),
    }


def set_up(config: Config, target: str, top: str | None = None, between_pins: bool = False) -> Path:
    """Write the Verilog and edalize's files to a work folder of their own; nothing happens to one that is there.

    Args:
        top: a module to synthesise on its own instead of the whole core.
        between_pins: ``top`` for place and route, with pins of its own around it; the top module is then ``PINS``.

    Raises:
        OSError: the folder can't be written.
    """
    chosen = TARGETS[target]
    generated = BUILD / "verilog" / f"{config.name}-{os.getpid()}"
    shutil.rmtree(generated, ignore_errors=True)
    try:
        files = verilog.generate(config, generated)
        options = flow_options(chosen.core_target, _SMALL if between_pins else config.name)
        extra = [ROOT / path for path in _extra_files(chosen)]
        if between_pins:
            surroundings = generated / "pins.v"  # instead of those of the core
            surroundings.write_text(pins.around((generated / f"{top}.v").read_text()))
            extra = [surroundings, *(path for path in extra if path.name != surroundings.name)]
            top = PINS
        top = top or _toplevel(chosen)
        content = hashlib.sha256(json.dumps([options, top], sort_keys=True).encode())
        for file in [*files, *extra]:
            content.update(file.read_bytes())
        folder = BUILD / "synthesis" / f"{target}-{config.name}-{content.hexdigest()[:12]}"
        if not folder.exists():
            unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")  # another process may be doing the same
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            for file in [*files, *extra]:
                shutil.copy(file, unfinished / file.name)
            (unfinished / "revision.txt").write_text(_revision())
            parameters = {"STREAM_BITS": config.stream_bits} if top == PINS and not between_pins else {}
            configure(chosen.flow, options, [file.name for file in [*files, *extra]], top, parameters, unfinished)
            try:
                unfinished.rename(folder)
            except OSError:
                shutil.rmtree(unfinished)
                if not folder.exists():
                    raise
        return folder
    finally:
        shutil.rmtree(generated, ignore_errors=True)


def _revision():
    """The commit that the sources are of, with a + if they have changed since; empty outside of a repository."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--exclude=*", "--dirty=+"], cwd=ROOT, capture_output=True, text=True
        )
    except OSError:
        return ""
    return told.stdout.strip()


def core_file() -> dict:
    """``sanger.core``."""
    return yaml.safe_load((ROOT / "sanger.core").read_text())


def flow_options(core_target: str, flag: str) -> dict:
    """The flow options of a target of ``sanger.core`` as FuseSoC reads them, with the flag of a configuration."""
    options = core_file()["targets"][core_target]["flow_options"]
    return {
        name: [chosen for text in value if (chosen := Expr(text).expand(frozenset({flag})))]
        if isinstance(value, list)
        else value
        for name, value in options.items()
    }


def _toplevel(chosen):
    return core_file()["targets"][chosen.core_target].get("toplevel", verilog.TOP)


def _extra_files(chosen):
    """What a target needs beside the core's Verilog."""
    core = core_file()
    for name in core["targets"][chosen.core_target]["filesets"]:
        for file in core["filesets"][name]["files"]:
            yield from [file] if isinstance(file, str) else file


def configure(
    flow: type, options: dict, files: list[str], toplevel: str, parameters: dict[str, int], folder: Path
) -> None:  # fmt: skip
    """Write edalize's files for a flow into a work folder that holds ``files``."""
    kinds = {".v": "verilogSource", ".xdc": "xdc"}
    edam = {
        "name": NAME,
        "toplevel": toplevel,
        "files": [{"name": name, "file_type": kinds.get(Path(name).suffix, "user")} for name in files],
        "parameters": {
            name: {"datatype": "int", "paramtype": "vlogparam", "default": value} for name, value in parameters.items()
        },
        "flow_options": copy.deepcopy(options),
    }
    # edalize 0.6.8 collects the options of all runs in the class
    fresh = type(flow.__name__, (flow,), {"_flow": copy.deepcopy(getattr(flow, "_flow", {}))})
    fresh(edam, str(folder)).configure()


def _measured(path, config):
    if path is None:
        return None
    try:
        simulation = json.loads(path.read_text())
        if simulation["config"] != config.name:
            raise InputError(f"{path}: a simulation of {simulation['config']}, not of {config.name}")
    except (ValueError, KeyError, TypeError) as error:
        raise error if isinstance(error, InputError) else InputError(f"{path}: not a report of a simulation") from None
    if not simulation["cycles"]:
        raise InputError(f"{path}: has no cycles (the golden engine counts none)")
    return simulation


def environment() -> dict:
    """The environment with this Python's own programs on PATH: nextpnr comes from PyPI."""
    own = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join([os.environ.get("PATH", ""), own])}


def _check_installed(steps):
    for step in steps:
        if shutil.which(step.tool, path=environment()["PATH"]) is None:
            raise InputError(f"{step.tool} isn't installed; `make setup` installs it")


def run(folder: Path, steps: tuple, minutes: float, title: str) -> None:
    """Let make run the tools, one after the other; what a tool has made already is kept.

    Raises:
        SynthesisError: a tool failed, or OutOfTime.
    """
    end = time.monotonic() + 60 * minutes
    times_file = folder / "seconds.json"
    times = json.loads(times_file.read_text()) if times_file.exists() else {}
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console,
        disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        for step in steps:
            if (folder / step.makes).exists() and step.tool in times:
                continue
            started = time.monotonic()
            task = bar.add_task(f"{title}: {step.tool}", total=None)
            said = [started]

            def tell(stage, step=step, task=task, said=said):
                bar.update(task, description=f"{title}: {step.tool}, {stage}")
                if not console.is_terminal and time.monotonic() - said[0] >= _SECONDS_BETWEEN_LINES:
                    said[0] = time.monotonic()
                    console.print(f"{title}: {step.tool}, {stage}", highlight=False)

            try:
                _make(folder, step, end, tell)
            except SynthesisError as error:
                if not _ABC_CRASHED.search(str(error)):
                    raise
                tell("once more, as ABC crashed")
                _make(folder, step, end, tell)
            bar.update(task, completed=1, total=1)
            times[step.tool] = round(time.monotonic() - started, 1)
            times_file.write_text(json.dumps(times))


_ABC_CRASHED = re.compile(r"ABC: execution of command .* failed: return code 13[49]\b")
"""Debian 12's ABC ends with an abort (134) or a fault (139) once in a while, and not for the same netlist again."""


def _make(folder, step, end, tell):
    log = folder / f"{step.tool}.out"
    with (
        open(log, "w") as text,
        subprocess.Popen(
            ["make", step.makes], cwd=folder, stdout=text, stderr=subprocess.STDOUT, env=environment(),
            start_new_session=True,
        ) as process,
    ):  # fmt: skip
        try:
            while True:
                try:
                    status = process.wait(_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    pass
                if time.monotonic() > end:
                    raise OutOfTime(
                        f"{step.tool} wasn't ready in time; a further run, with more --minutes, goes on after the last tool that was"
                    )
                tell(_stage(folder, step))
        except BaseException:
            _end(process, folder / step.makes)
            raise
    if status:
        (folder / step.makes).unlink(missing_ok=True)
        raise SynthesisError(_reason(folder, step, log))


def _end(process, unfinished):
    """Stop make and its tool; what they were writing is removed."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(_SECONDS_TO_END)
            break
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break
    unfinished.unlink(missing_ok=True)


_STAGES = re.compile(
    r"^(?:\d[\d.]*\. Executing (?P<command>[A-Z_0-9]+)"
    r"|Info: (?P<pack>Packing|Promoting|Annotating)"
    r"|Info: (?:\s*at iteration #|iter=)(?P<iteration>\d+)"
    r"|Info: (?P<route>Routing|Setting up routing|Running router)"
    r"|Info:\s+iter=\d+ wires=\d+ overused=(?P<shared>\d+)"
    r"|Info:\s+\d+ \|\s+\d+\s+\d+ \|\s+\d+\s+\d+ \|\s+(?P<left>\d+)\|)",
    re.MULTILINE,
)


def _stage(folder, step):
    """What a tool is doing, from the end of its log."""
    log = folder / (step.log or "")
    if step.log is None or not log.exists():
        return "starting"
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - 20000))
        found = list(_STAGES.finditer(file.read().decode(errors="replace")))
    if not found:
        return "reading"
    last = found[-1]
    if last["command"]:
        return last["command"]
    if last["iteration"]:
        return f"placement, iteration {last['iteration']}"
    if last["left"]:
        return f"routing, {last['left']} arcs left"
    if last["shared"]:
        return f"routing, {last['shared']} wires used twice"
    return "routing" if last["route"] else "packing"


def _reason(folder, step, log):
    """Why a tool failed, in one sentence."""
    if step.tool == "yosys":
        for name, sentence in (
            ("dissolved_memories.txt", "would dissolve memories into flip-flops"),
            ("latches.txt", "found latches"),
        ):
            path = folder / name
            lines = path.read_text().splitlines() if path.exists() else []
            cells = [line for line in lines if not line.startswith("Warning")]
            if cells:
                return f"yosys {sentence}: {', '.join(cells[:5])}{' ...' if len(cells) > 5 else ''}"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("ERROR")]
    return f"{step.tool} failed ({lines[-1] if lines else 'no reason given'}); its log is {folder / (step.log or log.name)}"
