"""Output sums of one PE row: adder tree, numerators and denominators of its queries, each rescaled when it grows."""

from myhdl import Signal, always, always_comb, block, concat, intbv

from golden.config import clog2
from hdl.delay import delayed
from hdl.hierarchy import module
from hdl.memory import distributed_ram, ram_with_register
from hdl.stream import Bits, Signed


@block
def adder_tree(clk, terms, total):
    """Signed sum of `terms`, a power of two of them, from two; two a stage, so log2(terms) cycles.

    (Of two levels a stage Yosys makes carry-save adders, which take more look-up tables than the registers save.)
    """
    bits = len(terms[0]) + 1
    sums = [Signed(bits).signal() for _ in range(len(terms) // 2)] if len(terms) > 2 else [total]
    adders = [_add(clk, a, b, sum_) for a, b, sum_ in zip(terms[::2], terms[1::2], sums)]
    return adders + ([adder_tree(clk, sums, total)] if len(sums) > 1 else [])


@block
def _add(clk, a, b, total):
    @always(clk.posedge)
    def add():
        total.next = a + b

    return add


@module
def numerators(clk, control, products, record, rescale, drain_address, numerator, config):
    """SpMM: the products of the lanes meet and join the rescaled sum of the query.

    Stages as in `hdl.tiled.timing`: products in stage 6; the sum is read early enough to meet them.

    Args:
        products: of the lanes, signed.
        others: see `query_sums`.
    """
    total = Signed(len(products[0]) + clog2(len(products))).signal()
    return (
        adder_tree(clk, products, total),
        query_sums(clk, control, total, record, rescale, drain_address, numerator, config),
    )


@module
def query_sums(clk, control, total, record, rescale, drain_address, numerator, config):
    """The sums of a row's queries; a round's join the rescaled ones.

    Args:
        total: of the lanes' products, signed; needed three cycles after `control.read`, one before `control.write`.
        record, rescale: of the round in SpMM; `record.first` writes the products alone.
        drain_address: {block parity, slot, dimension}, read in cycles in which `control.read` is low.
        numerator: the sum at the address of two cycles before, signed, 11 fraction bits.
    """
    address_bits = len(drain_address)
    depth = 1 << address_bits

    read_address = Signal(intbv(0)[address_bits:])
    write_address = Signal(intbv(0)[address_bits:])
    write = Signal(False)
    rescaled, updated = (Signed(config.numerator_bits).signal() for _ in range(2))

    @always_comb
    def addresses():
        write.next = control.write and record.active
        write_address.next = concat(record.address, control.write_dimension)
        if control.read:
            read_address.next = concat(record.address, control.read_dimension)
        else:
            read_address.next = drain_address

    memory = ram_with_register(clk, write, write_address, updated, read_address, numerator, depth=depth)

    @always(clk.posedge)
    def rescaling():
        rescaled.next = numerator >> rescale

    @always(clk.posedge)
    def update():
        if record.first:
            updated.next = total
        else:
            updated.next = rescaled + total

    return addresses, memory, rescaling, update


@module
def denominators(clk, control, power, record, rescale, drain_query, denominator, config):
    """Sums of the probabilities of the row's queries; a round's join four cycles after its last probability.

    Args:
        power: probability of the lane `control.pushed.index`.
        record, rescale: of the round whose probabilities these are, from the cycle after `control.pushed.last`.
        drain_query: {block parity, slot} to read.
        denominator: of the query of two cycles before, unsigned, 11 fraction bits.
    """
    pushed = control.pushed
    depth = 1 << len(drain_query)

    round_sum = Bits(config.probability_bits + clog2(config.lanes)).signal()
    found, stored, rescaled, updated, drained, drained_before = (Bits(config.denominator_bits).signal() for _ in range(6))
    updated_is_new = Signal(False)
    write = Signal(False)

    @always(clk.posedge)
    def sum_of_round():
        if pushed.first:
            round_sum.next = power
        elif pushed.active:
            round_sum.next = round_sum + power

    progress = delayed(clk, pushed.last, updated_is_new, 4)

    @always(clk.posedge)
    def update():
        stored.next = found
        rescaled.next = stored >> rescale
        if record.first:
            updated.next = round_sum
        else:
            updated.next = rescaled + round_sum

    @always_comb
    def write_enable():
        write.next = updated_is_new and record.active

    to_update = distributed_ram(clk, write, record.address, updated, record.address, found, depth=depth)
    to_drain = distributed_ram(clk, write, record.address, updated, drain_query, drained, depth=depth)

    @always(clk.posedge)
    def drain():
        drained_before.next = drained
        denominator.next = drained_before

    return sum_of_round, progress, update, write_enable, to_update, to_drain, drain


