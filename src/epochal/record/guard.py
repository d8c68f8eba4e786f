"""Recording never breaks training: what goes wrong in here is told once, at the user's line, and counted."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType

from epochal.errors import EpochalError, RecordingWarning, StorageFullError

_PACKAGE = str(Path(__file__).parent.parent) + os.sep
_between: set[str] = set()
"""Folders of frameworks that call us: the user's line is the one that called them."""

Count = Callable[[str, int], object]
"""Counts something lost in the run's state: (code, how many)."""


def strict_wanted(strict: bool | None) -> bool:  # noqa: FBT001 - the caller's own three-way choice
    """Whether errors are raised: what the caller said, else the environment variable EPOCHAL_STRICT."""
    if strict is not None:
        return strict
    return os.environ.get("EPOCHAL_STRICT", "").lower() not in ("", "0", "false", "no")


def see_through(folder: str | Path) -> None:
    """Look for the user's line beyond a framework's own files, from now on: those in `folder`."""
    _between.add(str(folder) + os.sep)


def warn_user(message: str, *, through: tuple[str, ...] = ()) -> None:
    """Warn at the nearest line outside this package (and outside the folders `through`)."""
    skipped = (_PACKAGE, *_between, *through)
    level, frame = 1, _caller()
    while frame is not None and frame.f_code.co_filename.startswith(skipped):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, RecordingWarning, stacklevel=level)


def _caller() -> FrameType | None:
    return sys._getframe(1)


class Guard:
    """What one run does about things that it could not record. Holds no state of a call, so it may be re-entered."""

    __slots__ = ("_count", "_told", "strict")

    def __init__(self, count: Count, *, strict: bool) -> None:
        self.strict = strict
        self._count = count
        self._told: set[object] = set()

    def failed(self, doing: str, error: Exception) -> None:
        """Handle an error of our own code: raise it in strict mode, else warn the first time and count it."""
        if self.strict:
            raise error
        if isinstance(error, StorageFullError):
            return  # whoever raised it counted what was lost, and told of it
        reason = error.message if isinstance(error, EpochalError) else f"{type(error).__name__}: {error}"
        hint = error.hint if isinstance(error, EpochalError) else "set EPOCHAL_STRICT=1 to see where"
        message = f"{doing} failed, training goes on: {reason}" + (f" ({hint})" if hint else "")
        self.lost("error", message, once=(doing, type(error)))

    def over(self, doing: str) -> _Over:
        """A block in which an error of our own code goes no further: `with guard.over("run.define()"):`."""
        return _Over(self, doing)

    def lost(self, code: str, message: str, *, once: object, count: int = 1) -> None:
        """Count something that was not recorded, and warn of the first of its kind (`once` says which kind)."""
        with contextlib.suppress(Exception):  # where even counting fails, the warning must do
            self._count(code, count)
        self.told(message, once=once)

    def told(self, message: str, *, once: object) -> None:
        """Warn the first time of something that is counted elsewhere, or that is no loss (`once` says which kind)."""
        if once not in self._told:
            self._told.add(once)
            warn_user(message)


class _Over:
    """The guard's edge. Warnings that the user's own filter made errors of pass, and so does what is no Exception."""

    __slots__ = ("_doing", "_guard")

    def __init__(self, guard: Guard, doing: str) -> None:
        self._guard, self._doing = guard, doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(error, Exception) or isinstance(error, RecordingWarning):
            return False
        if self._guard.strict:
            return False  # it goes on as it was raised, from where it was raised
        self._guard.failed(self._doing, error)
        return True
