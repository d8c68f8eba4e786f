"""Films of stored runs, whose snapshots may be damaged, of another shape, or replaced by a resumed run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from epochal.errors import NotFoundError, UsageError
from epochal.store.reader import StoredRun
from epochal.store.writer import RunWriter
from epochal.views.stored import FilmMemory, make_stored_film, snapshot_kind
from tests.server.recorded import begin


def keep(writer: RunWriter, step: int, value: float, *, shape: tuple[int, ...] = (2, 3), name: str = "w") -> Path:
    return writer.add_snapshot("params", {name: np.full(shape, value, np.float32)}, step=step)


def test_a_film_grows_with_its_run(tmp_path: Path) -> None:
    with_memory = FilmMemory()
    writer = begin(tmp_path)
    try:
        run = StoredRun(writer.path)
        for step in range(5):
            keep(writer, step, step)
            film = make_stored_film(run, "param/w", memory=with_memory, start=step)
            assert film.steps.tolist() == [step]
            assert (film.lo, film.hi, film.limit) == (0.0, float(step), float(step))
    finally:
        writer.finish()


def test_damaged_and_foreign_snapshots_are_left_out(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    for step in range(6):
        keep(writer, step, step, shape=(3, 3) if step == 2 else (2, 3), name="other" if step == 3 else "w")
    keep(writer, 4, 4).write_bytes(b"torn")
    writer.finish()
    film = make_stored_film(StoredRun(writer.path), "param/w")
    assert film.steps.tolist() == [0, 1, 5]
    assert film.frames[:, 0, 0].tolist() == [0.0, 1.0, 5.0]
    change = make_stored_film(StoredRun(writer.path), "param/w", mode="change")
    assert change.frames[:, 0, 0].tolist() == [0.0, 1.0, 4.0]


def test_a_resumed_run_that_replaces_steps_is_measured_again(tmp_path: Path) -> None:
    memory = FilmMemory()
    writer = begin(tmp_path)
    for step in range(3):
        keep(writer, step, 100.0)
    writer.finish()
    run = StoredRun(writer.path)
    assert make_stored_film(run, "param/w", memory=memory).limit == 100.0
    second = begin(tmp_path, run_id=writer.run_id, resume="must")
    for step in range(3):
        keep(second, step, 1.0)
    second.finish()
    assert make_stored_film(run, "param/w", memory=memory).limit == 1.0


def test_what_was_not_kept_is_said(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer.finish()
    run = StoredRun(writer.path)
    for series, said in (("param/w", "kept no parameters"), ("grad/w", "kept no gradients"), ("act/x", "histograms")):
        with pytest.raises(NotFoundError, match=said):
            make_stored_film(run, series)
    for series in ("w", "param/", "/w", "weights/w"):
        with pytest.raises(UsageError, match="no tensor"):
            snapshot_kind(series)
