"""The phase counter's words, handed to the lanes stage by stage, and the bursts that visit the lanes once a period."""

from myhdl import Signal, always, always_comb, block

from hdl.banked.interfaces import Control
from hdl.banked.timing import (
    SELECT_STAGE,
    choose_position,
    lanes_total_stage,
    scan_position,
    total_stage,
)
from hdl.delay import delayed, register
from hdl.hierarchy import module


@block
def burst_of_lanes(clk, reset, start, burst, lanes):
    """`burst` begins in the cycle after `start` (which comes at most every `lanes` cycles)."""
    last_lane = lanes - 1

    @always(clk.posedge)
    def count():
        if reset:
            burst.active.next = False
            burst.lane.next = 0
        elif start:
            burst.active.next = True
            burst.lane.next = 0
        elif burst.lane == last_lane:
            burst.active.next = False
        else:
            burst.lane.next = burst.lane + 1

    return count


@block
def at_position(clk, score_phase, word, position, flag, slot_cycles):
    """`flag` is high in the cycle before `position` of a period."""
    before = (position - 1) % (2 * slot_cycles)
    in_score_phase = before < slot_cycles
    at_word = before % slot_cycles

    @always_comb
    def compare():
        flag.next = score_phase == in_score_phase and word == at_word

    return compare


@module
def phases(clk, reset, score_phase, word, control, scan, choose, config):
    """Control of the lanes, and the bursts of the scan and of the choice.

    score_phase, word: of this cluster, which goes on by one each cycle.
    control: `Control` but for `drain` and `drain_sum`. scan, choose: `Burst`.
    """
    assert config.slot_cycles >= 2
    word_before_last = config.slot_cycles - 2
    at_total, at_totals = total_stage(config), lanes_total_stage(config)

    value_phase, last = Signal(False), Signal(False)
    scan_is_next, choose_is_next = Signal(False), Signal(False)
    score_at_total, first, first_at_total = Signal(False), Signal(False), Signal(False)

    @always(clk.posedge)
    def ends():
        last.next = word == word_before_last
        control.to_score.next = word == word_before_last and not score_phase
        control.to_value.next = word == word_before_last and score_phase

    @always_comb
    def stage_0():
        control.word.next = word
        first.next = word == 0
        value_phase.next = not score_phase

    stages = [
        register(clk, value_phase, control.value_is_addressed),
        delayed(clk, control.value_is_addressed, control.value_is_near, SELECT_STAGE - 3),
        register(clk, control.value_is_near, control.value_is_next),
        delayed(clk, word, control.total_word, at_totals),
        delayed(clk, value_phase, control.total_first_is_next, at_totals - 1),
        register(clk, control.total_first_is_next, control.total_first),
        delayed(clk, last, control.total_last, at_totals),
        delayed(clk, score_phase, score_at_total, at_total),
        delayed(clk, first, first_at_total, at_total),
    ]

    @always_comb
    def scores():
        control.accumulate.next = score_at_total
        control.restart.next = first_at_total

    scan_start = at_position(clk, score_phase, word, scan_position(config), scan_is_next, config.slot_cycles)
    choose_start = at_position(clk, score_phase, word, choose_position(config), choose_is_next, config.slot_cycles)
    scan_burst = burst_of_lanes(clk, reset, scan_is_next, scan, config.lanes)
    choose_burst = burst_of_lanes(clk, reset, choose_is_next, choose, config.lanes)

    return ends, stage_0, stages, scores, scan_start, choose_start, scan_burst, choose_burst
