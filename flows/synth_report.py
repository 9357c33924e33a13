"""Figures of a synthesis: the tools' reports parsed into one dict (``parse``), and its printing (``print_synthesis``).

Resources have edalize's summary names: ``lut``, ``reg``, ``blkmem``, ``dsp``, and ``fmax`` (MHz) for the clock.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESOURCES = ("lut", "reg", "blkmem", "dsp")
GOPS_OPERATIONS = 4
"""Operations of a pair of query and key in each dimension: a multiplication and an addition for Q·K and for P·V."""
PINS = "core."
"""The core's path in the netlist when ``flows/pins.v`` is around it."""
INSTANCE = "inst_"
"""What the converter puts before the name of an instance."""
ROW = "row"
"""A PE row's instance, in the tiled and the systolic array."""
_DEPTH = 4  # levels of the hierarchy that a report keeps
_PRINTED_DEPTH = 3
_LEAST_SHARE = 0.005  # of the core's LUTs: smaller blocks inside of blocks aren't shown, unless they hold memories or DSPs
_PREDICTION = ("predictor", "quantizer")  # blocks without a multiplier in a DSP


class ReportError(ValueError):
    """A tool's report can't be read; the message names it."""


@dataclass(frozen=True)
class Part:
    """What a device has, in the units of its report."""

    name: str
    lut: int
    reg: int
    blkmem: int
    dsp: int


# LUTs that a cell takes, as nextpnr counts them: a carry cell two, distributed RAM four and two more to write it.
_LUTS = {
    "LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6,
    "SB_LUT4": 1,
    **{f"LUT{inputs}": 1 for inputs in (1, 2, 3, 5, 6)}, "INV": 1, "SRL16E": 1, "SRLC32E": 1,
    "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8, "RAM32X1S": 1, "RAM64X1S": 1,
    "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8,
}  # fmt: skip
_REGISTERS = re.compile(r"TRELLIS_FF|SB_DFF\w*|FD[RSCP]E(_1)?")
_BLOCK_MEMORIES = {
    "DP16KD": 1, "PDPW16KD": 1, "SB_RAM40_4K": 1, "SB_RAM40_4KNR": 1, "SB_RAM40_4KNW": 1, "SB_RAM40_4KNRNW": 1,
    "RAMB18E1": 0.5, "RAMB18E2": 0.5, "RAMB36E1": 1, "RAMB36E2": 1,
}  # fmt: skip
_MULTIPLIERS = {"MULT18X18D", "SB_MAC16", "DSP48E1", "DSP48E2"}


def _resources(cell, count):
    """What ``count`` cells of a type take."""
    if cell in _LUTS:
        return {"lut": _LUTS[cell] * count}
    if cell in _BLOCK_MEMORIES:
        return {"blkmem": _BLOCK_MEMORIES[cell] * count}
    if cell in _MULTIPLIERS:
        return {"dsp": count}
    return {"reg": count} if _REGISTERS.fullmatch(cell) else {}


def parse_netlist(path: Path, top: str) -> tuple[dict, dict, dict]:
    """Count a netlist that Yosys wrote as JSON.

    Returns:
        The resources of each instance by its path ('' is the whole), the number of cells of each type, and what is in
        the PE rows: the resources of like instances together (``lane.bubbles``), in all rows.

    Raises:
        ReportError: the file isn't such a netlist.
    """
    try:
        modules = json.loads(path.read_text())["modules"]
        if top not in modules:
            raise ReportError(f"{path}: there is no module {top}")
    except (ValueError, KeyError, TypeError) as error:
        raise error if isinstance(error, ReportError) else ReportError(f"{path}: not a netlist of Yosys") from None
    instances, types, row_parts = {}, Counter(), {}
    contents = {}  # of a module: its own cells by where they lie and type, and its instances of other modules

    def look_into(name):
        own, inner = Counter(), []
        for cell, content in modules[name]["cells"].items():
            kind = content["type"]
            inside = modules.get(kind)
            if inside is not None and not {"blackbox", "whitebox"} & set(inside.get("attributes", {})):
                inner.append((cell, kind))
            else:
                own[(*_instances(cell), kind)] += 1
        return own, inner

    def visit(name, path):
        if name not in contents:
            contents[name] = look_into(name)
        own, inner = contents[name]
        for (*inside, kind), count in own.items():
            types[kind] += count
            taken = _resources(kind, count)
            where = [*path, *inside]
            shown = [".".join(where[:depth]) for depth in range(min(len(where), _DEPTH) + 1)]
            blocks = [instances.setdefault(one, dict.fromkeys(RESOURCES, 0)) for one in shown]
            blocks += [row_parts.setdefault(one, dict.fromkeys(RESOURCES, 0)) for one in _parts_of_row(where)]
            for block in blocks:
                for resource, amount in taken.items():
                    block[resource] += amount
        for cell, kind in inner:
            visit(kind, [*path, cell])

    visit(top, [])
    return instances, dict(types), row_parts


def _parts_of_row(path):
    """The blocks of a PE row that a cell lies in, from the whole row ('') inwards; none if it lies in no row."""
    stems = [re.sub(r"_\d+$", "", part.removeprefix(INSTANCE)) for part in path]
    if ROW not in stems:
        return []
    inside = stems[stems.index(ROW) + 1 :]
    return [".".join(inside[:depth]) for depth in range(len(inside) + 1)]


def _instances(cell):
    """The instances that a cell of a flattened netlist lies in, by its name."""
    parts = cell.split(".")
    return list(takewhile(lambda part: part == PINS.rstrip(".") or part.startswith(INSTANCE), parts[:-1]))


def parse_place_and_route(path: Path) -> dict:
    """Read nextpnr's report: ``fmax`` (the slowest clock), ``used`` and the ``critical_path`` between registers.

    Raises:
        ReportError: the file isn't such a report.
    """
    try:
        report = json.loads(path.read_text())
        clocks = report["fmax"]
        used = {name: counts["used"] for name, counts in report["utilization"].items() if counts["used"]}
        clock = min(clocks, key=lambda name: clocks[name]["achieved"])
        paths = [one for one in report["critical_paths"] if clock in one["from"] and clock in one["to"]]
        steps = paths[0]["path"] if paths else []
        return {
            "fmax": round(clocks[clock]["achieved"], 2),
            "used": used,
            "critical_path": _critical_path(steps),
        }
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise ReportError(f"{path}: not a report of nextpnr") from None


def _critical_path(steps):
    if not steps:
        return None
    delays = Counter()
    for step in steps:
        delays["routing" if step["type"] == "routing" else "logic"] += step["delay"]
    cells = [steps[0]["from"]["cell"], *(step["to"]["cell"] for step in steps)]
    return {
        "nanoseconds": round(sum(delays.values()), 2),
        "logic": round(delays["logic"], 2),
        "routing": round(delays["routing"], 2),
        "levels": sum(step["type"] == "logic" for step in steps),
        "from": _short(cells[0]),
        "to": _short(cells[-1]),
        "block": _common_block(cells),
    }


def _short(path):
    """An instance's path without the pins around the core and the converter's prefix."""
    return ".".join(part.removeprefix(INSTANCE) for part in path.removeprefix(PINS).split("."))


def _common_block(cells):
    """The innermost block that holds all cells of a path; if only the core does, the blocks of its ends as well."""
    paths = [_instances(cell.removeprefix(PINS)) for cell in cells if not cell.startswith("$")]  # $: nextpnr's own
    common = paths[0]
    for path in paths[1:]:
        length = next((i for i, pair in enumerate(zip(common, path)) if pair[0] != pair[1]), min(len(common), len(path)))
        common = common[:length]
    ends = [path[0] if path else "core" for path in (paths[0], paths[-1])]
    return _short(".".join(common)) or f"core ({_short(ends[0])} to {_short(ends[1])})"


_ESTIMATE = re.compile(r"Max frequency for clock\s+'[^']*':\s+([\d.]+) MHz")


def parse_estimate(log: Path) -> float | None:
    """The clock that nextpnr's log names last (after placement, if it didn't come to routing), in MHz."""
    found = _ESTIMATE.findall(log.read_text(errors="replace")) if log.exists() else []
    return float(found[-1]) if found else None


def parse(folder: Path, name: str, top: str, part: Part) -> dict:
    """All figures of a finished work folder; ``name`` is that of edalize's files.

    Raises:
        ReportError: a report can't be read.
    """
    instances, cells, row_parts = parse_netlist(folder / f"{name}.json", top)
    path = PINS.rstrip(".")
    core = {_short(one): counts for one, counts in instances.items() if one == path or one.startswith(PINS)}
    if core:
        core[""] = core.pop(path)
    else:
        core = {_short(one): counts for one, counts in instances.items()}
    total = dict(core[""])
    report = {
        **total,
        "fmax": None,
        "part": part.name,
        "share": {one: round(total[one] / getattr(part, one), 4) if getattr(part, one) else None for one in RESOURCES},
        "modules": core,
        "row_parts": row_parts,
        "cells": cells,
        "critical_path": None,
        "placed": None,
    }
    placed = folder / "report.json"
    if placed.exists():
        place = parse_place_and_route(placed)
        report |= {"fmax": place["fmax"], "critical_path": place["critical_path"], "placed": place["used"]}
    elif (folder / "next.log").exists():
        report["fmax_estimate"] = parse_estimate(folder / "next.log")
    return report


def mistakes(report: dict, yosys_log: str) -> list[str]:
    """What makes a synthesis worthless although the tools ended well: sentences, none when all is right."""
    found = [
        f"{path} has {counts['dsp']} multipliers in DSPs, but prediction uses LUTs"
        for path, counts in report["modules"].items()
        if path in _PREDICTION and counts["dsp"]
    ]
    if re.search(r"Replacing memory \\memory with list of registers", yosys_log):
        found.append("a memory was dissolved into flip-flops while Yosys read it")
    if re.search(r"Warning: found logic loop", yosys_log):
        found.append("there is a combinational loop")
    return found


def performance(synthesis: dict, simulation: dict) -> dict | None:
    """What a synthesis and a simulation of one configuration make together; None without a clock or cycles."""
    if not synthesis["fmax"] or not simulation.get("cycles"):
        return None
    heads = simulation["heads"] * synthesis["fmax"] * 1e6 / simulation["cycles"]
    dense = GOPS_OPERATIONS * simulation["n_q"] * simulation["n_k"] * simulation["d"] * heads / 1e9
    effective = dense * simulation["density"]
    return {
        **{name: simulation[name] for name in ("n_q", "n_k", "d", "heads", "threshold", "density", "cycles")},
        "heads_per_second": heads,
        "gops_dense": dense,
        "gops_effective": effective,
        "gops_per_dsp": effective / synthesis["dsp"] if synthesis["dsp"] else None,
        "gops_per_klut": effective / synthesis["lut"] * 1000,
    }


def groups(report: dict, depth: int = _PRINTED_DEPTH) -> list[tuple]:
    """The modules down to ``depth``, like instances (``row_0`` ... ``row_7``) together: (path, instances, resources),
    each block before the blocks in it, the largest first; small ones in other blocks are left out."""
    together = {}
    for path, counts in report["modules"].items():
        parts = path.split(".") if path else []
        if len(parts) > depth:
            continue
        name = tuple(re.sub(r"_\d+$", "", part) for part in parts)
        members, sums = together.setdefault(name, [set(), Counter()])
        members.add(path)
        sums.update({one: counts[one] for one in RESOURCES})

    def below(name):
        inside = [one for one in together if len(one) == len(name) + 1 and one[: len(name)] == name]
        members, resources = together[name]
        small = resources["lut"] < _LEAST_SHARE * report["lut"] and not resources["blkmem"] + resources["dsp"]
        if len(name) > 1 and small:
            return []
        rows = [(name, len(members), dict(resources))]
        for one in sorted(inside, key=lambda one: -together[one][1]["lut"]):
            rows += below(one)
        return rows

    return below(()) if () in together else []


def count_text(value: float) -> str:
    """A number of resources, as reports print it (block RAMs may be halves)."""
    return f"{value:,.1f}".removesuffix(".0")


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def print_synthesis(report: dict) -> None:
    """The tables of a synthesis."""
    console = Console()
    table = Table(title=f"Sanger: {report['config']} on {report['part']}")
    table.add_column("block")
    for resource in RESOURCES:
        table.add_column(resource, justify="right")
    for path, count, resources in groups(report):
        name = "  " * len(path) + (path[-1] if path else "core") + (f" x {count}" if count > 1 else "")
        table.add_row(name, *(count_text(resources[one]) for one in RESOURCES), style="bold" if not path else None)
    table.add_section()
    for path, resources in sorted(report.get("row_parts", {}).items()):
        parts = path.split(".") if path else []
        name = "  " * len(parts) + (parts[-1] if parts else "all PE rows, by part")
        table.add_row(name, *(count_text(resources[one]) for one in RESOURCES))
    table.add_section()
    table.add_row("share of the part", *(percent(report["share"][one]) for one in RESOURCES))
    console.print(table)
    if report["fmax"]:
        console.print(f"fmax {report['fmax']} MHz after place and route")
    elif report.get("fmax_estimate"):
        console.print(f"fmax about {report['fmax_estimate']} MHz after placement; not routed")
    if report["critical_path"]:
        path = report["critical_path"]
        console.print(
            f"critical path in {path['block']}: {path['nanoseconds']} ns ({path['logic']} logic, {path['routing']} routing,"
            f" {path['levels']} levels)\n  from {path['from']}\n  to   {path['to']}"
        )
    if report.get("performance"):
        measured = report["performance"]
        per_dsp = f", {measured['gops_per_dsp']:.3g} per DSP" if measured["gops_per_dsp"] else ""
        console.print(
            f"{measured['heads_per_second']:.4g} heads a second ({measured['n_q']} x {measured['n_k']} x {measured['d']},"
            f" density {measured['density']:.3g}): {measured['gops_effective']:.3g} GOPS effective{per_dsp},"
            f" {measured['gops_per_klut']:.3g} per kLUT; {measured['gops_dense']:.3g} GOPS dense"
        )
