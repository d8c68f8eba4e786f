"""Everything small that is known of a run, in one answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from epochal.errors import DamagedError, EpochalError
from epochal.facts import Alert, Graph, Notice
from epochal.store.mediaread import MediaSeries
from epochal.store.reader import StoredRun
from epochal.store.safetensors import TensorPlace
from epochal.views.histograms import change_of_mean
from epochal.views.layers import TensorFacts, WeightLayer, group_layers, layouts, turned
from epochal.views.runs import RunFacts

__all__ = ["ChangeCache", "DetailFacts", "read_detail", "read_tensors"]

_EPOCHS_AT_MOST = 2000
_ALERTS_AT_MOST = 500
_CHANGES_AT_ONCE = 12
_OTHER_RANK = re.compile(r"ranks?\d*/(?:\w+/)?(param|grad|act)/")
_NO_CHANGE: tuple[int, float | None] = (0, None)
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"} | {
    f"{sign}{bits}": f"{'u' * (sign == 'U')}int{bits}" for sign in "IU" for bits in (8, 16, 32, 64)
}

ChangeCache = dict[str, tuple[int, float | None]]
"""Series -> how many rows of statistics it had, and what its change came to then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailFacts:
    """A run's row, what was recorded of it and where the large things are to be asked for.

    `epochs` are the epochs at `epoch_steps`, growing, at most two thousand of them.
    """

    row: RunFacts
    series: Sequence[str]
    tensors: Sequence[TensorFacts]
    layers: Sequence[WeightLayer]
    snapshots: Sequence[int]
    epoch_steps: Sequence[int]
    epochs: Sequence[float]
    graph: bool
    network: bool
    notices: Sequence[Notice]
    media: Sequence[MediaSeries] = ()
    alerts: Sequence[Alert] = ()
    console: bool = False
    code: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


def read_detail(run: StoredRun, row: RunFacts, *, changes: ChangeCache | None = None) -> DetailFacts:
    """Ask a run for everything small; `changes` remembers what takes longest."""
    notices: list[Notice] = []
    graph: Graph | None = None
    try:
        graph = run.graph()
    except DamagedError as error:
        notices.append(Notice(code=error.code, message=error.message, hint=error.hint))
    most = _CHANGES_AT_ONCE if row.info.status == "running" else None
    tensors = read_tensors(run, graph, changes=changes, most=most)
    epoch_steps, epochs = _epochs(run)
    return DetailFacts(
        row=row,
        series=sorted(row.summaries),
        tensors=tensors,
        layers=group_layers(tensors, graph),
        snapshots=run.snapshot_steps(),
        epoch_steps=epoch_steps,
        epochs=epochs,
        graph=graph is not None,
        network=run.network_path() is not None,
        notices=[*run.notices(), *notices],
        media=list(run.media_series().values()),
        alerts=run.alerts()[-_ALERTS_AT_MOST:],
        console=bool(run.console(last=1)),
        code=run.code(),
        environment=run.environment(),
    )


def read_tensors(
    run: StoredRun, graph: Graph | None = None, *, changes: ChangeCache | None = None, most: int | None = None
) -> list[TensorFacts]:
    """All tensors recorded through time: parameters in the order of the snapshot, gradients, activations.

    The run's `graph` says which are kept in another order of axes than outputs first, which their shapes are told in.
    At most `most` tensors' changes are brought up to date, those that are furthest behind; the others' stay as known.
    """
    rows = run.statistics_rows()
    known: ChangeCache = {} if changes is None else changes
    orders = layouts(graph)
    _update_changes(run, rows, known, most=most)
    tensors: dict[str, TensorFacts] = {}
    kinds: tuple[tuple[Literal["param", "grad"], Literal["params", "grads"]], ...] = (
        ("param", "params"),
        ("grad", "grads"),
    )
    for kind, folder in kinds:
        steps = run.snapshot_steps(folder)
        for name, place in _newest_header(run, steps, folder).items():
            series = f"{kind}/{name}"
            shape, layout = turned(place.shape, orders.get(name, ()))
            tensors[series] = TensorFacts(
                series=series,
                kind=kind,
                name=name,
                shape=shape,
                layout=layout,
                dtype=_DTYPES.get(place.dtype, place.dtype.lower()),
                frames=len(steps),
                rows=rows.get(series, 0),
                change=known.get(series, _NO_CHANGE)[1],
            )
    for series, count in rows.items():
        if series in tensors:
            continue
        kind_word, name = _kind_of(series)
        if not kind_word:
            continue
        like = tensors.get(f"param/{name}") if kind_word == "grad" else None
        tensors[series] = TensorFacts(
            series=series,
            kind=kind_word,
            name=name,
            shape=like.shape if like is not None else None,
            layout=like.layout if like is not None else (),
            dtype=like.dtype if like is not None else None,
            frames=0,
            rows=count,
            change=known.get(series, _NO_CHANGE)[1],
        )
    return list(tensors.values())


def _kind_of(series: str) -> tuple[Literal["param", "grad", "act", "hist", ""], str]:
    """What a series of statistics is of, and its name: a logged histogram keeps its whole name.

    Other ranks' parameters, gradients and activations are none: rank 0 stands for them.
    """
    word, _, name = series.partition("/")
    if word in ("param", "grad", "act") and name:
        return word, name  # type: ignore[return-value]  # one of the three
    if _OTHER_RANK.match(series):
        return "", series
    return "hist", series


def _newest_header(run: StoredRun, steps: Sequence[int], kind: Literal["params", "grads"]) -> Mapping[str, TensorPlace]:
    """The tensors of the newest snapshot that can be read."""
    for step in reversed(steps):
        try:
            return run.snapshot_header(step, kind).tensors
        except (EpochalError, OSError):
            continue
    return {}


def _update_changes(run: StoredRun, rows: Mapping[str, int], known: ChangeCache, *, most: int | None) -> None:
    behind = sorted((known.get(series, _NO_CHANGE)[0], series) for series, n in rows.items())
    for _, series in [(at, name) for at, name in behind if at != rows[name]][:most]:
        try:
            known[series] = (rows[series], change_of_mean(run.statistics(series)))
        except (EpochalError, OSError):
            known[series] = (rows[series], None)


def _epochs(run: StoredRun) -> tuple[list[int], list[float]]:
    """Steps at which the epoch grew, evenly thinned where there are many, such as a fraction of an epoch each step."""
    steps, epochs = run.epochs()
    good = np.isfinite(epochs)
    steps, epochs = steps[good], epochs[good]
    if not len(steps):
        return [], []
    grows = np.concatenate([[True], epochs[1:] > np.maximum.accumulate(epochs)[:-1]])
    steps, epochs = steps[grows], epochs[grows]
    if len(steps) > _EPOCHS_AT_MOST:
        chosen = np.linspace(0, len(steps) - 1, _EPOCHS_AT_MOST).round().astype(np.intp)
        steps, epochs = steps[chosen], epochs[chosen]
    return steps.tolist(), epochs.tolist()
