"""Which checkpoints a training keeps, as a table in its run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from epochal.record import Run

SERIES = "checkpoints"
_COLUMNS = ("path", "step", "epoch", "score", "monitor", "best")


@dataclass(frozen=True, slots=True)
class Kept:
    """When a checkpoint was written, and which metric it is judged by."""

    step: int
    epoch: float | None = None
    monitor: str = ""


class Checkpoints:
    """The checkpoints of one training. Those that the trainer has deleted again are left out of the table."""

    def __init__(self) -> None:
        self._known: dict[str, Kept] = {}
        self._scores: dict[str, float] = {}
        self._best = ""
        self._last = ""

    def add(
        self,
        run: Run,
        paths: Iterable[str],
        kept: Kept,
        *,
        saved: str = "",
        scores: Mapping[str, float] | None = None,
        best: str = "",
    ) -> None:
        """Note checkpoints: `saved` is the one just written, the others were before. Records the table of all."""
        from epochal.record.media import Table

        for path in paths:
            if path == saved or path not in self._known:
                self._known[path] = kept
                self._last = path
        self._scores.update(scores or {})
        self._best = best or self._best
        table = Table(list(_COLUMNS))
        for path, at in self._known.items():
            if Path(path).exists():
                table.add_row(
                    _shown(path, run), at.step, at.epoch, self._scores.get(path), at.monitor or None, path == self._best
                )
        run.aside({SERIES: table}, step=kept.step)

    def keep(self, run: Run) -> None:
        """Copy the best checkpoint and the last into the run's folder."""
        for path in dict.fromkeys((self._best, self._last)):
            if path and Path(path).exists():
                run.keep_file(path, f"{SERIES}/{Path(path).name}")


def _shown(path: str, run: Run) -> str:
    """The path, from the run's folder where it lies within: that folder may be moved."""
    file, folder = Path(path).absolute(), run.path
    if folder is not None and file.is_relative_to(folder.absolute()):
        return file.relative_to(folder.absolute()).as_posix()
    return str(file)


__all__ = ["SERIES", "Checkpoints", "Kept"]
