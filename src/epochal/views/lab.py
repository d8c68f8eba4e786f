"""Labs as they stand: their trials joined with the runs that recorded them, and the curves of all trials."""

from __future__ import annotations

import contextlib
import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from epochal.errors import EpochalError, NotFoundError
from epochal.facts import is_system
from epochal.facts.lab import LabInfo, TrialState, TrialStatus
from epochal.store.labs import is_running, labs, read_lab
from epochal.store.layout import check_name, resolve_root
from epochal.store.reader import StoredRun
from epochal.views.curves import keep_rows

__all__ = [
    "CurvePair",
    "LabFacts",
    "LabShelf",
    "TrialCurve",
    "best_trial",
    "curve_pairs",
    "mean_after",
    "read_curves",
    "varying_parameters",
]

_STATUSES: tuple[TrialStatus, ...] = ("waiting", "running", "finished", "failed", "stopped")
_HELD_BACK = re.compile(r"^(val|valid|validation|eval|test)([_/])(.+)$", re.IGNORECASE)
_FILES = ("lab.json", "events.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabFacts:
    """A lab and its trials; `version` changes when anything of it changed on disk."""

    info: LabInfo
    states: Sequence[TrialState]
    running: bool
    version: str

    @property
    def path(self) -> str:
        """`project/lab_id`."""
        return f"{self.info.project}/{self.info.id}"

    @property
    def counts(self) -> dict[str, int]:
        """How many trials stand how."""
        found: dict[str, int] = dict.fromkeys(_STATUSES, 0)
        for state in self.states:
            found[state.status] += 1
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePair:
    """One quantity on what was trained on and on what was held back, by the names of their series."""

    name: str
    train: str | None
    validation: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrialCurve:
    """One series of a trial: `values` at `steps`, which belong to `epochs` (numbered from 1 where none were logged)."""

    trial: int
    name: str
    steps: npt.NDArray[np.int64]
    epochs: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]


class LabShelf:
    """The labs below a root, read again only where files changed. Every method may be called from any thread."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = resolve_root(root)
        self._lock = threading.RLock()
        self._known: dict[str, LabFacts] = {}

    def all(self) -> list[LabFacts]:
        """All labs, newest first; such as cannot be read are left out."""
        found = []
        for info in labs(self.root):
            with contextlib.suppress(EpochalError):
                found.append(self._of(Path(info.path)))
        return found

    def get(self, project: str, lab_id: str) -> LabFacts:
        """The lab of just these names; NotFoundError when there is none, or when it lies outside of the root."""
        check_name(project, what="project")
        check_name(lab_id, what="lab id")
        path = self.root / project / ".labs" / lab_id
        if not (path / "lab.json").is_file() or not path.resolve().is_relative_to(self.root.resolve()):
            raise NotFoundError(f"There is no lab {project}/{lab_id}", hint="it may have been deleted or moved")
        return self._of(path)

    def _of(self, path: Path) -> LabFacts:
        running = is_running(path)
        version = f"{_stamp(path)}-{int(running)}"
        key = str(path)
        with self._lock:
            known = self._known.get(key)
        if known is not None and known.version == version:
            return known
        info, states = read_lab(self.root, f"{path.parent.parent.name}/{path.name}")
        facts = LabFacts(info=info, states=states, running=running, version=version)
        with self._lock:
            self._known[key] = facts
        return facts


def _stamp(path: Path) -> str:
    parts = []
    for name in _FILES:
        try:
            found = (path / name).stat()
        except OSError:
            parts.append("-")
        else:
            parts.append(f"{found.st_mtime_ns:x}.{found.st_size:x}")
    return "-".join(parts)


def varying_parameters(states: Iterable[TrialState]) -> tuple[list[str], dict[str, object]]:
    """The parameters that differ between trials, in the order of their first appearance, and those that do not."""
    seen: dict[str, list[object]] = {}
    total = 0
    for state in states:
        total += 1
        for name, value in state.trial.parameters.items():
            seen.setdefault(name, []).append(value)
    varying, fixed = [], {}
    for name, values in seen.items():
        if len(values) < total or any(value != values[0] for value in values):
            varying.append(name)
        else:
            fixed[name] = values[0]
    return varying, fixed


def best_trial(facts: LabFacts, metric: str | None = None) -> TrialState | None:
    """The finished trial with the best value of the lab's objective, or of another metric that has the same way."""
    name = metric or facts.info.objective
    done = [s for s in facts.states if s.status == "finished" and math.isfinite(s.metrics.get(name, math.nan))]
    if not done:
        return None
    choose = max if facts.info.mode == "max" else min
    return choose(done, key=lambda state: state.metrics[name])


def curve_pairs(names: Iterable[str]) -> list[CurvePair]:
    """Series as pairs by their names: `train/loss` and `val/loss`, or `loss` and `val_loss`, training first."""
    known = [name for name in names if name != "epoch" and not is_system(name)]
    taken: set[str] = set()
    pairs: list[CurvePair] = []
    held_back = [(found.group(1).lower() == "test", name, found) for name in known if (found := _HELD_BACK.match(name))]
    # What is looked at each epoch goes with the training; a test set is often asked once, at the end.
    for _, name, found in sorted(held_back, key=lambda one: one[0]):
        _, mark, rest = found.groups()
        partner = next((one for one in (f"train{mark}{rest}", rest, f"train/{rest}") if one in known), None)
        if partner is not None and partner in taken:
            partner = None  # a second held-back set of the same quantity
        taken |= {name} | ({partner} if partner else set())
        pairs.append(CurvePair(name=rest if partner else name, train=partner, validation=name))
    pairs += [CurvePair(name=name, train=name, validation=None) for name in known if name not in taken]
    order = {"accuracy": 0, "loss": 1}
    return sorted(pairs, key=lambda pair: (pair.validation is None, order.get(pair.name, 2), pair.name))


def read_curves(
    facts: LabFacts,
    stored: Callable[[str], StoredRun | None],
    names: Sequence[str],
    *,
    trials: Iterable[int] | None = None,
    points: int = 400,
) -> list[TrialCurve]:
    """The series `names` of all trials (or of those of these numbers) that have them, each in about `points` rows.

    `stored` finds a run by its id. A run that is gone or cannot be read has no curves.
    """
    wanted = None if trials is None else set(trials)
    found: list[TrialCurve] = []
    for state in facts.states:
        if state.run is None or (wanted is not None and state.trial.number not in wanted):
            continue
        run = stored(state.run)
        if run is not None:
            with contextlib.suppress(EpochalError, OSError):
                found += _curves_of(run, state.trial.number, names, points)
    return found


def _curves_of(run: StoredRun, trial: int, names: Sequence[str], points: int) -> list[TrialCurve]:
    series = run.scalars()
    epochs = series.get("epoch")
    found = []
    for name in names:
        one = series.get(name)
        if one is None or not len(one):
            continue
        if epochs is not None and len(epochs):
            place = np.searchsorted(epochs.steps, one.steps, side="right") - 1
            at = np.where(place >= 0, epochs.v[np.maximum(place, 0)], 0.0)
        else:
            at = np.arange(1, len(one) + 1, dtype=np.float64)
        rows = keep_rows(one.v, points=points).rows
        found.append(TrialCurve(trial=trial, name=name, steps=one.steps[rows], epochs=at[rows], values=one.v[rows]))
    return found


def mean_after(epochs: npt.NDArray[np.float64], values: npt.NDArray[np.float64], skip: float) -> tuple[float, int]:
    """The mean of the finite values of epochs after the first `skip`, and how many there are; NaN where none is."""
    kept = values[(epochs > skip) & np.isfinite(values)]
    return (float(kept.mean()) if len(kept) else math.nan), len(kept)


def runs_by_id(runs: Iterable[StoredRun], project: str) -> Mapping[str, StoredRun]:
    """The runs of a project by their ids."""
    return {run.run_id: run for run in runs if run.project == project}
