"""The command line: what it writes, and that bad input gets one sentence, status 2 and nothing written."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flows import engines, stimulus
from flows.__main__ import main
from flows.run import SimulationError
from golden.config import CONFIGS

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
TINY_CONFIGS = [config.name for config in CONFIGS.values() if config.d == 16]
TINY = TINY_CONFIGS[0]
TINY_HEAD = DATA / "narrow_l2_n64.npz"
REPORT_KEYS = set(
    "config engine n_q n_k d threshold density cycles rounds utilization efficiency speedup_vs_dense bit_exact"
    " error_vs_dense error_vs_masked error_vs_float_masked wall_seconds".split()
)
needs = {
    engine: pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} isn't installed")
    for engine, tool in (("icarus", "iverilog"), ("verilator", "verilator"))
}


def rows(*shape, seed=1):
    return np.random.default_rng(seed).integers(-100, 101, shape).astype(np.int8)


def head_arrays(n_q=3, n_k=4, d=16, **changes):
    """Arrays of a good head file, some of them changed or (None) left out."""
    arrays = dict(q=rows(n_q, d, seed=1), k=rows(n_k, d, seed=2), v=rows(n_k, d, seed=3), q_scale=0.01, k_scale=0.02, v_scale=0.5)
    return {name: value for name, value in {**arrays, **changes}.items() if value is not None}


@pytest.fixture
def head_file(tmp_path):
    def write(name="head.npz", **changes):
        np.savez(tmp_path / name, **head_arrays(**changes))
        return tmp_path / name

    return write


def run(*arguments):
    """Status of a command."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


@pytest.fixture
def refused(capsys, tmp_path):
    """Run a command that must be refused; gives its sentence."""

    def check(*arguments):
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        assert run(*arguments) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("python -m flows"), said
        assert sorted(tmp_path.rglob("*")) == before
        return said.err

    return check


# Help and mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["simulate"], ["verilog"], ["calibrate"]])
def test_help_says_what_there_is(arguments, capsys):
    assert run(*arguments, "--help") == 0
    said = capsys.readouterr().out
    assert "usage: python -m flows" in said
    for word in {"simulate": ["--engine", "--threshold", "--causal", "--no-residual", "--out", "--report", "--waves", *CONFIGS],
                 "verilog": ["--config", "--out"], "calibrate": ["--ridge"]}.get(" ".join(arguments), ["simulate", "verilog"]):  # fmt: skip
        assert word in said


def test_the_module_runs_as_users_run_it(tmp_path):
    """Another process, so that the status is the shell's."""
    missing = tmp_path / "none.npz"
    done = subprocess.run([sys.executable, "-m", "flows", "simulate", missing], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == f"python -m flows simulate: {missing}: there is no such file\n"


@pytest.mark.parametrize("changes, sentence", [
    (dict(v=None), "holds no array v"),
    (dict(q=None, k=None), "holds no array q or k"),
    (dict(q=rows(16)), "q has shape [16]"),
    (dict(q=rows(1, 3, 16)), "must all be"),
    (dict(q=rows(1, 1, 3, 16)), "must all be"),
    (dict(q=rows(3, 16).astype(np.int32)), "int32"),
    (dict(q=np.array([["a"]])), "must hold int8 or floats"),
    (dict(q=rows(2, 3, 16), k=rows(2, 4, 16), v=rows(3, 4, 16)), "2, 2, 3 heads"),
    (dict(q=rows(0, 3, 16), k=rows(0, 4, 16), v=rows(0, 4, 16)), "holds no head"),
    (dict(q=np.full((3, 16), np.nan)), "q holds NaN or infinity"),
    (dict(v=np.full((4, 16), np.inf, np.float32)), "v holds NaN or infinity"),
    (dict(d=32), "32 dimensions"),
    (dict(q=rows(3, 8)), "8 dimensions"),
    (dict(v=rows(5, 16)), "both must have n_k"),
    (dict(n_q=0), "1 to 65535"),
    (dict(n_k=65), "takes 1 to 64"),
    (dict(n_k=0), "takes 1 to 64"),
    (dict(q_scale=0.0), "above 0"),
    (dict(k_scale=np.nan), "above 0"),
    (dict(v_scale=[1.0, 2.0]), "v_scale has shape [2]"),
    (dict(v_scale="large"), "must hold a number"),
    (dict(q_scale=3.0, k_scale=3.0), "below 0.25"),
])  # fmt: skip
def test_a_head_that_cannot_be_used_is_refused(changes, sentence, head_file, refused, tmp_path):
    outputs = ["--out", tmp_path / "out.npz", "--report", tmp_path / "report.json"]
    assert sentence in refused("simulate", head_file(**changes), "--config", TINY, *outputs)


@pytest.mark.parametrize("options, sentence", [
    (["--threshold", "-0.1"], "0 to 1"),
    (["--threshold", "1.5"], "0 to 1"),
    (["--threshold", "nan"], "0 to 1"),
    (["--threshold", "low"], "invalid float"),
    (["--config", "huge"], "there is no configuration 'huge'"),
    (["--engine", "abacus"], "invalid choice"),
    (["--head", "1"], "there is no head 1; there are 0 to 0"),
    (["--head", "-1"], "there is no head -1"),
    (["--causal"], "can't have more queries than keys"),
    (["--out", "{tmp}/none/out.npz"], "there is no folder"),
    (["--report", "{tmp}/none/report.json"], "there is no folder"),
    (["--waves", "{tmp}/core.vcd"], "no waveforms"),
    (["--waves", "{tmp}/none/core.vcd", "--engine", "icarus"], "there is no folder"),
    (["--predict-dims", "0"], "must be 1 to 16"),
    (["--predict-dims", "17"], "must be 1 to 16"),
    (["--stall", "99"], "0 to 95"),
    (["--transform", "{tmp}/none.npz"], "there is no such file"),
    (["--colour"], "unrecognized arguments"),
])  # fmt: skip
def test_a_wrong_option_is_refused(options, sentence, head_file, refused, tmp_path):
    options = [option.format(tmp=tmp_path) for option in options]
    config = [] if "--config" in options else ["--config", TINY]
    assert sentence in refused("simulate", head_file(n_q=5, n_k=4), *config, *options)


@pytest.mark.parametrize("arguments, sentence", [
    ([], "required: COMMAND"),
    (["simulate"], "required: HEAD.npz"),
    (["dance"], "invalid choice"),
    (["verilog", "--out", "{tmp}/rtl", "--config", "huge"], "there is no configuration"),
    (["verilog"], "required: --out"),
    (["calibrate", "{tmp}/none.npz", "--out", "{tmp}/t.npz"], "there is no such file"),
])  # fmt: skip
def test_a_wrong_command_is_refused(arguments, sentence, refused, tmp_path):
    assert sentence in refused(*(argument.format(tmp=tmp_path) for argument in arguments))


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_archive_is_refused(content, refused, tmp_path):
    (tmp_path / "head.npz").write_bytes(content)
    assert "can't be read as a NumPy .npz file" in refused("simulate", tmp_path / "head.npz", "--config", TINY)


def test_verilog_into_a_place_that_is_a_file_is_refused(refused, tmp_path):
    (tmp_path / "rtl").write_text("")
    assert "rtl" in refused("verilog", "--config", TINY, "--out", tmp_path / "rtl")


# Calibrate -----------------------------------------------------------------------------------------------------------------


def floats(*shape, seed=4):
    return np.random.default_rng(seed).normal(size=shape)


def float_head(tokens=80, heads=2, d=16, **changes):
    return {**{name: floats(heads, tokens, d, seed=seed) for seed, name in enumerate("qkv")}, **changes}


def test_calibrate_makes_a_transform_that_simulate_takes(tmp_path, capsys):
    """Scores stay, so the output with all dimensions is nearly the same."""
    np.savez(tmp_path / "heads.npz", **float_head(tokens=64))
    assert run("calibrate", tmp_path / "heads.npz", tmp_path / "heads.npz", "--out", tmp_path / "t.npz") == 0
    assert "2 heads of 16 dimensions, from 128 tokens" in capsys.readouterr().out
    for name, extra in (("plain", []), ("folded", ["--transform", tmp_path / "t.npz", "--predict-dims", "16"])):
        arguments = ["simulate", tmp_path / "heads.npz", "--config", TINY, "--threshold", "0", "--out", tmp_path / f"{name}.npz"]
        assert run(*arguments, *extra) == 0
    plain, folded = (np.load(tmp_path / f"{name}.npz")["o"] for name in ("plain", "folded"))
    assert 0 < np.linalg.norm(plain - folded) < 0.03 * np.linalg.norm(plain)


def test_calibrate_warns_when_there_are_few_tokens(tmp_path, capsys):
    np.savez(tmp_path / "heads.npz", **float_head(tokens=20))
    assert run("calibrate", tmp_path / "heads.npz", "--out", tmp_path / "t.npz") == 0
    assert "expect a poor transform" in capsys.readouterr().err


@pytest.mark.parametrize("second, options, sentence", [
    (float_head(heads=3), [], "the files don't fit one another"),
    (float_head(d=32), [], "the files don't fit one another"),
    (float_head(q=np.zeros((2, 80, 16))), ["--only-second", "--ridge", "0"], "head 0: the second moment of q is singular"),
    (float_head(tokens=8), ["--only-second", "--ridge", "0"], "is singular"),
    (float_head(), ["--ridge", "-1"], "must be 0 or more"),
    (float_head(), ["--ridge", "nan"], "must be 0 or more"),
    (float_head(), ["--out", "{tmp}/none/t.npz"], "there is no folder"),
])  # fmt: skip
def test_a_calibration_that_cannot_be_made_is_refused(second, options, sentence, refused, tmp_path):
    np.savez(tmp_path / "a.npz", **float_head())
    np.savez(tmp_path / "b.npz", **second)
    files = [tmp_path / "b.npz"] if "--only-second" in options else [tmp_path / "a.npz", tmp_path / "b.npz"]
    options = [option.format(tmp=tmp_path) for option in options if option != "--only-second"]
    assert sentence in refused("calibrate", *files, "--out", tmp_path / "t.npz", *options)


@pytest.mark.parametrize("arrays, sentence", [
    (dict(q=np.eye(16)), "holds no array k"),
    (dict(q=np.eye(16), k=np.eye(8)), "of one shape"),
    (dict(q=np.eye(8), k=np.eye(8)), "needs [1, 16, 16]"),
    (dict(q=np.eye(16, dtype=int), k=np.eye(16, dtype=int)), "must both be floats"),
    (dict(q=np.stack([np.eye(16)] * 2), k=np.stack([np.eye(16)] * 2)), "needs [1, 16, 16]"),
    (dict(q=np.zeros((16, 16)), k=np.eye(16)), "singular"),
    (dict(q=2 * np.eye(16), k=np.eye(16)), "don't leave scores as they are"),
    (dict(q=np.full((16, 16), np.nan), k=np.eye(16)), "NaN"),
])  # fmt: skip
def test_a_transform_that_cannot_be_used_is_refused(arrays, sentence, head_file, refused, tmp_path):
    np.savez(tmp_path / "t.npz", **arrays)
    assert sentence in refused("simulate", head_file(), "--config", TINY, "--transform", tmp_path / "t.npz")


# What is written ------------------------------------------------------------------------------------------------------------


def test_outputs_and_report_hold_what_is_promised(head_file, tmp_path, capsys):
    path = head_file(n_q=3, n_k=4)
    out, made = tmp_path / "out.npz", tmp_path / "report.json"
    assert run("simulate", path, "--config", TINY, "--threshold", "0.3", "--out", out, "--report", made) == 0
    stored, report = np.load(out), json.loads(made.read_text())
    assert set(stored.files) == {"o", "o_int", "mask"}
    assert stored["o_int"].dtype == np.int16 and stored["mask"].dtype == bool
    assert stored["o"].shape == stored["o_int"].shape == (3, 16) and stored["mask"].shape == (3, 4)
    assert np.allclose(stored["o"], stored["o_int"] * 0.5 / 256)
    assert REPORT_KEYS <= set(report)
    assert (report["config"], report["engine"], report["n_q"], report["n_k"], report["d"]) == (TINY, "golden", 3, 4, 16)
    assert report["threshold"] == 0.3 and report["density"] == stored["mask"].mean() and report["bit_exact"] is True
    assert report["error_vs_float_masked"] is None
    table = capsys.readouterr().out
    assert all(key in table for key in REPORT_KEYS)


def test_a_file_with_a_head_axis_gives_outputs_with_one(tmp_path):
    np.savez(tmp_path / "heads.npz", **float_head(tokens=10))
    for options, shape in (([], (2, 10, 16)), (["--head", "1"], (10, 16))):
        assert run("simulate", tmp_path / "heads.npz", "--config", TINY, "--out", tmp_path / "out.npz", *options) == 0
        assert np.load(tmp_path / "out.npz")["o_int"].shape == shape


def test_floats_are_compared_with_themselves_before_quantising(tmp_path):
    """The float reference is another one than that of the integers, and the default threshold is 1 / n_k."""
    np.savez(tmp_path / "heads.npz", **float_head(tokens=40))
    assert run("simulate", tmp_path / "heads.npz", "--config", TINY, "--report", tmp_path / "report.json") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["threshold"] == 1 / 40
    assert 0 < report["error_vs_masked"] < report["error_vs_float_masked"] < 0.05


def test_a_threshold_and_the_residual_have_their_effect(head_file, tmp_path):
    densities, errors = [], []
    path = head_file(n_q=20, n_k=40)
    for options in (["--threshold", "0"], ["--threshold", "0.05"], ["--threshold", "0.05", "--no-residual"]):
        assert run("simulate", path, "--config", TINY, "--report", tmp_path / "report.json", *options) == 0
        report = json.loads((tmp_path / "report.json").read_text())
        densities.append(report["density"])
        errors.append(report["error_vs_dense"])
    assert densities[0] == 1 > densities[1] == densities[2]
    assert errors[0] < errors[1] < errors[2]


def test_causal_heads_see_no_future(head_file, tmp_path):
    assert run("simulate", head_file(n_q=6, n_k=6), "--config", TINY, "--causal", "--threshold", "0", "--out", tmp_path / "o.npz") == 0
    assert (np.load(tmp_path / "o.npz")["mask"] == np.tril(np.ones((6, 6), bool))).all()


@pytest.mark.parametrize("engine, config", [
    pytest.param("myhdl", TINY_CONFIGS[0]),
    pytest.param("icarus", TINY_CONFIGS[0], marks=needs["icarus"]),
    *(pytest.param("verilator", config, marks=needs["verilator"]) for config in TINY_CONFIGS),
])  # fmt: skip
def test_every_engine_gives_the_bits_of_the_golden_model(engine, config, tmp_path):
    """A shipped head; cycles come from the core's counters, and rounds are those of the golden model."""
    outputs, reports = [], []
    for used in ("golden", engine):
        arguments = ["simulate", TINY_HEAD, "--config", config, "--head", "0", "--engine", used]
        assert run(*arguments, "--out", tmp_path / "out.npz", "--report", tmp_path / "report.json") == 0
        outputs.append(dict(np.load(tmp_path / "out.npz")))
        reports.append(json.loads((tmp_path / "report.json").read_text()))
    for name in ("o", "o_int", "mask"):
        assert (outputs[0][name] == outputs[1][name]).all()
    golden, core = reports
    assert golden["cycles"] is None and core["cycles"] > 0 and core["bit_exact"] is True
    assert core["density"] == golden["density"] and 0 < core["efficiency"] <= 1 and core["speedup_vs_dense"] > 0
    if CONFIGS[config].array == "tiled":
        assert core["rounds"] == golden["rounds"] and core["utilization"] == golden["utilization"]


@needs["icarus"]
def test_a_single_wrong_bit_makes_the_command_fail(head_file, tmp_path, monkeypatch, capsys):
    """One bit of what is expected, turned over, stands for one of the core's."""
    right = stimulus.build

    def wrong(*arguments):
        played = right(*arguments)
        beat = played.expected[3]
        played.expected[3] = replace(beat, data=beat.data ^ 1)
        return played

    monkeypatch.setattr(stimulus, "build", wrong)
    arguments = ["simulate", head_file(), "--config", TINY, "--engine", "icarus"]
    assert run(*arguments, "--out", tmp_path / "out.npz", "--report", tmp_path / "report.json") == 1
    assert "NOT bit-exact: 1 of" in capsys.readouterr().err
    assert json.loads((tmp_path / "report.json").read_text())["bit_exact"] is False
    assert np.load(tmp_path / "out.npz")["o_int"].shape == (3, 16)


def test_a_simulator_that_fails_is_no_fault_of_the_input(head_file, monkeypatch, capsys):
    def hung(*_, **__):
        raise SimulationError("the simulation did not end")

    monkeypatch.setattr(engines, "play", hung)
    assert run("simulate", head_file(), "--config", TINY, "--engine", "icarus") == 1
    assert capsys.readouterr().err == "python -m flows simulate: the simulation did not end\n"


@needs["icarus"]
def test_stalls_and_waves_change_no_bit(head_file, tmp_path):
    path = head_file()
    for number, options in enumerate([[], ["--stall", "60", "--seed", "3"], ["--waves", tmp_path / "core.vcd"],
                                      ["--waves", tmp_path / "core.fst"]]):  # fmt: skip
        out = tmp_path / f"{number}.npz"
        assert run("simulate", path, "--config", TINY, "--engine", "icarus", "--out", out, *options) == 0
        assert (np.load(out)["o_int"] == np.load(tmp_path / "0.npz")["o_int"]).all()
    assert (tmp_path / "core.vcd").read_text(errors="replace").startswith("$date") and (tmp_path / "core.fst").stat().st_size > 0


def test_myhdl_writes_waves_too(head_file, tmp_path):
    waves = tmp_path / "core.vcd"
    assert run("simulate", head_file(n_q=1, n_k=2), "--config", TINY, "--engine", "myhdl", "--waves", waves) == 0
    assert waves.stat().st_size > 0


def test_verilog_comes_one_file_a_module_and_the_same_each_time(tmp_path, capsys):
    for folder in ("a", "b"):
        assert run("verilog", "--config", TINY, "--out", tmp_path / folder) == 0
    assert f"configuration {TINY}" in capsys.readouterr().out
    one, other = (sorted((tmp_path / folder).iterdir()) for folder in ("a", "b"))
    assert "sanger_core.v" in [file.name for file in one] and len(one) > 20
    assert [file.read_text() for file in one] == [file.read_text() for file in other]
    for file in one:
        text = file.read_text()
        assert text.count("\nmodule ") + text.startswith("module ") == 1 and f"module {file.stem} " in text.replace("(", " ")
