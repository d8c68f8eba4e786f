"""One series by its name: the bytes of a logged value, or its film."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from epochal.errors import NotFoundError, UsageError
from epochal.export.choose import choose_steps
from epochal.export.job import WHAT, Written
from epochal.facts import BLOB_EXTENSIONS, MediaItem, Notice
from epochal.film import Film
from epochal.film.draw import scene
from epochal.film.save import FORMATS as FILM_FORMATS
from epochal.picture import MOVIE_FORMATS, Progress, Theme, replacing, save
from epochal.store import StoredRun
from epochal.workspace.films import make_film, series_of

__all__ = ["write_named"]

_FPS = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedJob:
    """A wish for one series. `drawn` says that how it looks was asked for: a size, a colour map."""

    run: StoredRun
    to: Path
    what: str
    format: str | None
    steps: str | None
    fps: float | None
    size: tuple[int, int] | None
    cmap: str | None
    theme: Theme
    progress: Progress | None

    @property
    def drawn(self) -> bool:
        """Whether the picture is to look in some way, and not just to be what was logged."""
        return self.size is not None or self.cmap is not None or self.theme.name != "light"


def write_named(job: NamedJob) -> Written:
    """Write the series `job.what`: where the suffix is that of a logged value, its bytes, else its film.

    Raises UsageError for a name or a format that cannot be, NotFoundError for a step without a value.
    """
    media = job.run.media_series()
    known = [*media, *series_of(job.run)]
    if job.what not in known:
        near = difflib.get_close_matches(job.what, [*WHAT, *known], n=2)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(
            f"There is no {job.what!r} to export.",
            hint=f"{hint}Use one of: {', '.join(WHAT)}, or the name of a series.",
        )
    kind = (job.format or job.to.suffix).lstrip(".").lower()
    if job.what in media:
        items = job.run.media(job.what)
        steps = choose_steps(job.steps, list(dict.fromkeys(item.step for item in items)))
        last = [item for item in items if item.step == steps[-1]]
        own = [item for item in last if item.extension == kind]
        # A picture is its own bytes, unless several stand beside one another or some look was asked for.
        alone = len(last) == 1 or kind not in FILM_FORMATS
        if own and alone and not (job.drawn and kind in FILM_FORMATS):
            return _write_bytes(job, own, len(last), kind)
        if kind not in FILM_FORMATS or job.what not in series_of(job.run):
            raise _format(job, kind, items)
    elif kind not in FILM_FORMATS:
        raise _format(job, kind, [])
    return _write_film(job, kind)


def _write_bytes(job: NamedJob, items: Sequence[MediaItem], logged: int, kind: str) -> Written:
    item = items[0]
    notices: tuple[Notice, ...] = ()
    if logged > 1:
        notices = (
            Notice(
                code="thinned",
                message=f"{logged} values were logged at step {item.step}: the first one of this kind is written.",
                count=logged - 1,
            ),
        )
    data = job.run.blob_bytes(item.sha256)
    with replacing(job.to) as temporary:
        temporary.write_bytes(data)
    return Written(path=job.to, what=job.what, format=kind, bytes=len(data), frames=1, notices=notices)


def _write_film(job: NamedJob, kind: str) -> Written:
    film: Film = make_film(job.run, job.what)
    if not len(film):
        raise NotFoundError(f"{job.what!r} has no frames.")
    film = film.at([film.steps.tolist().index(s) for s in choose_steps(job.steps, film.steps.tolist())])
    frames = len(film) if kind in MOVIE_FORMATS or job.steps is not None else 1
    if kind in ("npz", "csv"):
        film.save(job.to)
    else:
        drawn = scene(
            film,
            theme=job.theme,
            size=job.size,
            cmap=job.cmap,
            moving=kind in MOVIE_FORMATS,
            threshold=_threshold(job),
        )
        indices = None if job.steps is None or kind in MOVIE_FORMATS else list(range(drawn.frames))
        frames = drawn.frames if kind in MOVIE_FORMATS else frames
        save(drawn, job.to, format=kind, fps=job.fps or _FPS, indices=indices, progress=job.progress)
    return Written(path=job.to, what=job.what, format=kind, bytes=job.to.stat().st_size, frames=frames)


def _threshold(job: NamedJob) -> float | None:
    """Above which voxels were said to be solid, None where nothing was said."""
    if job.what not in job.run.media_series():
        return None
    found = (item.meta.get("threshold") for item in reversed(job.run.media(job.what)))
    return next((float(value) for value in found if isinstance(value, int | float)), None)


def _format(job: NamedJob, kind: str, items: Sequence[MediaItem]) -> UsageError:
    own = sorted({item.extension for item in items})
    allowed = [*own, *(FILM_FORMATS if job.what in series_of(job.run) else ())]
    asked = f"as {kind!r}" if kind in (*BLOB_EXTENSIONS, *FILM_FORMATS) else f"to {job.to.name!r}"
    return UsageError(
        f"{job.what!r} cannot be written {asked}.", hint=f"Use one of: {', '.join(dict.fromkeys(allowed))}."
    )
