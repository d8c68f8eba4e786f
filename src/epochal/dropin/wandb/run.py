"""wandb's run, recorded by Epochal."""

from __future__ import annotations

import fnmatch
import glob
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any

from epochal.dropin.wandb.artifacts import Artifact, Artifacts
from epochal.dropin.wandb.settings import Config, Metric, Summary
from epochal.dropin.wandb.values import as_numpy
from epochal.errors import NotFoundError, UsageError
from epochal.record import Run as Recorded
from epochal.record import media
from epochal.record.deferred import is_far
from epochal.record.values import as_number

__all__ = ["AlertLevel", "Run"]


class AlertLevel(Enum):
    """How serious an alert is."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


_LEVELS = {"INFO": "info", "WARN": "warning", "WARNING": "warning", "ERROR": "error"}


class Run:
    """A run with wandb's methods and attributes. `run.epochal` is Epochal's own run below it.

    A step that goes back is recorded, and told of once: wandb would drop it.
    """

    def __init__(self, recorded: Recorded, facts: Mapping[str, Any], leave: Callable[[Run], None]) -> None:
        self._recorded = recorded
        self._facts = dict(facts)
        self._leave = leave
        self._waiting: dict[str, Any] = {}
        last = recorded.step
        self.starting_step = self._step = 0 if last is None else last + 1
        self.start_time = time.time()
        self._metrics: dict[str, Metric] = {}
        self._known: dict[str, str | None] = {}
        self._late: set[str] = set()
        self._again: list[tuple[Path, str]] = []
        self._told_back = False
        self.config = Config(self)
        self.config._items.update(recorded.config)
        self.summary = Summary(self)

    @property
    def epochal(self) -> Recorded:
        """Epochal's run, for all that wandb has no call for."""
        return self._recorded

    @property
    def id(self) -> str:
        """Id of the run."""
        return self._recorded.id

    @property
    def name(self) -> str:
        """Name for people."""
        return self._recorded.name

    @name.setter
    def name(self, name: str) -> None:
        self._recorded.describe(name=name)

    @property
    def project(self) -> str:
        """Project of the run."""
        return self._recorded.project

    @property
    def notes(self) -> str | None:
        """What people wrote about it."""
        return self._facts.get("notes")

    @notes.setter
    def notes(self, notes: str) -> None:
        self._facts["notes"] = notes
        self._recorded.describe(notes=notes)

    @property
    def tags(self) -> tuple[str, ...]:
        """Words for finding it again."""
        return tuple(self._facts.get("tags") or ())

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        self._facts["tags"] = list(tags)
        self._recorded.describe(tags=list(tags))

    @property
    def group(self) -> str | None:
        """Group of runs that it belongs to."""
        return self._facts.get("group")

    @property
    def job_type(self) -> str | None:
        """What kind of work it is."""
        return self._facts.get("job_type")

    @property
    def entity(self) -> str:
        """Whose it was to be; all is local."""
        return self._facts.get("entity") or ""

    @property
    def step(self) -> int:
        """The step that the next `log` is recorded at."""
        return self._step

    @property
    def dir(self) -> str:
        """The folder that files of the run are kept in."""
        path = self._recorded.path
        return "" if path is None else str(path)

    @property
    def path(self) -> str:
        """`project/id`."""
        return f"{self.project}/{self.id}"

    @property
    def url(self) -> str | None:
        """None: the run lies on this machine; `epochal view` shows it."""
        return None

    get_url = project_url = url
    sweep_id = sweep_url = None

    @property
    def offline(self) -> bool:
        """Always: nothing leaves this machine."""
        return True

    @property
    def disabled(self) -> bool:
        """Whether nothing is recorded."""
        return self._recorded.path is None

    @property
    def resumed(self) -> bool:
        """Whether it goes on with an earlier run."""
        return self.starting_step > 0

    @property
    def settings(self) -> Any:
        """What `wandb.init` was given."""
        return self._facts.get("settings")

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, **others: Any) -> None:
        """Record numbers and values at a step; without one, at the next, unless `commit=False` adds to the same."""
        if not isinstance(data, Mapping) or any(not isinstance(key, str) for key in data):
            raise ValueError("Key values passed to `wandb.log` must be strings, in a dictionary.")
        if step is not None:
            if step < self._step and not self._told_back:
                self._told_back = True
                self._recorded.note_once(
                    f"step {step} was logged after step {self._step}: it is recorded, where wandb drops such steps"
                )
            if step > self._step:
                self._send()
            self._step = int(step)
        self._waiting.update(data)
        if commit or (commit is None and step is None):
            self._send()
            self._step += 1
        elif step is not None:
            self._send()

    def _send(self) -> None:
        """Record what was gathered for this step."""
        if not self._waiting:
            return
        data, self._waiting = self._waiting, {}
        ready: dict[str, Any] = {}
        epoch = None
        for name, value in _flat(data):
            ready[name] = value = _value(value)
            if name != "epoch" and is_far(value):  # reading it now would make the training wait for the device
                self._note_series(name)
                self._expect(name)
                continue
            number = as_number(value)
            if number is not None:
                self._note_series(name)
                self.summary._log(name, number)
                epoch = number if name == "epoch" else epoch
        if epoch is not None:
            del ready["epoch"]
        self._recorded.log(ready, step=self._step, epoch=epoch)

    def _expect(self, name: str) -> None:
        """Take the numbers of a series into the summary when they have come."""
        if not self._late:
            self._recorded.overhear(self._heard)
        self._late.add(name)

    def _heard(self, numbers: Mapping[str, float], step: int) -> None:
        for name in numbers.keys() & self._late:
            self.summary._log(name, numbers[name])

    def _settle(self) -> None:
        """Wait for numbers that are on their way from a device."""
        if self._late and self._recorded._deferred is not None:
            self._recorded._deferred.settle()

    def _note_series(self, name: str) -> None:
        if name in self._known:
            return
        metric = self._metric_of(name)
        self._known[name] = metric.summary if metric else None
        if metric is not None:
            better: Any = metric.better
            self._recorded.define(name, x=metric.step_metric, better=better)

    def _metric_of(self, name: str) -> Metric | None:
        fits = [m for pattern, m in self._metrics.items() if pattern == name or fnmatch.fnmatchcase(name, pattern)]
        return fits[-1] if fits else None

    def _summary_of(self, name: str) -> str | None:
        return self._known.get(name)

    def define_metric(
        self,
        name: str,
        step_metric: str | Metric | None = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | None = None,
        goal: str | None = None,
        overwrite: bool | None = None,
    ) -> Metric:
        """Say over what a series (or all that fit a pattern such as `val/*`) is drawn and which way is better."""
        axis = step_metric.name if isinstance(step_metric, Metric) else step_metric
        metric = Metric(name, axis, None if summary is None else summary.split(",")[0], goal, bool(hidden))
        self._metrics.pop(name, None)
        self._metrics[name] = metric
        for known in [n for n in self._known if fnmatch.fnmatchcase(n, name)]:
            del self._known[known]
            self._note_series(known)
        return metric

    def watch(
        self,
        models: Any,
        criterion: Any = None,
        log: str | None = "gradients",
        log_freq: int = 1000,
        idx: int | None = None,
        log_graph: bool = False,
    ) -> None:
        """Record the network as it learns: graph, snapshots, statistics of parameters, gradients and activations.

        `log` may be "gradients", "parameters", "all" or None (graph and snapshots alone). `log_freq` has no use: as
        many steps are looked at as 2 % of the training's time allow, all of them for small networks.
        """
        if log not in ("gradients", "parameters", "all", None):
            raise ValueError("log must be one of 'gradients', 'parameters', 'all', or None")
        several = list(models) if isinstance(models, list | tuple) else [models]
        for k, model in enumerate(several):
            self._recorded.watch(
                model,
                parameters=log in ("parameters", "all"),
                gradients=log in ("gradients", "all"),
                activations=log is not None,
                name=f"model_{k}" if len(several) > 1 else None,
            )

    def unwatch(self, models: Any = None) -> None:
        """Stop watching one network, several, or all."""
        for model in models if isinstance(models, list | tuple) else [models]:
            self._recorded.unwatch(model)

    def alert(
        self,
        title: str,
        text: str,
        level: str | AlertLevel | None = None,
        wait_duration: float | timedelta | None = None,
    ) -> None:
        """Tell people of something, at most once in `wait_duration` seconds (60)."""
        word = (level.value if isinstance(level, AlertLevel) else level or "INFO").upper()
        if word not in _LEVELS:
            raise ValueError("level must be one of: 'INFO', 'WARN', 'ERROR'")
        wait = wait_duration.total_seconds() if isinstance(wait_duration, timedelta) else wait_duration
        kind: Any = _LEVELS[word]
        self._recorded.alert(title, text, level=kind, every=60.0 if wait is None else float(wait))

    def save(
        self,
        glob_str: str | os.PathLike[str] | None = None,
        base_path: str | os.PathLike[str] | None = None,
        policy: str = "live",
        glob: bool = True,
    ) -> list[str]:
        """Copy files into the run; with the policies `live` and `end` once more when it finishes."""
        if glob_str is None:
            return []
        if policy not in ("live", "end", "now"):
            raise ValueError('Only "live", "end" and "now" policies are currently supported.')
        pattern = os.fspath(glob_str)
        found = sorted(_matching(pattern)) if glob else [pattern]
        base = Path(base_path).absolute() if base_path is not None else None
        kept = []
        for path in map(Path, found):
            name = path.absolute().relative_to(base).as_posix() if base else path.name
            target = self._recorded.keep_file(path, name)
            if target is not None:
                kept.append(str(target))
            if policy != "now":
                self._again.append((path, name))
        return kept

    def restore(self, name: str, run_path: str | None = None, replace: bool = False, root: str | None = None) -> Any:
        """Open a file that was saved in this run."""
        path = self._recorded.path
        found = [] if path is None else sorted(path.glob(f"w/*/files/{glob.escape(name)}"))
        if not found:
            raise ValueError(f"File {name} not found in {self.path}.")
        return found[-1].open(encoding="utf-8", errors="replace")

    def log_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
    ) -> Artifact:
        """Keep files as the next version of an artifact, for all runs of the project."""
        artifact = artifact_or_path
        if not isinstance(artifact, Artifact):
            path = Path(artifact)
            artifact = Artifact(name or f"run-{self.id}-{path.name}", type or "unspecified")
            (artifact.add_dir if path.is_dir() else artifact.add_file)(path)
        if self.disabled:
            return artifact
        try:
            self._artifacts().log(artifact, run=self.id, aliases=list(aliases or ()), tags=list(tags or ()))
        except OSError as error:
            self._recorded._guard.failed("wandb.log_artifact()", error)
            return artifact
        self._note_artifact("logged", artifact)
        return artifact

    upsert_artifact = finish_artifact = log_artifact

    def use_artifact(
        self,
        artifact_or_name: str | Artifact,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        use_as: str | None = None,
    ) -> Artifact:
        """Return an artifact of the project by name, `name:v0` or `name:latest`, and note that this run used it."""
        if isinstance(artifact_or_name, Artifact):
            artifact = artifact_or_name
        elif self.disabled:
            raise NotFoundError(f"there is no artifact {artifact_or_name!r}: nothing is recorded in mode 'disabled'")
        else:
            artifact = self._artifacts().find(artifact_or_name, type)
        self._note_artifact("used", artifact)
        return artifact

    def log_model(
        self, path: str | os.PathLike[str], name: str | None = None, aliases: Sequence[str] | None = None
    ) -> None:
        """Keep a model's file or folder as an artifact of type `model`."""
        self.log_artifact(path, name or f"run-{self.id}-{Path(path).name}", "model", aliases or ["latest"])

    def use_model(self, name: str) -> str:
        """Copy a model's files here; return the file, or the folder where there are several."""
        artifact = self.use_artifact(name, "model")
        return artifact.file() if len(artifact.files()) == 1 else artifact.download()

    def link_artifact(self, artifact: Artifact, target_path: str, aliases: Sequence[str] | None = None) -> Artifact:
        """Give an artifact further aliases; there is no registry."""
        return self.log_artifact(artifact, aliases=[*artifact.aliases, *(aliases or ())])

    link_model = log_model

    def log_code(self, root: str | None = ".", name: str | None = None, **others: Any) -> Artifact | None:
        """Keep all Python files below `root` as an artifact."""
        artifact = Artifact(name or f"source-{self.project}", "code")
        for path in sorted(Path(root or ".").rglob("*.py")):
            if not any(part.startswith(".") or part in ("__pycache__", "epochal-runs") for part in path.parts):
                artifact.add_file(path, path.relative_to(root or ".").as_posix())
        return self.log_artifact(artifact)

    def mark_preempting(self) -> None:
        """Nothing to do: a run that is cut off can be gone on with."""

    def status(self) -> str:
        """How it stands."""
        return "finished" if self._recorded.ended else "running"

    def display(self, height: int = 420, hidden: bool = False) -> bool:
        """Nothing to show here: `epochal view` does."""
        return False

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """Where the run lies."""
        return f"<code>epochal view {self.path}</code>"

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """End the run: as failed where `exit_code` is not 0."""
        if not self._recorded.ended:
            self._close()
            if exit_code:
                self._recorded.finish("failed", error=f"exit code {exit_code}")
            else:
                self._recorded.finish()
        self._leave(self)

    join = finish

    def _close(self) -> None:
        self._send()
        for path, name in self._again:
            if path.exists():
                self._recorded.keep_file(path, name)

    def _artifacts(self) -> Artifacts:
        path = self._recorded.path
        if path is None:
            raise UsageError("nothing is recorded in mode 'disabled'")
        return Artifacts(path.parent)

    def _note_artifact(self, how: str, artifact: Artifact) -> None:
        known = dict(self._recorded.config.get("artifacts") or {})
        known[how] = list(dict.fromkeys([*known.get(how, ()), artifact.name]))
        self._recorded.set_config({"artifacts": known})

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if not self._recorded.ended:
            self._close()
            self._recorded.end_with_process(error)
        self._leave(self)

    def __repr__(self) -> str:
        return f"<epochal.dropin.wandb.Run {self.path}>"


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of nested dictionaries, joined by `/`."""
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield prefix + str(name), value


def _value(value: Any) -> Any:
    """What wandb takes as it is and Epochal wants wrapped: texts, arrays and lists of numbers, figures of plotly."""
    if isinstance(value, str):
        return media.Text(value, markdown=False)
    shape = getattr(value, "shape", None)
    if shape is not None and tuple(shape) not in ((), (1,)) and not hasattr(value, "getbands"):
        return media.Array(as_numpy(value))
    if isinstance(value, list | tuple) and value and all(isinstance(v, bool | int | float) for v in value):
        return media.Array(value)
    return value


def _matching(pattern: str) -> list[str]:
    return [p for p in glob.glob(pattern, recursive=True) if Path(p).is_file()]  # noqa: PTH207 - patterns of any root
