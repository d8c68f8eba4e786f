"""Files, bytes and figures that people hand over: what they are, told without importing the library they come from."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

from epochal.errors import MissingExtraError, UsageError

__all__ = ["figure_kind", "is_pillow", "matplotlib_bytes", "plotly_png", "read_source", "sniff_picture"]

SOURCE_LIMIT = 1_000_000_000
_FIGURES = {"matplotlib": ("matplotlib.figure", "FigureBase"), "plotly": ("plotly.basedatatypes", "BaseFigure")}


def read_source(data: str | os.PathLike[str] | bytes | bytearray | memoryview, what: str) -> tuple[bytes, str]:
    """Return the bytes of a file (or bytes as given) and the extension of its name, empty where there is none."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data), ""
    path = Path(data).expanduser()
    try:
        size = path.stat().st_size
        if size > SOURCE_LIMIT:
            raise UsageError(f"{path} has {size:,} bytes, {what} may have {SOURCE_LIMIT:,}")
        return path.read_bytes(), path.suffix.lstrip(".").lower()
    except OSError as error:
        raise UsageError(f"{what} cannot be read from {str(data)!r}: {error.strerror or error}") from None


def sniff_picture(data: bytes) -> str:
    """Return the extension of a picture's format, empty where it is none that browsers show."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return "bmp" if data.startswith(b"BM") else ""


def is_pillow(value: object) -> bool:
    """Whether this is a Pillow image; it cannot be one where Pillow was never imported."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def figure_kind(value: object) -> str:
    """`matplotlib`, `plotly`, or empty for anything else; it is none of them where that was never imported."""
    for name, (module_name, class_name) in _FIGURES.items():
        module = sys.modules.get(module_name)
        if module is not None and isinstance(value, getattr(module, class_name)):
            return name
    return ""


def matplotlib_bytes(figure: Any, suffix: str) -> bytes:
    """Draw a matplotlib figure now, in the calling thread: matplotlib must not be used from two at once."""
    figure = figure if hasattr(figure, "savefig") else figure.figure  # part of a figure: draw the whole
    packed = io.BytesIO()
    # Neither the date nor the version of the library: the same figure gives the same bytes.
    facts: dict[str, Any] = {"Date": None, "Creator": None} if suffix == "svg" else {"Software": None}
    figure.savefig(packed, format=suffix, metadata=facts)
    return packed.getvalue()


def plotly_png(figure: Any) -> bytes:
    """Draw a plotly figure; raises MissingExtraError where its drawing program, kaleido, is not installed."""
    try:
        data: bytes = figure.to_image(format="png")
    except Exception as error:
        # plotly and kaleido raise many kinds, all of which mean the same here.
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MissingExtraError(
            f"plotly cannot draw this figure as a picture: {why}",
            hint="pip install kaleido, or log it as epochal.Figure(figure), which needs no picture",
        ) from error
    return data
