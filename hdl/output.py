"""Rows of O out onto AXI4-Stream; heads that were cut short are dropped, or end at once."""

from myhdl import Signal, always, always_comb, intbv, modbv

from hdl.delay import register
from hdl.fifo import join_parts, part_register, part_signals, parts_of, ready_of_parts, register_slice, word_width
from hdl.hierarchy import module
from hdl.normalizer import TAG_BITS

TAGS = 1 << TAG_BITS


@module
def part_of_frame(clk, offered, ready, clear, source, part):
    """Register for a part of a frame's beat; all zero after ``clear``."""

    @always(clk.posedge)
    def take():
        if ready or not offered:
            part.next = source
            if clear:
                part.next = 0

    return take


@module
def _ways_of_head(there, last, poisoned, ended, opened, open_poisoned, offered, ready, send, discard, goes, step):
    """What becomes of the head in hand, if one is `there`: `send` its beat, `discard` it, either (`goes`); `step`: the next one comes.

    A module, and all of it from registers: each part of a word has it next to it.
    """
    sends, discards = Signal(False), Signal(False)

    @always_comb
    def ways():
        sends.next = there and (ready or not offered) and not ended and not poisoned and not (opened and open_poisoned)
        # The last beat is discarded only when nothing is offered, which keeps ``head_done`` in order.
        discards.next = there and (ended or (poisoned and not opened)) and not (last and offered)

    @always_comb
    def outputs():
        send.next = sends
        discard.next = discards
        goes.next = sends or discards
        step.next = sends or discards or not there

    return ways, outputs


@module
def output(
    clk, reset, rows_out, frame, poison_valid, poison_tag, head_done, head_done_key_set, stall_out, config
):  # fmt: skip
    """One frame a head: TLAST with the head's last beat, TUSER 0.

    poison_valid, poison_tag: pulse, this head in flight is bad (at the latest with the head's last beat). If none of its
    beats has been offered yet, all are discarded. Otherwise the frame ends with one beat of TLAST and TUSER (data 0), at
    once, even if no further beat has come, and what follows of the head is discarded.
    head_done, head_done_key_set: pulse, the head's last beat was accepted or discarded; heads in order.
    stall_out: a beat is offered, and not taken in this cycle.
    Beats go from rows_out to the frame in three cycles, one a cycle.
    """
    coming, head = rows_out.like(), rows_out.like()
    step_of_parts = ready_of_parts(word_width(rows_out))
    slicing = register_slice(clk, reset, rows_out, coming, step_of_parts)

    # Where poison comes from may be far away.
    poison_here, tag_here = Signal(False), Signal(intbv(0)[TAG_BITS:])
    poison_registers = register(clk, poison_valid, poison_here), register(clk, poison_tag, tag_here)
    poisoned = Signal(intbv(0)[TAGS:])
    set_tag, clear_tag = [Signal(modbv(0)[TAGS:]) for _ in range(2)]
    opened = Signal(False)  # a beat of the head in hand was offered
    ended = Signal(False)  # its frame has ended early
    open_tag = Signal(intbv(0)[TAG_BITS:])
    last_key_set = Signal(False)  # of the head whose beat is offered
    offered = Signal(False)
    head_parts, frame_parts = part_signals(config.stream_bits), part_signals(config.stream_bits)

    # Of the head in hand and of the one with the open frame: registers, as everything hangs on them.
    next_poisoned, tag_poisoned = Signal(False), Signal(False)
    room, open_poisoned = Signal(False), Signal(False)
    send, end_early, discard = [Signal(False) for _ in range(3)]
    goes_of_parts = ready_of_parts(config.stream_bits)

    @always_comb
    def conditions():
        room.next = not offered or frame.tready
        open_poisoned.next = opened and tag_poisoned

    @always(clk.posedge)
    def head_in_hand():
        if reset:
            head.valid.next = False
        elif coming.ready:
            head.valid.next = coming.valid
        if coming.ready:
            head.tag.next = coming.tag
            head.key_set.next = coming.key_set
            head.head_last.next = coming.head_last

    @always(clk.posedge)
    def poison():
        if coming.ready:
            next_poisoned.next = poisoned[coming.tag] or (poison_here and tag_here == coming.tag)
        elif poison_here and tag_here == head.tag:
            next_poisoned.next = True
        if send:
            tag_poisoned.next = poison_here and tag_here == head.tag
        elif poison_here and tag_here == open_tag:
            tag_poisoned.next = True

    @always_comb
    def choice():
        end_early.next = room and open_poisoned and not ended

    @always_comb
    def handshake():
        frame.tvalid.next = offered
        stall_out.next = offered and not frame.tready
        # 0 << tag would be unknown in Verilog while the tag is
        set_tag.next = 0
        if poison_here:
            set_tag.next = 1 << tag_here
        clear_tag.next = 0
        if head.valid and head.head_last and (send or discard):
            clear_tag.next = 1 << head.tag

    @always(clk.posedge)
    def state():
        if reset:
            offered.next = False
            opened.next = False
            ended.next = False
            poisoned.next = 0
            head_done.next = False
        else:
            if send or end_early:
                offered.next = True
            elif frame.tready:
                offered.next = False
            if (send or discard) and head.head_last:
                opened.next = False
                ended.next = False
            else:
                opened.next = opened or send
                ended.next = ended or end_early
            poisoned.next = (poisoned | set_tag) & ~clear_tag
            head_done.next = (offered and frame.tready and frame.tlast and not frame.tuser) or (discard and head.head_last)

    @always(clk.posedge)
    def beat():
        if send:
            frame.tlast.next = head.head_last
            frame.tuser.next = False
            open_tag.next = head.tag
            last_key_set.next = head.key_set
        elif end_early:
            frame.tlast.next = True
            frame.tuser.next = True
        if discard and head.head_last:
            head_done_key_set.next = head.key_set
        else:
            head_done_key_set.next = last_key_set

    ways = [
        _ways_of_head(
            head.valid, head.head_last, next_poisoned, ended, opened, tag_poisoned, offered, frame.tready, *out,
        )
        for out in [
            (send, discard, head.ready, coming.ready),
            *((Signal(False), Signal(False), Signal(False), step_of_part) for step_of_part in step_of_parts),
            *((Signal(False), Signal(False), goes_of_part, Signal(False)) for goes_of_part in goes_of_parts),
        ]
    ]  # fmt: skip

    # The wide words under few conditions: what is there without a flag is nobody's.
    words = [
        [
            part_register(clk, head.valid, goes_of_part, coming_part, head_part),
            part_of_frame(clk, offered, frame.tready, open_poisoned, head_part, frame_part),
        ]
        for coming_part, head_part, frame_part, goes_of_part in zip(
            parts_of(coming.data), head_parts, frame_parts, goes_of_parts, strict=True
        )
    ]  # fmt: skip
    return (
        slicing, ways, poison_registers, conditions, head_in_hand, poison, choice, handshake, state, beat, words,
        join_parts(frame_parts, frame.tdata),
    )  # fmt: skip
