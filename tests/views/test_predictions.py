"""The answers of a run through time, as they are read back; held against what was logged."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

import epochal
from epochal.errors import DamagedError, NotFoundError, UsageError
from epochal.store import StoredRun
from epochal.views.predictions import AnswersMemory, read_example, read_history, read_outline
from epochal.workspace import RunReader

EARLIER = Path(__file__).parents[1] / "data" / "predictions-with-own-labels.zip"
STEPS, N, CLASSES = 7, 40, 4
RNG = np.random.default_rng(11)
P = RNG.dirichlet(np.ones(CLASSES), (STEPS, N)).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, N)
X = RNG.random((N, 6))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> RunReader:
    with epochal.init("p", dir=tmp_path_factory.mktemp("runs"), strict=True, system=False, console=False) as run:
        for t in range(STEPS):
            run.log({"loss": 1.0}, step=10 * t, epoch=t)
            run.log_predictions(X, LABELS, P[t], list("abcd"), feature_names=[f"f{i}" for i in range(6)])
        run.log_predictions(X, LABELS, P[-1], list("abcd"), feature_names=[f"f{i}" for i in range(6)])
        run.log_predictions(None, None, P[0], name="bare", step=5)
        for t in range(3):  # other examples each time
            run.log_predictions(X[t : t + 9], LABELS[t : t + 9], P[t, :9], name="changing", step=t)
        wide = RNG.dirichlet(np.ones(300), 5).astype(np.float32)
        run.log_predictions(None, np.arange(5) * 70, wide, name="wide", step=0)
        odd = P[0].copy()
        odd[3] = np.nan
        run.log_predictions(None, LABELS, odd, name="odd", step=0)
        path = run.path
    assert path is not None
    return RunReader.open(path)


def test_inputs_and_right_answers_lie_on_the_disk_once(reader: RunReader) -> None:
    files = list((reader.path / "w").rglob("media/blobs/*"))
    # Seven different steps (the eighth call logs the last numbers again, "bare" the first), inputs, truth; the others.
    named = {name for item in reader.media("predictions") for name in item.meta["blobs"]}
    assert len(reader.media("predictions")) == STEPS + 1
    assert len(named) == 2
    assert len({item.filename for item in reader.media("predictions")}) == STEPS
    assert len(files) == STEPS + 2 + 3 * 3 + 2 + 2


def test_the_outline_is_what_was_said(reader: RunReader) -> None:
    found = read_outline(reader.stored, "predictions")
    assert found.steps.tolist() == [10 * t for t in range(STEPS)]
    assert (found.total, found.stride, found.unreadable, len(found.sets)) == (STEPS, 1, 0, 1)
    assert found.predicted[0].dtype == np.uint8
    np.testing.assert_array_equal(np.stack(found.predicted), P.argmax(axis=2))
    (each,) = found.sets
    assert each.class_names == ("a", "b", "c", "d")
    assert each.feature_names == tuple(f"f{i}" for i in range(6))
    assert (each.inputs, each.examples, each.classes, each.outputs) == ("numbers", N, CLASSES, "")
    np.testing.assert_array_equal(each.labels, LABELS)


def test_a_memory_gives_the_same_and_reads_new_steps_only(reader: RunReader, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = AnswersMemory()
    first = read_outline(reader.stored, "predictions", memory)

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("a file was read again")

    monkeypatch.setattr("epochal.views.predictions.read_file", refuse)
    again = read_outline(reader.stored, "predictions", memory)
    np.testing.assert_array_equal(np.stack(again.predicted), np.stack(first.predicted))


def test_fewer_steps_where_all_would_be_too_many(reader: RunReader) -> None:
    found = read_outline(reader.stored, "predictions", most=3 * N)
    assert (found.stride, found.total) == (3, STEPS)
    assert found.steps.tolist() == [0, 30, 60]
    found = read_outline(reader.stored, "predictions", most=4 * N)
    assert found.steps.tolist() == [0, 20, 40, 60]
    found = read_outline(reader.stored, "predictions", most=1)
    assert found.steps.tolist() == [0, 60]  # the first and the last always are


def test_other_examples_are_sets_of_their_own(reader: RunReader) -> None:
    found = read_outline(reader.stored, "changing")
    assert found.of.tolist() == [0, 1, 2]
    assert [each.examples for each in found.sets] == [9, 9, 9]
    assert reader.history(name="changing").others == 2
    assert reader.history(name="changing").steps.tolist() == [2]


def test_many_classes_and_answers_that_are_not_finite(reader: RunReader) -> None:
    wide = read_outline(reader.stored, "wide")
    assert wide.predicted[0].dtype == np.uint32
    np.testing.assert_array_equal(wide.predicted[0], reader.predictions(name="wide").probabilities.argmax(axis=1))
    odd = read_outline(reader.stored, "odd").predicted[0]
    assert odd[3] == 255
    assert reader.history(name="odd").predicted[0, 3] == -1
    assert reader.confusion(name="odd").sum() == N - 1


def test_confusion_and_forgotten_through_the_reader(reader: RunReader) -> None:
    for t in range(STEPS):
        np.testing.assert_array_equal(
            reader.confusion(10 * t), confusion_matrix(LABELS, P[t].argmax(axis=1), labels=range(CLASSES))
        )
    np.testing.assert_allclose(
        reader.confusion(0, normalise="columns"),
        confusion_matrix(LABELS, P[0].argmax(axis=1), labels=range(CLASSES), normalize="pred"),
        atol=1e-12,
    )
    right = P.argmax(axis=2) == LABELS
    assert reader.forgotten().tolist() == [i for i in range(N) if right[:, i].any() and not right[-1, i]]
    assert reader.forgotten(20).tolist() == [i for i in range(N) if right[:3, i].any() and not right[2, i]]
    assert reader.never_learned().tolist() == [i for i in range(N) if not right[:, i].any()]
    assert len(reader.history()) == STEPS
    with pytest.raises(UsageError, match="without the right answers"):
        reader.confusion(name="bare")
    with pytest.raises(NotFoundError, match=r"no predictions 'other'(.|\n)*bare, changing|predictions"):
        reader.forgotten(name="other")


def test_one_example_through_the_training(reader: RunReader) -> None:
    film = reader.example(7)
    assert film.steps.tolist() == [10 * t for t in range(STEPS)]
    np.testing.assert_array_equal(film.frames, P[:, 7])
    assert film.epochs is not None
    np.testing.assert_array_equal(film.epochs, np.arange(STEPS))
    steps, frames = read_example(reader.stored, "changing", 2, at=1)
    assert steps.tolist() == [1]
    np.testing.assert_array_equal(frames, P[1, 2:3])
    with pytest.raises(UsageError, match="no example 40"):
        reader.example(N)
    with pytest.raises(NotFoundError, match="at step 3"):
        read_example(reader.stored, "predictions", 0, at=3)


def test_a_file_that_was_altered_is_left_out_and_counted(tmp_path: Path) -> None:
    with epochal.init("p", dir=tmp_path, strict=True, system=False, console=False) as run:
        for t in range(4):
            run.log_predictions(None, LABELS, P[t], step=t)
        path = run.path
    assert path is not None
    items = RunReader.open(path).media("predictions")
    for item, how in ((items[1], "altered"), (items[2], "gone")):
        (file,) = path.rglob(item.filename)
        if how == "gone":
            file.unlink()
        else:
            data = bytearray(file.read_bytes())
            data[-5] ^= 1
            file.write_bytes(bytes(data))
    stored = StoredRun(path)
    found = read_outline(stored, "predictions")
    assert found.steps.tolist() == [0, 3]
    assert found.unreadable == 2
    assert read_example(stored, "predictions", 1)[0].tolist() == [0, 3]
    with pytest.raises(DamagedError):
        RunReader.open(path).predictions(1)
    for item in (items[0], items[3]):
        (file,) = path.rglob(item.filename)
        file.write_bytes(b"x")
    with pytest.raises(DamagedError, match="none of the files"):
        read_history(StoredRun(path), "predictions")


def test_a_run_that_kept_labels_in_each_file_still_opens(tmp_path: Path) -> None:
    with zipfile.ZipFile(EARLIER) as archive:
        archive.extractall(tmp_path)
    reader = epochal.open(tmp_path).run("earlier/labels-in-each-file")
    said = reader.predictions(0)
    assert said.labels is not None
    assert said.labels.tolist() == [0, 1, 2, 1]
    assert said.class_names == ("a", "b", "c")
    assert said.ids == ("w", "x", "y", "z")
    np.testing.assert_allclose(said.probabilities[0], [0.7, 0.2, 0.1], rtol=1e-7)
    np.testing.assert_array_equal(said.inputs, np.arange(8.0).reshape(4, 2))
    assert reader.history().predicted.tolist() == [[0, 1, 2, 0], [1, 1, 2, 1], [0, 2, 2, 1]]
    assert reader.forgotten().tolist() == [1]
    assert reader.forgotten(10).tolist() == [0]
    assert reader.confusion().tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    (each,) = read_outline(reader.stored, "predictions").sets
    assert each.class_names == ("a", "b", "c")
    assert reader.example(3).frames.argmax(axis=1).tolist() == [0, 1, 1]
