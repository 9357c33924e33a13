"""A lane's output sums: M of them for each word of the two oldest queries in flight."""

from myhdl import Signal, always, always_comb, block, concat, intbv

from golden.config import clog2
from hdl.banked.interfaces import SUM_SLOTS, lane_sum_bits, side_by_side, word_bits
from hdl.hierarchy import module
from hdl.memory import distributed_ram


@block
def _sum_of_one_dimension(clk, stored, present, product, sum_, updated_bits):
    """Stages: read (`stored`: bits) and zeroed (`present`); `sum_`; updated and written."""
    updated = Signal(intbv(0, min=sum_.min, max=sum_.max))

    @always(clk.posedge)
    def sum_so_far():
        if present:
            sum_.next = stored.signed()
        else:
            sum_.next = 0

    @always(clk.posedge)
    def update():
        updated.next = sum_ + product

    @always_comb
    def raw():
        updated_bits.next = updated[len(updated) :]

    return sum_so_far, update, raw


@module
def value_sums(clk, reset, control, slot, value_active, products, sums, config):
    """Adds the products of a value phase to the sums of its query; a query's first ones are written alone.

    Neighbouring slots have their sums apart. A score phase reads the sums of a slot that drains: a lane without a key of the query gives zeros.

    clock:       _/-\\_/-\\_/-\\_/-\\_
    slot:        <2  >                 stage 2
    (read):           <3  >
    sums, products:        <4  >
    (write):                    <5  >

    Args:
        control: `Control`.
        slot, value_active: stage 2: the lane's query; the lane adds values to its sums.
        products: signed, stage 4.
        sums: signed, stage 4: in a value phase the sums so far.
    """
    sum_slot_bits = clog2(SUM_SLOTS)
    depth = SUM_SLOTS << word_bits(config)

    written, slot_bit = (Signal(intbv(0)[SUM_SLOTS:]) for _ in range(2))  # slots that have sums
    present = Signal(False)
    chosen_slot = Signal(intbv(0)[sum_slot_bits:])
    read_slot, sum_slot, write_slot = (Signal(intbv(0)[sum_slot_bits:]) for _ in range(3))
    read_active, sum_active, write = (Signal(False) for _ in range(3))
    read_address, write_address = (Signal(intbv(0)[sum_slot_bits + word_bits(config) :]) for _ in range(2))

    @always_comb
    def choice():
        if control.select_value:
            chosen_slot.next = slot[sum_slot_bits:]
        else:
            chosen_slot.next = control.drain_sum

    @always_comb
    def decode():
        slot_bit.next = 1 << chosen_slot

    @always(clk.posedge)
    def slots_with_sums():
        present.next = written[chosen_slot]
        if reset:
            written.next = 0
        elif control.select_last and value_active:
            written.next = written | slot_bit
        elif control.select_last and control.drain:
            written.next = written & ~slot_bit

    @always(clk.posedge)
    def stages():
        read_slot.next = chosen_slot
        sum_slot.next = read_slot
        write_slot.next = sum_slot
        read_active.next = value_active
        sum_active.next = read_active
        write.next = sum_active

    @always_comb
    def addresses():
        read_address.next = concat(read_slot, control.read_word)
        write_address.next = concat(write_slot, control.write_word)

    bits = lane_sum_bits(config)
    stored = Signal(intbv(0)[config.lane_width * bits :])
    updated = [Signal(intbv(0)[bits:]) for _ in sums]
    updated_word = side_by_side(updated)
    memory = distributed_ram(clk, write, write_address, updated_word, read_address, stored, depth=depth)
    dimensions = [
        _sum_of_one_dimension(clk, stored((m + 1) * bits, m * bits), present, products[m], sums[m], updated[m])
        for m in range(config.lane_width)
    ]
    return choice, decode, slots_with_sums, stages, addresses, memory, dimensions
