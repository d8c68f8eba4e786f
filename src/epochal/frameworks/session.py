"""The run of a trainer object: begun when first needed, ended with the training, gone on with for what comes after.

Lightning's and Hugging Face's trainers call their loggers and callbacks before, during and after a training: an
evaluation after `fit` belongs to the run of that `fit`, which has ended by then.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import sys
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from epochal.errors import RecordingWarning, UsageError
from epochal.record import Run, init
from epochal.record.begin import new_id, project_of_script, root_of
from epochal.record.config import plain_config
from epochal.record.run import EndStatus

_LEFT = "the training was left before its end"


class Session:
    """One run that a trainer's logger or callback records; made here, or given by the user, who then ends it too.

    `options` are those of `epochal.init`. Raises UsageError for options that it does not have, and for options beside
    a run that is there already.
    """

    def __init__(self, run: Run | None, project: str | None, options: Mapping[str, Any]) -> None:
        known = set(inspect.signature(init).parameters) - {"project"}
        if unknown := sorted(set(options) - known):
            raise UsageError(
                f"there is no option {unknown[0]!r}", hint=f"epochal.init has: project, {', '.join(sorted(known))}"
            )
        named = {key: value for key, value in options.items() if value is not None}
        if run is not None and (project is not None or named):
            told = ["project"] * (project is not None) + list(named)
            raise UsageError(
                f"{', '.join(told)} cannot be given beside run=: that run has begun",
                hint="give them to epochal.init(), or leave run= out",
            )
        self._options = named
        self._run = run
        self._given = run is not None
        self._project = run.project if run is not None else project
        self._id: str | None = run.id if run is not None else named.get("id")
        self._settings: dict[str, Any] = {}
        self.training = self.trained = False

    @property
    def run(self) -> Run | None:
        """The run, None before it begins."""
        return self._run

    @property
    def project(self) -> str:
        """The project of the run, also before it begins."""
        return self._run.project if self._run is not None else self._project or project_of_script()

    @property
    def id(self) -> str:
        """The id of the run, also before it begins."""
        if self._run is not None:
            return self._run.id
        if self._id is None:
            self._id = "off" if self._options.get("mode") == "off" else new_id()
        return self._id

    @property
    def root(self) -> Path | None:
        """The folder of runs; None where nothing is recorded."""
        if self._run is not None:
            return None if self._run.path is None else self._run.path.parent.parent
        return None if self._options.get("mode") == "off" else root_of(self._options.get("dir"))

    @property
    def path(self) -> Path | None:
        """The folder of the run, also before it begins; None where nothing is recorded."""
        root = self.root
        return None if root is None else root / self.project / self.id

    def open(self, **defaults: Any) -> Run:
        """The run: begun if it is not yet, gone on with where it has ended. `defaults` are options nobody gave."""
        run = self._run
        if run is None:
            options = {**_ALONE, **defaults, **self._options, "id": self.id}
            self._run = run = init(self._project, **options)
        elif run.ended and not self._given:
            kept = {key: value for key, value in self._options.items() if key in _EVERY_TIME}
            options = {**_ALONE, **kept, "id": run.id, "dir": self.root, "resume": "must"}
            self._run = run = init(run.project, **options)
        if self._settings:
            run.set_config(self._settings)
            self._settings = {}
        return run

    def configure(self, settings: Mapping[str, Any] | object) -> None:
        """Add to the configuration of the run; of the next one, where the latest has ended."""
        if self._run is None or self._run.ended:
            self._settings.update(plain_config(settings)[0])
        else:
            self._run.set_config(settings)

    def begin_training(self, *, anew: bool = False, **defaults: Any) -> Run:
        """The run, in which a training begins; one of its own, where it begins `anew` and there was another before."""
        self.abandon()
        if anew and self.trained and not self._given:
            self.finish()
            self._run = self._id = None
            self._options.pop("id", None)
        run = self.open(**defaults)
        self.training = self.trained = True
        _TRAINING.add(self)
        _expect_end()
        return run

    def finish(self, status: EndStatus = "finished", error: BaseException | str | None = None) -> None:
        """End the run where it was made here, else only stop watching; the trainer has ended with `error`, or well."""
        self.training = False
        _TRAINING.discard(self)
        run = self._run
        if run is None or run.ended:
            return
        if self._given:
            run.unwatch()
        elif isinstance(error, BaseException):
            run.end_with_process(error)
        else:
            run.finish(status, error=error)

    def abandon(self) -> None:
        """End a training that was left without a word, as by an exception that the user caught."""
        if self.training:
            self.finish("failed", _LEFT)

    def failed(self, doing: str, error: Exception) -> None:
        """Handle an error of our own: warn once, or raise it in strict mode and where no run has begun."""
        if self._run is None:
            raise error
        self._run._guard.failed(doing, error)

    def __getstate__(self) -> dict[str, Any]:
        # Processes that a trainer spawns go on with the run; it is one of the main process only while it writes.
        options = {**self._options, "id": self.id}
        if self._run is not None:
            options |= {"dir": self.root, "resume": "allow"}
        return {
            "_options": options,
            "_run": None,
            "_given": False,
            "_project": self.project,
            "_id": self.id,
            "_settings": {},
            "training": False,
            "trained": False,
        }


_ALONE = {"rank": 0, "world_size": 1}
"""Of several processes that train together, trainers let one alone log: it waits for no other."""

_EVERY_TIME = ("mode", "strict", "system", "console", "code", "alerts", "rank", "world_size")
"""Options of `epochal.init` that say how to record, not what the run is."""

_TRAINING: weakref.WeakSet[Session] = weakref.WeakSet()
_expecting = False


def _expect_end() -> None:
    """Once: before runs that are open at the end of the process end well, tell those apart that were left."""
    global _expecting
    if not _expecting:
        _expecting = True
        atexit.register(_at_exit)  # after the first run has registered its own end, which so comes later


def _at_exit() -> None:
    if getattr(sys, "last_value", None) is None:  # else the run ends with that error
        for session in list(_TRAINING):
            session.abandon()


class Recording(Protocol):
    """What records into a session."""

    _session: Session


Hook = TypeVar("Hook", bound=Callable[..., None])


def guarded(method: Hook) -> Hook:
    """Make a hook that cannot break the training: what goes wrong is warned of once, and raised in strict mode."""

    @functools.wraps(method)
    def hook(self: Recording, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except RecordingWarning:
            raise  # the user's own filter makes errors of warnings
        except Exception as error:  # noqa: BLE001 - the guard's edge: recording never breaks training
            self._session.failed(f"{type(self).__name__}.{method.__name__}()", error)

    return cast(Hook, hook)


__all__ = ["Hook", "Recording", "Session", "guarded"]
