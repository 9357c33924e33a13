# Synthesis for gate-level simulation: also writes the netlist as Verilog, and puts Yosys' models of the cells beside it.

source synth.tcl
write_verilog -noattr $name.v
set yosys [file readlink /proc/self/exe]
file copy -force [file join [file dirname $yosys] .. share yosys ice40 cells_sim.v] ice40_cells.v
