"""Which snapshots stay when they take too much room."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.errors import NotFoundError
from epochal.store import RunWriter, StoredRun, WriterFolder
from epochal.store.thinning import Shelf, thinned_steps, to_let_go
from epochal.views.stored import make_stored_film
from tests.store.helpers import begin


def left(steps: list[int], fixed: set[int], count: int) -> list[int]:
    gone: list[int] = []
    for step in to_let_go(steps, fixed):
        if len(steps) - len(gone) == count:
            break
        gone.append(step)
    return [step for step in steps if step not in gone]


def test_what_is_left_is_dense_early_and_logarithmic_later() -> None:
    found = left(list(range(1000)), set(), 64)
    assert found[:8] == list(range(8))
    assert found[-1] == 999
    # Ratios of neighbours, as evenly as a greedy choice makes them: nothing is twice as far as it need be.
    ratios = [(b + 1) / (a + 1) for a, b in pairwise(found[16:])]
    assert max(ratios) < min(ratios) ** 2.5
    assert max(ratios) < 1.3


@given(st.sets(st.integers(0, 10_000), min_size=2, max_size=60), st.data())
@settings(deadline=None, max_examples=200)
def test_the_order_is_that_of_the_smallest_hole_each_time(chosen: set[int], data: st.DataObject) -> None:
    steps = sorted(chosen)
    fixed = data.draw(st.sets(st.sampled_from(steps)))
    unit = max(1, min(b - a for a, b in pairwise(steps)))
    place = {step: log((step - steps[0]) / unit + 1) for step in steps}
    order, there = list(to_let_go(steps, fixed)), list(steps)
    for step in order:
        k = there.index(step)
        if k == 0:
            assert set(there[1:-1]) <= fixed
        else:
            free = [j for j in range(1, len(there) - 1) if there[j] not in fixed]
            holes = {there[j]: place[there[j + 1]] - place[there[j - 1]] for j in free}
            assert holes[step] == pytest.approx(min(holes.values()))
        there.remove(step)
    assert set(there) == fixed | {steps[-1]}


def shelf(writer: RunWriter, limit: float | None) -> tuple[Shelf, list[Mapping[str, Any]]]:
    told: list[Mapping[str, Any]] = []
    return Shelf(WriterFolder(writer.folder), limit, told=told.append), told


def write(writer: RunWriter, step: int, size: int = 100, kind: str = "params") -> Path:
    path = WriterFolder(writer.folder).snapshot(kind, step)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def there(writer: RunWriter, kind: str = "params") -> list[int]:
    return sorted(int(p.name[5:15]) for p in (writer.folder / kind).glob("step-*"))


def test_a_shelf_never_takes_more_than_its_limit_and_says_what_went(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    kept, told = shelf(writer, 1000)
    kept.keep(33)
    best = {"val_loss": 0}
    for step in range(200):
        best["val_loss"] = step - step % 77  # 0, 77, 154
        kept.make_room(step, 100, best=lambda: best)
        assert kept.bytes <= 900
        write(writer, step)
        kept.add(step, 100)
        assert len(there(writer)) <= 10
        assert step in there(writer)
    found = there(writer)
    assert {0, 33, 154, 199} <= set(found)
    gone = thinned_steps(WriterFolder(writer.folder))
    assert sorted([*gone, *found]) == list(range(200))
    assert told[-1] == {"count": len(gone), "limit": 1000, "first": min(gone), "last": max(gone)}
    writer.finish()


def test_gradients_go_with_their_parameters_and_replaced_snapshots_count_once(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    kept, _ = shelf(writer, 500)
    for step in (0, 1, 2, 2, 3):
        kept.make_room(step, 150, best=dict)
        write(writer, step)
        write(writer, step, 50, "grads")
        kept.add(step, 100)
        kept.add(step, 50)
    assert kept.bytes == 450
    assert there(writer) == there(writer, "grads") == [0, 1, 3]
    writer.finish()


def test_without_a_limit_or_with_room_nothing_goes(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    for limit in (None, 1e9):
        kept, told = shelf(writer, limit)
        for step in range(20):
            assert kept.make_room(step, 100, best=dict) == []
            kept.add(step, 100)
        assert not told
    writer.finish()


def test_what_always_stays_stays_where_it_is_too_much(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    kept, _ = shelf(writer, 250)
    kept.keep(1)
    for step in range(5):
        kept.make_room(step, 100, best=lambda: {"loss": 2})
        write(writer, step)
        kept.add(step, 100)
    assert there(writer) == [1, 2, 4]
    assert kept.bytes == 300
    writer.finish()


def test_a_file_that_cannot_be_deleted_stays_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = begin(tmp_path)
    kept, _ = shelf(writer, 300)
    unlink = os.unlink

    def refuse(path: Path) -> None:
        if "step-0000000001" in str(path):
            raise PermissionError(13, "held open")
        unlink(path)

    monkeypatch.setattr("epochal.store.thinning.os.unlink", refuse)
    for step in range(4):
        kept.make_room(step, 100, best=dict)
        write(writer, step)
        kept.add(step, 100)
    assert there(writer) == [0, 1, 3]
    assert kept.thinned == 1
    writer.finish()


def test_the_best_step_is_known_at_once(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    assert writer.best_steps() == {}
    for step, loss in enumerate([3.0, 1.0, 2.0, float("nan")]):
        writer.log({"val_loss": loss, "accuracy": 10 - loss, "other": 1.0}, step)
    assert writer.best_steps() == {"val_loss": 1}  # nobody said which series matter: the usual one
    writer.define("accuracy", better="max")
    writer.define("missing", better="max")
    assert writer.best_steps() == {"accuracy": 1}
    writer.log({"accuracy": 100.0}, 9)
    assert writer.best_steps() == {"accuracy": 9}
    writer.finish()


def reading(tmp_path: Path, steps: int) -> tuple[RunWriter, StoredRun]:
    writer = begin(tmp_path)
    for step in range(steps):
        writer.add_snapshot("params", {"w": np.full(3, step), "b": np.zeros(1)}, step=step)
    return writer, StoredRun(writer.path)


def test_a_film_asked_for_while_snapshots_go_is_of_those_that_are_left(tmp_path: Path) -> None:
    writer, run = reading(tmp_path, 6)
    folder = WriterFolder(writer.folder)
    found = run._snapshot_set("params")
    for step in (1, 3):  # behind the reader's back: it has listed them a moment ago
        folder.snapshot("params", step).unlink()
    steps, frames = found.film("w", [0, 1, 2, 3, 4])
    assert steps.tolist() == [0, 2, 4]
    assert frames[:, 0].tolist() == [0, 2, 4]
    with pytest.raises(NotFoundError, match="no snapshot at step 1 any more"):
        found.read(1)
    folder.snapshot("params", 4).unlink()
    for read in (found.read, lambda step: found.tensor("w", step), found.header):
        with pytest.raises(NotFoundError, match="no snapshot at step 4"):
            read(4)
    assert run.snapshot_steps() == [0, 2, 5]
    assert run.notices() == ()
    writer.finish()


def test_frames_go_between_their_header_and_their_values(tmp_path: Path) -> None:
    writer, run = reading(tmp_path, 4)
    for step in range(4):
        run.snapshot_header(step)  # remembered
    WriterFolder(writer.folder).snapshot("params", 2).unlink()
    found = run._snapshots["params"]
    with pytest.raises(NotFoundError):
        found.tensor("w", 2)
    WriterFolder(writer.folder).snapshot("params", 1).unlink()
    assert found.film("w", None)[0].tolist() == [0, 3]
    writer.finish()


def test_readers_and_thinning_at_the_same_time(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    kept, _ = shelf(writer, 8 * 10_000)
    ended = threading.Event()
    trouble: list[BaseException] = []

    def read() -> None:
        try:
            while not ended.is_set():
                if len(run.snapshot_steps()) > 2:
                    steps, frames = run.tensor_film("w")
                    assert frames[:, 0].tolist() == steps.tolist()
                    stack = make_stored_film(run, "param/w", mode="change")
                    assert len(stack.steps) == len(stack.frames) > 0
        except BaseException as error:
            trouble.append(error)
            raise

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for step in range(400):
        kept.make_room(step, 10_000, best=dict)
        path = writer.add_snapshot("params", {"w": np.full(1000, step)}, step=step)
        kept.add(step, path.stat().st_size)
    ended.set()
    for reader in readers:
        reader.join()
    assert not trouble
    assert kept.thinned > 300
    assert run.notices() == ()
    writer.finish()


def test_readers_are_told_that_snapshots_were_let_go_of(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer.shelf.limit = 1 << 20
    for step in range(10):
        writer.shelf.make_room(100 * step, 300_000, best=dict)
        write(writer, 100 * step, 300_000)
        writer.shelf.add(100 * step, 300_000)
    writer.finish()
    (notice,) = StoredRun(writer.path).notices()
    assert (notice.code, notice.count) == ("thinned", 7)
    assert notice.message == "7 snapshots were thinned to stay under 1 MiB"
    assert "of steps 200 to 800" in notice.hint
