"""Reading the values of Keras variables into memory that lies ready: those that can be seen as numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.record.probe import Bytes, TensorFact

__all__ = ["CODES", "bind", "copy"]

CODES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64",
    "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL", "complex64": "C64",
}  # fmt: skip
"""Keras' names of element types as safetensors spells them."""
# Numbers that numpy does not know are copied as what they are made of.
_TYPES = {code: np.dtype(name) for name, code in CODES.items() if "8_e" not in name and name != "bfloat16"} | {
    "BF16": np.dtype("u2"), "F8_E4M3": np.dtype("u1"), "F8_E5M2": np.dtype("u1"),
}  # fmt: skip


def bind(places: Sequence[Bytes], facts: Sequence[TensorFact]) -> list[npt.NDArray[Any]]:
    """Arrays over the given memory, shaped as the facts say."""
    return [place.view(_TYPES[f.code]).reshape(f.shape) for place, f in zip(places, facts, strict=True)]


def copy(targets: Sequence[npt.NDArray[Any]], sources: Sequence[Any]) -> None:
    """Copy arrays, each into the one of its shape and type."""
    for target, source in zip(targets, sources, strict=True):
        array = np.asarray(source)
        if array.dtype != target.dtype and array.dtype.itemsize == target.dtype.itemsize:
            array = array.view(target.dtype)
        target[...] = array
