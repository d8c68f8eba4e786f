"""What the lens found, on the wire: in words, as numbers, and as a picture to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from epochal.errors import NotFoundError
from epochal.lens.attribution import Attribution
from epochal.lens.kernels import Filters
from epochal.lens.maps import FeatureMaps
from epochal.lens.methods import METHODS
from epochal.wire.frames import encode

if TYPE_CHECKING:
    from epochal.lens import TopExamples
    from epochal.lens.photos import Photo
    from epochal.picture import Progress

__all__ = ["drawn", "filmed", "packed", "said_of"]

Array = npt.NDArray[Any]

_MOST_MAPS = 256
_MOST_UNITS = 1024
_MOST_NUMBERS = 1 << 24
"""Of feature maps that are sent at once: 64 MB."""
_CUBES = (168, 168, 3)


def said_of(name: str, result: Any, seconds: float) -> dict[str, Any]:
    """A LensResultDocument: what a method found, in words and numbers."""
    if _is_check(result):
        return said_of(name, result.maps[-1], seconds) | {
            "caption": result.caption,
            "numbers": {"rank_correlation": _finite(result.correlation)},
        }
    target = getattr(result, "target", None)
    score = getattr(result, "score", None)
    return {
        "method": name,
        "kind": METHODS[name].kind,
        "layer": getattr(result, "layer", None),
        "target": target if isinstance(target, int) else None,
        "score": None if score is None else float(score),
        "signed": bool(getattr(result, "signed", False)),
        "places": getattr(result, "coarse", None) is not None,
        "units": str(getattr(result, "units", "")),
        "caption": result.caption,
        "notes": list(getattr(result, "notes", ())),
        "numbers": {key: _finite(value) for key, value in dict(getattr(result, "numbers", {})).items()},
        "what": str(getattr(result, "what", "")),
        "seconds": round(seconds, 4),
        "done": True,
    }


def packed(name: str, result: Any, picture: tuple[int, int] | None, *, unit: int | None = None) -> bytes:
    """An EPF1 container with a LensHeader: maps f4 [K, h, w], or pixels u1 [K, h, w, 3]; which channels they are.

    Maps of volumes are f4 [K, d, h, w].
    `picture` is height and width where the input is a picture whose map may lie flat.
    """
    if _is_check(result):
        return packed(name, result.maps[-1], picture)
    if METHODS[name].kind == "examples":
        return _packed_examples(name, result, unit)
    if isinstance(result, Attribution):
        values = np.asarray(result.map, np.float32)
        if values.ndim == 1 and picture is not None and values.size % (picture[0] * picture[1]) == 0:
            values = values.reshape(-1, *picture)
            values = values.sum(axis=0) if result.signed else values.max(axis=0)
        values = values if values.ndim in (2, 3) else values.reshape(1, -1)
        return encode({"method": name, "channels": [], "total": 1}, {"maps": values[None]})
    if isinstance(result, FeatureMaps):
        most = max(1, min(_MOST_MAPS, _MOST_NUMBERS * len(result.array) // max(1, result.array.size)))
        chosen = [int(c) for c in result.order[:most]]
        maps = result.array[chosen].astype(np.float32)
        maps = maps.reshape(len(chosen), *(maps.shape[1:] if maps.ndim in (3, 4) else (1, -1)))
        return encode({"method": name, "channels": chosen, "total": len(result.array)}, {"maps": maps})
    if isinstance(result, Filters):
        chosen = [int(i) for i in result.order[:_MOST_MAPS]]
        return encode(
            {"method": name, "channels": chosen, "total": len(result.array)}, {"pixels": result.pictures()[chosen]}
        )
    if (volume := getattr(result, "volume", None)) is not None:
        return encode({"method": name, "channels": [], "total": 1}, {"maps": volume.astype(np.float32)[None]})
    return encode({"method": name, "channels": [], "total": 1}, {"pixels": np.asarray(result.pixels, np.uint8)[None]})


def drawn(name: str, result: Any, photo: Array | None, *, title: str, caption: str, mode: str) -> bytes:
    """The same as a PNG picture with its title, scale and source, as `epochal lens` writes it."""
    from epochal.lens.showing import scene
    from epochal.picture import save

    with TemporaryDirectory(prefix="epochal-lens-") as folder:
        to = Path(folder) / "lens.png"
        seen = {name: [result]}
        if _is_check(result):
            seen = {name: [result.original], f"{name}, random weights": [result.maps[-1]]}
        save(scene(seen, photo, title=title, captions=[caption], mode=mode), to)
        return to.read_bytes()


def filmed(
    seen: Mapping[str, Sequence[Any]], photo: Photo | None, steps: Sequence[int], kind: str, *, fps: float, title: str,
    mode: str, progress: Progress | None = None,
) -> bytes:  # fmt: skip
    """What methods found step after step, as the bytes of a .gif, .mp4, .png or .html file."""
    from epochal.film.words import captions
    from epochal.lens.showing import scene
    from epochal.picture import MOVIE_FORMATS, save, write_flipbook

    drawn = scene(
        seen,
        None if photo is None else photo.pixels,
        title=title if photo is None else f"{photo.name} · {title}",
        captions=captions(steps),
        mode=mode,
        volume=photo.array if photo is not None and photo.pixels is None and photo.array.ndim == 4 else None,
        moving=kind in MOVIE_FORMATS or kind == "html",
    )
    with TemporaryDirectory(prefix="epochal-lens-") as folder:
        to = Path(folder) / f"film.{kind}"
        if kind == "html":
            write_flipbook(drawn, to, captions=drawn.captions, fps=fps, progress=progress)
        else:
            save(drawn, to, fps=fps, progress=progress)
        return to.read_bytes()


def _packed_examples(name: str, result: TopExamples, unit: int | None) -> bytes:
    """The crops of one unit, then what in each it answers to; smaller ones lie at the top left."""
    order = [int(one) for one in result.order]
    chosen = order[0] if unit is None else unit
    if not 0 <= chosen < len(order):
        raise NotFoundError(f"There is no unit {chosen} in {result.layer}: they go from 0 to {len(order) - 1}.")
    ranks = [rank for rank in range(result.k) if result.indices[chosen, rank] >= 0]
    tiles = [pixels for _, pixels in result.pictures(chosen)] + [_coloured(result, chosen, rank) for rank in ranks]
    high, wide = (max((tile.shape[axis] for tile in tiles), default=1) for axis in (0, 1))
    pixels = np.zeros((len(tiles), high, wide, 3), np.uint8)
    for place, tile in zip(pixels, tiles, strict=True):
        place[: tile.shape[0], : tile.shape[1]] = tile
    header = {
        "method": name,
        "channels": [int(result.indices[chosen, rank]) for rank in ranks],
        "total": len(order),
        "examples": {
            "unit": chosen,
            "units": order[:_MOST_UNITS],
            "values": [_finite(float(result.values[chosen, rank])) for rank in ranks],
            "sizes": [list(tile.shape[:2]) for tile in tiles],
            "boxes": [result.field(chosen, rank) for rank in ranks],
            "count": result.count,
        },
    }
    return encode(header, {"pixels": pixels})


def _coloured(result: TopExamples, unit: int, rank: int) -> Array:
    """What a unit answers to in an example as pixels [h, w, 3]: grey is nothing, its largest value white or black."""
    found = result.deconvolved(unit, rank).astype(np.float32)
    if found.ndim == 4:
        from epochal.lens.colouring import cubes, heat_scale

        mean = found.mean(axis=0)
        return cubes(mean, heat_scale(mean, signed=True)).reshape(_CUBES)
    found = found if found.ndim == 3 else found.reshape(1, *(found.shape if found.ndim == 2 else (1, -1)))
    axis = int(np.argmin(found.shape)) if found.shape[0] not in (1, 3) else 0
    found = np.moveaxis(found, axis, 2)
    found = found if found.shape[2] == 3 else np.repeat(found.mean(axis=2, keepdims=True), 3, axis=2)
    most = float(np.abs(found).max()) or 1.0
    pixels: Array = np.clip(np.round((found / most + 1) * 127.5), 0, 255).astype(np.uint8)
    return pixels


def _is_check(result: Any) -> bool:
    """Whether it is a SanityCheck, whose file needs PyTorch."""
    return hasattr(result, "stages") and hasattr(result, "maps")


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
