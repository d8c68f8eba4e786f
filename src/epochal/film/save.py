"""Films as files and as pictures in notebooks."""

from __future__ import annotations

import base64
import csv
import io
import os
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from epochal.errors import PictureError, UsageError
from epochal.film.draw import parse_size, scene
from epochal.film.film import Film
from epochal.picture import MOVIE_FORMATS, PICTURE_FORMATS, pictures, replacing
from epochal.picture import save as save_scene
from epochal.picture import theme as theme_named

FORMATS = (*MOVIE_FORMATS, *PICTURE_FORMATS, "npz", "csv")


def save(
    film: Film,
    path: str | os.PathLike[str],
    *,
    fps: float,
    size: tuple[int, int] | str | None,
    cmap: str | None,
    theme: str,
) -> Path:
    """Write a film in the format that the suffix of `path` names."""
    target = Path(path)
    kind = target.suffix.lstrip(".").lower()
    if kind not in FORMATS:
        asked = f"as {kind!r}" if kind else "to a file without a suffix"
        raise UsageError(f"A film cannot be saved {asked}.", hint=f"Use one of: {', '.join(FORMATS)}.")
    if kind == "npz":
        _save_npz(film, target)
    elif kind == "csv":
        _save_csv(film, target)
    else:
        drawn = scene(film, theme=theme_named(theme), size=parse_size(size), cmap=cmap, moving=kind in MOVIE_FORMATS)
        save_scene(drawn, target, fps=fps)
    return target


def _save_npz(film: Film, target: Path) -> None:
    arrays: dict[str, Any] = {"steps": film.steps, "frames": film.frames, "name": np.array(film.name)}
    if film.edges is not None:
        arrays["edges"] = film.edges
    if film.epochs is not None:
        arrays["epochs"] = film.epochs
    # savez adds .npz to names that lack it, an open file keeps its name.
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _save_csv(film: Film, target: Path) -> None:
    axes = film.axes or tuple(f"axis_{i}" for i in range(film.frames.ndim - 1))
    with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", *axes, "value"])
        for step, frame in film:
            if frame.ndim == 0:
                writer.writerow([step, frame.item()])
            else:
                writer.writerows([step, *place, value.item()] for place, value in np.ndenumerate(frame))


def html(film: Film) -> str:
    """The last frame as a small picture, with the film's name and steps; any text in it is escaped."""
    words = f"{escape(repr(film))}"
    if not len(film):
        return f"<code>{words}</code>"
    try:
        drawn = scene(film, theme=theme_named("light"), size=None, cmap=None, moving=False)
        picture = next(iter(pictures(drawn, [drawn.frames - 1])))
    except PictureError:
        return f"<code>{words}</code>"
    if picture.width > 900:
        picture = picture.resize((900, max(1, picture.height * 900 // picture.width)))
    packed = io.BytesIO()
    picture.save(packed, "PNG")
    data = base64.b64encode(packed.getvalue()).decode()
    return (
        f'<figure style="margin:0"><img alt="{escape(film.name, quote=True)}" style="max-width:100%"'
        f' src="data:image/png;base64,{data}"><figcaption><code>{words}</code></figcaption></figure>'
    )
