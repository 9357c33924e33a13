"""The bitmap ring: from the comparator's bits to words of bitmaps, and to the queries in their order."""

from myhdl import Signal, always, always_comb, block, concat, intbv, modbv

from golden.config import FACTOR_SHIFT_BITS, KEPT_FRACTION, LENGTH_BITS, MANTISSA_BITS, Config
from hdl.banked.interfaces import address_bits
from hdl.banked.query_ring import group_bits, index_bits
from hdl.banked.records import TAG_BITS
from hdl.delay import delayed, register
from hdl.fifo import fifo, half_slice, register_slice
from hdl.hierarchy import module
from hdl.memory import ram_with_register
from hdl.occupancy import any_left, room_left
from hdl.stream import Bits, Flag, Stream
from hdl.wires import side_by_side, wire

PENDING = 16  # queries of a softmax lane between their last bits and their result
ORDERED = 4  # queries between the ring and the dispatcher
BITMAP_WORD_CYCLES = 4  # from an address at `WordsRead` to its word


def place_bits(config: Config) -> int:
    """Of a query among those of its group in its softmax lane."""
    return address_bits(config.predict_queries // config.softmax_lanes)


def lane_groups_stream(config: Config) -> Stream:
    """Groups of a softmax lane: how many `queries` of the group `group` (mod ring_groups) are the lane's."""
    return Stream(group=Bits(group_bits(config)), queries=Bits(place_bits(config) + 1))


def heads_stream(config: Config) -> Stream:
    """What the queries of a head have in common, and how many keys the first one sees."""
    return Stream(
        visible=Bits(config.key_count_bits),
        mantissa=Bits(MANTISSA_BITS),
        shift=Bits(FACTOR_SHIFT_BITS),
        key_set=Flag(),
        tag=Bits(TAG_BITS),
        causal=Flag(),
        n_k=Bits(config.key_count_bits),
        n_q=Bits(LENGTH_BITS),
    )


def compared_stream(config: Config) -> Stream:
    """A query whose bitmap and result are there: where they are (`group` mod ring_groups, `index` in the group; softmax
    `lane` and `place` in it), and which `words` of the bitmap aren't zero (at least one bit is set: of an empty bitmap,
    the last one)."""
    return Stream(
        group=Bits(group_bits(config)),
        index=Bits(index_bits(config)),
        lane=Bits(address_bits(config.softmax_lanes)),
        place=Bits(place_bits(config)),
        words=Bits(config.max_tiles),
        kept=Bits(KEPT_FRACTION + 1),
        group_last=Flag(),
        head_last=Flag(),
    )


class WordsRead:
    """Read port of the bitmaps: BITMAP_WORD_CYCLES after `group`, `place`, `index` (of the word) and `lane`, `word` is there."""

    def __init__(self, config: Config):
        self.group = Signal(intbv(0)[group_bits(config) :])
        self.place = Signal(intbv(0)[place_bits(config) :])
        self.index = Signal(intbv(0)[address_bits(config.max_tiles) :])
        self.lane = Signal(intbv(0)[address_bits(config.softmax_lanes) :])
        self.word = Signal(intbv(0)[config.tile_keys :])


class LaneRead:
    """Read port of a softmax lane's bitmaps or records: `data` two cycles after `address`."""

    def __init__(self, address_width: int, data_width: int):
        self.address = Signal(intbv(0)[address_width:])
        self.data = Signal(intbv(0)[data_width:])


def bitmap_read(config: Config) -> LaneRead:
    """`address` {group, place, word}."""
    return LaneRead(group_bits(config) + place_bits(config) + address_bits(config.max_tiles), config.tile_keys)


def record_read(config: Config) -> LaneRead:
    """`address` {group, place}, `data` {words, kept}."""
    return LaneRead(group_bits(config) + place_bits(config), config.max_tiles + KEPT_FRACTION + 1)


@module
def bitmap_lane(clk, reset, groups, bits, results, bitmap, record, arrived, config):
    """One softmax lane's bitmaps and records, each in block RAM. A chunk a cycle.

    Args:
        groups: `lane_groups_stream`; those that have no query of this lane aren't among them.
        bits, results: streams from the comparator.
        bitmap, record: `LaneRead` of what was written; words behind the last key that a query sees aren't written.
        arrived: pulse, one more record can be read from now on, and so can its bitmap.
    """
    chunks, chunk_bits = config.tile_keys // config.predict_keys, config.predict_keys
    last_chunk = chunks - 1

    waiting = groups.like()
    ended = Stream(group=Bits(group_bits(config)), place=Bits(place_bits(config)), words=Bits(config.max_tiles))
    pending = ended.like()
    parts = [Signal(intbv(0)[chunk_bits:]) for _ in range(chunks)]
    word = side_by_side(parts)
    chunk = Signal(intbv(0)[address_bits(chunks) :])
    tile = Signal(intbv(0)[address_bits(config.max_tiles) :])
    place = Signal(intbv(0)[place_bits(config) :])
    words_so_far, words_now, tile_bit = (Signal(intbv(0)[config.max_tiles :]) for _ in range(3))
    any_so_far, any_now = Signal(False), Signal(False)
    accept, first_chunk, word_end, group_end = (Signal(False) for _ in range(4))

    group_queue = fifo(clk, reset, groups, waiting, depth=max(2, config.ring_groups))
    pending_queue = fifo(clk, reset, ended, pending, depth=PENDING)

    @always_comb
    def handshakes():
        accept.next = bits.valid and waiting.valid and ended.ready
        bits.ready.next = waiting.valid and ended.ready
        pending.ready.next = results.valid
        results.ready.next = pending.valid

    @always_comb
    def position():
        first_chunk.next = chunk == 0
        word_end.next = bits.last or chunk == last_chunk
        group_end.next = place + 1 == waiting.queries
        tile_bit.next = 1 << tile
        any_now.next = any_so_far or bits.bits != 0

    @always_comb
    def words_with_keys():
        words_now.next = words_so_far
        if any_now or (bits.last and words_so_far == 0):
            words_now.next = words_so_far | tile_bit

    @always_comb
    def query_end():
        waiting.ready.next = accept and bits.last and group_end
        ended.valid.next = accept and bits.last
        ended.group.next = waiting.group
        ended.place.next = place
        ended.words.next = words_now

    @always(clk.posedge)
    def places():
        if reset:
            chunk.next = 0
            tile.next = 0
            place.next = 0
            words_so_far.next = 0
            any_so_far.next = False
        elif accept:
            any_so_far.next = any_now and not word_end
            if bits.last:
                chunk.next = 0
                tile.next = 0
                words_so_far.next = 0
                if group_end:
                    place.next = 0
                else:
                    place.next = place + 1
            elif chunk == last_chunk:
                chunk.next = 0
                tile.next = tile + 1
                words_so_far.next = words_now
            else:
                chunk.next = chunk + 1

    @always(clk.posedge)
    def words():
        for part in range(chunks):
            if chunk == part:  # not only if it is accepted: what isn't is written again
                parts[part].next = bits.bits
            elif first_chunk:
                parts[part].next = 0

    write_word, write_record = Signal(False), Signal(False)
    word_address, record_address = Signal(intbv(0)[len(bitmap.address) :]), Signal(intbv(0)[len(record.address) :])
    record_data = Signal(intbv(0)[len(record.data) :])

    @always(clk.posedge)
    def word_write():
        write_word.next = accept and word_end and not reset
        word_address.next = concat(waiting.group, place, tile)

    @always(clk.posedge)
    def record_write():
        write_record.next = results.valid and pending.valid and not reset
        record_address.next = concat(pending.group, pending.place)
        record_data.next = concat(pending.words, results.kept)

    @always_comb
    def arrival():
        arrived.next = write_record

    memories = [
        ram_with_register(
            clk, write_word, word_address, word, bitmap.address, bitmap.data, depth=1 << len(word_address)
        ),
        ram_with_register(
            clk, write_record, record_address, record_data, record.address, record.data, depth=1 << len(record_address)
        ),
    ]  # fmt: skip
    return (
        group_queue, pending_queue, handshakes, position, words_with_keys, query_end, places, words, word_write,
        record_write, arrival, memories,
    )  # fmt: skip


@module
def group_tracker(clk, reset, starts, group_done, lane_groups, order, config):
    """Gives groups their places in the ring, and tells the softmax lanes and the query order.

    Args:
        starts: `GroupStarts`. group_done: pulse, the ring's oldest group has left it.
        lane_groups: `lane_groups_stream`, one a softmax lane, all with room for as many groups as the ring has.
        order: stream of `count`, `head_last`, with as much room.
    """
    lanes = config.softmax_lanes
    lane_counts = [[(count - lane + lanes - 1) // lanes for count in range(1 << len(starts.count))] for lane in range(lanes)]
    group = Signal(modbv(0, min=0, max=config.ring_groups))
    groups_in_use = Signal(intbv(0, min=0, max=config.ring_groups + 1))

    @always_comb
    def room():
        starts.room.next = groups_in_use != config.ring_groups
        order.valid.next = starts.start
        order.count.next = starts.count
        order.head_last.next = starts.head_last

    @always(clk.posedge)
    def ring():
        if __debug__:
            assert starts.room or not starts.start, "a group begins without room"
        if reset:
            group.next = 0
            groups_in_use.next = 0
        else:
            if starts.start:
                group.next = group + 1
            if starts.start and not group_done:
                groups_in_use.next = groups_in_use + 1
            elif group_done and not starts.start:
                groups_in_use.next = groups_in_use - 1

    tells = [
        _tell_lane(starts, group, lane_groups[lane], tuple(max(0, n) for n in lane_counts[lane]))
        for lane in range(lanes)
    ]
    return room, ring, tells


@block
def _tell_lane(starts, group, lane_groups, queries_of_lane):
    queries = Signal(intbv(0)[len(lane_groups.queries) :])

    @always_comb
    def share():
        queries.next = queries_of_lane[starts.count]

    @always_comb
    def tell():
        lane_groups.valid.next = starts.start and queries != 0
        lane_groups.queries.next = queries
        lane_groups.group.next = group

    return share, tell


@module
def head_fields(clk, bits, heads):
    """A head's message, with the last bits of its first query (which is always in the first softmax lane)."""
    pairs = [(getattr(bits, name), getattr(heads, name)) for name in heads.fields]

    @always(clk.posedge)
    def valid():
        heads.valid.next = bits.valid and bits.ready and bits.last and bits.query == 0

    return valid, [register(clk, source, target) for source, target in pairs]


@block
def _arrivals(clk, reset, arrived, issue, number, lane, available, most):
    """Queries of a softmax lane that have arrived and aren't in the order yet."""
    taken = Signal(False)

    @always_comb
    def here():
        taken.next = issue and lane == number

    return here, any_left(clk, reset, arrived, taken, available, most)


@module
def query_order(clk, reset, order, arrived, records, compared, config):
    """Queries in the order of their head, each as soon as it has arrived; one a cycle at most.

    Args:
        order: stream of groups, `count` and `head_last`.
        arrived: pulses of the softmax lanes. records: `LaneRead` of theirs.
        compared: `compared_stream`, five cycles or more after the query arrived.
    """
    lanes, last_lane = config.softmax_lanes, config.softmax_lanes - 1
    ring_places = config.ring_groups << place_bits(config)
    datas = [record.data for record in records]
    addresses = [record.address for record in records]
    kept_bits = KEPT_FRACTION + 1

    group = Signal(modbv(0, min=0, max=config.ring_groups))
    queries_found = Signal(intbv(1)[len(order.count) :])  # of the group, this one included
    fields = {name: kind for name, kind in compared.fields.items() if name not in ("words", "kept")}
    found, at_record = Stream(**fields), Stream(**fields)
    ordered = compared.like()
    available = [Signal(False) for _ in range(lanes)]
    issue, leaves, last_in_group, is_room = (Signal(value) for value in (False, False, False, True))
    data = Signal(intbv(0)[len(datas[0]) :])

    arrivals = [
        _arrivals(clk, reset, arrived[n], issue, n, found.lane, available[n], ring_places) for n in range(lanes)
    ]

    @always_comb
    def next_query():
        issue.next = order.valid and available[found.lane] and is_room
        last_in_group.next = queries_found == order.count
        found.group.next = group
        found.group_last.next = queries_found == order.count
        found.head_last.next = order.head_last and queries_found == order.count

    @always_comb
    def take():
        found.valid.next = issue
        leaves.next = compared.valid and compared.ready
        order.ready.next = issue and last_in_group

    @always_comb
    def record_addresses():
        for lane in range(lanes):
            addresses[lane].next = concat(group, found.place)

    @always(clk.posedge)
    def places():
        if reset:
            group.next = 0
            found.index.next = 0
            queries_found.next = 1
            found.lane.next = 0
            found.place.next = 0
        elif issue:
            if last_in_group:
                group.next = group + 1
                found.index.next = 0
                queries_found.next = 1
                found.lane.next = 0
                found.place.next = 0
            else:
                found.index.next = found.index + 1
                queries_found.next = queries_found + 1
                if found.lane == last_lane:
                    found.lane.next = 0
                    found.place.next = found.place + 1
                else:
                    found.lane.next = found.lane + 1

    room = room_left(clk, reset, issue, leaves, is_room, ORDERED)

    in_step = [
        delayed(clk, found.valid, at_record.valid, 2, reset=reset),
        [delayed(clk, getattr(found, name), getattr(at_record, name), 2) for name in fields],
        [wire(getattr(at_record, name), getattr(ordered, name)) for name in ("valid", *fields)],
    ]

    @always_comb
    def record_of_lane():
        data.next = datas[at_record.lane]

    @always_comb
    def record():
        ordered.words.next = data >> kept_bits
        ordered.kept.next = data[kept_bits:]

    buffer = fifo(clk, reset, ordered, compared, depth=ORDERED)
    return arrivals, next_query, take, record_addresses, places, room, in_step, record_of_lane, record, buffer


@module
def bitmap_ring(clk, reset, starts, bits, results, heads, compared, words, group_done, config):
    """Bitmaps of `ring_groups` groups of queries, until the dispatcher has read them.

    Args:
        starts: `GroupStarts`, from the predictor.
        bits, results: lists of streams, one each a softmax lane, from the comparator.
        heads: `heads_stream`: one item a head, before its first query or a few cycles after it.
        compared: `compared_stream`: the queries in order, when their bitmaps and results are there.
        words: `WordsRead`.
        group_done: pulse, the ring's oldest group has left it.
    """
    lanes = range(config.softmax_lanes)
    lane_groups = [lane_groups_stream(config) for _ in lanes]
    order_in, order = (
        Stream(count=Bits(len(starts.count)), head_last=Flag()) for _ in range(2)
    )  # fmt: skip
    heads_in = heads.like()
    bitmaps, records = [bitmap_read(config) for _ in lanes], [record_read(config) for _ in lanes]
    arrived = [Signal(False) for _ in lanes]
    addresses, datas = [bitmap.address for bitmap in bitmaps], [bitmap.data for bitmap in bitmaps]
    number_of_lanes = config.softmax_lanes
    lane_late, lane_word = Signal(intbv(0)[len(words.lane) :]), Signal(intbv(0)[len(words.word) :])

    # What a lane waits for is decided far from the comparator.
    bits_here = [stream.like() for stream in bits]
    slices = [register_slice(clk, reset, stream, here) for stream, here in zip(bits, bits_here)]
    results_here = [stream.like() for stream in results]
    slices += [half_slice(clk, reset, stream, here) for stream, here in zip(results, results_here)]
    tracker = group_tracker(clk, reset, starts, group_done, lane_groups, order_in, config)
    group_order = fifo(clk, reset, order_in, order, depth=max(2, config.ring_groups))
    stores = [
        bitmap_lane(
            clk, reset, lane_groups[lane], bits_here[lane], results_here[lane], bitmaps[lane], records[lane], arrived[lane], config
        )
        for lane in lanes
    ]
    head_messages = [head_fields(clk, bits_here[0], heads_in), fifo(clk, reset, heads_in, heads, depth=1 << TAG_BITS)]
    queries = query_order(clk, reset, order, arrived, records, compared, config)

    @always_comb
    def word_addresses():
        for lane in range(number_of_lanes):
            addresses[lane].next = concat(words.group, words.place, words.index)

    lane_in_step = delayed(clk, words.lane, lane_late, BITMAP_WORD_CYCLES - 2)

    @always(clk.posedge)
    def word_of_lane():
        lane_word.next = datas[lane_late]

    word_on_its_way = register(clk, lane_word, words.word)  # to clusters all over the chip
    return (
        tracker, group_order, slices, stores, head_messages, queries, word_addresses, lane_in_step, word_of_lane, word_on_its_way,
    )  # fmt: skip
