"""From what is written to a terminal to the lines that stand there in the end: progress bars become one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

LINE_LIMIT = 8_000
MARGIN = 1_024
"""So much more of a line is held, so that a secret is known as one also where the line is cut."""
ROWS_LIMIT = 100

_SPECIAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b]")
_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f\x9b]+)"
    r"|(?:\x1b\[|\x9b)(?P<number>[0-9:;<=>?]*)[ -/]*(?P<command>[@-~])"  # CSI: movements, erasing, colours
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links
    r"|\x1b[ -/]*[0-~]"
    r"|(?P<control>[\x00-\x1f\x7f\x9b])"
)
_UNFINISHED = re.compile(r"(?:\x1b[ -/]*|(?:\x1b\[|\x9b)[0-9:;<=>?]*[ -/]*|\x1b[\]PX^_][^\x07\x1b]{0,4000}\x1b?)\Z")


@dataclass(slots=True)
class Row:
    """A line that is being written; `t` and `step` are those of its last change."""

    t: float
    step: int | None
    text: str = ""
    cut: int = 0
    left: float | None = None
    """When the cursor went to another line."""

    def put(self, text: str, column: int) -> int:
        """Write from a column on, over what is there; return where the cursor stands then."""
        if column == 0:
            self.cut = 0
        end = column + len(text)
        self.text = self.text[:column].ljust(column) + text + self.text[end:]
        if len(self.text) > LINE_LIMIT + MARGIN:
            self.cut += len(self.text) - LINE_LIMIT - MARGIN
            self.text = self.text[: LINE_LIMIT + MARGIN]
        return min(end, LINE_LIMIT + MARGIN)

    def erase(self, how: str, column: int) -> None:
        """Erase from the cursor to the end of the line, from its beginning to the cursor, or all of it."""
        if how in ("", "0"):
            self.text = self.text[:column]
        elif how == "1":
            self.text = " " * min(column + 1, len(self.text)) + self.text[column + 1 :]
        else:
            self.text = ""

    def said(self, mask: Callable[[str], str]) -> str:
        """The text as it stands, without the blanks that a bar wipes its longer states away with."""
        text = mask(self.text.rstrip())
        cut = self.cut + max(0, len(text) - LINE_LIMIT)
        return f"{text[:LINE_LIMIT]} … [{cut:,} more characters]" if cut else text


class Screen:
    """The lines at the end of one stream. `write` takes what is printed; `take` gives the lines that are done.

    A line is done when the cursor has been below it for `settle_secs`: nested progress bars go down and up again.
    """

    def __init__(self, *, settle_secs: float = 0.25) -> None:
        self._settle = settle_secs
        self._rows: list[Row] = []
        self._at = self._column = 0
        self._rest = ""

    def write(self, text: str, t: float, step: int | None) -> None:
        """Take on what was printed at a time (unix seconds)."""
        if self._rest:
            text, self._rest = self._rest + text, ""
        if _SPECIAL.search(text) is None:
            first, *others = text.split("\n")
            if first:
                self._put(first, t, step)
            for line in others:
                self._down(t, step)
                if line:
                    self._put(line, t, step)
            return
        if (rest := _UNFINISHED.search(text)) is not None:
            text, self._rest = text[: rest.start()], rest[0]
        for token in _TOKEN.finditer(text):
            if (found := token["text"]) is not None:
                self._put(found, t, step)
            elif (control := token["control"]) is not None:
                self._control(control, t, step)
            elif (command := token["command"]) is not None:
                self._command(command, token["number"], t, step)

    def _row(self, t: float, step: int | None) -> Row:
        """The line of the cursor, about to be changed."""
        while self._at >= len(self._rows):
            self._rows.append(Row(t, step))
        row = self._rows[self._at]
        row.t, row.step = t, step
        return row

    def _put(self, text: str, t: float, step: int | None) -> None:
        self._column = self._row(t, step).put(text, self._column)

    def _down(self, t: float, step: int | None) -> None:
        while self._at >= len(self._rows):
            self._rows.append(Row(t, step))
        self._rows[self._at].left = t
        self._at, self._column = self._at + 1, 0

    def _control(self, control: str, t: float, step: int | None) -> None:
        if control == "\n":
            self._down(t, step)
        elif control == "\r":
            self._column = 0
        elif control == "\b":
            self._column = max(0, self._column - 1)
        elif control == "\t":
            self._put("\t", t, step)

    def _command(self, command: str, number: str, t: float, step: int | None) -> None:
        count = int(number[:6]) if number.isdigit() else 1
        if command in "AF":
            self._at = max(0, self._at - count)
        elif command in "BE":
            column = self._column
            for _ in range(min(count, ROWS_LIMIT)):
                self._down(t, step)
            self._column = column
        elif command == "K" and self._at < len(self._rows):
            self._row(t, step).erase(number, self._column)
        elif command in "CDG":
            place = {"C": self._column + count, "D": self._column - count, "G": count - 1}[command]
            self._column = min(max(0, place), LINE_LIMIT + MARGIN)
        if command in "EF":
            self._column = 0

    def break_off(self, t: float) -> None:
        """Text is missing here: what comes next is not the rest of the line that the cursor stands in."""
        if (row := self.open) is not None:
            self._down(t, row.step)

    def take(self, now: float, *, everything: bool = False) -> list[Row]:
        """The lines that are done, the oldest first; they are no longer held here."""
        done = 0
        while done < len(self._rows):
            left = self._rows[done].left
            settled = done < self._at and left is not None and abs(now - left) >= self._settle
            if not (everything or settled or len(self._rows) - done > ROWS_LIMIT):
                break
            done += 1
        taken, self._rows = self._rows[:done], self._rows[done:]
        self._at = max(0, self._at - done)
        if everything and taken and not taken[-1].text and taken[-1].left is None:
            taken.pop()
        return taken

    @property
    def busy(self) -> bool:
        """Whether there are lines that will be done by and by, without any more text."""
        return self._at > 0 and bool(self._rows)

    @property
    def open(self) -> Row | None:
        """The line that the cursor stands in, None when nothing was written there."""
        row = self._rows[self._at] if self._at < len(self._rows) else None
        return row if row is not None and row.text else None
