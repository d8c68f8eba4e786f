"""Scalars as line charts."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from epochal.errors import NotFoundError
from epochal.export.choose import choose_layers, choose_steps, thin
from epochal.export.job import Job
from epochal.export.weights import save_scene
from epochal.facts import is_system
from epochal.film import captions
from epochal.picture import Curve, CurveChart, GridScene
from epochal.store import ScalarSeries
from epochal.workspace.films import epochs_at

_MOST_CHARTS = 36
_MOST_HEADS = 150
_SPLIT = re.compile(r"^(train|training|val|valid|validation|test|eval)[/_\-.]|[/_\-.](train|val|validation|test)$")


def family(name: str) -> str:
    """What a series measures, without saying on which data: `val_loss`, `train/loss` and `loss` are all `loss`."""
    return _SPLIT.sub("", name) or name


def write_scalars(job: Job) -> int:
    """A chart for each measure, training, validation and test in one; as a film, the lines grow."""
    series = chosen_series(job)
    if job.layers is None:  # the machine's numbers are drawn where somebody asks for them
        series = {name: each for name, each in series.items() if not is_system(name)} or series
    groups: dict[str, list[Curve]] = {}
    for name, each in sorted(series.items(), key=lambda item: _stage(item[0])):
        groups.setdefault(family(name), []).append(Curve(name=name, x=each.steps, y=each.v))
    if len(groups) > _MOST_CHARTS:
        left = len(groups) - _MOST_CHARTS
        job.tell("thinned", f"The first {_MOST_CHARTS} charts are drawn, {left} are not.", hint="Choose with --layers.")
        groups = dict(list(groups.items())[:_MOST_CHARTS])
    bad = sum(int((~np.isfinite(each.v)).sum()) for each in series.values())
    if bad:
        job.tell("not_finite", f"{bad:,} values are not finite and are gaps.", count=bad)
    shown = [curve for curves in groups.values() for curve in curves]
    steps = np.unique(np.concatenate([curve.x for curve in shown]))
    heads: list[int] = []
    if job.moving:
        heads = thin(choose_steps(job.steps, steps.tolist()), _MOST_HEADS)
    elif job.steps is not None:
        chosen = np.array(choose_steps(job.steps, steps.tolist()))
        lo, hi = chosen[0], chosen[-1]
        groups = {key: [_between(c, lo, hi) for c in curves] for key, curves in groups.items()}
    charts = [
        CurveChart(title=key, curves=curves, cuts=np.array(heads) if job.moving else None)
        for key, curves in groups.items()
    ]
    scene = GridScene(
        charts=charts,
        theme=job.theme,
        title=f"{job.run.info().name} · scalars",
        captions=captions(heads, epochs_at(job.run, heads)) if job.moving else [""],
        wanted=job.size,
        columns=1 if len(charts) == 1 else 2 if len(charts) <= 4 else 3,
    )
    return save_scene(job, scene)


def chosen_series(job: Job) -> Mapping[str, ScalarSeries]:
    """The series that were asked for (`--layers` names them), all but the epoch otherwise."""
    series = {name: each for name, each in job.run.scalars().items() if len(each)}
    if job.layers is not None:
        return {name: series[name] for name in choose_layers(job.layers, list(series))}
    wanted = {name: each for name, each in series.items() if name != "epoch"}
    if not wanted:
        raise NotFoundError(
            f"The run {job.run.project}/{job.run.run_id} logged no numbers.", hint="Log them with run.log({...})."
        )
    return wanted


def _stage(name: str) -> int:
    """Training before validation before test, so that the same kind of line has the same colour in all charts."""
    return 2 if re.search(r"test|eval", name) else 1 if re.search(r"val", name) else 0


def _between(curve: Curve, lo: int, hi: int) -> Curve:
    inside = (curve.x >= lo) & (curve.x <= hi)
    return Curve(name=curve.name, x=curve.x[inside], y=curve.y[inside])
