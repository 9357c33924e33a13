"""Synthesis: the parsers of the tools' reports, what makes a build fail, the command line, and tiny through the tools."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from edalize.flows.gls import Gls
from myhdl import Signal

from flows import pins, resource_use, study, synth, synth_report, verilog
from flows.__main__ import main
from flows.synth_report import RESOURCES, Part, ReportError
from golden.config import CONFIGS
from hdl.add_chosen import add_chosen
from hdl.add_gated import add_gated
from hdl.add_subtract import accumulate, add_subtract
from hdl.convert import convert
from hdl.stream import Signed
from tests.cosimulation import SYNTHESIS_SCRIPTS, set_up_synthesis

REPORTS = Path(__file__).parent / "synthesis"
PART = Part("LFE5U-85F", lut=83640, reg=83640, blkmem=208, dsp=156)
TINY = CONFIGS["tiny"]

needs_yosys = pytest.mark.skipif(shutil.which("yosys") is None, reason="no Yosys: make tools")


@pytest.fixture(scope="module")
def report():
    """Of the little design beside its reports."""
    return synth_report.parse(REPORTS, "design", "sanger_pins", PART)


# Parsers -------------------------------------------------------------------------------------------------------------


def test_the_blocks_add_up_to_the_core(report):
    blocks = {path: counts for path, counts in report["modules"].items() if path}
    assert set(blocks) == {"array", "bank_0", "bank_1", "predictor"}
    for resource in ("blkmem", "dsp"):  # the core itself has registers and gates too
        assert sum(counts[resource] for counts in blocks.values()) == report[resource]
    assert report["blkmem"] == 2 and blocks["bank_0"]["blkmem"] == 1
    assert report["dsp"] == blocks["array"]["dsp"] == 1


def test_carries_and_distributed_ram_count_as_luts(report):
    cells = report["cells"]
    assert cells["CCU2C"] and cells["TRELLIS_DPR16X4"]
    assert report["lut"] == cells["LUT4"] + 2 * cells["CCU2C"] + 6 * cells["TRELLIS_DPR16X4"]
    assert report["modules"]["predictor"]["lut"] == 2 * cells["CCU2C"] + 6 * cells["TRELLIS_DPR16X4"]


def test_shares_are_of_the_part(report):
    assert report["share"]["blkmem"] == pytest.approx(2 / 208, abs=1e-4)


def test_the_clock_is_that_of_place_and_route(report):
    assert report["fmax"] == pytest.approx(78.28, abs=0.01)


def test_the_critical_path_names_its_blocks_and_adds_up(report):
    path = report["critical_path"]
    assert path["from"].startswith("bank_0.") and path["to"].startswith("array.")
    assert path["block"] == "core (bank_0 to array)"
    assert path["nanoseconds"] == pytest.approx(1000 / report["fmax"], abs=0.02)
    assert path["logic"] + path["routing"] == pytest.approx(path["nanoseconds"], abs=0.02)
    assert path["levels"] == 1  # the multiplier


def test_hierarchical_netlists_count_the_same(tmp_path):
    """As for Xilinx, whose hierarchy is kept."""
    modules = {
        "sanger_core": {"cells": {"inst_bank_0": {"type": "bank"}, "inst_bank_1": {"type": "bank"}, "x": {"type": "LUT6"}}},
        "bank": {"cells": {"ram": {"type": "RAMB18E2"}, "$1": {"type": "FDRE"}, "p": {"type": "DSP48E2"}}},
        "RAMB18E2": {"attributes": {"blackbox": "1"}, "cells": {}},
    }
    path = tmp_path / "hierarchical.json"
    path.write_text(json.dumps({"modules": modules}))
    instances, cells, _ = synth_report.parse_netlist(path, "sanger_core")
    assert instances[""] == {"lut": 1, "reg": 2, "blkmem": 1, "dsp": 2}
    assert instances["inst_bank_1"] == {"lut": 0, "reg": 1, "blkmem": 0.5, "dsp": 1}
    assert cells["RAMB18E2"] == 2


def test_parts_of_all_rows_are_added_up(tmp_path):
    """Multiplexers, bubbles, multipliers and exponentials apart, in a kept hierarchy and in a flattened one."""
    flat = {f"inst_array.inst_row_{r}.inst_lane_{j}.inst_bubbles.x": {"type": "SRLC32E"} for r in range(2) for j in range(3)}
    kept = {
        "sanger_core": {"cells": {"inst_array": {"type": "array"}}},
        "array": {"cells": {f"inst_row_{r}": {"type": "row"} for r in range(2)}},
        "row": {"cells": {"inst_softmax": {"type": "softmax"}, **{f"inst_lane_{j}": {"type": "lane"} for j in range(3)}}},
        "lane": {"cells": {"inst_bubbles": {"type": "bubbles"}, "own": {"type": "FDRE"}}},
        "bubbles": {"cells": {"x": {"type": "SRLC32E"}}},
        "softmax": {"cells": {"x": {"type": "DSP48E2"}}},
    }
    made = []
    for modules in ({"sanger_core": {"cells": flat}}, kept):
        path = tmp_path / "netlist.json"
        path.write_text(json.dumps({"modules": modules}))
        made.append(synth_report.parse_netlist(path, "sanger_core")[2])
    bubbles = {"lut": 6, "reg": 0, "blkmem": 0, "dsp": 0}
    assert made[0] == {"": bubbles, "lane": bubbles, "lane.bubbles": bubbles}
    assert made[1]["lane.bubbles"] == bubbles and made[1]["lane"] == {**bubbles, "reg": 6}
    assert made[1]["softmax"]["dsp"] == made[1][""]["dsp"] == 2


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"modules": {"other": {"cells": {}}}}'])
def test_a_file_that_is_no_netlist_is_named(tmp_path, text):
    path = tmp_path / "sanger.json"
    path.write_text(text)
    with pytest.raises(ReportError, match="sanger.json"):
        synth_report.parse_netlist(path, "sanger_core")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"fmax": {}, "utilization": {}, "critical_paths": []}'])
def test_a_file_that_is_no_report_of_nextpnr_is_named(tmp_path, text):
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(ReportError, match="report.json"):
        synth_report.parse_place_and_route(path)


def test_heads_a_second_follow_from_cycles_and_clock():
    synthesis = {"fmax": 100.0, "dsp": 100, "lut": 50_000}
    simulation = {"heads": 12, "n_q": 512, "n_k": 512, "d": 32, "threshold": 1 / 512, "density": 0.25, "cycles": 120_000}
    figures = synth_report.performance(synthesis, simulation)
    assert figures["heads_per_second"] == pytest.approx(10_000)
    assert figures["gops_dense"] == pytest.approx(4 * 512 * 512 * 32 * 10_000 / 1e9)
    assert figures["gops_effective"] == pytest.approx(figures["gops_dense"] / 4)
    assert figures["gops_per_dsp"] == pytest.approx(figures["gops_effective"] / 100)
    assert figures["gops_per_klut"] == pytest.approx(figures["gops_effective"] / 50)


def test_without_a_clock_there_are_no_heads_a_second():
    assert synth_report.performance({"fmax": None}, {"cycles": 100}) is None


def test_like_instances_are_shown_together(report):
    rows = synth_report.groups(report)
    assert rows[0] == ((), 1, report["modules"][""])
    assert (("bank",), 2, {"lut": 0, "reg": 0, "blkmem": 2, "dsp": 0}) in rows


def test_the_table_is_printed(report, capsys):
    synth_report.print_synthesis({"config": "design", **report})
    printed = capsys.readouterr().out
    assert "bank x 2" in printed and "78.28 MHz" in printed and "critical path" in printed


def test_the_estimate_after_placement_stands_in_for_the_clock(tmp_path):
    shutil.copy(REPORTS / "design.json", tmp_path)
    (tmp_path / "next.log").write_text("Info: Max frequency for clock '$glbnet$clk': 61.55 MHz (FAIL at 100.00 MHz)\n")
    made = synth_report.parse(tmp_path, "design", "sanger_pins", PART)
    assert made["fmax"] is None and made["fmax_estimate"] == 61.55


# What makes a build fail ---------------------------------------------------------------------------------------------


def test_a_multiplier_in_prediction_is_a_mistake(report):
    wrong = {**report, "modules": {"predictor": {**dict.fromkeys(RESOURCES, 0), "dsp": 3}}}
    assert not synth_report.mistakes(report, "")
    assert "predictor has 3" in synth_report.mistakes(wrong, "")[0]


def test_a_memory_lost_in_reading_is_a_mistake(report):
    log = r"Warning: Replacing memory \memory with list of registers. See sanger_ram_d64.v:30"
    assert "flip-flops" in synth_report.mistakes(report, log)[0]
    assert not synth_report.mistakes(report, log.replace(r"\memory", r"\queries"))


DESIGNS = {
    "latches": ("always @* if (d[0]) q = d;", "latches"),
    "dissolved memories": (
        "reg [7:0] memory [0:63]; always @(posedge clk) begin memory[d[5:0]] <= d; memory[d[7:2]] <= ~d;"
        " memory[d[6:1]] <= d + 1; end always @* q = memory[d[5:0]];",
        "dissolve memories into flip-flops",
    ),
    "combinational loops": ("wire x = y ^ d[0]; wire y = x & d[1]; always @* q = {8{y}};", "combinational loop"),
    "nothing": ("always @(posedge clk) q <= d;", None),
}


@needs_yosys
@pytest.mark.parametrize("design", DESIGNS)
def test_synthesis_refuses(tmp_path, design):
    body, sentence = DESIGNS[design]
    (tmp_path / "sanger_core.v").write_text(
        f"module sanger_core (input clk, input [7:0] d, output reg [7:0] q); {body} endmodule\n"
    )
    set_up_synthesis(tmp_path, ["sanger_core.v"], "sanger_core")
    yosys = synth.TARGETS["ecp5"].steps[:1]
    if sentence is None:
        synth.run(tmp_path, yosys, minutes=5, title=design)
        return
    with pytest.raises(synth.SynthesisError, match=re.escape(sentence)):
        synth.run(tmp_path, yosys, minutes=5, title=design)
    assert not (tmp_path / "sanger.json").exists(), "a run that failed left a netlist"


@needs_yosys
def test_a_run_that_is_out_of_time_leaves_nothing_half_done(tmp_path):
    folder = synth.set_up(TINY, "ecp5")
    copied = shutil.copytree(folder, tmp_path / "work", ignore=shutil.ignore_patterns("sanger.*", "seconds.json"))
    with pytest.raises(synth.OutOfTime):
        synth.run(copied, synth.TARGETS["ecp5"].steps[:1], minutes=0.02, title="tiny")
    assert not (copied / "sanger.json").exists()


@pytest.mark.parametrize("crashes, code, made", [(1, 134, True), (1, 139, True), (2, 134, False), (1, 1, False)])
def test_yosys_runs_once_more_if_abc_crashed(tmp_path, crashes, code, made):
    """... once, and not after any other failure."""
    message = f'ERROR: ABC: execution of command ""berkeley-abc" -s" failed: return code {code}.'
    (tmp_path / "Makefile").write_text(
        f"made:\n\t@echo x >> runs\n\t@[ $$(wc -l < runs) -gt {crashes} ] || {{ echo '{message}'; exit 1; }}\n\t@touch made\n"
    )
    steps = (synth.Step("yosys", "made"),)
    if made:
        synth.run(tmp_path, steps, minutes=1, title="design")
    else:
        with pytest.raises(synth.SynthesisError, match=f"return code {code}"):
            synth.run(tmp_path, steps, minutes=1, title="design")
    assert (tmp_path / "runs").read_text() == "x\n" * (1 if code == 1 else 2)
    assert (tmp_path / "made").exists() == made


BLOCK = """// A block (of two ports; more): as the converter writes it.

module sanger_block (
    input clk,
    input reset,
    input signed [7:0] number,
    input enable,
    output reg [2:0] count,
    output done
);

always @(posedge clk) if (reset) count <= 0; else if (enable) count <= count + number[0];
assign done = count == number;

endmodule
"""


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="no Icarus: make tools")
def test_pins_of_a_block_lead_to_all_its_ports(tmp_path):
    (tmp_path / "block.v").write_text(BLOCK)
    (tmp_path / "pins.v").write_text(pins.around(BLOCK))
    command = ["iverilog", "-g2005", "-Wall", "-o", "design", "-s", pins.NAME, "pins.v", "block.v"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert not told.returncode and "pins.v" not in told.stderr, told.stderr  # no port is missing or of another width
    assert "[8:0] inputs" in pins.around(BLOCK) and "[3:0] outputs" in pins.around(BLOCK)


# Gate-level simulation -----------------------------------------------------------------------------------------------

MULTIPLIER = """
module sanger_core (input clk, input [7:0] d, output reg [7:0] q);
    always @(posedge clk) q <= d[7:4] * d[3:0];
endmodule
"""
TESTBENCH = """
module sanger_testbench;
    parameter STREAM_BITS = 0;
    reg clk = 0;
    reg [8:0] d;
    wire [7:0] q;
    always #5 clk = !clk;
    sanger_core core (.clk(clk), .d(d[7:0]), .q(q));
    initial begin
        for (d = 0; d < 256; d = d + 1) begin
            @(negedge clk);
            if (q !== d[7:4] * d[3:0]) $fatal(1, "FAIL: %0d", d);
        end
        $display("PASS");
        $finish;
    end
endmodule
"""


@pytest.fixture(scope="module")
def gate_level(tmp_path_factory):
    """A work folder of the target ``gls``, with a little design for the core: set up, nothing run."""
    folder = tmp_path_factory.mktemp("gls")
    (folder / "sanger_core.v").write_text(MULTIPLIER)
    (folder / "testbench.v").write_text(TESTBENCH)
    for name in (*SYNTHESIS_SCRIPTS, "gls.tcl"):
        shutil.copy(synth.ROOT / "flows" / name, folder)
    target = synth.core_file()["targets"]["gls"]
    kinds = {"sanger_core.v": "verilogSource"}
    edam = {
        "name": "sanger",
        "toplevel": target["toplevel"],
        "files": [{"name": path.name, "file_type": kinds.get(path.name, "user")} for path in folder.iterdir()],
        "flow_options": target["flow_options"],
    }
    Gls(edam, str(folder)).configure()
    return folder


def gate_level_simulation(folder):
    """Let make do what is left of it."""
    return subprocess.run(["make", "-C", folder, "run"], capture_output=True, text=True)


@needs_yosys
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="no Icarus: make tools")
def test_the_netlist_is_simulated_and_one_wrong_table_fails(gate_level, tmp_path):
    """What runs is the netlist: a look-up table changed in it shows."""
    done = gate_level_simulation(gate_level)
    assert done.returncode == 0 and "PASS" in done.stdout, done.stdout + done.stderr
    assert not list(gate_level.glob("*.part")), "make would take what an interrupted run left for the netlist"
    netlist = (gate_level / "sanger.v").read_text()
    table = re.search(r"LUT_INIT\(16'h([0-9a-f]+)\)", netlist)
    assert table, "no look-up tables: not a netlist"
    broken = shutil.copytree(gate_level, tmp_path / "broken", ignore=shutil.ignore_patterns("sanger"))
    wrong = f"LUT_INIT(16'h{int(table[1], 16) ^ 0xFFFF:04x})"
    (broken / "sanger.v").write_text(netlist.replace(table[0], wrong, 1))
    assert gate_level_simulation(broken).returncode != 0


# The command ---------------------------------------------------------------------------------------------------------


def refused(capsys, *arguments):
    """What the command says when it refuses, one line on standard error."""
    try:
        status = main(list(arguments))
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr()
    assert status == 2 and not said.out
    assert said.err.count("\n") == 1
    return said.err


def test_an_unknown_target_is_refused(capsys):
    assert "stratix" in refused(capsys, "synth", "--config", "tiny", "--target", "stratix")


def test_an_unknown_configuration_is_refused(capsys):
    assert "'huge'" in refused(capsys, "synth", "--config", "huge")


def test_no_time_is_refused(capsys):
    assert "minutes" in refused(capsys, "synth", "--minutes", "0")


def test_a_report_without_a_folder_is_refused_before_anything_runs(capsys, tmp_path):
    path = tmp_path / "missing" / "report.json"
    assert "there is no folder" in refused(capsys, "synth", "--config", "tiny", "--report", str(path))


@pytest.mark.parametrize(
    "content, sentence",
    [
        ("{}", "not a report of a simulation"),
        ("]", "not a report of a simulation"),
        ('{"config": "other", "cycles": 5}', "a simulation of other"),
        ('{"config": "tiny", "cycles": null}', "has no cycles"),
    ],
)
def test_a_simulation_that_does_not_fit_is_refused(capsys, tmp_path, content, sentence):
    path = tmp_path / "simulation.json"
    path.write_text(content)
    assert sentence in refused(capsys, "synth", "--config", "tiny", "--simulation", str(path))


def test_a_missing_tool_is_named(capsys, monkeypatch):
    monkeypatch.setattr(synth.shutil, "which", lambda tool, path=None: None)
    assert "yosys isn't installed" in refused(capsys, "synth", "--config", "tiny")


# The page ------------------------------------------------------------------------------------------------------------


def test_the_page_collects_what_was_built(tmp_path, report):
    reports, page, kept = tmp_path / "reports", tmp_path / "resource-use.md", tmp_path / "kept"
    reports.mkdir()
    made = {"config": "small", "target": "ecp5", "array": "tiled", **report}
    (reports / "synthesis-ecp5-small.json").write_text(json.dumps(made))
    unplaced = {**made, "config": "tiny", "fmax": None, "placed": None, "critical_path": None}
    (reports / "synthesis-ecp5-tiny.json").write_text(json.dumps(unplaced))
    simulation = {"config": "small", "heads": 1, "n_q": 128, "n_k": 128, "d": 32, "threshold": 1 / 128, "density": 0.2,
                  "cycles": 5000}  # fmt: skip
    (reports / "simulation-small.json").write_text(json.dumps(simulation))
    written = resource_use.write_page(reports, page, kept)
    text = page.read_text()
    assert "python -m flows synth --config small --target ecp5" in text and "78.3" in text and "bank x 2" in text
    assert "--config tiny --target ecp5 --no-place`" in text and "--config small --target ecp5`" in text
    assert "## Performance" in text and "15,656" in text  # 78.28 MHz / 5000 cycles
    assert all(path.stat().st_size > 0 for path in written) and (kept / "area-small.png") in written
    shutil.rmtree(reports)
    resource_use.write_page(reports, page, kept)
    assert page.read_text() == text, "the kept reports make the same page"


def test_the_study_is_on_the_page_with_what_is_not_known(tmp_path, report):
    (tmp_path / "reports").mkdir()
    synthesis = report | {"config": "tiny", "target": "ecp5", "array": "banked"}
    (tmp_path / "reports" / "synthesis-ecp5-tiny.json").write_text(json.dumps(synthesis))
    one = {"name": "N4_W32_span2", "array": "tiled", "lanes": 4, "tile_keys": 32, "span": 2, "inputs": 16, "lut": 3000,
           "lut_array": 1000, "lut_packing": 500, "fmax": None, "fmax_estimate": 99.9,
           "work": {"1": {"cycles": 1200, "utilization": 0.5}, "2": None}}  # fmt: skip
    other = one | {"name": "N4_W32_span1", "span": 1, "lut": 2000, "fmax": 123.45}
    made = {"files": ["a.npz"], "d": 32, "variants": [one, other]}
    (tmp_path / "reports" / "study.json").write_text(json.dumps(made))
    page, *_ = resource_use.write_page(tmp_path / "reports", tmp_path / "page.md", tmp_path / "kept")
    lines = [[cell.strip() for cell in line.split("|")] for line in page.read_text().splitlines() if "N4_W32" in line]
    unknown = ["-"] * len(study.COLUMNS_A_THRESHOLD)
    assert lines[0][1:-1] == ["N4_W32_span2", "16", "1,000", "500", "3,000", "not routed (placed: 100)", "1,200", "0.50", "1.50", *unknown]
    assert lines[1][6:10] == ["123.5", "1,200", "0.50", "1.00"]
    assert (tmp_path / "kept" / "study.png").exists()


def test_without_reports_there_is_no_page(tmp_path):
    with pytest.raises(ValueError, match="holds no reports"):
        resource_use.write_page(tmp_path / "reports", tmp_path / "page.md", tmp_path / "kept")
    assert not (tmp_path / "page.md").exists()


# The tools -----------------------------------------------------------------------------------------------------------


@needs_yosys
def test_tiny_goes_through_yosys(tmp_path):
    path = tmp_path / "report.json"
    assert main(["synth", "--config", "tiny", "--target", "ecp5", "--no-place", "--report", str(path)]) == 0
    made = json.loads(path.read_text())
    assert made["config"] == "tiny" and not made["mistakes"]
    assert not made["registers_outside"]  # those of multipliers and memories are inside DSP blocks and block RAMs
    assert all(made[resource] > 0 for resource in RESOURCES)
    assert made["dsp"] >= TINY.multipliers
    assert {"loader", "quantizer", "predictor", "comparator", "registers", "output"} <= set(made["modules"])
    blocks = sum(counts["lut"] for name, counts in made["modules"].items() if name and "." not in name)
    assert blocks == pytest.approx(made["lut"], rel=0.02)


def test_a_second_run_uses_what_the_first_made(tmp_path):
    assert synth.set_up(TINY, "ecp5") == synth.set_up(TINY, "ecp5")


def test_the_vivado_project_is_complete():
    folder = synth.set_up(TINY, "vivado")
    project = (folder / "sanger.tcl").read_text()
    read = re.findall(r"read_verilog \{(.*?)\}", project)
    assert {f"{name}.v" for name in ("sanger_core", "pins", "sanger_loader")} <= set(read)
    assert all((folder / name).exists() for name in read)
    instances = {
        name
        for file in read
        for name in re.findall(r"^(sanger_\w+) inst_\w+ \(", (folder / file).read_text(), re.MULTILINE)
    }
    assert {f"{name}.v" for name in instances} <= set(read), "an instance has no source"
    assert "xck26-sfvc784-2LV-c" in project and "sanger_pins" in project and "clock.xdc" in project
    assert f"STREAM_BITS={TINY.stream_bits}" in project
    for script in ("sanger_synth.tcl", "sanger_run.tcl", "Makefile", "clock.xdc"):
        assert (folder / script).exists()


@pytest.fixture(scope="module", params=CONFIGS)
def code_lines(request, tmp_path_factory):
    """Verilog of a configuration, without comments: (file, line)."""
    folder = tmp_path_factory.mktemp(request.param) / "verilog"
    return [
        (path.name, line.strip())
        for path in verilog.generate(CONFIGS[request.param], folder)
        for line in re.sub(r"//.*|\(\*.*?\*\)", "", path.read_text()).splitlines()
    ]


def test_no_divider_hides_in_an_operator(code_lines):
    """A remainder by anything but a power of two costs 5,000 LUTs: operands are 32 bits wide in Verilog."""
    divisions = [
        (number, file, line) for file, line in code_lines for number in re.findall(r" [/%] \(?(\w+)", line)
    ]
    assert divisions, "some remainders by powers of two are there"
    assert not [it for it in divisions if not it[0].isdigit() or int(it[0]).bit_count() != 1]


def test_order_is_never_asked_of_a_negative_constant(code_lines):
    """Yosys maps it to wrong look-up tables (cmp2lut, YosysHQ/yosys#6085); ``<=`` that assigns ends in a semicolon."""
    compared = [it for it in code_lines if re.search(r"(<|>|<=|>=) \(*-\d+\)*(?!\);$)[^;]*$", it[1])]
    assert not compared


# Progress ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, stage",
    [
        ("3.14. Executing ABC9 pass.", "ABC9"),
        ("Info: Packing carries...", "packing"),
        ("Info: iter=13 steplen=1.451517 a=8.016954 penalty=[0.00, 0.00, 0.00, 0.00]", "placement, iteration 13"),
        ("Info:   at iteration #5: temp = 0.000000, timing cost = 610, wirelen = 457132", "placement, iteration 5"),
        ("Info: Routing..", "routing"),
        ("Info:      37000 |     9892      27107 |  248   752 |    271901|       3.82     136.20|", "routing, 271901 arcs left"),
        ("Info:     iter=7 wires=1104738 overused=4774 overuse=4799 archfail=NA", "routing, 4774 wires used twice"),
    ],
)
def test_progress_tells_what_a_tool_is_doing(tmp_path, line, stage):
    (tmp_path / "tool.log").write_text(f"Info: Annotating ports with timing budgets\n{line}\n")
    assert synth._stage(tmp_path, synth.Step("tool", "made", "tool.log")) == stage


# Floorplan -----------------------------------------------------------------------------------------------------------

# The multipliers and block RAMs of Yosys's netlists; and those of the part, as nextpnr 0.11.1 lists them.
def read_pairs(name):
    return [line.split() for line in (REPORTS / name).read_text().splitlines()]


BLOCKS = {name: read_pairs(f"{name}.blocks") for name in ("small", "bert", "small_tiled")}
SITES = read_pairs("lfe5u-85f.bels")


def floorplan(folder, blocks):
    """The BEL attributes, by cell, that ``flows/floorplan.tcl`` gives a netlist of nothing but ``blocks``."""
    cells = {name: {"type": kind, "port_directions": {}, "connections": {}, "attributes": {}} for kind, name in blocks}
    top = {"attributes": {"top": "1"}, "ports": {}, "cells": cells, "netnames": {}}
    (folder / "netlist.json").write_text(json.dumps({"modules": {"pins": top}}))
    multipliers, memories, registers = (
        " ".join(f"pins/{name}" for kind, name in blocks if kind == wanted)
        for wanted in ("MULT18X18D", "DP16KD", "TRELLIS_FF")
    )
    (folder / "run.tcl").write_text(
        f"yosys -import\nread_json netlist.json\nsource {synth.ROOT / 'flows' / 'floorplan.tcl'}\n"
        f"floorplan::apply {{{multipliers}}} {{{memories}}} {{{registers}}}\nwrite_json placed.json\n"
    )
    done = subprocess.run(["yosys", "-q", "-c", "run.tcl"], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        return done.stderr
    placed = json.loads((folder / "placed.json").read_text())["modules"]["pins"]["cells"]
    return {name: cell["attributes"].get("BEL") for name, cell in placed.items()}


def column(site):
    return int(site[1 : site.index("/")])


@needs_yosys
@pytest.mark.parametrize("name", BLOCKS)
def test_a_floorplan_gives_each_block_a_site_of_its_own(tmp_path, name):
    places = floorplan(tmp_path, BLOCKS[name])
    assert len(set(places.values())) == len(BLOCKS[name])
    kinds = {site: kind for kind, site in SITES}
    assert all(kinds[places[cell]] == kind for kind, cell in BLOCKS[name])


@needs_yosys
def test_a_clusters_lanes_lie_side_by_side_in_each_dimension(tmp_path):
    places = floorplan(tmp_path, BLOCKS["small"])
    for cluster in range(4):
        for dimension in range(8):
            sites = [
                place
                for cell, place in places.items()
                if re.search(rf"cluster_{cluster}\.inst_lane_\d\.inst_multiplier_{dimension}\.", cell)
            ]
            assert len(sites) == 4
            columns = [column(site) for site in sites]
            assert len({site.split("/")[1] for site in sites}) == 1 and max(columns) - min(columns) <= 5


@needs_yosys
@pytest.mark.parametrize("name", ["small", "bert"])
def test_what_is_decided_on_between_two_ends_of_the_part_has_its_place(tmp_path, name):
    control = "core.inst_banked_attention.inst_banked_normalizer.inst_normalizer.inst_step_control"
    copies = [f"{block}.inst_register_copy.copy_TRELLIS_FF_Q" for block in (control, "core.inst_loader")]
    others = [f"{block}.is_room_TRELLIS_FF_Q" for block in (control, "core.inst_loader")]
    places = floorplan(tmp_path, BLOCKS[name] + [("TRELLIS_FF", cell) for cell in copies + others])
    assert [places[cell] for cell in copies] == ["X122/Y64/SLICEA.FF0", "X60/Y48/SLICEA.FF0"]
    assert {places[cell] for cell in others} == {None}


@needs_yosys
def test_the_lanes_of_a_row_lie_side_by_side(tmp_path):
    places = floorplan(tmp_path, BLOCKS["small_tiled"])
    for row in range(8):
        sites = [place for cell, place in places.items() if re.search(rf"array\.inst_row_{row}\.inst_lane_", cell)]
        columns = [column(site) for site in sites]
        assert len(sites) == 16
        assert len({site.split("/")[1] for site in sites}) == 1 and max(columns) - min(columns) <= 38


@needs_yosys
def test_a_block_that_the_floorplan_does_not_know_is_refused(tmp_path):
    (kind, name), *others = BLOCKS["small"]
    assert "no place for" in floorplan(tmp_path, [(kind, "core.unknown"), *others])


@needs_yosys
def test_other_designs_are_left_to_the_placer(tmp_path):
    assert set(floorplan(tmp_path, BLOCKS["small"][1:]).values()) == {None}


# Mapping for ECP5 -----------------------------------------------------------------------------------------------------

ADDERS = """
module design_(input [{n}-1:0] a, b, input signed [{n}-1:0] c, d, input subtract,
               output [{n}:0] sum, wide, output [{n}-1:0] difference, chosen, next, output [5:0] compared);
    assign sum = a + b;
    assign wide = c - d;
    assign difference = a - b;
    assign chosen = subtract ? c - d : c + d;
    assign next = a + 1;
    assign compared = {{a < b, a <= b, a >= b, c < d, c <= d, c > d}};
endmodule
"""

FEW_WORDS = """
module design_(input clk, write, input [{n}-1:0] written, read, input [5:0] data, output [5:0] word);
    (* ram_style = "distributed", no_rw_check *) reg [5:0] memory [0:(1 << {n}) - 1];
    always @(posedge clk) if (write) memory[written] <= data;
    assign word = memory[read];
endmodule
"""


def cells_for_ecp5(folder, source):
    """The cells of the netlist that ``flows/synth.tcl`` makes of the module ``design_``."""
    (folder / "design.v").write_text(source)
    set_up_synthesis(folder, ["design.v"], "design_")
    synth.run(folder, synth.TARGETS["ecp5"].steps[:1], minutes=5, title="design")
    return json.loads((folder / f"{synth.NAME}.json").read_text())["modules"]["design_"]["cells"].values()


def assert_proved(folder):
    """For all operands, the netlist that is there computes what ``design.v`` does."""
    netlist = (folder / f"{synth.NAME}.json").read_text()
    (folder / "netlist.json").write_text(re.sub(r'"COUT": \[ "x" \]', '"COUT": [ ]', netlist))
    (folder / "prove.ys").write_text(
        "read_verilog design.v\nprep -flatten -top design_\ndesign -stash gold\n"
        "read_json netlist.json\nread_verilog +/ecp5/cells_sim.v\nprep -flatten -top design_\ndesign -stash gate\n"
        "design -copy-from gold -as gold design_\ndesign -copy-from gate -as gate design_\n"
        "miter -equiv -flatten gold gate miter\nhierarchy -top miter\nsat -verify -prove trigger 0 miter\n"
    )
    proof = subprocess.run(["yosys", "-q", "prove.ys"], cwd=folder, capture_output=True, text=True)
    assert proof.returncode == 0, proof.stdout + proof.stderr


@needs_yosys
@pytest.mark.parametrize("bits", [5, 6, 9])
def test_carry_chains_add_and_compare_whatever_comes_before_them(tmp_path, bits):
    """Proved for all operands. The carry input of a chain's first cell isn't connected, so the prover may choose it."""
    chains = [cell for cell in cells_for_ecp5(tmp_path, ADDERS.format(n=bits)) if cell["type"] == "CCU2C"]
    assert len(chains) >= 5 * (bits + 1) // 2
    firsts = [cell for cell in chains if cell["connections"]["CIN"] == ["x"]]
    lasts = [cell for cell in chains if cell["connections"]["COUT"] == ["x"]]
    assert len(firsts) == len(lasts) >= 5
    assert_proved(tmp_path)


@needs_yosys
@pytest.mark.parametrize("bits, total_bits", [(7, 8), (12, 12)])
def test_a_sum_or_difference_is_one_carry_chain(tmp_path, bits, total_bits):
    ports = [Signed(bits).signal(), Signed(bits).signal(), Signal(False), Signed(total_bits).signal()]
    (made,) = convert(add_subtract.unelaborated(*ports), tmp_path).files
    wires = "input signed [{0}:0] left, right, input subtract, output signed [{1}:0] total".format(bits - 1, total_bits - 1)
    design = f"module design_({wires}); {Path(made).stem} adder(left, right, subtract, total); endmodule\n"
    cells = cells_for_ecp5(tmp_path, Path(made).read_text() + design)
    assert {cell["type"] for cell in cells} == {"CCU2C"}
    assert len(cells) == (total_bits + 3) // 2
    assert_proved(tmp_path)


@needs_yosys
def test_the_netlist_has_a_setting_for_router2_and_is_whole(tmp_path):
    cells = cells_for_ecp5(tmp_path, "module design_(input a, b, output y); assign y = a ^ b; endmodule\n")
    assert {cell["type"] for cell in cells} == {"LUT4"}
    modules = json.loads((tmp_path / f"{synth.NAME}.json").read_text())["modules"]
    assert {name: module["settings"] for name, module in modules.items() if "settings" in module} == {
        "design_": {"router2/currCongWeightMult": "0.5"}
    }


@needs_yosys
@pytest.mark.parametrize("bits, base_bits", [(7, 8), (12, 12), (9, 14)])
def test_a_sum_with_one_of_two_numbers_is_one_carry_chain(tmp_path, bits, base_bits):
    base, total = (Signed(base_bits).signal() for _ in range(2))
    ports = [base, Signed(bits).signal(), Signed(bits).signal(), Signal(False), total]
    (made,) = convert(add_chosen.unelaborated(*ports), tmp_path).files
    wires = "input signed [{1}:0] base, input signed [{0}:0] one, other, input use_one, output signed [{1}:0] total"
    wires = wires.format(bits - 1, base_bits - 1)
    design = f"module design_({wires}); {Path(made).stem} adder(base, one, other, use_one, total); endmodule\n"
    cells = cells_for_ecp5(tmp_path, Path(made).read_text() + design)
    assert {cell["type"] for cell in cells} == {"CCU2C"}
    assert len(cells) == (base_bits + 3) // 2
    assert_proved(tmp_path)


@needs_yosys
@pytest.mark.parametrize("adder, flags", [(add_gated, ("use_left", "use_right")), (accumulate, ("anew", "subtract"))])
@pytest.mark.parametrize("bits", [2, 7, 12])
def test_gates_in_front_of_a_sum_are_in_its_carry_chain(tmp_path, adder, flags, bits):
    names = ["left", "use_left", "right", "use_right"] if adder is add_gated else ["so_far", "anew", "step", "subtract"]
    ports = [Signal(False) if name in flags else Signed(bits).signal() for name in [*names, "total"]]
    (made,) = convert(adder.unelaborated(*ports), tmp_path).files
    inputs = [f"input {name}" if name in flags else f"input signed [{bits - 1}:0] {name}" for name in names]
    design = f"module design_({', '.join(inputs)}, output signed [{bits - 1}:0] total);"
    design += f" {Path(made).stem} adder({', '.join(names)}, total); endmodule\n"
    cells = cells_for_ecp5(tmp_path, Path(made).read_text() + design)
    assert {cell["type"] for cell in cells} == {"CCU2C"}
    assert len(cells) == (bits + 2) // 2  # and a place for the carry to come in
    assert_proved(tmp_path)


@needs_yosys
@pytest.mark.parametrize("address_bits", [1, 2, 3, 4])
def test_each_word_of_a_small_memory_has_a_place_of_its_own_and_no_address_is_constant(tmp_path, address_bits):
    cells = cells_for_ecp5(tmp_path, FEW_WORDS.format(n=address_bits))
    memories = [cell["connections"] for cell in cells if cell["type"] == "TRELLIS_DPR16X4"]
    assert len(memories) == 2
    for ports in memories:
        pairs = list(zip(ports["WAD"], ports["RAD"], strict=True))
        assert not [bit for pair in pairs for bit in pair if isinstance(bit, str)]
        # Bit for bit the same of both addresses, and all bits of them.
        assert len(set(pairs)) == len(set(ports["WAD"])) == len(set(ports["RAD"])) == address_bits
