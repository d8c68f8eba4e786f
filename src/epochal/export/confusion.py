"""Confusion matrices as pictures, films and tables."""

from __future__ import annotations

from pathlib import Path

from epochal.errors import UsageError
from epochal.export.choose import choose_steps
from epochal.export.job import Written
from epochal.facts.scores import Normalise
from epochal.film.confusion import FORMATS
from epochal.picture import MOVIE_FORMATS, Progress
from epochal.store import StoredRun
from epochal.views.confusion import prediction_series
from epochal.views.predictions import last_items
from epochal.workspace import RunReader

__all__ = ["WHAT_CONFUSION", "write_confusion"]

WHAT_CONFUSION = "confusion"
_FPS = 4.0


def write_confusion(
    run: StoredRun,
    *,
    to: Path,
    format: str | None,  # noqa: A002 - the word users know
    steps: str | None,
    series: str | None,
    share: Normalise | None,
    against: int | StoredRun | None,
    fps: float | None,
    size: tuple[int, int] | None,
    theme: str,
    progress: Progress | None,
) -> Written:
    """Write the matrix of the last step (a picture), or of all steps (a film, a table), or of those chosen.

    `series` names the predictions, `against` is another run or a step of this one, set beside it with the difference.
    Raises UsageError for a format that cannot be, NotFoundError where no predictions were logged.
    """
    kind = (format or to.suffix).lstrip(".").lower()
    if kind not in FORMATS or to.suffix.lstrip(".").lower() != kind:
        raise UsageError(
            f"Confusion matrices cannot be written to {to.name!r}.", hint=f"Use a suffix of: {', '.join(FORMATS)}."
        )
    name = prediction_series(run, series)
    available = sorted(item.step for item in last_items(run, name))
    chosen = choose_steps(steps or ("last" if kind in ("png", "svg") else "all"), available)
    if kind in ("png", "svg"):
        chosen = chosen[-1:]
    beside = RunReader(against) if isinstance(against, StoredRun) else against
    film = RunReader(run).confusions(chosen, name=name, normalise=share, against=beside)
    film.save(to, size=size, theme=theme, fps=fps or _FPS, progress=progress)
    frames = len(film) if kind in MOVIE_FORMATS else 1
    return Written(path=to, what=WHAT_CONFUSION, format=kind, bytes=to.stat().st_size, frames=frames)
