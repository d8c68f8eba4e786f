"""Texts and pages."""

from __future__ import annotations

import os
from pathlib import Path

from epochal.errors import UsageError
from epochal.record.media.sources import read_source
from epochal.record.media.value import Encoded, Value

__all__ = ["Html", "Text"]

LIMIT = 16_000_000


class Text(Value):
    """A text, read as Markdown unless `markdown=False`.

    >>> epochal.Text("**bold**")
    <epochal.Text>
    """

    __slots__ = ("markdown", "text")

    kind = "text"

    def __init__(self, text: object, *, markdown: bool = True, caption: str = "") -> None:
        super().__init__(caption)
        self.text = _checked(str(text))
        self.markdown = bool(markdown)

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        return 2 * len(self.text)

    def encode(self) -> Encoded:
        """The text as UTF-8."""
        return Encoded(
            data=_utf8(self.text),
            extension="md" if self.markdown else "txt",
            meta={"markdown": self.markdown, "characters": len(self.text)},
        )


class Html(Value):
    """A page: HTML text, a path to a file, or anything with `read`. It is shown shut off from everything around it.

    A string that ends with `.html` or `.htm` and holds no `<` is a path.
    """

    __slots__ = ("html",)

    kind = "html"

    def __init__(self, html_or_path: object, *, caption: str = "") -> None:
        super().__init__(caption)
        self.html = _checked(_page(html_or_path))

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        return 2 * len(self.html)

    def encode(self) -> Encoded:
        """The page as UTF-8."""
        return Encoded(data=_utf8(self.html), extension="html", meta={"characters": len(self.html)})


def _page(given: object) -> str:
    read = getattr(given, "read", None)
    if callable(read):
        given = read()
    if isinstance(given, bytes | bytearray):
        return bytes(given).decode("utf-8", "replace")
    if isinstance(given, os.PathLike) or (
        isinstance(given, str) and "<" not in given and given.lower().endswith((".html", ".htm"))
    ):
        return read_source(Path(given), "a page")[0].decode("utf-8", "replace")
    if not isinstance(given, str):
        raise UsageError(f"a page cannot be made of a {type(given).__name__}", hint="give HTML text or a path")
    return given


def _checked(text: str) -> str:
    if len(text) > LIMIT:
        raise UsageError(f"a text of {len(text):,} characters is too long", hint=f"at most {LIMIT:,} are recorded")
    return text


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
