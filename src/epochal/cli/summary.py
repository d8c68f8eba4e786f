"""What came out of a run: for a person and as JSON."""

from __future__ import annotations

import math
import re
import time
from dataclasses import asdict
from typing import Any

from epochal.cli.terminal import Terminal, columns, duration, spark
from epochal.cli.watched import watched_text
from epochal.errors import DamagedError
from epochal.facts import SYSTEM_PREFIX, RunInfo, SeriesSummary, better_by_name, is_system, system_series
from epochal.picture.numbers import number
from epochal.store import MediaSeries
from epochal.workspace import RunReader

_HIDDEN = re.compile(r"(rank\d+/)?epoch")
_ALERTS = 20


def metrics_of(run: RunReader) -> dict[str, dict[str, Any]]:
    """Of each metric: last, best, where the best was, and a few numbers of its course."""
    found = {}
    for name, series in run.summary.items():
        if _HIDDEN.fullmatch(name) or is_system(name):
            continue
        better = series.better or better_by_name(name)
        best, step = (series.max, series.max_step) if better == "max" else (series.min, series.min_step)
        known = not math.isnan(best)
        found[name] = {
            "last": series.last,
            "last_step": series.last_step,
            "best": best,
            "best_step": step if known else None,
            "best_epoch": _whole(run.epoch(step)) if known else None,
            "better": better,
            "n": series.n,
            "nan": series.nan,
            "inf": series.inf,
        }
    return found


def machine_of(run: RunReader) -> dict[str, dict[str, Any]]:
    """Of each series of the machine: its unit, the last value, the mean, and the least and greatest one."""
    found = {}
    for name, series in run.summary.items():
        if is_system(name):
            facts = system_series(name)
            found[name] = {
                "unit": facts.unit if facts else "",
                "last": series.last,
                "mean": series.mean,
                "min": series.min,
                "max": series.max,
                "n": series.n,
            }
    return found


def document(run: RunReader) -> dict[str, Any]:
    """The summary as one flat JSON object: `val_loss`, `best_val_loss`, `best_epoch` and so on, and `metrics`."""
    info = run.info
    metrics = metrics_of(run)
    facts: dict[str, Any] = {
        "id": run.id,
        "run_id": info.run_id,
        "project": info.project,
        "name": info.name,
        "path": info.path,
        "status": info.status,
        "created": info.created,
        "seconds": info.seconds,
        "parameters": parameter_count(run),
        "parent": info.parent,
        "parent_step": info.parent_step,
        "ranks": info.ranks,
        "last_step": info.last_step,
        "last_epoch": _whole(info.last_epoch),
    }
    flat: dict[str, Any] = {}
    for name, metric in metrics.items():
        flat[name] = metric["last"]
        flat[f"best_{name}"] = metric["best"]
    judge = judged_by(metrics)
    flat["best_epoch"] = metrics[judge]["best_epoch"] if judge else None
    flat["best_step"] = metrics[judge]["best_step"] if judge else None
    notices = [{"code": n.code, "message": n.message, "hint": n.hint, "count": n.count} for n in run.notices]
    return {
        **flat,
        **facts,
        "config": dict(info.config),
        "recorder": dict(info.recorder),
        "metrics": metrics,
        "machine": machine_of(run),
        "alerts": [asdict(alert) for alert in run.alerts()],
        "media": {
            name: {"kinds": list(s.kinds), "count": s.count, "steps": s.steps} for name, s in run.media_series().items()
        },
        "notices": notices,
    }


def judged_by(metrics: dict[str, Any]) -> str | None:
    """The metric whose best tells which epoch was the best: the validation loss where there is one."""
    for name in ("val_loss", "val/loss", "validation_loss", "test_loss", "loss", "train_loss", "train/loss"):
        if name in metrics:
            return name
    return next((name for name in metrics if "loss" in name), next(iter(metrics), None))


def parameter_count(run: RunReader) -> int | None:
    """Numbers in all weights and biases, None where no model was watched."""
    try:
        graph = run.graph()
    except DamagedError:
        graph = None
    if graph is not None and graph.layers:
        return graph.parameter_count
    stored = run.stored
    steps = stored.snapshot_steps()
    if not steps:
        return None
    return sum(math.prod(place.shape) for place in stored.snapshot_header(steps[-1]).tensors.values())


def show(run: RunReader, terminal: Terminal) -> None:
    """Print the summary for a person."""
    info = run.info
    count = parameter_count(run)
    words = [terminal.style(info.name, "bold"), _status(info)]
    if count is not None:
        words.append(f"{count:,} parameters")
    if info.ranks > 1:
        words.append(f"{info.ranks} ranks")
    terminal.line(" · ".join(words))
    metrics = metrics_of(run)
    if metrics:
        terminal.line()
        summaries = run.summary
        epochs = any(m["best_epoch"] is not None for m in metrics.values())
        rows = [["metric", "last", "best", "at epoch" if epochs else "at step", "course"]]
        rows += [_row(name, m, summaries[name], epochs=epochs) for name, m in metrics.items()]
        for i, text in enumerate(columns(rows, right=(1, 2, 3))):
            terminal.line(terminal.style(text, "soft") if i == 0 else text)
    else:
        terminal.line("No numbers were logged.")
    if media := run.media_series():
        terminal.line()
        rows = [["values", "kind", "count", "steps"], *map(_media_row, media.values())]
        for i, text in enumerate(columns(rows, right=(2,))):
            terminal.line(terminal.style(text, "soft") if i == 0 else text)
    if machine := machine_of(run):
        terminal.line()
        rows = [["machine", "last", "mean", "least", "greatest", ""]]
        for name, facts in machine.items():
            values = [number(facts[key]) for key in ("last", "mean", "min", "max")]
            rows.append([name.replace(SYSTEM_PREFIX, "", 1), *values, facts["unit"]])
        for i, text in enumerate(columns(rows, right=(1, 2, 3, 4))):
            terminal.line(terminal.style(text, "soft") if i == 0 else text)
    terminal.line()
    if watched := watched_text(info.recorder):
        terminal.line(f"watch  {watched}")
    terminal.line(f"run    {run.id}")
    if info.parent:
        terminal.line(f"parent {info.parent}" + ("" if info.parent_step is None else f"@{info.parent_step}"))
    terminal.line(f"files  {info.path}")
    if info.error:
        last = info.error.strip().splitlines()[-1]
        terminal.line(f"error  {last}")
    alerts = run.alerts()
    for alert in alerts[:_ALERTS]:
        at = "" if alert.step is None else f" (step {alert.step:,})"
        terminal.line(f"alert  {alert.level}: {alert.title}{at}")
    if len(alerts) > _ALERTS:
        terminal.line(f"alert  {len(alerts) - _ALERTS:,} more; --json prints them all")
    for notice in run.notices:
        terminal.line(f"note   {notice.message}" + (f" ({notice.hint})" if notice.hint else ""))


def _row(name: str, metric: dict[str, Any], series: SeriesSummary, *, epochs: bool) -> list[str]:
    place = metric["best_epoch"] if epochs else metric["best_step"]
    odd = metric["nan"] + metric["inf"]
    return [
        name,
        _value(metric["last"]),
        "–" if math.isnan(metric["best"]) else _value(metric["best"]),
        "–" if place is None else f"{place:g}",
        (spark(series.spark) if series.n > 1 else "") + (f"  {odd:,} not finite" if odd else ""),
    ]


def _media_row(series: MediaSeries) -> list[str]:
    span = f"{series.first_step:,}" if series.steps == 1 else f"{series.first_step:,} to {series.last_step:,}"
    return [series.name, ", ".join(series.kinds), f"{series.count:,}", span]


def _value(value: float) -> str:
    """As `number`, but a whole one among fractions keeps its zeros: 1.0000."""
    return f"{abs(value):.4f}" if value in (0.0, 1.0) else number(value)


def _status(info: RunInfo) -> str:
    if info.status == "running":
        return f"running for {duration(max(0.0, time.time() - info.created))}"
    return f"{info.status} after {duration(info.seconds)}"


def _whole(value: float | None) -> float | int | None:
    return int(value) if value is not None and math.isfinite(value) and value == int(value) else value
