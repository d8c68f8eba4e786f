"""A run as the training script holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import time
from types import TracebackType
from typing import Any, Literal, SupportsIndex, get_args

from epochal.errors import RecordingWarning, UsageError
from epochal.facts import AlertLevel, Better
from epochal.record import farewell
from epochal.record.alerts import Alerts
from epochal.record.deferred import Append, Deferred
from epochal.record.edge import STEP_LIMIT
from epochal.record.examples import Examples
from epochal.record.guard import Guard
from epochal.record.lineage import Lineage, Parent
from epochal.record.notes import Notes
from epochal.record.ranks import Place
from epochal.record.values import as_number, sort_values
from epochal.record.watching import Schedule, Watching
from epochal.store import RunWriter

EndStatus = Literal["finished", "failed", "stopped"]


class Run(Watching, Lineage, Notes, Examples):
    """One recorded training; made by `epochal.init`. Use it as a context manager, or call `finish` at the end.

    Whatever goes wrong inside is warned of once and counted, and training goes on (`strict=True` raises instead).

    >>> import epochal
    >>> with epochal.init(project="example", mode="off") as run:
    ...     for step in range(3):
    ...         run.log({"loss": 1.0 / (step + 1)}, step=step)
    """

    __slots__ = (
        "__weakref__",
        "_alerts",
        "_batches",
        "_closers",
        "_deferred",
        "_last_words",
        "_parent",
        "_place",
        "config",
        "name",
        "project",
    )

    def __init__(
        self,
        writer: RunWriter | None,
        *,
        run_id: str,
        name: str,
        project: str,
        config: Mapping[str, Any],
        strict: bool,
        last_step: int = -1,
    ) -> None:
        self.id, self.name, self.project, self.config = run_id, name, project, config
        self._writer = writer
        self._append: Append | None = writer.append_many if writer else None
        self._closed = "" if writer else "off"
        self._guard = Guard(writer.drop if writer else _nowhere, strict=strict)
        self._watcher = self._pusher = None
        self._schedule = Schedule()
        # What runs beside the training and ends before it, the last begun first: each is called once, guarded.
        self._closers: list[Callable[[], None]] = []
        self._last_words: Callable[[BaseException], None] | None = None
        self._alerts: Alerts | None = None
        self._deferred: Deferred | None = None
        self._batches = {}
        self._examined = {}
        self._step = last_step
        # A resumed run, or one that watched before, has frames of earlier steps already.
        self._untrained = last_step < 0
        self._epoch: float | None = None
        self._place = Place()
        self._parent: Parent | None = None
        if writer is not None:
            farewell.expect(self)

    def placed(self, place: Place, parent: Parent | None) -> Run:
        """Say which process this is, and where the run comes from; `epochal.init` does."""
        self._place, self._parent = place, parent
        # The first frame of a fork is what it begins with, at the step of its parent.
        self._untrained = self._untrained or (parent is not None and parent.step == self._step)
        return self

    @property
    def path(self) -> Path | None:
        """Folder of the run; None when recording is off."""
        return self._writer.path if self._writer else None

    @property
    def ended(self) -> bool:
        """Whether the run was finished: nothing is recorded in it any more."""
        return self._closed in get_args(EndStatus)

    def __repr__(self) -> str:
        return f"<epochal.Run {self.project}/{self.id}{f' ({self._closed})' if self._closed else ''}>"

    def log(
        self,
        data: Mapping[str, Any],
        *,
        step: SupportsIndex | None = None,
        epoch: float | None = None,
        t: float | None = None,
    ) -> None:
        """Record numbers at a step: Python and numpy numbers, one-element arrays and tensors, nested dictionaries.

        Without `step` a counter of its own goes up by one for each call. `epoch` is recorded as the series `epoch`,
        `t` is the time in unix seconds (now). Names in nested dictionaries are joined: `{"train": {"loss": 1.0}}` is
        `train/loss`. When this returns, the numbers survive the death of the process.
        """
        # The commonest call takes about a microsecond: one pass over the values, one call into the journal.
        append = self._append
        if append is None:
            self._refuse()
            return
        try:
            now = time() if t is None else float(t)
            if step is None:
                # No call lies between reading and writing, so no other thread comes in between either.
                step = self._step = self._step + 1
            elif type(step) is int and 0 <= step < STEP_LIMIT:
                self._step = step
            else:
                step = self._step = self._as_step(step)
            for name, value in data.items():
                if type(value) is not float or type(name) is not str:
                    epoch = self._log_any(append, data, step, epoch, now)
                    break
            else:
                if epoch is None:
                    append(data, step, now)
                elif type(epoch) is int or type(epoch) is float:
                    append({**data, "epoch": epoch + 0.0}, step, now)
                else:
                    epoch = self._log_any(append, data, step, epoch, now)
            watcher = self._watcher
            if watcher is not None:
                if t is not None:
                    now = time()
                if now >= watcher.due_time or step >= watcher.due_step or (epoch is not None and epoch != self._epoch):
                    watcher.tick(step, epoch, now)
                    if self._examined:
                        self._ask(step, epoch, now)
            if epoch is not None:
                self._epoch = epoch
        except RecordingWarning:
            raise  # the user's own filter makes errors of warnings
        except Exception as error:  # noqa: BLE001 - the guard's edge: recording never breaks training
            self._failed("run.log()", data, error)

    def aside(self, data: Mapping[str, Any], *, step: SupportsIndex | None = None, t: float | None = None) -> None:
        """Record numbers beside the training's own steps, such as an evaluation's, as `log` does.

        The watched model is not looked at, the epoch is a number like others, and `run.step` stays where it is.
        Without `step` that of the last log call is taken.
        """
        append = self._append
        if append is None:
            self._refuse()
            return
        try:
            at = max(self._step, 0) if step is None else self._as_step(step)
            self._log_any(append, data, at, None, time() if t is None else float(t))
        except RecordingWarning:
            raise
        except Exception as error:  # noqa: BLE001 - the guard's edge
            self._failed("run.aside()", data, error)

    def _failed(self, doing: str, data: Mapping[str, Any], error: Exception) -> None:
        if self._append is None:  # another thread ended the run while this call was under way
            self._refuse()
        else:
            self._guard.failed(doing, _explained(data, error))

    def _log_any(
        self,
        append: Append,
        data: Mapping[str, Any],
        step: int,
        epoch: float | None,
        now: float,
    ) -> float | None:
        """Record what is not a plain dictionary of floats; return the epoch of this call."""
        found = sort_values({**data, "epoch": epoch} if epoch is not None else data)
        # An epoch decides what is done now, so it is read now.
        if (far := found.far.pop("epoch", None)) is not None and (number := as_number(far)) is not None:
            found.numbers["epoch"] = number
        append(found.numbers, step, now)
        for name, index, value in found.media:
            self._writer.add_media(name, value, step=step, t=now, index=index)  # type: ignore[union-attr]
        if found.far:
            self._log_far(found.far, step, now)
        for refusal in found.refused:
            if self._guard.strict:
                raise UsageError(refusal.message) from refusal.error
            self._guard.lost("values", refusal.message, once=(refusal.name, refusal.kind))
        return found.numbers.get("epoch")

    def _log_far(self, far: dict[str, Any], step: int, now: float) -> None:
        """Record numbers that lie on an accelerator when they have come."""
        writer = self._writer
        if self._deferred is None and writer is not None:

            def lost(count: int, message: str) -> None:
                writer.drop("far", count, message)

            self._deferred = Deferred(lambda: self._append, writer.submit, lost)
            self._closers.append(self._deferred.finish)
        if self._deferred is not None:
            self._deferred.put(far, step, now)

    def define(
        self,
        series: str,
        *,
        x: str | None = None,
        better: Better | None = None,
        alert: str | Sequence[str] | None = None,
    ) -> None:
        """Say over which series `series` is drawn, whether less ("min") or more ("max") of it is better, and when of
        its values an alert is raised.

        `alert` is one of `"nan"`, `"inf"`, a bound such as `"> 10"` or `"< 0.1"`, `"stalled 500"` (no new best for so
        many steps), or a list of them; an empty list takes them away. `series` may be a pattern for it (`"*loss*"`). An
        alert is raised when the condition comes true, and not again before a value came for which it is false.
        """
        if self._writer is None or self._append is None:
            self._refuse()
            return
        with self._guard.over("run.define()"):
            if better not in (None, "min", "max"):
                raise UsageError(f"better is {better!r}", hint="use 'min' or 'max'")
            conditions = None
            if self._alerts is not None and better is not None:
                self._alerts.set_better(series, better)
            if self._alerts is not None and alert is not None:
                conditions = self._alerts.watch(series, alert, begin=self._look_too)
            self._writer.define(series, x=x, better=better, alert=conditions)

    def alert(self, title: str, text: str = "", level: AlertLevel = "info", *, every: float | None = None) -> None:
        """Tell people something now: in the terminal, to the webhooks and functions of `init(alerts=...)`, in the run.

        `level` is "info", "warning" or "error". With `every`, the same title is told again only after so many seconds.
        """
        if self._alerts is None or self._append is None:
            self._refuse()
            return
        with self._guard.over("run.alert()"):
            self._alerts.raise_alert(title, text, level, step=self.step, every=every)

    def overhear(self, listener: Callable[[Mapping[str, float], int], None]) -> None:
        """Call `listener(numbers, step)` with all numbers that are recorded from now on, after they were.

        What it raises that is no Exception, such as KeyboardInterrupt, ends the call of `log` and so the training.
        """
        self._look_too(lambda numbers, step, t: listener(numbers, step))

    def _look_too(self, look: Append) -> None:
        append = self._append
        if append is None:
            return

        def append_and_look(numbers: Mapping[str, float], step: int, t: float) -> None:
            append(numbers, step, t)
            look(numbers, step, t)

        self._append = append_and_look

    def finish(self, status: EndStatus = "finished", *, error: str | None = None) -> None:
        """Write what is pending and end the run. A second call does nothing."""
        if self._writer is None or self._closed:
            return
        try:
            if status not in ("finished", "failed", "stopped"):
                raise UsageError(f"status is {status!r}", hint="use 'finished', 'failed' or 'stopped'")
            self._close_surroundings()
            self.unwatch()
        finally:
            farewell.forget(self)
            self._append, self._closed = None, status
            with self._guard.over("run.finish()"):
                self._writer.finish(status, error=error)

    def _close_surroundings(self) -> None:
        """End what runs beside the training; trouble with one does not keep the others from ending."""
        try:
            with self._guard.over("run.finish()"):
                while self._closers:
                    self._closers.pop()()
        finally:
            if self._closers:
                self._close_surroundings()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        # Python prints the error only after the run has ended; where no `with` is used, it has done so before.
        if error is not None and self._last_words is not None and not self._closed:
            with self._guard.over("run.finish()"):
                self._last_words(error)
        self.end_with_process(error)

    def end_with_process(self, error: BaseException | None) -> None:
        """Finish as failed (or stopped by the user) where an error ended the training, as finished else."""
        if error is None or (isinstance(error, SystemExit) and not error.code):
            self.finish()
        elif isinstance(error, KeyboardInterrupt):
            self.finish("stopped", error="KeyboardInterrupt")
        else:
            self.finish("failed", error=f"{type(error).__name__}: {error}".removesuffix(": "))

    def leave_to_parent(self) -> None:
        """In a forked process: record nothing, the run belongs to the process that made it."""
        self._append, self._closed = None, "forked"
        self._watcher = self._pusher = None
        self._examined = {}
        self._closers.clear()
        self._last_words = self._alerts = self._deferred = None


def _explained(data: object, error: Exception) -> Exception:
    if isinstance(data, Mapping):
        return error
    return UsageError(f"log() got a {type(data).__name__}", hint="give a dict such as {'loss': 0.5}")


def _nowhere(code: str, count: int) -> None:
    """Count nothing: there is no run to count it in."""
