"""Logged values that are no numbers: images, sounds, tables and the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BLOB_EXTENSIONS", "EmbeddingSet", "MediaItem"]

BLOB_EXTENSIONS = frozenset(
    {"bmp", "flac", "gif", "glb", "gltf", "html", "jpg", "json", "m4a", "md", "mov", "mp3", "mp4", "obj", "ogg", "ply"}
    | {"png", "safetensors", "stl", "svg", "txt", "wav", "webm", "webp"}
)
"""What the file of a value may be called after its hash; a reader refuses any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaItem:
    """One logged value: where it stands in its run and what its bytes are; the bytes are kept once by their hash.

    `index` is its place in the list it was logged in, 0 for one logged alone; `size` counts bytes; `meta` holds what
    its kind tells besides (width, height, seconds, classes), and in `blobs` the names `<sha256>.<extension>` of
    further files that belong to it.
    """

    series: str
    kind: str
    step: int
    t: float
    index: int
    sha256: str
    extension: str
    size: int
    caption: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def filename(self) -> str:
        """The name of its file below the run's folder of blobs."""
        return f"{self.sha256}.{self.extension}"


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class EmbeddingSet:
    """Vectors [N, D] float32 at a step, with what is known of each point.

    `labels` [N] int64 or None, `class_names` their names or None, `metadata` columns of N by name, `images` [N, H, W,
    C] uint8 or None.
    """

    name: str
    step: int
    vectors: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64] | None = None
    class_names: Sequence[str] | None = None
    metadata: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    images: npt.NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        n, dimensions = self.vectors.shape
        return f"EmbeddingSet({self.name!r}, step {self.step}, {n} points of {dimensions} dimensions)"
