"""Series exported by name: the bytes of a value where the suffix is theirs, else its film."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

import epochal
from epochal.errors import DamagedError, UsageError
from epochal.export import write
from epochal.record import init
from epochal.store import StoredRun

RNG = np.random.default_rng(6)
PIXELS = RNG.integers(0, 256, (3, 6, 7), np.uint8)
SAMPLES = RNG.integers(0, 256, (3, 4, 5, 6, 3), np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    with init("p", dir=tmp_path_factory.mktemp("runs"), strict=True, system=False, console=False) as recording:
        for step in range(3):
            recording.log(
                {
                    "loss": 1.0 / (step + 1),
                    "image": epochal.Image(PIXELS[step]),
                    "samples": epochal.Image.batch(SAMPLES[step], dataformat="NHWC"),
                    "voice": epochal.Audio(np.sin(np.arange(100) / (step + 1)), 8000),
                    "voices": [epochal.Audio(np.zeros(10), 100), epochal.Audio(np.ones(10), 100)],
                    "words": epochal.Text(f"step {step}"),
                    "weights/odd name": epochal.Array(np.eye(2) * step),
                    "spread": epochal.Histogram(RNG.random(50)),
                },
                step=step * 10,
            )
    assert recording.path is not None
    return StoredRun(recording.path)


def test_a_picture_is_its_own_bytes(run: StoredRun, tmp_path: Path) -> None:
    written = write(run, to=tmp_path / "a.png", what="image")
    assert (written.what, written.format, written.frames) == ("image", "png", 1)
    assert (tmp_path / "a.png").read_bytes() == run.blob_bytes(run.media("image")[-1].sha256)
    write(run, to=tmp_path / "b.png", what="image", steps="10")
    with PIL.Image.open(tmp_path / "b.png") as picture:
        assert np.asarray(picture).tobytes() == PIXELS[1].tobytes()


def test_how_a_picture_looks_may_be_asked_for(run: StoredRun, tmp_path: Path) -> None:
    write(run, to=tmp_path / "a.png", what="image", size="400x300")
    with PIL.Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (400, 300)


def test_pictures_are_a_film(run: StoredRun, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    written = write(run, to=tmp_path / "a.gif", what="image", fps=5, progress=lambda *at: seen.append(at))
    assert written.frames == 3
    assert seen == [(1, 3), (2, 3), (3, 3)]
    with PIL.Image.open(tmp_path / "a.gif") as film:
        assert getattr(film, "n_frames", 1) == 3
        assert film.info["duration"] == 200
    assert write(run, to=tmp_path / "b.gif", what="image", steps="0:10").frames == 2
    pytest.importorskip("av", reason="needs PyAV")
    assert write(run, to=tmp_path / "a.mp4", what="samples").bytes > 500


def test_several_pictures_of_a_step_are_drawn_together(run: StoredRun, tmp_path: Path) -> None:
    write(run, to=tmp_path / "a.png", what="samples", steps="20")
    with PIL.Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 200
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    expected = {tuple(c) for c in SAMPLES[2].reshape(-1, 3).tolist()}
    assert expected <= {tuple(c) for c in pixels.tolist()}


def test_sounds_and_texts_are_their_bytes(run: StoredRun, tmp_path: Path) -> None:
    write(run, to=tmp_path / "a.wav", what="voice", steps="first")
    with wave.open(io.BytesIO((tmp_path / "a.wav").read_bytes())) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 100)
        expected = np.rint(np.sin(np.arange(100)) * 32767).astype("<i2").tobytes()
        assert file.readframes(100) == expected
    write(run, to=tmp_path / "a.md", what="words")
    assert (tmp_path / "a.md").read_text() == "step 2"
    written = write(run, to=tmp_path / "b.wav", what="voices")
    assert "2 values were logged at step 20: the first one" in written.notices[0].message


def test_films_of_any_series_have_names_too(run: StoredRun, tmp_path: Path) -> None:
    for name in ("loss", "weights/odd name", "hist/spread"):
        assert write(run, to=tmp_path / "a.svg", what=name).bytes > 200
    write(run, to=tmp_path / "a.npz", what="weights/odd name")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["frames"], [np.eye(2) * i for i in range(3)])
    write(run, to=tmp_path / "a.csv", what="loss")
    assert pd.read_csv(tmp_path / "a.csv")["value"].tolist() == [1.0, 1 / 2, 1 / 3]


def test_logged_histograms_are_exported_with_the_others(run: StoredRun, tmp_path: Path) -> None:
    write(run, to=tmp_path / "a.csv", what="histogram")
    table = pd.read_csv(tmp_path / "a.csv")
    assert set(table["tensor"]) == {"spread"}
    assert table["count"].sum() == 150
    assert write(run, to=tmp_path / "a.png", what="histogram", layers="spread").bytes > 1000


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("imag", "a.png", r"no 'imag' to export(.|\n)*Did you mean image"),
        ("weigths", "a.png", r"no 'weigths' to export(.|\n)*weights"),
        ("voice", "a.gif", r"'voice' cannot be written as 'gif'(.|\n)*Use one of: wav"),
        ("voice", "a", r"cannot be written to 'a'(.|\n)*Use one of: wav"),
        ("image", "a.wav", r"Use one of: png, gif, mp4"),
        ("loss", "a.wav", r"'loss' cannot be written as 'wav'"),
    ],
)
def test_what_cannot_be_says_what_can(run: StoredRun, tmp_path: Path, name: str, file: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write(run, to=tmp_path / file, what=name)
    assert list(tmp_path.iterdir()) == []


def test_a_step_without_a_value_is_refused(run: StoredRun, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing recorded at step 5(.|\n)*Nearest: 0, 10, 20"):
        write(run, to=tmp_path / "a.png", what="image", steps="5")


def test_a_damaged_file_leaves_nothing_behind(tmp_path: Path) -> None:
    with init("p", dir=tmp_path / "runs", strict=True, system=False, console=False) as recording:
        recording.log({"image": epochal.Image(PIXELS[0])}, step=0)
    assert recording.path is not None
    run = StoredRun(recording.path)
    run.blob(run.media("image")[0].sha256).write_bytes(b"else")
    with pytest.raises(DamagedError):
        write(run, to=tmp_path / "a.png", what="image")
    assert not (tmp_path / "a.png").exists()


def test_a_block_of_voxels_turns(tmp_path: Path) -> None:
    block = np.zeros((4, 5, 6), np.float32)
    block[1, 2, 3], block[2, 2, 4] = 1, 0.6
    with init("p", dir=tmp_path, strict=True, system=False, console=False) as recording:
        for step in range(2):
            recording.log({"block": epochal.Voxels(block * (step + 1), threshold=0.7)}, step=step)
    assert recording.path is not None
    stored = StoredRun(recording.path)
    written = write(stored, to=tmp_path / "turn.gif", what="block", steps="0", size="240x180")
    with PIL.Image.open(tmp_path / "turn.gif") as film:
        assert getattr(film, "n_frames", 1) == written.frames == 48
    assert write(stored, to=tmp_path / "time.gif", what="block", size="240x180").frames == 2
    # Of the one recorded as solid above 0.7, one voxel is drawn at step 0 and both at step 1.
    write(stored, to=tmp_path / "still.png", what="block", steps="0,1", size="480x360")
    with PIL.Image.open(tmp_path / "still.png") as picture:
        cubes = np.asarray(picture).reshape(2, 360, 480, 3)[:, 60:300, 20:300].astype(int)
    first, second = ((np.ptp(one, axis=-1) > 40).sum() for one in cubes)
    assert second > 1.5 * first > 100
