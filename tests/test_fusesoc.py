"""FuseSoC as users run it, from the repository's root: simulation, lint, and the core as a dependency.

A slow part, deselected by default: lint of every named configuration (``make lint-all``).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows import engines, verilog
from golden.config import CONFIGS

ROOT = Path(__file__).resolve().parents[1]
FLAG = "tiny"

pytestmark = [
    pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} isn't installed") for tool in ("iverilog", "verilator")
]


def fusesoc(build, *arguments, name="sanger", cores="."):
    """Run FuseSoC of this environment with a build folder of its own; gives the finished process."""
    tools = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    roots = ["--cores-root", ".", "--cores-root", cores]
    command = [tools / "fusesoc", *roots, "run", "--build-root", build, *arguments, f"--flag={FLAG}", name]
    return subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    """Finished simulation in Icarus and its folder."""
    build = tmp_path_factory.mktemp("icarus")
    return fusesoc(build, "--target=sim"), next(build.glob("sanger*/sim"), build)


def test_the_default_simulation_passes_in_icarus(simulation):
    done, _ = simulation
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vvp" in done.stdout and "PASS: 256 beats equal to the golden model's" in done.stdout


def again(folder):
    """Run the simulation that is in a folder as FuseSoC left it."""
    return subprocess.run(["make", "-C", folder, "run"], capture_output=True, text=True)


def test_one_wrong_bit_of_the_expected_output_fails(simulation):
    _, folder = simulation
    expected = folder / "expected.hex"
    right = expected.read_text()
    lines = right.splitlines()
    flags, data = lines[100].split()
    lines[100] = f"{flags} {int(data, 16) ^ 1 << 17:x}"
    try:
        expected.write_text("\n".join(lines) + "\n")
        done = again(folder)
        assert done.returncode != 0 and "FAIL: 1 differences" in done.stdout
        expected.write_text("".join(f"{line}\n" for line in right.splitlines()[:-1]))
        assert again(folder).returncode != 0
    finally:
        expected.write_text(right)
    assert again(folder).returncode == 0


def test_one_wrong_bit_in_the_verilog_fails(simulation, tmp_path):
    """Of the words that leave the core, inverted."""
    _, folder = simulation
    broken = tmp_path / "sim"
    shutil.copytree(folder, broken)
    module = next(broken.rglob("sanger_part_of_frame*.v"))
    text = module.read_text()
    assert text.count("part <= source;") == 1
    module.write_text(text.replace("part <= source;", "part <= source ^ 8;"))
    for old in broken.glob("sanger_[0-9]*"):
        if old.suffix not in (".yml", ".scr") and old.is_file() and not old.name.endswith(".eda.yml"):
            old.unlink()
    assert subprocess.run(["make", "-C", broken], capture_output=True).returncode == 0
    done = again(broken)
    assert done.returncode != 0 and "FAIL" in done.stdout


def test_the_simulator_can_be_chosen(tmp_path):
    """FuseSoC ignores --tool for targets with a fixed tool, and would run Icarus without a word."""
    done = fusesoc(tmp_path, "--target=sim", "--tool=verilator")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: 256 beats" in done.stdout and "vvp" not in done.stdout
    assert list(tmp_path.rglob("Vsanger_testbench"))


def test_lint_is_clean(tmp_path):
    """All warnings on, except those in flows/lint.vlt."""
    done = fusesoc(tmp_path, "--target=lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_as_a_dependency_the_core_brings_its_verilog_and_nothing_else(tmp_path):
    (tmp_path / "user.core").write_text(
        "CAPI=2:\nname: ::user:0\nfilesets: {rtl: {depend: ['::sanger:0.1.0']}}\n"
        "targets: {default: {filesets: [rtl], toplevel: sanger_core, flow: lint, flow_options: {tool: verilator}}}\n"
    )
    done = fusesoc(tmp_path / "build", "--setup", name="user", cores=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = yaml.safe_load(next(tmp_path.rglob("*.eda.yml")).read_text())
    names = [Path(file["name"]).name for file in listed["files"]]
    assert "sanger_core.v" in names and all(name.startswith("sanger_") and name.endswith(".v") for name in names)


def test_every_waiver_has_its_reason():
    lines = engines.WAIVERS.read_text().splitlines()
    for before, line in zip(lines, lines[1:]):
        assert not line.startswith("lint_off") or before.startswith("// "), line


def test_lint_sees_a_fault(tmp_path):
    """A signal that nobody drives; otherwise the waivers would hide everything."""
    files = verilog.generate(CONFIGS[FLAG], tmp_path)
    top = files[-1]
    top.write_text(top.read_text().replace("endmodule", "wire undriven_fault; wire used = undriven_fault & clk; endmodule"))
    assert lint(tmp_path, files).returncode != 0


def lint(folder, files):
    command = ["verilator", "--lint-only", "-Wall", "--top-module", verilog.TOP, engines.WAIVERS, *files]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.lint_all
@pytest.mark.parametrize("name", CONFIGS)
def test_every_configuration_lints_clean(name, tmp_path):
    done = lint(tmp_path, verilog.generate(CONFIGS[name], tmp_path))
    assert done.returncode == 0, done.stderr
