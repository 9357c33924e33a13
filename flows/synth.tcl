# Yosys' part of synthesis, for edalize (its yosys_template). It adds to edalize's own script:
# - the core's rules: no latches, no memory dissolved into flip-flops, no combinational loops;
# - iCE40 has no distributed RAM: there, what is meant for it becomes flip-flops;
# - with -noflatten, modules are flattened only once they are mapped: each kind of module is mapped once, and the names
#   of the cells keep the hierarchy;
# - adders and small memories are mapped without constants that nextpnr would drive through the part (ecp5_map.v);
# - multipliers and block RAMs of large configurations get places on ECP5 (floorplan.tcl);
# - router2 gets a setting that nextpnr has no option for;
# - the netlist appears under its name only when it is complete, so that an interrupted run can go on.

yosys -import

# What a command of Yosys prints.
proc told {args} {
    tee -q -o told.txt {*}$args
    set file [open told.txt]
    set text [read $file]
    close $file
    return $text
}

source edalize_yosys_procs.tcl

verilog_defaults -push
verilog_defaults -add -defer
set_defines
set_incdirs
read_files
if {$top eq "sanger_pins"} {
    set_params
}
verilog_defaults -pop

# edalize's procedure `synth` holds one command: synth_<family> <options> -top $top
set command [string trim [info body synth]]

proc run {steps} {
    global command top
    {*}[subst $command] -run $steps
}

hierarchy -check -top $top
if {[string match "synth_ice40*" $command]} {
    setattr -set in_flip_flops 1 a:ram_style
    setattr -unset ram_style
}
if {[lsearch $command -noflatten] >= 0} {
    # Handshakes go through buffers: with their logic in the blocks around them, there is a level less.
    flatten t:sanger_fifo* t:sanger_register_slice*
}
run begin:map_ffram

# What is still a memory here becomes flip-flops (ROMs become logic, as they should). That is meant for the few words
# that some blocks keep side by side, never for a memory of hdl/memory.py (but see above for iCE40).
set dissolved {*/memory r:SIZE>8 %u t:$mem_v2 %i r:WR_PORTS>0 %i a:in_flip_flops %d}
set latches {t:$dlatch t:$adlatch t:$dlatchsr t:$sr t:$_DLATCH_*}
tee -q -o dissolved_memories.txt select -list {*}$dissolved
tee -q -o latches.txt select -list {*}$latches
select -assert-none {*}$dissolved
select -assert-none {*}$latches

# Settings of nextpnr that have no option are read from the netlist's top module. From iteration to iteration, router2 asks
# more of wires that several nets want: with its own step of 2 it soon takes any detour to avoid them, and on a nearly full
# part these take the last free wires, so that what is left to mend grows again.
proc set_for_nextpnr {netlist settings} {
    global top
    set file [open $netlist]
    set text [read $file]
    close $file
    set begin "\n    \"$top\": \x7b\n" ;# a brace without its other would end the procedure
    set at [string first $begin $text]
    if {$at < 0} {
        error "no module $top in $netlist"
    }
    set lines {}
    foreach {name value} $settings {
        lappend lines "        \"$name\": \"$value\""
    }
    set at [expr {$at + [string length $begin]}]
    set file [open $netlist w]
    puts -nonewline $file [string range $text 0 $at-1]
    puts $file "      \"settings\": {\n[join $lines ,\n]\n      },"
    puts -nonewline $file [string range $text $at end]
    close $file
}

# Yosys leaves the registers of ECP5's block RAMs and DSP blocks unused. The modules of hdl/multiplier.py and
# hdl/memory.py that have such registers have no others.
proc listed {args} {
    return [lsearch -all -inline [split [told select -list {*}$args] \n] */*]  ;# without warnings that nothing was found
}
proc use_registers_inside {modules block parameters ports} {
    array set cells {}
    foreach object [listed $modules/$block] {
        regexp {^([^/]+)/(.*)$} $object whole module cell
        lappend cells($module) $cell
    }
    foreach module [array names cells] {
        # Logic in between: a memory of several blocks, one after the other.
        set registers $module/t:\$dff
        set between [listed $registers %ci2 $module/c:* %i $registers %d $module/$block %d]
        if {[llength $between] || ![llength [listed $registers]]} {
            log "Module $module keeps its registers in flip-flops."
            continue
        }
        techmap -map registers_through.v $registers
        setattr -unset init $module/w:*
        foreach {name value} $parameters {
            setparam -set $name "\"$value\"" $module/$block
        }
        select -module $module
        foreach cell $cells($module) {
            foreach {port signal} $ports {
                connect -port $cell $port $signal
            }
        }
        select -clear
    }
}

# A bit of a carry chain has four inputs: what Yosys leaves in front of an adder is part of it here, `bit` being a look-up table of
# the inputs (`$__chain`, ecp5_map.v). The modules have one adder each; `inputs` are wires of theirs, or constants, signed, so that
# flags count for every bit. All but the adder goes.
proc compute_in_the_chain {modules bit carry_in inputs} {
    foreach object [listed $modules/t:\$alu] {
        regexp {^([^/]+)/(.*)$} $object whole module cell
        foreach {port wire} [concat $inputs {Y total}] {
            set width 1
            if {![string match *'* $wire]} {
                regexp {wire width (\d+)} [told dump $module/w:$wire] whole width
            }
            setparam -set ${port}_WIDTH $width $object
        }
        setparam -set BIT $bit $object
        chtype -set \$__chain $object
        select -module $module
        foreach {port signal} [concat $inputs [list CI $carry_in Y total]] {
            connect -port $cell $port $signal
        }
        delete t:* t:\$__chain %d
        select -clear
    }
}
if {[string match "synth_ecp5*" $command]} {
    compute_in_the_chain sanger_add_subtract* 16'h96AA subtract {A left B right C subtract D 1'1}  ;# A + (B ^ C)
    compute_in_the_chain sanger_add_chosen* 16'h665A 1'0 {A base B one C other D use_one}  ;# A + (D ? B : C)
    compute_in_the_chain sanger_add_gated* 16'h7888 1'0 {A left B use_left C right D use_right}  ;# (A & B) + (C & D)
    compute_in_the_chain sanger_accumulate* 16'h2DD2 subtract {A so_far B anew C step D subtract}  ;# (A & ~B) + (C ^ D)
    set file [open registers_through.v w]
    puts $file {
        (* techmap_celltype = "$dff" *)
        module register(input CLK, input [WIDTH-1:0] D, output [WIDTH-1:0] Q);
            parameter WIDTH = 1;
            parameter CLK_POLARITY = 1;
            assign Q = D;
        endmodule
    }
    close $file
    use_registers_inside sanger_multiplier* t:MULT18X18D \
        {REG_INPUTA_CLK CLK0 REG_INPUTB_CLK CLK0 REG_OUTPUT_CLK CLK0} {CLK0 clk CE0 1'1 RST0 1'0}
    use_registers_inside sanger_*ram_with_register* t:DP16KD {REGMODE_A OUTREG REGMODE_B OUTREG} {OCEA 1'1 OCEB 1'1}
    use_registers_inside sanger_*ram_with_register* t:PDPW16KD {REGMODE OUTREG} {OCER 1'1}
}

# Loops show while there are gates, and only where the hierarchy doesn't hide them. Xilinx targets keep it, as the paper's
# array would take gigabytes without: there, loops through several modules are left to Verilator's lint. (Cells that a
# family makes of adders have no model yet, so what they drive seems to have no driver: that is checked at the end.)
run map_ffram:map_gates
if {[string match "synth_ecp5*" $command]} {
    techmap -map ecp5_map.v
}
run map_gates:map_ffs
if {[string match "synth_ecp5*" $command]} {
    # Flip-flops of a slice share clock enable, and those of four slices reset: such that few have in common keep slices
    # from filling up. Each flip-flop gets an inverter of its own where reset or enable are low active: one is enough.
    dfflegalize -cell \$_DFF_?_ 01 -cell \$_DFF_?P?_ r -cell \$_SDFF_?P?_ r -cell \$_DFFE_??_ 01 \
        -cell \$_DFFE_?P??_ r -cell \$_SDFFE_?P??_ r -mince 4 -minsrst 8
    opt_merge
}
run map_ffs:map_luts
design -push-copy
if {![string match "synth_xilinx*" $command]} {
    flatten
}
set checked [told check]
design -pop
if {[regexp {found logic loop[^\n]*} $checked loop]} {
    error "combinational loop: $loop"
}

run map_luts:
if {[lsearch $command -noflatten] >= 0} {
    flatten
    opt_clean
}
check -assert
if {[string match "synth_ecp5*" $command]} {
    # Chains of which nobody reads the last carry: nextpnr would still bring it out.
    set carried [list t:CCU2C %ci1:+CCU2C\[CIN\] w:* %i %ci1:+CCU2C\[COUT\] t:CCU2C %i]
    foreach cell [listed t:CCU2C {*}$carried %d] {
        connect -nomap -port [regsub {^[^/]+/} $cell {}] COUT 1'x
    }
    source floorplan.tcl
    floorplan::apply [listed t:MULT18X18D] [listed t:DP16KD] [listed t:TRELLIS_FF]
}

write_json $name.json.part
if {[string match "synth_ecp5*" $command]} {
    set_for_nextpnr $name.json.part {router2/currCongWeightMult 0.5}
}
file rename -force $name.json.part $name.json
