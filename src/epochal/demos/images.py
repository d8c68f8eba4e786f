"""Handwritten digits to classify: MNIST from a file, a cache or a mirror, else the small digits of scikit-learn."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from epochal.demos.tables import Part, Split
from epochal.errors import EpochalError, MissingExtraError, UsageError

__all__ = ["MIRRORS", "Images", "Mirror", "cache_folder", "find_mnist", "load_npz", "small_digits", "split_images"]

Pixels = npt.NDArray[np.uint8]
Say = Callable[[str], None]

VALIDATION = 10_000
LARGEST_FILE = 256 << 20
_KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Where a data set may be had: addresses with the SHA-256 of what must come from each.

    One address is an `.npz` of Keras' kind; four are gzipped IDX files: training images and labels, test images and
    labels.
    """

    files: tuple[tuple[str, str], ...]


_IDX = (
    ("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    ("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    ("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    ("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)

MIRRORS = (
    Mirror(
        files=(
            (
                "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
                "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
            ),
        )
    ),
    *(
        Mirror(files=tuple((f"https://{place}/{name}", digest) for name, digest in _IDX))
        for place in ("ossci-datasets.s3.amazonaws.com/mnist", "storage.googleapis.com/cvdf-datasets/mnist")
    ),
)
"""Public mirrors of MNIST, asked in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Pictures with their classes: `training` and `test` are [N, H, W] with labels [N]; `largest` is white."""

    name: str
    source: str
    training: tuple[Pixels, npt.NDArray[np.int64]]
    test: tuple[Pixels, npt.NDArray[np.int64]]
    classes: tuple[str, ...]
    largest: float = 255.0


def find_mnist(
    path: str | os.PathLike[str] | None = None,
    *,
    say: Say = lambda _: None,
    mirrors: Sequence[Mirror] = MIRRORS,
    cache: Path | None = None,
) -> Images:
    """MNIST from the file `path`; else from `$EPOCHAL_DATA/mnist.npz`, the user's cache, or a mirror.

    Where it is nowhere to be had, `say` is told why and the small digits of scikit-learn come instead. Raises
    UsageError for a `path` that cannot be read.
    """
    if path is not None:
        return load_npz(Path(path))
    given = os.environ.get("EPOCHAL_DATA")
    if given and (there := Path(given) / "mnist.npz").is_file():
        return load_npz(there)
    kept = (cache or cache_folder()) / "mnist.npz"
    if kept.is_file():
        with contextlib.suppress(UsageError):  # a cache that was cut short is fetched anew
            return load_npz(kept)
    try:
        fetch(mirrors, kept, say)
        return load_npz(kept)
    except EpochalError as error:
        say(f"{error.message} The small digits of scikit-learn (8 × 8) are taken instead; {error.hint}")
    return small_digits()


def load_npz(path: Path) -> Images:
    """MNIST, or another set of its kind, from a file with `x_train`, `y_train`, `x_test` and `y_test`, as Keras has it.

    Pictures are [N, H, W] of bytes. Nothing in the file is run.
    """
    if not path.is_file():
        raise UsageError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}.", hint=_KIND)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > 4 * LARGEST_FILE:
                raise UsageError(f"{path} is too large for a demo.", hint=_KIND)
        with np.load(path, allow_pickle=False) as file:
            if missing := [key for key in _KEYS if key not in file.files]:
                raise UsageError(f"{path} has no array {missing[0]!r}.", hint=_KIND)
            x_train, y_train, x_test, y_test = (np.asarray(file[key]) for key in _KEYS)
    except UsageError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint=_KIND) from error
    return _checked(str(path), x_train, y_train, x_test, y_test)


def small_digits() -> Images:
    """The 1,797 digits of 8 x 8 pixels that come with scikit-learn; every fifth is for the test."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingExtraError(
            "There are no digits to learn: MNIST was not found, and scikit-learn is not installed.",
            hint="Name a file with --data mnist.npz, or install `pip install 'epochal[sklearn]'`.",
        ) from error
    found: Any = datasets.load_digits()
    pixels, labels = found.images.astype(np.uint8), found.target.astype(np.int64)
    tested = np.arange(len(labels)) % 5 == 4
    return Images(
        name="digits",
        source="scikit-learn",
        training=(pixels[~tested], labels[~tested]),
        test=(pixels[tested], labels[tested]),
        classes=tuple(str(i) for i in range(10)),
        largest=16.0,
    )


def split_images(images: Images) -> Split:
    """Training, validation and test: of 60,000 training pictures the last 10,000 validate, as in Nielsen's book.

    Of smaller sets a sixth does. Sets that lie sorted by class are shuffled first, always in the same way. Pixels are
    brought to 0..1.
    """
    (pixels, labels), (tests, truths) = images.training, images.test
    if (np.diff(labels) >= 0).all():
        order = np.random.default_rng(0).permutation(len(labels))
        pixels, labels = pixels[order], labels[order]
    held = VALIDATION if len(labels) >= 6 * VALIDATION else len(labels) // 6

    def part(x: Pixels, y: npt.NDArray[np.int64]) -> Part:
        return Part(features=x.astype(np.float32) / np.float32(images.largest), labels=y)

    return Split(
        training=part(pixels[:-held], labels[:-held]),
        validation=part(pixels[-held:], labels[-held:]),
        test=part(tests, truths),
    )


def fetch(mirrors: Sequence[Mirror], target: Path, say: Say) -> None:
    """Download MNIST into `target`, an `.npz`; every file is held against its hash before it is read.

    Raises UsageError, naming what went wrong at each mirror, where none has it.
    """
    problems: list[str] = []
    for mirror in mirrors:
        host = urlsplit(mirror.files[0][0]).netloc
        try:
            say(f"Downloading MNIST from {host} ...")
            content = [_download(address, digest) for address, digest in mirror.files]
            if len(content) == 1:
                _keep(target, content[0])
            else:
                _keep(target, _packed(content))
            return
        except (OSError, ValueError) as error:
            problems.append(f"{host}: {getattr(error, 'reason', error)}")
    raise UsageError(
        f"MNIST could not be downloaded ({'; '.join(problems) or 'no mirror is known'}).",
        hint="name a file of your own with --data mnist.npz.",
    )


def cache_folder() -> Path:
    """Where this user's programs keep what can be had again."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "epochal"


def _download(address: str, digest: str) -> bytes:
    request = urllib.request.Request(address, headers={"User-Agent": "epochal"})  # noqa: S310 - from a list of ours
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            data: bytes = answer.read(LARGEST_FILE + 1)
    except HTTPError as error:
        error.close()
        raise ValueError(f"it answers {error.code}") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"what came is not the file that is known (its SHA-256 differs, {len(data):,} bytes)")
    return data


def _packed(files: Sequence[bytes]) -> bytes:
    """Four gzipped IDX files as one `.npz`."""
    with tempfile.TemporaryFile() as file:
        arrays = [_idx(gzip.decompress(data)) for data in files]
        np.savez_compressed(file, **dict(zip(_KEYS, arrays, strict=True)))  # type: ignore[arg-type]
        file.seek(0)
        return file.read()


def _idx(data: bytes) -> Pixels:
    """Bytes of an IDX file: two zeros, type 8 (unsigned bytes), how many axes, their lengths, the numbers."""
    if data[:3] != b"\0\0\x08":
        raise ValueError("this is no IDX file of bytes")
    axes = data[3]
    shape = np.frombuffer(data, ">u4", axes, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape.astype(int))


def _keep(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _checked(
    where: str, x_train: npt.NDArray[Any], y_train: npt.NDArray[Any], x_test: npt.NDArray[Any], y_test: npt.NDArray[Any]
) -> Images:
    for x, y, word in ((x_train, y_train, "train"), (x_test, y_test, "test")):
        if x.ndim != 3 or x.dtype != np.uint8 or y.shape != x.shape[:1] or y.dtype.kind not in "iu" or len(x) < 6:
            raise UsageError(
                f"{where}: x_{word} is {list(x.shape)} {x.dtype}, y_{word} {list(y.shape)} {y.dtype}.", hint=_KIND
            )
    classes = int(max(y_train.max(), y_test.max())) + 1
    if x_train.shape[1:] != x_test.shape[1:] or min(y_train.min(), y_test.min()) < 0 or not 2 <= classes <= 200:
        raise UsageError(f"{where}: training and test are not of one kind.", hint=_KIND)
    return Images(
        name="mnist",
        source=where,
        training=(x_train, y_train.astype(np.int64)),
        test=(x_test, y_test.astype(np.int64)),
        classes=tuple(str(i) for i in range(classes)),
    )


_KIND = "An .npz as Keras has it: x_train [N, 28, 28] and x_test of bytes, y_train [N] and y_test of classes."
