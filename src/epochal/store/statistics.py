"""The statistics and histograms of one process's part of a run, read series by series on demand.

Only where each row lies is kept in memory (4 bytes a row); the rows themselves, 250 or 370 bytes each, stay on disk.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.facts import STATISTICS
from epochal.store.arrow import STATISTICS_COLUMNS, Column
from epochal.store.arrowread import Batch
from epochal.store.boots import Boot, shown_before
from epochal.store.columns import StatisticsTable
from epochal.store.layout import WriterFolder
from epochal.store.tail import SegmentTail

__all__ = ["StatisticsSet", "StatisticsTail", "join_tables"]

Arrays = dict[str, npt.NDArray[Any]]
StepsAndValues = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""Steps and values of one column."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Rows of one series in one batch: file, file offset of each column, first row, and which rows from there on."""

    path: Path
    columns: tuple[Column, ...]
    places: tuple[int, ...]
    first: int
    rows: npt.NDArray[np.int64]


class StatisticsTail:
    """Reads one writer's statistics and keeps up with them. Not thread-safe."""

    def __init__(self, folder: WriterFolder) -> None:
        self.places: dict[str, list[_Place]] = {}
        self.unknown = 0
        self._complete = False
        self._tail = SegmentTail(folder.stats, STATISTICS_COLUMNS, take=self._take)
        self._cache: dict[str, tuple[int, StatisticsTable]] = {}

    @property
    def damaged(self) -> int:
        """Bytes that could not be read."""
        return self._tail.damaged

    @property
    def lost(self) -> int:
        """Rows known to be lost to damage."""
        return self._tail.lost

    def refresh(self, *, ended: bool) -> bool:
        """Look for new rows; say whether there were any."""
        if self._complete:
            return False
        changed = self._tail.refresh()
        self._complete = ended
        return changed

    def _take(self, batches: list[Batch], names: list[str], path: Path) -> None:
        for batch in batches:
            ids = batch.column(0)
            order = np.argsort(ids, kind="stable")
            numbers, starts = np.unique(ids[order], return_index=True)
            for number, rows in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
                if not 0 <= number < len(names):
                    self.unknown += len(rows)
                    continue
                first = int(rows[0])
                place = _Place(path, batch.columns, batch.places, first, rows - first)
                self.places.setdefault(names[number], []).append(place)

    def read(self, series: str) -> StatisticsTable:
        """Return a series' rows in the order recorded."""
        places = self.places.get(series, [])
        known, table = self._cache.get(series, (0, None))
        if table is not None and known == len(places):
            return table
        fresh = _table(series, _read_places(places[known:]))
        table = fresh if table is None else join_tables(series, [table, fresh])
        self._cache[series] = (len(places), table)
        while len(self._cache) > 64:
            self._cache.pop(next(iter(self._cache)))
        return table

    def column(self, series: str, name: str, files: dict[Path, mmap.mmap]) -> StepsAndValues:
        """Return the steps and one column of a series, by step; nothing else of its rows is read."""
        parts = [_column_of(place, name, files) for place in self.places.get(series, [])]
        steps = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, np.int64)
        values = np.concatenate([part[1] for part in parts]) if parts else np.empty(0)
        return _by_step(steps, values)


@dataclass(frozen=True, slots=True)
class _Part:
    """A series' rows in one writer's part; those from step `end` on are hidden."""

    tail: StatisticsTail
    name: str
    end: int | None

    def read(self) -> StatisticsTable:
        table = self.tail.read(self.name)
        return table if self.end is None else join_tables(self.name, [table], ends=[self.end])

    def column(self, name: str, files: dict[Path, mmap.mmap]) -> StepsAndValues:
        steps, values = self.tail.column(self.name, name, files)
        keep = slice(0, None if self.end is None else int(np.searchsorted(steps, self.end)))
        return steps[keep], values[keep]


class StatisticsSet:
    """Statistics by series over all writers of a run. Not thread-safe.

    Series of the lowest rank that has any keep their names; those of another rank r are called `rank<r>/<name>`. Later
    boots hide rows of earlier ones as they do with scalars.
    """

    def __init__(self) -> None:
        self.tails: dict[str, StatisticsTail] = {}
        self._parts: dict[str, list[_Part]] = {}
        self._layout: object = None

    def refresh(self, ranks: list[list[Boot]]) -> None:
        """Look for new rows of all writers."""
        tails: dict[str, StatisticsTail] = {}
        changed = False
        for boots in ranks:
            for boot in boots:
                tail = self.tails.get(boot.folder.name) or StatisticsTail(boot.folder)
                changed |= tail.refresh(ended=boot.ended)
                tails[boot.folder.name] = tail
        layout = [(boot.folder.name, end) for boots in ranks for boot, end in shown_before(boots)]
        if changed or layout != self._layout:
            self.tails, self._layout = tails, layout
            self._arrange(ranks)

    def _arrange(self, ranks: list[list[Boot]]) -> None:
        self._parts = {}
        for boots in ranks:
            prefix = f"rank{boots[0].folder.rank}/" if self._parts else ""
            parts: dict[str, list[_Part]] = {}
            for boot, end in shown_before(boots):
                tail = self.tails[boot.folder.name]
                for name in tail.places:
                    part = _Part(tail, name, end)
                    if end is None or len(part.read()):
                        parts.setdefault(name, []).append(part)
            self._parts |= {prefix + name: found for name, found in parts.items()}

    def names(self) -> list[str]:
        """Return the names of all series, in the order first recorded."""
        return list(self._parts)

    def rows(self) -> dict[str, int]:
        """Return how many rows each series has on disk, without reading them."""
        return {
            name: sum(len(place.rows) for part in parts for place in part.tail.places[part.name])
            for name, parts in self._parts.items()
        }

    def read(self, series: str) -> StatisticsTable | None:
        """Return the rows of a series; None when there is none of that name."""
        tables = [part.read() for part in self._parts.get(series, ())]
        if not tables:
            return None
        ends = _ends([int(table.steps.min()) for table in tables])
        # The tails know a series by its plain name, without the rank.
        named = len(tables) == 1 and tables[0].series == series
        return tables[0] if named else join_tables(series, tables, ends=ends)

    def columns(self, prefix: str, name: str) -> dict[str, StepsAndValues]:
        """Return one column of all series whose names begin so, each with its steps."""
        files: dict[Path, mmap.mmap] = {}
        found: dict[str, StepsAndValues] = {}
        try:
            for series in [series for series in self._parts if series.startswith(prefix)]:
                parts = [part.column(name, files) for part in self._parts[series]]
                ends = _ends([int(steps.min()) for steps, _ in parts])
                cuts = [slice(0, None if e is None else int(np.searchsorted(s, e)))
                        for (s, _), e in zip(parts, ends, strict=True)]  # fmt: skip
                kept = [(steps[cut], values[cut]) for (steps, values), cut in zip(parts, cuts, strict=True)]
                found[series] = _by_step(np.concatenate([s for s, _ in kept]), np.concatenate([v for _, v in kept]))
        finally:
            for mapped in files.values():
                mapped.close()
        return found


def _ends(starts: list[int]) -> list[int | None]:
    """Of parts one after the other, by their first steps: the step from which each is hidden by a later one."""
    ends: list[int | None] = []
    first: int | None = None
    for start in reversed(starts):
        ends.insert(0, first)
        first = start if first is None else min(first, start)
    return ends


def _column_of(place: _Place, name: str, files: dict[Path, mmap.mmap]) -> StepsAndValues:
    if place.path not in files:
        with place.path.open("rb") as file:
            files[place.path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    found: Arrays = {"step": np.empty(0, np.int64), name: np.full(len(place.rows), np.nan)}  # of an earlier version
    for column, at in zip(place.columns, place.places, strict=True):
        if column.name in found:
            size, span = column.dtype.itemsize, int(place.rows[-1]) + 1
            data = files[place.path][at + size * place.first : at + size * (place.first + span)]
            found[column.name] = np.frombuffer(data, column.dtype)[place.rows]
    return found["step"], found[name].astype(np.float64)


def _by_step(steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> StepsAndValues:
    if not bool(np.any(steps[1:] < steps[:-1])):
        return steps, values
    order = np.argsort(steps, kind="stable")
    return steps[order], values[order]


def _read_places(places: list[_Place]) -> Arrays:
    parts: list[Arrays] = []
    fd, opened = -1, None
    try:
        for place in places:
            if place.path != opened:
                if fd >= 0:
                    os.close(fd)
                    fd = -1
                fd, opened = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC), place.path
            parts.append(_read_place(fd, place))
    finally:
        if fd >= 0:
            os.close(fd)
    names = [c.name for c in STATISTICS_COLUMNS if c.kind != "name"]
    if not parts:
        return {c.name: np.empty((0, c.width) if c.width > 1 else 0, c.dtype) for c in STATISTICS_COLUMNS}
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _read_place(fd: int, place: _Place) -> Arrays:
    span = int(place.rows[-1]) + 1
    out: Arrays = {}
    for column, at in zip(place.columns, place.places, strict=True):
        if column.kind == "name":
            continue
        size = column.dtype.itemsize * column.width
        data = os.pread(fd, size * span, at + size * place.first)
        values = np.frombuffer(data, column.dtype)
        if column.width > 1:
            values = values.reshape(-1, column.width)
        out[column.name] = values[place.rows] if column.kind != "u2" else values[place.rows].astype("<u4")
    for column in STATISTICS_COLUMNS:
        if column.kind == "f8" and column.name not in out:  # of a segment of an earlier version
            out[column.name] = np.full(len(place.rows), np.nan)
    return out


def _table(series: str, arrays: Arrays) -> StatisticsTable:
    steps = arrays["step"]
    if bool(np.any(steps[1:] < steps[:-1])):
        order = np.argsort(steps, kind="stable")
        arrays = {name: values[order] for name, values in arrays.items()}
    return StatisticsTable(
        series=series,
        steps=arrays["step"],
        t=arrays["t"],
        columns={name: arrays[name] for name in STATISTICS},
        lo=arrays["lo"],
        hi=arrays["hi"],
        counts=arrays["counts"],
    )


def join_tables(series: str, tables: list[StatisticsTable], *, ends: list[int | None] | None = None) -> StatisticsTable:
    """Return tables one after the other, sorted by step; `ends` cuts each before a step."""
    arrays: dict[str, list[npt.NDArray[Any]]] = {}
    for table, end in zip(tables, ends or [None] * len(tables), strict=True):
        keep = slice(0, len(table) if end is None else int(np.searchsorted(table.steps, end)))
        columns: Arrays = {"step": table.steps, "t": table.t, "lo": table.lo, "hi": table.hi, "counts": table.counts}
        for name, values in (columns | dict(table.columns)).items():
            arrays.setdefault(name, []).append(values[keep])
    return _table(series, {name: np.concatenate(parts) for name, parts in arrays.items()})
