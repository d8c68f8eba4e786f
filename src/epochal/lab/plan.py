"""Trials out of settings: which point of the space each is, which repeat, which seed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from epochal.errors import UsageError
from epochal.facts.lab import LabInfo, Trial
from epochal.lab.settings import OPTUNA_SAMPLERS, SEED_LIMIT, LabSettings
from epochal.lab.space import GRID_LIMIT
from epochal.store.labs import new_lab_id

__all__ = ["choose", "configurations", "lab_of", "plan", "seed_at"]


def configurations(settings: LabSettings) -> list[dict[str, Any]]:
    """The points that are known before the first trial: the listed trials, then those of the space.

    The fixed parameters lie under each. With a sampler of Optuna the points of the space come later.
    """
    fixed = dict(settings.parameters)
    found = [{**fixed, **trial} for trial in settings.trials]
    if settings.space.rules and settings.sampler not in OPTUNA_SAMPLERS:
        wanted = settings.budget.trials
        if settings.sampler == "random" or not settings.space.finite:
            points: Iterable[dict[str, Any]] = settings.space.sample(wanted or 0, seed=settings.seed)
        else:
            points = islice(settings.space.grid(), GRID_LIMIT + 1 if wanted is None else wanted)
        found += [{**fixed, **point} for point in points]
        if len(found) > GRID_LIMIT:
            raise UsageError(
                f"[space] has more than {GRID_LIMIT:,} points", hint="bound them: budget = { trials = 100 } in [lab]"
            )
    if not found and not settings.space.rules:
        found = [fixed]
    return found


def seed_at(first: int, repeat: int) -> int:
    """The seed of a repeat: the lab's for the first one, then one more each, the same in every configuration."""
    return (first + repeat) % (SEED_LIMIT + 1)


def plan(settings: LabSettings) -> tuple[Trial, ...]:
    """All trials that are known beforehand: every configuration once, then every one a second time, and so on."""
    points = configurations(settings)
    return tuple(
        Trial(
            number=repeat * len(points) + index,
            configuration=index,
            repeat=repeat,
            seed=seed_at(settings.seed, repeat),
            parameters=point,
        )
        for repeat in range(settings.repeats)
        for index, point in enumerate(points)
    )


def lab_of(settings: LabSettings, *, lab_id: str | None = None) -> LabInfo:
    """A new lab of these settings, with what is planned beforehand."""
    objective, mode = settings.objectives[0]
    trials = plan(settings)
    budget = settings.budget
    return LabInfo(
        id=lab_id or new_lab_id(),
        name=settings.name,
        project=settings.project,
        created=time.time(),
        model=settings.model,
        data=settings.data,
        train=settings.train,
        objective=objective,
        mode=mode,
        repeats=settings.repeats,
        source=settings.source,
        trials=trials,
        space=dict(settings.space_source),
        settings={
            "objectives": [list(pair) for pair in settings.objectives],
            "seed": settings.seed,
            "sampler": settings.sampler,
            "pruner": settings.pruner,
            "stop_on_nan": settings.stop_on_nan,
            "validation": settings.validation,
            "notes": settings.notes,
            "planned": len(trials),
            "parameters": dict(settings.parameters),
            "budget": {"trials": budget.trials, "seconds": budget.seconds, "trial_seconds": budget.trial_seconds},
        },
    )


def choose(trials: Sequence[Trial], words: Iterable[str], statuses: Mapping[int, str]) -> set[int]:
    """The numbers of the trials that words name: `3`, `5-8`, or how a trial stands, such as `failed`.

    Raises UsageError for what is none of these, or a number that no trial has.
    """
    known = {trial.number for trial in trials}
    found: set[int] = set()
    for word in (part.strip() for text in words for part in text.split(",")):
        if not word:
            continue
        low, dash, high = word.partition("-")
        if word in ("waiting", "running", "finished", "failed", "stopped"):
            found |= {number for number in known if statuses.get(number, "waiting") == word}
        elif low.isdecimal() and (not dash or high.isdecimal()):
            numbers = set(range(int(low), int(high if dash else low) + 1)) if int(high or low) < 10**7 else set()
            if not numbers or not numbers <= known:
                last = max(known, default=-1)
                raise UsageError(f"There is no trial {word}", hint=f"the lab has trials 0 to {last}")
            found |= numbers
        else:
            raise UsageError(f"{word!r} names no trials", hint="write numbers such as 3,5-8, or failed")
    return found
