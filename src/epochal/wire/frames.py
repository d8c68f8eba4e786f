"""EPF1: a few arrays and a JSON header in one body, which a browser can view without copying.

b"EPF1", the header's length as little-endian u32, the header as UTF-8 JSON padded with spaces so that what follows
starts at a multiple of 8, then the arrays the header lists, little-endian and C-ordered, each padded to 8 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from epochal.errors import DamagedError

__all__ = ["MEDIA_TYPE", "decode", "encode"]

MEDIA_TYPE = "application/vnd.epochal.frames"

_MAGIC = b"EPF1"
_START = len(_MAGIC) + 4
_DTYPES = {name: np.dtype(f"<{name}") for name in ("f4", "f8", "u1", "u4", "i8")}


def encode(header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Pack `arrays` (float32, float64, uint8, uint32 or int64) behind `header`; NaN in the header becomes null."""
    listed = []
    parts: list[bytes | memoryview] = []
    for name, array in arrays.items():
        code = array.dtype.kind + str(array.dtype.itemsize)
        if code not in _DTYPES:
            raise TypeError(f"array {name!r} of {array.dtype} cannot be packed: use one of {', '.join(_DTYPES)}")
        little = np.ascontiguousarray(array, dtype=_DTYPES[code])
        listed.append({"name": name, "dtype": code, "shape": list(array.shape)})
        parts += [little.reshape(-1).view(np.uint8).data, bytes(-little.nbytes % 8)]
    text = orjson.dumps({"arrays": listed, **header})
    text += b" " * (-(_START + len(text)) % 8)
    return b"".join([_MAGIC, struct.pack("<I", len(text)), text, *parts])


def decode(body: bytes | memoryview) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """The header and the arrays (views of `body`, read-only) of a container; DamagedError when it is not one."""
    view = memoryview(body)
    if len(view) < _START or view[: len(_MAGIC)] != _MAGIC:
        raise DamagedError("these bytes are not an EPF1 container: they do not begin with 'EPF1'")
    (length,) = struct.unpack_from("<I", view, len(_MAGIC))
    offset = _START + length
    try:
        header = orjson.loads(view[_START:offset])
        arrays: dict[str, npt.NDArray[Any]] = {}
        for item in header["arrays"]:
            dtype, shape = _DTYPES[item["dtype"]], tuple(item["shape"])
            count = int(np.prod(shape, dtype=np.int64))
            arrays[item["name"]] = np.frombuffer(view, dtype, count, offset).reshape(shape)
            offset += -(-count * dtype.itemsize // 8) * 8
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"this EPF1 container is damaged: {error}") from error
    return header, arrays
