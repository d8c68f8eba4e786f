"""What git says of a working copy: never waited for longer than said, never more than a bound of it kept."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, cast

DIFF_BYTES = 4_000_000
LIST_BYTES = 4_000_000
SECS = 20.0
NAMES = 200
SOURCE_BYTES = 256_000
SOURCES = frozenset(
    {
        ".c", ".cc", ".cfg", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".ini", ".ipynb", ".jl", ".json", ".md", ".py",
        ".pyi", ".pyx", ".r", ".rs", ".sh", ".sql", ".toml", ".txt", ".yaml", ".yml",
    }
)  # fmt: skip
"""Untracked files of these kinds are named where they are small; others are data."""

# Nothing that a repository's settings name is started, and nothing in it is changed: no pager, no watcher of files,
# no driver that shows differences in its own way, no lock to renew the index.
_GIT = ("git", "--no-pager", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "-c", "color.ui=false")
_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/")


@dataclass(slots=True)
class Changes:
    """How a working copy differs from its commit. `trouble` says why nothing is known; `cut` that `diff` was too long.

    It is `dirty` when files that git knows were changed. `changed` and `untracked` name at most 200 files each,
    relative to the repository.
    """

    dirty: bool = False
    changed: list[str] = field(default_factory=list)
    untracked: list[str] = field(default_factory=list)
    diff: str = ""
    cut: bool = False
    trouble: str = ""


class GitError(Exception):
    """Git is not there, did not come to an end, or refused."""


class Git:
    """Runs git, one command at a time, in a thread that may wait. `stop`, from another thread, ends that."""

    def __init__(self, *, secs: float = SECS, diff_bytes: int = DIFF_BYTES) -> None:
        self._secs = secs
        self._diff_bytes = diff_bytes
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """End the command under way and start no other."""
        self._stopped.set()
        self._kill()

    def _kill(self) -> None:
        process = self._process
        if process is not None:
            process.kill()

    def changes(self, repository: Path, *, besides: Path | None = None) -> Changes:
        """How the working copy differs from its commit; untracked files below the folder `besides` are left out."""
        found = Changes()
        try:
            names, _ = self._run(repository, *_DIFF, "--name-only", "-z", "HEAD", most=LIST_BYTES)
            found.changed = _names(names)
            others, _ = self._run(repository, "ls-files", "--others", "--exclude-standard", "-z", most=LIST_BYTES)
            paths = [repository / name for name in _names(others)]
            kept = (path for path in paths if not (besides and path.is_relative_to(besides)) and _is_source(path))
            found.untracked = [path.relative_to(repository).as_posix() for path in islice(kept, NAMES)]
            found.dirty = bool(found.changed)
            if found.dirty:
                data, found.cut = self._run(repository, *_DIFF, "--submodule=short", "HEAD", most=self._diff_bytes)
                if found.cut:
                    data = data[: data.rfind(b"\n") + 1]
                found.diff = data.decode("utf-8", "surrogateescape")
            found.changed = found.changed[:NAMES]
        except GitError as error:
            found.trouble = f"git: {error}"
        return found

    def _run(self, folder: Path, *words: str, most: int) -> tuple[bytes, bool]:
        """What a command prints, at most so many bytes, and whether that is not all."""
        if self._stopped.is_set():
            raise GitError("the run ended before it came to an end")
        # Of a hook or an editor's shell that speaks of another repository.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - words of ours, no shell
                [*_GIT, *words],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise GitError("it is not installed") from None
        except OSError as error:
            raise GitError(error.strerror or str(error)) from None
        late = threading.Event()

        def end() -> None:
            late.set()
            self._kill()

        timer = threading.Timer(self._secs, end)
        timer.daemon = True
        timer.start()
        try:
            with self._process as process:
                data = cast(IO[bytes], process.stdout).read(most + 1)
                cut = len(data) > most
                if cut:
                    process.kill()
                said = cast(IO[bytes], process.stderr).read(10_000).decode("utf-8", "replace").strip()
        finally:
            timer.cancel()
            self._process = None
        if late.is_set():
            raise GitError(f"it did not come to an end within {self._secs:g} s")
        if self._stopped.is_set():
            raise GitError("the run ended before it came to an end")
        if process.returncode and not cut:
            raise GitError(said.partition("\n")[0][:200] or f"it ended with {process.returncode}")
        return data[:most], cut


def _names(data: bytes) -> list[str]:
    return [name.decode("utf-8", "replace") for name in data.split(b"\0") if name]


def _is_source(path: Path) -> bool:
    try:
        return path.suffix.lower() in SOURCES and path.stat().st_size <= SOURCE_BYTES
    except OSError:
        return False
