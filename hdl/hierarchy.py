"""Blocks that stay modules: the decorator ``@module``.

MyHDL's own ``@block`` flattens the whole design into one Verilog module.  A function decorated with ``@module``
simulates exactly like a block, but converts to a Verilog module of its own, and every call of it to an instance::

    @module
    def scale(clk, inp, out, factors, shift=0):
        '''Multiply each lane by its factor (one cycle).'''
        values, results = inp.values, out.values        # lists of signals, held by interfaces

        @always(clk.posedge)
        def product():
            for lane in range(len(factors)):
                results[lane].next = (values[lane] * factors[lane]) >> shift

        return product

    files = convert(scale.unelaborated(clk, inp, out, factors, shift=3), "build/verilog")     # hdl.convert

Ports are the arguments that are, or contain, signals: signals, lists or tuples of ports, and *interfaces* (objects whose
attributes are ports).  They flatten to names such as ``clk``, ``inp_valid``, ``factors_0``, ``inputs_3_data``.
Attributes that hold no signal go along with the interface unchanged.  Every other argument is a parameter.  Each
distinct set of parameters and port widths is converted once, to the module ``sanger_<function>_<parameters>``.

Rules for bodies:

- A body learns about its surroundings from its arguments alone: it is run again on fresh copies of them for the
  conversion, and not at all for further instances of the same module.
- A process can't write ``inputs[i].valid``.  Give the signals a list first, ``valids = [s.valid for s in inputs]``,
  and write ``valids[i]``.  A signal can be in one such list (of those that processes use), and a list is either driven
  by processes or read, not a mixture.
- Directions are found, not declared: a port is an output if the body drives it.  A field of an interface that the body
  neither reads nor drives does not become a port (except at the top, where it is an input).
- Unsigned sums in signed expressions go wrong in MyHDL without a word: of ``(a + b) + s`` with only ``s`` signed, Verilog
  makes an unsigned sum.  Give ``a + b`` a signed signal of its own first.  (A lone ``a + s`` is converted correctly.)
- An input that is never driven anywhere is a constant.  Say so with ``myhdl._Signal.Constant`` or expect a warning.
"""
import ast
import copy
import functools
import inspect
import sys
from types import ModuleType

import myhdl
from myhdl import intbv
from myhdl._block import _Block
from myhdl._enum import EnumItemType, EnumType
from myhdl._instance import _Instantiator
from myhdl._Signal import _Signal
from myhdl._util import _flatten

_COMPREHENSIONS = ("<listcomp>", "<genexpr>", "<setcomp>", "<dictcomp>")
_NEVER_PORTS = (_Block, _Instantiator, EnumType, EnumItemType, ModuleType, type, int, str)


# Ports ---------------------------------------------------------------------------------------------------------------

def has_signals(value, enclosing=()):
    """Whether an argument is a port (holds signals), not a parameter."""
    if isinstance(value, _Signal):
        return True
    if isinstance(value, _NEVER_PORTS) or callable(value) or any(value is outer for outer in enclosing):
        return False
    parts = value if isinstance(value, (list, tuple)) else getattr(value, "__dict__", {}).values()
    return any(has_signals(part, enclosing + (value,)) for part in parts)


def flatten(name, value, seen=None):
    """All signals in a port as ``[(flat name, signal)]``, each signal once."""
    seen = set() if seen is None else seen
    if isinstance(value, _Signal):
        if id(value) in seen:
            return []
        seen.add(id(value))
        return [(name, value)]
    if isinstance(value, (list, tuple)):
        parts = enumerate(value)
    elif has_signals(value):
        parts = vars(value).items()
    else:
        return []
    return [flat for key, part in parts for flat in flatten(f"{name}_{key}", part, seen)]


def _copy_signal(signal):
    if isinstance(signal, myhdl.ResetSignal):
        return myhdl.ResetSignal(signal._init, signal.active, signal.isasync)
    if signal._type is intbv:
        value = type(signal._val)(int(signal._init), min=signal._min, max=signal._max)
        return myhdl.Signal(value)
    return myhdl.Signal(signal._init)


def copy_port(value, copies=None):
    """The same port with fresh signals; a signal that occurs twice in it still does."""
    copies = {} if copies is None else copies
    if not has_signals(value):
        return value
    if id(value) not in copies:
        if isinstance(value, _Signal):
            copies[id(value)] = _copy_signal(value)
        elif isinstance(value, (list, tuple)):
            copies[id(value)] = type(value)(copy_port(item, copies) for item in value)
        else:
            copies[id(value)] = fresh = copy.copy(value)
            for key, part in vars(value).items():
                setattr(fresh, key, copy_port(part, copies))
    return copies[id(value)]


def _shape(value, with_initial_values):
    """What of a port the body may depend on: types, bounds, attributes that are plain values."""
    if isinstance(value, _Signal):
        shape = (value._type if isinstance(value._type, type) else "int", type(value), type(value._val),
                 value._nrbits, value._min, value._max)
        return shape + ((repr(value._init),) if with_initial_values else ())
    if isinstance(value, (list, tuple)):
        return tuple(_shape(item, with_initial_values) for item in value)
    if has_signals(value):
        return (type(value),) + tuple((key, _shape(part, with_initial_values)) for key, part in vars(value).items())
    return repr(value)


# The decorator ---------------------------------------------------------------------------------------------------------

class Module:
    """What ``@module`` makes of a function: call it to instantiate.

    ``array_attributes`` maps a list of signals in the body (a memory) to a Verilog attribute for it.
    """

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function
        self.signature = inspect.signature(function)
        self.instances = 0
        self.array_attributes = {}

    def __call__(self, *args, **kwargs):
        return ModuleInstance(self, args, kwargs, elaborate=not ModuleInstance.children_are_opaque)

    def unelaborated(self, *args, **kwargs):
        """An instance to convert only: its body isn't run (that alone takes long for a large design)."""
        return ModuleInstance(self, args, kwargs, elaborate=False)


def module(function):
    """Make a MyHDL block of ``function`` that converts to a Verilog module of its own (see above)."""
    return Module(function)


class ModuleInstance(_Block):
    """One call of a module.  ``ports`` are its flat signals, ``parameters`` the other arguments, by name."""

    children_are_opaque = False         # during conversion: instances inside a body need no body themselves

    def __init__(self, definition, args, kwargs, elaborate):
        self.definition = definition
        self.func = definition.function
        self.args, self.kwargs = args, kwargs
        bound = definition.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        self.arguments = dict(bound.arguments)
        self.parameters = {name: value for name, value in self.arguments.items() if not has_signals(value)}
        self.ports = [flat for name, value in self.arguments.items() for flat in flatten(name, value)]

        # What the constructor of _Block sets up; simulation and conversion rely on it.
        self.__doc__ = self.func.__doc__
        self.callinfo = _caller(2)
        self.modctxt = self.callinfo.modctxt
        self.callername = self.callinfo.name
        self.symdict, self.sigdict, self.memdict = None, {}, {}
        self.skipname = False
        self.name = self.__name__ = f"{self.func.__name__}{definition.instances}"
        definition.instances += 1
        self.verilog_code = self.vhdl_code = self.sim = None
        self._config_sim = {"trace": False}
        self.subs = []
        if elaborate:
            self.subs = _flatten(self.func(*args, **kwargs))
            self._verifySubs()
        self._updateNamespaces()

    def variant(self):
        """Hashable: equal for instances that can share one Verilog module."""
        with_initial_values = any(isinstance(signal, myhdl.ResetSignal) for _, signal in self.ports)
        return (self.definition,) + tuple(
            (name, _shape(value, with_initial_values)) for name, value in self.arguments.items())

    def for_conversion(self):
        """The same call with fresh signals; its body is run, the instances inside stay opaque."""
        arguments = {name: copy_port(value) for name, value in self.arguments.items()}
        outer, ModuleInstance.children_are_opaque = ModuleInstance.children_are_opaque, True
        try:
            return ModuleInstance(self.definition, (), arguments, elaborate=True)
        finally:
            ModuleInstance.children_are_opaque = outer

    def convert(self, *args, **kwargs):
        raise myhdl.ConversionError("use hdl.convert.convert()")


# MyHDL's introspection, made quick ---------------------------------------------------------------------------------------
# MyHDL calls inspect.stack() for every process and block, which reads source files for every frame, and parses the
# source of every process anew: minutes for a thousand instances.  These replacements do the same, and keep the frame
# of the body: its local variables give signals their names in Verilog.

class _CallInfo:
    def __init__(self, frame, modctxt):
        self.name = frame.f_code.co_name
        self.frame = frame
        self.modctxt = modctxt
        self.symdict = {**frame.f_globals, **frame.f_locals}


def _caller(depth):
    """Information on the body ``depth`` frames above the caller of this function."""
    frame = sys._getframe(depth + 1)
    while frame.f_code.co_name in _COMPREHENSIONS:
        frame = frame.f_back
    outer = frame.f_back
    return _CallInfo(frame, outer is not None and isinstance(outer.f_locals.get("self"), _Block))


@functools.lru_cache(maxsize=None)
def _source(code):
    from myhdl._util import _dedent
    return _dedent(inspect.getsource(code)), inspect.getsourcefile(code), inspect.getsourcelines(code)[1] - 1


def _make_ast(function):
    source, sourcefile, lineoffset = _source(function.__code__)
    tree = ast.parse(source)
    tree.sourcefile, tree.lineoffset = sourcefile, lineoffset
    return tree


def _quicken_myhdl():
    from myhdl import _always, _always_comb, _always_seq, _instance, _block
    from myhdl.conversion import _analyze
    for part in (_always, _always_comb, _always_seq, _instance):
        part._getCallInfo = lambda: _caller(2)
    _block._getCallInfo = lambda: _caller(3)
    for part in (_instance, _analyze):
        part._makeAST = _make_ast


_quicken_myhdl()
