"""From `golden/registers.rdl`: the page `docs/registers.md` and the C header `sw/sanger_registers.h`."""

import re
import tempfile
from pathlib import Path

from peakrdl_cheader.exporter import CHeaderExporter
from peakrdl_markdown import MarkdownExporter

from golden.registers import REGISTER_MAP, compile_rdl

ROOT = Path(__file__).resolve().parents[1]
HEADER = ROOT / "sw" / "sanger_registers.h"
MARKDOWN = ROOT / "docs" / "registers.md"

TITLE = "Registers"
PREFIX = "SANGER"


def _enumerations(root):
    """What the fields of the map encode, in order of appearance: [(name, [(member, value, description)])]."""
    enums = {}
    for node in root.top.descendants():
        encoding = node.get_property("encode") if hasattr(node, "lsb") else None
        if encoding is not None:
            members = [(member.name, member.value, member.rdl_desc) for member in encoding]
            enums.setdefault(encoding.type_name, members)
    return list(enums.items())


def header():
    """The C header: PeakRDL's fields and structure, and what it leaves out, byte offsets and enumerations."""
    root = compile_rdl()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / HEADER.name
        CHeaderExporter().export(root, str(path), reuse_typedefs=False)
        text = path.read_text(encoding="utf-8")

    lines = [
        "// Byte offsets. Prefer 32-bit accesses at these to the packed structure: on some machines a compiler reads",
        "// its members byte by byte, and the low word of a counter must be read at once.",
    ]
    for register in REGISTER_MAP:
        lines.append(f"#define {PREFIX}__{register.path.replace('.', '__')}_offset {register.address:#x}")
    for name, members in _enumerations(root):
        lines += ["", f"// enum - {name}"]
        for member, value, description in members:
            lines.append(f"#define {PREFIX}__{name.upper()}__{member} {value}  // {description}")
    marker = "\n#ifdef __cplusplus\n}\n#endif\n"
    body, end = text.rsplit(marker, 1)
    return f"{body.rstrip()}\n\n" + "\n".join(lines) + f"\n{marker}{end}"


def markdown():
    """The documentation page: PeakRDL's, with a title and tables of the enumerations."""
    root = compile_rdl()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MARKDOWN.name
        MarkdownExporter().export(root, str(path))
        text = path.read_text(encoding="utf-8")

    _, body = text.split("-->\n", 1)
    lines = [f"# {TITLE}", "", "<!-- Made from golden/registers.rdl by flows/registers.py: edit that file. -->"]
    tables = []
    for name, members in _enumerations(root):
        tables += ["", f"## {name}", "", "| Value | Name | Meaning |", "|---|---|---|"]
        tables += [f"| {value} | {member} | {description} |" for member, value, description in members]
    text = "\n".join(lines) + "\n" + body.rstrip() + "\n" + "\n".join(tables) + "\n"
    text = re.sub(r"<[^<>|]*FieldNode[^<>|]*?([A-Z_]+\.\w+)[^<>|]*>", r"\1", text)  # a reset value that is a field's
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def write_header(path=HEADER):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(header(), encoding="utf-8")


def write_markdown(path=MARKDOWN):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(markdown(), encoding="utf-8")


if __name__ == "__main__":
    write_header()
    write_markdown()
