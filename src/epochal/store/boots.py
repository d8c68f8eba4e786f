"""Which processes wrote a run, how each of them stands, and in which order they began."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from epochal.errors import DamagedError
from epochal.facts import RunStatus
from epochal.store.files import read_json
from epochal.store.journal import JournalReader
from epochal.store.layout import RunFolder, WriterFolder
from epochal.store.process import HEARTBEAT_LIMIT_SECS, is_alive

__all__ = ["Boot", "CachedJson", "is_young", "list_boots", "shown_before"]

_ENDED = ("finished", "failed", "stopped")


@dataclass(slots=True)
class CachedJson:
    """A JSON file that is parsed again only when it was replaced. `value` is {} while there is none."""

    path: Path
    value: Mapping[str, Any] = field(default_factory=dict)
    damaged: str = ""
    hint: str = ""
    stamp: tuple[int, int, int] = (0, 0, 0)

    def refresh(self) -> bool:
        """Look at the file; say whether it changed."""
        try:
            stat = os.stat(self.path)  # noqa: PTH116
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        except OSError:
            stamp = (0, 0, 0)
        if stamp == self.stamp:
            return False
        self.stamp, self.damaged, self.hint = stamp, "", ""
        try:
            self.value = _parse(self.path)
        except FileNotFoundError:
            self.value = {}
        except DamagedError as error:
            self.value, self.damaged, self.hint = {}, error.message, error.hint
        except OSError as error:
            self.value, self.damaged = {}, f"{self.path} cannot be read: {error.strerror or error}"
        return True


def _parse(path: Path) -> Mapping[str, Any]:
    try:
        value = orjson.loads(path.read_bytes())
    except ValueError:  # orjson is strict about text that is no Unicode; json says what is wrong with the rest
        return read_json(path)
    return value if isinstance(value, dict) else read_json(path)


@dataclass(slots=True)
class Boot:
    """One process's part of a run."""

    folder: WriterFolder
    state_file: CachedJson
    first_file: CachedJson
    summary_file: CachedJson
    journal: JournalReader

    @classmethod
    def of(cls, folder: WriterFolder) -> Boot:
        """Return the boot of a folder, its state read."""
        state, first, summary = (CachedJson(path) for path in (folder.state, folder.first_state, folder.summary))
        boot = cls(folder, state, first, summary, JournalReader(folder.journal))
        boot.refresh()
        return boot

    def refresh(self) -> None:
        """Look at its state again."""
        self.state_file.refresh()
        if not self.state_file.value:  # a machine that stopped may have taken it: how it began is safe
            self.first_file.refresh()

    @property
    def state(self) -> Mapping[str, Any]:
        """What state.json says, or, where that cannot be read, how it began."""
        return self.state_file.value or self.first_file.value

    @property
    def started(self) -> float:
        """When it began, unix seconds."""
        return _number(self.state.get("started"))

    @property
    def last_sign(self) -> float:
        """When it ended or was last heard of, unix seconds."""
        return _number(self.state.get("ended")) or _number(self.state.get("heartbeat")) or self.started

    @property
    def ended(self) -> bool:
        """Whether it said farewell."""
        return self.state.get("status") in _ENDED

    @property
    def rewound_to(self) -> int | None:
        """The step that the run was taken back to when this process joined it, None when it went on as it was."""
        step = self.state.get("rewind_to")
        return step if isinstance(step, int) else None

    def status(self, now: float) -> RunStatus:
        """How it stands: what it says, or `crashed` when it says `running` and is dead."""
        said = self.state.get("status")
        if said in _ENDED:
            return said  # type: ignore[no-any-return]
        if not self.state and not self.state_file.damaged and is_young(self.folder.path, now):
            return "running"  # it has only just begun
        if not self.state_file.value and not self.folder.journal.exists():
            return "crashed"  # whatever it said in the end, it does not write any more
        return "running" if is_alive(self.state, now) else "crashed"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def is_young(path: Path, now: float) -> bool:
    """Say whether a folder was made or changed less than a heartbeat's limit ago."""
    try:
        return now - os.stat(path).st_mtime < HEARTBEAT_LIMIT_SECS  # noqa: PTH116
    except OSError:
        return False


def shown_before(boots: Sequence[Boot]) -> list[tuple[Boot, int | None]]:
    """Return the boots of one rank with the step from which on what each wrote is hidden; None where nothing is.

    A run that was taken back to a step hides what came after it, whether or not it is logged again.
    """
    found: list[tuple[Boot, int | None]] = []
    end: int | None = None
    for boot in reversed(boots):
        found.insert(0, (boot, end))
        if (step := boot.rewound_to) is not None:
            end = step + 1 if end is None else min(end, step + 1)
    return found


def list_boots(run: RunFolder, known: Mapping[str, Boot]) -> list[list[Boot]]:
    """Return the boots of each rank in the order they began, lowest rank first; `known` are taken over."""
    ranks: dict[int, list[Boot]] = {}
    for folder in run.writers():
        boot = known.get(folder.name) or Boot.of(folder)
        ranks.setdefault(folder.rank, []).append(boot)
    return [sorted(boots, key=lambda b: (b.started, b.folder.name)) for _, boots in sorted(ranks.items())]
