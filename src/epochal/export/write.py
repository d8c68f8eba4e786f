"""`write`: one run, one file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import cast, get_args

from epochal.errors import UsageError
from epochal.export.confusion import WHAT_CONFUSION, write_confusion
from epochal.export.job import DATA_FORMATS, FORMATS, WHAT, Job, What, Written
from epochal.facts.scores import Normalise
from epochal.film.draw import parse_size
from epochal.picture import NAMES, SLOWEST, Progress
from epochal.picture import theme as theme_named
from epochal.store import StoredRun
from epochal.workspace import RunReader

FASTEST = 120.0


def write(
    run: StoredRun | RunReader,
    *,
    to: str | os.PathLike[str],
    what: str | None = None,
    format: str | None = None,  # noqa: A002 - the word users know
    steps: str | Iterable[int] | None = None,
    layers: str | Iterable[str] | None = None,
    fps: float | None = None,
    size: tuple[int, int] | str | None = None,
    cmap: str | None = None,
    theme: str = "light",
    share: Normalise | None = None,
    against: int | StoredRun | RunReader | None = None,
    studio_folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Written:
    """Write part of a run into a file.

    `what` is weights, biases, histogram, scalars, gradients, confusion or all; left out, it is all for a report,
    scalars for a table, and weights (where any were kept) for a picture or film. It may also name a series: of logged
    values the last one's bytes are written where the suffix is theirs (a .wav of a sound), else its film.

    `format` is gif, mp4, png, svg, html, csv or parquet; left out, the suffix of `to` says it. `steps` is a choice such
    as `0:150:10`, `1,5,9` or `last`, `layers` names or patterns of layers (of series, for scalars). The file appears
    complete or not at all.

    `confusion` is what was predicted of each class, of the predictions that `layers` names: counts, or shares of the
    "rows", "columns" or "all" as `share` says; `against` sets another run, or a step of this one, beside it.

    Raises UsageError for what cannot be, NotFoundError for what was not recorded, PictureError, MissingExtraError.
    """
    stored = run.stored if isinstance(run, RunReader) else run
    target = Path(to)
    if what == WHAT_CONFUSION and what not in (*stored.media_series(), *stored.scalars()):
        return write_confusion(
            stored,
            to=target,
            format=format,
            steps=_steps_text(steps),
            series=layers if layers is None or isinstance(layers, str) else ",".join(layers),
            share=share,
            against=against.stored if isinstance(against, RunReader) else against,
            fps=_checked_fps(fps),
            size=parse_size(size),
            theme=theme_named(theme).name,
            progress=progress,
        )
    if share is not None or against is not None:
        raise UsageError("Only a confusion matrix has shares and another side.", hint="Say what='confusion'.")
    named = what is not None and what not in WHAT
    kind = "" if named else _format(target, format)
    _checked_fps(fps)
    if cmap is not None and cmap not in NAMES:
        raise UsageError(f"There is no colour map {cmap!r}.", hint=f"Use one of: {', '.join(NAMES)}.")
    chosen = _steps_text(steps)
    if named:
        from epochal.export.named import NamedJob, write_named

        return write_named(
            NamedJob(
                run=stored,
                to=target,
                what=str(what),
                format=format,
                steps=chosen,
                fps=fps,
                size=parse_size(size),
                cmap=cmap,
                theme=theme_named(theme),
                progress=progress,
            )
        )
    job = Job(
        run=stored,
        to=target,
        what=_what(cast("What | None", what), kind, stored),
        format=kind,
        steps=chosen,
        layers=layers if layers is None or isinstance(layers, str) else ",".join(layers),
        fps=fps,
        size=parse_size(size),
        cmap=cmap,
        theme=theme_named(theme),
        progress=progress,
    )
    frames = _dispatch(job, studio_folder)
    return Written(
        path=target,
        what=job.what,
        format=kind,
        bytes=target.stat().st_size,
        frames=frames,
        notices=tuple(job.notices),
    )


def _steps_text(steps: str | Iterable[int] | None) -> str | None:
    return steps if steps is None or isinstance(steps, str) else ",".join(str(int(s)) for s in steps)


def _checked_fps(fps: float | None) -> float | None:
    if fps is not None and not SLOWEST <= fps <= FASTEST:
        raise UsageError(f"fps must lie between {SLOWEST:g} and {FASTEST:g}, not {fps:g}.")
    return fps


def _dispatch(job: Job, studio_folder: str | os.PathLike[str] | None) -> int | None:
    if job.format == "html":
        from epochal.export.report import write_report

        write_report(job, None if studio_folder is None else Path(studio_folder))
        return None
    if job.format in DATA_FORMATS:
        from epochal.export.data import write_data

        write_data(job)
        return None
    from epochal.export import curves, spreads, weights

    if job.what == "weights":
        return weights.write_weights(job)
    if job.what == "biases":
        return weights.write_biases(job)
    if job.what == "scalars":
        return curves.write_scalars(job)
    if job.what == "histogram":
        return spreads.write_histogram(job)
    if job.run.snapshot_steps("grads"):
        return weights.write_gradients(job)
    # The recorder keeps gradients' histograms by default, their values only when asked to.
    return spreads.write_histogram(job, "grad")


def _format(target: Path, given: str | None) -> str:
    kind = (given or target.suffix).lstrip(".").lower()
    if kind not in FORMATS:
        asked = f"as {kind!r}" if kind else f"to {target.name!r}, which has no suffix"
        raise UsageError(f"A run cannot be exported {asked}.", hint=f"Use one of: {', '.join(FORMATS)}.")
    named = target.suffix.lstrip(".").lower()
    if named in FORMATS and named != kind:
        raise UsageError(f"{target.name!r} is named as {named}, but the format asked for is {kind}.", hint="Drop one.")
    return kind


def _what(given: What | None, kind: str, run: StoredRun) -> What:
    if given is None:
        if kind == "html":
            return "all"
        return "scalars" if kind in DATA_FORMATS or not run.snapshot_steps() else "weights"
    if given == "all" and kind != "html":
        raise UsageError(
            f"A .{kind} file cannot hold everything.",
            hint=f"Write an .html, or choose --what {', '.join(w for w in get_args(What) if w != 'all')}.",
        )
    return given
