"""Engines that run heads on the core: the golden model, MyHDL, and the converted Verilog in two simulators."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from edalize.flows.sim import Sim

from flows import stimulus, verilog
from flows.heads import InputError
from flows.run import Run, SimulationError
from golden.config import Config

ENGINES = ("golden", "myhdl", "icarus", "verilator")
ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
TESTBENCH = ROOT / "hdl" / "testbench.v"
WAIVERS = ROOT / "flows" / "lint.vlt"
TOPLEVEL = "sanger_testbench"
_POLL_SECONDS = 0.5

VERILATOR_OPTIONS = ("--timing", "-O3", "--x-assign fast", "--x-initial fast", "-Wno-fatal", "-Wno-lint",
                     "-Wno-style", "-Wno-TIMESCALEMOD", "-CFLAGS -O2")  # fmt: skip
LARGE_MULTIPLIERS = 512
LARGE_OPTIONS = ("--build", "--hierarchical", "--output-split 20000")
REPEATED = ("sanger_row", "sanger_row_packer", "sanger_score_cell")
"""For arrays with more multipliers than that, Verilator compiles modules of which there are many apart, once for all of
them: otherwise the C++ compiler takes half an hour."""

IVERILOG_OPTIONS = ("-g2012",)


def play(
    engine: str, config: Config, played: stimulus.Stimulus, waves: Path | None = None, stall: int = 0, seed: int = 1,
    limit: int | None = None, progress: Callable[[int], None] = lambda beats: None,
) -> Run:  # fmt: skip
    """Run a stimulus on an engine other than ``golden``.

    Args:
        stall: percent of cycles in which the input waits, and in which the output isn't taken.
        seed: of the stalls.
        limit: cycles after which the run counts as hung.
        progress: called now and then with the number of beats that came out so far.

    Raises:
        SimulationError: the simulator failed, or the core hung.
    """
    if engine == "myhdl":
        from flows import myhdl_engine  # MyHDL takes a second to import: only when needed

        return myhdl_engine.play(config, played, waves, stall, seed, limit, progress)
    return _play_verilog(engine, config, played, waves, stall, seed, limit, progress)


def _play_verilog(engine, config, played, waves, stall, seed, limit, progress):
    if shutil.which({"icarus": "iverilog"}.get(engine, engine)) is None:
        raise InputError(f"engine {engine} isn't installed; `make tools` installs it")
    folder = build(engine, config, bool(waves))
    run_folder = Path(f"{folder}-run-{time.monotonic_ns():x}")
    played.write(run_folder)
    try:
        plusargs = [f"+stall={stall}", f"+seed={seed}"]
        if limit is not None:
            plusargs.append(f"+limit={limit}")
        if waves is not None:
            plusargs.append(f"+waves={waves.resolve()}")
        if engine == "icarus":
            wave_format = ["-fst"] if waves is not None and waves.suffix == ".fst" else []
            command = ["vvp", "-n", str(folder / "sanger"), *wave_format, *plusargs]
        else:
            command = [str(folder / f"V{TOPLEVEL}"), *plusargs]
        log = run_folder / "log.txt"
        status = _watch(command, run_folder, log, progress)
        output, registers = run_folder / stimulus.OUTPUT_FILE, run_folder / stimulus.LOG_FILE
        text = log.read_text(errors="replace")
        if "FAIL:" not in text and "PASS:" not in text:
            kept = BUILD / f"{engine}-failed.log"
            shutil.copy(log, kept)
            last = next((line for line in reversed(text.splitlines()) if "hung" in line), f"exit status {status}")
            raise SimulationError(f"the simulation did not end ({last.strip()}); its log is {kept}")
        return Run(stimulus.read_beats(output), stimulus.counters(stimulus.read_log(registers)))
    finally:
        shutil.rmtree(run_folder, ignore_errors=True)


def _watch(command, folder, log, progress):
    """Run a simulator, telling from the size of its output how far it is."""
    output = folder / stimulus.OUTPUT_FILE
    with open(log, "w") as text, subprocess.Popen(command, cwd=folder, stdout=text, stderr=subprocess.STDOUT) as process:
        try:
            while True:
                try:
                    return process.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    if output.exists():
                        with open(output, "rb") as lines:
                            line = len(lines.readline())
                        progress(output.stat().st_size // line if line else 0)
        except BaseException:
            process.kill()
            raise


def build(engine: str, config: Config, waves: bool = False) -> Path:
    """Compile the testbench and the core's Verilog with edalize; once for the same sources, also among processes.

    Raises:
        SimulationError: the simulator refused the Verilog.
    """
    builds = BUILD / "simulation"
    name = f"{engine}-{config.name}{'-waves' if waves else ''}"
    builds.mkdir(parents=True, exist_ok=True)
    with open(builds / f"{name}.lock", "w") as lock, tempfile.TemporaryDirectory(dir=builds) as generated:
        fcntl.flock(lock, fcntl.LOCK_EX)
        files = verilog.generate(config, Path(generated))
        content = hashlib.sha256()
        for file in [*files, TESTBENCH, Path(__file__)]:
            content.update(file.read_bytes())
        folder = builds / f"{name}-{content.hexdigest()[:12]}"
        if (folder / "built").exists():
            return folder
        rtl = folder / "verilog"
        shutil.copytree(generated, rtl, dirs_exist_ok=True)
        files = [rtl / file.name for file in files]
        large = engine == "verilator" and config.multipliers > LARGE_MULTIPLIERS and not waves
        testbench = [(TESTBENCH, "systemVerilogSource")]
        if large:
            testbench = _prepare_hierarchy(rtl, config)
        edam = {
            "name": "sanger",
            "toplevel": TOPLEVEL,
            "files": [{"name": str(file), "file_type": "verilogSource"} for file in files]
            + [{"name": str(path), "file_type": kind} for path, kind in testbench],
            "parameters": {"STREAM_BITS": {"datatype": "int", "paramtype": "vlogparam", "default": config.stream_bits}},
            "flow_options": {
                "tool": engine,
                "mode": "cc" if large else "binary",
                "verilator_options": [
                    *VERILATOR_OPTIONS,
                    *(LARGE_OPTIONS if large else ()),
                    *(["--trace"] if waves else []),
                ],
                "iverilog_options": list(IVERILOG_OPTIONS),
            },
        }
        if large:
            edam["parameters"] = {}  # Verilator would look for them in the blocks too
        if engine == "icarus":
            edam["flow_options"] = {key: edam["flow_options"][key] for key in ("tool", "iverilog_options")}
        else:
            edam["flow_options"].pop("iverilog_options")
        Sim(edam, str(folder)).configure()
        log = folder / "build.log"
        jobs = {**os.environ, "MAKEFLAGS": f"-j{os.cpu_count()}"}
        with open(log, "w") as text:
            if subprocess.run(["make"], cwd=folder, env=jobs, stdout=text, stderr=subprocess.STDOUT).returncode:
                raise SimulationError(f"{engine} refused the Verilog; its log is {log}")
        (folder / "built").touch()
        return folder


_MAIN = """\
#include "V%(top)s.h"
#include "verilated.h"

// What `verilator --binary` makes, which can't be hierarchical.
int main(int argc, char** argv) {
    VerilatedContext context;
    context.commandArgs(argc, argv);
    V%(top)s top{&context};
    while (!context.gotFinish()) {
        top.eval();
        if (!top.eventsPending()) break;
        context.time(top.nextTimeSlot());
    }
    top.final();
}
"""


def _prepare_hierarchy(rtl: Path, config: Config) -> list[tuple[Path, str]]:
    """Make ``REPEATED`` modules blocks of Verilator's hierarchy; returns the files of the testbench, with their types."""
    for name in REPEATED:
        path = rtl / f"{name}.v"
        path.write_text(_without_signed_ports(path.read_text(), name))
    marks, main, testbench = rtl / "hierarchy.vlt", rtl / "main.cpp", rtl / TESTBENCH.name
    marks.write_text("`verilator_config\n" + "".join(f'hier_block -module "{name}"\n' for name in REPEATED))
    main.write_text(_MAIN % {"top": TOPLEVEL})
    text, count = re.subn(r"(parameter STREAM_BITS = )\d+", rf"\g<1>{config.stream_bits}", TESTBENCH.read_text())
    assert count == 1
    testbench.write_text(text)
    return [(marks, "vlt"), (testbench, "systemVerilogSource"), (main, "cppSource")]


def _without_signed_ports(text: str, name: str) -> str:
    """The module ``name`` in another one of its name with unsigned ports: Verilator 5.006 writes ``input signed logic``."""
    (header,) = re.findall(rf"^module {name} \((.*?)\);", text, re.MULTILINE | re.DOTALL)
    ports = [re.sub(r"//.*", "", port).strip() for port in header.split(",")]
    unsigned = ",\n    ".join(re.sub(r"\b(signed|reg|wire) ", "", port) for port in ports)
    names = [port.split()[-1] for port in ports]
    connections = ", ".join(f".{port}({port})" for port in names)
    inside = re.sub(rf"^module {name} ", f"module {name}_inside ", text, flags=re.MULTILINE)
    return f"{inside}\nmodule {name} (\n    {unsigned}\n);\n    {name}_inside contents ({connections});\nendmodule\n"
