"""The logged values of a run that are no numbers: which there are, and where their bytes lie.

Rows are kept in memory as they came (some hundred bytes each); JSON is parsed when an item is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from epochal.errors import DamagedError, NotFoundError, UsageError
from epochal.facts import MediaItem, Notice
from epochal.store.arrow import MEDIA_COLUMNS
from epochal.store.arrowread import Batch
from epochal.store.blobs import META_LIMIT, blob_name, split_blob_name
from epochal.store.boots import Boot, shown_before
from epochal.store.layout import WriterFolder
from epochal.store.tail import SegmentsReplacedError, SegmentTail

__all__ = ["MediaSeries", "MediaSet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSeries:
    """One series of values: the kinds in it (mostly one), how many there are, at how many steps, first and last."""

    name: str
    kinds: tuple[str, ...]
    count: int
    steps: int
    first_step: int
    last_step: int


class _Row(NamedTuple):
    step: int
    t: float
    kind: str
    place: int
    sha256: str
    extension: str
    size: int
    caption: str
    meta: str


class _MediaTail:
    """Reads one writer's rows and keeps up with them."""

    def __init__(self, folder: WriterFolder) -> None:
        self.rows: dict[str, list[_Row]] = {}
        self.blobs: dict[str, str] = {}
        self.unusable = 0
        self.foreign = 0
        self.count = 0
        self._folder = folder
        self._complete = False
        self._begin()

    def _begin(self) -> None:
        self.rows, self.blobs, self.unusable, self.foreign, self.count = {}, {}, 0, 0, 0
        self.tail = SegmentTail(self._folder.media, MEDIA_COLUMNS, take=self._take, foreign=self._pass_over)

    def refresh(self, *, ended: bool) -> bool:
        """Look for new rows; say whether there were any."""
        if self._complete:
            return False
        try:
            changed = self.tail.refresh()
        except SegmentsReplacedError:
            self._begin()
            changed = True
            self.tail.refresh()
        self._complete = ended
        return changed

    def _pass_over(self, path: Path) -> None:
        self.foreign += 1

    def _take(self, batches: list[Batch], names: list[str], path: Path) -> None:
        for batch in batches:
            columns = [
                batch.texts(i) if column.kind == "text" else batch.column(i).tolist()
                for i, column in enumerate(MEDIA_COLUMNS)
            ]
            for number, *values in zip(*columns, strict=True):
                row = _Row(*values)
                blob = split_blob_name(f"{row.sha256}.{row.extension}")
                # A name that is no hash could lead anywhere: what a damaged or hostile run says is not followed.
                if not 0 <= number < len(names) or blob is None or row.size < 0 or len(row.meta) > META_LIMIT:
                    self.unusable += 1
                    continue
                self.rows.setdefault(names[number], []).append(row)
                self.blobs[blob[0]] = blob[1]
                if '"blobs"' in row.meta:
                    self.blobs.update(_blobs_in(_parsed(row.meta)))
                self.count += 1


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _blobs_in(meta: Mapping[str, Any]) -> dict[str, str]:
    named = meta.get("blobs")
    names = [split_blob_name(n) for n in named if isinstance(n, str)] if isinstance(named, list) else []
    return dict(filter(None, names))


def _item(series: str, row: _Row) -> MediaItem:
    return MediaItem(
        series=series,
        kind=row.kind,
        step=row.step,
        t=row.t,
        index=row.place,
        sha256=row.sha256,
        extension=row.extension,
        size=row.size,
        caption=row.caption,
        meta=_parsed(row.meta),
    )


class MediaSet:
    """Values by series over all writers of a run. Not thread-safe.

    As with scalars, ranks above 0 are called `rank<r>/<name>`, and of each series a later boot's values hide those of
    earlier boots from its first step on, and those above the step it went back to.
    """

    def __init__(self) -> None:
        self.hidden = 0
        self._unreadable: set[str] = set()
        self._tails: dict[str, _MediaTail] = {}
        self._rows: dict[str, list[_Row]] = {}
        self._stamp: object = None

    def refresh(self, ranks: list[list[Boot]]) -> bool:
        """Read what is new from all writers; say whether there was anything."""
        tails = {}
        for boots in ranks:
            for boot in boots:
                tail = tails[boot.folder.name] = self._tails.get(boot.folder.name) or _MediaTail(boot.folder)
                tail.refresh(ended=boot.ended)
        ends = [end for boots in ranks for _, end in shown_before(boots)]
        stamp = [(name, tail.count, end) for (name, tail), end in zip(tails.items(), ends, strict=True)]
        self._tails = tails
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self._arrange(ranks)
        return True

    def _arrange(self, ranks: list[list[Boot]]) -> None:
        self._rows, self.hidden = {}, 0
        for boots in ranks:
            for boot, end in shown_before(boots):
                prefix = f"rank{boot.folder.rank}/" if boot.folder.rank else ""
                for name, every in self._tails[boot.folder.name].rows.items():
                    rows = every if end is None else [row for row in every if row.step < end]
                    self.hidden += len(every) - len(rows)
                    if not rows:
                        continue
                    first = min(row.step for row in rows)
                    earlier = self._rows.get(prefix + name, [])
                    kept = [row for row in earlier if row.step < first]
                    self.hidden += len(earlier) - len(kept)
                    self._rows[prefix + name] = kept + rows
        for rows in self._rows.values():
            rows.sort(key=lambda row: row.step)  # stable: those of one step stay in the order logged

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def series(self) -> dict[str, MediaSeries]:
        """Return what there is of each series."""
        return {
            name: MediaSeries(
                name=name,
                kinds=tuple(dict.fromkeys(row.kind for row in rows)),
                count=len(rows),
                steps=len({row.step for row in rows}),
                first_step=rows[0].step,
                last_step=rows[-1].step,
            )
            for name, rows in self._rows.items()
        }

    def items(self, name: str, steps: set[int] | None) -> list[MediaItem]:
        """Return the items of a series at some steps, or at all."""
        return [_item(name, row) for row in self._rows[name] if steps is None or row.step in steps]

    def blob_name(self, sha256: str) -> str:
        """Return the file name of a blob that a value of this run refers to.

        Raises UsageError for what is no hash, NotFoundError where no value refers to it.
        """
        if split_blob_name(f"{sha256}.png") is None:
            raise UsageError(f"{str(sha256)[:80]!r} is no sha256", hint="it has 64 hexadecimal digits, in lower case")
        for tail in self._tails.values():
            if sha256 in tail.blobs:
                return blob_name(sha256, tail.blobs[sha256])
        raise NotFoundError(f"No recorded value of this run has the hash {sha256}")

    def blob_names(self) -> dict[str, set[str]]:
        """Return the names of all blobs that each writer's values refer to."""
        return {
            writer: {blob_name(sha256, extension) for sha256, extension in tail.blobs.items()}
            for writer, tail in self._tails.items()
        }

    @property
    def complete(self) -> bool:
        """Whether every row that was written could be read and used."""
        return not any(t.unusable or t.foreign or t.tail.damaged or t.tail.lost for t in self._tails.values())

    @contextmanager
    def watching(self, name: str) -> Iterator[None]:
        """Note whether the file of a blob could be read: readers are told of those that could not."""
        try:
            yield
        except DamagedError:
            self._unreadable.add(name)
            raise
        self._unreadable.discard(name)

    def damage(self) -> dict[str, tuple[int, int]]:
        """Return by writer how many bytes cannot be read and how many rows are known to be lost."""
        return {name: (tail.tail.damaged, tail.tail.lost) for name, tail in self._tails.items()}

    def notices(self) -> list[Notice]:
        """Return what a reader must be told of values besides damage."""
        found = []
        if self.hidden:
            found.append(
                Notice(
                    code="hidden",
                    message=f"{self.hidden:,} values are hidden: the run went back and logged those steps again",
                    count=self.hidden,
                )
            )
        if self._unreadable:
            count = len(self._unreadable)
            found.append(
                Notice(
                    code="damaged",
                    message=f"{count:,} file{'s' * (count > 1)} of values cannot be read, of those asked for",
                    hint=f"the others are shown; it is {min(self._unreadable)}"
                    if count == 1
                    else "the others are shown",
                    count=count,
                )
            )
        if unusable := sum(tail.unusable for tail in self._tails.values()):
            found.append(
                Notice(
                    code="damaged",
                    message=f"{unusable:,} values name no file that a value could have: they are left out",
                    count=unusable,
                )
            )
        if foreign := sum(tail.foreign for tail in self._tails.values()):
            found.append(
                Notice(
                    code="damaged",
                    message=f"{foreign:,} streams of values are laid out in an unknown way: they are left out",
                    count=foreign,
                )
            )
        return found
