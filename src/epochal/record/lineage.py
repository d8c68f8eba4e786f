"""Where a run comes from: the run it was forked from, and its place among the processes of a training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from epochal.errors import EpochalError, NotFoundError, UsageError
from epochal.record.ranks import Place

if TYPE_CHECKING:  # reading costs a training that forks nothing 50 ms of imports
    from epochal.store import StoredRun

__all__ = ["Lineage", "Parent", "find_parent", "parent_of", "project_of_fork"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The run that another was forked from, and the step."""

    stored: StoredRun
    step: int

    @property
    def name(self) -> str:
        """`project/run_id`."""
        return f"{self.stored.project}/{self.stored.run_id}"

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the parent; none where it is gone."""
        try:
            return self.stored.info().config
        except EpochalError:
            return {}

    def parameters(self, model: str | None) -> dict[str, npt.NDArray[Any]]:
        """All tensors of the snapshot at the step, tied ones under each of their names."""
        steps = self.stored.snapshot_steps()
        if self.step not in steps:
            near = sorted(steps, key=lambda step: abs(step - self.step))[:4]
            raise NotFoundError(
                f"The run {self.name} has no snapshot of its parameters at step {self.step}.",
                hint=f"The nearest are at {', '.join(map(str, sorted(near)))}: fork={f'{self.name}@{near[0]}'!r}."
                if near
                else "It kept none: run.watch(model) keeps one each epoch.",
            )
        found = self.stored.snapshot(self.step)
        said = self.stored.snapshot_header(self.step).metadata
        found |= {alias: found[name] for alias, name in said.items() if name in found and alias not in found}
        if model is None:
            return found
        own = {name.removeprefix(f"{model}."): a for name, a in found.items() if name.startswith(f"{model}.")}
        if not own:
            raise NotFoundError(
                f"The run {self.name} has no parameters of a model {model!r}.",
                hint=f"Its parameters are called {', '.join(list(found)[:4])}.",
            )
        return own


def find_parent(root: Path, fork: str) -> Parent:
    """The run and step that `fork` names: `run@step`, or `run` for its last snapshot.

    Raises NotFoundError for a run that is not there, UsageError for a step that it never came to.
    """
    if not isinstance(fork, str) or not fork:
        raise UsageError(f"fork is {fork!r}", hint="name a run: 'latest', its id, 'project/name', each with '@step'")
    name, step = _split(fork)
    stored = _run(root, name)
    info, steps = stored.info(), stored.snapshot_steps()
    last = max([*steps[-1:], *([] if info.last_step is None else [info.last_step])], default=None)
    if last is None:
        raise UsageError(f"run {stored.project}/{stored.run_id} cannot be forked: it has no step yet")
    if step is None:
        return Parent(stored=stored, step=steps[-1] if steps else last)
    if step > last:
        raise UsageError(
            f"run {stored.project}/{stored.run_id} cannot be forked at step {step}", hint=f"its last step is {last}"
        )
    return Parent(stored=stored, step=step)


def _run(root: Path, name: str) -> StoredRun:
    from epochal.store import Library  # only who forks needs the list of all runs

    return Library(root).run(name)


def _split(fork: str) -> tuple[str, int | None]:
    """A run's name and the step behind its '@', None where no number stands there."""
    found = re.fullmatch(r"(.+)@(\d{1,19})", fork)
    return (found[1], int(found[2])) if found else (fork, None)


def project_of_fork(root: Path, fork: str | None) -> str | None:
    """The project of the run that `fork` names; None where it names none."""
    if not isinstance(fork, str) or not fork:
        return None
    return _run(root, _split(fork)[0]).project


def parent_of(root: Path, run: Mapping[str, Any]) -> Parent | None:
    """The parent that a run.json tells of, whether or not it is still there; None where it tells of none."""
    project, _, run_id = str(run.get("parent") or "").rpartition("/")
    step = run.get("parent_step")
    if not project or not isinstance(step, int):
        return None
    from epochal.store import StoredRun

    return Parent(stored=StoredRun(root / project / run_id), step=step)


class Lineage:
    """The part of `Run` that tells where it comes from and which of several processes this is."""

    __slots__ = ()

    _parent: Parent | None
    _place: Place

    @property
    def rank(self) -> int:
        """This process's number among those of a distributed training; 0 where there is but one."""
        return self._place.rank

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return self._place.world_size

    @property
    def parent(self) -> str | None:
        """The run that this one was forked from, as `project/run_id`; None for a run of its own."""
        return self._parent.name if self._parent else None

    @property
    def parent_step(self) -> int | None:
        """The step of the parent at which this run begins."""
        return self._parent.step if self._parent else None

    def parent_parameters(self, model: str | None = None) -> dict[str, npt.NDArray[np.generic]]:
        """Return the parameters that the parent had at the step of the fork, as arrays by name, bit for bit.

        bfloat16 comes as float32 of the same values. `model` chooses those of one of several models that were watched
        under names. Raises NotFoundError where the parent kept no snapshot at just that step, naming the nearest, and
        UsageError for a run that was not forked.
        """
        if self._parent is None:
            raise UsageError("this run was not forked from another", hint="epochal.init(fork='run@step') makes one")
        return self._parent.parameters(model)
