"""Pins around a block that is placed and routed on its own, as ``pins.v`` has them around the core."""

import re

NAME = "sanger_pins"
"""The module with the pins; what is between them is its instance ``core``."""
_PORT = re.compile(r"^    (input|output)(?: reg| wire)?(?: signed)?(?: \[(\d+):0\])? (\w+),?$", re.MULTILINE)


def around(block: str) -> str:
    """Verilog of a module with five pins around a block: a shift register drives its inputs, another takes its outputs.

    Every port starts and ends in a register, and nothing of the block is optimised away.

    Args:
        block: Verilog of the block as the converter writes it, a port a line, with a clock ``clk``.
    """
    name, header = re.search(r"^module (\w+) \(\n(.*?)^\);", block, re.MULTILINE | re.DOTALL).groups()
    connections, inputs, outputs = [], 0, 0
    for direction, high, port in _PORT.findall(header):
        width = int(high or 0) + 1
        if port in ("clk", "reset"):
            signal = {"clk": "clk", "reset": "block_reset"}[port]
        elif direction == "input":
            signal, inputs = f"inputs[{inputs + width - 1}:{inputs}]", inputs + width
        else:
            signal, outputs = f"made[{outputs + width - 1}:{outputs}]", outputs + width
        connections.append(f"        .{port}({signal})")
    between = ",\n".join(connections)
    return f"""module {NAME} (
    input clk,
    input reset,
    input shift_in,
    input load,
    output shift_out
);
    reg block_reset;
    reg [{inputs - 1}:0] inputs;
    reg [{outputs - 1}:0] outputs;
    wire [{outputs - 1}:0] made;

    assign shift_out = outputs[{outputs - 1}];

    always @(posedge clk) begin
        block_reset <= reset;
        inputs <= {{inputs[{inputs - 2}:0], shift_in}};
        outputs <= load ? made : {{outputs[{outputs - 2}:0], 1'b0}};
    end

    {name} core (
{between}
    );
endmodule
"""
