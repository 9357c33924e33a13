"""Head files: what a user hands in, checked, quantised and ready for the core."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golden import head, quantizer, reference
from golden.config import OUTPUT_FRACTION, Config

NAMES = ("q", "k", "v")


class InputError(ValueError):
    """Something that the user gave can't be used; the message says what was wrong and what is allowed."""


@dataclass(frozen=True)
class Head:
    """One head's int8 rows with their scales, and the floats they came from, if they did.

    Attributes:
        q, k, v: int8 [n_q, d], [n_k, d], [n_k, d].
        q_scale, k_scale, v_scale: what an integer of each is worth.
        floats: the (q, k, v) before quantising, or None.
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    q_scale: float
    k_scale: float
    v_scale: float
    floats: tuple[np.ndarray, np.ndarray, np.ndarray] | None

    def settings(
        self, threshold: float | None, causal: bool, residual: bool, predict_dims: int | None = None
    ) -> head.Settings:
        """The head's descriptor; a threshold of None is 1 / n_k.

        Raises:
            ValueError: threshold or scales outside of what the core takes.
        """
        mantissa, shift = quantizer.factor(self.q_scale, self.k_scale, self.q.shape[1])
        wanted = 1 / len(self.k) if threshold is None else threshold
        return head.Settings(mantissa, shift, head.threshold_bits(wanted), causal, residual, predict_dims)

    def dequantised(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The int8 rows in their true units."""
        return self.q * self.q_scale, self.k * self.k_scale, self.v * self.v_scale

    def output(self, output: np.ndarray) -> np.ndarray:
        """An integer output in V's units."""
        return output * (self.v_scale / (1 << OUTPUT_FRACTION))


def load(path: Path, config: Config | None = None) -> tuple[list[Head], bool]:
    """The heads of an ``.npz`` file, and whether its arrays had a head axis.

    Raises:
        InputError: the file can't be read or doesn't hold heads (that ``config`` takes, if one is given).
    """
    arrays = read(path)
    missing = [name for name in NAMES if name not in arrays]
    if missing:
        raise InputError(f"{path}: holds no array {' or '.join(missing)}; a head file holds q, k and v")
    tensors = [arrays[name] for name in NAMES]
    for name, tensor in zip(NAMES, tensors):
        if tensor.ndim not in (2, 3) or tensor.ndim != tensors[0].ndim:
            raise InputError(
                f"{path}: {name} has shape {list(tensor.shape)}; q, k and v must all be [rows, d] or all [heads, rows, d]"
            )
        if tensor.dtype != np.int8 and not np.issubdtype(tensor.dtype, np.floating):
            raise InputError(f"{path}: {name} holds {tensor.dtype}, but must hold int8 or floats")
    many = tensors[0].ndim == 3
    if many and len({len(tensor) for tensor in tensors}) > 1:
        raise InputError(f"{path}: q, k and v have {', '.join(str(len(t)) for t in tensors)} heads; all must have as many")
    if many and not len(tensors[0]):
        raise InputError(f"{path}: holds no head; there must be at least one")
    count = len(tensors[0]) if many else 1
    scales = [_scales(path, arrays, name, tensor, count) for name, tensor in zip(NAMES, tensors)]
    heads = []
    for number in range(count):
        rows = [tensor[number] if many else tensor for tensor in tensors]
        heads.append(_head(path, rows, [scale[number] for scale in scales]))
        if config is None:
            continue
        try:
            head.check(heads[-1].q, heads[-1].k, heads[-1].v, head.Settings(1 << 15, 0, 0), config)
        except head.HeadError as error:
            raise InputError(f"{path}: {error}") from None
    return heads, many


def read(path: Path) -> dict:
    """The arrays of an ``.npz`` file, by name.

    Raises:
        InputError: it can't be read as one.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile, EOFError, KeyError):
        raise InputError(f"{path}: can't be read as a NumPy .npz file") from None


def _scales(path, arrays, name, tensor, count):
    """One scale a head for an int8 tensor; None for floats, which bring their own."""
    if tensor.dtype != np.int8:
        return [None] * count
    key = f"{name}_scale"
    try:
        scale = np.asarray(arrays.get(key, 1.0), dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{path}: {key} holds {arrays[key].dtype}, but must hold a number") from None
    if scale.shape not in ((), (1,), (count,)):
        raise InputError(f"{path}: {key} has shape {list(scale.shape)}, but must be a scalar or one for each of {count} heads")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise InputError(f"{path}: {key} must be finite and above 0")
    return np.broadcast_to(scale.reshape(-1), (count,)).tolist()


def _head(path, rows, scales):
    integers, used = [], []
    for name, row, scale in zip(NAMES, rows, scales):
        try:
            integer, own = (row, scale) if scale is not None else quantizer.to_int8(row.astype(np.float64))
        except ValueError as error:
            raise InputError(f"{path}: {name} {error}") from None
        integers.append(integer)
        used.append(own)
    floats = None
    if None in scales:
        floats = tuple(
            row * (1.0 if scale is None else scale) for row, scale in zip((r.astype(np.float64) for r in rows), scales)
        )
    return Head(*integers, *used, floats)


def errors(one: Head, result: head.Result, settings: head.Settings, config: Config) -> dict:
    """How far one head's integers are from float attention (relative, of the whole head).

    ``error_vs_masked`` and ``error_vs_float_masked`` are of a golden pass without residual compensation, against
    float attention under the same mask.
    """
    plain = result
    if settings.residual:
        plain = head.run(one.q, one.k, one.v, head.Settings(**{**vars(settings), "residual": False}), config)
    q, k, v = one.dequantised()
    distance = {
        "error_vs_dense": reference.relative_error(
            one.output(result.output), reference.attention(q, k, v, causal=settings.causal)
        ),
        "error_vs_masked": reference.relative_error(
            one.output(plain.output), reference.attention(q, k, v, result.mask, settings.causal)
        ),
        "error_vs_float_masked": None,
    }
    if one.floats is not None:
        truth = reference.attention(*one.floats, result.mask, settings.causal)
        distance["error_vs_float_masked"] = reference.relative_error(one.output(plain.output), truth)
    return distance
