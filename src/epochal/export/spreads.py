"""Distributions: a heat map over steps for each tensor, and the histogram at the step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from epochal.errors import NotFoundError
from epochal.export.choose import choose_layers
from epochal.export.job import Job
from epochal.export.weights import film_steps, save_scene
from epochal.film import captions
from epochal.picture import INTENSITY, GridScene, SpreadChart
from epochal.picture.spread import density_scale
from epochal.store import StatisticsTable
from epochal.workspace.films import epochs_at

_MOST_CHARTS = 36


def write_histogram(job: Job, prefix: str = "param") -> int:
    """One card a tensor. `prefix` is `param` or `grad`."""
    found = [t for t in tables(job, prefix) if len(t)]
    if not found:
        raise _none_kept(job, prefix)
    if len(found) > _MOST_CHARTS:
        left = len(found) - _MOST_CHARTS
        job.tell(
            "thinned", f"The first {_MOST_CHARTS} tensors are drawn, {left} are not.", hint="Choose with --layers."
        )
        found = found[:_MOST_CHARTS]
    every = np.unique(np.concatenate([t.steps for t in found]))
    steps = film_steps(job, every.tolist())
    edges = [np.stack([t.lo, t.hi], axis=1) for t in found]
    scale = density_scale(job.cmap or INTENSITY, job.theme)
    bad = int(sum(t.columns["nan"].astype(np.int64).sum() + t.columns["inf"].astype(np.int64).sum() for t in found))
    if bad:
        job.tell("not_finite", f"{bad:,} values are not finite and are in no bar.", count=bad)
    charts = [
        SpreadChart(
            shown_name(t.series),
            t.steps,
            t.counts,
            e,
            _rows_at(t, steps),
            scale,
            subtitle=f"{int(t.columns['size'][-1]):,} values",
        )
        for t, e in zip(found, edges, strict=True)
    ]
    scene = GridScene(
        charts=charts,
        theme=job.theme,
        title=f"{job.run.info().name} · distributions" + (" of gradients" if prefix == "grad" else ""),
        captions=captions(steps, epochs_at(job.run, steps)),
        wanted=job.size,
        columns=1 if len(charts) == 1 else 2 if len(charts) <= 4 else 3,
        scale=scale,
        note=f"{bad:,} values not finite" if bad else "",
    )
    return save_scene(job, scene)


def tables(job: Job, prefix: str) -> list[StatisticsTable]:
    """Statistics of the tensors that were asked for: a tensor is chosen by its name or its layer's.

    Logged histograms are chosen by their names, and are all there is to choose from where no model was watched.
    """
    every = job.run.statistics_series()
    named = {s.partition("/")[2]: s for s in every if s.startswith(f"{prefix}/")}
    if prefix == "param" and (job.layers is not None or not named):
        named |= {s: s for s in every if s.partition("/")[0] not in ("param", "grad", "act") and s not in named}
    if not named:
        raise _none_kept(job, prefix)
    return [job.run.statistics(named[name]) for name in choose_layers(job.layers, list(named))]


def shown_name(series: str) -> str:
    """The name of a tensor, or the whole name of a logged histogram."""
    kind, _, name = series.partition("/")
    return name if kind in ("param", "grad", "act") and name else series


def _rows_at(found: StatisticsTable, steps: Sequence[int]) -> npt.NDArray[np.intp]:
    """For each step, the row at it or the last before it."""
    return np.maximum(np.searchsorted(found.steps, steps, side="right") - 1, 0)


def _none_kept(job: Job, prefix: str) -> NotFoundError:
    words = "parameters" if prefix == "param" else "gradients"
    return NotFoundError(
        f"The run {job.run.project}/{job.run.run_id} kept no histograms of {words}.",
        hint="Record them with run.watch(model).",
    )
