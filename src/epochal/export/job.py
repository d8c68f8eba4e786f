"""One export: what was asked for, checked, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from epochal.facts import Notice
from epochal.picture import Progress, Theme
from epochal.store import StoredRun

What = Literal["weights", "biases", "histogram", "scalars", "gradients", "all"]
WHAT: tuple[What, ...] = ("weights", "biases", "histogram", "scalars", "gradients", "all")
DATA_FORMATS = ("csv", "parquet")
FORMATS = ("gif", "mp4", "png", "svg", "html", *DATA_FORMATS)


@dataclass(slots=True, kw_only=True)
class Job:
    """A checked wish. `notices` collects what the person must be told, such as frames that were left out."""

    run: StoredRun
    to: Path
    what: What
    format: str
    steps: str | None
    layers: str | None
    fps: float | None
    size: tuple[int, int] | None
    cmap: str | None
    theme: Theme
    progress: Progress | None = None
    notices: list[Notice] = field(default_factory=list)

    @property
    def moving(self) -> bool:
        """Whether the file is a film."""
        return self.format in ("gif", "mp4")

    def tell(self, code: str, message: str, *, hint: str = "", count: int = 0) -> None:
        """Add a notice."""
        self.notices.append(Notice(code=code, message=message, hint=hint, count=count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file that was written. `frames` is None where it has none; `notices` say what was left out of it."""

    path: Path
    what: str
    format: str
    bytes: int
    frames: int | None = None
    notices: tuple[Notice, ...] = ()


Writer = Callable[[Job], int | None]
"""Writes the file of a job and says how many frames it has."""
