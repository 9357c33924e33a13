# The core's clock on its own; pins and I/O standards are the board's.
create_clock -period 5.000 -name clk [get_ports clk]
set_property BITSTREAM.GENERAL.UNCONSTRAINEDPINS Allow [current_design]
