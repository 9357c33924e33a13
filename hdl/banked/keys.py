"""Key memories: K and V of two key sets, in as many copies as the clusters need (docs/banked.md)."""

from myhdl import Signal, always, always_comb, block, concat, intbv

from golden.config import OPERAND_BITS, Config
from hdl.banked.interfaces import key_address_bits, word_bits
from hdl.banked.timing import KEY_CYCLES, WORD_CYCLES
from hdl.delay import delayed, register
from hdl.hierarchy import module
from hdl.memory import dual_port_ram_with_registers
from hdl.wires import like

CLUSTERS_A_COPY = 4
SETS = 2


class KeyWrites:
    """Write port: word `word` of the keys N * `key` ... N * `key` + N - 1, of V if `value`, else of K.

    `data[j]`, for lane j, comes j + 1 cycles after the rest: the words of N keys may follow each other in every cycle.
    """

    def __init__(self, config: Config):
        self.enable = Signal(False)
        self.value = Signal(False)
        self.key_set = Signal(False)
        self.key = Signal(intbv(0)[key_address_bits(config) :])
        self.word = Signal(intbv(0)[word_bits(config) :])
        self.data = [Signal(intbv(0)[config.lane_width * OPERAND_BITS :]) for _ in range(config.lanes)]


def copy_of(cluster: int) -> int:
    """The copy of the keys that a cluster reads."""
    return cluster // CLUSTERS_A_COPY


def scores_in_even_phases(cluster: int, config: Config) -> bool:
    """Whether a cluster makes scores in even phases; the others do in odd ones."""
    sharing = min(CLUSTERS_A_COPY, config.rows)
    return cluster % sharing < sharing // 2


class LaneWrite:
    """Write port of one lane's memories, a cycle before the data; the memory is one of `enables`: {key set, value}."""

    def __init__(self, config: Config):
        self.enables = Signal(intbv(0)[2 * SETS :])
        self.address = Signal(intbv(0)[key_address_bits(config) + word_bits(config) :])


@block
def _crossed(odd_phase, even, odd, keys, values):
    """In even phases `even` is for K and `odd` for V, in odd ones the other way round; and back from K and V alike."""

    @always_comb
    def select():
        if odd_phase:
            keys.next = odd
            values.next = even
        else:
            keys.next = even
            values.next = odd

    return select


@block
def _written_port(clk, enable, write_address, read_address, address):
    @always(clk.posedge)
    def select():
        if enable:
            address.next = write_address
        else:
            address.next = read_address

    return select


@block
def _operands(clk, odd_phase, even, odd, words):
    """Hands the `words` [{key set, value}] of a port of the block RAMs to its two clusters: one gets K, the other one V."""
    keys, values = (Signal(intbv(0)[len(even.data) :]) for _ in range(2))
    set_of_keys, set_of_values = Signal(False), Signal(False)  # of the addresses
    phase, key_set, value_set = (Signal(False) for _ in range(3))  # of the words

    even_set, odd_set = even.key_set, odd.key_set
    even_data, odd_data = like(even.data), like(odd.data)
    sets = _crossed(odd_phase, even_set, odd_set, set_of_keys, set_of_values)
    selection = [
        delayed(clk, source, target, KEY_CYCLES - 1)
        for source, target in ((odd_phase, phase), (set_of_keys, key_set), (set_of_values, value_set))
    ]

    @always_comb
    def words_of_sets():
        keys.next = words[0]
        if key_set:
            keys.next = words[2]
        values.next = words[1]
        if value_set:
            values.next = words[3]

    operands = _crossed(phase, keys, values, even_data, odd_data)
    on_the_way = [register(clk, word, port.data) for word, port in ((even_data, even), (odd_data, odd))]
    return sets, selection, words_of_sets, operands, on_the_way


@block
def _no_read_of_what_is_written(clk, write, port):
    """Simulation only."""

    @always(clk.posedge)
    def check():
        if __debug__:
            written = write.enables >> (2 if port.key_set else 0)
            assert not (port.active and written & 3), "keys are read and written at the same time"

    return check


@module
def lane_keys(clk, write, data, odd_phase, ports, config):
    """One lane's K and V in one copy, and the operands of the clusters that share it (`KeyPort`, KEY_CYCLES).

    write: `LaneWrite`, a cycle before its `data`. odd_phase: that of the addresses.
    ports: the lane's ports of two or four clusters; the first half of them scores in even phases.
    """
    assert KEY_CYCLES == 4 and WORD_CYCLES == 2, "the chosen address, block RAM, its register, the chosen word"
    address_bits, data_bits = len(write.address), len(data)
    depth = 1 << address_bits
    parts = [_no_read_of_what_is_written(clk, write, port) for port in ports]

    # Clusters of port A, of port B: {even, odd}.
    half = len(ports) // 2
    pairs = [ports[p::half] for p in range(half)]
    chosen = [[Signal(intbv(0)[address_bits:]) for _ in range(2)] for _ in pairs]
    # Each of the two clusters reads K or V in each phase.
    parts += [_crossed(odd_phase, *(port.address for port in pair), *read) for pair, read in zip(pairs, chosen)]
    addresses_b = [Signal(intbv(0)[address_bits:]) for _ in range(2)]
    if len(pairs) == 2:
        parts += [register(clk, source, target) for source, target in zip(chosen[1], addresses_b)]
    enables = like(write.enables)
    parts.append(register(clk, write.enables, enables))

    words = [[Signal(intbv(0)[data_bits:]) for _ in range(2 * SETS)] for _ in range(2)]
    for memory in range(2 * SETS):
        value = memory % 2
        address_a = Signal(intbv(0)[address_bits:])
        address_b = addresses_b[value] if len(pairs) == 2 else address_a
        parts += [
            _written_port(clk, write.enables(memory), write.address, chosen[0][value], address_a),
            dual_port_ram_with_registers(
                clk, enables(memory), address_a, data, words[0][memory], address_b, words[1][memory], depth=depth
            ),
        ]  # fmt: skip
    parts += [_operands(clk, odd_phase, *pair, read) for pair, read in zip(pairs, words)]
    return parts


@module
def keys(clk, writes, odd_phase, ports, config):
    """Copies of the keys, each for four clusters (or all, if there are fewer).

    A copy's port A serves its clusters 0 and 2 and its port B 1 and 3; of a pair, the first one scores in even phases.

    Args:
        writes: `KeyWrites`.
        odd_phase: the phase that the clusters' addresses belong to; see `scores_in_even_phases`.
        ports: [cluster][lane] `KeyPort`.
    """
    lanes, key_words = config.lanes, word_bits(config)
    copies = copy_of(config.rows - 1) + 1
    lane_writes = [LaneWrite(config) for _ in range(lanes)]
    enables = [write.enables for write in lane_writes]
    addresses = [write.address for write in lane_writes]
    memory = Signal(intbv(0)[2:])

    @always_comb
    def memory_of_write():
        memory.next = concat(writes.key_set, writes.value)

    @always_comb
    def write_of_first_lane():
        enables[0].next = 0
        if writes.enable:
            enables[0].next = 1 << memory
        addresses[0].next = (writes.key << key_words) | writes.word

    @always(clk.posedge)
    def writes_of_lanes():
        for lane in range(1, lanes):
            enables[lane].next = enables[lane - 1]
            addresses[lane].next = addresses[lane - 1]

    memories = [
        lane_keys(
            clk, lane_writes[lane], writes.data[lane], odd_phase,
            [ports[cluster][lane] for cluster in range(config.rows) if copy_of(cluster) == copy], config,
        )
        for copy in range(copies)
        for lane in range(lanes)
    ]  # fmt: skip
    return memory_of_write, write_of_first_lane, writes_of_lanes, memories
