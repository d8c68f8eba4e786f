"""Snapshots as safetensors files, written and read by hand: an 8-byte length, a JSON header, the raw numbers.

numpy has no bfloat16 and no 8-bit floats. Written: hand such a tensor over as `RawTensor`. Read: bfloat16 comes back as
float32 with exactly the same values; 8-bit floats come back as their bits (uint8).
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import DamagedError, NotFoundError, UsageError

__all__ = [
    "RawTensor",
    "SnapshotHeader",
    "TensorPlace",
    "pack_tensors",
    "read_file",
    "read_header",
    "read_tensor",
    "write_snapshot",
]

HEADER_LIMIT = 100_000_000
PARTS_PER_CALL = 512

_NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
    "C64": "<c8", "BF16": "<u2", "F8_E4M3": "|u1", "F8_E5M2": "|u1",
}  # fmt: skip
_WORDS = {np.dtype(v): k for k, v in reversed(list(_NUMPY.items())) if k not in ("BF16", "F8_E4M3", "F8_E5M2")}


@dataclass(frozen=True, slots=True)
class RawTensor:
    """A tensor as bytes: `dtype` in the words of safetensors (`BF16`), `data` its numbers in C order."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview | npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor lies in its file: type, shape, and the file offsets at which its bytes begin and end."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class SnapshotHeader:
    """The tensors of a snapshot by name, in the order written, and the step and epoch it was taken at.

    `metadata` holds all texts that the file says of itself.
    """

    step: int | None
    epoch: float | None
    tensors: Mapping[str, TensorPlace]
    metadata: Mapping[str, str] = field(default_factory=dict)


def write_snapshot(
    path: Path, tensors: Mapping[str, npt.NDArray[Any] | RawTensor], *, metadata: Mapping[str, str]
) -> int:
    """Write a snapshot in one piece (temporary file, then rename) and return its size in bytes.

    Raises OSError when the disk does not take it; nothing is left behind then.
    """
    head, parts = _pieces(tensors, metadata)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        try:
            _write_parts(fd, [memoryview(head), *parts])
        finally:
            os.close(fd)
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return len(head) + sum(part.nbytes for part in parts)


def pack_tensors(
    tensors: Mapping[str, npt.NDArray[Any] | RawTensor], *, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return the bytes of a safetensors file."""
    head, parts = _pieces(tensors, metadata or {})
    return b"".join([head, *parts])


def _pieces(
    tensors: Mapping[str, npt.NDArray[Any] | RawTensor], metadata: Mapping[str, str]
) -> tuple[bytes, list[memoryview]]:
    """The length and header that a file begins with, and the bytes of its tensors in the order they lie."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **metadata}}
    parts: list[memoryview] = []
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: -_item_size(item[1])):
        word, shape, data = _raw(name, tensor)
        header[name] = {"dtype": word, "shape": list(shape), "data_offsets": [at, at + data.nbytes]}
        parts.append(data)
        at += data.nbytes
    # Readers expect the names as they were given; the bytes lie with the widest types first to keep all aligned.
    text = json.dumps({"__metadata__": header.pop("__metadata__"), **{name: header[name] for name in tensors}})
    head = text.encode("utf-8")
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head, parts


def _item_size(tensor: npt.NDArray[Any] | RawTensor) -> int:
    return np.dtype(_NUMPY.get(tensor.dtype, "<f8")).itemsize if isinstance(tensor, RawTensor) else tensor.itemsize


def _raw(name: str, tensor: npt.NDArray[Any] | RawTensor) -> tuple[str, tuple[int, ...], memoryview]:
    if name == "__metadata__":
        raise UsageError("A tensor cannot be called '__metadata__': safetensors keeps that name")
    if isinstance(tensor, RawTensor):
        if tensor.dtype not in _NUMPY:
            raise UsageError(f"Tensor {name!r} has type {tensor.dtype!r}, expected one of {', '.join(_NUMPY)}")
        data = np.ascontiguousarray(np.frombuffer(tensor.data, np.uint8))
        expected = int(np.prod(tensor.shape, dtype=np.int64)) * np.dtype(_NUMPY[tensor.dtype]).itemsize
        if data.nbytes != expected:
            raise UsageError(f"Tensor {name!r} has {data.nbytes} bytes, its shape {tensor.shape} needs {expected}")
        return tensor.dtype, tensor.shape, data.data
    little = tensor.dtype.newbyteorder("<")
    if little not in _WORDS:
        raise UsageError(f"Tensor {name!r} has type {tensor.dtype}, which safetensors cannot hold")
    values = np.ascontiguousarray(tensor, little)
    return _WORDS[little], tensor.shape, values.reshape(-1).view(np.uint8).data


def _write_parts(fd: int, parts: list[memoryview]) -> None:
    """Write many buffers without joining them first."""
    parts = [p for p in parts if p.nbytes]
    at = 0
    while at < len(parts):
        several = hasattr(os, "writev")  # not on Windows
        written = os.writev(fd, parts[at : at + PARTS_PER_CALL]) if several else os.write(fd, parts[at])
        while at < len(parts) and written >= parts[at].nbytes:
            written -= parts[at].nbytes
            at += 1
        if written:
            parts[at] = parts[at][written:]


def read_header(path: Path) -> SnapshotHeader:
    """Return the header of a snapshot, every offset and the sum of all sizes checked against the file's.

    Raises FileNotFoundError, and DamagedError when the file is no safetensors file.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else HEADER_LIMIT + 1
        if length > min(HEADER_LIMIT, size - 8):
            raise _damaged(path, f"its header says {length:,} bytes, the file has {size:,}")
        text = file.read(length)
    try:
        entries = json.loads(text)
        metadata = entries.pop("__metadata__", {})
        tensors = {name: _place(entry, base=8 + length, size=size) for name, entry in entries.items()}
        step, epoch = metadata.get("step"), metadata.get("epoch")
        said = {str(key): str(value) for key, value in metadata.items()}
        if sum(place.end - place.begin for place in tensors.values()) > size:
            raise ValueError("its tensors lie over one another")  # and would grow in memory
        return SnapshotHeader(int(step) if step else None, float(epoch) if epoch else None, tensors, said)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise _damaged(path, f"its header is wrong ({error})") from None
    except RecursionError:
        raise _damaged(path, "its header is wrong (too deep)") from None


def read_file(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return all tensors of a safetensors file that anyone may have made.

    Raises DamagedError when it is none.
    """
    header = read_header(path)
    with path.open("rb") as file:
        return {name: read_tensor(file.fileno(), place) for name, place in header.tensors.items()}


def _place(entry: Mapping[str, Any], *, base: int, size: int) -> TensorPlace:
    begin, end = (base + int(o) for o in entry["data_offsets"])
    word, shape = str(entry["dtype"]), tuple(int(n) for n in entry["shape"])
    if word not in _NUMPY:
        raise ValueError(f"type {word!r} is not known")
    expected = int(np.prod(shape, dtype=object)) * np.dtype(_NUMPY[word]).itemsize
    if not base <= begin <= end <= size or end - begin != expected or any(n < 0 for n in shape):
        raise ValueError(f"a tensor of shape {shape} lies at {begin}..{end} of {size} bytes")
    return TensorPlace(word, shape, begin, end)


def _damaged(path: Path, why: str) -> DamagedError:
    return DamagedError(f"Snapshot {path.name} cannot be read: {why}", hint=f"it lies at {path}")


def read_tensor(fd: int, place: TensorPlace) -> npt.NDArray[Any]:
    """Return one tensor of an open snapshot: one `pread` of just its bytes, into a fresh array."""
    data = bytearray(place.end - place.begin)
    view, at = memoryview(data), 0
    while at < len(data):
        if hasattr(os, "preadv"):
            n = os.preadv(fd, [view[at:]], place.begin + at)
        else:
            os.lseek(fd, place.begin + at, os.SEEK_SET)
            chunk = os.read(fd, len(data) - at)
            n = len(chunk)
            view[at : at + n] = chunk
        if not n:
            raise DamagedError(f"A snapshot ends {len(data) - at} bytes before its tensor does")
        at += n
    values = np.frombuffer(data, _NUMPY[place.dtype])
    if place.dtype == "BF16":
        values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values.reshape(place.shape)


def find_tensor(header: SnapshotHeader, name: str) -> TensorPlace:
    """Return a tensor's place, or raise NotFoundError naming what there is."""
    if name in header.tensors:
        return header.tensors[name]
    known = ", ".join(list(header.tensors)[:8]) or "none"
    raise NotFoundError(f"The snapshot at step {header.step} has no tensor {name!r}", hint=f"it has: {known}")
