"""Recorded values as films, and as what they were made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import DamagedError, NotFoundError, UsageError
from epochal.facts import EmbeddingSet, MediaItem
from epochal.film import Film
from epochal.store import StoredRun
from epochal.store.blobs import split_blob_name
from epochal.views.predictions import find_item, read_file

__all__ = ["film_series", "make_media_film", "read_embedding"]

_TENSORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "array": ("values", ()),
    "embedding": ("vectors", ("point", "dimension")),
    "points": ("points", ("point", "coordinate")),
    "predictions": ("probabilities", ("example", "class")),
    "voxels": ("voxels", ("slice", "row", "column", "channel")),
}
"""Kinds whose numbers are a film: the tensor in their file, and the names of its axes."""
_PICTURES = ("image", "figure")
_MOST_BYTES = 1_000_000_000


def film_series(stored: StoredRun) -> list[str]:
    """The names of the series of values that can be a film."""
    kinds = {*_TENSORS, *_PICTURES}
    return [
        name for name, series in stored.media_series().items() if len(series.kinds) == 1 and series.kinds[0] in kinds
    ]


def make_media_film(stored: StoredRun, name: str, *, epochs_at: Any) -> Film:
    """The film of a series of values; raises UsageError where they are none."""
    items = stored.media(name)
    kinds = {item.kind for item in items}
    if len(kinds) > 1:
        raise UsageError(f"{name!r} has values of several kinds: {', '.join(sorted(kinds))}.", hint="Use reader.media.")
    steps, groups = _last_at_each_step(items)
    kind = kinds.pop()
    if kind in _PICTURES and all(item.extension != "json" for group in groups for item in group):
        from epochal.film.pictures import picture_film  # Pillow: only where pictures are shown

        files = _Files(stored, groups)
        return picture_film(name, steps, files, epochs=epochs_at(stored, steps))
    if kind not in _TENSORS:
        raise UsageError(
            f"{name!r} is a series of kind {kind}, which is no film.", hint=f"Take it with reader.media({name!r})."
        )
    return _tensor_film(stored, name, steps, [group[0] for group in groups], epochs_at(stored, steps))


class _Files(Sequence[Sequence[bytes]]):
    """The files of each step's pictures, read when asked for."""

    def __init__(self, stored: StoredRun, groups: Sequence[Sequence[MediaItem]]) -> None:
        self._stored, self._groups = stored, groups

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: Any) -> Any:
        return [self._stored.blob_bytes(item.sha256) for item in self._groups[index]]


def _last_at_each_step(items: Sequence[MediaItem]) -> tuple[list[int], list[list[MediaItem]]]:
    """Steps, and of each step the values of the list that was logged last."""
    groups: dict[int, list[MediaItem]] = {}
    for item in items:
        group = groups.setdefault(item.step, [])
        if item.index == 0:
            group.clear()
        group.append(item)
    return list(groups), list(groups.values())


def _tensor_film(stored: StoredRun, name: str, steps: Sequence[int], items: Sequence[MediaItem], epochs: Any) -> Film:
    tensor, axes = _TENSORS[items[0].kind]
    frames: npt.NDArray[Any] | None = None
    for i, item in enumerate(items):
        found = read_file(stored, item.sha256, (tensor,))[0][tensor]
        if frames is None:
            if found.nbytes * len(items) > _MOST_BYTES:
                raise UsageError(f"The values of {name!r} do not fit in memory as a film.", hint="Use reader.media.")
            frames = np.empty((len(items), *found.shape), found.dtype)
        if found.shape != frames.shape[1:]:
            raise UsageError(
                f"The values of {name!r} are not of one shape: {frames.shape[1:]} at step {steps[0]}, {found.shape} at "
                f"step {steps[i]}.",
                hint="Take them one by one with reader.media(name).",
            )
        frames[i] = found
    if frames is None:
        raise NotFoundError(f"there are no values of {name!r}")
    frames.flags.writeable = False
    names = axes[: frames.ndim - 1] if len(axes) >= frames.ndim - 1 else ()
    return Film(name, np.asarray(steps, np.int64), frames, axes=names, epochs=epochs)


def _other(stored: StoredRun, item: MediaItem, key: str) -> str | None:
    """The hash of a further file that a value refers to, None where it has none."""
    named = split_blob_name(str(item.meta.get(key, "")))
    return named[0] if named else None


def read_embedding(stored: StoredRun, name: str, step: int | None) -> EmbeddingSet:
    """The points of an embedding at a step, or the last time."""
    item = find_item(stored, name, "embedding", step)
    tensors, _ = read_file(stored, item.sha256)
    if "vectors" not in tensors:
        raise DamagedError(f"{item.filename} holds no vectors")
    images = _other(stored, item, "images_blob")
    columns: dict[str, list[Any]] = {}
    if (table := _other(stored, item, "metadata_blob")) is not None:
        document = json.loads(stored.blob_bytes(table))
        rows = [[_plain(cell) for cell in row] for row in document["rows"]]
        columns = {name: [row[i] for row in rows] for i, name in enumerate(document["columns"])}
    classes = item.meta.get("class_names")
    return EmbeddingSet(
        name=name,
        step=item.step,
        vectors=tensors["vectors"],
        labels=tensors.get("labels"),
        class_names=tuple(map(str, classes)) if isinstance(classes, list) else None,
        metadata=columns,
        images=None if images is None else read_file(stored, images, ("inputs",))[0]["inputs"],
    )


def _plain(cell: Any) -> Any:
    """A cell of a stored table as it was given; a number that JSON lacks is a float again."""
    return float(cell["number"]) if isinstance(cell, dict) and "number" in cell else cell
