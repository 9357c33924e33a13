"""Rows of O from the clusters' sums: brings finished rows into order, divides, and hands over to the normalizer."""

from myhdl import Signal, always, always_comb, intbv, modbv

from golden.config import LENGTH_BITS
from hdl.banked.interfaces import entry_bits
from hdl.banked.movers import movers
from hdl.banked.raw_ring import STATUS_CYCLES, RingWrite, RowComplete, RowStatus, raw_ring
from hdl.banked.records import RECORD_CYCLES, TAG_BITS
from hdl.choose import choose
from hdl.delay import delayed
from hdl.factors import factors, factors_stream, group_stream
from hdl.fifo import pack, unpack, word_width
from hdl.hierarchy import module
from hdl.normalizer import NumeratorsRead, normalizer
from hdl.stream import Bits, Flag, Stream

DIVISIONS = 2  # queries that are divided side by side
QUERIES_IN_FLIGHT = 8  # from their factors, or from the ring, to their first step

FREED_CYCLES = 2  # from ``released`` to the cycle after the entry's last address


def work_stream(config):
    """One query, in the form that the normalizer takes."""
    return Stream(
        count=Bits(1), head_first=Flag(), head_last=Flag(), key_set=Flag(), tag=Bits(TAG_BITS), causal=Flag(),
        n_k=Bits(config.key_count_bits), n_q=Bits(LENGTH_BITS),
    )  # fmt: skip


@module
def rows_in_order(clk, reset, status, records, work, group, config):
    """Takes the rows of the ring, entry after entry, as soon as each is complete; a row every four cycles at most.

    status: ``RowStatus``. records: ``RecordsRead``. work: ``work_stream``. group: ``group_stream`` of one query; work and group are
    transferred in the same cycle.
    """
    assert RECORD_CYCLES <= STATUS_CYCLES + 1, "a query's record isn't there when its row is"
    entry = Signal(modbv(0)[entry_bits(config) :])
    occupied = Signal(False)  # a query waits to be sent; the memories follow the entry meanwhile
    load, send, complete = Signal(False), Signal(False), Signal(False)
    asking = Signal(intbv(0)[STATUS_CYCLES + 1 :])  # a bit for each cycle until the status is that of a new entry

    @always_comb
    def addresses():
        status.entry.next = entry
        records.entry.next = entry
        load.next = complete and not occupied and asking == 0

    # The ring is far away.
    @always(clk.posedge)
    def answer():
        complete.next = status.complete
        if reset or load:
            asking.next = (1 << len(asking)) - 1
        else:
            asking.next = asking >> 1

    @always_comb
    def taken():
        status.take.next = load

    # Both are far away, and stay ready until they are sent something.
    @always(clk.posedge)
    def departure():
        send.next = occupied and group.ready and work.ready and not send and not reset

    @always_comb
    def handshake():
        work.valid.next = send
        group.valid.next = send
        work.count.next = 1
        group.queries.next = 1

    @always(clk.posedge)
    def control():
        if reset:
            entry.next = 0
            occupied.next = False
        else:
            if load:
                entry.next = entry + 1
                occupied.next = True
            elif send:
                occupied.next = False

    @always(clk.posedge)
    def query():
        if not occupied:  # and not only with `load`: many flip-flops wait for this
            group.denominator_0.next = status.denominator
            group.visible_0.next = records.visible
            group.kept_0.next = records.kept
            work.head_first.next = records.head_first
            work.head_last.next = records.head_last
            work.key_set.next = records.key_set
            work.tag.next = records.tag
            work.causal.next = records.causal
            work.n_k.next = records.n_k
            work.n_q.next = records.n_q

    return addresses, answer, taken, departure, handshake, control, query


@module
def factors_side_by_side(clk, reset, group, found, config):
    """``factors`` of single queries, in order; DIVISIONS of them at a time, so 5.5 cycles a query at best.

    group: ``group_stream`` of one query. found: ``factors_stream``.
    """
    units = DIVISIONS
    assert units & (units - 1) == 0
    groups = [group.like() for _ in range(units)]
    results = [factors_stream(config) for _ in range(units)]
    for unit in groups:
        unit.queries = group.queries
        unit.denominator_0, unit.visible_0, unit.kept_0 = group.denominator_0, group.visible_0, group.kept_0
    group_valids, group_readies = [unit.valid for unit in groups], [unit.ready for unit in groups]
    result_valids, result_readies = [unit.valid for unit in results], [unit.ready for unit in results]
    put_turn, get_turn = Signal(modbv(0, min=0, max=units)), Signal(modbv(0, min=0, max=units))
    found_word = Signal(intbv(0)[word_width(found) :])

    divisions = [factors(clk, reset, groups[i], results[i], size=1, config=config) for i in range(units)]
    selection = choose([pack(result) for result in results], get_turn, found_word)

    @always_comb
    def put():
        group.ready.next = group_readies[put_turn]
        for i in range(units):
            group_valids[i].next = group.valid and put_turn == i

    @always_comb
    def get():
        found.valid.next = result_valids[get_turn]
        for i in range(units):
            result_readies[i].next = found.ready and get_turn == i

    @always(clk.posedge)
    def turns():
        if reset:
            put_turn.next = 0
            get_turn.next = 0
        else:
            if group.valid and group.ready:
                put_turn.next = put_turn + 1
            if found.valid and found.ready:
                get_turn.next = get_turn + 1

    return divisions, selection, unpack(found_word, found), put, get, turns


@module
def banked_normalizer(clk, reset, sums, records, values, value_sums, rows_out, entry_freed, config):
    """Rows of O, in order; movers and the ring of finished rows are in here.

    sums: list of ``sums_stream``, one a cluster. records: ``RecordsRead``, of ring entries from 0 on.
    values: ``ValueWrites`` and value_sums: ``ValueSumsRead`` of the loader. rows_out: ``output_rows_stream``. entry_freed: pulse, the
    oldest entry has been read.

    A query takes max(d / normalizer_width, 11 / DIVISIONS) cycles. From its row's last word to its first beat: 42 cycles. Between heads: see ``normalizer``.
    """
    writes = [RingWrite(config) for _ in range(config.drain_rows)]
    completed, status = RowComplete(config), RowStatus(config)
    numerators = NumeratorsRead(config, groups=config.output_ring, rows=1)
    work, group, found = work_stream(config), group_stream(config, 1), factors_stream(config)
    filled, released = Signal(False), Signal(False)

    @always(clk.posedge)
    def filled_entry():
        filled.next = work.valid and work.ready and not reset

    return (
        filled_entry,
        movers(clk, reset, sums, writes, completed, config=config),
        raw_ring(clk, reset, writes, completed, status, numerators, config=config),
        rows_in_order(clk, reset, status, records, work, group, config=config),
        factors_side_by_side(clk, reset, group, found, config=config),
        normalizer(
            clk, reset, work, found, numerators, filled, released, values, value_sums, rows_out,
            group_queries=1, depth=QUERIES_IN_FLIGHT, config=config,
        ),
        delayed(clk, released, entry_freed, FREED_CYCLES, reset),
    )  # fmt: skip
