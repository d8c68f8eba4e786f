"""The rows of the runs table: fast for a thousand runs, since a run that ended is looked at with a few `stat` calls."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from epochal.errors import DamagedError, EpochalError
from epochal.facts import Notice, RunInfo, SeriesSummary
from epochal.store.files import from_json_number
from epochal.store.index import Index
from epochal.store.reader import StoredRun
from epochal.store.summary import summary_from_json

__all__ = ["LibraryRow", "Table"]


@dataclass(slots=True)
class LibraryRow:
    """One run of the table. `summaries` are made from their stored form the first time they are asked for."""

    run: StoredRun
    info: RunInfo
    version: str
    stored: bytes = field(repr=False)
    _summaries: Mapping[str, SeriesSummary] | None = field(default=None, repr=False)

    @property
    def summaries(self) -> Mapping[str, SeriesSummary]:
        """What each scalar series came to."""
        if self._summaries is None:
            made = orjson.loads(self.stored)
            self._summaries = {name: summary_from_json(name, value) for name, value in made.items()}
        return self._summaries


@dataclass(slots=True)
class _Kept:
    stamp: tuple[int, ...]
    row: LibraryRow


class Table:
    """Rows of all runs, kept up to date. Not thread-safe."""

    def __init__(self, index: Index) -> None:
        self.notices: list[Notice] = []
        self._index = index
        self._kept: dict[str, _Kept] = {}
        self._loaded = False

    def rows(self, runs: list[StoredRun]) -> list[LibraryRow]:
        """Return the rows of these runs in their order; a run that cannot be read is left out and noticed."""
        stored = {} if self._loaded else self._index.load()
        self._loaded = True
        self.notices = []
        rows: list[LibraryRow] = []
        fresh: dict[str, tuple[str, bytes, bytes]] = {}
        kept: dict[str, _Kept] = {}
        for run in runs:
            key = f"{run.project}/{run.run_id}"
            stamp = _stamp(run)
            known = self._kept.get(key)
            if known is None and key in stored:
                known = _restore(run, *stored[key])
            if known is None or known.stamp != stamp or _moved(known.row):
                try:
                    known = _Kept(stamp, _look(run))
                except (EpochalError, OSError) as error:
                    self.notices.append(_notice(key, error))
                    continue
                packed = _pack(known.row) if known.row.info.status in ("finished", "failed", "stopped") else None
                if packed is not None:
                    fresh[key] = (_words(stamp), packed, known.row.stored)
            kept[key] = known
            rows.append(known.row)
        gone = (self._kept.keys() | stored.keys()) - kept.keys()
        if fresh or gone:
            self._index.save(fresh, gone)
        self._kept = kept
        return rows


def _stamp(run: StoredRun) -> tuple[int, ...]:
    """Return what changes when a run that ended is changed: resumed, renamed, compacted, replaced."""
    try:
        folder = os.stat(run.path)  # noqa: PTH116
        writers = os.stat(f"{run.path}/w").st_mtime_ns  # noqa: PTH116
    except OSError:
        return (0,)
    return (folder.st_mtime_ns, folder.st_ino, writers)


def _moved(row: LibraryRow) -> bool:
    """Say whether a run that has not ended by itself has something new."""
    return row.info.status in ("running", "crashed") and row.run.version() != row.version


def _words(stamp: tuple[int, ...]) -> str:
    return " ".join(map(str, stamp))


def _look(run: StoredRun) -> LibraryRow:
    # The version first: what comes meanwhile is then looked at once more, never missed.
    version = run.version()
    info, stored = run.info(), run.stored_summaries()
    row = LibraryRow(run, info, version, orjson.dumps(stored))
    try:
        _ = row.summaries  # a summary that cannot be made is told now, not when the table is drawn
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise DamagedError(f"summary.json of {run.path} holds something unexpected: {error}") from error
    return row


def _pack(row: LibraryRow) -> bytes | None:
    """Return what the index keeps of a row; None for a config it would change, such as one with integers of 80 bits."""
    try:
        return orjson.dumps({"info": row.info, "v": row.version})
    except TypeError:
        return None


def _restore(run: StoredRun, stamp: str, info: bytes, stored: bytes) -> _Kept | None:
    try:
        value: dict[str, Any] = orjson.loads(info)
        facts = value["info"]
        facts["path"] = str(run.path)
        facts["tags"] = tuple(facts["tags"])
        facts["notices"] = tuple(Notice(**n) for n in facts["notices"])
        if facts["last_epoch"] is not None:
            facts["last_epoch"] = from_json_number(facts["last_epoch"])
        row = LibraryRow(run, RunInfo(**facts), value["v"], stored)
        return _Kept(tuple(map(int, stamp.split())), row)
    except (ValueError, TypeError, KeyError):
        return None


def _notice(key: str, error: Exception) -> Notice:
    code = getattr(error, "code", "damaged")
    return Notice(
        code=code,
        message=f"run {key} is not shown: {getattr(error, 'message', error)}",
        hint=getattr(error, "hint", ""),
        count=1,
    )
