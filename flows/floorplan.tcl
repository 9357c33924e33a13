# Where the multipliers and block RAMs of a nearly full LFE5U-85F go, for flows/synth.tcl: as BEL attributes, for nextpnr.
#
# Its placers don't know that these are in a few rows of the part, and move them there after the rest is placed: a lane ends
# up far from its multiplier. Here each lane, cluster or row has its own piece of a row, with its memories next to it.
#
#   y = 82   block RAM      predictor, bitmaps          predictor, comparator
#   y = 70   block RAM      dispatcher, comparator, normalizer
#   y = 58   multipliers    cluster 2, normalizer      PE rows 6, 7, normalizer
#   y = 46   block RAM      keys                       columns
#   y = 34   multipliers    clusters 1, 3              PE rows 3 ... 5
#   y = 22   block RAM      keys                       columns
#   y = 10   multipliers    clusters 0, 3              PE rows 0 ... 2
#
# Each of these rows has 52 places, in 13 groups of four (Project Trellis, database of LFE5U-85F).

namespace eval floorplan {
    variable groups {4 13 22 31 40 49 58 69 78 87 96 105 114}
    variable blocks  ;# within a group: offset and name, of each of the four
    array set blocks {
        MULT18X18D {{0 MULT18_0} {1 MULT18_1} {4 MULT18_4} {5 MULT18_5}}
        DP16KD {{0 EBR0} {2 EBR1} {4 EBR2} {6 EBR3}}
    }
    variable left  ;# cells by type, in order, that have no place yet
    variable taken
    variable flip_flops

    # `first` ... `last`, upwards or downwards.
    proc from_to {first last} {
        set numbers {}
        set step [expr {$first <= $last ? 1 : -1}]
        for {set number $first} {$number != $last + $step} {incr number $step} {
            lappend numbers $number
        }
        return $numbers
    }

    # Gives the cells of a type whose name matches `pattern` the places `columns` (0 ... 51) of the row `y`, those that are free.
    proc put {type y columns pattern} {
        variable groups
        variable blocks
        variable left
        variable taken
        set rest {}
        foreach cell $left($type) {
            if {![string match $pattern $cell]} {
                lappend rest $cell
                continue
            }
            while {[llength $columns] && [info exists taken($type,$y,[lindex $columns 0])]} {
                set columns [lrange $columns 1 end]
            }
            if {![llength $columns]} {
                error "floorplan: no place left in row $y for $cell"
            }
            set column [lindex $columns 0]
            set taken($type,$y,$column) $cell
            lassign [lindex $blocks($type) [expr {$column % 4}]] offset name
            setattr -set BEL "\"X[expr {[lindex $groups [expr {$column / 4}]] + $offset}]/Y$y/$name\"" c:$cell
        }
        set left($type) $rest
    }

    proc multiplier {y columns pattern} {
        put MULT18X18D $y $columns $pattern
    }

    proc memory {y columns pattern} {
        put DP16KD $y $columns $pattern
    }

    proc flip_flop {site pattern} {
        variable flip_flops
        foreach cell [lsearch -all -inline -glob $flip_flops $pattern] {
            setattr -set BEL "\"$site\"" c:$cell
        }
    }

    # The normalizer's steps are decided on beside the memory of V, and wait for what comes from the other end of the part. The placer
    # may as well decide at that end, and half way: it costs no more wire, but time. Not if the last register of the way is here.
    # (One behind a gate can't be put anywhere: nextpnr's packer has made one of the two.)
    proc steps {} {
        flip_flop X122/Y64/SLICEA.FF0 *.inst_step_control.inst_register_copy*.copy_TRELLIS_FF_Q
    }

    # ... and so are the loader's: its queue is on the left, its input on the right.
    proc moves {} {
        flip_flop X60/Y48/SLICEA.FF0 *.inst_loader.inst_register_copy*.copy_TRELLIS_FF_Q
    }

    # Four clusters of four lanes of eight multipliers. A cluster's lanes lie side by side in each dimension, for which their
    # products are added up; the fourth cluster has the right-hand ends of two rows.
    proc lanes {array} {
        for {set m 0} {$m < 8} {incr m} {
            set column [expr {4 * $m}]
            set lanes *.inst_lane_*.inst_multiplier_$m.*
            foreach {cluster y first} {0 10 0 1 34 0 2 58 0} {
                multiplier $y [from_to [expr {$first + $column}] [expr {$first + $column + 3}]] $array.inst_cluster_$cluster$lanes
            }
            set column [expr {36 + 8 * ($m / 4) + 4 * ($m % 2)}]
            multiplier [expr {$m % 4 < 2 ? 10 : 34}] [from_to $column [expr {$column + 3}]] $array.inst_cluster_3$lanes
        }
        foreach {cluster y column} {0 10 32 1 34 32 2 58 32 3 10 34} {
            multiplier $y $column $array.inst_cluster_$cluster.inst_scan*
        }
        multiplier 58 {33 34 35} *comparator*
        multiplier 58 [from_to 36 51] *normalizer*
    }

    # Of the keys' words, 18 bits a memory, for two dimensions: `columns` of each two.
    proc keys {columns} {
        for {set part 0} {$part < 4} {incr part} {
            foreach {y lanes} {22 01 46 23} {
                memory $y [lindex $columns $part] *.inst_lane_keys_\[$lanes\].*.memory.0.$part
            }
        }
    }

    # `small` and `small_3bit`: Q rows are in look-up tables.
    proc banked {} {
        set array *inst_banked_array
        lanes $array
        keys [list [from_to 0 7] [from_to 9 16] [from_to 18 25] [from_to 27 34]]
        foreach {cluster y column} {0 22 17 1 46 36 2 70 27 3 22 37} {
            memory $y $column $array.inst_cluster_$cluster.inst_score_memory.*
        }
        # Two rows of V's eight dimensions are a word of its memory: the bytes of both beside the multipliers of their dimension.
        memory 70 [concat {37 39 41 43 45 47 49} {38 40 42 44 46 48 50 51}] *visible_sum*
        memory 46 [from_to 44 51] *raw_ring*
        memory 70 [from_to 18 25] *row_sender*
        memory 70 {29 30 32 33 35 36} *comparator*
        # From the left to the right as predicted scores go.
        foreach block {level_memories score_store bitmap_ring entry_records} {
            memory 82 [from_to 8 51] *$block*
        }
        steps
        moves
    }

    # `bert`: Q rows are in block RAMs, two for a lane, among the keys of their dimensions; the sums of V take twice as many. Five
    # places are left.
    proc banked_wide {} {
        set array *inst_banked_array
        lanes $array
        keys {{0 1 2 3 8 9 10 11} {12 13 14 15 16 17 18 19} {20 21 22 23 28 29 30 31} {32 33 34 35 36 37 38 39}}
        foreach {cluster y low high} {0 22 4 24 1 46 4 24 2 70 6 24 3 22 40 46} {
            foreach {half column} [list 0 $low 1 $high] {
                memory $y [from_to $column [expr {$column + 3}]] $array.inst_cluster_$cluster.inst_lane_*.memory.0.$half
            }
        }
        foreach {cluster y column} {0 22 44 1 46 40 2 70 28 3 22 45} {
            memory $y $column $array.inst_cluster_$cluster.inst_score_memory.*
        }
        # Two rows of V's eight dimensions are a word of its memory, 9 bits of them in each block RAM.
        set places {}
        for {set column 30} {$column < 52} {incr column} {
            if {$column == 49 || $column == 50} {
                lappend places 46 $column
            }
            lappend places 70 $column
            if {$column >= 46} {
                lappend places 82 $column
            }
        }
        for {set part 0} {$part < 15} {incr part} {
            foreach number [list $part [expr {$part + 15}]] {
                memory [lindex $places 0] [lindex $places 1] *visible_sum*.memory.0.$number
                set places [lrange $places 2 end]
            }
        }
        memory 46 [from_to 41 48] *raw_ring*
        memory 70 [concat [from_to 0 5] [from_to 10 18]] *row_sender*
        memory 70 {19 20} *entry_records*
        memory 70 {22 23} *comparator*
        foreach block {level_memories score_store bitmap_ring} {
            memory 82 [from_to 0 45] *$block*
        }
        steps
        moves
    }

    # Eight rows of sixteen lanes, three rows of the array in one of the part; the memories of the columns in the middle.
    proc tiled {} {
        set array *inst_array
        for {set row 0} {$row < 8} {incr row} {
            lassign [lindex {{10 22} {34 46} {58 70}} [expr {$row / 3}]] y y_memory
            lassign [lindex {{0 8} {17 36} {34 48}} [expr {$row % 3}]] column near
            multiplier $y [from_to $column [expr {$column + 15}]] $array.inst_row_$row.inst_lane_*
            multiplier $y [expr {$column + 16}] $array.inst_row_$row.inst_softmax.*
            memory $y_memory [from_to $near [expr {$near + 1}]] $array.inst_row_$row.*
            memory $y_memory [from_to [expr {$near - 2}] [expr {$near - 1}]] *.inst_row_packer_$row.*
        }
        for {set part 0} {$part < 8} {incr part} {
            set column [expr {14 + 2 * $part}]
            foreach {y groups} {22 01 46 23} {
                memory $y [from_to $column [expr {$column + 1}]] *.inst_column_memories.inst_ram_with_register_\[$groups\].memory.0.$part
            }
        }
        multiplier 58 [from_to 36 51] *normalizer*
        multiplier 58 {34 35} *comparator*
        memory 46 [from_to 51 38] *inst_drain.*
        memory 70 [from_to 51 30] *visible_sum*
        memory 82 [from_to 44 51] *comparator*
        memory 82 [from_to 10 51] *predictor*
    }

    # Cells (module/cell) by name, in order.
    proc names {objects} {
        return [lsort -dictionary [lmap object $objects {regsub {^[^/]+/} $object {}}]]
    }

    # Of the `multipliers`, `memories` and `registers` (module/cell) of a flat design. Other designs than the three are left to the placer.
    proc apply {multipliers memories registers} {
        variable left
        variable taken
        variable flip_flops
        array unset taken
        array set left [list MULT18X18D [names $multipliers] DP16KD [names $memories]]
        set flip_flops [names $registers]
        switch "[llength $multipliers] [llength $memories]" {
            "151 149" banked
            "149 203" banked_wide
            "145 109" tiled
            default { return }
        }
        foreach type [array names left] {
            if {[llength $left($type)]} {
                error "floorplan: no place for $left($type)"
            }
        }
        log "Floorplan: [array size taken] multipliers and block RAMs have their places."
    }
}
