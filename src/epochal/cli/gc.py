"""`epochal gc`."""

from __future__ import annotations

import argparse
import os
import shutil
import time
from pathlib import Path

from epochal.cli.options import add_dir, add_json, existing_root, within
from epochal.cli.terminal import Terminal
from epochal.errors import EpochalError, UsageError
from epochal.store import Library, StoredRun

EXAMPLES = """
epochal gc
epochal gc --trash --older-than 30
epochal gc --dry-run
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--trash", action="store_true", help="empty the trash too: deleted runs are gone for good")
    parser.add_argument(
        "--older-than",
        type=within(float, 0, 36500),
        metavar="DAYS",
        help="of the trash, only what was deleted so many days ago",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    add_dir(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Compact the numbers of ended runs, remove files that no logged value refers to, and empty the trash if asked."""
    if args.older_than is not None and not args.trash:
        raise UsageError("--older-than is about the trash.", hint="Add --trash.")
    root = existing_root(args.dir, elsewhere=False)
    library = Library(root)
    compacted, saved = 0, 0
    skipped: list[str] = []
    ended: list[StoredRun] = []
    for each in library.runs():
        try:
            if each.info().status != "running":
                ended.append(each)
        except EpochalError as error:
            skipped.append(f"{each.project}/{each.run_id}: {error.message}")
    swept, swept_bytes = _sweep(ended, skipped, dry_run=args.dry_run)
    if not args.dry_run:
        from epochal.store.compact import compact

        with terminal.progress("Compacting", unit="runs") as progress:
            for done, stored in enumerate(ended, 1):
                progress(done, len(ended))
                try:
                    report = compact(stored.path)
                except (EpochalError, OSError) as error:
                    skipped.append(f"{stored.project}/{stored.run_id}: {_why(error)}")
                    continue
                compacted += report.bytes_after > 0
                saved += max(0, report.bytes_before - report.bytes_after)
                skipped += [f"{stored.project}/{stored.run_id}: {why}" for why in report.skipped]
    trash = _trash(root, args.older_than) if args.trash else []
    freed = sum(_size(path) for path in trash)
    if not args.dry_run:
        for path in trash:
            shutil.rmtree(path)
    document = {
        "runs": len(ended),
        "compacted": compacted,
        "saved_bytes": saved,
        "swept_files": swept,
        "swept_bytes": swept_bytes,
        "skipped": skipped,
        "trash": [path.name for path in trash],
        "freed_bytes": freed,
        "dry_run": args.dry_run,
    }
    if args.json:
        terminal.json(document)
        return 0
    if args.dry_run:
        words = f"Would compact {len(ended)} ended runs and remove {len(trash)} from the trash"
        terminal.line(f"{words} ({freed:,} bytes).")
        if swept:
            terminal.line(f"Would remove {_files(swept)} that no logged value refers to ({swept_bytes:,} bytes).")
        return 0
    terminal.line(f"{compacted} of {len(ended)} ended runs compacted, {saved:,} bytes saved.")
    if swept:
        terminal.line(f"{_files(swept)} that no logged value refers to removed, {swept_bytes:,} bytes freed.")
    if args.trash:
        terminal.line(f"{len(trash)} runs removed from the trash, {freed:,} bytes freed.")
    for line in skipped:
        terminal.warn(line)
    return 0


def _sweep(runs: list[StoredRun], skipped: list[str], *, dry_run: bool) -> tuple[int, int]:
    """Remove what no logged value refers to; how many files and bytes that is."""
    from epochal.store.sweep import sweep

    files = size = 0
    for stored in runs:
        try:
            report = sweep(stored.path, dry_run=dry_run)
        except (EpochalError, OSError) as error:
            skipped.append(f"{stored.project}/{stored.run_id}: {_why(error)}")
            continue
        files, size = files + report.files, size + report.bytes
        if report.skipped:
            skipped.append(f"{stored.project}/{stored.run_id}: {report.skipped}")
    return files, size


def _why(error: EpochalError | OSError) -> str:
    return error.message if isinstance(error, EpochalError) else error.strerror or str(error)


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _trash(root: Path, older_than_days: float | None) -> list[Path]:
    """Folders of deleted runs; one says when it was deleted by when it was last changed."""
    found = sorted(path for path in (root / ".trash").glob("*/*") if path.is_dir() and not path.is_symlink())
    if older_than_days is None:
        return found
    limit = time.time() - older_than_days * 86400
    return [path for path in found if path.stat().st_ctime < limit]


def _size(folder: Path) -> int:
    return sum(os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(folder) for name in names)  # noqa: PTH118
