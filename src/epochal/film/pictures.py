"""Films of recorded pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.film.film import Film, sealed
from epochal.picture.pixels import decode, mosaic

__all__ = ["picture_film"]

MOST_BYTES = 1_000_000_000


def picture_film(
    name: str,
    steps: Sequence[int],
    files: Sequence[Sequence[bytes]],
    *,
    epochs: npt.NDArray[Any] | None = None,
) -> Film:
    """The film of picture files at each step: frames [T, H, W] where all are grey, [T, H, W, C] else, uint8.

    Several pictures of a step stand beside one another. Raises UsageError where they are not of one size, or too many
    to hold in memory, PictureError for one that cannot be read.
    """
    found: list[npt.NDArray[np.uint8]] = []
    for step, several in zip(steps, files, strict=True):
        pictures = _alike(name, [decode(data) for data in several], [step] * len(several))
        found.append(mosaic(pictures))
        if found[0].nbytes * len(files) > MOST_BYTES:
            raise UsageError(
                f"The {len(files):,} pictures of {name!r} do not fit in memory as a film.",
                hint="Take some with reader.media(name).",
            )
    frames = np.stack(_alike(name, found, steps)) if found else np.empty((0, 0, 0), np.uint8)
    axes = ("row", "column", "channel")[: frames.ndim - 1]
    return Film(name, np.asarray(steps, np.int64), sealed(frames), axes=axes, kind="image", epochs=epochs)


def _alike(
    name: str, pictures: Sequence[npt.NDArray[np.uint8]], steps: Sequence[int]
) -> Sequence[npt.NDArray[np.uint8]]:
    """Pictures of one shape: where some are grey and others not, all as [H, W, 4]."""
    for step, one in zip(steps, pictures, strict=True):
        if one.shape[:2] != pictures[0].shape[:2]:
            raise _sizes(name, steps[0], step, pictures[0].shape, one.shape)
    return pictures if len({p.shape for p in pictures}) == 1 else [_in_colour(p) for p in pictures]


def _in_colour(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The picture as [H, W, 4]."""
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    if picture.shape[2] == 4:
        return picture
    return np.concatenate([picture, np.full((*picture.shape[:2], 1), 255, np.uint8)], axis=2)


def _sizes(name: str, first: int, other: int, a: tuple[int, ...], b: tuple[int, ...]) -> UsageError:
    return UsageError(
        f"The pictures of {name!r} are not of one size: {a[1]}×{a[0]} at step {first}, {b[1]}×{b[0]} at step {other}.",
        hint="Take them one by one with reader.media(name).",
    )
