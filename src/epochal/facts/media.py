"""Logged values that are no numbers: images, sounds, tables and the like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BLOB_EXTENSIONS", "MediaItem"]

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
