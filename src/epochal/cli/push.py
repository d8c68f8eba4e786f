"""`epochal push`."""

from __future__ import annotations

import argparse
from pathlib import Path

from epochal.cli.options import add_json, existing_root
from epochal.cli.terminal import Terminal
from epochal.errors import NotFoundError, UsageError
from epochal.store import Library
from epochal.store.labs import labs
from epochal.store.mirror import Mirror
from epochal.store.remote import Remote, is_remote

EXAMPLES = """
epochal push s3://team/runs
epochal push experiments/runs s3://team/runs
epochal push s3://team/runs --only mnist --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "places", nargs="+", metavar="DIR", help="the folder of runs (default: as everywhere), and s3://bucket/prefix"
    )
    parser.add_argument(
        "--only", metavar="NAME", action="append", default=[], help="a run, or a project; may be repeated"
    )
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Put what is new of runs and labs into an object store."""
    if len(args.places) > 2 or not is_remote(args.places[-1]) or any(map(is_remote, args.places[:-1])):
        raise UsageError("push takes a folder of runs and an address.", hint="epochal push DIR s3://bucket/prefix")
    root = existing_root(args.places[0] if len(args.places) == 2 else None, elsewhere=False)
    mirror = Mirror(root, Remote(args.places[-1]))
    folders = _folders(root, args.only)
    files = size = 0
    with terminal.progress("Putting", unit="runs") as progress, mirror.held():
        for done, folder in enumerate(folders, 1):
            pushed = mirror.push(folder)
            files, size = files + pushed.files, size + pushed.bytes
            progress(done, len(folders))
    if args.json:
        terminal.json({"address": mirror.remote.address, "folders": folders, "files": files, "bytes": size})
    else:
        what = f"{len(folders)} folder{'' if len(folders) == 1 else 's'} of runs and labs"
        terminal.line(
            f"{what}: {files:,} file{'' if files == 1 else 's'} ({size / 1e6:,.1f} MB) put into {mirror.remote.address}"
        )
        terminal.line(f"view   epochal view {mirror.remote.address}")
    return 0


def _folders(root: Path, only: list[str]) -> list[str]:
    """The folders of runs and labs that are meant, the labs last: they name runs."""
    library = Library(root)
    runs = {f"{stored.project}/{stored.run_id}": stored.project for stored in library.runs()}
    found = {**runs, **{Path(info.path).relative_to(root).as_posix(): info.project for info in labs(root)}}
    if only:
        named: set[str] = set()
        for name in only:
            of_it = {folder for folder, project in found.items() if project == name}
            if not of_it:
                stored = library.run(name)
                of_it = {f"{stored.project}/{stored.run_id}"}
            named |= of_it
        return [folder for folder in found if folder in named]
    if not found:
        raise NotFoundError(
            f"There are no runs in {root}.", hint="Name another folder: epochal push DIR s3://bucket/prefix."
        )
    return list(found)
