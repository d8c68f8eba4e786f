"""Examples of any shape from files: the `.h5` of 3D MNIST, and `.npz` files with arrays of the same names."""

from __future__ import annotations

import difflib
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import MissingExtraError, UsageError

__all__ = ["Block", "Volumes", "load_volumes", "save_volumes", "split_volumes", "whole"]

Array = npt.NDArray[Any]

LARGEST_BYTES = 4 << 30
"""More numbers than this in one array are not read into memory."""
MOST_CLASSES = 10_000
LEAST_EXAMPLES = 6
KEYS = ("X_train", "y_train", "X_test", "y_test")
_KIND = "An .h5 or .npz file with X_train [n, ...], y_train [n], X_test and y_test; the test part may be left out."


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One part of the examples: `features` [n, ...] and `labels` [n] (classes as int64, or float32 to be met)."""

    features: Array
    labels: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """Examples in three parts, each of the shape `shape`; a network takes `features / largest`.

    `classes` names the classes, and is empty where labels are numbers to be met. `test` may be missing.
    """

    name: str
    source: str
    training: Block
    validation: Block
    test: Block | None
    classes: tuple[str, ...]
    largest: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return self.training.features.shape[1:]


def load_volumes(path: Path, *, validation: float | None = None) -> Volumes:
    """Examples from an `.h5` file (with h5py) or an `.npz` file: X_train [n, ...], y_train [n], X_test and y_test.

    Vectors [n, 4096] of an `.h5` file are cubes of 16 x 16 x 16, as those of 3D MNIST are. Capital letters in the names
    do not matter, and `X_test` may be missing. Labels are whole numbers (or floats that are whole), or in any other
    case numbers to be met. Of the training part a sixth validates, or the share `validation`. Nothing in the file is
    run. Raises UsageError where it cannot be read or its arrays do not fit, MissingExtraError without h5py.
    """
    if not path.is_file():
        raise UsageError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}.", hint=_KIND)
    readers = {".h5": _h5, ".hdf5": _h5, ".npz": _npz}
    if path.suffix.lower() not in readers:
        raise UsageError(f"{path.name} is neither an .h5 nor an .npz file.", hint=_KIND)
    arrays = readers[path.suffix.lower()](path)
    x_train, y_train = _part(path, "train", arrays)
    test = _part(path, "test", arrays) if "x_test" in arrays or "y_test" in arrays else None
    if path.suffix.lower() != ".npz":
        x_train = _cubes(x_train)
        test = (_cubes(test[0]), test[1]) if test else None
    if test and test[0].shape[1:] != x_train.shape[1:]:
        raise UsageError(
            f"{path}: examples of X_train are {list(x_train.shape[1:])}, those of X_test {list(test[0].shape[1:])}.",
            hint=_KIND,
        )
    y_train, y_test, classes = _classes(path, y_train, test[1] if test else None)
    return split_volumes(
        name=path.stem,
        source=str(path),
        training=(x_train, y_train),
        test=(test[0], y_test) if test and y_test is not None else None,
        classes=classes,
        largest=255.0 if x_train.dtype == np.uint8 and x_train.max() > 1 else 1.0,
        validation=validation,
    )


def split_volumes(
    *,
    name: str,
    source: str,
    training: tuple[Array, Array],
    test: tuple[Array, Array] | None,
    classes: tuple[str, ...],
    largest: float,
    validation: float | None = None,
) -> Volumes:
    """The same with the last sixth of the training part, or the share `validation`, held back to validate.

    The last ones, and not any: copies of one example that lie beside each other, as in 3D MNIST, stay on one side.
    Examples that lie sorted by class are mixed first, always in the same way.
    """
    features, labels = training
    if validation is not None and not 0 < validation < 1:
        raise UsageError(f"The validation part must be a share between 0 and 1; it is {validation!r}.")
    if classes and (np.diff(labels) >= 0).all():
        order = np.random.default_rng(0).permutation(len(labels))
        features, labels = features[order], labels[order]
    held = len(labels) // 6 if validation is None else round(len(labels) * validation)
    # An even number, so that an example and its copy are not parted.
    held = min(max(held + held % 2, 1), len(labels) - 1)
    return Volumes(
        name=name,
        source=source,
        training=Block(features=features[:-held], labels=labels[:-held]),
        validation=Block(features=features[-held:], labels=labels[-held:]),
        test=Block(features=test[0], labels=test[1]) if test else None,
        classes=classes,
        largest=largest,
    )


def save_volumes(data: Volumes, path: Path) -> Path:
    """Write an `.npz` file that `load_volumes` reads, training and validation part in one; return its path."""
    arrays = {
        "X_train": np.concatenate([data.training.features, data.validation.features]),
        "y_train": np.concatenate([data.training.labels, data.validation.labels]),
    }
    if data.test is not None:
        arrays |= {"X_test": data.test.features, "y_test": data.test.labels}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.tmp.npz")
    try:
        np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def whole(what: str, value: object, least: int, most: int) -> int:
    """The value, if it is a whole number in the bounds; UsageError else."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"{what} must be a whole number from {least:,} to {most:,}; it is {value!r}.")
    return value


def _npz(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as archive:
            if max((info.file_size for info in archive.infolist()), default=0) > LARGEST_BYTES:
                raise UsageError(f"{path} is too large: an array takes more than {LARGEST_BYTES >> 30} GiB.")
        with np.load(path, allow_pickle=False) as file:
            return {key: np.asarray(file[name]) for key, name in _found(path, file.files).items()}
    except UsageError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint=_KIND) from error


def _h5(path: Path) -> dict[str, Array]:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f"Reading {path.name} needs h5py.", hint="Install it with `pip install 'epochal[h5]'`."
        ) from error
    try:
        with h5py.File(path, "r") as file:
            return {key: _dataset(h5py, path, file, name) for key, name in _found(path, file).items()}
    except UsageError:
        raise
    # h5py tells of damage in whatever way its C library met it.
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError, OverflowError) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint=_KIND) from error


def _dataset(h5py: Any, path: Path, file: Any, name: str) -> Array:
    """One array of an .h5 file, if all its numbers lie in this very file and there are not too many."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise UsageError(f"{path}: {name} is a link to somewhere else, which is not followed.", hint=_KIND)
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise UsageError(f"{path}: {name} is a group, not an array.", hint=_KIND)
    if found.is_virtual or found.external:
        raise UsageError(f"{path}: the numbers of {name} lie in another file, which is not opened.", hint=_KIND)
    if found.dtype.kind not in "biuf":
        raise UsageError(f"{path}: {name} holds {found.dtype}, not numbers.", hint=_KIND)
    # What a file says of its size costs it nothing; what is read takes memory.
    if found.size is None or found.size * found.dtype.itemsize > LARGEST_BYTES:
        raise UsageError(
            f"{path}: {name} is {list(found.shape or ())} {found.dtype}, more than {LARGEST_BYTES >> 30} GiB.",
            hint=_KIND,
        )
    return np.asarray(found[()])


def _found(path: Path, names: Iterable[str]) -> dict[str, str]:
    """The names of the arrays that are wanted, by their usual names in small letters."""
    there = {name.lower(): name for name in names}
    if missing := [key for key in KEYS[:2] if key.lower() not in there]:
        near = difflib.get_close_matches(missing[0], there.values(), 1, 0.5)
        meant = f"Did you mean {near[0]!r}? " if near else ""
        listed = ", ".join(sorted(there.values())[:12]) or "nothing"
        raise UsageError(f"{path} has no array {missing[0]!r}; it has {listed}.", hint=meant + _KIND)
    return {key.lower(): there[key.lower()] for key in KEYS if key.lower() in there}


def _part(path: Path, word: str, arrays: Mapping[str, Array]) -> tuple[Array, Array]:
    for key in (f"x_{word}", f"y_{word}"):
        if key not in arrays:
            raise UsageError(f"{path} has no array {key.replace('x', 'X')!r}.", hint=_KIND)
    x, y = arrays[f"x_{word}"], arrays[f"y_{word}"]
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if x.ndim < 2 or x.dtype.kind not in "biuf" or y.shape != x.shape[:1] or y.dtype.kind not in "biuf" or 0 in x.shape:
        raise UsageError(
            f"{path}: X_{word} is {list(x.shape)} {x.dtype}, y_{word} {list(y.shape)} {y.dtype}.", hint=_KIND
        )
    if word == "train" and len(x) < LEAST_EXAMPLES:
        raise UsageError(f"{path}: {len(x)} examples are too few to learn from.", hint=_KIND)
    x = x.astype(np.uint8) if x.dtype == np.bool_ else x if x.dtype == np.uint8 else x.astype(np.float32)
    bad = 0 if x.dtype.kind != "f" else int(x.size - np.count_nonzero(np.isfinite(x)))
    if bad or not np.isfinite(y).all():
        what = f"X_{word} has {bad:,} numbers that are" if bad else f"y_{word} has labels that are"
        raise UsageError(f"{path}: {what} NaN or infinite.", hint=_KIND)
    return x, y


def _cubes(x: Array) -> Array:
    """Vectors as cubes, where their length is that of one with a side of at least 8."""
    if x.ndim != 2:
        return x
    side = round(x.shape[1] ** (1 / 3))
    return x.reshape(len(x), side, side, side) if side >= 8 and side**3 == x.shape[1] else x


def _classes(path: Path, y_train: Array, y_test: Array | None) -> tuple[Array, Array | None, tuple[str, ...]]:
    """Labels as classes, with the names of these; or as numbers to be met, without."""
    both = y_train if y_test is None else np.concatenate([y_train, y_test])
    if both.dtype.kind == "f" and not (both == np.round(both)).all():
        return y_train.astype(np.float32), None if y_test is None else y_test.astype(np.float32), ()
    lo, hi = both.min(), both.max()
    if lo < 0 or hi >= MOST_CLASSES or hi < 1:
        raise UsageError(
            f"{path}: labels are {lo:g} to {hi:g}; classes are 0, 1, 2, ... (at most {MOST_CLASSES:,} of them).",
            hint=_KIND,
        )
    classes = tuple(str(i) for i in range(int(hi) + 1))
    return y_train.astype(np.int64), None if y_test is None else y_test.astype(np.int64), classes
