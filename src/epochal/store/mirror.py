"""A folder of a run or a lab and the same folder in an object store: either is brought up to date from the other.

What makes that safe while the folder is being written, and read at the other end, is the order of things. A reader
puts a run together from the journal and from what was folded out of it since, so the journal is read before the
segments and put after them. A snapshot is something to go on from, so it is put after all that was logged up to it.
`state.json` says that a run is finished, so it is read first and put last. Taking a folder from the store goes the same
way: the journal is taken only as the listing saw it, and with the segments of that listing, or newer ones.

Beside the folders, in `.sync`, lies what each file was when it last was the same at both ends. Who changed it since is
the one whose file counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from epochal.errors import StorageFullError
from epochal.store.files import replace_file, to_json
from epochal.store.journal import copy_journal
from epochal.store.remote import Entry, Remote, safe_parts

__all__ = ["SYNC_NAME", "Mirror", "Pulled", "Pushed", "folder_of", "is_heavy"]

SYNC_NAME = ".sync"
WORKERS = 8
SMALL_BYTES = 4_000_000
"""What is up to so large is read whole before it is put."""
_HEAVY = ("params", "grads", "blobs", "network", "files")
_RESTORED = ("params", "grads")
_LATE = ("summary.json", "journal.bin", "state.json")
"""Read before all else, and put after it, in this order."""
_MARKS = (1 << 56) - 1
"""These are made anew all the time, so a mark of what is in them stands for the time of change; no time is as small."""
_LAB_FOLDER = ".labs"

Wanted = Callable[[str], bool]
Known = dict[str, tuple[int, int, str]]
"""By name below the folder: size, time of change in ns, and tag in the store, when both ends were the same."""


@dataclass(slots=True)
class Pushed:
    """What a push did, and what it left."""

    files: int = 0
    bytes: int = 0
    deleted: int = 0


@dataclass(slots=True)
class Pulled:
    """What a pull did; `refused` are names of objects that cannot be files here, `kept` such as were changed here."""

    files: int = 0
    bytes: int = 0
    refused: list[str] = field(default_factory=list)
    kept: int = 0


def folder_of(key: str) -> str | None:
    """The folder of a run or a lab that an object belongs to, None where it belongs to neither."""
    parts = key.split("/")
    count = 3 if len(parts) > 1 and parts[1] == _LAB_FOLDER else 2
    if len(parts) <= count or parts[0].startswith(".") or parts[count - 1].startswith("."):
        return None
    return "/".join(parts[:count])


def is_heavy(name: str) -> bool:
    """Whether a file below a run's folder is one that facts and curves do without: snapshots, values, networks."""
    parts = name.split("/")
    return name == "checkpoint.pt" or (len(parts) > 3 and parts[0] == "w" and not set(parts[2:4]).isdisjoint(_HEAVY))


class Mirror:
    """Folders below `root` and the same below `remote`. One process works on a folder at a time: see `held`.

    A `cache` is a root where nothing is recorded: of what differs there, only meta.json is anybody's.
    """

    def __init__(self, root: str | os.PathLike[str], remote: Remote, *, cache: bool = False) -> None:
        self.root, self.remote, self._cache = Path(root), remote, cache
        digest = hashlib.blake2b(remote.address.encode("utf-8", "replace"), digest_size=8).hexdigest()
        self._notes = self.root / SYNC_NAME / digest
        self._known: dict[str, tuple[tuple[int, int], Known]] = {}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from working on this root meanwhile, where the system can."""
        self._on_disk(lambda: self._notes.mkdir(parents=True, exist_ok=True))
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        with (self._notes / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # ---- to the store

    def push(self, folder: str, *, skip: Sequence[str] = ()) -> Pushed:
        """Put what was changed or added in a folder, and delete what was deleted; `skip` names folders in it to leave.

        Raises RemoteError at the first thing that the store does not take; what was put is noted, and stays.
        """
        done, known = Pushed(), dict(self._read(folder))
        before = dict(known)
        base = self.root / folder
        if not base.is_dir():
            return done
        try:
            # What can be gone on with is looked for first: all that was logged up to it is there by then.
            restored = {name: found for name, found in _files(base, skip).items() if _is_restored(name)}
            with contextlib.ExitStack() as stack:
                held = {
                    name: stack.enter_context((base / name).open("rb"))
                    for name in restored
                    if name == "checkpoint.pt" and (base / name).exists()
                }
                late = self._late(base, skip)
                others = {
                    name: found
                    for name, found in _files(base, skip).items()
                    if not _is_restored(name) and name.rpartition("/")[2] not in _LATE
                }
                self._put(folder, _sorted(others), known, done)
                for wanted in _LATE[:2]:
                    for name, data in late.items():
                        if name.endswith(f"/{wanted}"):
                            self._put_bytes(folder, name, data, known, done)
                self._put(folder, [restored], known, done, held)
                gone = [n for n in known if n not in others and n not in restored and n not in late]
                gone = [n for n in gone if not _skipped(n, skip) and not os.path.lexists(base / n)]
                if gone and (base / "run.json").exists() | (base / "lab.json").exists():
                    self.remote.delete([f"{folder}/{name}" for name in gone])
                    done.deleted += len(gone)
                    for name in gone:
                        del known[name]
                for name, data in late.items():
                    if name.endswith("/state.json"):
                        self._put_bytes(folder, name, data, known, done)
        finally:
            if known != before:
                self._write(folder, known)
        return done

    def _late(self, base: Path, skip: Sequence[str]) -> dict[str, bytes]:
        """What is read first: the state, then what was summed up, then the journal, of each writer."""
        found: dict[str, bytes] = {}
        for writer in sorted((base / "w").glob("*")) if "w" not in skip else ():
            with contextlib.suppress(OSError):
                found[f"w/{writer.name}/state.json"] = (writer / "state.json").read_bytes()
            rows = 0
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                data = (writer / "summary.json").read_bytes()
                found[f"w/{writer.name}/summary.json"] = data
                rows = int(json.loads(data)["rows_end"])
            if (journal := copy_journal(writer / "journal.bin", after=rows)) is not None:
                found[f"w/{writer.name}/journal.bin"] = journal
        return found

    def _put(
        self,
        folder: str,
        groups: Iterable[dict[str, tuple[int, int]]],
        known: Known,
        done: Pushed,
        held: dict[str, Any] | None = None,
    ) -> None:
        """Put what differs from what is known, group after group, the files of one group beside each other."""
        lock = threading.Lock()

        def one(name: str) -> None:
            size, changed = group[name]
            try:
                with contextlib.ExitStack() as stack:
                    file = (held or {}).get(name) or stack.enter_context((self.root / folder / name).open("rb"))
                    if size <= SMALL_BYTES:
                        data = file.read()
                        size, tag = len(data), self.remote.put(f"{folder}/{name}", data)
                    else:
                        tag = self.remote.put(f"{folder}/{name}", file)
            except FileNotFoundError:  # let go of meanwhile
                return
            with lock:
                known[name] = (size, changed, tag)
                done.files += 1
                done.bytes += size

        for group in groups:
            _each(one, [name for name, found in group.items() if known.get(name, ())[:2] != found])

    def _put_bytes(self, folder: str, name: str, data: bytes, known: Known, done: Pushed) -> None:
        mark = _mark(data)
        if known.get(name, ())[:2] == (len(data), mark):
            return
        known[name] = (len(data), mark, self.remote.put(f"{folder}/{name}", data))
        done.files += 1
        done.bytes += len(data)

    # ---- from the store

    def pull(
        self, folder: str, *, wanted: Wanted = lambda name: True, entries: Iterable[Entry] | None = None
    ) -> Pulled:
        """Take what the store has newer of a folder; files that were changed here are left. `entries` is its listing.

        Raises RemoteError, and StorageFullError where it cannot be written here.
        """
        listed = self.remote.entries(folder) if entries is None else entries
        done, known = Pulled(), dict(self._read(folder))
        before, base = dict(known), self.root / folder
        there: dict[str, Entry] = {}
        for entry in listed:
            if safe_parts(entry.key) is None or not entry.key.startswith(f"{folder}/"):
                done.refused.append(entry.key)
            elif not (name := entry.key[len(folder) + 1 :]).rpartition("/")[2].startswith("."):
                there[name] = entry
        changed = {
            name: entry
            for name, entry in there.items()
            if wanted(name) and (known.get(name, (0, 0, ""))[2] != entry.tag or not (base / name).exists())
        }
        for name in [name for name in changed if self._is_ours(base / name, known.get(name))]:
            del changed[name]
            done.kept += 1
        try:
            late = {
                name: data
                for name, entry in changed.items()
                if name.rpartition("/")[2] in _LATE and (data := self.remote.get(entry.key, tag=entry.tag)) is not None
            }
            first = {name: e for name, e in changed.items() if name.rpartition("/")[2] not in _LATE}
            for group in _sorted({n: (e.size, 0) for n, e in first.items() if not _is_restored(n)}):
                self._take({name: first[name] for name in group}, base, known, done)
            for wanted_name in _LATE[:2]:
                for name in [n for n in late if n.endswith(f"/{wanted_name}")]:
                    self._keep(base, name, late[name], changed[name].tag, known, done)
            self._take({n: e for n, e in first.items() if _is_restored(n)}, base, known, done)
            for name in [name for name in known if name not in there]:
                if not self._is_ours(base / name, known[name]):
                    self._on_disk(lambda name=name: (base / name).unlink(missing_ok=True))  # type: ignore[misc]
                    del known[name]
            for name in [n for n in late if n.endswith("/state.json")]:
                self._keep(base, name, late[name], changed[name].tag, known, done)
        finally:
            if known != before:
                self._write(folder, known)
        return done

    def _is_ours(self, path: Path, known: tuple[int, int, str] | None) -> bool:
        """Whether a file here is another one than both ends had."""
        try:
            stat = path.lstat()
        except OSError:
            return False
        if self._cache and path.name != "meta.json":
            return False
        if path.is_symlink() or known is None:
            return True
        if path.name in _LATE and known[1] <= _MARKS:  # it was put from here
            if path.name == "journal.bin":
                return True
            with contextlib.suppress(OSError):
                data = path.read_bytes()
                return (len(data), _mark(data)) != known[:2]
        return (stat.st_size, stat.st_mtime_ns) != known[:2]

    def _take(self, entries: dict[str, Entry], base: Path, known: Known, done: Pulled) -> None:
        lock = threading.Lock()

        def one(name: str) -> None:
            entry, target = entries[name], base / name
            partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
            # What is only ever added to may be newer than the listing; all else is taken as the listing saw it.
            tag = None if _grows(name) else entry.tag
            stat: os.stat_result | None = None

            def write() -> None:
                nonlocal stat
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    if self.remote.fetch(entry.key, partial, tag=tag):
                        partial.replace(target)
                        stat = target.stat()
                finally:
                    partial.unlink(missing_ok=True)

            try:
                self._on_disk(write)
            except StorageFullError as error:
                if not isinstance(error.__cause__, (FileExistsError, NotADirectoryError, IsADirectoryError)):
                    raise
                with lock:  # one object has the name of another one's folder
                    done.refused.append(entry.key)
                return
            if stat is not None:
                with lock:
                    known[name] = (stat.st_size, stat.st_mtime_ns, entry.tag)
                    done.files += 1
                    done.bytes += stat.st_size

        _each(one, list(entries))

    def _keep(self, base: Path, name: str, data: bytes, tag: str, known: Known, done: Pulled) -> None:
        target = base / name

        def write() -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, data)

        self._on_disk(write)
        stat = target.stat()
        known[name] = (stat.st_size, stat.st_mtime_ns, tag)
        done.files += 1
        done.bytes += len(data)

    # ---- what both ends had

    def knows(self, folder: str) -> bool:
        """Whether anything of a folder was the same at both ends before."""
        return bool(self._read(folder))

    def folders(self) -> list[str]:
        """The folders of which something is known."""
        found = (path.relative_to(self._notes).as_posix()[:-5] for path in self._notes.rglob("*.json"))
        return sorted(folder for folder in found if not folder.startswith("."))

    def forget(self, folder: str) -> None:
        """Take a folder away that the store does not have any more, and what is known of it."""
        self.pull(folder, entries=[])
        for path, _, _ in os.walk(self.root / folder, topdown=False):
            with contextlib.suppress(OSError):  # there is something in it that did not come from the store
                Path(path).rmdir()
        self._note(folder).unlink(missing_ok=True)

    def _note(self, folder: str) -> Path:
        return self._notes / f"{folder}.json"

    def _read(self, folder: str) -> Known:
        path = self._note(folder)
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if folder not in self._known or self._known[folder][0] != stamp:
                found = json.loads(path.read_bytes())
                known = {str(name): (int(v[0]), int(v[1]), str(v[2])) for name, v in found.items()}
                self._known[folder] = (stamp, known)
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            return {}
        return self._known[folder][1]

    def _write(self, folder: str, known: Known) -> None:
        path = self._note(folder)

        def write() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, to_json(known))

        self._on_disk(write)

    def _on_disk(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:
            raise StorageFullError(
                f"{self.root} cannot be written: {error.strerror or error}", hint="is the disk full or read-only?"
            ) from error


def _mark(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=7).digest(), "big")


def _is_restored(name: str) -> bool:
    return name == "checkpoint.pt" or any(f"/{kind}/" in name for kind in _RESTORED)


def _grows(name: str) -> bool:
    return name.endswith((".arrows", ".jsonl", "/names"))


def _skipped(name: str, skip: Sequence[str]) -> bool:
    return any(name == each or name.startswith(f"{each}/") for each in skip)


def _sorted(files: dict[str, tuple[int, int]]) -> list[dict[str, tuple[int, int]]]:
    """What is named by others first: the run and its values, then the names of series, then the rows."""

    def rank(name: str) -> int:
        return 2 if name.endswith((".arrows", ".jsonl")) else 1 if name.endswith("/names") else 0

    return [{name: found for name, found in files.items() if rank(name) == each} for each in range(3)]


def _files(base: Path, skip: Sequence[str] = ()) -> dict[str, tuple[int, int]]:
    """Size and time of change of all files of a folder by name, but for those whose names begin with a dot."""
    found: dict[str, tuple[int, int]] = {}

    def walk(path: str, prefix: str) -> None:
        with contextlib.suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.name.startswith(".") or name in skip or entry.is_symlink():
                    continue
                if entry.is_dir():
                    walk(entry.path, f"{name}/")
                elif entry.is_file():
                    with contextlib.suppress(OSError):
                        stat = entry.stat()
                        found[name] = (stat.st_size, stat.st_mtime_ns)

    walk(str(base), "")
    return dict(sorted(found.items()))


def _each(work: Callable[[str], None], names: Sequence[str]) -> None:
    """Do a thing for each name, some at a time; the first trouble ends it."""
    if len(names) < 2:
        for name in names:
            work(name)
        return
    with ThreadPoolExecutor(min(WORKERS, len(names)), thread_name_prefix="epochal-mirror") as pool:
        pending = [pool.submit(work, name) for name in names]
        try:
            for each in pending:
                each.result()
        except BaseException:
            for each in pending:
                each.cancel()
            raise
