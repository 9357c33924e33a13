"""From MyHDL to Verilog-2005, one file for each module: ``convert``.

Built on MyHDL's converter.  What MyHDL can't do is done here, around its analysis of one body: ports that are lists of
signals, instances of modules, constants below zero, and output that is the same from run to run.
"""
import contextlib
import hashlib
import inspect
import os
import re
import tempfile
import warnings
from dataclasses import dataclass, field

import myhdl
from myhdl import ToVerilogWarning
from myhdl._block import _Block
from myhdl._extractHierarchy import _UserVerilogCode
from myhdl._instance import _Instantiator
from myhdl._ShadowSignal import _ShadowSignal, _SliceSignal
from myhdl._Signal import Constant, _Signal
from myhdl.conversion import _toVerilog as verilog

from hdl.hierarchy import ModuleInstance, flatten, has_signals

_KEYWORDS = frozenset(
    "always and assign begin buf case default defparam disable edge else end endcase endfunction endmodule event for "
    "force forever fork function generate genvar if initial inout input integer join localparam module nand negedge "
    "nor not or output parameter posedge real reg release repeat signed small table task time tri unsigned wait wand "
    "while wire wor xnor xor "
    # SystemVerilog, as which some tools read every file
    "alias always_comb always_ff always_latch assert assume before bind bins binsof bit break byte chandle checker class "
    "clocking config const constraint context continue cover covergroup coverpoint cross dist do endcase endclass "
    "enum eventually expect export extends extern final first_match foreach global iff ignore_bins illegal_bins implies "
    "import inside int interface intersect join_any join_none let local logic longint matches modport new null package "
    "packed priority program property protected pure rand randc randcase ref restrict return sequence shortint string "
    "strong struct super tagged this throughout timeprecision timeunit type typedef union unique until var virtual void "
    "wait_order weak wildcard with within".split())


@dataclass(frozen=True)
class Port:
    """A port of a Verilog module.  ``direction`` is ``input`` or ``output``; ``index`` its place in the instance's ports."""
    name: str
    direction: str
    index: int


@dataclass
class Design:
    """What ``convert`` wrote: ``files`` (children first), the name of the ``top`` module and its ``ports``."""
    top: str
    ports: list
    files: list = field(default_factory=list)


@dataclass
class _Variant:
    """A module with one set of parameters and port widths."""
    instance: ModuleInstance            # elaborated on signals of its own
    children: list                      # instances in the body, in order
    name: str = ""
    ports: list = None                  # [Port], known after conversion


def convert(top, directory, header="", prefix="sanger_", name=None):
    """Write ``top`` (an instance of a ``@module``) and every module below it to ``directory``/<module>.v.

    ``header`` is comment text for the head of each file.  ``name`` replaces the name of the top module.
    Returns a ``Design``.
    """
    os.makedirs(directory, exist_ok=True)
    with _repeatable_names():
        variants = _collect(top)
        _name_variants(variants, prefix)
        top_key = top.variant()
        if name:
            variants[top_key].name = name
        files = []
        for key, variant in variants.items():
            text = _Conversion(variant, variants, is_top=key == top_key).text(header)
            files.append(os.path.join(str(directory), variant.name + ".v"))
            with open(files[-1], "w") as file:
                file.write(text)
    return Design(variants[top_key].name, variants[top_key].ports, files)


# Which modules there are -----------------------------------------------------------------------------------------------

@contextlib.contextmanager
def _repeatable_names():
    """MyHDL numbers blocks over a whole session; here each conversion starts at 0 and leaves no trace."""
    from myhdl import _block, _simulator
    calls = [(block, block.calls) for block in _simulator._blocks]
    names, signals = set(_block._name_set), len(_simulator._signals)
    try:
        yield
    finally:
        for block, count in calls:
            block.calls = count
        _block._name_set.clear()
        _block._name_set.update(names)
        del _simulator._signals[signals:]


def _blocks(block):
    """A block and the plain MyHDL blocks in it, which are flattened into it."""
    yield block
    for sub in block.subs:
        if isinstance(sub, _Block) and not isinstance(sub, ModuleInstance):
            yield from _blocks(sub)


def _collect(top):
    """All variants below ``top``, children first: {variant key: _Variant}."""
    from myhdl import _block, _simulator
    variants = {}

    def visit(instance, ancestors):
        key = instance.variant()
        if key in ancestors:
            raise myhdl.ConversionError(f"module {instance.func.__name__} contains itself")
        if key in variants:
            return
        for block in _simulator._blocks:
            block.calls = 0
        _block._name_set.clear()
        instance = instance.for_conversion()
        children = [sub for block in _blocks(instance) for sub in block.subs if isinstance(sub, ModuleInstance)]
        for child in children:
            visit(child, ancestors + (key,))
        variants[key] = _Variant(instance, children)

    visit(top, ())
    return variants


def _digest(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()[:6]


def _suffix(parameters):
    """Parameters as part of a name: ``depth=16`` is ``_d16``; initials that are taken are spelled out."""
    initials = ["".join(word[0] for word in name.split("_") if word) for name in parameters]
    parts = []
    for (name, value), short in zip(parameters.items(), initials):
        label = name if initials.count(short) > 1 else short
        if isinstance(value, bool):
            parts += [name] if value else []
        elif isinstance(value, int):
            parts.append(f"{label}{value}".replace("-", "m"))
        elif isinstance(value, str) and re.fullmatch(r"\w+", value):
            parts.append(value)
        elif isinstance(value, (str, float, tuple, list, frozenset)):
            parts.append(label + _digest(value))
    return "".join("_" + part for part in parts)


def _name_variants(variants, prefix):
    """Names from parameters; variants of one name also get the width in which their ports differ, or a hash."""
    groups = {}
    for key, variant in variants.items():
        name = prefix + variant.instance.func.__name__ + _suffix(variant.instance.parameters)
        groups.setdefault(name, []).append((key, variant))
    for name, group in groups.items():
        names = [name]
        if len(group) > 1:
            widths = [{port: signal._nrbits for port, signal in variant.instance.ports} for _, variant in group]
            differing = [port for port in widths[0] if len({w.get(port) for w in widths}) > 1]
            names = [f"{name}_w{max([w.get(port) or 0 for port in differing] or [0])}" for w in widths]
            if len(set(names)) < len(names):
                names = [f"{name}_{_digest(_stable(key))}" for key, _ in group]
        for (_, variant), variant.name in zip(group, names):
            pass
    if len({variant.name for variant in variants.values()}) < len(variants):
        raise myhdl.ConversionError("two modules of one name")


def _stable(key):
    """A variant key without what differs from run to run (addresses in reprs)."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(key))


# One module --------------------------------------------------------------------------------------------------------------

class _Code(_UserVerilogCode):
    """Verilog text among MyHDL's processes."""
    __slots__ = ("text",)

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text() if callable(self.text) else self.text


def _literal(signal):
    value = int(signal._init)
    if signal._min is not None and signal._min < 0:
        return f"{'-' if value < 0 else ''}{signal._nrbits}'sd{abs(value)}"
    return f"{signal._nrbits}'d{value}"


def _type(signal):
    return verilog._getSignString(signal) + verilog._getRangeString(signal)


class _Conversion:
    """Runs MyHDL's converter on one elaborated module and completes its result."""

    def __init__(self, variant, variants, is_top):
        self.variant, self.variants, self.is_top = variant, variants, is_top
        self.top = variant.instance
        self.ports = {}                 # name: signal of the body
        self.port_of = {}               # id(signal): name
        self.header = []                # [(name, direction, kind, signal)]
        self.connections = {}           # id(signal): Verilog, where it isn't the signal's name
        self.assignments = []
        self.process_driven = {}        # id(array): whether a process assigns to it by index

    def text(self, header):
        self._label_instances()
        self._name_signals()
        self._mark_connections()
        saved = (verilog.toVerilog, verilog._writeModuleHeader, verilog._writeFileHeader)
        converter = _Converter(self)
        with tempfile.TemporaryDirectory() as directory:
            verilog.toVerilog = converter
            verilog._writeModuleHeader = lambda file, interface, doc: file.write(self._module_header())
            verilog._writeFileHeader = lambda *args: None
            try:
                converter.name, converter.directory = self.variant.name, directory
                converter.no_testbench, converter.initial_values = True, False
                self.top._inferInterface = self._infer_interface
                converter(self.top)
            except Exception as error:
                error.args = (f"in module {self.variant.name}: {error.args[0] if error.args else ''}",) + error.args[1:]
                raise
            finally:
                verilog.toVerilog, verilog._writeModuleHeader, verilog._writeFileHeader = saved
            with open(os.path.join(directory, self.variant.name + ".v")) as file:
                body = file.read()
        self.variant.ports = [Port(name, direction, list(self.ports).index(name))
                              for name, direction, _, _ in self.header]
        body = re.sub(r"[ \t]+\n", "\n", body)
        body = re.sub(r"\n{3,}", "\n\n", body)
        body = re.sub(r"begin: (\w+)", lambda match: match[0] + "_" * (match[1] in _KEYWORDS), body)
        # MyHDL names the inputs of a process in the order of a set, which Python changes from run to run.
        body = re.sub(r"always @\(([^()]*)\) begin",
                      lambda match: f"always @({', '.join(sorted(match[1].split(', ')))}) begin", body)
        body = re.sub(r"\[0:(\d+)-1\]", lambda match: f"[0:{int(match[1]) - 1}]", body)
        for array, attribute in self.top.definition.array_attributes.items():
            # Zero as in a configured FPGA: what was never written is read, too, if nothing depends on its value.
            body = re.sub(
                rf"^(reg .*\b{array} \[0:(\d+)\];)",
                lambda match: f"(* {attribute} *) {match[1]}\n\ninteger {array}_word;\n"
                f"initial for ({array}_word = 0; {array}_word <= {match[2]}; {array}_word = {array}_word + 1)"
                f" {array}[{array}_word] = 0;", body, flags=re.M)
        return self._comment(header) + body.strip() + "\n"

    def _comment(self, header):
        doc = inspect.cleandoc(self.top.func.__doc__ or "")
        lines = header.splitlines() + ([""] if header and doc else []) + doc.splitlines()
        simple = {name: value for name, value in self.top.parameters.items()
                  if isinstance(value, (int, str, float, tuple))}
        if simple:
            lines += ([""] if lines else []) + [f"{name} = {value}" for name, value in simple.items()]
        return "".join(f"// {line}".rstrip() + "\n" for line in lines) + "\n"

    # Names

    def _label_instances(self):
        functions = [child.func.__name__ for child in self.variant.children]
        numbers = {}
        self.labels = {}
        for child, function in zip(self.variant.children, functions):
            number = numbers[function] = numbers.get(function, -1) + 1
            self.labels[id(child)] = f"inst_{function}" + (f"_{number}" if functions.count(function) > 1 else "")
            child.verilog_code = _Code(lambda child=child: self._instance(child))

    def _name_signals(self):
        """Give every signal that this module uses a name from the variables of the body (MyHDL misses some)."""
        for block in _blocks(self.top):
            is_top = block is self.top
            frame = next((sub.callinfo.frame for sub in block.subs if hasattr(sub, "callinfo")), None)
            variables = dict(frame.f_locals) if frame else dict(block.symdict)
            children = [sub for sub in block.subs if isinstance(sub, ModuleInstance)]
            processes = [sub for sub in block.subs if isinstance(sub, _Instantiator)]
            named, taken = {}, set(block.memdict) | _KEYWORDS

            def give(name, signal):
                if id(signal) in named:
                    return
                while name in taken:
                    name += "_"
                taken.add(name)
                named[id(signal)] = (name, signal)

            if is_top:
                for name, signal in self.top.ports:
                    if id(signal) in named:
                        raise myhdl.ConversionError(f"{name}: signal is also port {named[id(signal)][0]}")
                    give(name, signal)
                self.ports = {name: signal for name, signal in named.values()}
                self.port_of = {key: name for key, (name, _) in named.items()}
            wanted = {id(signal) for child in children for _, signal in child.ports}
            wanted |= {id(signal) for process in processes for signal in process.sigdict.values()}
            # Lists first: the variable of a loop names only its last value.
            for value in sorted((v for v in variables.items() if has_signals(v[1])),
                                key=lambda v: not isinstance(v[1], (list, tuple))):
                for name, signal in flatten(*value):
                    if id(signal) in wanted:
                        give(name, signal)
            for process in processes:
                for name, signal in process.sigdict.items():
                    give(name, signal)
            for child in children:
                for name, signal in child.ports:
                    give(f"{self.labels[id(child)][5:]}_{name}", signal)
            for name, signal in block.sigdict.items():
                if isinstance(signal, _Signal) and not isinstance(signal, Constant):
                    give(name, signal)
            block.sigdict = {name: signal for name, signal in named.values()}

    # Before MyHDL's analysis

    def _mark_connections(self):
        """What instances read and drive."""
        for child in self.variant.children:
            variant = self.variants[child.variant()]
            for port in variant.ports:
                signal = child.ports[port.index][1]
                signal._markUsed()
                if port.direction == "input":
                    signal._markRead()
                    if isinstance(signal, _ShadowSignal) and not isinstance(signal, _SliceSignal):
                        signal._driven = "wire"         # a ConcatSignal assigns itself
                elif signal._driven:
                    raise myhdl.ConversionError(
                        f"{self.variant.name}: {self.labels[id(child)]}.{port.name} drives a signal that has a driver")
                else:
                    signal._driven = "wire"
        self.driven_by_child = {id(child.ports[port.index][1]) for child in self.variant.children
                                for port in self.variants[child.variant()].ports if port.direction == "output"}

    # After MyHDL's analysis, before it writes

    def _infer_interface(self):
        self.top.argnames = list(self.ports)
        self.top.argdict = dict(self.ports)

    def complete(self, signals, memories, code):
        """Called by the converter between its analysis and its output."""
        written = {}                    # id(signal) in a list: the list
        for memory in memories:
            if memory._used:
                self._complete_memory(memory)
                written.update((id(signal), memory) for signal in memory.mem)
        for name, signal in self.ports.items():
            memory = written.get(id(signal))
            driven = signal._driven or (memory is not None and self.process_driven[id(memory)])
            used = driven or signal._read or (memory is not None and memory._read)
            direct = isinstance(self.top.arguments.get(name), _Signal)
            if not used and not direct and not self.is_top:
                continue
            if not used:
                warnings.warn(f"{self.variant.name}: port is not used: {name}", category=ToVerilogWarning)
            kind = "wire" if memory is not None or not driven else driven
            self.header.append((name, "output" if driven else "input", kind, signal))
            if memory is None:
                signal._name = name
        for signal in signals:
            if id(signal) in self.port_of or not signal._used:
                continue
            if signal._driven and not signal._read and id(signal) in self.driven_by_child:
                signal._used = False            # left open
                self.connections[id(signal)] = ""
            elif signal._read and not signal._driven and not hasattr(signal, "toVerilog"):
                self._constant(signal)
        if self.assignments:
            code.insert(0, _Code("\n".join(self.assignments) + "\n\n"))

    def _constant(self, signal):
        signal._used = False                    # MyHDL would declare it without its sign
        if isinstance(signal, Constant):
            self.assignments.append(f"localparam {_type(signal)}{signal._name} = {_literal(signal)};")
        else:
            warnings.warn(f"{self.variant.name}: signal is not driven, a constant: {signal._name}",
                          category=ToVerilogWarning)
            self.assignments.append(f"wire {_type(signal)}{signal._name} = {_literal(signal)};")

    def _complete_memory(self, memory):
        """A list that processes use becomes an array.  Connect its elements to ports and instances."""
        process_driven = bool(memory._driven)
        kinds = {signal._driven for signal in memory.mem}
        inputs = [s for s in memory.mem if id(s) in self.port_of and not s._driven and not process_driven]
        self.process_driven[id(memory)] = process_driven
        if process_driven or "reg" in kinds:
            memory._driven = "reg"
        elif "wire" in kinds or inputs:
            memory._driven = "wire"
        else:
            return                      # constants: MyHDL initializes them
        is_reg = memory._driven == "reg"
        for signal in memory.mem:
            element, port = signal._name, self.port_of.get(id(signal))
            for part in signal._slicesigs:
                part._setName("Verilog")
            if id(signal) in self.driven_by_child and is_reg:
                wire = element.strip("\\ ").replace("[", "_").replace("]", "") + "_driven"
                self.connections[id(signal)] = wire
                self.assignments += [f"wire {_type(signal)}{wire};", f"always @* {element} = {wire};"]
            if port is None:
                if not (process_driven or signal._driven):
                    self.assignments.append(f"{'initial' if is_reg else 'assign'} {element} = {_literal(signal)};")
            elif signal._driven or process_driven:
                self.assignments.append(f"assign {port} = {element};")
            elif is_reg:
                self.assignments.append(f"always @* {element} = {port};")
            else:
                self.assignments.append(f"assign {element} = {port};")

    # Output

    def _module_header(self):
        lines = []
        for name, direction, kind, signal in self.header:
            kind = " reg" if direction == "output" and kind == "reg" else ""
            lines.append(f"    {direction}{kind} {_type(signal)}{name}")
        return f"module {self.variant.name} (\n" + ",\n".join(lines) + "\n);\n\n"

    def _instance(self, child):
        variant = self.variants[child.variant()]
        lines = []
        for port in variant.ports:
            signal = child.ports[port.index][1]
            lines.append(f"    .{port.name}({self.connections.get(id(signal), signal._name)})")
        return f"{variant.name} {self.labels[id(child)]} (\n" + ",\n".join(lines) + "\n);\n\n"


class _Converter(verilog._ToVerilogConvertor):
    """MyHDL's converter with our additions at its entry point for them."""
    __slots__ = ("conversion",)

    def __init__(self, conversion):
        super().__init__()
        self.conversion = conversion

    def _convert_filter(self, h, intf, siglist, memlist, genlist):
        self.conversion.complete(siglist, memlist, genlist)
