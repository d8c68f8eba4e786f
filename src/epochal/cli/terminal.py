"""Writing to the terminal: data to stdout, all else to stderr; plain wherever nobody watches."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

_STYLES = {"bold": "1", "soft": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_STEERING = re.compile(rf"\x1b(?!\[[0-9;]*m)|(?!\x1b){_CONTROL.pattern}")
"""Characters that move the cursor, clear the screen or turn the writing round; on a terminal, colours are fine."""
_BAR_AFTER_SECONDS = 0.4
_ACCENT = "rgb(224,81,43)"


class Terminal:
    """The two streams of a command."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.err = err or sys.stderr

    @property
    def watched(self) -> bool:
        """Whether a person looks at stderr: only then are there bars and colours."""
        return self.err.isatty() and os.environ.get("TERM") != "dumb"

    def style(self, text: str, *names: str, stream: TextIO | None = None) -> str:
        """The text in colour where the stream is a terminal and NO_COLOR is not set."""
        target = stream or self.out
        if not target.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return text
        return f"\x1b[{';'.join(_STYLES[n] for n in names)}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        """A line of data."""
        self._write(self.out, text + "\n")

    def json(self, document: Any) -> None:
        """One JSON document; numbers that JSON does not know become null."""
        lacking = not (self.out.encoding or "utf-8").lower().startswith("utf")
        text = json.dumps(plain(document), ensure_ascii=lacking, allow_nan=False, default=str)
        self._send(self.out, text + "\n")

    def note(self, text: str) -> None:
        """A remark to the person."""
        self._write(self.err, text + "\n")

    def warn(self, text: str, *, hint: str = "") -> None:
        """Something that went other than expected, and what to do."""
        self.note(f"{self.style('note:', 'yellow', stream=self.err)} {text}")
        if hint:
            self.note(f"{self.style('hint:', 'blue', stream=self.err)} {hint}")

    def error(self, text: str, *, hint: str = "") -> None:
        """Why it failed, and what to do."""
        self.note(f"{self.style('error:', 'red', 'bold', stream=self.err)} {text}")
        if hint:
            self.note(f"{self.style('hint:', 'blue', stream=self.err)} {hint}")

    @contextlib.contextmanager
    def progress(self, words: str, *, unit: str = "") -> Iterator[Callable[..., None]]:
        """A function `(done, total, note="")` that keeps a bar up to date once the work takes a while.

        Where nobody watches, nothing is written.
        """
        if not self.watched:
            yield lambda done, total, note="": None
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=32, complete_style=_ACCENT, finished_style=_ACCENT),
            TextColumn(f"{{task.completed:.0f}}/{{task.total:.0f}}{' ' + unit if unit else ''}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", markup=False),
        )
        bar = Progress(*columns, console=Console(file=self.err), transient=True)
        began = time.monotonic()
        task = None

        def update(done: int, total: int, note: str = "") -> None:
            nonlocal task
            if task is None:
                if time.monotonic() - began < _BAR_AFTER_SECONDS:
                    return
                bar.start()
                task = bar.add_task(words, total=total, note=note)
            bar.update(task, completed=done, total=total, note=note)

        try:
            yield update
        finally:
            if task is not None:
                bar.stop()

    def _write(self, stream: TextIO, text: str) -> None:
        # Names come from files that others may have written: they must not steer the terminal.
        self._send(stream, (_STEERING if stream.isatty() else _CONTROL).sub("\N{REPLACEMENT CHARACTER}", text))

    def _send(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()


def plain(value: Any) -> Any:
    """The value with numpy numbers as Python's, and NaN and infinities as None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Rows as aligned lines, two spaces between columns; columns in `right` are flush right."""
    if not rows:
        return []
    cells = [[re.sub(r"\s", " ", cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]

    def placed(cell: str, i: int) -> str:
        blank = " " * (widths[i] - _width(cell))
        return blank + cell if i in right else cell + blank

    return ["  ".join(placed(cell, i) for i, cell in enumerate(row)).rstrip() for row in cells]


def shorten(text: str, most: int) -> str:
    """At most so many letters; what is left out shows as three dots."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _width(text: str) -> int:
    """How many places a terminal gives a text: two to Chinese, Japanese and Korean letters, none to accents."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def spark(values: Sequence[float | None], *, width: int = 24) -> str:
    """A small line of block characters; a value that is not finite is a blank."""
    blocks = "▁▂▃▄▅▆▇█"
    numbers = [v if v is not None and v == v and abs(v) != float("inf") else None for v in values]
    if len(numbers) > width:
        groups = [numbers[i * len(numbers) // width : (i + 1) * len(numbers) // width] for i in range(width)]
        numbers = [sum(g) / len(g) if (g := [v for v in group if v is not None]) else None for group in groups]
    finite = [v for v in numbers if v is not None]
    if not finite:
        return " " * len(numbers)
    lo, span = min(finite), max(finite) - min(finite)
    return "".join(" " if v is None else blocks[min(7, int((v - lo) / span * 8)) if span > 0 else 0] for v in numbers)


def duration(seconds: float | None) -> str:
    """`4.2 s`, `3 min 20 s`, `2 h 05 min`; a dash where it is not known."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
