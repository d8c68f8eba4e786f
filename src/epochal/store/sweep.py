"""Blobs that no value refers to: what a crash left between the bytes and the row that would have named them."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from epochal.store.blobs import split_blob_name
from epochal.store.boots import list_boots
from epochal.store.layout import RunFolder
from epochal.store.mediaread import MediaSet
from epochal.store.segments import list_segments

__all__ = ["SweepReport", "sweep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What was (or would be) removed: files and their bytes; `skipped` says why a run was left alone."""

    files: int = 0
    bytes: int = 0
    skipped: str = ""


def sweep(path: str | os.PathLike[str], *, dry_run: bool = False) -> SweepReport:
    """Remove the blobs of a run that none of its values refers to, and unfinished ones.

    A run that a process still writes, or whose rows cannot all be read, is left as it is.
    """
    run = RunFolder(Path(path))
    ranks = list_boots(run, {})
    writers = [boot.folder for boots in ranks for boot in boots if boot.folder.blobs.is_dir()]
    if not writers:
        return SweepReport()
    if any(boot.status(time.time()) == "running" for boots in ranks for boot in boots):
        return SweepReport(skipped="it is still being written")
    media = MediaSet()
    media.refresh(ranks)
    if not media.complete or not all(_readable(folder.media) for folder in writers):
        return SweepReport(skipped="some rows of its values cannot be read, and may name any of its files")
    named = set().union(*media.blob_names().values())
    files = size = 0
    for folder in (writer.blobs for writer in writers):
        if folder.is_symlink() or folder.parent.is_symlink():
            continue  # it leads elsewhere, where nothing is ours
        with os.scandir(folder) as entries:
            for entry in entries:
                unfinished = entry.name.startswith(".") and entry.name.endswith(".tmp")
                if not unfinished and (split_blob_name(entry.name) is None or entry.name in named):
                    continue
                if not entry.is_file(follow_symlinks=False):
                    continue
                with contextlib.suppress(OSError):
                    taken = entry.stat(follow_symlinks=False).st_size
                    if not dry_run:
                        os.unlink(entry.path)  # noqa: PTH108 - the path is a string already
                    files, size = files + 1, size + taken
    return SweepReport(files=files, bytes=size)


def _readable(folder: Path) -> bool:
    """Whether there are rows, and every file of them can be opened: without them nothing says what is named."""
    names = list_segments(folder)
    return bool(names) and all(os.access(folder / name, os.R_OK) for name in names)
