"""How all processes of a distributed training come to record into one run: rank 0 makes it and tells its id.

The id goes through the framework's own store where there is one, and through a small file in the project's folder
that is called after what the launcher says of itself. A later launch may say the same of itself, so a file that an
earlier one left must be recognised.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from epochal.errors import DamagedError, UsageError
from epochal.record.ranks import Board, Place
from epochal.store.files import read_json, replace_file, to_json
from epochal.store.layout import LAUNCH_NOTES, launch_note
from epochal.store.process import identity, lives_here, started_at

__all__ = ["Meeting", "wait_secs"]

WAIT_SECS = 30.0
CLOCK_SECS = 2.0
"""How far the clocks of two machines, or the time a process began, may be off."""
LATE_SECS = 600.0
"""How much later than rank 0 a process of one and the same job may begin on another machine."""
KEPT_SECS = 7 * 86_400.0
"""Notes of launches older than that are swept away."""

_begun: dict[tuple[str, str], int] = {}
"""How many runs of a project this process has begun: the n-th of one process meets the n-th of the others."""


def wait_secs() -> float:
    """How long a process waits for rank 0: EPOCHAL_WAIT_SECS, or half a minute."""
    text = os.environ.get("EPOCHAL_WAIT_SECS") or str(WAIT_SECS)
    try:
        secs = float(text)
    except ValueError:
        secs = -1.0
    if not 0 <= secs < float("inf"):
        raise UsageError(f"EPOCHAL_WAIT_SECS is {text!r}", hint="give a number of seconds from 0 on")
    return secs


class Meeting:
    """One run that the processes of a training begin together."""

    def __init__(self, place: Place, root: Path, project: str) -> None:
        number = _begun[(str(root), project)] = _begun.get((str(root), project), 0) + 1
        self._key = f"epochal/{project}/{number}"
        self._boards: list[Board] = [] if place.group is None else [place.group]
        self._notes: _Notes | None = None
        if place.launch:
            self._notes = _Notes(launch_note(root, project, f"{place.launch} {number}"), place)
            self._boards.append(self._notes)

    @property
    def possible(self) -> bool:
        """Whether there is any way to hear of each other."""
        return bool(self._boards)

    def wait(self, secs: float) -> str | None:
        """The id of the run that rank 0 has made, None where it did not tell of any in time."""
        deadline, pause = time.monotonic() + secs, 0.01
        while True:
            for board in self._boards:
                if (run_id := board.read(self._key)) is not None:
                    return run_id
            if not self._boards or time.monotonic() >= deadline:
                return None
            time.sleep(pause)
            pause = min(1.5 * pause, 0.25)

    def earlier(self) -> str | None:
        """The id of the run that an earlier attempt of the same launch has made."""
        return None if self._notes is None else self._notes.read(self._key)

    def tell(self, run_id: str) -> None:
        """Tell the others the id; a folder that cannot be written only means that they wait in vain."""
        for board in self._boards:
            with contextlib.suppress(OSError):
                board.post(self._key, run_id)


class _Notes:
    """A board on disk: one file, which says besides the id who wrote it and when."""

    def __init__(self, path: Path, place: Place) -> None:
        self._path, self._place = path, place

    def post(self, key: str, text: str) -> None:
        self._sweep()
        replace_file(self._path, to_json({"key": key, "run_id": text, "created": time.time(), **identity()}))

    def read(self, key: str) -> str | None:
        try:
            note = read_json(self._path)
            found = str(note["run_id"]) if note["key"] == key and self._is_of_this_launch(note) else None
        except (OSError, DamagedError, KeyError, TypeError, ValueError):
            return None
        return found

    def _is_of_this_launch(self, note: dict[str, Any]) -> bool:
        """Tell a note of this launch from one that an earlier launch with the same facts has left.

        Rank 0 of an earlier launch is dead and wrote before this launch began.
        """
        alive = lives_here(note)
        if alive:
            return True
        began = started_at(os.getppid() if self._place.elastic else os.getpid())
        margin = LATE_SECS if self._place.sure and alive is None else CLOCK_SECS
        return float(note["created"]) >= began - margin

    def _sweep(self) -> None:
        with contextlib.suppress(OSError):
            for path in self._path.parent.glob(LAUNCH_NOTES):
                if time.time() - path.stat().st_mtime > KEPT_SECS:
                    path.unlink(missing_ok=True)
