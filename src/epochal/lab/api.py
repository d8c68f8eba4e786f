"""The lab in Python: `epochal.Lab(...)` says what to try, `run` tries it and returns what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from epochal.errors import NotFoundError, UsageError
from epochal.facts.lab import LabInfo, TrialState
from epochal.lab.file import read_lab_file
from epochal.lab.plan import choose, lab_of
from epochal.lab.result import LabResult
from epochal.lab.runner import Runner
from epochal.lab.session import Progress, Session, Todo
from epochal.lab.settings import LabSettings, Machine, settings_of
from epochal.lab.shared import SharedStore
from epochal.lab.trial import INSIDE, own_training
from epochal.store import LabLog, read_lab, resolve_root
from epochal.store.cache import given_place
from epochal.store.files import to_json
from epochal.store.remote import is_remote

__all__ = ["Lab", "rerun", "run", "run_settings"]

OnProgress = Callable[[Progress], None]
Say = Callable[[str], None]
Training = Callable[..., Any]


class Lab:
    """A family of trainings: a model and data (or a `train` function), and what its parameters may be.

    `train` is called with `(run, parameters, seed)` in a process of its own, and returns metrics or nothing; it is a
    function at the top level of a module or script, or its name as `package.module:function`. Give it `should_stop`
    and `restore` too if it can end early and go on from a snapshot. `trials` is a list of dictionaries, `space` maps
    parameters to lists of values or to ranges such as `{"log_uniform": [1e-4, 1e-1]}`, `parameters` are those that all
    trials have. The others are as below `[lab]` of a lab.toml. Raises UsageError for what cannot be.

    >>> import epochal
    >>> lab = epochal.Lab("rates", train="mymodule:train", space={"learning_rate": [0.1, 0.01]}, repeats=3)
    >>> [trial.seed for trial in lab.plan().trials]
    [0, 0, 1, 1, 2, 2]
    """

    def __init__(
        self,
        name: str,
        *,
        model: str | None = None,
        data: str | None = None,
        train: str | Training | None = None,
        trials: Sequence[Mapping[str, Any]] = (),
        space: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        repeats: int = 1,
        objective: str | Sequence[str] = "val_accuracy",
        mode: str | Sequence[str] | None = None,
        budget: Mapping[str, Any] | None = None,
        seed: int = 0,
        stop_on_nan: bool = False,
        sampler: str | None = None,
        pruner: str | None = None,
        validation: float | None = None,
        project: str | None = None,
        notes: str = "",
        store: str | None = None,
        runner: Mapping[str, Any] | None = None,
    ) -> None:
        lab = {
            "name": name,
            "project": project,
            "model": model,
            "data": data,
            "train": _named(train) if callable(train) else train,
            "repeats": repeats,
            "objective": objective if isinstance(objective, str) else list(objective),
            "mode": mode,
            "budget": dict(budget or {}),
            "seed": seed,
            "stop_on_nan": stop_on_nan,
            "sampler": sampler,
            "pruner": pruner,
            "validation": validation,
            "notes": notes or None,
            "store": store,
        }
        document = {
            "lab": {key: value for key, value in lab.items() if value is not None},
            "trials": list(trials),
            "space": dict(space or {}),
            "parameters": dict(parameters or {}),
            "runner": dict(runner or {}),
        }
        self.settings = settings_of(document, locate=lambda *_: "")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Lab:
        """The lab that a lab.toml means. Raises NotFoundError, and UsageError that names the line."""
        lab = cls.__new__(cls)
        lab.settings = read_lab_file(path)
        return lab

    def plan(self) -> LabInfo:
        """What would be tried: the trials with parameters and seeds, as far as they are known before the first one."""
        return lab_of(self.settings)

    def run(
        self,
        *,
        dir: str | os.PathLike[str] | None = None,  # noqa: A002 - as `init` has it
        store: str | None = None,
        jobs: int | None = None,
        ray: str | None = None,
        resume: bool = False,
        only: str | Sequence[str] = (),
        on_progress: OnProgress | None = None,
        say: Say | None = None,
    ) -> LabResult:
        """Train all trials, each in a process of its own, and return what came of them.

        `jobs` is how many train at once on this machine, `ray` the address of a cluster instead. With `resume`, the
        newest lab of this name is gone on with: what has finished stays, what was broken off goes on from its last
        snapshot. `only` names trials, such as `"0,3-5"`. `store` is where runs lie: a folder, or `s3://bucket/prefix`,
        into which all is put while it is recorded in `dir` (or in a folder of the user's cache). Raises RemoteError
        where it cannot be written to, and KeyboardInterrupt after Ctrl-C, when all is put down.
        """
        words = [only] if isinstance(only, str) else list(only)
        result = run_settings(
            self.settings,
            dir=dir,
            store=store,
            jobs=jobs,
            ray=ray,
            resume=resume,
            only=words,
            on_progress=on_progress,
            say=say,
        )
        if result.interrupted:
            raise KeyboardInterrupt
        return result


def run(name: str, **what: Any) -> LabResult:
    """Make a `Lab` of the arguments and run it; those of `Lab.run` may be given too."""
    how = {
        key: what.pop(key)
        for key in ("dir", "store", "jobs", "ray", "resume", "only", "on_progress", "say")
        if key in what
    }
    return Lab(name, **what).run(**how)


def run_settings(
    settings: LabSettings,
    *,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002
    store: str | None = None,
    jobs: int | None = None,
    ray: str | None = None,
    resume: bool = False,
    only: Sequence[str] = (),
    folder: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
    say: Say | None = None,
) -> LabResult:
    """Run a lab of these settings, or go on with the newest one of its name. `folder` is where its lab.toml lies."""
    _refuse_inside(settings.name)
    planned = lab_of(_with_paths(settings, folder))
    _check_parameters(planned)
    root, shared = _place(dir, store or settings.store, say)
    if shared is not None and resume:
        shared.take_labs(planned.project)
    found = _existing(root, planned) if resume else None
    info, states = found or (planned, [TrialState(trial=trial) for trial in planned.trials])
    info = replace(info, settings={**info.settings, "budget": planned.settings["budget"]})
    if resume:
        wanted = {s.trial.number for s in states if s.status == "waiting" or s.resumable}
    else:
        wanted = {state.trial.number for state in states}
    if only:
        chosen = choose(info.trials, only, {s.trial.number: s.status for s in states})
        wanted = wanted & chosen if not resume else chosen & {s.trial.number for s in states if s.status != "finished"}
    todo = [
        Todo(trial=s.trial, attempt=s.attempt + 1, run=s.run if s.resumable else None)
        for s in states
        if s.trial.number in wanted
    ]
    return _run(
        info,
        states,
        todo,
        root,
        shared=shared,
        machine=settings.machine,
        jobs=jobs,
        ray=ray,
        only=bool(only),
        folder=folder,
        on_progress=on_progress,
        say=say,
    )


def rerun(
    name: str = "latest",
    only: Sequence[str] = ("failed",),
    *,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002
    store: str | None = None,
    jobs: int | None = None,
    ray: str | None = None,
    on_progress: OnProgress | None = None,
    say: Say | None = None,
) -> LabResult:
    """Train trials of a lab again from their beginning, in new runs; the runs before stay. By default, the failed ones.

    Raises NotFoundError where there is no such lab.
    """
    root, shared = _place(dir, store, say)
    if shared is not None:
        shared.take_labs()
    info, states = read_lab(root, name)
    _refuse_inside(info.name)
    chosen = choose(info.trials, only, {s.trial.number: s.status for s in states})
    todo = [Todo(trial=s.trial, attempt=s.attempt + 1) for s in states if s.trial.number in chosen]
    machine = Machine(**(info.settings.get("machine") or {}))
    return _run(
        info,
        states,
        todo,
        root,
        shared=shared,
        machine=machine,
        jobs=jobs,
        ray=ray,
        only=True,
        on_progress=on_progress,
        say=say,
    )


def _run(
    info: LabInfo,
    states: Sequence[TrialState],
    todo: Sequence[Todo],
    root: Path,
    *,
    shared: SharedStore | None,
    machine: Machine,
    jobs: int | None,
    ray: str | None,
    only: bool,
    folder: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None,
    say: Say | None,
) -> LabResult:
    say = say or (lambda _: None)
    folders = [str(Path(folder).resolve())] if folder is not None else list(info.settings.get("folders") or [])
    where = {"folders": folders, "machine": _machine_document(machine), "store": shared.address if shared else None}
    info = replace(info, settings={**info.settings, **where})
    with ExitStack() as stack:
        runner = stack.enter_context(_runner(machine, jobs, ray, say, shared))
        if shared is not None:
            stack.callback(shared.close)
        log = stack.enter_context(LabLog(root, info))
        if shared is not None:
            shared.begin(log.path, follows_runs=not (ray or machine.ray))
        log.note("session", jobs=runner.slots, runner=type(runner).__name__, trials=len(todo))
        session = Session(
            info,
            states,
            todo,
            root=str(root),
            log=log,
            runner=runner,
            sys_path=list(dict.fromkeys([*folders, str(Path.cwd())])),
            retries=machine.retries,
            machine={"gpus": machine.gpus, "memory": machine.memory, "resources": dict(machine.resources)},
            only=only,
            store=shared,
            on_progress=on_progress,
            say=say,
        )
        session.run()
    ordered = [session.states[number] for number in sorted(session.states)]
    info = replace(info, trials=tuple(state.trial for state in ordered), path=str(log.path))
    return LabResult(info, tuple(ordered), interrupted=bool(session.interrupted))


@contextmanager
def _runner(
    machine: Machine, jobs: int | None, ray: str | None, say: Say, shared: SharedStore | None
) -> Iterator[Runner]:
    address = ray or machine.ray
    if address is not None:
        from epochal.lab.ray import RayRunner

        bring = shared.bring if shared is not None else None
        cluster = RayRunner(
            address,
            jobs=jobs or machine.jobs,
            cpus=machine.cpus,
            working_dir=machine.working_dir,
            bring=bring,
            say=say,
        )
        with closing(cluster):
            yield cluster
        return
    from epochal.lab.local import LocalRunner

    local = LocalRunner(jobs=jobs or machine.jobs or 1, cpus=machine.cpus, memory=machine.memory, gpus=machine.gpus)
    with closing(local):
        yield local


def _place(
    dir: str | os.PathLike[str] | None,  # noqa: A002
    store: str | None,
    say: Say | None,
) -> tuple[Path, SharedStore | None]:
    """The folder that a lab is recorded in, and the object store that it is put into, if there is one."""
    place = given_place(dir)
    if is_remote(place):
        store, place = store or str(place), None
    if is_remote(store):
        assert store is not None  # noqa: S101 - it has been looked at
        shared = SharedStore(store, place, say=say or (lambda _: None))
        return shared.root, shared
    return resolve_root(place if dir is not None or store is None else store), None


def _existing(root: Path, planned: LabInfo) -> tuple[LabInfo, list[TrialState]] | None:
    """The newest lab of this name, if there is one. Raises UsageError where what is asked for is another lab."""
    try:
        info, states = read_lab(root, f"{planned.project}/{planned.name}")
    except NotFoundError:
        return None
    count = int(info.settings.get("planned") or 0)
    before, now = (_identity(each, count) for each in (info, planned))
    if changed := [key for key in now if before[key] != now[key]]:
        raise UsageError(
            f"The lab {info.project}/{info.id} cannot be gone on with: {', '.join(changed)} changed since it was begun",
            hint="run it without --resume, which begins a new lab, or change it back",
        )
    return info, states


def _identity(info: LabInfo, count: int) -> dict[str, bytes]:
    names = ("model", "data", "train", "objective", "mode", "repeats", "space")
    facts = {name: getattr(info, name) for name in names}
    settings = {k: info.settings.get(k) for k in ("seed", "sampler", "pruner", "validation", "parameters")}
    listed = [(t.seed, dict(t.parameters)) for t in info.trials[:count]] if count else []
    return {key: to_json(value) for key, value in {**facts, **settings, "trials": [*listed]}.items()}


def _check_parameters(planned: LabInfo) -> None:
    """Raise UsageError where no trial at all could be trained, so that a slip of the pen is said once and at once."""
    if planned.model is None or not planned.model.startswith("epochal:") or not planned.trials:
        return  # code of the user's runs in trials alone
    training = own_training()
    first: UsageError | None = None
    for trial in planned.trials:
        try:
            training.check(trial.parameters, model=planned.model)
        except UsageError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise UsageError(f"No trial can be trained: {first.message}", hint=first.hint)


def _with_paths(settings: LabSettings, folder: str | os.PathLike[str] | None) -> LabSettings:
    """Paths that other processes find too: one that is not below the current folder may lie beside the lab.toml."""
    data = settings.data
    if data is None or data.startswith("epochal:"):
        return settings
    for place in (Path.cwd(), *([Path(folder)] if folder is not None else [])):
        if (place / data).is_file():
            return replace(settings, data=str((place / data).resolve()))
    return settings


def _machine_document(machine: Machine) -> dict[str, Any]:
    names = ("jobs", "cpus", "gpus", "memory", "retries", "ray", "working_dir")
    return {**{name: getattr(machine, name) for name in names}, "resources": dict(machine.resources)}


def _named(function: Training) -> str:
    """The name by which another process finds a function. Raises UsageError where it would not."""
    name, module = getattr(function, "__qualname__", ""), getattr(function, "__module__", None)
    if not name or "<" in name or module is None:
        raise UsageError(
            f"train is {name or function!r}, which another process cannot find",
            hint="define it with def at the top level of a module or script",
        )
    if module != "__main__":
        return f"{module}:{name}"
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None or "." in name:
        raise UsageError(
            f"train is {name}, which was defined where another process cannot find it",
            hint="put it into a file: train = 'mymodule:train'",
        )
    return f"{Path(file).resolve()}:{name}"


def _refuse_inside(name: str) -> None:
    if inside := os.environ.get(INSIDE):
        raise UsageError(
            f"The lab {name!r} was asked to run inside trial {inside}",
            hint="put what starts it below: if __name__ == '__main__':",
        )
