"""What a run came to, as flat numbers: `val_loss`, `best_val_loss`, `best_epoch`."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping

from epochal.errors import EpochalError
from epochal.facts import SeriesSummary, better_by_name, is_system
from epochal.store import StoredRun

__all__ = ["flat_name", "metrics_of"]

_HIDDEN = re.compile(r"(rank\d+/)?epoch|ranks?/.*|rank\d+/.*")
_JUDGES = ("val_loss", "validation_loss", "test_loss", "loss", "train_loss")


def flat_name(series: str) -> str:
    """What a series is called among metrics: `val/loss` is `val_loss`."""
    return series.replace("/", "_")


def metrics_of(path: str | os.PathLike[str], *, objective: str = "") -> dict[str, float]:
    """The last and the best value of each series of a run, and the epoch and step at which the objective was best.

    Where the objective is no series, the validation loss decides. Empty where the run cannot be read.
    """
    found: dict[str, float] = {}
    with contextlib.suppress(EpochalError, OSError):
        stored = StoredRun(path)
        series = {
            name: s for name, s in stored.summaries().items() if not _HIDDEN.fullmatch(name) and not is_system(name)
        }
        for name, summary in series.items():
            found[flat_name(name)] = summary.last
            found[f"best_{flat_name(name)}"] = _best(name, summary)[0]
        if judge := _judge(series, objective):
            step = _best(judge, series[judge])[1]
            found["best_step"] = float(step)
            steps, epochs = stored.epochs()
            at = steps.searchsorted(step, side="right") - 1
            if len(steps) and at >= 0:
                found["best_epoch"] = float(epochs[at])
    return found


def _best(name: str, summary: SeriesSummary) -> tuple[float, int]:
    more = (summary.better or better_by_name(name)) == "max"
    return (summary.max, summary.max_step) if more else (summary.min, summary.min_step)


def _judge(series: Mapping[str, SeriesSummary], objective: str) -> str | None:
    flat = {flat_name(name): name for name, summary in series.items() if summary.min == summary.min}
    for wanted in (objective, objective.removeprefix("best_"), *_JUDGES):
        if wanted in flat:
            return flat[wanted]
    return next((name for key, name in flat.items() if "loss" in key), None)
