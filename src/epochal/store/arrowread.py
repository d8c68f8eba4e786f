"""Arrow IPC streams read message by message: whole messages are used, a torn tail waits, damage is stepped over."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from epochal.store.arrow import BatchTemplate, batch_template, body_sum, layout_of
from epochal.store.arrowtypes import (
    CONTINUATION,
    DIGITS,
    END_OF_STREAM,
    FORMAT_KEY,
    HEADER_DICTIONARY,
    HEADER_SCHEMA,
    Column,
    layouts_of,
)
from epochal.store.flat import (
    BAD,
    DamagedMessageError,
    ForeignStreamError,
    TornMessageError,
    buffers_of,
    check_schema,
    frame,
    key_values,
    places_of,
    pointer,
    read_texts,
    record_batch,
    strings,
)

__all__ = ["Batch", "ForeignStreamError", "StreamReader"]

_I64 = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class Batch:
    """A record batch: where it lies in its file, its rows, and per column the place of its values (of a text: two).

    `data` is what it was read from and `base` the file offset at which that begins; `places` are file offsets.
    """

    rows: int
    rows_end: int
    lost: int
    columns: tuple[Column, ...]
    places: tuple[int, ...]
    data: bytes
    base: int

    def column(self, index: int) -> npt.NDArray[np.generic]:
        """Return the values of a column, [rows] or [rows, width]: a view of the bytes that were read."""
        spec = self.columns[index]
        place = self.places[self._slot(index)] - self.base
        values = np.frombuffer(self.data, spec.dtype, self.rows * spec.width, place)
        return values if spec.width == 1 else values.reshape(self.rows, spec.width)

    def texts(self, index: int) -> list[str]:
        """Return the values of a text column."""
        at = [self.places[self._slot(index) + k] - self.base for k in (0, 1)]
        return read_texts(self.data, at[0], at[1], rows=self.rows, most=len(self.data) - at[1])

    def _slot(self, index: int) -> int:
        return index + sum(column.kind == "text" for column in self.columns[:index])


@dataclass(slots=True)
class StreamReader:
    """Reads one segment that may still grow. Not thread-safe.

    `columns` are those of today; once a segment shows itself to be of an earlier version, they are that one's.
    `offset` is the file offset of the first byte not used yet; `torn` how many bytes lie after it; `damaged` how many
    bytes were stepped over; `names` the dictionary as of the last message. `ours` says that the schema declares this
    format, or that a sum was found right: then messages without one, or laid out in another way, are damage.
    `after_damage` says that what comes first may follow on lost rows.
    """

    columns: tuple[Column, ...]
    names: list[str] = field(default_factory=list)
    offset: int = 0
    torn: int = 0
    damaged: int = 0
    rows_end: int = 0
    ended: bool = False
    after_damage: bool = False
    ours: bool = False
    _heads: dict[int, tuple[bytes, list[int], int]] = field(default_factory=dict)
    _layouts: list[tuple[Column, ...]] = field(init=False)
    _template: BatchTemplate | None = field(init=False)

    def __post_init__(self) -> None:
        self._layouts = layouts_of(self.columns)
        self._use(self.columns)

    def _use(self, columns: tuple[Column, ...]) -> None:
        self.columns = columns
        self._heads.clear()
        self._template = None if any(c.kind == "text" for c in columns) else batch_template(columns)

    def feed(self, data: bytes) -> list[Batch]:
        """Take the bytes of the file from `offset` on; return the whole batches in them.

        Raises ForeignStreamError when the stream is laid out in another way.
        """
        batches: list[Batch] = []
        base, at = self.offset, 0
        while at < len(data):
            try:
                end, batch = self._message(data, at, base)
            except TornMessageError:
                # Damaged lengths look like a torn tail: whole messages further on tell the two apart.
                end, batch = self._resume(data, at), None
                if end < 0:
                    break
            except BAD:
                end, batch = self._resume(data, at), None
                if end < 0:
                    break
            if batch is not None:
                batches.append(batch)
            at = end
        self.offset = base + at
        self.torn = len(data) - at
        return batches

    def _resume(self, data: bytes, at: int) -> int:
        """Return where the next whole message begins after damage at `at`, -1 when there is none yet."""
        found = at
        while (found := data.find(CONTINUATION, found + 1)) >= 0:
            if (self.offset + found) % 8:
                continue
            try:
                frame(data, found)
            except (*BAD, TornMessageError):
                continue
            self.damaged += found - at
            self.after_damage = True
            return found
        return -1

    def _message(self, data: bytes, at: int, base: int) -> tuple[int, Batch | None]:
        """Read the message at `at`; return where it ends and the batch it holds, if it is one."""
        if data[at : at + 8] == END_OF_STREAM:
            self.ended = True
            return at + 8, None
        if (quick := self._quick(data, at, base)) is not None:
            return quick
        kind, header, body, end, table = frame(data, at)
        if kind == HEADER_SCHEMA:
            self.ours |= FORMAT_KEY in key_values(data, header, 2)
            with _foreign_is_damage(self.ours):
                found = check_schema(data, header, self._layouts)
            if found != self.columns:
                self._use(found)
            return end, None
        facts = key_values(data, table, 4)
        if "sum" in facts:
            total = body_sum(memoryview(data)[body:end]) + int(facts.get("rows_end", "0"))
            if int(facts["sum"]) != total % 2**64:
                raise DamagedMessageError
            self.ours = True
        elif self.ours:
            raise DamagedMessageError
        with _foreign_is_damage(self.ours):
            if kind == HEADER_DICTIONARY:
                _, buffers = record_batch(data, pointer(data, header, 1), end - body)
                self.names = strings(data, body, buffers)
                return end, None
            rows, buffers = record_batch(data, header, end - body)
            places = self._places(rows, buffers, data, body, end)
        rows_end = int(facts["rows_end"]) if "rows_end" in facts else self.rows_end + rows
        return end, self._batch(data, base, rows=rows, rows_end=rows_end, places=tuple(p + base for p in places))

    def _places(
        self, rows: int, buffers: Sequence[tuple[int, int]], data: bytes, body: int, end: int
    ) -> tuple[int, ...]:
        """Where each column lies in a batch; where the schema that said so was damaged, by the layout that fits."""
        for columns in (self.columns, *(c for c in self._layouts if c != self.columns)):
            if len(buffers) != buffers_of(columns):
                continue
            with suppress(DamagedMessageError):
                places, sizes = places_of(columns, rows, buffers, data, body)
                if not self.ours or ([p - body for p in places], end - body) == layout_of(columns, rows, sizes):
                    if columns != self.columns:
                        self._use(columns)
                    return places
        raise DamagedMessageError

    def _quick(self, data: bytes, at: int, base: int) -> tuple[int, Batch] | None:
        """Read a batch whose metadata is byte for byte what this package writes; None for everything else.

        A run of 4 million rows has up to 40,000 batches: following their offsets one by one takes half a second.
        """
        template = self._template
        if template is None:
            return None
        body = at + len(template.blank)
        if body > len(data) or data[at : at + 8] != template.blank[:8]:
            return None
        rows = _I64.unpack_from(data, at + template.rows_at)[0]
        if rows not in self._heads:
            if not 0 <= rows <= len(data):
                return None
            if len(self._heads) > 4096:
                self._heads.clear()
            places, size = layout_of(self.columns, rows)
            self._heads[rows] = bytes(template.fill(rows)), places, size
        head, places, size = self._heads[rows]
        first, second = sorted((template.rows_end_at, template.sum_at))
        if (
            body + size > len(data)
            or data[at : at + first] != head[:first]
            or data[at + first + DIGITS : at + second] != head[first + DIGITS : second]
            or data[at + second + DIGITS : body] != head[second + DIGITS :]
        ):
            return None
        rows_end = int(data[at + template.rows_end_at : at + template.rows_end_at + DIGITS])
        total = int(data[at + template.sum_at : at + template.sum_at + DIGITS])
        if (body_sum(memoryview(data)[body : body + size]) + rows_end) % 2**64 != total:
            return None
        self.ours = True
        begin = body + base
        return body + size, self._batch(
            data, base, rows=rows, rows_end=rows_end, places=tuple(p + begin for p in places)
        )

    def _batch(self, data: bytes, base: int, *, rows: int, rows_end: int, places: tuple[int, ...]) -> Batch:
        lost = max(0, rows_end - rows - self.rows_end) if self.after_damage else 0
        self.rows_end, self.after_damage = rows_end, False
        return Batch(rows, rows_end, lost, self.columns, places, data, base)


@contextmanager
def _foreign_is_damage(ours: bool) -> Iterator[None]:  # noqa: FBT001
    """In a stream that is known to be laid out as here, any other layout is damage."""
    try:
        yield
    except ForeignStreamError:
        if ours:
            raise DamagedMessageError from None
        raise
