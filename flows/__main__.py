"""Command line: ``python -m flows``."""

import argparse
import os
import sys
from pathlib import Path

from golden.config import CONFIGS, ConfigError, named

USAGE_ERROR = 2


class _Parser(argparse.ArgumentParser):
    """Says what was wrong in one sentence, without the usage."""

    def error(self, message):
        print(f"{self.prog}: {message}", file=sys.stderr)
        sys.exit(USAGE_ERROR)


def _percent(text):
    value = int(text)
    if not 0 <= value <= 95:
        raise argparse.ArgumentTypeError(f"{text} isn't within 0 to 95")
    return value


def _minutes(text):
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} isn't above 0")
    return value


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    main = _Parser(prog="python -m flows", description="Sanger: simulation and Verilog of the sparse attention core.")
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name, summary, **options):
        sub = commands.add_parser(name, help=summary, description=summary, **options)
        sub.add_argument("--config", default="small", metavar="NAME", help=f"{', '.join(CONFIGS)} (default: %(default)s)")
        return sub

    simulate = command("simulate", "Run attention heads on the core and compare with the golden model, bit by bit.")
    simulate.add_argument("head", type=Path, metavar="HEAD.npz",
                          help="q [n_q,d], k [n_k,d], v [n_k,d], or all with a leading head axis; floats are quantised,"
                               " int8 is taken as it is (optional q_scale, k_scale, v_scale)")  # fmt: skip
    simulate.add_argument("--engine", default="golden", choices=("golden", "myhdl", "icarus", "verilator"),
                          help="default: %(default)s")  # fmt: skip
    simulate.add_argument("--threshold", type=float, metavar="T", help="keep what is predicted above T (default: 1/n_k)")
    simulate.add_argument("--causal", action="store_true", help="query i sees keys 0 ... i + n_k - n_q")
    simulate.add_argument("--no-residual", action="store_true", help="drop the dropped probability, as the paper does")
    simulate.add_argument("--transform", type=Path, metavar="TRANSFORM.npz",
                          help="multiply q and k by the matrices that `calibrate` made")  # fmt: skip
    simulate.add_argument("--predict-dims", type=int, metavar="R", help="dimensions that the prediction reads (default: d)")
    simulate.add_argument("--head", dest="only", type=int, metavar="I", help="only head I of the file")
    simulate.add_argument("--out", type=Path, metavar="OUT.npz", help="write o (float), o_int (int16) and mask (bool)")
    simulate.add_argument("--report", type=Path, metavar="REPORT.json", help="write the printed figures as JSON")
    simulate.add_argument("--waves", type=Path, metavar="FILE", help="write waveforms (VCD; icarus: .fst too)")
    simulate.add_argument("--stall", type=_percent, default=0, metavar="PERCENT",
                          help="idle cycles on input and output, at random (default: %(default)s)")  # fmt: skip
    simulate.add_argument("--seed", type=int, default=1, help="of the stalls (default: %(default)s)")

    calibrate = commands.add_parser("calibrate", help="Make the transform for folded prediction from captured heads.",
                                    description="Make the transform for folded prediction: one pair of matrices for"
                                    " each position of the head axis, pooled over all files.")  # fmt: skip
    calibrate.add_argument("heads", type=Path, nargs="+", metavar="HEADS.npz", help="head files, as `simulate` takes them")
    calibrate.add_argument("--out", type=Path, required=True, metavar="TRANSFORM.npz", help="file to write")
    calibrate.add_argument("--ridge", type=float, default=0.03, metavar="X",
                           help="added to both moments, in units of the mean eigenvalue (default: %(default)s)")  # fmt: skip

    verilog = command("verilog", "Convert the core to Verilog, one file a module.")
    verilog.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")

    synth = command("synth", "Synthesise the core with the open tools, and report area and clock.")
    synth.add_argument("--target", default="ecp5", choices=("ecp5", "ice40", "xilinx", "xilinx7", "vivado"),
                       help="ecp5 and ice40: with place and route; xilinx (UltraScale+) and xilinx7: Yosys only; vivado: only"
                       " set up, as it needs the vendor's tool (default: %(default)s)")  # fmt: skip
    synth.add_argument("--no-place", action="store_true", help="Yosys only")
    synth.add_argument("--simulation", type=Path, metavar="REPORT.json",
                       help="report of a simulation with cycles: adds heads per second and GOPS")  # fmt: skip
    synth.add_argument("--report", type=Path, metavar="REPORT.json", help="write the printed figures as JSON")
    synth.add_argument("--minutes", type=_minutes, default=60, metavar="M",
                       help="stop the tools then; a further run goes on (default: %(default)s)")  # fmt: skip

    study = commands.add_parser("study", help="Measure what the connection of lanes to keys costs and saves.",
                                description="Area (Yosys), clock (a row placed and routed on its own) and cycles (captured"
                                " heads) of the array with several connections; build/reports/study.json. An hour or two.")  # fmt: skip
    study.add_argument("--minutes", type=_minutes, default=30, metavar="M",
                       help="for the tools, each variant and each row (default: %(default)s)")  # fmt: skip

    performance = commands.add_parser("performance", help="Measure whole layers in Verilator: docs/performance.md.",
                                      description="Run captured heads of whole layers on small and small_tiled in Verilator,"
                                      " and collect the figures in docs/performance.md.")  # fmt: skip
    performance.add_argument("folder", type=Path, metavar="DIR", help="minilm_l*_n*_float.npz and transform_l*.npz;"
                             " `make performance` makes them")  # fmt: skip

    commands.add_parser("report", help="Collect the reports that were made into docs/resource-use.md.",
                        description="Collect the reports of synthesis and simulation in build/reports into"
                        " docs/resource-use.md, with plots.")  # fmt: skip
    return main


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 for a wrong result, 2 for bad input."""
    options = parser().parse_args(arguments)
    prog = f"python -m flows {options.command}"
    # Slow imports only now, so that --help and mistakes are answered at once.
    from flows.heads import InputError
    from flows.run import ToolError

    commands = {
        "simulate": _simulate, "calibrate": _calibrate, "verilog": _verilog, "synth": _synth, "study": _study,
        "performance": _performance, "report": _report,
    }  # fmt: skip
    try:
        return commands[options.command](options)
    except (InputError, ConfigError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except ToolError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{prog}: {error.filename or ''}: {os.strerror(error.errno) if error.errno else error}", file=sys.stderr)
        return USAGE_ERROR


def _simulate(options):
    from flows.simulate import simulate

    exact = simulate(
        options.head, named(options.config), options.engine, options.threshold, options.causal, not options.no_residual,
        options.only, options.out, options.report, options.waves, options.stall, options.seed,
        options.transform, options.predict_dims,
    )  # fmt: skip
    return 0 if exact else 1


def _calibrate(options):
    from flows.calibrate import TOKENS_PER_DIMENSION, calibrate

    seen = calibrate(options.heads, options.ridge, options.out)
    print(f"{options.out}: transform of {seen['heads']} heads of {seen['d']} dimensions, from {seen['tokens']} tokens")
    if seen["tokens"] < TOKENS_PER_DIMENSION * seen["d"]:
        print(
            f"warning: {seen['tokens']} tokens are fewer than {TOKENS_PER_DIMENSION} for each of {seen['d']} dimensions;"
            " expect a poor transform",
            file=sys.stderr,
        )
    return 0


def _synth(options):
    from flows.synth import synthesize

    synthesize(
        named(options.config), options.target, not options.no_place, options.report, options.simulation, options.minutes
    )
    return 0


def _study(options):
    from flows.study import study

    study(options.minutes)
    return 0


def _performance(options):
    from flows.performance import measure

    measure(options.folder)
    return 0


def _report(options):
    from flows.resource_use import write_page

    for path in write_page():
        print(path)
    return 0


def _verilog(options):
    from flows.verilog import generate

    config = named(options.config)
    files = generate(config, options.out)
    print(f"{len(files)} modules of configuration {config.name} in {options.out}; the top is {files[-1].stem}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
