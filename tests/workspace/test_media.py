"""Values read back: as items, as bytes, as films, as predictions and embeddings."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import epochal
from epochal.errors import DamagedError, NotFoundError, UsageError
from epochal.record import init
from epochal.workspace import RunReader

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (4, 6, 7), np.uint8)
COLOUR = RNG.integers(0, 256, (4, 5, 6, 7, 3), np.uint8)
BLOCK = RNG.random((4, 2, 3, 4)).astype(np.float32)
INPUTS = RNG.integers(0, 256, (6, 8, 8), np.uint8)
PROBABILITIES = RNG.dirichlet(np.ones(3), (4, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> RunReader:
    with init("p", dir=tmp_path_factory.mktemp("runs"), strict=True, system=False, console=False) as run:
        for i, step in enumerate((0, 10, 20, 30)):
            run.log(
                {
                    "loss": 1.0,
                    "grey": epochal.Image(GREY[i]),
                    "samples": epochal.Image.batch(COLOUR[i], dataformat="NHWC"),
                    "block": epochal.Voxels(BLOCK[i]),
                    "numbers": epochal.Array(np.arange(6).reshape(2, 3) + i),
                    "words": epochal.Text(f"step {step}"),
                    "spread": epochal.Histogram(RNG.random(100)),
                    "sizes": epochal.Image(GREY[i, : 3 + i]),
                    "kinds": epochal.Image(GREY[i]) if i % 2 else epochal.Text("x"),
                    "mixed": epochal.Image(GREY[i] if i % 2 else np.repeat(GREY[i, ..., None], 3, axis=2)),
                },
                step=step,
                epoch=i,
            )
            run.log_predictions(INPUTS, [0, 1, 2, 0, 1, 2], PROBABILITIES[i], ["a", "b", "c"], ids=list("uvwxyz"))
            run.log_embedding(
                np.arange(12.0).reshape(6, 2) + i,
                list("aabbcc"),
                metadata={"n": [1, 2, 3, 4, 5, float("nan")], "w": list("uvwxyz")},
                images=INPUTS,
            )
        run.log({"twice": epochal.Image(GREY[0])}, step=40)
        run.log({"twice": epochal.Image(GREY[1])}, step=40)
        path = run.path
    assert path is not None
    return RunReader.open(path)


def test_items_and_their_bytes(reader: RunReader) -> None:
    series = reader.media_series()["grey"]
    assert (series.kinds, series.count, series.steps, series.first_step, series.last_step) == (("image",), 4, 4, 0, 30)
    items = reader.media("grey")
    assert [item.step for item in items] == [0, 10, 20, 30]
    assert [item.step for item in reader.media("grey", steps=[10, 30])] == [10, 30]
    assert [item.step for item in reader.media("grey", steps=20)] == [20]
    assert reader.media("grey", steps=5) == []
    for item, pixels in zip(items, GREY, strict=True):
        data = reader.blob(item)
        assert np.asarray(PIL.Image.open(io.BytesIO(data))).tobytes() == pixels.tobytes()
        assert reader.blob(item.sha256) == data
    assert reader.blob(reader.media("words")[1]) == b"step 10"
    with pytest.raises(NotFoundError, match="no values of 'gray'"):
        reader.media("gray")


def test_pictures_of_one_size_are_a_film(reader: RunReader) -> None:
    film = reader.film("grey")
    assert film.kind == "image"
    assert film.frames.dtype == np.uint8
    assert film.steps.tolist() == [0, 10, 20, 30]
    assert film.frames.tobytes() == GREY.tobytes()
    assert film.axes == ("row", "column")
    assert film.epochs is not None
    assert film.epochs.tolist() == [0, 1, 2, 3]
    assert film.diff().frames[0].tolist() == (GREY[1].astype(int) - GREY[0]).tolist()


def test_several_pictures_of_a_step_stand_beside_one_another(reader: RunReader) -> None:
    film = reader.film("samples")
    assert film.frames.shape == (4, 12, 21, 3)
    for i in range(4):
        for k in range(5):
            y, x = 6 * (k // 3), 7 * (k % 3)
            assert film.frames[i, y : y + 6, x : x + 7].tobytes() == COLOUR[i, k].tobytes()
        assert not film.frames[i, 6:, 14:].any()


def test_of_two_at_one_step_the_later_is_shown(reader: RunReader) -> None:
    film = reader.film("twice")
    assert film.frames.tobytes() == GREY[1].tobytes()


def test_grey_and_coloured_pictures_share_a_film(reader: RunReader) -> None:
    film = reader.film("mixed")
    assert film.frames.shape == (4, 6, 7, 4)
    assert (film.frames[..., 0] == GREY).all()
    assert (film.frames[..., 3] == 255).all()


def test_arrays_are_films(reader: RunReader) -> None:
    film = reader.film("block")
    assert film.axes == ("slice", "row", "column")
    assert film.frames.tobytes() == BLOCK.tobytes()
    assert reader.film("numbers").frames.dtype == np.int64
    assert reader.film("numbers")[20].tolist() == [[2, 3, 4], [5, 6, 7]]
    assert reader.film("predictions").frames.tobytes() == PROBABILITIES.tobytes()
    assert reader.film("predictions").axes == ("example", "class")
    assert reader.film("embedding").frames.shape == (4, 6, 2)
    assert reader.film("hist/spread").kind == "histogram"


def test_every_film_that_is_listed_is_one(reader: RunReader) -> None:
    names = reader.series()
    assert {"grey", "samples", "block", "numbers", "predictions", "hist/spread", "loss"} <= set(names)
    assert not {"words", "kinds", "spread"} & set(names)
    for name in names:
        if name != "sizes":
            assert len(reader.film(name)) > 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sizes", r"not of one size: 7×3 at step 0, 7×4 at step 10(.|\n)*reader.media"),
        ("words", "of kind text, which is no film"),
        ("kinds", "several kinds: image, text"),
    ],
)
def test_what_is_no_film_says_why(reader: RunReader, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        reader.film(name)


def test_names_that_are_nearly_right_are_told(reader: RunReader) -> None:
    with pytest.raises(NotFoundError, match="Did you mean: grey"):
        reader.film("grei")


def test_predictions(reader: RunReader) -> None:
    found = reader.predictions()
    assert (found.name, found.step, len(found)) == ("predictions", 30, 6)
    assert found.probabilities.tobytes() == PROBABILITIES[3].tobytes()
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert found.predicted.tolist() == PROBABILITIES[3].argmax(axis=1).tolist()
    assert found.class_names == ("a", "b", "c")
    assert found.ids == tuple("uvwxyz")
    assert found.inputs is not None
    assert found.inputs[..., 0].tobytes() == INPUTS.tobytes()
    assert found.range is None
    assert reader.predictions(10).probabilities.tobytes() == PROBABILITIES[1].tobytes()
    assert repr(found) == "PredictionSet('predictions', step 30, 6 examples, 3 classes)"
    with pytest.raises(NotFoundError, match=r"at step 11(.|\n)*Nearest: \[0, 10, 20, 30\]"):
        reader.predictions(11)
    with pytest.raises(NotFoundError, match=r"no predictions 'other'(.|\n)*It has: predictions"):
        reader.predictions(name="other")
    with pytest.raises(NotFoundError, match="a series of image"):
        reader.predictions(name="grey")


def test_predictions_that_are_not_finite_have_no_class() -> None:
    found = epochal.PredictionSet(name="p", step=0, probabilities=np.array([[np.nan, 1], [0.25, 0.75]], np.float32))
    assert found.predicted.tolist() == [-1, 1]


def test_embeddings(reader: RunReader) -> None:
    found = reader.embedding()
    assert (found.step, len(found)) == (30, 6)
    assert found.vectors.tolist() == (np.arange(12.0).reshape(6, 2) + 3).tolist()
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.class_names == ("a", "b", "c")
    assert found.metadata["w"] == list("uvwxyz")
    assert np.isnan(found.metadata["n"][5])
    assert found.images is not None
    assert found.images[..., 0].tobytes() == INPUTS.tobytes()
    assert reader.embedding(0).vectors[0].tolist() == [0, 1]
    with pytest.raises(NotFoundError, match="no embedding 'x'"):
        reader.embedding(name="x")


@pytest.mark.parametrize("suffix", ["png", "gif", "mp4", "svg", "npz", "csv"])
def test_films_of_pictures_are_saved(reader: RunReader, tmp_path: Path, suffix: str) -> None:
    if suffix == "mp4":
        pytest.importorskip("av", reason="needs PyAV")
    path = reader.film("samples").save(tmp_path / f"film.{suffix}")
    assert path.stat().st_size > 0
    if suffix == "png":
        with PIL.Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        # Every pixel of the last frame is a square of its own colour.
        frame = reader.film("samples").frames[-1]
        side = 280 // 21 + 1
        big = frame.repeat(side, axis=0).repeat(side, axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(pixels[..., 0], big.shape[:2])[52]
        at = int(np.flatnonzero([(w == big[..., 0]).all() for w in windows])[0])
        assert (pixels[52 : 52 + big.shape[0], at : at + big.shape[1]] == big).all()
    if suffix == "gif":
        with PIL.Image.open(path) as picture:
            assert getattr(picture, "n_frames", 1) == 4


def test_grey_pictures_keep_their_greys_in_a_gif(reader: RunReader, tmp_path: Path) -> None:
    path = reader.film("grey").save(tmp_path / "film.gif")
    with PIL.Image.open(path) as picture:
        picture.seek(2)
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    side = -(-280 // 7)
    shown = pixels[52 + side // 2 :: side, :, 0][:6]
    row = [int(v) for v in shown[0, 20 + side // 2 :: side][:7]]
    left = np.array(GREY[2, 0], int)
    assert np.abs(np.array(row) - left).max() <= 4


def test_a_film_with_a_damaged_picture_says_which(tmp_path: Path) -> None:
    with init("p", dir=tmp_path, strict=True, system=False, console=False) as run:
        for step in range(3):
            run.log({"x": epochal.Image(GREY[step]), "y": epochal.Array(GREY[step])}, step=step)
    assert run.path is not None
    reader = RunReader.open(run.path)
    for name in ("x", "y"):
        file = reader.stored.blob(reader.media(name)[1].sha256)
        file.write_bytes(file.read_bytes()[:-20])
        with pytest.raises(DamagedError, match="does not hold what it held"):
            reader.film(name)
        assert reader.blob(reader.media(name)[0])


def test_a_picture_too_large_to_show_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from epochal.errors import PictureError
    from epochal.picture import pixels

    with init("p", dir=tmp_path, strict=True, system=False, console=False) as run:
        run.log({"x": epochal.Image(GREY[0])}, step=0)
    assert run.path is not None
    monkeypatch.setattr(pixels, "MOST_PIXELS", 41)
    with pytest.raises(PictureError, match="7×6 pixels is too large"):
        RunReader.open(run.path).film("x")


def test_see_through_pictures_are_laid_over_the_ground(tmp_path: Path) -> None:
    film = epochal.Film("x", [0], np.array([[[[255, 0, 0, 0], [255, 0, 0, 255]]]], np.uint8), kind="image")
    path = film.save(tmp_path / "x.png")
    with PIL.Image.open(path) as picture:
        colours: Any = {c for _, c in picture.convert("RGB").getcolors(1 << 20) or ()}
    assert (255, 0, 0) in colours
