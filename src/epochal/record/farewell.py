"""How a run ends when nobody calls `finish`: at the end of the script, with the error that ended it if one did."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import weakref
from types import TracebackType
from typing import Any, Protocol


class Ending(Protocol):
    """What is told that the process ends, or that it is a forked copy."""

    def end_with_process(self, error: BaseException | None) -> None:
        """The script is over; `error` is what ended it."""
        ...

    def leave_to_parent(self) -> None:
        """This process is a forked copy: the run belongs to its parent."""
        ...


_OPEN: weakref.WeakSet[Any] = weakref.WeakSet()
_error: BaseException | None = None
_previous: Any = None
_registered = False


def expect(run: Ending) -> None:
    """End `run` with the process, unless it is forgotten before."""
    global _registered, _previous
    if not _registered:
        _registered = True
        atexit.register(_at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_in_child)
    if not _OPEN:
        _previous, sys.excepthook = sys.excepthook, _note
    _OPEN.add(run)


def forget(run: Ending) -> None:
    """`run` has ended."""
    _OPEN.discard(run)
    if not _OPEN and sys.excepthook is _note:
        sys.excepthook = _previous or sys.__excepthook__


def _note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    global _error
    _error = error
    (_previous or sys.__excepthook__)(kind, error, trace)


def _at_exit() -> None:
    for run in list(_OPEN):
        # The last moment of the process: trouble with one run must not keep the others from ending.
        with contextlib.suppress(Exception):
            run.end_with_process(_error)


def _in_child() -> None:
    for run in list(_OPEN):
        run.leave_to_parent()
    _OPEN.clear()
    if sys.excepthook is _note:
        sys.excepthook = _previous or sys.__excepthook__
