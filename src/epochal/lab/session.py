"""Running a lab: which trial next, what became of it, when to stop."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from epochal.errors import EpochalError
from epochal.facts.lab import LabInfo, Trial, TrialState
from epochal.lab.metrics import flat_name
from epochal.lab.plan import seed_at
from epochal.lab.propose import Proposing, Pruning
from epochal.lab.runner import Ended, Runner, StopKind, Task, ask_to_stop, forget_stop
from epochal.lab.settings import OPTUNA_SAMPLERS
from epochal.lab.shared import SharedStore
from epochal.lab.space import parse_space
from epochal.lab.words import suggestion
from epochal.store import LabLog, StoredRun, new_run_id
from epochal.store.labs import drop_outcome

__all__ = ["Progress", "Session", "Todo"]

WAIT_SECS = 0.5
PRUNE_SECS = 1.0
STOP_GRACE_SECS = 30.0
INTERRUPT_GRACE_SECS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Todo:
    """A trial that is to be begun: the attempt it will be, and the run that it goes on with, if any."""

    trial: Trial
    attempt: int = 1
    run: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How a lab comes along. `done` of `total` trials have ended; `seconds_left` is None where nothing is known yet."""

    done: int
    total: int
    running: int
    failed: int
    seconds_left: float | None
    best: float | None
    ended: TrialState | None = None


class Session:
    """One process's work on a lab, from `run` to the end of all trials, the budget, or Ctrl-C."""

    def __init__(
        self,
        info: LabInfo,
        states: Sequence[TrialState],
        todo: Sequence[Todo],
        *,
        root: str,
        log: LabLog,
        runner: Runner,
        sys_path: Sequence[str] = (),
        retries: int = 3,
        machine: Mapping[str, Any] | None = None,
        only: bool = False,
        store: SharedStore | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.info = info
        self.states = {state.trial.number: state for state in states}
        self.interrupted = 0
        self._todo = deque(todo)
        self._root, self._log, self._runner, self._store = root, log, runner, store
        self._sys_path, self._retries, self._machine = tuple(sys_path), retries, dict(machine or {})
        self._scope = {each.trial.number for each in todo} if only else None
        self._on_progress, self._say = on_progress or (lambda _: None), say
        self._settings = info.settings
        self._running: dict[int, Task] = {}
        self._begun: dict[int, float] = {}
        self._asked: dict[int, tuple[StopKind, str, float]] = {}
        self._lost: dict[int, int] = {}
        self._seconds: list[float] = []
        self._told_objective = False
        self._pruned_at = 0.0
        budget = self._settings.get("budget") or {}
        self._wanted: int | None = budget.get("trials")
        self._trial_seconds: float | None = budget.get("trial_seconds")
        self._deadline = math.inf if budget.get("seconds") is None else time.monotonic() + float(budget["seconds"])
        self._proposing = None if only else self._make_proposing()
        pruner = self._settings.get("pruner")
        self._pruning = Pruning(pruner=pruner, direction=info.mode) if pruner else None

    def run(self) -> None:
        """Work until nothing is left to do. What is running when an error comes is ended first."""
        with _listening(self._interrupt):
            try:
                self._report(None)
                while self._fill() or self._running:
                    self._turn()
            finally:
                for number in list(self._running):
                    self._runner.kill(number)

    def _turn(self) -> None:
        for ended in self._runner.wait(WAIT_SECS):
            self._take(ended)
        now = time.monotonic()
        if self.interrupted:
            for number in list(self._running):
                self._ask(number, "interrupted", "the lab was interrupted")
        elif now > self._deadline:
            for number in list(self._running):
                self._ask(number, "budget", "the time budget of the lab was used up")
        for number, since in list(self._begun.items()):
            if self._trial_seconds is not None and now - since > self._trial_seconds:
                self._ask(number, "time", f"the trial took longer than {self._trial_seconds:g} s")
        for number, (kind, _, since) in list(self._asked.items()):
            grace = INTERRUPT_GRACE_SECS if kind == "interrupted" else STOP_GRACE_SECS
            if now - since > grace or self.interrupted > 1:
                self._runner.kill(number)
        if self._pruning is not None and now - self._pruned_at > PRUNE_SECS:
            self._pruned_at = now
            self._prune(self._pruning)
        self._log.beat()

    def _fill(self) -> bool:
        """Begin trials at free places; whether anything is left to begin."""
        if self.interrupted or time.monotonic() > self._deadline:
            return False
        while len(self._running) < self._runner.slots:
            todo = self._next()
            if todo is None:
                return False
            self._begin(todo)
        return True

    def _next(self) -> Todo | None:
        if self._todo:
            return self._todo.popleft()
        if self._proposing is None:
            return None
        configurations = {state.trial.configuration for state in self.states.values()}
        number, configuration = max(self.states, default=-1) + 1, max(configurations, default=-1) + 1
        if self._wanted is None or configuration - self._listed >= self._wanted:
            return None
        point = {**(self._settings.get("parameters") or {}), **self._proposing.propose(configuration)}
        for repeat in range(self.info.repeats):
            trial = Trial(
                number=number + repeat,
                configuration=configuration,
                repeat=repeat,
                seed=seed_at(int(self._settings.get("seed") or 0), repeat),
                parameters=point,
            )
            self._log.planned(trial)
            self.states[trial.number] = TrialState(trial=trial)
            self._todo.append(Todo(trial=trial))
        return self._todo.popleft()

    def _begin(self, todo: Todo) -> None:
        trial, info = todo.trial, self.info
        task = Task(
            root=self._root,
            lab_path=str(self._log.path),
            lab_id=info.id,
            lab_name=info.name,
            project=info.project,
            trial=trial,
            attempt=todo.attempt,
            run_id=todo.run or new_run_id(),
            objective=info.objective,
            model=info.model,
            data=info.data,
            train=info.train,
            validation=self._settings.get("validation"),
            restore=todo.run is not None,
            stop_on_nan=bool(self._settings.get("stop_on_nan")),
            trial_seconds=self._trial_seconds,
            sys_path=self._sys_path,
            store=self._store.address if self._store is not None else None,
            **self._machine,
        )
        if self._store is not None:
            if todo.run is not None and self._store.follows_runs:
                self._store.take_whole(task.project, todo.run)
            self._store.begun(task)
        forget_stop(task)
        drop_outcome(task.lab_path, trial.number, task.attempt)
        self._log.started(trial, attempt=task.attempt, run=task.run_id)
        self.states[trial.number] = TrialState(trial=trial, status="running", run=task.run_id, attempt=task.attempt)
        self._running[trial.number], self._begun[trial.number] = task, time.monotonic()
        self._runner.start(task)
        self._report(None)

    def _take(self, ended: Ended) -> None:
        """Note how an attempt ended, or begin another one where its machine was lost."""
        state = ended.state
        number = state.trial.number
        task = self._running.pop(number)
        self._begun.pop(number, None)
        if self._store is not None:
            self._store.ended(task)
        asked = self._asked.pop(number, None)
        if asked is not None and state.status == "failed" and state.resumable:  # it was ended by force
            kind, reason, _ = asked
            state = replace(state, status="stopped", error=reason, resumable=kind in ("interrupted", "budget"))
        elif ended.lost and self._lost.get(number, 0) < self._retries:
            self._lost[number] = self._lost.get(number, 0) + 1
            self._log.note("lost", number=number, attempt=task.attempt, run=state.run, error=state.error)
            self._say(f"trial {number}: {state.error}; it is begun again")
            self.states[number] = TrialState(trial=state.trial, run=state.run, attempt=task.attempt)
            self._todo.appendleft(Todo(trial=state.trial, attempt=task.attempt + 1, run=state.run))
            return
        self._log.ended(state)
        self.states[number] = state
        with contextlib.suppress(OSError):
            drop_outcome(task.lab_path, number, task.attempt)
            forget_stop(task)
        if state.seconds is not None and state.status == "finished":
            self._seconds.append(state.seconds)
        self._check_objective(state)
        value = state.metrics.get(self.info.objective)
        if self._pruning is not None:
            self._pruning.report(number, self._curve(task)[1])  # it may have been over before anyone looked
            self._pruning.done(number, value, pruned=asked is not None and asked[0] == "pruned")
        self._tell(state.trial.configuration)
        self._report(state)

    def _ask(self, number: int, kind: StopKind, reason: str) -> None:
        if number not in self._asked or (kind == "interrupted" and self._asked[number][0] != "interrupted"):
            self._asked[number] = (kind, reason, time.monotonic())
            ask_to_stop(self._running[number], kind, reason)

    def _interrupt(self) -> None:
        self.interrupted += 1

    def _check_objective(self, state: TrialState) -> None:
        wanted = self.info.objective
        if state.status == "finished" and wanted not in state.metrics and not self._told_objective:
            self._told_objective = True
            hint = suggestion(wanted, state.metrics)
            self._say(f"trial {state.trial.number} has no metric {wanted!r}, the objective of the lab; {hint}")

    @property
    def _listed(self) -> int:
        """How many configurations were there before the first proposal."""
        return len({trial.configuration for trial in self.info.trials if trial.number < self._planned})

    @property
    def _planned(self) -> int:
        return int(self._settings.get("planned") or 0)

    def _make_proposing(self) -> Proposing | None:
        sampler = self._settings.get("sampler")
        if sampler not in OPTUNA_SAMPLERS or not self.info.space:
            return None
        made = Proposing(
            parse_space(self.info.space),
            sampler=sampler,
            directions=[mode for _, mode in self._objectives],
            seed=int(self._settings.get("seed") or 0),
        )
        for configuration in sorted({state.trial.configuration for state in self.states.values()}):
            of_it = self._of(configuration)
            if all(state.status in ("finished", "failed", "stopped") for state in of_it):
                made.remember(of_it[0].trial.parameters, self._values(of_it))
        return made

    @property
    def _objectives(self) -> list[tuple[str, str]]:
        pairs = self._settings.get("objectives") or [(self.info.objective, self.info.mode)]
        return [(str(name), str(mode)) for name, mode in pairs]

    def _of(self, configuration: int) -> list[TrialState]:
        return [state for state in self.states.values() if state.trial.configuration == configuration]

    def _values(self, states: Sequence[TrialState]) -> list[float] | None:
        """The mean of each objective over the repeats that have it, None where one lacks altogether."""
        found = []
        for name, _ in self._objectives:
            values = [s.metrics[name] for s in states if math.isfinite(s.metrics.get(name, math.nan))]
            if not values:
                return None
            found.append(sum(values) / len(values))
        return found

    def _tell(self, configuration: int) -> None:
        of_it = self._of(configuration)
        if self._proposing is not None and all(s.status not in ("waiting", "running") for s in of_it):
            self._proposing.tell(configuration, self._values(of_it))

    def _prune(self, pruning: Pruning) -> None:
        for number, task in self._running.items():
            name, values = self._curve(task)
            if number not in self._asked and values and pruning.report(number, values):
                self._ask(number, "pruned", f"pruned: {name} was behind that of other trials")

    def _curve(self, task: Task) -> tuple[str, list[tuple[int, float]]]:
        """The series of the objective so far, and its values, numbered."""
        wanted = self.info.objective.removeprefix("best_")
        if self._store is not None and not self._store.follows_runs:
            self._store.bring(task)
        with contextlib.suppress(EpochalError, OSError):
            stored = StoredRun(f"{self._root}/{task.project}/{task.run_id}")
            name = next((name for name in stored.summaries() if flat_name(name) == wanted), "")
            if name:
                return name, list(enumerate(map(float, stored.scalars([name])[name].v)))
        return "", []

    def _report(self, ended: TrialState | None) -> None:
        states = [s for number, s in self.states.items() if self._scope is None or number in self._scope]
        done = sum(state.status in ("finished", "failed", "stopped") for state in states)
        total = len(states)
        if self._proposing is not None and self._wanted is not None:
            total = max(total, self._planned + self._wanted * self.info.repeats)
        values = [s.metrics.get(self.info.objective, math.nan) for s in states if s.status == "finished"]
        finite = [value for value in values if math.isfinite(value)]
        best = (min if self.info.mode == "min" else max)(finite, default=None)
        self._on_progress(
            Progress(
                done=done,
                total=total,
                running=len(self._running),
                failed=sum(state.status == "failed" for state in states),
                seconds_left=self._left(total - done),
                best=best,
                ended=ended,
            )
        )

    def _left(self, open_trials: int) -> float | None:
        if not self._seconds:
            return None
        each = sum(self._seconds) / len(self._seconds)
        now = time.monotonic()
        begun = sum(min(now - since, each) for since in self._begun.values())
        left = max(0.0, open_trials * each - begun) / max(1, min(self._runner.slots, open_trials))
        return min(left, self._deadline - now) if self._deadline < math.inf else left


@contextlib.contextmanager
def _listening(interrupt: Callable[[], None]) -> Iterator[None]:
    """Call `interrupt` at Ctrl-C and at a request to end, instead of breaking off wherever the program is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: interrupt())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
