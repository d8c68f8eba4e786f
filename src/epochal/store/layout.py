"""Where the files of a run lie, and what they may be called.

The whole layout is written down in docs/format.md; this file is the only one that spells it in code.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from epochal.errors import UsageError

__all__ = [
    "DEFAULT_ROOT",
    "FORMAT_VERSION",
    "INDEX_NAME",
    "LAUNCH_NOTES",
    "TRASH_NAME",
    "RunFolder",
    "WriterFolder",
    "check_name",
    "default_name",
    "launch_note",
    "new_boot_id",
    "new_run_id",
    "resolve_root",
]

FORMAT_VERSION = 1
DEFAULT_ROOT = "epochal-runs"
INDEX_NAME = ".index.sqlite"
TRASH_NAME = ".trash"
LAUNCH_NOTES = ".launch-*.json"

NAME_LIMIT = 120
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
# Names that Windows keeps for devices: a folder of such a name could not be copied there.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]')
_SNAPSHOT = re.compile(r"step-(\d{10,19})\.safetensors")
_WRITER = re.compile(r"r(\d{3,})-([a-z0-9]+)")


def resolve_root(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of runs: the argument, else `EPOCHAL_DIR`, else `./epochal-runs`, as an absolute path.

    Raises UsageError for an address: those who can do with an object store ask for it before.
    """
    chosen = given if given is not None else os.environ.get("EPOCHAL_DIR") or DEFAULT_ROOT
    if isinstance(chosen, str) and chosen.startswith("s3://"):
        raise UsageError(
            f"{chosen} is no folder of this machine", hint="name a folder here; epochal push puts its runs there"
        )
    return Path(os.path.abspath(Path(chosen).expanduser()))  # noqa: PTH100 - Path.resolve would follow links


def check_name(name: str, *, what: str = "name") -> str:
    """Return `name` if it can be a folder on every system, else raise UsageError saying why."""
    reason = _why_bad(name)
    if reason:
        raise UsageError(
            f"{what} {name!r} {reason}", hint="use letters, digits, '-', '_' and spaces, such as 'iris-baseline'"
        )
    return name


def _why_bad(name: object) -> str:
    if not isinstance(name, str):
        return f"is a {type(name).__name__}, not a string"
    if not name:
        return "is empty"
    if len(name) > NAME_LIMIT or len(name.encode("utf-8", "replace")) > 2 * NAME_LIMIT:
        return f"is longer than {NAME_LIMIT} characters"
    if found := _FORBIDDEN.search(name):
        return f"contains {found.group()!r}, which cannot be part of a folder's name"
    if name[0] in ". " or name[-1] in ". ":
        return "begins or ends with a dot or a space"
    if name.split(".")[0].lower() in _RESERVED:
        return "is a name that Windows keeps for a device"
    return ""


def new_run_id(now: float | None = None) -> str:
    """Return a new run id that sorts by time: UTC date, time and six random characters."""
    moment = time.gmtime(time.time() if now is None else now)
    return f"{time.strftime('%Y%m%d-%H%M%S', moment)}-{_random(6)}"


def default_name(project: str, run_id: str) -> str:
    """Return what a run without a name is called: short where its id was made here, else the id that was chosen."""
    made = re.fullmatch(r"\d{8}-\d{6}-([a-z2-7]{6})", run_id)
    return f"{project}-{made[1]}" if made else run_id


def launch_note(root: Path, project: str, words: str) -> Path:
    """Return the file by which the processes of a launch, told apart by `words`, tell each other their run's id."""
    name = hashlib.blake2b(words.encode("utf-8", "replace"), digest_size=10).hexdigest()
    return root / check_name(project, what="project") / LAUNCH_NOTES.replace("*", name)


def new_boot_id() -> str:
    """Return six random characters that name one process's part of a run."""
    return _random(6)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


@dataclass(frozen=True, slots=True)
class WriterFolder:
    """The part of a run that one process writes: `w/r<rank>-<boot>`."""

    path: Path

    @property
    def name(self) -> str:
        """Folder name, such as `r000-k7f2q9`."""
        return self.path.name

    @property
    def rank(self) -> int:
        """Rank of the process that writes here, 0 when the name does not say."""
        found = _WRITER.fullmatch(self.path.name)
        return int(found.group(1)) if found else 0

    @property
    def state(self) -> Path:
        """Heartbeat and how it ended."""
        return self.path / "state.json"

    @property
    def first_state(self) -> Path:
        """The state that it began with, which survives a power cut."""
        return self.path / "begin.json"

    @property
    def summary(self) -> Path:
        """What each series came to."""
        return self.path / "summary.json"

    @property
    def names(self) -> Path:
        """Series names, one JSON string a line."""
        return self.path / "names"

    @property
    def journal(self) -> Path:
        """Memory-mapped ring of numbers not yet in the stream."""
        return self.path / "journal.bin"

    @property
    def scalars(self) -> Path:
        """Folder of the scalars' segments."""
        return self.path / "scalars"

    @property
    def stats(self) -> Path:
        """Folder of the statistics' segments."""
        return self.path / "stats"

    @property
    def media(self) -> Path:
        """Folder of the media's segments."""
        return self.path / "media"

    @property
    def blobs(self) -> Path:
        """Folder of the media's bytes, each file named by the sha256 of what it holds."""
        return self.path / "media" / "blobs"

    @property
    def console(self) -> Path:
        """What was printed, a JSON object a line."""
        return self.path / "console.jsonl"

    @property
    def alerts(self) -> Path:
        """Alerts, a JSON object a line."""
        return self.path / "alerts.jsonl"

    @property
    def code(self) -> Path:
        """Folder of where the run comes from."""
        return self.path / "code"

    @property
    def origin(self) -> Path:
        """What was found out of code and environment after the start."""
        return self.path / "code" / "origin.json"

    @property
    def diff(self) -> Path:
        """Changes of the code since its commit, as git tells them."""
        return self.path / "code" / "diff.patch"

    @property
    def packages(self) -> Path:
        """Installed packages, `name==version` a line."""
        return self.path / "code" / "packages.txt"

    @property
    def network(self) -> Path:
        """Folder of the recorded network."""
        return self.path / "network"

    def graphs(self, order: Sequence[str] = ()) -> dict[str, Path]:
        """Graphs of the recorded networks by the model's name, that of "" first, then in `order`, then by name."""
        found = {"": self.network / "graph.json"} if (self.network / "graph.json").is_file() else {}
        try:
            with os.scandir(self.network) as entries:
                named = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
        except OSError:
            return found
        for name in sorted(named, key=lambda name: order.index(name) if name in order else len(order)):
            if (path := self.network / name / "graph.json").is_file():
                found[name] = path
        return found

    @property
    def thinned(self) -> Path:
        """Steps whose snapshots were let go of, one a line."""
        return self.path / "thinned"

    def snapshots(self, kind: str) -> Path:
        """Folder of the snapshots of a kind, `params` or `grads`."""
        return self.path / kind

    def snapshot(self, kind: str, step: int) -> Path:
        """File of one snapshot."""
        return self.path / kind / f"step-{step:010d}.safetensors"


def snapshot_step(filename: str) -> int | None:
    """Return the step a snapshot's file name says, None when it is no snapshot."""
    found = _SNAPSHOT.fullmatch(filename)
    return int(found.group(1)) if found else None


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run: `<root>/<project>/<run_id>`."""

    path: Path

    @classmethod
    def of(cls, root: Path, project: str, run_id: str) -> RunFolder:
        """Return the folder of a run, after checking both names."""
        return cls(root / check_name(project, what="project") / check_name(run_id, what="run id"))

    @property
    def run_id(self) -> str:
        """Folder name."""
        return self.path.name

    @property
    def project(self) -> str:
        """Name of the folder above."""
        return self.path.parent.name

    @property
    def run_json(self) -> Path:
        """What the run is; never changed after its start."""
        return self.path / "run.json"

    @property
    def meta_json(self) -> Path:
        """What people change later."""
        return self.path / "meta.json"

    @property
    def writers_path(self) -> Path:
        """Folder of the writers' folders."""
        return self.path / "w"

    @property
    def compact(self) -> Path:
        """Folder of compacted scalars."""
        return self.path / "compact"

    def writer(self, name: str) -> WriterFolder:
        """Folder of one writer."""
        return WriterFolder(self.writers_path / name)

    def writers(self) -> list[WriterFolder]:
        """All writers' folders there are, by name; empty when none has begun."""
        try:
            with os.scandir(self.writers_path) as entries:
                names = sorted(e.name for e in entries if _WRITER.fullmatch(e.name))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [self.writer(name) for name in names]
