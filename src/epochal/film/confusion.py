"""Confusion matrices over a training: of one network, or of two with the difference, as files."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from epochal.errors import PictureError, UsageError
from epochal.facts.scores import Normalise, normalised
from epochal.film.draw import parse_size
from epochal.film.words import captions
from epochal.picture import MOVIE_FORMATS, PICTURE_FORMATS, GridScene, Progress, Theme, replacing
from epochal.picture import save as save_scene
from epochal.picture import theme as theme_named
from epochal.picture.confusion import ConfusionChart

__all__ = ["FORMATS", "ConfusionFilm"]

FORMATS = (*MOVIE_FORMATS, *PICTURE_FORMATS, "csv", "npz")
Counts = npt.NDArray[np.int64]
_SHARES = {
    None: "counts",
    "rows": "% of the truth",
    "columns": "% of the prediction",
    "all": "% of all examples",
}


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class ConfusionFilm:
    """How many examples of each class (row) were said to be of each class (column): `counts` [T, C, C] at `steps`.

    With `other` [T, C, C], what another network (or another step) said of them, called `other_names` [T], pictures show
    both and what the first has more. `normalise` says what shares are of; None stands for counts.
    """

    title: str
    steps: npt.NDArray[np.int64]
    counts: Counts
    class_names: Sequence[str]
    normalise: Normalise | None = None
    other: Counts | None = None
    other_names: Sequence[str] = ()
    epochs: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        against = f", against {self.other_names[-1]}" if self.other is not None and len(self) else ""
        return f"ConfusionFilm({self.title!r}, {len(self)} steps, {len(self.class_names)} classes{against})"

    @property
    def array(self) -> npt.NDArray[Any]:
        """What is shown, [T, C, C]: counts or shares; of two networks the first one's less the other's."""
        shown = self._shown(self.counts)
        return shown if self.other is None else shown - self._shown(self.other)

    def _shown(self, counts: Counts, by: Normalise | Literal["own"] | None = "own") -> npt.NDArray[Any]:
        share = self.normalise if by == "own" else by
        return counts if share is None else np.stack([normalised(one, share) for one in counts])

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        size: tuple[int, int] | str | None = None,
        theme: str = "light",
        fps: float = 4.0,
        progress: Progress | None = None,
    ) -> Path:
        """Write a file whose suffix names the format: png, svg, gif, mp4, csv or npz.

        GIF and MP4 play all steps, PNG and SVG show the last one. CSV has a row for each step and pair of classes. NPZ
        holds `steps`, `counts` and, of two networks, `other`. Raises UsageError for another suffix.
        """
        target = Path(path)
        kind = target.suffix.lstrip(".").lower()
        if kind not in FORMATS:
            asked = f"as {kind!r}" if kind else "to a file without a suffix"
            raise UsageError(f"A confusion matrix cannot be saved {asked}.", hint=f"Use one of: {', '.join(FORMATS)}.")
        if not len(self):
            raise PictureError(f"{self.title}: there is no step to draw.")
        if kind == "csv":
            self._save_csv(target)
        elif kind == "npz":
            arrays: dict[str, Any] = {} if self.other is None else {"other": self.other}
            with replacing(target) as temporary, temporary.open("wb") as file:
                np.savez_compressed(
                    file, steps=self.steps, counts=self.counts, class_names=np.array(self.class_names), **arrays
                )
        else:
            save_scene(self.scene(theme_named(theme), parse_size(size)), target, fps=fps, progress=progress)
        return target

    def scene(self, theme: Theme, size: tuple[int, int] | None = None) -> GridScene:
        """The picture of each step: one chart, or three of two networks."""
        about = f"rows: truth, columns: prediction · {_SHARES[self.normalise]}"
        first = self._chart(self.counts, "A" if self.other is not None else "", about)
        charts = [first]
        if self.other is not None:
            # Of a film the step of each side stands in the caption, which is drawn anew for each frame.
            names = dict.fromkeys(self.other_names)
            said = next(iter(names)) if len(names) == 1 else "the other"
            charts = [first, self._chart(self.other, f"B: {said}", about), self._difference(self.other, about)]
        seen = self.counts.sum(axis=(1, 2))
        right = np.trace(self.counts, axis1=1, axis2=2)
        words = [
            f"{said} · {100 * r / n:.1f} % of {n:,} right" if n else said
            for said, r, n in zip(captions(self.steps, self.epochs), right.tolist(), seen.tolist(), strict=True)
        ]
        if self.other is not None and len(set(self.other_names)) > 1:
            words = [f"{said} · B: {name}" for said, name in zip(words, self.other_names, strict=True)]
        return GridScene(
            charts=charts,
            theme=theme,
            title=self.title,
            captions=words,
            wanted=size,
            columns=len(charts),
            card=first.natural,
            note="A − B: green is better, red is worse" if self.other is not None else "",
        )

    def _tints(self, counts: Counts) -> npt.NDArray[np.float64]:
        """Shares of the row (of the column where these are shown), for they are what the eye compares."""
        shares = self._shown(counts, "columns" if self.normalise == "columns" else "rows")
        sign = 2 * np.eye(counts.shape[-1]) - 1
        return np.asarray(np.nan_to_num(shares) * sign, np.float64)

    def _chart(self, counts: Counts, title: str, about: str) -> ConfusionChart:
        return ConfusionChart(
            title=title or "Confusion matrix",
            subtitle=about,
            values=self._shown(counts),
            tints=self._tints(counts),
            names=self.class_names,
            percent=self.normalise is not None,
        )

    def _difference(self, other: Counts, about: str) -> ConfusionChart:
        return ConfusionChart(
            title="A − B",
            subtitle=about.replace("% of", "points of a hundred of"),
            values=self.array,
            tints=self._tints(self.counts) - self._tints(other),
            names=self.class_names,
            percent=self.normalise is not None,
            signed=True,
        )

    def _save_csv(self, target: Path) -> None:
        sides = ["a", "b", "a - b"] if self.other is not None else ["value"]
        first = self._shown(self.counts)
        tables = [first] if self.other is None else [first, self._shown(self.other), self.array]
        names = list(self.class_names)
        with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["step", "truth", "prediction", *sides])
            for t, step in enumerate(self.steps.tolist()):
                for r, truth in enumerate(names):
                    for c, said in enumerate(names):
                        writer.writerow([step, truth, said, *(table[t, r, c].item() for table in tables)])
