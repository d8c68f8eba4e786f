"""Sounds, films, texts, figures and things in space: read back by other programs than ours."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from safetensors.numpy import load as load_tensors

from epochal.errors import UsageError
from epochal.record.media import Audio, Encoded, Figure, Html, Image, Object3D, PointCloud, Text, Value, Video, Voxels

RNG = np.random.default_rng(1)


def samples_of(encoded: Encoded) -> tuple[int, npt.NDArray[np.int16]]:
    with wave.open(io.BytesIO(encoded.data)) as file:
        assert file.getsampwidth() == 2
        found = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        return file.getframerate(), found


def test_sounds_become_wav() -> None:
    tone = np.sin(np.arange(8000) * 2 * np.pi * 440 / 8000)
    encoded = Audio(tone, 8000, caption="a").encode()
    rate, found = samples_of(encoded)
    assert rate == 8000
    assert found[:, 0].tolist() == np.rint(tone * 32767).astype(int).tolist()
    assert encoded.meta == {"sample_rate": 8000, "channels": 1, "frames": 8000, "seconds": 1.0}
    stereo = RNG.integers(-32768, 32768, (100, 2), np.int16)
    rate, found = samples_of(Audio(stereo).encode())
    assert rate == 44100
    assert found.tolist() == stereo.tolist()


def test_scipy_hears_the_same() -> None:
    scipy_io = pytest.importorskip("scipy.io.wavfile", reason="needs SciPy")
    data = RNG.integers(-32768, 32768, (500, 2), np.int16)
    rate, found = scipy_io.read(io.BytesIO(Audio(data, 22050).encode().data))
    assert (rate, found.tolist()) == (22050, data.tolist())


def test_samples_outside_are_clamped_and_counted() -> None:
    encoded = Audio(np.array([0.0, 1.0, -1.0, 1.5, -np.inf, np.nan]), 100).encode()
    assert samples_of(encoded)[1][:, 0].tolist() == [0, 32767, -32767, 32767, -32767, 0]
    assert encoded.altered == {"samples": 3}
    assert encoded.meta["clamped"] == 3
    assert "3 samples" in encoded.told


def test_sound_files_are_kept(tmp_path: Path) -> None:
    data = Audio(np.zeros(441), 44100).encode().data
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    for given in (path, str(path), data):
        encoded = Audio(given).encode()
        assert (encoded.data, encoded.extension) == (data, "wav")
        assert encoded.meta == {"sample_rate": 44100, "channels": 1, "frames": 441, "seconds": 0.01}
    for head, extension in (
        (b"ID3\x04", "mp3"),
        (b"\xff\xfb\x90", "mp3"),
        (b"OggS", "ogg"),
        (b"fLaC", "flac"),
        (b"\0\0\0\x20ftypM4A ", "m4a"),
    ):
        assert Audio(head + bytes(20)).encode().extension == extension


@pytest.mark.parametrize(
    ("data", "rate", "message"),
    [
        (np.zeros((2, 44100)), 44100, r"44,100 channels(.|\n)*samples.T"),
        (np.zeros((44100, 9)), 44100, "at most 8"),
        (np.zeros((2, 2, 2)), 44100, r"\[T\] or \[T, channels\]"),
        (np.zeros(0), 44100, "this array has"),
        (np.zeros(5, np.int32), 44100, "does not say what is loudest"),
        (np.zeros(5), 0, "sample_rate"),
        (np.zeros(5), 1.5, "sample_rate"),
        (np.zeros(5), "fast", "sample_rate"),
        (np.zeros(5), None, "sample_rate"),
        (np.zeros(5), float("nan"), "sample_rate"),
        (b"hello", 44100, "these 5 bytes are no sound"),
        ("none.wav", 44100, "cannot be read"),
        ([["a"]], 44100, "a sound"),
    ],
)
def test_what_is_no_sound_is_refused(data: Any, rate: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Audio(data, rate)


def frames_of(data: bytes) -> tuple[npt.NDArray[np.uint8], float]:
    av = pytest.importorskip("av", reason="needs PyAV")
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), float(stream.average_rate)


def moving(t: int = 6, height: int = 32, width: int = 48) -> npt.NDArray[np.uint8]:
    """A bright block that wanders over a dark ground, [T, H, W, 3]."""
    film = np.full((t, height, width, 3), 40, np.uint8)
    for i in range(t):
        film[i, 8:24, 4 * i : 4 * i + 16] = (220, 120, 60)
    return film


def test_films_become_mp4() -> None:
    pytest.importorskip("av", reason="needs PyAV")
    film = moving()
    encoded = Video(film.transpose(0, 3, 1, 2), fps=5).encode()
    assert encoded.extension == "mp4"
    assert encoded.meta == {"width": 48, "height": 32, "frames": 6, "fps": 5.0}
    found, rate = frames_of(encoded.data)
    assert found.shape == film.shape
    assert rate == 5
    assert np.abs(found.astype(int) - film).mean() < 4
    assert encoded.data[4:8] == b"ftyp"
    assert encoded.data.index(b"moov") < encoded.data.index(b"mdat"), "the index lies in front"
    for other in (Video(film, 5, dataformat="THWC"), Video(film / 255, 5, dataformat="thwc")):
        assert np.abs(frames_of(other.encode().data)[0].astype(int) - found).max() <= 8
    grey, _ = frames_of(Video(film[..., 0], dataformat="THW").encode().data)
    assert np.abs(grey.astype(int) - film[..., :1]).mean() < 4


def test_odd_sides_are_filled_and_batches_are_laid_out() -> None:
    pytest.importorskip("av", reason="needs PyAV")
    encoded = Video(moving(height=31, width=47), dataformat="THWC").encode()
    assert (encoded.meta["width"], encoded.meta["height"]) == (47, 31)
    assert frames_of(encoded.data)[0].shape[1:3] == (32, 48)
    batch = np.stack([np.full((3, 3, 16, 16), level, np.uint8) for level in (50, 100, 150)])
    found, _ = frames_of(Video(batch).encode().data)
    assert found.shape == (3, 32, 32, 3)
    middle = found[1].astype(int)
    for y, x, level in ((8, 8, 50), (8, 24, 100), (24, 8, 150), (24, 24, 0)):
        assert abs(middle[y, x, 0] - level) <= 6
    assert Video(batch, dataformat="NTCHW").encode().meta["width"] == 32


def test_without_pyav_films_become_gif(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "av" else real(name, *a))
    grey = (moving()[..., :1] // 4 * 4).astype(np.uint8)
    encoded = Video(grey, fps=10, dataformat="THWC").encode()
    assert encoded.extension == "gif"
    with PIL.Image.open(io.BytesIO(encoded.data)) as picture:
        assert getattr(picture, "n_frames", 1) == 6
        assert picture.info["duration"] == 100
        for i in range(6):
            picture.seek(i)
            assert np.asarray(picture.convert("L")).tolist() == grey[i, ..., 0].tolist()


def test_values_of_a_film_outside_are_counted() -> None:
    encoded = Video(np.full((2, 1, 16, 16), 1.5)).encode()
    assert encoded.altered == {"pixels": 512}
    assert encoded.meta["clamped"] == 512


def test_film_files_are_kept(tmp_path: Path) -> None:
    for head, extension in (
        (b"\0\0\0\x20ftypisom", "mp4"),
        (b"\0\0\0\x14ftypqt  ", "mov"),
        (b"\x1a\x45\xdf\xa3", "webm"),
        (b"GIF89a", "gif"),
    ):
        path = tmp_path / "film"
        path.write_bytes(head + bytes(30))
        encoded = Video(path).encode()
        assert (encoded.extension, encoded.data) == (extension, head + bytes(30))


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.zeros((4, 16, 16, 3), np.uint8), {}, r"16 channels as TCHW(.|\n)*dataformat='THWC'"),
        (np.zeros((4, 16, 16, 5), np.uint8), {}, "give 1, 3 or 4"),
        (np.zeros((16, 16), np.uint8), {}, "does not fit"),
        (np.zeros((4, 3, 16, 16), np.uint8), {"dataformat": "XY"}, "use one of"),
        (np.zeros((4, 3, 16, 16), np.uint8), {"dataformat": "NTCHW"}, "does not fit"),
        (np.zeros((0, 3, 16, 16), np.uint8), {}, "no pixels"),
        (np.zeros((4, 3, 16, 16), np.int64), {}, "range="),
        (np.zeros((4, 3, 16, 16), np.uint8), {"fps": 0}, "fps is 0"),
        (np.zeros((1, 1, 9000, 1), np.uint8), {}, "too large"),
        (b"hello", {}, "no film"),
    ],
)
def test_what_is_no_film_is_refused(data: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Video(data, **options)


def test_texts_and_pages(tmp_path: Path) -> None:
    encoded = Text("**b** ü\ud800", caption="c").encode()
    assert (encoded.data, encoded.extension) == ("**b** ü".encode() + b"\\ud800", "md")
    assert encoded.meta == {"markdown": True, "characters": 8}
    assert Text(5, markdown=False).encode().extension == "txt"
    path = tmp_path / "page.html"
    path.write_text("<b>ü</b>", encoding="utf-8")
    for given in ("<b>ü</b>", path, str(path), io.StringIO("<b>ü</b>"), "<b>ü</b>".encode()):
        encoded = Html(given).encode()
        assert (encoded.data.decode(), encoded.extension) == ("<b>ü</b>", "html")
    assert Html("just words.html <br>").html == "just words.html <br>"
    for wrong in (5, None, "none.html"):
        with pytest.raises(UsageError, match="a page cannot be"):
            Html(wrong)
    with pytest.raises(UsageError, match="too long"):
        Text("x" * 16_000_001)


def test_matplotlib_figures_are_drawn_at_once() -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="needs matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(3, 2), dpi=50)
    axes.plot([1, 2, 3])
    value = Figure(figure, caption="c")
    from_axes = Figure(axes)
    from_pyplot = Figure(pyplot)
    axes.plot([3, 2, 1])
    changed = Figure(figure).encode()
    pyplot.close(figure)
    encoded = value.encode()
    assert PIL.Image.open(io.BytesIO(encoded.data)).size == (150, 100)
    (svg,) = encoded.blobs
    assert encoded.meta == {"library": "matplotlib", "svg": svg.name, "width": 150, "height": 100}
    assert svg.data.startswith(b"<?xml")
    assert encoded.data == from_axes.encode().data == from_pyplot.encode().data
    assert encoded.data != changed.data


def test_plotly_figures_keep_their_json() -> None:
    plotly = pytest.importorskip("plotly.graph_objects", reason="needs plotly")
    figure = plotly.Figure(plotly.Scatter(x=[1, 2, 3], y=[3, 1, 2]))
    value = Figure(figure)
    figure.add_scatter(x=[9], y=[9])
    encoded = value.encode()
    document = json.loads(encoded.blobs[0].data if encoded.blobs else encoded.data)
    assert document["data"] == [{"x": [1, 2, 3], "y": [3, 1, 2], "type": "scatter"}]
    assert encoded.meta["library"] == "plotly"
    name = str(encoded.meta["plotly"])
    assert name.endswith(".json")
    assert encoded.extension in ("json", "png")


def test_what_is_no_figure_is_refused() -> None:
    for wrong in (5, "x", object(), np.zeros((3, 3))):
        with pytest.raises(UsageError, match="a figure cannot be made"):
            Figure(wrong)


def test_voxels_points_and_objects_are_safetensors() -> None:
    block = RNG.random((3, 4, 5))
    block[0, 0, 0] = np.nan
    encoded = Voxels(block, threshold=0.5).encode()
    found = load_tensors(encoded.data)["voxels"]
    np.testing.assert_array_equal(found, block.astype(np.float32))
    assert encoded.meta["shape"] == [3, 4, 5]
    assert encoded.meta["nonfinite"] == 1
    assert encoded.meta["threshold"] == 0.5
    assert encoded.meta["high"] == float(np.nanmax(block.astype(np.float32)))
    assert load_tensors(Voxels(block > 0.5).encode().data)["voxels"].dtype == np.bool_
    assert load_tensors(Voxels(np.zeros((2, 2, 2, 3), np.uint8)).encode().data)["voxels"].shape == (2, 2, 2, 3)

    xyz = RNG.normal(size=(6, 3))
    encoded = PointCloud(xyz, colors=np.eye(6)[:, :3], labels=["b", "a", "b", "a", "c", "b"]).encode()
    found = load_tensors(encoded.data)
    np.testing.assert_array_equal(found["points"], xyz.astype(np.float32))
    assert found["colors"].dtype == np.uint8
    assert found["colors"][0].tolist() == [255, 0, 0]
    assert found["labels"].tolist() == [1, 0, 1, 0, 2, 1]
    assert encoded.meta["classes"] == ["a", "b", "c"]
    assert encoded.meta["low"] == xyz.astype(np.float32).min(axis=0).tolist()

    encoded = Object3D(np.eye(3), [[0, 1, 2]], colors=np.full((3, 4), 9)).encode()
    found = load_tensors(encoded.data)
    assert found["faces"].tolist() == [[0, 1, 2]]
    assert found["colors"].tolist() == [[9] * 4] * 3
    assert (encoded.meta["vertices"], encoded.meta["faces"]) == (3, 1)


def test_files_of_objects_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "thing.OBJ"
    path.write_text("v 0 0 0\n")
    encoded = Object3D(path).encode()
    assert (encoded.data, encoded.extension) == (b"v 0 0 0\n", "obj")
    (tmp_path / "thing.exe").write_text("x")
    with pytest.raises(UsageError, match="no file of an object"):
        Object3D(tmp_path / "thing.exe")
    path.write_text("")
    with pytest.raises(UsageError, match="is empty"):
        Object3D(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Voxels(np.zeros((3, 3))), "voxels have the shape"),
        (lambda: Voxels(np.zeros((3, 3, 3, 2))), "voxels have the shape"),
        (lambda: Voxels(np.zeros((3, 3, 3)), threshold=float("nan")), "threshold"),
        (lambda: PointCloud(np.zeros((3, 2))), r"\[N, 3\]"),
        (lambda: PointCloud(np.zeros((3, 3)), colors=np.zeros((2, 3))), r"colors have the shape \[3, 3\]"),
        (lambda: PointCloud(np.zeros((3, 3)), colors=np.full((3, 3), 2.0)), "out of range"),
        (lambda: PointCloud(np.zeros((3, 3)), labels=[1, 2]), "expected one for each of 3"),
        (lambda: PointCloud(np.zeros((3, 3)), labels=[0.5, 1, 2]), "not whole"),
        (lambda: Object3D(np.zeros((3, 3)), [[0, 1, 3]]), "there are 3"),
        (lambda: Object3D(np.zeros((3, 3)), [[0.5, 1, 2]]), "whole numbers"),
        (lambda: Object3D(np.zeros((3, 2))), "vertices have the shape"),
    ],
)
def test_things_in_space_that_do_not_fit_are_refused(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_every_value_says_what_it_is_and_holds() -> None:
    values: list[Value] = [
        Image(np.zeros((4, 5), np.uint8)),
        Audio(np.zeros(10)),
        Video(np.zeros((2, 1, 16, 16), np.uint8)),
        Text("x"),
        Html("<b>"),
        Voxels(np.zeros((2, 2, 2))),
        PointCloud(np.zeros((2, 3))),
        Object3D(np.zeros((2, 3))),
    ]
    assert [v.kind for v in values] == ["image", "audio", "video", "text", "html", "voxels", "points", "object3d"]
    for value in values:
        assert value.nbytes > 0
        assert repr(value).startswith("<epochal.")
