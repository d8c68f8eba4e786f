"""A folder of runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from html import escape
from urllib.parse import urlparse

from epochal.errors import DamagedError, EpochalError, FormatVersionError, NotFoundError, UsageError
from epochal.facts import Notice
from epochal.store import Library, StoredRun, resolve_root
from epochal.store.cache import CachedStore, given_place
from epochal.store.remote import is_remote
from epochal.views.runs import RunFacts, filter_runs
from epochal.workspace.reader import RunReader


def open(root: str | os.PathLike[str] | None = None) -> Workspace:  # noqa: A001 - users say epochal.open
    """Open a folder of runs for reading: the given one, else `$EPOCHAL_DIR`, else `./epochal-runs`.

    Of `s3://bucket/prefix`, a copy is made in the user's cache; `Workspace.refresh` brings it up to date. Raises
    NotFoundError, UsageError, and RemoteError where the object store does not answer.

    >>> ws = epochal.open("epochal-runs")                           # doctest: +SKIP
    >>> ws.run("latest").film("layers.0.weight").save("weights.gif")  # doctest: +SKIP
    """
    place = given_place(root)
    if isinstance(place, str) and is_remote(place):
        cached = CachedStore(place)
        cached.refresh()
        return Workspace(Library(cached.root), cached)
    if isinstance(root, str) and urlparse(root).scheme not in ("", "file") and "://" in root:
        raise UsageError(f"{root!r} is not a folder.", hint="Folders on this machine can be opened, and s3://.")
    if isinstance(root, str) and root.startswith("file://"):
        root = urlparse(root).path
    folder = resolve_root(root)
    if not folder.is_dir():
        kind = "is a file, not a folder" if folder.exists() else "does not exist"
        raise NotFoundError(
            f"The folder of runs {str(folder)!r} {kind}.",
            hint="Record a run first, or name the folder: epochal.open('path/to/epochal-runs').",
        )
    return Workspace(Library(folder))


class Workspace:
    """The runs of a folder, newest first. Made by `epochal.open`."""

    def __init__(self, library: Library, cached: CachedStore | None = None) -> None:
        self._library = library
        self._cached = cached
        self._readers: dict[StoredRun, RunReader] = {}

    @property
    def path(self) -> str:
        """The folder."""
        return str(self._library.root)

    def refresh(self) -> None:
        """Take what is new in the object store that was opened; a folder on this machine is always as it is."""
        if self._cached is not None:
            self._cached.refresh()

    def runs(self, query: str | None = None) -> list[RunReader]:
        """All runs, newest first, or those that a query means: `runs("val_loss < 0.1 and config.lr = 0.01")`.

        A run that cannot be read at all (damaged, or written by a newer Epochal) is left out; `notices` say why.
        """
        readers = [reader for reader in map(self._reader, self._library.runs()) if _trouble(reader) is None]
        if query is None or not query.strip():
            return readers
        described = [(RunFacts(info=r.info, summaries=r.summary, version=""), r) for r in readers]
        kept = {id(fact) for fact in filter_runs(query, [fact for fact, _ in described])}
        return [reader for fact, reader in described if id(fact) in kept]

    def run(self, name: str = "latest") -> RunReader:
        """One run: `latest`, its id (or the start of it), its name, or `project/name`.

        NotFoundError names runs that are called nearly so, UsageError says when several are called so.
        """
        return self._reader(self._library.run(name))

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Of each run that cannot be read at all: why."""
        found = map(_trouble, map(self._reader, self._library.runs()))
        return tuple(Notice(code=e.code, message=e.message, hint=e.hint, count=1) for e in found if e is not None)

    def __getitem__(self, name: str) -> RunReader:
        return self.run(name)

    def __iter__(self) -> Iterator[RunReader]:
        return iter(self.runs())

    def __len__(self) -> int:
        return len(self.runs())

    def __repr__(self) -> str:
        count = len(self._library.runs())
        return f"Workspace({self.path!r}, {count} run{'' if count == 1 else 's'})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(i.project)}</td><td>{escape(i.name)}</td><td>{escape(i.run_id)}</td>"
            f"<td>{escape(i.status)}</td></tr>"
            for i in (reader.info for reader in self.runs()[:50])
        )
        head = "<tr><th>project</th><th>name</th><th>id</th><th>status</th></tr>"
        return f"<code>{escape(repr(self))}</code><table>{head}{rows}</table>"

    def _reader(self, stored: StoredRun) -> RunReader:
        if stored not in self._readers:
            self._readers[stored] = RunReader(stored)
        return self._readers[stored]


def _trouble(reader: RunReader) -> EpochalError | None:
    try:
        _ = reader.info
    except (DamagedError, FormatVersionError, NotFoundError) as error:
        return error
    return None
