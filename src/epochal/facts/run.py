"""Facts about a run: what it is, how it stands, what its series came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

RunStatus = Literal["running", "finished", "failed", "stopped", "crashed"]
"""`crashed` is never written: a reader concludes it from a heartbeat that ended without a farewell."""

Better = Literal["min", "max"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something a reader must be told: data that was lost, damaged, hidden or thinned.

    `count` is how many values or bytes it concerns (0 where that cannot be said).
    """

    code: str
    message: str
    hint: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What a run is and how it stands. Times are unix seconds; `path` is the run's folder.

    `parent` is the run that it was forked from, as `project/run_id`, at `parent_step`; `ranks` is how many processes
    of a distributed training have recorded into it.
    """

    run_id: str
    project: str
    name: str
    path: str
    created: float
    status: RunStatus
    ended: float | None = None
    last_step: int | None = None
    last_epoch: float | None = None
    format_version: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)
    group: str | None = None
    parent: str | None = None
    parent_step: int | None = None
    ranks: int = 1
    tags: tuple[str, ...] = ()
    notes: str = ""
    archived: bool = False
    error: str | None = None
    code: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    recorder: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    @property
    def seconds(self) -> float | None:
        """Wall time from start to end, None while running."""
        return None if self.ended is None else max(0.0, self.ended - self.created)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSummary:
    """What one scalar series came to; `min`, `max` and `mean` are over finite values (NaN when there is none).

    `spark` holds at most 64 means of equal stretches of the series, oldest first.
    """

    name: str
    n: int
    last: float
    last_step: int
    first_step: int
    min: float
    min_step: int
    max: float
    max_step: int
    mean: float
    nan: int = 0
    inf: int = 0
    better: Better | None = None
    spark: tuple[float, ...] = ()

    @property
    def best(self) -> float:
        """The best value by `better`; `min` when nothing says which way is better."""
        return self.max if self.better == "max" else self.min

    @property
    def best_step(self) -> int:
        """The step of `best`."""
        return self.max_step if self.better == "max" else self.min_step
