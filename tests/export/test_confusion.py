"""Confusion matrices as files, decoded again and held against scikit-learn's counts."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from epochal.errors import NotFoundError, UsageError
from epochal.export import write
from epochal.record import init
from epochal.workspace import RunReader
from tests.cli.command import epochal, json_of

NAMES = ["cat", "dog", "red fox"]
LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 2])
STEPS = (0, 5, 10)
SVG = "{http://www.w3.org/2000/svg}"


def said(seed: int) -> npt.NDArray[np.float32]:
    found = np.random.default_rng(seed).random((len(LABELS), 3))
    return np.asarray(found / found.sum(axis=1, keepdims=True), np.float32)


def truth(seed: int) -> npt.NDArray[np.int64]:
    return np.asarray(confusion_matrix(LABELS, said(seed).argmax(axis=1), labels=[0, 1, 2]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for name, seed in (("first", 1), ("second", 50)):
        with init("p", name=name, dir=root, strict=True, system=False, console=False) as run:
            for step in STEPS:
                run.log_predictions(None, LABELS, said(seed + step), NAMES, step=step, epoch=step / 5)
            run.log_predictions(None, LABELS[::-1], said(seed), NAMES, name="held back", step=0)
            run.log_predictions(None, None, said(seed), NAMES, name="unlabelled", step=0)
    return root


def run_of(folder: Path, name: str) -> RunReader:
    import epochal as door

    return next(run for run in door.open(folder).runs() if run.name == name)


def texts(path: Path) -> list[str]:
    return [t.text or "" for t in ET.parse(path).getroot().iter(f"{SVG}text")]


def test_the_film_is_what_scikit_learn_counts(folder: Path) -> None:
    film = run_of(folder, "first").confusions()
    assert film.steps.tolist() == list(STEPS)
    assert np.array_equal(film.array, [truth(1 + step) for step in STEPS])
    shares = run_of(folder, "first").confusions(5, normalise="rows").array
    wanted = confusion_matrix(LABELS, said(6).argmax(axis=1), labels=[0, 1, 2], normalize="true")
    np.testing.assert_allclose(shares, [wanted], atol=1e-12)


def test_another_run_stands_beside_it_at_the_same_step_or_the_last_before(folder: Path) -> None:
    first, second = run_of(folder, "first"), run_of(folder, "second")
    film = first.confusions(against=second)
    assert np.array_equal(film.array, [truth(1 + step) - truth(50 + step) for step in STEPS])
    assert np.array_equal(first.confusions(10, against=0).array, [truth(11) - truth(1)])
    with pytest.raises(UsageError, match="other examples"):
        first.confusions(0, name="held back", against=_relabelled(folder, second))


def _relabelled(folder: Path, like: RunReader) -> RunReader:
    with init("p", name="relabelled", dir=folder, strict=True, system=False, console=False) as run:
        run.log_predictions(None, LABELS, said(3), NAMES, name="held back", step=0)
    assert run.path is not None
    assert run.path != like.path
    return RunReader.open(run.path)


def test_a_picture_writes_names_numbers_and_moment(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.svg"
    run_of(folder, "first").confusions().save(path)
    words = texts(path)
    matrix = truth(11)
    right = 100 * np.trace(matrix) / len(LABELS)
    assert words[0] == "first · predictions"
    assert f"epoch 2 · step 10 · {right:.1f} % of 8 right" in words
    assert "rows: truth, columns: prediction · counts" in words
    assert all(words.count(name) == 2 for name in NAMES)
    numbers = [word for word in words if word.isdigit()]
    assert numbers == [str(n) for n in matrix.ravel() if n]


def test_of_two_there_are_both_and_the_difference(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.svg"
    run_of(folder, "first").confusions(10, against=run_of(folder, "second"), normalise="rows").save(path, theme="dark")
    words = texts(path)
    assert {"A", "B: second · step 10", "A − B"} <= set(words)
    shares = [100 * m / m.sum(axis=1, keepdims=True) for m in (truth(11), truth(60))]
    difference = (shares[0] - shares[1]).ravel()
    wanted = [f"{'−' if d < 0 else '+'}{abs(d):.1f}".removesuffix(".0") for d in difference if abs(d) >= 0.05]
    assert [word for word in words if word[0] in "+−"] == wanted


def test_the_command_writes_pictures_films_and_tables(folder: Path, tmp_path: Path) -> None:
    name = run_of(folder, "first").id
    told = json_of("export", name, "--what", "confusion", "--to", tmp_path / "c.gif", "--dir", folder)
    assert (told["what"], told["frames"]) == ("confusion", 3)
    with Image.open(tmp_path / "c.gif") as film:
        assert getattr(film, "n_frames", 1) == 3
    options = ("--what", "confusion", "--against", "0", "--share", "counts", "--dir", folder)
    json_of("export", name, "--to", tmp_path / "c.csv", *options)
    with (tmp_path / "c.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 9
    last = [row for row in rows if row["step"] == "10"]
    for key, wanted in (("a", truth(11)), ("b", truth(1)), ("a - b", truth(11) - truth(1))):
        assert [int(row[key]) for row in last] == wanted.ravel().tolist()
    assert {row["prediction"] for row in rows} == set(NAMES)
    other = run_of(folder, "second").id
    json_of("export", name, "--to", tmp_path / "c.png", "--what", "confusion", "--against", other, "--dir", folder)
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.width > 3 * 250, "three matrices"
    done = epochal("export", name, "--to", tmp_path / "c.gif", "--against", "0", "--dir", folder)
    assert done.returncode == 2
    assert "Only a confusion matrix" in done.stderr


def test_what_cannot_be_says_so(folder: Path, tmp_path: Path) -> None:
    run = run_of(folder, "first")
    with pytest.raises(UsageError, match="suffix of: gif, mp4, png, svg, csv, npz"):
        write(run, to=tmp_path / "c.html", what="confusion")
    with pytest.raises(UsageError, match="without the right answers"):
        write(run, to=tmp_path / "c.png", what="confusion", layers="unlabelled")
    with pytest.raises(NotFoundError, match="no predictions 'nothing'"):
        write(run, to=tmp_path / "c.png", what="confusion", layers="nothing")
    with pytest.raises(UsageError, match="nothing recorded at step 7"):
        write(run, to=tmp_path / "c.png", what="confusion", steps="7")
    with pytest.raises(UsageError, match="Use rows, columns or all"):
        run.confusions(normalise="truth")  # type: ignore[arg-type]


def test_a_thousand_classes_are_one_picture(tmp_path: Path) -> None:
    labels = np.arange(1000)
    with init("p", dir=tmp_path, strict=True, system=False, console=False) as run:
        run.log_predictions(None, labels, np.eye(1000, dtype=np.float32)[::-1].copy(), step=0)
    assert run.path is not None
    RunReader.open(run.path).confusions().save(tmp_path / "c.png")
    RunReader.open(run.path).confusions().save(tmp_path / "c.svg")
    assert (tmp_path / "c.svg").stat().st_size < 300_000
    with Image.open(tmp_path / "c.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    reds = (pixels[..., 0] - pixels[..., 1] > 60).sum()
    assert reds == 1000, "each example is one wrong cell of a pixel"
