"""The multiplier of all blocks: one DSP block with the registers before and behind it."""

from myhdl import always

from hdl.hierarchy import module
from hdl.wires import like

MULTIPLIER_CYCLES = 2


@module
def multiplier(clk, first, second, product):
    """``product`` = ``first`` * ``second`` of ``MULTIPLIER_CYCLES`` ago; both signed or both unsigned, 18 bits at most.

    clock:    _/-\\_/-\\_/-\\_/-\\_
    first:    <a0 ><a1 >
    product:            <p0 ><p1 >

    A module, whose registers nothing resets, holds or shares: so synthesis finds all of them a place in the DSP block
    (for ECP5, ``flows/synth.tcl`` sees to it).
    """
    first_operand, second_operand = like(first), like(second)

    @always(clk.posedge)
    def operands():
        first_operand.next = first
        second_operand.next = second

    @always(clk.posedge)
    def multiply():
        product.next = first_operand * second_operand

    return operands, multiply
