"""The register block: AXI4-Lite in front of control, status, counters and the queue of descriptors.

Built from `golden.registers.REGISTER_MAP`: addresses, fields, access and reset values come from there.
"""

from myhdl import Signal, always, always_comb, instances, intbv
from myhdl._Signal import Constant

from golden.config import FACTOR_SHIFT_BITS, LENGTH_BITS, MANTISSA_BITS, THRESHOLD_FRACTION
from golden.registers import DESCRIPTOR_FIELDS, REGISTER_MAP, WORD_BITS, ArrayOrganisation, ErrorCode, HeadMode
from hdl.counters import CounterRead, counters
from hdl.fifo import fifo
from hdl.hierarchy import module
from hdl.register_bus import (
    WORD_ADDRESS_BITS,
    WORD_REGISTERS,
    Write,
    cleared_field,
    pulse_field,
    read_channel,
    stored_field,
    shown_word,
    word_address,
    word_pieces,
    write_channel,
)
from hdl.stream import AxiLite, Bits, Flag, Stream

QUEUE_DEPTH = 8
QUEUE_ITEMS = QUEUE_DEPTH + 1  # the queue has an output register
ERROR_BITS = REGISTER_MAP.fields["ERROR.code"].width


def control_port():
    """An AXI4-Lite port as wide as the register map."""
    return AxiLite(REGISTER_MAP.address_bits, WORD_BITS)


def descriptor_stream(config):
    """What travels with a head. `mode`: 0 is K, V and Q; 1 is Q alone. `bad`: an `ErrorCode`; unless it is `NONE`, the
    frame must be drained and the error raised, and the other fields mean nothing."""
    return Stream(
        n_q=Bits(LENGTH_BITS),
        n_k=Bits(config.key_count_bits),
        mantissa=Bits(MANTISSA_BITS),
        shift=Bits(FACTOR_SHIFT_BITS),
        threshold=Bits(THRESHOLD_FRACTION + 1),
        causal=Flag(),
        residual=Flag(),
        predict_dims=Bits(config.predict_dims_bits),
        mode=Flag(),
        bad=Bits(ERROR_BITS),
    )


class CoreStatus:
    """What the core and its register block tell each other, counters and descriptors aside.

    From the core: `busy` (a head is in it), `keys_valid` (mode 1 can use the K and V that it holds), `error_valid` (one
    cycle an error) with `error_code`. To the core: `soft_reset`, one cycle.
    """

    def __init__(self):
        self.busy = Signal(False)
        self.keys_valid = Signal(False)
        self.error_valid = Signal(False)
        self.error_code = Bits(ERROR_BITS).signal()
        self.soft_reset = Signal(False)


class DescriptorFields:
    """The fields of a descriptor, as wide as in the registers."""

    def __init__(self, fields):
        for part, path in DESCRIPTOR_FIELDS.items():
            setattr(self, part, fields[path])


def build_parameters(config):
    """Values of the read-only registers that tell what the build is, by field."""
    return {
        "HEAD_DIMENSION.value": config.d,
        "MAX_KEYS.value": config.max_keys,
        "ROWS.value": config.rows,
        "LANES.value": config.lanes,
        "TILE_KEYS.value": config.tile_keys,
        "STREAM_BYTES.value": config.stream_bytes,
        "PREDICTION_BITS.value": config.prediction_bits,
        "ARRAY.organisation": int(ArrayOrganisation[config.array.upper()]),
    }


@module
def descriptor_check(clk, written, checked, config):
    """`checked` is `written` with each field cut to its width in `descriptor_stream`, and what is wrong in `bad`
    (`golden.registers.Descriptor.fault`). Two cycles."""
    none = int(ErrorCode.NONE)
    bad_mode = int(ErrorCode.BAD_MODE)
    bad_length = int(ErrorCode.BAD_LENGTH)
    bad_factor = int(ErrorCode.BAD_FACTOR)
    bad_threshold = int(ErrorCode.BAD_THRESHOLD)
    bad_predict_dims = int(ErrorCode.BAD_PREDICT_DIMS)
    last_mode = int(HeadMode.QUERIES)
    max_queries = (1 << LENGTH_BITS) - 1
    max_keys = config.max_keys
    max_dims = config.d
    max_threshold = 1 << THRESHOLD_FRACTION
    leading_one = MANTISSA_BITS - 1
    n_q_bits, n_k_bits, shift_bits = len(checked.n_q), len(checked.n_k), len(checked.shift)
    threshold_bits, predict_dims_bits = len(checked.threshold), len(checked.predict_dims)

    wrong_mode, wrong_length, wrong_causal = (Signal(False) for _ in range(3))
    wrong_factor, wrong_threshold, wrong_dims = (Signal(False) for _ in range(3))

    @always(clk.posedge)
    def compare():
        wrong_mode.next = written.mode > last_mode
        wrong_length.next = written.n_q == 0 or written.n_q > max_queries or written.n_k == 0 or written.n_k > max_keys
        wrong_causal.next = written.causal[0] and written.n_q > written.n_k
        wrong_factor.next = not written.mantissa[leading_one] or (written.shift >> shift_bits) != 0
        wrong_threshold.next = written.threshold > max_threshold
        wrong_dims.next = written.predict_dims == 0 or written.predict_dims > max_dims

    @always(clk.posedge)
    def cut():
        checked.n_q.next = written.n_q[n_q_bits:]
        checked.n_k.next = written.n_k[n_k_bits:]
        checked.mantissa.next = written.mantissa
        checked.shift.next = written.shift[shift_bits:]
        checked.threshold.next = written.threshold[threshold_bits:]
        checked.causal.next = written.causal[0]
        checked.residual.next = written.residual[0]
        checked.predict_dims.next = written.predict_dims[predict_dims_bits:]
        checked.mode.next = written.mode[0]
        if wrong_mode:
            checked.bad.next = bad_mode
        elif wrong_length or wrong_causal:
            checked.bad.next = bad_length
        elif wrong_factor:
            checked.bad.next = bad_factor
        elif wrong_threshold:
            checked.bad.next = bad_threshold
        elif wrong_dims:
            checked.bad.next = bad_predict_dims
        else:
            checked.bad.next = none

    return instances()


@module
def first_error(
    clk, reset, core_error, core_code, queue_full, bad_write, bad_read, clear, clear_count, code, count
):
    """`code` is the first error since `clear`; `count`, a cycle later, says how many there were since `clear_count` (it
    saturates).

    Of errors in the same cycle the core's is the first, then `queue_full`, then a bad address. An error in the cycle of
    a clear stays.
    """
    none = int(ErrorCode.NONE)
    code_queue_full = int(ErrorCode.QUEUE_FULL)
    code_bad_address = int(ErrorCode.BAD_ADDRESS)
    count_bits = len(count)

    new_code = Signal(intbv(0)[ERROR_BITS:])
    bus_errors = Signal(intbv(0)[2:])
    new_errors = Signal(intbv(0)[3:])
    uncounted = Signal(intbv(0)[3:])
    counted = Signal(intbv(0)[count_bits + 1 :])

    @always_comb
    def choose():
        new_code.next = none
        if core_error:
            new_code.next = core_code
        elif queue_full:
            new_code.next = code_queue_full
        elif bad_write or bad_read:
            new_code.next = code_bad_address

    @always_comb
    def add():
        bus_errors.next = 0
        if bad_write and bad_read:
            bus_errors.next = 2
        elif bad_write or bad_read:
            bus_errors.next = 1
        new_errors.next = 0
        if core_error and queue_full:
            new_errors.next = 2
        elif core_error or queue_full:
            new_errors.next = 1

    @always_comb
    def total():
        counted.next = count + uncounted

    @always(clk.posedge)
    def keep():
        if code == none or clear:
            code.next = new_code
        uncounted.next = new_errors + bus_errors
        if clear_count:
            count.next = 0
        elif counted[count_bits]:
            count.next = (1 << count_bits) - 1
        else:
            count.next = counted[count_bits:]
        if reset:
            code.next = none
            uncounted.next = 0
            count.next = 0

    return instances()


@module
def registers(clk, reset, axi, descriptor, status, events, config):
    """All registers. Reads and writes take at least four cycles, and are independent of each other.

    A committed descriptor is pushed whatever is wrong with it (`bad` tells), except into a full queue. The queue holds
    `QUEUE_ITEMS`.

    Args:
        axi: the AXI4-Lite port (`control_port`); every output comes from a register.
        descriptor: `descriptor_stream` to the loader.
        status: `CoreStatus`.
        events: `hdl.counters.Events` from the core.
        config: build parameters.
    """
    write = Write()
    bad_write, bad_read = Signal(False), Signal(False)
    counter = CounterRead()

    # A signal for each field, named in the map; those that never change are numbers.
    fields = build_parameters(config)
    clears = {}
    parts = []
    for register in WORD_REGISTERS:
        for field in register.fields:
            address = word_address(register)
            path = field.path
            if path in fields:
                continue
            if field.hardware == "na":
                fields[path] = field.reset
            elif field.pulse:
                fields[path] = Signal(False)
                parts.append(pulse_field(clk, reset, write, fields[path], address, field.lsb))
            elif field.clears:
                fields[path] = Signal(intbv(0)[field.width :])
                clears[path] = Signal(False)
                parts.append(cleared_field(clk, reset, write, clears[path], address, field.lsb))
            elif field.writable:
                initial = fields[field.reset] if isinstance(field.reset, str) else field.reset
                fields[path] = Signal(intbv(initial)[field.width :])
                parts.append(stored_field(clk, reset, write, fields[path], address, field.lsb, initial))
            else:
                fields[path] = Signal(intbv(0)[field.width :])

    # What a read shows.
    read_address = Signal(intbv(0)[WORD_ADDRESS_BITS:])
    shown = Constant(intbv(0)[WORD_BITS:])
    for register in WORD_REGISTERS:
        before, shown = shown, Signal(intbv(0)[WORD_BITS:])
        readable = [field for field in register.fields if field.readable]
        pieces = word_pieces([(field.lsb, field.width, fields[field.path]) for field in readable])
        parts.append(shown_word(clk, read_address, word_address(register), pieces, before, shown))

    parts.append(write_channel(clk, reset, axi, write, bad_write))
    parts.append(read_channel(clk, reset, axi, read_address, shown, counter, bad_read))

    # Descriptors.
    written = DescriptorFields(fields)
    checked = descriptor_stream(config)
    push, soft_reset = fields["COMMIT.push"], fields["CONTROL.soft_reset"]
    queue_reset, refused, pushed, popped = (Signal(False) for _ in range(4))
    parts.append(descriptor_check(clk, written, checked, config))
    parts.append(fifo(clk, queue_reset, checked, descriptor, QUEUE_DEPTH))

    @always_comb
    def queue_control():
        queue_reset.next = reset or soft_reset
        checked.valid.next = push
        pushed.next = push and checked.ready
        popped.next = descriptor.valid and descriptor.ready
        refused.next = push and not checked.ready
        status.soft_reset.next = soft_reset

    # Status and errors.
    level = fields["STATUS.queue_level"]
    busy, keys_valid = fields["STATUS.busy"], fields["STATUS.keys_valid"]
    error, queue_full = fields["STATUS.error"], fields["STATUS.queue_full"]
    code, clear_code, count = fields["ERROR.code"], clears["ERROR.code"], fields["ERROR_COUNT.count"]
    clear_counters = fields["CONTROL.clear_counters"]
    none = int(ErrorCode.NONE)
    error_valid, error_code = status.error_valid, status.error_code
    errors = (error_valid, error_code, refused, bad_write, bad_read)
    parts.append(first_error(clk, reset, *errors, clear_code, clear_counters, code, count))

    @always(clk.posedge)
    def queue_level():
        if queue_reset:
            level.next = 0
        elif pushed and not popped:
            level.next = level + 1
        elif popped and not pushed:
            level.next = level - 1

    @always_comb
    def status_fields():
        busy.next = status.busy
        keys_valid.next = status.keys_valid
        error.next = code != none
        queue_full.next = not checked.ready

    # Counters.
    enable_counters = fields["CONTROL.enable_counters"]
    counting = Signal(False)
    parts.append(counters(clk, reset, events, counter, clear_counters, counting, config))

    @always_comb
    def counter_control():
        counting.next = enable_counters[0]

    return parts, queue_control, queue_level, status_fields, counter_control
