"""Predicted scores of two groups, and their maxima: one group is written while the one before it is streamed out."""


from myhdl import ConcatSignal, Signal, always, always_comb, block, intbv

from golden.config import FACTOR_SHIFT_BITS, LENGTH_BITS, MANTISSA_BITS, PREDICTED_BITS, THRESHOLD_FRACTION, clog2
from hdl.delay import delayed
from hdl.fifo import fifo
from hdl.hierarchy import module
from hdl.memory import distributed_ram, ram_with_enable
from hdl.occupancy import any_left
from hdl.score_scaler import HIGHEST, LOWEST
from hdl.stream import Bits, Flag, Signed, Stream
from hdl.wires import wire

TAG_BITS = 4
MOST_GROUPS = 3  # begun and not yet streamed out: the third may follow the first through its buffer
_GROUP_QUEUE = 4


def head_settings(config):
    """Fields of a head that travel with its chunks."""
    return dict(
        mantissa=Bits(MANTISSA_BITS),
        shift=Bits(FACTOR_SHIFT_BITS),
        threshold=Bits(THRESHOLD_FRACTION + 1),
        key_set=Flag(),
        tag=Bits(TAG_BITS),
        causal=Flag(),
        residual=Flag(),
        n_k=Bits(config.key_count_bits),
        n_q=Bits(LENGTH_BITS),
    )


def begun_stream(config):
    """Groups as the multiplication begins: ``query``, ``last_visible`` (last key that it sees) of the first query."""
    return Stream(
        count=Bits(clog2(config.predict_queries) + 1),
        head_last=Flag(),
        query=Bits(LENGTH_BITS),
        last_visible=Bits(config.key_bits),
        **head_settings(config),
    )


def chunks_stream(config):
    """The stream ``chunks`` of docs/architecture.md (there is one for each softmax lane)."""
    return Stream(
        scores=Bits(config.predict_keys * PREDICTED_BITS),
        visible_mask=Bits(config.predict_keys),
        last=Flag(),
        maximum=Signed(PREDICTED_BITS),
        query=Bits(LENGTH_BITS),
        visible=Bits(config.key_count_bits),
        group_last=Flag(),
        head_last=Flag(),
        **head_settings(config),
    )


class StoreProgress:
    """How far a lane is: ``finished`` goes up for a cycle when the oldest group has been streamed out; the first
    ``free_chunks`` of the buffer of the oldest that isn't finished (until the cycle after that) won't be read again."""

    def __init__(self, config):
        self.finished = Signal(False)
        self.free_chunks = Signal(intbv(0)[max(1, clog2(config.max_chunks)) :])


def _score():
    return Signal(intbv(0, min=LOWEST, max=HIGHEST + 1))


@block
def _larger(clk, left, right, larger):
    @always(clk.posedge)
    def compare():
        if left > right:
            larger.next = left
        else:
            larger.next = right

    return compare


@block
def _maximum(clk, scores, maximum):
    """Largest of the scores, clog2(number of scores) cycles later."""
    parts, level = [], scores
    while len(level) > 1:
        pairs = len(level) // 2
        above = [maximum] if pairs == 1 else [_score() for _ in range(pairs)]
        parts += [_larger(clk, level[2 * i], level[2 * i + 1], above[i]) for i in range(pairs)]
        level = above
    return parts


@module
def query_maxima(clk, reset, scores, first, last, valid, write, number, maximum, config):
    """Running maximum of each of a lane's queries, which take turns: one chunk of ``scores`` in each ``valid`` cycle.

    ``first``, ``last``: chunk of the query. After the last one, ``write`` goes up for a cycle in which ``maximum`` is
    that of query ``number``; clog2(predict_keys) cycles after ``valid``.
    """
    pass_count = config.predict_queries // config.softmax_lanes
    wait = clog2(config.predict_keys)
    chunk_maximum = _score() if wait else scores[0]
    late_first, late_last, late_valid = (Signal(False), Signal(False), Signal(False)) if wait else (first, last, valid)
    running = [_score() for _ in range(pass_count)]  # running[0] is the next query's

    @always_comb
    def update():
        if late_first or chunk_maximum > running[0]:
            maximum.next = chunk_maximum
        else:
            maximum.next = running[0]
        write.next = late_valid and late_last

    @always(clk.posedge)
    def rotate():
        if late_valid:
            for i in range(pass_count - 1):
                running[i].next = running[i + 1]
            running[pass_count - 1].next = maximum

    @always(clk.posedge)
    def count():
        if reset:
            number.next = 0
        elif late_valid:
            if number == pass_count - 1:
                number.next = 0
            else:
                number.next = number + 1

    parts = [update, rotate, count]
    if wait:
        parts += [
            _maximum(clk, scores, chunk_maximum),
            delayed(clk, first, late_first, wait),
            delayed(clk, last, late_last, wait),
            delayed(clk, valid, late_valid, wait, reset),
        ]
    return parts


@block
def _settings_register(clk, enable, source, target):
    @always(clk.posedge)
    def settings():
        if enable:
            target.mantissa.next = source.mantissa
            target.shift.next = source.shift
            target.threshold.next = source.threshold
            target.key_set.next = source.key_set
            target.tag.next = source.tag
            target.causal.next = source.causal
            target.residual.next = source.residual
            target.n_k.next = source.n_k
            target.n_q.next = source.n_q

    return settings


class ReadPlace:
    """Where a reader is: the word of ``chunk`` of the lane's query ``number`` in one of two buffers."""

    def __init__(self, config):
        self.buffer = Signal(False)
        self.number = Signal(intbv(0, min=0, max=max(2, config.predict_queries // config.softmax_lanes)))
        self.chunk = Signal(intbv(0)[max(1, clog2(config.max_chunks)) :])


@module
def two_stages(clk, reset, offered, ready, advance, fetch, valid):
    """Which of the reader's two stages hold a chunk: `advance` if the second one (`valid`) doesn't, or it is taken; `fetch` if one
    is `offered` then.

    A module, as there are several of it: the memory, the words, the settings and what finds the next ones are far apart.
    """
    fetched = Signal(False)

    @always_comb
    def step():
        advance.next = ready or not valid
        fetch.next = offered and (ready or not valid)

    @always(clk.posedge)
    def stages():
        if reset:
            fetched.next = False
            valid.next = False
        elif advance:
            fetched.next = offered
            valid.next = fetched

    return step, stages


@module
def chunk_reader(clk, reset, begun, group_complete, place, read, word, maximum, chunks, progress, lane, config):
    """Streams complete groups to ``chunks``, query by query, a chunk a cycle, and a cycle between groups.

    ``begun``: groups, in order (``valid`` alone; their number is bounded by who minds ``progress``).
    ``group_complete``: pulse, as soon as the maximum of the next group's first query is there; the others may follow a
    cycle each. ``place``: what is read next; its ``maximum`` comes in the same cycle, its ``word`` after the next clock
    edge with ``read``. Three cycles from ``group_complete`` to ``chunks.valid``.
    """
    key_count, key_shift = config.predict_keys, clog2(config.predict_keys)
    lane_count = config.softmax_lanes
    all_keys, visible_bits = (1 << key_count) - 1, config.key_count_bits
    key_masks = tuple((2 << i) - 1 for i in range(key_count))
    group = Stream(
        **begun.fields, last_number=Bits(clog2(config.predict_queries) + 1), has_queries=Flag(),
        one_query=Flag(), first_seen=Bits(config.key_count_bits + 1), one_chunk=Flag(),
    )  # fmt: skip
    coming, fetched = group.like(), chunks.like()
    indices = tuple(number * lane_count + lane for number in range(place.number.max))
    one_chunk_before = max(0, key_count - lane_count)  # of a causal head's query before
    last_numbers = tuple(max(0, len(range(lane, count, lane_count)) - 1) for count in range(1 << len(begun.count)))
    # What depends on the group alone is found before it waits.
    same = [wire(getattr(begun, name), getattr(coming, name)) for name in begun.fields]
    queue = fifo(clk, reset, coming, group, depth=_GROUP_QUEUE)

    index = Signal(intbv(0)[clog2(config.predict_queries) + 1 :])  # of the query in its group
    last_seen = Signal(intbv(0)[config.key_count_bits + 1 :])  # the query's last visible key
    next_last_seen, first_seen = (Signal(intbv(0)[config.key_count_bits + 1 :]) for _ in range(2))
    advance, offered, last_chunk, last_query, finish = [Signal(False) for _ in range(5)]
    fetch_next = Signal(False)
    advance_words, advance_fields, advance_settings = (Signal(False) for _ in range(3))
    first_query, at_last_query = Signal(True), Signal(False)  # which query `place` is at
    at_start, at_last_chunk = Signal(True), Signal(False)  # ... and which chunk (at the group's first one, see `one_chunk`)
    any_complete, group_here = Signal(False), Signal(False)  # a complete group is there; and is in hand
    last_key = Signal(intbv(0, min=0, max=max(2, key_count)))
    last_mask = Signal(intbv(0)[key_count:])

    @always_comb
    def lane_of_group():
        coming.valid.next = begun.valid
        coming.last_number.next = last_numbers[begun.count]
        coming.has_queries.next = begun.count > lane
        coming.one_query.next = begun.count <= lane + lane_count

    @always_comb
    def first_query_of_group():
        first_seen.next = begun.last_visible
        if begun.causal:
            first_seen.next = begun.last_visible + lane

    @always_comb
    def chunks_of_first_query():
        coming.first_seen.next = first_seen
        coming.one_chunk.next = first_seen < key_count

    @always_comb
    def query():
        index.next = indices[place.number]
        if not first_query:
            last_seen.next = next_last_seen
        else:
            last_seen.next = group.first_seen

    @always_comb
    def group_in_hand():
        # It goes a cycle after its end, from a register: a whole group waits for this.
        group.ready.next = progress.finished
        group_here.next = any_complete and group.valid and not progress.finished

    @always_comb
    def bounds():
        offered.next = group_here and group.has_queries
        if at_start:
            last_chunk.next = group.one_chunk
        else:
            last_chunk.next = at_last_chunk
        if first_query:
            last_query.next = group.one_query
        else:
            last_query.next = at_last_query

    @always_comb
    def end_of_group():
        finish.next = advance and group_here and (not group.has_queries or (last_chunk and last_query))

    @always(clk.posedge)
    def report():
        progress.finished.next = finish and not reset
        if last_query:
            progress.free_chunks.next = place.chunk
        else:
            progress.free_chunks.next = 0

    groups = any_left(clk, reset, group_complete, finish, any_complete, MOST_GROUPS)

    @always(clk.posedge)
    def next_place():
        if reset:
            place.buffer.next = False
            place.number.next = 0
            place.chunk.next = 0
            first_query.next = True
            at_start.next = True
        elif finish:
            place.buffer.next = not place.buffer
            place.number.next = 0
            place.chunk.next = 0
            first_query.next = True
            at_start.next = True
        elif fetch_next:
            at_start.next = False
            if last_chunk:
                place.number.next = place.number + 1
                place.chunk.next = 0
                first_query.next = False
                at_last_query.next = place.number + 1 == group.last_number
            else:
                place.chunk.next = place.chunk + 1

    @always(clk.posedge)
    def chunk_before_last():
        if fetch_next:
            if not last_chunk:
                at_last_chunk.next = place.chunk + 1 == (last_seen >> key_shift)
            elif group.causal:
                at_last_chunk.next = last_seen < one_chunk_before
            else:
                at_last_chunk.next = last_seen < key_count

    @always(clk.posedge)
    def next_query():
        if fetch_next and last_chunk:
            if group.causal:
                next_last_seen.next = last_seen + lane_count
            else:
                next_last_seen.next = last_seen

    stages = [
        two_stages(clk, reset, offered, chunks.ready, *out)
        for out in (
            (advance, fetch_next, Signal(False)),
            (advance_words, read, Signal(False)),
            (advance_fields, Signal(False), chunks.valid),
            (advance_settings, Signal(False), Signal(False)),
        )
    ]

    @always(clk.posedge)
    def fetch():
        if advance_fields:
            fetched.last.next = last_chunk
            fetched.query.next = group.query + index
            fetched.visible.next = last_seen[visible_bits:] + 1
            fetched.group_last.next = index + 1 == group.count
            fetched.head_last.next = group.head_last and index + 1 == group.count
            last_key.next = last_seen % key_count
        if advance_words:
            if place.chunk == 0:
                fetched.maximum.next = maximum

    @always_comb
    def mask_of_last():
        last_mask.next = key_masks[last_key]

    @always(clk.posedge)
    def offer():
        if advance_words:
            chunks.scores.next = word
            chunks.maximum.next = fetched.maximum
        if advance_fields:
            if fetched.last:
                chunks.visible_mask.next = last_mask
            else:
                chunks.visible_mask.next = all_keys
            chunks.last.next = fetched.last
            chunks.query.next = fetched.query
            chunks.visible.next = fetched.visible
            chunks.group_last.next = fetched.group_last
            chunks.head_last.next = fetched.head_last

    settings = [
        _settings_register(clk, advance_settings, group, fetched),
        _settings_register(clk, advance_settings, fetched, chunks),
    ]
    return (
        queue, same, lane_of_group, first_query_of_group, chunks_of_first_query, query, group_in_hand, bounds, end_of_group, report,
        groups, next_place, chunk_before_last, next_query, stages, fetch, mask_of_last, offer, settings,
    )  # fmt: skip


@module
def score_store(clk, reset, scores, valid, last, begun, chunks, progress, lane, config):
    """Keeps the scores of one softmax lane until their maximum is known, and streams them out (``chunk_reader``).

    ``scores``: of the lane's queries in turn, for the first chunk of a group, then for the next, a query in each
    ``valid`` cycle; ``last`` with the last chunk of a group. The caller starts chunk c of a group only if no more than
    two groups, it included, are begun and not finished, or three and ``progress.free_chunks`` is above c.
    """
    pass_count, chunk_count = config.predict_queries // config.softmax_lanes, config.max_chunks
    depth = 2 * pass_count * chunk_count
    word = ConcatSignal(*reversed(scores)) if len(scores) > 1 else scores[0]
    place = ReadPlace(config)
    number, settled_number = [Signal(intbv(0, min=0, max=max(2, pass_count))) for _ in range(2)]
    chunk = Signal(intbv(0)[max(1, clog2(chunk_count)) :])
    buffer, settled_buffer, first, settled, group_complete, read = [Signal(False) for _ in range(6)]
    settled_maximum, read_maximum = _score(), _score()
    write_address, read_address = Signal(intbv(0)[clog2(depth) :]), Signal(intbv(0)[clog2(depth) :])
    settled_address, maximum_address = [Signal(intbv(0)[clog2(2 * pass_count) :]) for _ in range(2)]
    read_word = Signal(intbv(0)[len(chunks.scores) :])

    @always(clk.posedge)
    def write_place():
        if reset:
            number.next = 0
            chunk.next = 0
            buffer.next = False
        elif valid:
            if number == pass_count - 1:
                number.next = 0
                if last:
                    chunk.next = 0
                    buffer.next = not buffer
                else:
                    chunk.next = chunk + 1
            else:
                number.next = number + 1

    @always_comb
    def addresses():
        first.next = chunk == 0
        write_address.next = (buffer * pass_count + number) * chunk_count + chunk
        read_address.next = (place.buffer * pass_count + place.number) * chunk_count + place.chunk
        settled_address.next = settled_buffer * pass_count + settled_number
        maximum_address.next = place.buffer * pass_count + place.number

    @always(clk.posedge)
    def complete():
        group_complete.next = settled and settled_number == 0 and not reset
        if reset:
            settled_buffer.next = False
        elif settled and settled_number == pass_count - 1:
            settled_buffer.next = not settled_buffer

    store = ram_with_enable(clk, valid, write_address, word, read, read_address, read_word, depth=depth)
    maxima = query_maxima(clk, reset, scores, first, last, valid, settled, settled_number, settled_maximum, config)
    settled_maxima = distributed_ram(
        clk, settled, settled_address, settled_maximum, maximum_address, read_maximum, depth=2 * pass_count
    )
    reader = chunk_reader(
        clk, reset, begun, group_complete, place, read, read_word, read_maximum, chunks, progress, lane, config
    )
    return write_place, addresses, complete, store, maxima, settled_maxima, reader
