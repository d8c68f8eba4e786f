"""Tidy up after writers that died: what they left in the journal goes into the stream, torn tails are cut off.

Nothing here is needed to read a run: readers do all of it in memory. It is for other programs, which know neither the
journal nor torn tails, and for compaction.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epochal.errors import DamagedError, FormatVersionError
from epochal.store.arrow import MEDIA_COLUMNS, SCALAR_COLUMNS, STATISTICS_COLUMNS, Column
from epochal.store.arrowread import ForeignStreamError, StreamReader
from epochal.store.begin import check_version
from epochal.store.boots import Boot, list_boots
from epochal.store.files import read_json, replace_file
from epochal.store.journal import JournalReader
from epochal.store.layout import RunFolder
from epochal.store.scalars import ScalarTail
from epochal.store.segments import SegmentWriter, list_segments
from epochal.store.summary import Tally, summaries_to_json

__all__ = ["RepairReport", "repair"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What was repaired: numbers folded from journals, bytes cut off, and the writers it was done to.

    `damaged` bytes cannot be read and stay as they are; `running` names writers that were left alone. `trouble` says
    why nothing was done, or not all of it, `hint` what to do then.
    """

    folded: int = 0
    cut: int = 0
    writers: tuple[str, ...] = ()
    damaged: int = 0
    running: tuple[str, ...] = ()
    trouble: str = ""
    hint: str = ""


def repair(path: str | os.PathLike[str]) -> RepairReport:
    """Repair every part of a run whose writer is gone. Can be repeated, and stopped at any moment, without loss.

    A run whose run.json cannot be read, or that another version wrote, is left as it is: what lies in it is not known.
    """
    run = RunFolder(Path(path))
    try:
        check_version(read_json(run.run_json), run.path)
    except (DamagedError, FormatVersionError) as error:
        return RepairReport(trouble=error.message, hint=error.hint)
    except OSError as error:
        return RepairReport(trouble=f"{run.run_json} cannot be read: {error.strerror or error}")
    folded = cut = damaged = 0
    writers, running = [], []
    trouble, hint = "", ""
    for boots in list_boots(run, {}):
        for boot in boots:
            if boot.status(time.time()) == "running":
                running.append(boot.folder.name)
                continue
            try:
                rows, size, bad = _repair_writer(run, boot)
            except DamagedError as error:
                trouble, hint = error.message, error.hint
                continue
            except OSError as error:
                trouble, hint = f"{boot.folder.name}: {error.strerror or error}", "is the disk full or read-only?"
                continue
            folded, cut, damaged = folded + rows, cut + size, damaged + bad
            if rows or size:
                writers.append(boot.folder.name)
    return RepairReport(
        folded=folded,
        cut=cut,
        writers=tuple(writers),
        damaged=damaged,
        running=tuple(running),
        trouble=trouble,
        hint=hint,
    )


def _repair_writer(run: RunFolder, boot: Boot) -> tuple[int, int, int]:
    folder = boot.folder
    cut, damaged, rows_end = _cut_tail(folder.scalars, SCALAR_COLUMNS)
    cut_stats, damaged_stats, _ = _cut_tail(folder.stats, STATISTICS_COLUMNS)
    cut_media, damaged_media, _ = _cut_tail(folder.media, MEDIA_COLUMNS)
    # A journal means that it died: its last summary may be older than its last fold.
    outdated = cut > 0 or folder.journal.exists()
    rows = _fold_journal(run, boot, rows_end)
    if outdated:
        _renew_summary(run, boot)
    folder.journal.unlink(missing_ok=True)  # last: while it is there, readers count for themselves
    for leftover in [*folder.path.glob(".*.tmp"), *folder.path.glob("*/.*.tmp"), *folder.blobs.glob(".*.tmp")]:
        with contextlib.suppress(OSError):
            leftover.unlink()
    return rows, cut + cut_stats + cut_media, damaged + damaged_stats + damaged_media


def _cut_tail(folder: Path, columns: tuple[Column, ...]) -> tuple[int, int, int]:
    """Cut every segment after its last whole message; return bytes cut, bytes damaged, and the last row's number."""
    cut = damaged = rows_end = 0
    for name in list_segments(folder):
        path = folder / name
        reader = StreamReader(columns, rows_end=rows_end)
        try:
            reader.feed(path.read_bytes())
        except ForeignStreamError:
            continue
        rows_end = max(rows_end, reader.rows_end)
        damaged += reader.damaged
        if reader.torn:
            cut += reader.torn
            if reader.offset:
                os.truncate(path, reader.offset)
            else:
                path.unlink()
    return cut, damaged, rows_end


def _fold_journal(run: RunFolder, boot: Boot, rows_end: int) -> int:
    """Append what only the journal holds as a new segment; return how many rows that were."""
    folder = boot.folder
    if not folder.journal.exists():
        return 0
    # Rows that were compacted are folded too, though no segment says so.
    tail = ScalarTail(run, folder)
    tail.refresh(ended=False)
    records = JournalReader(folder.journal).read_after(max(rows_end, tail.rows_end))
    names = tail.journal_names()
    records = records[records["series"] < len(names)]
    if len(records):
        segments = list_segments(folder.scalars)
        following = int(segments[-1].split(".")[0]) + 1 if segments else 0
        writer = SegmentWriter(folder.scalars, SCALAR_COLUMNS, first=following)
        rows = records[np.argsort(records["series"], kind="stable")]
        arrays = {"name": rows["series"], "step": rows["step"], "t": rows["t"], "v": rows["v"]}
        writer.write(arrays, names, rows_end=int(records["seq"][-1]))
        writer.end()
    return len(records)


def _renew_summary(run: RunFolder, boot: Boot) -> None:
    tail = ScalarTail(run, boot.folder)
    tail.refresh(ended=True)
    tallies = []
    for name, rows in tail.series.items():
        whole = rows.series(name)
        tallies.append(Tally(name))
        tallies[-1].add(whole.steps, whole.v)
    replace_file(boot.folder.summary, summaries_to_json(tallies, rows_end=tail.rows_end), sync=True)
