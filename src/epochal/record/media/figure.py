"""Figures of matplotlib and plotly."""

from __future__ import annotations

import importlib.util
from typing import Any

from epochal.errors import MissingExtraError, UsageError
from epochal.record.media.sources import figure_kind, matplotlib_bytes, plotly_png
from epochal.record.media.value import Blob, Encoded, Value

__all__ = ["Figure"]

_PLOTLY_LIMIT = 64_000_000


class Figure(Value):
    """A figure of matplotlib, kept as PNG and SVG, or of plotly, kept as its JSON and, with kaleido, as PNG.

    A matplotlib figure is drawn at once, in the calling thread, so that it may be changed or closed afterwards.

    Raises UsageError for anything else.
    """

    __slots__ = ("_json", "_png", "_svg", "_titles")

    kind = "figure"

    def __init__(self, figure: object, *, caption: str = "") -> None:
        super().__init__(caption)
        self._png = self._svg = self._json = b""
        found: Any = figure
        # Axes, and pyplot itself, stand for their figure.
        if not figure_kind(found) and callable(getattr(found, "gcf", None)):
            found = found.gcf()
        elif not figure_kind(found) and figure_kind(getattr(found, "figure", None)):
            found = found.figure
        kind = figure_kind(found)
        if kind == "matplotlib":
            self._png, self._svg = matplotlib_bytes(found, "png"), matplotlib_bytes(found, "svg")
        elif kind == "plotly":
            self._json = str(found.to_json()).encode("utf-8")
            if len(self._json) > _PLOTLY_LIMIT:
                raise UsageError(f"this figure has {len(self._json):,} bytes", hint="draw fewer points")
        else:
            raise UsageError(
                f"a figure cannot be made of a {type(figure).__name__}", hint="give a figure of matplotlib or plotly"
            )

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        return len(self._png) + len(self._svg) + len(self._json)

    def encode(self) -> Encoded:
        """PNG with the SVG or JSON beside it; of plotly without kaleido the JSON alone."""
        if not self._json:
            svg = Blob(self._svg, "svg")
            return Encoded(
                data=self._png,
                extension="png",
                meta={"library": "matplotlib", "svg": svg.name, **_png_size(self._png)},
                blobs=(svg,),
            )
        source = Blob(self._json, "json")
        if importlib.util.find_spec("kaleido") is not None:
            import plotly.io

            try:
                png = plotly_png(plotly.io.from_json(self._json.decode("utf-8"), skip_invalid=True))
            except MissingExtraError:
                png = b""  # kaleido is there, the browser that it draws with is not
            if png:
                meta = {"library": "plotly", "plotly": source.name, **_png_size(png)}
                return Encoded(data=png, extension="png", meta=meta, blobs=(source,))
        return Encoded(data=source.data, extension="json", meta={"library": "plotly", "plotly": source.name})


def _png_size(data: bytes) -> dict[str, int]:
    return {"width": int.from_bytes(data[16:20], "big"), "height": int.from_bytes(data[20:24], "big")}
