"""`epochal repair`."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from epochal.cli.options import add_dir, add_json, existing_root
from epochal.cli.terminal import Terminal
from epochal.store import Library, StoredRun

EXAMPLES = """
epochal repair
epochal repair iris/baseline
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("run", nargs="*", metavar="RUN", help="runs (default: all)")
    add_dir(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Mend runs whose process died: nothing that can be read is lost by it."""
    from epochal.store.repair import repair

    library = Library(existing_root(args.dir, elsewhere=False))
    chosen: list[StoredRun] = [library.run(name) for name in args.run] if args.run else library.runs()
    documents, damaged, refused = [], 0, 0
    with terminal.progress("Repairing", unit="runs") as progress:
        for done, stored in enumerate(chosen, 1):
            report = repair(stored.path)
            documents.append({"id": f"{stored.project}/{stored.run_id}", **asdict(report)})
            damaged += report.damaged
            refused += bool(report.trouble)
            progress(done, len(chosen))
    if args.json:
        terminal.json(documents)
        return 1 if refused else 0
    touched = 0
    for entry in documents:
        if entry["trouble"]:
            terminal.warn(f"{entry['id']} cannot be mended: {entry['trouble']}.", hint=entry["hint"])
            continue
        words = []
        if entry["folded"]:
            words.append(f"{entry['folded']:,} numbers saved from the journal")
        if entry["cut"]:
            words.append(f"{entry['cut']:,} torn bytes cut off")
        if entry["damaged"]:
            words.append(f"{entry['damaged']:,} bytes cannot be read and stay as they are")
        if entry["running"]:
            words.append("still running, left alone")
        if words:
            touched += 1
            terminal.line(f"{entry['id']}: {', '.join(words)}")
    whole = len(chosen) - refused
    if not touched and (whole or not refused):
        terminal.line(f"{whole} run{'' if whole == 1 else 's'}, nothing to mend.")
    if damaged:
        terminal.warn(f"{damaged:,} bytes are damaged.", hint="What is around them stays readable.")
    return 1 if refused else 0
