"""wandb's calls: `import epochal.dropin.wandb as wandb`, and the script stays as it is. No account, no server.

Runs lie where Epochal's lie (EPOCHAL_DIR, or ./epochal-runs); `epochal view` shows them. Of wandb's environment
variables WANDB_MODE=disabled, WANDB_PROJECT, WANDB_NAME, WANDB_RUN_ID, WANDB_RUN_GROUP, WANDB_TAGS, WANDB_NOTES,
WANDB_RESUME and WANDB_JOB_TYPE are understood.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from epochal._version import __version__
from epochal.dropin.wandb import plot
from epochal.dropin.wandb.artifacts import Artifact
from epochal.dropin.wandb.run import AlertLevel, Run
from epochal.dropin.wandb.values import Audio, Histogram, Html, Image, Object3D, Plotly, Table, Video
from epochal.errors import EpochalError, UsageError
from epochal.record import init as _begin

__all__ = [
    "AlertLevel",
    "Artifact",
    "Audio",
    "Error",
    "Histogram",
    "Html",
    "Image",
    "Object3D",
    "Plotly",
    "Run",
    "Settings",
    "Table",
    "Video",
    "__version__",
    "agent",
    "alert",
    "config",
    "controller",
    "define_metric",
    "ensure_configured",
    "finish",
    "init",
    "join",
    "log",
    "log_artifact",
    "log_model",
    "login",
    "plot",
    "require",
    "restore",
    "run",
    "save",
    "setup",
    "summary",
    "sweep",
    "teardown",
    "unwatch",
    "use_artifact",
    "use_model",
    "watch",
]

Error = EpochalError
_OPEN: list[Run] = []


class Settings(SimpleNamespace):
    """Any settings: `mode`, `project`, `run_id`, `run_name`, `run_group`, `root_dir` are understood, others kept."""


def init(
    entity: str | None = None,
    project: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    id: str | None = None,
    name: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    config: Any = None,
    config_exclude_keys: Sequence[str] | None = None,
    config_include_keys: Sequence[str] | None = None,
    allow_val_change: bool | None = None,
    group: str | None = None,
    job_type: str | None = None,
    mode: str | None = None,
    force: bool | None = None,
    reinit: bool | str | None = None,
    resume: bool | str | None = None,
    resume_from: str | None = None,
    fork_from: str | None = None,
    save_code: bool | None = None,
    tensorboard: bool | None = None,
    sync_tensorboard: bool | None = None,
    monitor_gym: bool | None = None,
    settings: Any = None,
    anonymous: Any = None,
    **others: Any,
) -> Run:
    """Begin a run and return it; while one is open it is returned again, unless `reinit` says otherwise.

    "online", "offline" and "shared" all record on this machine; "disabled" records nothing. `resume_from` and
    `fork_from` are `"id?_step=N"`. Raises UsageError for what cannot be.
    """
    given = settings if isinstance(settings, Mapping) else vars(settings) if settings is not None else {}
    if _OPEN and reinit in (True, "finish_previous"):
        while _OPEN:
            _OPEN[-1].finish()
    elif _OPEN and reinit != "create_new":
        return _OPEN[-1]
    chosen = _first(mode, given.get("mode"), os.environ.get("WANDB_MODE"), "online")
    if chosen not in ("online", "offline", "disabled", "shared", "dryrun"):
        raise UsageError(f"mode is {chosen!r}", hint="use 'online', 'offline' or 'disabled'")
    facts = {
        "entity": entity,
        "notes": _first(notes, os.environ.get("WANDB_NOTES")),
        "tags": list(tags) if tags is not None else _split(os.environ.get("WANDB_TAGS")),
        "group": _first(group, given.get("run_group"), os.environ.get("WANDB_RUN_GROUP")),
        "job_type": _first(job_type, os.environ.get("WANDB_JOB_TYPE")),
        "settings": Settings(**given),
    }
    plain = _config(config, config_include_keys, config_exclude_keys)
    if facts["job_type"]:
        plain.setdefault("job_type", facts["job_type"])
    more: dict[str, Any] = {"id": _first(id, given.get("run_id"), os.environ.get("WANDB_RUN_ID"))}
    more["resume"] = _resume(_first(resume, os.environ.get("WANDB_RESUME")), known=more["id"] is not None)
    if resume_from is not None:
        more["id"], more["rewind_to"] = _moment(resume_from, "resume_from")
        more["resume"] = "must"
    if fork_from is not None:
        source, step = _moment(fork_from, "fork_from")
        more["fork"] = f"{source}@{step}"
    recorded = _begin(
        _first(project, given.get("project"), os.environ.get("WANDB_PROJECT")),
        name=_first(name, given.get("run_name"), os.environ.get("WANDB_NAME")),
        config=plain,
        dir=_first(os.environ.get("EPOCHAL_DIR"), Path(dir, "epochal-runs") if dir is not None else None),
        tags=facts["tags"],
        notes=facts["notes"] or "",
        group=facts["group"],
        mode="off" if chosen == "disabled" else "on",
        **more,
    )
    started = Run(recorded, facts, _left)
    _OPEN.append(started)
    _show()
    return started


def _left(ended: Run) -> None:
    with contextlib.suppress(ValueError):
        _OPEN.remove(ended)
    _show()


class _Before:
    """Stands for `wandb.config` and `wandb.summary` until there is a run."""

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _no_run(f"{self._name}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise _no_run(f"{self._name}.{name}")

    def __getitem__(self, name: str) -> Any:
        raise _no_run(f"{self._name}[{name!r}]")

    def __setitem__(self, name: str, value: Any) -> None:
        raise _no_run(f"{self._name}[{name!r}]")


run: Run | None = None
config: Any = _Before("config")
summary: Any = _Before("summary")


def _show() -> None:
    """Renew `wandb.run`, `wandb.config` and `wandb.summary`: those of the run begun last."""
    global run, config, summary
    run = _OPEN[-1] if _OPEN else None
    config = run.config if run else _Before("config")
    summary = run.summary if run else _Before("summary")


def _no_run(what: str) -> EpochalError:
    return UsageError(f"You must call wandb.init() before wandb.{what}", hint="run = wandb.init(project='example')")


def _current(what: str) -> Run:
    if not _OPEN:
        raise _no_run(what)
    return _OPEN[-1]


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """Record numbers and values with the current run."""
    _current("log()").log(data, step, commit)


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """End the current run; nothing where there is none."""
    if _OPEN:
        _OPEN[-1].finish(exit_code, quiet)


join = finish


def watch(
    models: Any,
    criterion: Any = None,
    log: str | None = "gradients",
    log_freq: int = 1000,
    idx: int | None = None,
    log_graph: bool = False,
) -> None:
    """Record a network with the current run."""
    _current("watch()").watch(models, criterion, log, log_freq, idx, log_graph)


def unwatch(models: Any = None) -> None:
    """Stop watching."""
    _current("unwatch()").unwatch(models)


def define_metric(
    name: str,
    step_metric: Any = None,
    step_sync: bool | None = None,
    hidden: bool | None = None,
    summary: str | None = None,
    goal: str | None = None,
    overwrite: bool | None = None,
) -> Any:
    """Say how a series of the current run is meant."""
    return _current("define_metric()").define_metric(name, step_metric, step_sync, hidden, summary, goal, overwrite)


def alert(title: str, text: str, level: Any = None, wait_duration: Any = None) -> None:
    """Tell people of something."""
    _current("alert()").alert(title, text, level, wait_duration)


def save(
    glob_str: str | os.PathLike[str] | None = None,
    base_path: str | os.PathLike[str] | None = None,
    policy: str = "live",
    glob: bool = True,
) -> list[str]:
    """Copy files into the current run."""
    return _current("save()").save(glob_str, base_path, policy, glob)


def restore(name: str, run_path: str | None = None, replace: bool = False, root: str | None = None) -> Any:
    """Open a file that was saved in the current run."""
    return _current("restore()").restore(name, run_path, replace, root)


def log_artifact(
    artifact_or_path: Any,
    name: str | None = None,
    type: str | None = None,
    aliases: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
) -> Artifact:
    """Keep files as the next version of an artifact."""
    return _current("log_artifact()").log_artifact(artifact_or_path, name, type, aliases, tags)


def use_artifact(
    artifact_or_name: Any,
    type: str | None = None,
    aliases: Sequence[str] | None = None,
    use_as: str | None = None,
) -> Artifact:
    """Return an artifact of the project."""
    return _current("use_artifact()").use_artifact(artifact_or_name, type, aliases, use_as)


def log_model(path: Any, name: str | None = None, aliases: Sequence[str] | None = None) -> None:
    """Keep a model's files as an artifact."""
    _current("log_model()").log_model(path, name, aliases)


def use_model(name: str) -> str:
    """Copy a model's files here."""
    return _current("use_model()").use_model(name)


def login(*args: Any, **others: Any) -> bool:
    """Nothing to do: there is no account. A key that is given is not kept."""
    return True


def setup(*args: Any, **others: Any) -> None:
    """Nothing to do."""


teardown = require = ensure_configured = setup


def sweep(sweep: Any, entity: str | None = None, project: str | None = None, prior_runs: Any = None) -> str:
    """Not here: raises UsageError that says where sweeps are."""
    raise UsageError("wandb.sweep() has no counterpart here", hint="sweeps are the work of `epochal lab`")


def agent(sweep_id: str, function: Any = None, *args: Any, **others: Any) -> None:
    """Not here: raises UsageError that says where sweeps are."""
    raise UsageError("wandb.agent() has no counterpart here", hint="sweeps are the work of `epochal lab`")


def controller(*args: Any, **others: Any) -> None:
    """Not here: raises UsageError that says where sweeps are."""
    raise UsageError("wandb.controller() has no counterpart here", hint="sweeps are the work of `epochal lab`")


class Api:
    """Not here: raises UsageError that says how runs are read."""

    def __init__(self, *args: Any, **others: Any) -> None:
        raise UsageError("wandb.Api() has no counterpart here", hint="read runs with epochal.open().runs()")


def _first(*choices: Any) -> Any:
    return next((choice for choice in choices if choice is not None), None)


def _split(words: str | None) -> list[str]:
    return [word.strip() for word in (words or "").split(",") if word.strip()]


def _config(config: Any, include: Sequence[str] | None, exclude: Sequence[str] | None) -> dict[str, Any]:
    if config is None:
        return {}
    if isinstance(config, str):
        raise UsageError(f"config is the path {config!r}", hint="read the file yourself and give a dictionary")
    plain = dict(config) if isinstance(config, Mapping) else dict(vars(config))
    if include is not None and exclude is not None:
        raise UsageError("Expected at most only one of config_exclude_keys or config_include_keys")
    return {k: v for k, v in plain.items() if (include is None or k in include) and k not in (exclude or ())}


def _resume(resume: Any, *, known: bool) -> str:
    if resume in (None, False, "never"):
        return "never"
    if resume in (True, "auto", "allow"):
        return "allow" if known else "never"
    if resume == "must":
        return "must"
    raise UsageError(f"resume is {resume!r}", hint="use 'allow', 'must', 'never' or 'auto'")


def _moment(text: str, what: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.+)\?_step=(\d+)", text)
    if found is None:
        raise UsageError(f"{what} is {text!r}", hint="give 'id?_step=100'")
    return found[1], int(found[2])
