"""`epochal ls`."""

from __future__ import annotations

import argparse
import time

from epochal.cli.options import add_dir, add_json, existing_root, within
from epochal.cli.summary import judged_by, metrics_of
from epochal.cli.terminal import Terminal, columns, duration, shorten, spark
from epochal.picture.numbers import number
from epochal.workspace import RunReader
from epochal.workspace import open as open_workspace

EXAMPLES = """
epochal ls
epochal ls "project = iris and val_loss < 0.1"
epochal ls --json
"""
_LONGEST_NAME = 40


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("query", nargs="?", help="which runs, as the Studio's search understands it")
    parser.add_argument("-n", "--limit", type=within(int, 1, 10**9), metavar="N", help="at most N runs, the newest")
    add_dir(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """List runs, newest first."""
    root = existing_root(args.dir, heavy=False)
    workspace = open_workspace(root)
    runs = workspace.runs(args.query)
    for notice in workspace.notices:
        terminal.warn(notice.message, hint=notice.hint)
    shown = runs if args.limit is None else runs[: args.limit]
    if args.json:
        terminal.json([_document(each) for each in shown])
        return 0
    if not runs:
        terminal.note(f"There are no runs in {root}" + (" that fit." if args.query else "."))
        return 0
    rows = [["run", "project", "id", "status", "started", "took", "best", "course"]]
    for each in shown:
        info = each.info
        metrics = metrics_of(each)
        judge = judged_by(metrics)
        best = f"{judge} {number(metrics[judge]['best'])}" if judge else ""
        course = spark(each.summary[judge].spark, width=16) if judge else ""
        started = _when(info.created)
        rows.append(
            [
                shorten(info.name, _LONGEST_NAME),
                info.project,
                info.run_id,
                info.status,
                started,
                duration(info.seconds),
                best,
                course,
            ]
        )
    for i, text in enumerate(columns(rows, right=(5,))):
        terminal.line(terminal.style(text, "soft") if i == 0 else text)
    if len(shown) < len(runs):
        terminal.note(f"{len(runs) - len(shown)} more.")
    return 0


def _when(t: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(t))
    except (ValueError, OverflowError, OSError):
        return "?"  # a run from elsewhere may say anything


def _document(each: RunReader) -> dict[str, object]:
    info = each.info
    return {
        "id": each.id,
        "run_id": info.run_id,
        "project": info.project,
        "name": info.name,
        "status": info.status,
        "created": info.created,
        "ended": info.ended,
        "seconds": info.seconds,
        "last_step": info.last_step,
        "last_epoch": info.last_epoch,
        "tags": list(info.tags),
        "archived": info.archived,
        "path": info.path,
        "config": dict(info.config),
        "metrics": metrics_of(each),
    }
