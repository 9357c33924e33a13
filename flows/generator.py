"""FuseSoC generators: Verilog of a configuration, the stimulus of its testbench, and the choice of a simulator.

FuseSoC runs this file with the name of a YAML file; the parameter ``make`` says which of them is wanted:

- ``verilog``: the core's modules. Parameter ``config``.
- ``stimulus``: the testbench's files for a shipped head. Parameters ``config``, ``head`` (file in ``data/``),
  ``index`` (which head of the file).
- ``tool``: no files, but the flow option ``tool``. Parameter ``tool``.
"""

import sys
from pathlib import Path

from fusesoc.capi2.generator import Generator

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # FuseSoC starts this file from its own work folder

from flows import heads, stimulus, verilog  # noqa: E402
from golden import head  # noqa: E402
from golden.config import named  # noqa: E402


class SangerGenerator(Generator):
    """Writes the wanted files to the current folder, and a core file that lists them."""

    def run(self):
        if self.config["make"] == "tool":
            self.targets = {"default": {"flow": "sim", "flow_options": {"tool": self.config["tool"]}}}
            return
        config = named(self.config["config"])
        if self.config["make"] == "verilog":
            files = [file.name for file in verilog.generate(config, Path("."))]
            self.add_files(files, fileset="rtl", file_type="verilogSource")
        else:
            loaded, _ = heads.load(ROOT / "data" / self.config["head"], config)
            one = loaded[self.config.get("index", 0)]
            settings = one.settings(threshold=None, causal=False, residual=True)
            result = head.run(one.q, one.k, one.v, settings, config)
            stimulus.build([(one.q, one.k, one.v, settings)], [result], config).write(Path("."))
            names = (stimulus.SCRIPT_FILE, stimulus.INPUT_FILE, stimulus.EXPECTED_FILE)
            self.add_files([{name: {"copyto": name}} for name in names], fileset="stimulus", file_type="user")


if __name__ == "__main__":
    generator = SangerGenerator()
    generator.run()
    generator.write()
