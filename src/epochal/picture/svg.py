"""A canvas that writes SVG: text stays text, lines stay lines, matrices become rectangles or a crisp embedded PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from xml.sax.saxutils import escape

from PIL import Image

from epochal.picture.canvas import Anchor, Line, Pixels, unbroken
from epochal.picture.theme import Rgb

_FAMILY = "Inter,system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',Helvetica,Arial,sans-serif"
_MOST_RECTANGLES = 4096
_ANCHORS = {"left": "start", "middle": "middle", "right": "end"}


def _hex(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _clean(words: str) -> str:
    """Escaped text; characters that XML does not allow become the replacement character."""
    return escape("".join(c if c >= " " and c not in "\ufffe\uffff" else "\ufffd" for c in words), {'"': "&quot;"})


class SvgCanvas:
    """Collects SVG elements; `document()` gives the file."""

    def __init__(self, size: tuple[int, int], ground: Rgb, *, title: str = "") -> None:
        self.size = size
        self._parts: list[str] = []
        self._title = title
        self.rectangle(0, 0, *size, fill=ground)

    def rectangle(
        self, x: float, y: float, width: float, height: float, *, fill: Rgb, edge: Rgb | None = None, radius: float = 0
    ) -> None:
        """Fill a rectangle."""
        if width <= 0 or height <= 0:
            return
        inset = 0.5 if edge is not None else 0.0
        box = (x + inset, y + inset, width - 2 * inset, height - 2 * inset)
        place = 'x="{}" y="{}" width="{}" height="{}"'.format(*map(_short, box))
        corner = f' rx="{_short(radius)}"' if radius else ""
        stroke = f' stroke="{_hex(edge)}"' if edge is not None else ""
        self._parts.append(f'<rect {place}{corner} fill="{_hex(fill)}"{stroke}/>')

    def text(
        self, x: float, y: float, words: str, *, size: float, colour: Rgb, anchor: Anchor = "left", bold: bool = False
    ) -> None:
        """Write one line."""
        if not words:
            return
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{_short(x)}" y="{_short(y)}" font-size="{_short(size)}" fill="{_hex(colour)}"'
            f' text-anchor="{_ANCHORS[anchor]}"{weight}>{_clean(words)}</text>'
        )

    def lines(self, lines: Sequence[Line], *, colour: Rgb, width: float = 1.5) -> None:
        """Draw lines as one path; a lone point between gaps becomes a dot."""
        path = []
        for piece in (p for whole in lines for p in unbroken(whole)):
            places = [f"{_short(x)} {_short(y)}" for x, y in piece.tolist()]
            path.append("M" + "L".join(places if len(places) > 1 else places * 2))
        if path:
            style = f'fill="none" stroke="{_hex(colour)}" stroke-width="{_short(width)}"'
            self._parts.append(f'<path d="{"".join(path)}" {style} stroke-linejoin="round" stroke-linecap="round"/>')

    def dots(self, points: Line, *, colour: Rgb, radius: float) -> None:
        """Draw discs."""
        for x, y in (p for piece in unbroken(points) for p in piece.tolist()):
            self._parts.append(
                f'<circle cx="{_short(x)}" cy="{_short(y)}" r="{_short(radius)}" fill="{_hex(colour)}"/>'
            )

    def cells(self, x: int, y: int, colours: Pixels, *, cell: tuple[int, int], gap: int, ground: Rgb) -> None:
        """Draw cells: one rectangle each while there are few, an embedded PNG with hard edges otherwise."""
        rows, columns = colours.shape[:2]
        width, height = cell
        if rows * columns > _MOST_RECTANGLES:
            packed = io.BytesIO()
            Image.fromarray(colours).save(packed, "PNG")
            data = base64.b64encode(packed.getvalue()).decode()
            self._parts.append(
                f'<image x="{x}" y="{y}" width="{columns * width}" height="{rows * height}" preserveAspectRatio="none"'
                f' style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
            )
            return
        for r in range(rows):
            for c in range(columns):
                red, green, blue = (int(v) for v in colours[r, c])
                self._parts.append(
                    f'<rect x="{x + c * width}" y="{y + r * height}" width="{width - gap}" height="{height - gap}"'
                    f' fill="#{red:02x}{green:02x}{blue:02x}"/>'
                )

    def inner(self) -> str:
        """The elements, without the document around them."""
        return "\n".join(self._parts)

    def document(self) -> str:
        """The whole SVG file."""
        return document(self.size, [(0, self)], title=self._title)


def document(size: tuple[int, int], canvases: Sequence[tuple[int, SvgCanvas]], *, title: str = "") -> str:
    """An SVG file of one or several canvases, each moved down to its y."""
    width, height = size
    body = "\n".join(
        c.inner() if y == 0 else f'<g transform="translate(0 {y})">\n{c.inner()}\n</g>' for y, c in canvases
    )
    named = f"<title>{_clean(title)}</title>\n" if title else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' font-family="{_FAMILY}" style="font-variant-numeric:tabular-nums">\n{named}{body}\n</svg>\n'
    )
