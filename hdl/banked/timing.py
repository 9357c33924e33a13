"""When what happens in a cluster. One period is a score phase and a value phase, `slot_cycles` (S) cycles each.

Stages count cycles from that in which a word's address goes to the key memories (stage 0):

    0  address for the key memories          now_slot, now_key
    1  address of the key memories, chosen for each of their ports
    2  (`PROBABILITY_STAGE`) the lane's probability, or 0, goes to where its multipliers are
    3  words of the key memories
    4  word of K or V, chosen for each cluster; Q word or probability is selected
    5  operands, the multipliers' registers
    6  products
    5 + log2(N)  (`lanes_total_stage`) the first query's sums so far are read; S cycles later, those of the second one
    6 + log2(N)  products of a value phase added up over all lanes, for each of the two queries with sums
    7 + log2(N)  new sums of the first query; S cycles later, of the second one
    6 + log2(M)  a score's M products added up (`total_stage`)
    7 + log2(M)  the score so far

Positions are cycles of a period, 0 ... 2S - 1, and count from the cluster's first cycle of a score phase. A lone key of the last lane, S = 8, N = 4, M = 8:

    position 0        8        16       24       32       40       48       56
             |score   |        |        |        |        |value   |        |
    scan                    |-->|                                             N turns from `scan_position` on, each through the scaler (6 cycles)
    known                              ..|                                    its score is counted, and in the maximum
    choose                                  |->|...                           N turns from `choose_position` on, exponentials, back to the lanes
    sums                                                            |------|  of the first query (the second one's a phase later)
"""

from golden.config import Config
from hdl.adder_tree import tree_cycles
from hdl.exp2 import PROBABILITY_CYCLES
from hdl.scaler import SCALER_CYCLES

WORD_CYCLES = 2
"""From an address to the words of all key memories: block RAM and its register."""

KEY_CYCLES = 1 + WORD_CYCLES + 1
"""From an address at a `KeyPort` to its data, which goes into a multiplier's register: memories and lanes are far apart, there
and back."""

SELECT_STAGE = KEY_CYCLES
PROBABILITY_STAGE = SELECT_STAGE - 2
"""The lane's probability is on its way to its multipliers."""

OPERAND_STAGE = KEY_CYCLES + 1
PRODUCT_STAGE = OPERAND_STAGE + 1

SCORED_CYCLES = 1 + SCALER_CYCLES
"""From a lane's turn in the scan to its score."""

KNOWN_CYCLES = 3
"""From a query's last score to the cycle in which it is known: on its way, counted, known; it is in the maximum then."""

HEAD_CYCLES = 2
"""From a lane's turn in the choice to the head of its score memory (block RAM, register)."""

CHOSEN_CYCLES = HEAD_CYCLES + 1
"""... to the record for the lane."""

POWER_CYCLES = CHOSEN_CYCLES + PROBABILITY_CYCLES
"""... to its probability, which the lane takes in the same cycle: it needs the one before for so long."""


def total_stage(config: Config) -> int:
    """The M products of a word are added up."""
    return PRODUCT_STAGE + tree_cycles(config.lane_width)


def lanes_total_stage(config: Config) -> int:
    """The first query's pass (`hdl.banked.value_sums`) begins; its products are added up over the lanes in the next cycle.

    A stage later it is known whether the query drains (S cycles after the value phase began, or `drain_delay` cycles more,
    and for 2S cycles).
    """
    return max(PRODUCT_STAGE + tree_cycles(config.lanes) - 1, config.slot_cycles - 1)


def drain_delay(config: Config) -> int:
    """For so many cycles it stays known whether a query drains, until both of its passes are over."""
    return max(0, lanes_total_stage(config) + 1 - 2 * config.slot_cycles)


def _first_scan(config):
    """First lane's turn in the scan: the first cycle in which the dot products are complete."""
    return config.slot_cycles + total_stage(config)


def scan_position(config: Config) -> int:
    """First lane's turn in the scan."""
    assert config.lanes <= config.slot_cycles, "more lanes than cycles in which a dot product stands still"
    return _first_scan(config) % (2 * config.slot_cycles)


def _last_scan(config):
    """Last lane's turn in the scan."""
    return _first_scan(config) + config.lanes - 1


def scan_is_late(config: Config) -> bool:
    """The scan of a score phase goes on after the end of the next one, so that the lanes keep their records a phase longer."""
    return _last_scan(config) >= 3 * config.slot_cycles


def late_scan_cycles(config: Config) -> int:
    """... and for so many cycles beyond that (0 or 1)."""
    cycles = max(0, _last_scan(config) + 1 - 4 * config.slot_cycles)
    assert cycles <= 1, "more stages than cycles for which the lanes keep their records"
    return cycles


def choose_position(config: Config) -> int:
    """First lane's turn in the choice: as soon as the last lane's score may have made a query known, or later.

    At the latest, the last lane's record reaches it in the last cycle of the score phase (and its probability before
    `PROBABILITY_STAGE` of the value phase's first word). At the earliest, the first lane's probability reaches it in that stage
    of the last word of the value phase before.
    """
    period = 2 * config.slot_cycles
    latest = config.slot_cycles - 1 - (config.lanes - 1) - (CHOSEN_CYCLES + 1)
    earliest = PROBABILITY_STAGE - 1 - POWER_CYCLES
    assert latest + (config.lanes - 1) + POWER_CYCLES + 1 <= config.slot_cycles + PROBABILITY_STAGE
    assert earliest <= latest, "more lanes than cycles of a phase"
    useful = _first_scan(config) + (config.lanes - 1) + SCORED_CYCLES + KNOWN_CYCLES - HEAD_CYCLES
    while useful > latest:
        useful -= period
    return max(earliest, useful) % period
