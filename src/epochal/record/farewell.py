"""How a run ends when nobody calls `finish`: at the end of the script, with the error that ended it if one did."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
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


# Strong references: a training function that made a run and returned has come to its end like any other.
_OPEN: dict[Ending, None] = {}
_error: BaseException | None = None
_hook: Any = None
"""What stands in `sys.excepthook` while runs are open, or in the way to it where somebody came after."""
_previous: Any = None
_registered = False
_worker = 0
"""The process, started by multiprocessing, in which the end is expected."""


def expect(run: Ending) -> None:
    """End `run` with the process, unless it is forgotten before."""
    global _registered
    if not _registered:
        _registered = True
        atexit.register(_at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_in_child)
    _expect_end_of_worker()
    if not _OPEN:
        _stand()
    _OPEN[run] = None


def forget(run: Ending) -> None:
    """`run` has ended."""
    _OPEN.pop(run, None)
    if not _OPEN:
        _step_aside()


def _stand() -> None:
    """Stand before the hook that is there now.

    A function of its own each time: one that somebody else calls from his, which came later, must not lead back to it.
    """
    global _hook, _previous
    previous = sys.excepthook

    def note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        global _error
        _error = error
        previous(kind, error, trace)

    _hook, _previous = note, previous
    sys.excepthook = note


def _step_aside() -> None:
    """Give the hook back, unless somebody else stands before ours by now."""
    if sys.excepthook is _hook:
        sys.excepthook = _previous


def _expect_end_of_worker() -> None:
    """Processes of multiprocessing end in their own way: forked ones without atexit, all of them without excepthook."""
    global _worker
    process, util = (sys.modules.get(f"multiprocessing.{name}") for name in ("process", "util"))
    if process is None or util is None or process.parent_process() is None or _worker == os.getpid():
        return
    _worker = os.getpid()
    util.Finalize(None, _at_end_of_worker, exitpriority=100)


def _at_end_of_worker() -> None:
    global _error
    error = sys.exception()  # the one that is ending the process: this runs while it passes
    if isinstance(error, SystemExit) and error.code and error.__context__ is not None:
        error = error.__context__  # torch.multiprocessing reports the error itself and then exits
    _error = error
    _at_exit()


def _at_exit() -> None:
    for run in list(_OPEN):
        # The last moment of the process: trouble with one run must not keep the others from ending.
        with contextlib.suppress(Exception):
            run.end_with_process(_error)


def _in_child() -> None:
    for run in list(_OPEN):
        run.leave_to_parent()
    _OPEN.clear()
    _step_aside()
