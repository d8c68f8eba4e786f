"""Logged values that are no numbers: how many of them an answer lists, and as what their bytes go out."""

from __future__ import annotations

from collections.abc import Sequence

from epochal.facts import MediaItem

__all__ = ["ITEMS_AT_MOST", "blob_type", "thin_items"]

ITEMS_AT_MOST = 10_000
"""So many items, of a few hundred bytes each, are listed at once."""

_TYPES = {
    "bmp": "image/bmp",
    "flac": "audio/flac",
    "gif": "image/gif",
    "jpg": "image/jpeg",
    "json": "application/json",
    "m4a": "audio/mp4",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "ogg": "audio/ogg",
    "png": "image/png",
    "svg": "image/svg+xml",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
}


def blob_type(name: str) -> str:
    """The media type of a blob. A page or a text goes out as plain text: what a run logged must never run here."""
    extension = name.rpartition(".")[2]
    if extension in ("html", "md", "txt"):
        return "text/plain; charset=utf-8"
    return _TYPES.get(extension, "application/octet-stream")


def thin_items(items: Sequence[MediaItem], *, most: int = ITEMS_AT_MOST) -> tuple[list[MediaItem], int]:
    """Items of every n-th step and of the last one where all would be too many, and that n."""
    if len(items) <= most:
        return list(items), 1
    steps = sorted({item.step for item in items})
    stride = -(-len(items) // most)
    kept = {*steps[::stride], steps[-1]}
    return [item for item in items if item.step in kept], stride
