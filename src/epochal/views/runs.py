"""Runs as rows: flat configs, and which runs a query means."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, assert_never

from epochal.facts import RunInfo, SeriesSummary
from epochal.store.table import LibraryRow
from epochal.views.query import And, Comparison, Not, Or, Query, Word, parse_query

__all__ = ["FIELDS", "RunFacts", "StoredSummaries", "filter_runs", "flat_config", "matches", "total_epochs"]


class StoredSummaries(Mapping[str, SeriesSummary]):
    """What a run's series came to, read from their stored form only when somebody asks: a thousand runs are listed
    far more often than looked into."""

    def __init__(self, row: LibraryRow) -> None:
        self._row = row

    @property
    def stored(self) -> bytes:
        """The stored form: JSON, an object for each series."""
        return self._row.stored

    def __getitem__(self, name: str) -> SeriesSummary:
        return self._row.summaries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._row.summaries)

    def __len__(self) -> int:
        return len(self._row.summaries)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run as its row shows it; `version` changes when anything of it changed on disk."""

    info: RunInfo
    summaries: Mapping[str, SeriesSummary]
    version: str
    parameters: int | None = None


FIELDS: Mapping[str, tuple[str, Callable[[RunInfo], Any]]] = {
    "name": ("the run's name", lambda i: i.name),
    "id": ("its id", lambda i: i.run_id),
    "project": ("its project", lambda i: i.project),
    "group": ("the group it was put in", lambda i: i.group),
    "parent": ("the run it was forked from", lambda i: i.parent),
    "status": ("running, finished, failed, stopped or crashed", lambda i: i.status),
    "tag": ("one of its tags", lambda i: i.tags),
    "tags": ("one of its tags", lambda i: i.tags),
    "notes": ("its notes", lambda i: i.notes),
    "archived": ("true or false", lambda i: i.archived),
    "step": ("the last step logged", lambda i: i.last_step),
    "epoch": ("the last epoch logged", lambda i: i.last_epoch),
    "seconds": ("how long it ran", lambda i: i.seconds),
    "created": ("when it began: unix seconds or 2026-11-21", lambda i: i.created),
    "ended": ("when it ended: unix seconds or 2026-11-21", lambda i: i.ended),
}
"""Fields of a query that belong to the run itself: what each is, and where it is found."""

_OF_METRIC: Mapping[str, Callable[[SeriesSummary], float]] = {
    "last": lambda s: s.last,
    "min": lambda s: s.min,
    "max": lambda s: s.max,
    "best": lambda s: s.best,
    "mean": lambda s: s.mean,
}

_MISSING = object()


def filter_runs(text: str, runs: Iterator[RunFacts] | list[RunFacts]) -> list[RunFacts]:
    """The runs that a query means, in the order given; UsageError points at what cannot be read."""
    query = parse_query(text)
    return [run for run in runs if matches(query, run)]


def matches(query: Query, run: RunFacts) -> bool:
    """Whether a query means this run. A field that the run does not have is unequal to everything."""
    match query:
        case Word(text):
            info = run.info
            where = (info.name, info.run_id, f"{info.project}/{info.run_id}", info.group or "", *info.tags)
            return any(text.casefold() in place.casefold() for place in where)
        case Comparison(name, operator, value):
            found = _field(run, name)
            return operator == "!=" if found is _MISSING or found is None else _compare(found, operator, value)
        case Not(inner):
            return not matches(inner, run)
        case And(parts):
            return all(matches(part, run) for part in parts)
        case Or(parts):
            return any(matches(part, run) for part in parts)
    assert_never(query)


def flat_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with nested keys joined by '/', as columns want it: {"model": {"depth": 3}} is {"model/depth": 3}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update({f"{key}/{inner}": v for inner, v in flat_config(value).items()})
        else:
            flat[str(key)] = value
    return flat


def total_epochs(config: Mapping[str, Any]) -> float | None:
    """How many epochs the config says the run will have."""
    value = config.get("epochs")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _field(run: RunFacts, name: str) -> Any:
    if name in FIELDS:
        return FIELDS[name][1](run.info)
    config = flat_config(run.info.config)
    kind, dot, rest = name.partition(".")
    if dot and kind == "config":
        return config.get(rest, config.get(rest.replace(".", "/"), _MISSING))
    if dot and kind in _OF_METRIC and rest in run.summaries:
        return _OF_METRIC[kind](run.summaries[rest])
    if name in config:
        return config[name]
    if name in run.summaries:
        return run.summaries[name].last
    return config.get(name.replace(".", "/"), _MISSING)


def _compare(found: Any, operator: str, value: str) -> bool:
    if isinstance(found, list | tuple):
        same = [_compare(item, "=", value) for item in found]
        return not any(same) if operator == "!=" else any(same) and operator in ("=", ":")
    if operator == ":":
        return value.casefold() in _text(found).casefold()
    left, right = _number(found), _number(value)
    if left is not None and right is not None:
        # A NaN is unequal to everything and neither less nor greater, as everywhere.
        match operator:
            case "=":
                return left == right
            case "!=":
                return left != right
            case "<":
                return left < right
            case "<=":
                return left <= right
            case ">":
                return left > right
            case _:
                return left >= right
    equal = _text(found).casefold() == value.casefold()
    return {"=": equal, "!=": not equal}.get(operator, False)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        return float(value)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
