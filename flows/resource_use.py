"""``python -m flows report``: docs/resource-use.md and its plots, from the reports of synthesis and simulation.

Reports come from ``build/reports``; those that are there are kept in ``docs/resource-use`` as well, so that the page can
be made again where nothing was built.
"""

import json
import shutil
from pathlib import Path

from flows import synth, synth_report
from flows.engines import ROOT
from flows.heads import InputError
from flows.report import markdown_table
from flows.synth_report import count_text
from golden.config import CONFIGS

PAGE = ROOT / "docs" / "resource-use.md"
KEPT = ROOT / "docs" / "resource-use"
_BLOCKS_SHOWN = 10
_HEADERS = {"lut": "LUTs", "reg": "flip-flops", "blkmem": "block RAMs", "dsp": "DSPs"}


def write_page(reports: Path = synth.REPORTS, page: Path = PAGE, kept: Path = KEPT) -> list[Path]:
    """Collect the reports and write the page; returns the files written.

    Raises:
        InputError: there are no reports, or one can't be read.
    """
    kept.mkdir(parents=True, exist_ok=True)
    for path in sorted(reports.glob("*.json")) if reports.is_dir() else []:
        if path.name.startswith(("synthesis-", "simulation-", "study.")):
            shutil.copy(path, kept / path.name)
    syntheses = sorted((_read(path) for path in kept.glob("synthesis-*.json")), key=_order)
    if not syntheses:
        raise InputError(f"{reports}: holds no reports; `python -m flows synth --config tiny` makes one")
    simulations = [_read(path) for path in sorted(kept.glob("simulation-*.json"))]
    study = _read(kept / "study.json") if (kept / "study.json").exists() else None
    lines = [_INTRODUCTION, *_totals(syntheses), *_performance(syntheses, simulations), *_critical_paths(syntheses), _NOTES]
    written = []
    for one in syntheses:
        if one["target"] == "ecp5":
            lines += _blocks(one, kept.name)
            written.append(_plot_blocks(one, kept / f"area-{one['config']}.png"))
    if study:
        lines += _study(study, kept.name)
        written.append(_plot_study(study, kept / "study.png"))
    page.write_text("\n".join(lines) + "\n")
    return [page, *written]


def _read(path):
    try:
        return json.loads(path.read_text())
    except ValueError:
        raise InputError(f"{path}: not a report") from None


def _order(report):
    names = list(CONFIGS)
    config = report["config"]
    return list(synth.TARGETS).index(report["target"]), names.index(config) if config in names else len(names), config


_INTRODUCTION = """# Resource use

Made by `python -m flows report` from the reports that the commands below wrote; don't edit. The tools are Yosys from
Debian 12 and nextpnr from PyPI (`make setup`); their options are those of the targets in `sanger.core`. The commit is that of
the sources; + means that they had changed since.
"""

_NOTES = """## How to read these figures

LUTs are 4-input ones on ECP5 and iCE40, 6-input ones on Xilinx. On ECP5 a carry cell (CCU2C) counts as two and 16 x 4
bits of distributed RAM (TRELLIS_DPR16X4) as six, as nextpnr has it. Every figure is the core alone: `flows/pins.v`, the
shift registers that stand for its surroundings in place and route, is left out. Modules are mapped one by one (FIFOs
and register slices with the block around them) and flattened afterwards, so figures of blocks add up. Synthesis fails
if there is a latch or a combinational loop, if a memory would become flip-flops, or if prediction uses a DSP.

On ECP5, the registers around multipliers and behind most block RAMs are those inside the DSP blocks and block RAMs
(`flows/synth.tcl`; Yosys alone leaves them in flip-flops). That such netlists compute the same is simulated
(`tests/test_memory.py`, `tests/test_multiplier.py`, and a whole cluster in `tests/test_banked_cluster.py`); `make gls`
simulates the netlist of `tiny` for iCE40, cell by cell, against the golden model. Yosys before August 2026 maps an order of
few signed bits against a negative constant wrongly (YosysHQ/yosys#6085); the sources have none, and a test sees to it.

No iCE40 holds the core. `tiny` and `tiny_tiled` take about three times the look-up tables and flip-flops of an UP5K (5,280 of each), four to five
times its block RAMs (30), and more multipliers than its 8; the HX8K has 7,680, 32 and none. There is no distributed RAM, so small memories are
flip-flops and block RAMs there, but even the ECP5's figures above are about twice an HX8K.

`small`, `small_tiled` and `bert` take nearly all multipliers of the LFE5U-85F: [place-and-route.md](place-and-route.md) has what got them to
their clocks, and what was tried in vain. There can be more "LUT sites once packed" than LUTs: nextpnr adds carry cells.

`small_3bit` is `small` with a prediction of three bits instead of four, and 5 k LUTs less. What that costs in precision:
`python -m flows simulate data/minilm_l2_n512.npz --config small_3bit` (golden model) finds an error of 0.070 against dense
attention at T = 1/n and of 0.110 at 2/n (`--threshold 0.00390625`), where `small` has 0.041 and 0.074, at the same densities.
"""


def _table(headers, rows):
    return [markdown_table(headers, rows), ""]


def _clock(report):
    if report["fmax"]:
        return f"{report['fmax']:.1f}"
    return f"about {report['fmax_estimate']:.0f} (not routed)" if report.get("fmax_estimate") else "-"


def _totals(syntheses):
    rows = []
    for one in syntheses:
        parts = [f"{count_text(one[name])} ({synth_report.percent(one['share'][name])})" for name in _HEADERS]
        only_yosys = len(synth.TARGETS[one["target"]].steps) > 1 and not (one["fmax"] or one.get("fmax_estimate"))
        command = f"`python -m flows synth --config {one['config']} --target {one['target']}{' --no-place' if only_yosys else ''}`"
        sites = (one["placed"] or {}).get("TRELLIS_COMB") or (one["placed"] or {}).get("ICESTORM_LC")
        placed = count_text(sites) if sites else "-"
        rows.append([f"`{one['config']}` ({one['array']})", one["part"], *parts, placed, _clock(one), one.get("revision") or "-", command])
    headers = ["configuration", "part", *_HEADERS.values(), "LUT sites once packed", "fmax, MHz", "commit", "command"]
    return ["## Configurations", "", *_table(headers, rows)]


def _performance(syntheses, simulations):
    rows = []
    for simulation in simulations:
        for one in syntheses:
            figures = synth_report.performance(one, simulation) if one["config"] == simulation["config"] else None
            if figures:
                rows.append([
                    f"`{one['config']}` on {one['part']}", f"{figures['n_q']} x {figures['n_k']} x {figures['d']}",
                    f"{figures['density']:.3f}", count_text(figures["cycles"] / figures["heads"]),
                    count_text(round(figures["heads_per_second"])), f"{figures['gops_effective']:.1f}",
                    f"{figures['gops_dense']:.1f}",
                    f"{figures['gops_per_dsp']:.3f}" if figures["gops_per_dsp"] else "-",
                    f"{figures['gops_per_klut']:.3f}",
                ])  # fmt: skip
    if not rows:
        return []
    headers = ["", "head (n_q x n_k x d)", "density", "cycles a head", "heads a second", "GOPS effective", "GOPS dense",
               "GOPS a DSP", "GOPS a kLUT"]  # fmt: skip
    return [
        "## Performance", "",
        "Cycles measured in simulation (`python -m flows simulate HEAD --config C --engine verilator --report"
        " build/reports/simulation-C.json`), at the fmax above. An operation is a multiplication or an addition of Q·K"
        " and P·V; effective ones are those of kept scores, dense ones what a dense machine would have to do. GOPS a DSP"
        " and a kLUT are effective ones.", "",
        *_table(headers, rows),
    ]  # fmt: skip


def _critical_paths(syntheses):
    rows = [
        [f"`{one['config']}` on {one['part']}", f"{path['nanoseconds']:.2f}", f"{path['logic']:.2f}",
         f"{path['routing']:.2f}", str(path["levels"]), f"`{path['block']}`", f"`{path['from']}`", f"`{path['to']}`"]
        for one in syntheses if (path := one["critical_path"])
    ]  # fmt: skip
    headers = ["", "ns", "logic", "routing", "levels", "in block", "from", "to"]
    return ["## Critical paths", "", *_table(headers, rows)] if rows else []


def _blocks(report, folder):
    rows = []
    for path, count, resources in synth_report.groups(report):
        name = "&nbsp;" * 4 * (len(path) - 1) + (path[-1] if path else "**core**") + (f" x {count}" if count > 1 else "")
        share = resources["lut"] / report["lut"] if report["lut"] else 0
        rows.append([name, *(count_text(resources[one]) for one in _HEADERS), synth_report.percent(share)])
    return [
        f"## `{report['config']}` on {report['part']}, by block", "",
        f"![Area by block]({folder}/area-{report['config']}.png)", "",
        *_table(["block", *_HEADERS.values(), "of the LUTs"], rows),
        *(line for sentence in report.get("mistakes", []) for line in (f"Refused: {sentence}.", "")),
    ]  # fmt: skip


def _figure(width, height):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(width, height), layout="constrained")


def _save(figure, path):
    from matplotlib import pyplot

    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    return path


def _plot_blocks(report, path):
    """Share of the part that each top-level block takes, one bar a resource."""
    blocks = [(names[0], resources) for names, _, resources in synth_report.groups(report, 1) if names]
    shown, rest = blocks[: _BLOCKS_SHOWN - 1], blocks[_BLOCKS_SHOWN - 1 :]
    if rest:
        shown = [*shown, ("others", {one: sum(resources[one] for _, resources in rest) for one in _HEADERS})]
    figure, axes = _figure(9, 3.2)
    available = {one: report[one] / report["share"][one] for one in _HEADERS if report["share"][one]}
    labels = [_HEADERS[one] for one in available]
    left = [0.0] * len(available)
    colours = [f"C{number}" for number in range(_BLOCKS_SHOWN)]
    for (name, resources), colour in zip(shown, colours):
        widths = [100 * resources[one] / available[one] for one in available]
        axes.barh(labels, widths, left=left, label=name, color=colour)
        left = [start + width for start, width in zip(left, widths)]
    axes.invert_yaxis()
    axes.set_xlim(0, max(100, *left))
    axes.set_xlabel(f"% of {report['part']}")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return _save(figure, path)


_CHOICE = """**What to choose when.** The connection hardly costs clock as long as it is narrow: rows of span 1 to 4 reach 140 to 151 MHz. It
costs look-up tables, and what more of it saves soon ends: with 16 lanes and 64 keys, span 2 takes 27 % fewer cycles than span 1 at T = 1/n, span 3 another
8 %, and the full connection 12 % less than span 2 for 2.9 times the array's look-up tables. With it, packers, array and normalizer (85,032 LUTs) alone don't fit the part,
and not even one of its rows gets routed in 20 minutes. So span 2, as `small_tiled` has it: the least cycles x LUTs of the tiled variants, at both thresholds. Rows of 4 lanes keep the same multipliers busier
(67 % instead of 51 %), but there are four times as many rows, each with its packer, exponentials and sums: for parts with many look-up tables a multiplier.
The banked array takes 41 % fewer cycles than span 2 at T = 1/n, with 10 % fewer look-up tables and no connection at all: whoever wants the most of
multipliers and look-up tables takes it, if block RAM is there (148 instead of 83) and the router copes (`small` is routed, and slower). Its cluster is slower on its own, 118 MHz, which leaves 1.5 times as
much work a second for each look-up table. At T = 2/n it waits for its prediction, which reads all 32 dimensions here."""


def _study(study, folder):
    from flows import study as connection

    headers = ["variant", *connection.COLUMNS]
    headers += [f"{what}, T = {t}/n" for t in connection.THRESHOLDS for what in connection.COLUMNS_A_THRESHOLD]
    return [
        "## What the connection costs and saves", "", connection.__doc__.split("\n\n", 1)[1].strip(), "",
        f"`python -m flows study`; heads: {', '.join(study['files'])}. Cycles × LUTs (in all), smallest = 1.", "",
        f"![Utilization against LUTs]({folder}/study.png)", "", *_table(headers, connection.study_rows(study)), _CHOICE, "",
    ]  # fmt: skip


def _plot_study(study, path):
    from flows import study as connection

    figure, axes = _figure(7.5, 4.5)
    threshold = str(connection.THRESHOLDS[0])
    families = {}
    for one in study["variants"]:
        if one["work"][threshold]:
            label = f"tiled, N = {one['lanes']}, W = {one['tile_keys']}" if one["array"] == "tiled" else "banked"
            families.setdefault(label, []).append(one)
    for (label, members), marker in zip(families.items(), "os^"):
        members.sort(key=lambda one: one["lut"])
        x, y = [one["lut"] / 1000 for one in members], [one["work"][threshold]["utilization"] for one in members]
        axes.plot(x, y, marker=marker, label=label)
        for one, *point in zip(members, x, y):
            if one["span"]:
                place = (5, 7 if one["span"] % 2 else -11)  # neighbours may be close
                axes.annotate(f"span {one['span']}", point, xytext=place, textcoords="offset points", fontsize=8)
    axes.set_xlabel("LUTs of packers, array and normalizer, thousands")
    axes.set_ylabel(f"share of multipliers busy with kept scores, T = {threshold}/n")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    return _save(figure, path)
