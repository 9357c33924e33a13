"""The dispatcher: takes queries in order, and gives each, with its row and its bitmap, to a cluster that is free."""

from myhdl import ConcatSignal, Signal, always, always_comb, block, concat, intbv, modbv

from golden.config import clog2
from hdl.banked.bitmaps import BITMAP_WORD_CYCLES
from hdl.banked.interfaces import address_bits, words_stream
from hdl.banked.query_ring import group_bits, index_bits
from hdl.delay import cleared_register, delayed, port_register, register, register_copy
from hdl.fifo import fifo, pack, unpack, word_width
from hdl.hierarchy import module
from hdl.memory import ram
from hdl.stream import Bits, Stream
from hdl.wires import wire

BEATS_UNDERWAY = 16  # beats of rows between the ring and the clusters, at most
ROW_CYCLES = 2  # from an address of the ring of rows to the beat


def word_fifo_depth(config) -> int:
    """Words that wait for a cluster: those of a query at least."""
    return max(16, config.max_tiles)


class Target:
    """A query goes to `cluster` in the cycles in which this is `active`."""

    def __init__(self, config):
        self.active = Signal(False)
        self.cluster = Signal(intbv(0)[address_bits(config.rows) :])


@module
def next_query(clk, reset, heads, compared, taken, head, query):
    """The next query and its head's message in registers, until both are `taken`; the following ones two cycles later.

    All of the dispatcher waits for it and decides when it goes: that needn't reach what is far away, and what is far away needn't
    be known for it in the same cycle.

    Args:
        heads, compared: `heads_stream`, `compared_stream`.
        head, query: the same; both are valid at once.
    """
    occupied, accept = Signal(False), Signal(False)
    coming_head, coming_query = pack(heads), pack(compared)
    head_word, query_word = (Signal(intbv(0)[word_width(stream) :]) for stream in (heads, compared))

    @always(clk.posedge)
    def join():
        accept.next = heads.valid and compared.valid and not occupied and not accept and not reset

    @always_comb
    def handshakes():
        compared.ready.next = accept
        heads.ready.next = accept and compared.head_last
        head.valid.next = occupied
        query.valid.next = occupied

    @always(clk.posedge)
    def occupancy():
        if reset:
            occupied.next = False
        elif taken:
            occupied.next = False
        elif accept:
            occupied.next = True

    @always(clk.posedge)
    def words():
        if not occupied:  # and not only with `accept`: many flip-flops wait for this
            head_word.next = coming_head
            query_word.next = coming_query

    return join, handshakes, occupancy, words, unpack(head_word, head), unpack(query_word, query)


@block
def _cluster_space(clk, reset, cluster, room, sending, sent_word, word_taken, free, config):
    """Whether a cluster has a free slot and room for all words of a query; not while it is sent to."""
    depth, most = word_fifo_depth(config), config.max_tiles
    words = Signal(intbv(0, min=0, max=depth + 1))
    sent_here, sending_here = Signal(False), Signal(False)

    @always_comb
    def here():
        sent_here.next = sent_word and sending.cluster == cluster
        sending_here.next = sending.active and sending.cluster == cluster

    @always(clk.posedge)
    def level():
        if reset:
            words.next = 0
        elif sent_here and not word_taken:
            words.next = words + 1
        elif word_taken and not sent_here:
            words.next = words - 1

    @always(clk.posedge)
    def find_space():
        free.next = room != 0 and words <= depth - most and not sending_here and not reset

    return here, level, find_space


@module
def cluster_choice(clk, reset, rooms, sending, sent_word, words_taken, chosen, taken, valid, config):
    """The next free cluster, in turn.

    Args:
        rooms: free slots, one signal a cluster.
        sending: `Target`, throughout the cycles in which a query's words and beats are read.
        sent_word: one of its words goes. words_taken: bit for each cluster: it takes one.
        chosen, valid: registers; the cluster stays chosen until it is `taken`. Three cycles after that the next one.
    """
    clusters = config.rows
    frees = [Signal(False) for _ in range(clusters)]
    free = ConcatSignal(*reversed(frees))
    candidates, later, one = (Signal(intbv(0)[clusters:]) for _ in range(3))
    # The senders are far away.
    late_sending, late_word, just_taken = Target(config), Signal(False), Signal(False)
    after = Signal(intbv(0)[clusters:])  # clusters behind the one chosen last
    number = Signal(intbv(0)[len(chosen) :])

    spaces = [
        _cluster_space(clk, reset, c, rooms[c], late_sending, late_word, words_taken(c), frees[c], config)
        for c in range(clusters)
    ]

    @always(clk.posedge)
    def news():
        late_sending.active.next = sending.active
        late_sending.cluster.next = sending.cluster
        late_word.next = sent_word
        just_taken.next = taken

    @always_comb
    def find_candidates():
        candidates.next = free
        if late_sending.active:
            candidates.next = free & ~(1 << late_sending.cluster)

    @always_comb
    def in_turn():
        later.next = free & after
        if late_sending.active:
            later.next = free & after & ~(1 << late_sending.cluster)

    @always_comb
    def pick():
        one.next = candidates
        if later != 0:
            one.next = later

    @always_comb
    def lowest():
        number.next = 0
        for c in range(clusters):
            if one[clusters - 1 - c]:
                number.next = clusters - 1 - c

    @always(clk.posedge)
    def choice():
        if reset:
            valid.next = False
            after.next = 0
        elif taken:
            valid.next = False
        elif not valid and not just_taken:
            if one != 0:
                valid.next = True
                for c in range(clusters):
                    after.next[c] = number < c
        if not valid:
            chosen.next = number

    return spaces, news, find_candidates, in_turn, pick, lowest, choice


@module
def entry_ring(clk, reset, start, entry_freed, entry, free, config):
    """Ring entries, given out one after the other: `entry` with each `start` while one is `free`.

    A `start` comes every second cycle at most.
    """
    entries = config.output_ring
    entries_in_use = Signal(intbv(0, min=0, max=entries + 1))

    @always(clk.posedge)
    def ring():
        if reset:
            entry.next = 0
            entries_in_use.next = 0
        else:
            if start:
                entry.next = entry + 1
            if start and not entry_freed:
                entries_in_use.next = entries_in_use + 1
            elif entry_freed and not start:
                entries_in_use.next = entries_in_use - 1

    @always(clk.posedge)
    def level():
        free.next = entries_in_use != entries and not reset

    return ring, level


@module
def entry_records(clk, reset, start, entry, compared, heads, records, config):
    """Memory of what the normalizer has to know about the query in an entry.

    records: `RecordsRead`.
    """
    head_first = Signal(True)
    visible, next_visible = (Signal(intbv(0)[config.key_count_bits :]) for _ in range(2))
    key_mask = (1 << config.key_count_bits) - 1
    sources = [visible, compared.kept, head_first, compared.head_last]
    targets = [records.visible, records.kept, records.head_first, records.head_last]
    for name in ("key_set", "tag", "causal", "n_k", "n_q"):
        sources.append(getattr(heads, name))
        targets.append(getattr(records, name))
    written = ConcatSignal(*sources)
    read = Signal(intbv(0)[len(written) :])
    read_entry = Signal(intbv(0)[len(records.entry) :])  # whoever asks is far away

    memory = ram(clk, start, entry, written, read_entry, read, depth=config.output_ring)
    copies, top = [], len(written)
    for target in targets:
        width = len(target) if target._type is not bool else 1
        part = read(top - 1) if width == 1 else read(top, top - width)
        copies.append(register(clk, part, target))  # ... and so is the answer
        top -= width
    asked = register(clk, records.entry, read_entry)
    return asked, memory, copies, _visible_keys(clk, reset, start, compared, heads, head_first, visible, next_visible, key_mask)


@block
def _visible_keys(clk, reset, start, compared, heads, head_first, visible, next_visible, key_mask):
    """A causal head's next query sees one more key."""

    @always_comb
    def now():
        visible.next = next_visible
        if head_first:
            visible.next = heads.visible

    @always(clk.posedge)
    def count():
        if start:
            next_visible.next = (visible + heads.causal) & key_mask
        if reset:
            head_first.next = True
        elif start:
            head_first.next = compared.head_last

    return now, count


@module
def row_sender(clk, reset, writes, dispatch, compared, busy, ends, room, rows, config):
    """The ring of query rows (block RAM), and the way of its beats to the clusters.

    Args:
        writes: `QueryRingWrites`.
        dispatch, compared: a query goes. busy: from the cycle after until its last beat is read. ends: no more beat is to be
            read after the next cycle.
        room: for the beats of one more row.
        rows: list of `row_stream`.
    """
    beat_bits, last_beat = clog2(config.row_beats), config.row_beats - 1
    beat_before_ends = max(0, last_beat - 2)
    clusters = config.rows
    valids, readies = [row.valid for row in rows], [row.ready for row in rows]
    datas = [row.data for row in rows]

    beats_in = Stream(cluster=Bits(address_bits(clusters)), data=Bits(config.stream_bits))
    beats = beats_in.like()
    row = Signal(intbv(0)[group_bits(config) + index_bits(config) :])
    cluster = Signal(intbv(0)[len(dispatch.cluster) :])
    beat = Signal(intbv(0)[address_bits(config.row_beats) :])
    address = Signal(intbv(0)[len(writes.address) :])
    data = Signal(intbv(0)[config.stream_bits :])
    underway = Signal(intbv(0, min=0, max=BEATS_UNDERWAY + 1))
    taken = Signal(False)

    memory = ram(clk, writes.enable, writes.address, writes.data, address, data, depth=1 << len(address))

    @always_comb
    def addresses():
        address.next = (row << beat_bits) | beat

    @always(clk.posedge)
    def end():
        if reset:
            ends.next = True
        elif dispatch.active:
            ends.next = last_beat <= 1
        elif busy and not ends:
            ends.next = beat == beat_before_ends

    @always(clk.posedge)
    def place():
        if reset:
            busy.next = False
        elif dispatch.active:
            busy.next = True
        elif beat == last_beat:
            busy.next = False
        if dispatch.active:
            row.next = concat(compared.group, compared.index)
            cluster.next = dispatch.cluster
            beat.next = 0
        elif beat != last_beat:
            beat.next = beat + 1

    in_step = [
        delayed(clk, busy, beats_in.valid, ROW_CYCLES, reset=reset),
        delayed(clk, cluster, beats_in.cluster, ROW_CYCLES),
        delayed(clk, data, beats_in.data, ROW_CYCLES - 1),
    ]
    buffer = fifo(clk, reset, beats_in, beats, depth=BEATS_UNDERWAY)

    @always(clk.posedge)
    def level():
        if __debug__:
            assert beats_in.ready or not beats_in.valid, "no room for a beat that was read"
        if reset:
            underway.next = 0
        elif busy and not taken:
            underway.next = underway + 1
        elif taken and not busy:
            underway.next = underway - 1

    # The count may be two beats behind those that were read, and as many more are read.
    most = BEATS_UNDERWAY - config.row_beats - 2

    @always(clk.posedge)
    def space():
        room.next = underway <= most and not reset

    @always_comb
    def to_clusters():
        beats.ready.next = readies[beats.cluster]
        taken.next = beats.valid and readies[beats.cluster]
        for c in range(clusters):
            valids[c].next = beats.valid and beats.cluster == c
            datas[c].next = beats.data

    return memory, addresses, end, place, in_step, buffer, level, space, to_clusters


@module
def word_sender(clk, reset, dispatch, compared, read, busy, ends, sending, words, words_taken, config):
    """Reads the words of a query's bitmap that aren't zero, one a cycle, and brings them to its cluster.

    Args:
        dispatch, compared: a query goes. busy: from the cycle after until its last word is read. ends: no more word is to be
            read after the next cycle.
        read: `WordsRead`.
        sending: `Target`; its `cluster` is set here.
        words: list of `words_stream`. words_taken: bit for each: a word is taken.
    """
    clusters = config.rows
    tiles = config.max_tiles

    left, rest = (Signal(intbv(0)[tiles:]) for _ in range(2))
    one_comes, one_rests, two_come, two_rest, underway = (Signal(False) for _ in range(5))
    index_late = Signal(intbv(0)[len(read.index) :])
    last, last_late, busy_late = (Signal(False) for _ in range(3))
    cluster_late = Signal(intbv(0)[len(dispatch.cluster) :])
    valids = [Signal(False) for _ in range(clusters)]
    takens = [Signal(False) for _ in range(clusters)]
    taken_bits = ConcatSignal(*reversed(takens))

    @always_comb
    def lowest():
        read.index.next = 0
        for tile in range(tiles):
            if left[tiles - 1 - tile]:
                read.index.next = tiles - 1 - tile

    @always_comb
    def others():
        rest.next = 0
        if left != 0:
            rest.next = left & (left - 1)

    # Whether there is a word, and whether it is the last one, or the last but one, are in registers: the next dispatch depends
    # on them.
    @always_comb
    def words_that_come():
        any_ = False
        pair = False
        three = False
        for tile in range(tiles):
            if pair and compared.words[tile]:
                three = True
            if any_ and compared.words[tile]:
                pair = True
            if compared.words[tile]:
                any_ = True
        one_comes.next = not pair
        two_come.next = not three

    @always_comb
    def words_that_rest():
        one = False
        two = False
        three = False
        four = False
        for tile in range(tiles):
            if three and left[tile]:
                four = True
            if two and left[tile]:
                three = True
            if one and left[tile]:
                two = True
            if left[tile]:
                one = True
        one_rests.next = not three
        two_rest.next = not four

    @always(clk.posedge)
    def end_comes():
        if reset:
            underway.next = False
            last.next = True
            ends.next = True
        elif dispatch.active:
            underway.next = compared.words != 0
            last.next = one_comes
            ends.next = two_come
        else:
            underway.next = rest != 0
            last.next = one_rests
            ends.next = two_rest

    @always_comb
    def end():
        busy.next = underway

    @always(clk.posedge)
    def words_left():
        if reset:
            left.next = 0
        elif dispatch.active:
            left.next = compared.words
        else:
            left.next = rest
        if dispatch.active:
            read.group.next = compared.group
            read.place.next = compared.place
            read.lane.next = compared.lane
            sending.cluster.next = dispatch.cluster

    in_step = [
        delayed(clk, busy, busy_late, BITMAP_WORD_CYCLES, reset=reset),
        delayed(clk, last, last_late, BITMAP_WORD_CYCLES),
        delayed(clk, read.index, index_late, BITMAP_WORD_CYCLES),
        delayed(clk, sending.cluster, cluster_late, BITMAP_WORD_CYCLES),
    ]

    @always_comb
    def to_clusters():
        for c in range(clusters):
            valids[c].next = busy_late and cluster_late == c

    buffers = []
    for c in range(clusters):
        inp = words_stream(config)
        inp.word, inp.index, inp.last, inp.valid = read.word, index_late, last_late, valids[c]
        buffers += [
            fifo(clk, reset, inp, words[c], depth=word_fifo_depth(config)),
            _transfer(clk, inp, words[c], takens[c]),
        ]  # fmt: skip

    @always_comb
    def taken():
        words_taken.next = taken_bits

    return lowest, others, words_that_come, words_that_rest, end_comes, end, words_left, in_step, to_clusters, buffers, taken


@block
def _transfer(clk, inp, out, taken):
    @always_comb
    def transfer():
        taken.next = out.valid and out.ready

    @always(clk.posedge)
    def check():
        if __debug__:
            assert inp.ready or not inp.valid, "no room for a word that was read"

    return transfer, check


@module
def dispatcher(
    clk, reset, query_writes, heads, compared, read, rooms, queries, rows, words, entry_freed, records, group_done, config
):  # fmt: skip
    """Gives queries to clusters, in turn to those that are free; a query every max(row_beats, words, 4) cycles at most.

    A cluster is free if it has a free slot and its buffer of words has room for those of any query. From a query at
    `compared` to its header: 5 cycles, to its first beat: 8, to its first word: 10.

    Args:
        query_writes: `QueryRingWrites`, from the loader.
        heads, compared, read: `heads_stream`, `compared_stream`, `WordsRead` of the bitmap ring.
        rooms: free slots of the clusters.
        queries, rows, words: lists of `queries_stream`, `row_stream`, `words_stream`, one each a cluster.
        entry_freed: pulse, the oldest ring entry may be given out again.
        records: `RecordsRead`, for the normalizer.
        group_done: pulse, the ring's oldest group has left the bitmaps and the query rows.
    """
    clusters = config.rows
    dispatch, sending = Target(config), Target(config)
    head, query = heads.like(), compared.like()
    entry = Signal(modbv(0, min=0, max=config.output_ring))
    chosen, entry_free, row_room, row_busy, row_ends, words_busy, words_end = (Signal(False) for _ in range(7))
    group_ends, group_leaves = Signal(False), Signal(False)
    words_taken, header_to = (Signal(intbv(0)[clusters:]) for _ in range(2))
    header_here, header = queries[0].like(), queries[0].like()
    header_valids = Signal(intbv(0)[clusters:])
    valids, readies = [stream.valid for stream in queries], [stream.ready for stream in queries]

    following = next_query(clk, reset, heads, compared, dispatch.active, head, query)
    choice_reset, words_reset = Signal(True), Signal(True)  # these two are far apart
    resets = [register_copy(clk, reset, copy) for copy in (choice_reset, words_reset)]
    choice = cluster_choice(
        clk, choice_reset, rooms, sending, words_busy, words_taken, dispatch.cluster, dispatch.active, chosen, config
    )  # fmt: skip
    entries = entry_ring(clk, reset, dispatch.active, entry_freed, entry, entry_free, config)
    entry_memory = entry_records(clk, reset, dispatch.active, entry, query, head, records, config)
    row_way = row_sender(
        clk, reset, query_writes, dispatch, query, row_busy, row_ends, row_room, rows, config
    )  # fmt: skip
    word_way = word_sender(
        clk, words_reset, dispatch, query, read, words_busy, words_end, sending, words, words_taken, config
    )  # fmt: skip

    # They lie far apart, so their decision is a register: each has a cycle to be heard and another one to hear it.
    @always(clk.posedge)
    def go():
        ready = query.valid and chosen and entry_free and row_room and row_ends and words_end
        dispatch.active.next = ready and not dispatch.active and not reset

    @always_comb
    def send():
        sending.active.next = row_busy or words_busy

    @always(clk.posedge)
    def group_of_query():
        if dispatch.active:
            group_ends.next = query.group_last
        group_leaves.next = sending.active and row_ends and words_end and group_ends and not group_leaves and not reset
        group_done.next = group_leaves and not reset

    @always(clk.posedge)
    def headers():
        if __debug__:
            for c in range(clusters):
                assert readies[c] or not valids[c], "a header to a cluster without a free slot"
        header_here.entry.next = entry
        header_here.key_set.next = head.key_set
        header_here.mantissa.next = head.mantissa
        header_here.shift.next = head.shift
        header_to.next = 0
        if dispatch.active and not reset:
            header_to.next = 1 << dispatch.cluster

    @always_comb
    def to_clusters():
        for c in range(clusters):
            valids[c].next = header_valids[c]

    # The clusters are all over the chip.
    on_the_way = port_register(clk, header_here, header, header.fields), cleared_register(clk, reset, header_to, header_valids)
    fields = [wire(getattr(header, name), getattr(stream, name)) for stream in queries for name in header.fields]
    return (
        following, resets, choice, entries, entry_memory, row_way, word_way, go, send, group_of_query, headers, to_clusters, on_the_way, fields
    )  # fmt: skip
