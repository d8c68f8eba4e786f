"""Photos: sample ones, files, and how a network takes them. A file is data from elsewhere and may be hostile."""

from __future__ import annotations

import importlib.util
import io
import math
import os
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from epochal.errors import DamagedError, MissingExtraError, NotFoundError, UsageError
from epochal.network import Network, Preparation
from epochal.network.elsewhere import read_arrays

__all__ = [
    "SAMPLES",
    "Photo",
    "open_photo",
    "picture_shape",
    "preparation_of",
    "prepare",
    "read_input",
    "read_inputs",
    "read_labels",
    "read_photo",
]

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]

SAMPLES = {
    "chelsea": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}
"""Name -> the package that brings the photo, and where it lies there."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
"""No format that another program draws (EPS), and none whose readers are seldom used."""
MOST_BYTES = 64 << 20
MOST_PIXELS = 64_000_000
_AROUND = 8
"""A photo is cut before it is enlarged where it is so many times as long as what is kept of it."""
_MOST_DATA = 8 << 30
_INPUTS = ("x", "images", "inputs", "x_test", "data")
_LABELS = ("y", "labels", "targets", "y_test", "label")
_BROKEN = (OSError, EOFError, ValueError, SyntaxError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError,
           struct.error, zlib.error, MemoryError)  # fmt: skip
"""What Pillow and numpy raise for files that are broken."""
_PACKAGES = {"skimage": "scikit-image", "sklearn": "scikit-learn"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Photo:
    """A photo as a network takes it.

    `array` is the input [C, H, W] (or whatever shape one example has), `pixels` [H, W, 3] uint8 what people see of it,
    None where the array came as it is. `notes` say what was assumed.
    """

    name: str
    array: Array
    pixels: Pixels | None
    notes: tuple[str, ...] = ()


def open_photo(source: str | os.PathLike[str], network: Network) -> Photo:
    """A sample photo by name, a picture file, or an `.npy` file that holds one input, as the network takes it."""
    text = os.fspath(source)
    if text.lower().endswith(".npy"):
        array, shape = _read_array(Path(text)), network.input_shape
        if shape is not None and array.shape != shape:
            if math.prod(array.shape) != math.prod(shape):
                raise UsageError(f"{Path(text).name} is {list(array.shape)}; the network takes {list(shape)}.")
            array = array.reshape(shape)
        return Photo(name=Path(text).stem, array=array, pixels=None)
    pixels = read_photo(text)
    preparation, notes = preparation_of(network)
    array, shown = prepare(pixels, preparation)
    shape = network.input_shape
    name = text if text in SAMPLES else Path(text).stem
    return Photo(name=name, array=array if shape is None else array.reshape(shape), pixels=shown, notes=notes)


def read_photo(source: str | os.PathLike[str] | bytes) -> Pixels:
    """The pixels [H, W, 3] uint8 of a sample photo by its name, of a picture file, or of a file's bytes.

    PNG, JPEG, WebP, BMP and GIF (its first frame) are read, turned as their camera was held; what is see-through is
    laid on white. Raises NotFoundError, UsageError for files that are too large or of another kind, and DamagedError.
    """
    if isinstance(source, bytes):
        return _decoded(source, "This file")
    text = os.fspath(source)
    path = _sample(text) if text in SAMPLES else Path(text)
    if not path.is_file():
        known = "" if path.suffix else f" Sample photos: {', '.join(SAMPLES)}."
        raise NotFoundError(f"There is no picture {text}.", hint=f"Name a file or a sample photo.{known}")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise UsageError(f"{path.name} has {size:,} bytes; pictures of up to {MOST_BYTES:,} are read.")
    return _decoded(path.read_bytes(), path.name)


def read_inputs(source: str | os.PathLike[str]) -> Array:
    """Inputs [N, ...] of an `.npy` or `.npz` file; of several arrays the one called x, images, inputs or x_test."""
    path = Path(source)
    if path.suffix.lower() == ".npz":
        arrays = read_arrays(path)
        if not arrays:
            raise UsageError(f"{path.name} holds no arrays.")
        found = next((arrays[name] for name in _INPUTS if name in arrays), next(iter(arrays.values())))
    else:
        found = _read_array(path, most=_MOST_DATA)
    if found.ndim < 2:
        raise UsageError(f"{path.name} is {list(found.shape)}: inputs are [N, ...].")
    return found


def read_labels(source: str | os.PathLike[str]) -> Array:
    """The classes [N] of the inputs of an `.npz` file: the array called y, labels, targets or y_test."""
    path = Path(source)
    arrays = read_arrays(path) if path.suffix.lower() == ".npz" else {}
    found = next((arrays[name] for name in _LABELS if name in arrays), None)
    if found is None:
        raise UsageError(f"{path.name} holds no classes.", hint="Give an .npz file with inputs as x and classes as y.")
    return found


def read_input(source: str | os.PathLike[str]) -> Array:
    """The one array of an `.npy` file."""
    return _read_array(Path(source))


def prepare(pixels: Pixels, preparation: Preparation) -> tuple[Array, Pixels]:
    """What the network takes of a photo, and the pixels [H, W, 3] that this is made from."""
    high, wide = preparation.size
    picture = Image.fromarray(pixels).convert("RGB")
    if preparation.shorter is None:
        whole = picture.size == (wide, high)
        picture = picture if whole else picture.resize((wide, high), Image.Resampling.BICUBIC)
    else:
        factor = max(preparation.shorter / min(picture.size), wide / picture.width, high / picture.height)
        picture = _middle(picture, (wide / factor, high / factor))
        size = (max(wide, round(picture.width * factor)), max(high, round(picture.height * factor)))
        picture = picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC)
        left, top = (picture.width - wide) // 2, (picture.height - high) // 2
        picture = picture.crop((left, top, left + wide, top + high))
    cut = np.array(picture)
    return preparation.input(cut), cut


def _middle(picture: Image.Image, kept: tuple[float, float]) -> Image.Image:
    """Of a long and thin photo the middle, around what is kept: enlarging all of it could take gigabytes."""
    sides = [min(side, math.ceil(part) * _AROUND) for side, part in zip(picture.size, kept, strict=True)]
    left, top = (picture.width - sides[0]) // 2, (picture.height - sides[1]) // 2
    whole = (sides[0], sides[1]) == picture.size
    return picture if whole else picture.crop((left, top, left + sides[0], top + sides[1]))


def preparation_of(network: Network) -> tuple[Preparation, tuple[str, ...]]:
    """How photos become inputs of a network, and what was assumed where it does not say so itself."""
    if network.preparation is not None:
        return network.preparation, ()
    shape = network.input_shape
    found = picture_shape(shape)
    if found is None:
        said = "any shape" if shape is None else list(shape)
        raise UsageError(
            f"The network takes {said}: photos do not fit it.",
            hint="Give the input itself as an .npy file, or in Python as an array.",
        )
    channels, high, wide = found
    shorter = min(high, wide) if high == wide else None
    note = "the network does not say how photos were prepared: colours go from 0 to 1"
    last = shape is not None and len(shape) == 3 and shape[0] != channels
    return Preparation(size=(high, wide), shorter=shorter, channels=channels, channels_last=last), (note,)


def picture_shape(shape: tuple[int, ...] | None) -> tuple[int, int, int] | None:
    """Channels, height and width of inputs of a shape; a flat one is a square picture where it can be."""
    if shape is None or not shape:
        return None
    if len(shape) == 3 and shape[0] in (1, 3):
        return shape[0], shape[1], shape[2]
    if len(shape) == 3 and shape[2] in (1, 3):  # as Keras takes them
        return shape[2], shape[0], shape[1]
    if len(shape) == 2:
        return 1, shape[0], shape[1]
    if len(shape) == 1:
        for channels in (1, 3):
            side = math.isqrt(shape[0] // channels)
            if side > 1 and side * side * channels == shape[0]:
                return channels, side, side
    return None


def _sample(name: str) -> Path:
    package, place = SAMPLES[name]
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise MissingExtraError(
            f"The photo {name!r} comes with {_PACKAGES[package]}, which is not installed.",
            hint="pip install 'epochal[pretrained]', or name a picture of your own.",
        )
    path = Path(found.origin).parent / place
    if not path.is_file():
        raise NotFoundError(f"This version of {_PACKAGES[package]} brings no photo {name!r}.")
    return path


def _decoded(data: bytes, name: str) -> Pixels:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures: their size is looked at here
            opened = Image.open(io.BytesIO(data), formats=FORMATS)
            wide, high = opened.size
            if wide * high > MOST_PIXELS or not (wide and high):
                raise UsageError(f"{name} has {wide:,} × {high:,} pixels; up to {MOST_PIXELS:,} are read.")
            opened.load()
            picture = ImageOps.exif_transpose(opened)
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                clear = picture.convert("RGBA")
                picture = Image.new("RGBA", clear.size, "white")
                picture.alpha_composite(clear)
            elif picture.mode.startswith("I"):
                # Sixteen bits a pixel: Pillow's own conversion would cut them off at 255.
                picture = Image.fromarray((np.clip(np.asarray(picture), 0, 65535) / 257).round().astype(np.uint8))
            return np.array(picture.convert("RGB"))
    except UsageError:
        raise
    except Image.DecompressionBombError:  # Pillow's own limit, raised before the size can be read
        raise UsageError(f"{name} has too many pixels; up to {MOST_PIXELS:,} are read.") from None
    except UnidentifiedImageError:
        raise UsageError(
            f"{name} is no picture that is read here.", hint=f"Use one of: {', '.join(FORMATS)}."
        ) from None
    except _BROKEN as error:
        raise DamagedError(f"{name} cannot be read as a picture: {type(error).__name__}: {error}") from error


def _read_array(path: Path, most: int = MOST_BYTES) -> Array:
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.")
    if path.stat().st_size > most:
        raise UsageError(f"{path.name} has {path.stat().st_size:,} bytes; up to {most:,} are read.")
    try:
        # Mapped, so that a header that promises more than the file holds takes no memory.
        array = np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except _BROKEN as error:
        raise DamagedError(f"{path.name} cannot be read as an array: {error}") from error
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{path.name} is {array.dtype}, not numbers.")
    return array.astype(np.float32) if array.dtype.kind == "f" else array
