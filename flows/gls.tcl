# Synthesis for gate-level simulation: also writes the netlist as Verilog, with Yosys' models of the cells beside it. The
# netlist appears under its name only when it is complete: make would take what an interrupted run left for finished.

source synth.tcl
set yosys [file readlink /proc/self/exe]
file copy -force [file join [file dirname $yosys] .. share yosys ice40 cells_sim.v] ice40_cells.v
write_verilog -noattr $name.v.part
file rename -force $name.v.part $name.v
