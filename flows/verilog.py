"""Verilog of a configuration: one file a module."""

from pathlib import Path

from golden.config import Config

TOP = "sanger_core"


def generate(config: Config, folder: Path) -> list[Path]:
    """Convert the core and write it to ``folder``, the top module last.

    Raises:
        OSError: the folder can't be written.
    """
    # MyHDL takes a second to import and changes global state: only when needed
    from hdl.convert import convert
    from hdl.core import core, ports

    header = f"Sanger, configuration {config.name}: made by python -m flows verilog --config {config.name}"
    design = convert(core.unelaborated(*ports(config), config), folder, header=header, name=TOP)
    return [Path(file) for file in design.files]
