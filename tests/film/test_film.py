from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from epochal.errors import NotFoundError, PictureError, UsageError
from epochal.film import Film
from epochal.film.draw import parse_size
from epochal.picture import DIVERGING, table


def weights(frames: int = 4) -> Film:
    values = np.random.default_rng(0).normal(size=(frames, 3, 2)).astype(np.float32)
    return Film(
        "param/0.weight", np.arange(frames) * 10, values, axes=("unit", "input"), epochs=np.arange(frames, dtype=float)
    )


def test_a_frame_is_found_by_its_exact_step() -> None:
    film = weights()
    np.testing.assert_array_equal(film[20], film.frames[2])
    assert [step for step, _ in film] == [0, 10, 20, 30]
    with pytest.raises(NotFoundError, match="no frame at step 24") as caught:
        film[24]
    assert "nearest is step 20" in caught.value.hint
    with pytest.raises(LookupError):
        Film("x", np.empty(0, int), np.empty(0))[0]


def test_a_slice_is_a_film_of_those_steps() -> None:
    part = weights()[10:30]
    assert part.steps.tolist() == [10, 20]
    assert part.epochs is not None
    assert part.epochs.tolist() == [1, 2]
    assert weights()[:].steps.tolist() == [0, 10, 20, 30]
    assert weights()[::2].steps.tolist() == [0, 20]
    assert len(weights()[31:]) == 0


def test_diff_is_the_change_since_the_frame_before() -> None:
    film = weights()
    change = film.diff()
    assert change.steps.tolist() == [10, 20, 30]
    assert change.kind == "change"
    np.testing.assert_array_equal(change[20], film[20] - film[10])
    falling = Film("n", [0, 1], np.array([5, 3], np.uint32)).diff()
    assert falling[1] == -2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("x", [0, 0], [1, 2]), "must increase: 0 comes before 0"),
        (("x", [0, 5, 4], [1, 2, 3]), "5 comes before 4"),
        (("x", [0, 1], [1]), "2 steps and 1 frames"),
        (("x", [0.5], [1]), "whole numbers"),
        (("x", [[0]], [1]), "list of numbers"),
        (("x", [0], ["a"]), "not numbers"),
        (("x", [0], [[1, 2]], ("a", "b")), "2 names for 1 axes"),
    ],
)
def test_what_is_no_film_is_refused(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Film(*arguments)


def test_a_film_neither_changes_nor_is_changed() -> None:
    values = np.zeros((2, 3))
    film = Film("x", [0, 1], values)
    values[:] = 9
    assert film.frames.max() == 0
    with pytest.raises(ValueError, match="read-only"):
        film.frames[0] = 1
    with pytest.raises(AttributeError):
        film.name = "y"  # type: ignore[misc]


def test_npz_and_csv_give_every_value_back_exactly(tmp_path: Path) -> None:
    film = weights()
    with np.load(film.save(tmp_path / "a.npz")) as kept:
        np.testing.assert_array_equal(kept["frames"], film.frames)
        np.testing.assert_array_equal(kept["steps"], film.steps)
        assert str(kept["name"]) == film.name
    with film.save(tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == film.frames.size
    for row in rows:
        value = film[int(row["step"])][int(row["unit"]), int(row["input"])]
        assert np.float32(row["value"]) == value


def test_csv_of_a_scalar_has_a_row_a_step(tmp_path: Path) -> None:
    path = Film("loss", [0, 3], [0.1 + 0.2, np.nan]).save(tmp_path / "a.csv")
    assert path.read_text() == "step,value\n0,0.30000000000000004\n3,nan\n"


@pytest.mark.parametrize(
    "shape", [(), (1,), (7,), (600,), (3, 2), (1, 1), (4, 3, 5), (4, 3, 5, 5), (2, 2, 2, 3, 3), (300, 400)]
)
@pytest.mark.parametrize("suffix", ["png", "svg", "gif"])
def test_every_shape_has_a_picture(tmp_path: Path, shape: tuple[int, ...], suffix: str) -> None:
    frames = np.random.default_rng(0).normal(size=(3, *shape))
    frames.reshape(3, -1)[1, 0] = np.nan
    path = Film("x", [0, 1, 2], frames).save(tmp_path / f"a.{suffix}")
    assert path.stat().st_size > 400
    if suffix != "svg":
        with Image.open(path) as image:
            assert image.width > 200


def test_one_scale_holds_for_the_whole_film(tmp_path: Path) -> None:
    frames = np.zeros((2, 2, 2))
    frames[0, 0, 0], frames[1, 1, 1] = 4.0, 1.0
    film = Film("w", [0, 1], frames)
    with Image.open(film.save(tmp_path / "a.png")) as image:
        colours = {tuple(c) for c in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}
    # A quarter of the limit, which the first frame alone reaches.
    assert tuple(table(DIVERGING)[round(127 / 4) + 128].tolist()) in colours


def test_a_histogram_is_drawn_and_has_no_difference(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 9, (3, 64)).astype(np.uint32)
    film = Film("hist/w", [0, 1, 2], counts, kind="histogram", edges=np.array([[-1.0, 1.0]] * 3))
    for suffix in ("png", "gif", "svg"):
        film.save(tmp_path / f"a.{suffix}")
    with pytest.raises(UsageError):
        film.diff()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.jpg", {}, "'jpg'"),
        ("a", {}, "without a suffix"),
        ("a.png", {"cmap": "jet"}, "no colour map"),
        ("a.png", {"size": "big"}, "size 'big'"),
        ("a.png", {"size": (5, 5)}, "out of range"),
        ("a.gif", {"fps": -1}, "fps"),
        ("a.png", {"theme": "pink"}, "no theme"),
    ],
)
def test_wrong_wishes_are_named(tmp_path: Path, name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        weights().save(tmp_path / name, **options)


def test_an_empty_film_cannot_be_drawn_but_shows_itself(tmp_path: Path) -> None:
    film = Film("x", np.empty(0, int), np.empty((0, 2, 2)))
    with pytest.raises(PictureError, match="empty"):
        film.save(tmp_path / "a.png")
    assert "empty" in film._repr_html_()


def test_sizes_are_kept(tmp_path: Path) -> None:
    with Image.open(weights().save(tmp_path / "a.png", size="640x360")) as image:
        assert image.size == (640, 360)
    assert parse_size(" 800x600") == (800, 600)
    assert parse_size("800×600") == (800, 600)
    for wrong in ("x", 800, (800,), (800, 600, 3), (800.5, 600), ("800", "600")):
        with pytest.raises(UsageError, match="cannot be read"):
            parse_size(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_largest_numbers_are_drawn(suffix: str, tmp_path: Path) -> None:
    most = np.finfo(np.float64).max
    film = Film("loss", [0, 1, 2], [-most, 0.0, most])
    assert film.save(tmp_path / f"a.{suffix}").stat().st_size > 0


def test_html_holds_a_picture_and_escapes_the_name() -> None:
    film = Film('<script>"x"</script>', [0, 1], np.zeros((2, 2, 2)))
    text = film._repr_html_()
    assert "<script>" not in text
    assert "data:image/png;base64," in text
    assert repr(weights()) == "Film('param/0.weight', 4 frames of 3×2, steps 0 to 30)"
