"""``python -m flows study``: what the connection of lanes to keys costs, and what it saves.

Each variant has the same number of multipliers and of queries a row. Area: packers, array and normalizer through Yosys,
so that what packing costs is there too; everything before them is the same for all tiled variants. Clock: one row of the
array (banked: one cluster) placed and routed on its own, so it is that of the connection and of the lanes, not of the
wires between rows in a full part. Cycles: rounds of the golden model's packer on captured heads, 2d each, prediction not
limiting. For the banked array, whose lanes work independently, they are the core's own, measured in Verilator.
"""

import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from flows import heads, synth
from flows.engines import ROOT
from flows.simulate import measure
from golden import head
from golden.config import CONFIGS, Config
from golden.packer import sub_rows
from golden.tiled import count_rounds

FILES = ("minilm_l0_n512.npz", "minilm_l2_n512.npz", "minilm_l5_n512.npz")
THRESHOLDS = (1, 2)
"""In units of 1/n."""
REPORT = synth.REPORTS / "study.json"
_SHAPES = ((8, 16, 64, (1, 2, 3, 4, 16)), (32, 4, 32, (1, 2, 3, 4)))
"""Rows, lanes, keys of a tile, and spans: 128 PEs, as many as the default configuration has."""
_ARRAY, _PACKING = ("array", "banked_array"), ("bitmaps", "bitmap_ring", "dispatcher")
"""Blocks. The banked array has its packers inside."""
COLUMNS = ("inputs a lane", "array LUTs", "packing LUTs", "in all", "fmax of a row, MHz")
COLUMNS_A_THRESHOLD = ("cycles", "utilization", "cycles x LUTs")
_ROWS = {"tiled": "sanger_row", "banked": "sanger_cluster"}
"""What of each array is placed and routed."""


def variants() -> list[Config]:
    """The configurations that are compared: tiled with several spans, and the banked one of the same size."""
    same_size = [one for one in CONFIGS.values() if one.multipliers == 128 and one.d == 32]
    base = next(one for one in same_size if one.array == "tiled")
    tiled = [
        base.replace(name=f"N{lanes}_W{keys}_span{span}", rows=rows, lanes=lanes, tile_keys=keys, span=span)
        for rows, lanes, keys, spans in _SHAPES
        for span in spans
    ]
    return tiled + [one for one in same_size if one.array == "banked"]


def study(minutes: float) -> dict:
    """Measure all variants, print the table and write ``build/reports/study.json``.

    Args:
        minutes: for the tools, each variant and each row.

    Raises:
        SynthesisError: a variant failed.
        SimulationError: the banked core's output isn't the golden model's.
    """
    rows = []
    for config in variants():
        top = f"sanger_{config.array}_attention"
        folder = synth.set_up(config, "ecp5", top)
        synth.run(folder, synth.TARGETS["ecp5"].steps[:1], minutes, config.name)
        area = synth.read(folder, config, "ecp5", top)
        row = {
            "name": config.name,
            "array": config.array,
            "lanes": config.lanes,
            "tile_keys": config.tile_keys,
            "span": config.span if config.array == "tiled" else None,
            "inputs": config.lane_inputs if config.array == "tiled" else None,
            "lut": area["lut"],
            "reg": area["reg"],
            "blkmem": area["blkmem"],
            "lut_array": _luts(area, _ARRAY),
            "lut_packing": _luts(area, _PACKING),
            **_clock(config, minutes),
            "work": {str(threshold): _work(config, threshold) for threshold in THRESHOLDS},
        }
        rows.append(row)
        made = {"files": list(FILES), "d": rows and config.d, "variants": rows}
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(json.dumps(made, indent=1) + "\n")
    print_study(made)
    return made


def _clock(config, minutes):
    """Clock and critical path of a row; if it isn't routed in time, what placement let expect."""
    folder = synth.set_up(config, "ecp5", _ROWS[config.array], between_pins=True)
    try:
        synth.run(folder, synth.TARGETS["ecp5"].steps[:2], minutes, f"{config.name}, one row")
    except synth.OutOfTime:
        pass
    row = synth.read(folder, config, "ecp5")
    return {name: row.get(name) for name in ("fmax", "fmax_estimate", "critical_path")}


def _luts(area, blocks):
    """LUTs of the outermost blocks with one of these names."""
    total, counted = 0, []
    for path in sorted(area["modules"], key=lambda path: path.count(".")):
        name = path.split(".")[-1].rstrip("0123456789").rstrip("_")
        if name in blocks and not any(path.startswith(f"{outer}.") for outer in counted):
            counted.append(path)
            total += area["modules"][path]["lut"]
    return total


def _work(config, threshold):
    """Cycles of all heads, and the share of the multipliers' cycles that kept scores used."""
    kept, cycles = 0, 0
    for name in FILES:
        if config.array != "tiled":
            simulation = _simulated(config, threshold, ROOT / "data" / name)
            cycles += simulation["cycles"]
            kept += round(simulation["density"] * simulation["n_q"] * simulation["n_k"] * simulation["heads"])
            continue
        for mask in _masks(name, threshold, config):
            tiles = np.pad(mask, ((0, 0), (0, -mask.shape[1] % config.tile_keys)))
            tiles = tiles.reshape(len(mask), -1, config.tile_keys)
            counts = np.stack([sub_rows(tiles[:, tile], config) for tile in range(tiles.shape[1])], axis=1)
            cycles += count_rounds(counts, config) * config.round_cycles
            kept += int(mask.sum())
    return {"cycles": cycles, "utilization": kept * 2 * config.d / (config.multipliers * cycles)}


def _simulated(config, threshold, path):
    """Report of the heads of a file, run by the core in Verilator."""
    made = synth.REPORTS / f"study-{threshold}-{config.name}-{path.stem}.json"
    made.parent.mkdir(parents=True, exist_ok=True)
    keys = len(heads.load(path, config)[0][0].k)
    return measure(path, config, threshold / keys, made)


_known_masks = {}


def _masks(name, threshold, config):
    """Kept keys of the heads of a file, the same for all variants."""
    if (name, threshold) not in _known_masks:
        loaded, _ = heads.load(ROOT / "data" / name, config)
        settings = [one.settings(threshold / len(one.k), causal=False, residual=True) for one in loaded]
        masks = [head.predict_mask(one.q, one.k, setting, config)[0] for one, setting in zip(loaded, settings)]
        _known_masks[name, threshold] = masks
    return _known_masks[name, threshold]


def print_study(made: dict) -> None:
    """The table of a study."""
    table = Table(title="Sanger: what the connection costs and saves (ECP5, Yosys)")
    columns = ["variant", *COLUMNS]
    columns += [f"{what}, T = {threshold}/n" for threshold in THRESHOLDS for what in COLUMNS_A_THRESHOLD]
    for column in columns:
        table.add_column(column, justify="left" if column == "variant" else "right")
    for cells in study_rows(made):
        table.add_row(*cells)
    Console().print(table)


def study_rows(made: dict) -> list[list[str]]:
    """The cells of the study's table, as text. Cycles x LUTs (in all) is in units of the smallest."""
    best = {
        threshold: min((one["work"][threshold]["cycles"] * one["lut"] for one in made["variants"] if one["work"][threshold]),
                       default=1)
        for threshold in map(str, THRESHOLDS)
    }  # fmt: skip
    rows = []
    for one in made["variants"]:
        cells = [one["name"], str(one["inputs"] or "-"), *(f"{one[key]:,}" for key in ("lut_array", "lut_packing", "lut"))]
        cells.append(f"{one['fmax']:.1f}" if one["fmax"] else f"not routed (placed: {one['fmax_estimate']:.0f})")
        for threshold, smallest in best.items():
            work = one["work"][threshold]
            if work:
                cells += [f"{work['cycles']:,}", f"{work['utilization']:.2f}", f"{work['cycles'] * one['lut'] / smallest:.2f}"]
            else:
                cells += ["-"] * len(COLUMNS_A_THRESHOLD)
        rows.append(cells)
    return rows
