"""Things in space: voxels, points, solid objects."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.record.media.arrays import as_array
from epochal.record.media.sources import read_source
from epochal.record.media.value import Encoded, Value
from epochal.store.safetensors import pack_tensors

__all__ = ["Object3D", "PointCloud", "Voxels"]

_FILES = ("glb", "gltf", "obj", "ply", "stl")
Arrays = dict[str, npt.NDArray[Any]]


class _Tensors(Value):
    """A value that is some arrays, kept as a safetensors file."""

    __slots__ = ("_arrays", "_meta")

    _arrays: Arrays
    _meta: dict[str, Any]

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        return sum(array.nbytes for array in self._arrays.values())

    def encode(self) -> Encoded:
        """A safetensors file."""
        data = pack_tensors(self._arrays, metadata={"kind": self.kind})
        return Encoded(data=data, extension="safetensors", meta=self._meta)


class Voxels(_Tensors):
    """A block of values [D, H, W], or of 1, 3 or 4 channels [D, H, W, C]; what lies above `threshold` is solid.

    bool and uint8 are kept as they are, other numbers as float32.
    """

    __slots__ = ()

    kind = "voxels"

    def __init__(self, array: object, *, threshold: float | None = None, caption: str = "") -> None:
        super().__init__(caption)
        values = as_array(array, "voxels")
        if values.ndim not in (3, 4) or 0 in values.shape or (values.ndim == 4 and values.shape[3] not in (1, 3, 4)):
            raise UsageError(f"voxels have the shape [D, H, W] or [D, H, W, C], this array has {values.shape}")
        kept = values if values.dtype in (np.bool_, np.uint8) else values.astype(np.float32)
        if threshold is not None and not np.isfinite(threshold):
            raise UsageError(f"threshold is {threshold!r}", hint="give a number")
        lo, hi, odd = _extent(kept)
        self._arrays = {"voxels": kept}
        self._meta = {"shape": list(kept.shape), "dtype": str(kept.dtype), "low": lo, "high": hi, "nonfinite": odd}
        if threshold is not None:
            self._meta["threshold"] = float(threshold)


class PointCloud(_Tensors):
    """Points `xyz` [N, 3], with `colors` [N, 3] or [N, 4] (uint8, or floats from 0 to 1) and `labels` [N] if given."""

    __slots__ = ()

    kind = "points"

    def __init__(self, xyz: object, *, colors: object = None, labels: object = None, caption: str = "") -> None:
        super().__init__(caption)
        points = as_array(xyz, "points")
        if points.ndim != 2 or points.shape[1] != 3:
            raise UsageError(f"points have the shape [N, 3], this array has {points.shape}")
        self._arrays = {"points": points.astype(np.float32)}
        self._meta = {"points": len(points), **_bounds(self._arrays["points"])}
        if colors is not None:
            self._arrays["colors"] = _colours(colors, len(points))
        if labels is not None:
            found, names = label_numbers(labels, len(points), "labels of points")
            self._arrays["labels"] = found
            if names:
                self._meta["classes"] = names


class Object3D(_Tensors):
    """A solid object: `vertices` [N, 3] and triangles `faces` [M, 3] of their numbers, or a path to a file.

    `colors` [N, 3] or [N, 4] are those of the vertices. Files may be .obj, .glb, .gltf, .stl or .ply; they are kept as
    they are.
    """

    __slots__ = ("_bytes", "_extension")

    kind = "object3d"

    def __init__(self, vertices: object, faces: object = None, *, colors: object = None, caption: str = "") -> None:
        super().__init__(caption)
        self._bytes, self._extension = b"", ""
        self._arrays, self._meta = {}, {}
        if isinstance(vertices, str | os.PathLike):
            self._bytes, self._extension = read_source(vertices, "an object")
            if self._extension not in _FILES:
                raise UsageError(
                    f"{str(vertices)!r} is no file of an object",
                    hint=f"it ends in {', '.join('.' + f for f in _FILES)}",
                )
            if not self._bytes:
                raise UsageError(f"{str(vertices)!r} is empty")
            return
        points = as_array(vertices, "vertices")
        if points.ndim != 2 or points.shape[1] != 3:
            raise UsageError(f"vertices have the shape [N, 3], this array has {points.shape}")
        self._arrays["vertices"] = points.astype(np.float32)
        self._meta = {"vertices": len(points), "faces": 0, **_bounds(self._arrays["vertices"])}
        if faces is not None:
            corners = as_array(faces, "faces")
            if corners.ndim != 2 or corners.shape[1] != 3 or corners.dtype.kind not in "iu":
                raise UsageError(
                    f"faces are whole numbers of the shape [M, 3], this is {corners.dtype} {corners.shape}"
                )
            if corners.size and not 0 <= int(corners.min()) <= int(corners.max()) < len(points):
                raise UsageError(f"faces name vertices {corners.min()} to {corners.max()}, there are {len(points)}")
            self._arrays["faces"] = corners.astype(np.int32)
            self._meta["faces"] = len(corners)
        if colors is not None:
            self._arrays["colors"] = _colours(colors, len(points))

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        return len(self._bytes) + sum(array.nbytes for array in self._arrays.values())

    def encode(self) -> Encoded:
        """A safetensors file with `vertices`, `faces` and `colors`, or the file as it was given."""
        if self._bytes:
            return Encoded(data=self._bytes, extension=self._extension)
        data = pack_tensors(self._arrays, metadata={"kind": self.kind})
        return Encoded(data=data, extension="safetensors", meta=self._meta)


def _extent(values: npt.NDArray[Any]) -> tuple[float | None, float | None, int]:
    """Smallest and largest finite value, and how many are not finite."""
    finite = np.isfinite(values)
    if not finite.any():
        return None, None, int(values.size)
    some = values if finite.all() else values[finite]
    return float(some.min()), float(some.max()), int(values.size - np.count_nonzero(finite))


def _bounds(points: npt.NDArray[np.float32]) -> dict[str, Any]:
    """The box around the finite points, and how many points are not finite."""
    good = points[np.isfinite(points).all(axis=1)]
    facts: dict[str, Any] = {"nonfinite": len(points) - len(good)}
    if len(good):
        facts |= {"low": good.min(axis=0).tolist(), "high": good.max(axis=0).tolist()}
    return facts


def _colours(colors: object, count: int) -> npt.NDArray[np.uint8]:
    found = as_array(colors, "colors")
    if found.ndim != 2 or found.shape[0] != count or found.shape[1] not in (3, 4):
        raise UsageError(f"colors have the shape [{count}, 3] or [{count}, 4], this array has {found.shape}")
    if found.dtype == np.uint8:
        return found
    if found.dtype.kind == "f" and bool(((found >= 0) & (found <= 1)).all()):
        return np.floor(found * 255 + 0.5).astype(np.uint8)
    if found.dtype.kind in "iu" and (not found.size or (int(found.min()) >= 0 and int(found.max()) <= 255)):
        return found.astype(np.uint8)
    raise UsageError(f"colors of {found.dtype} are out of range", hint="give uint8, or floats from 0 to 1")


def label_numbers(labels: object, count: int, what: str) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Labels [N] as numbers, and the names of the numbers where labels were texts; UsageError where they do not fit."""
    plain = labels.tolist() if isinstance(labels, np.ndarray) and labels.dtype.kind in "OUS" else labels
    if isinstance(plain, list | tuple) and plain and all(isinstance(one, str) for one in plain):
        names = sorted(set(plain))
        place = {name: i for i, name in enumerate(names)}
        found = np.array([place[one] for one in plain], np.int64)
    else:
        names = []
        array = as_array(labels, what)
        if array.dtype.kind == "f" and not bool((np.isfinite(array) & (array == np.floor(array))).all()):
            raise UsageError(f"{what} are not whole", hint="give the number or the name of each one's class")
        found = array.astype(np.int64)
        found = found.reshape(-1) if found.shape == (count, 1) else found
    if found.shape != (count,):
        raise UsageError(f"{what} have shape {found.shape}, expected one for each of {count}")
    return found, names
