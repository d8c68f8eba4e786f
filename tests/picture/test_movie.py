from __future__ import annotations

import builtins
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from epochal.errors import MissingExtraError, PictureError, UsageError
from epochal.picture import DIVERGING, ColourScale, MatricesScene, Matrix, save, table, theme
from epochal.picture.movie import Quantiser, frame_times, palette_of

LIGHT = theme("light")


def make_scene(frames: int = 6, *, still: bool = False, size: tuple[int, int] | None = None) -> MatricesScene:
    rng = np.random.default_rng(1)
    values = rng.uniform(-1, 1, (frames, 3, 4))
    values[:, 0, 0], values[:, 0, 1], values[:, 0, 2] = 1, -1, 0
    if still:
        values[:] = values[0]
    scale = ColourScale.symmetric(1.0, cmap=DIVERGING, theme=LIGHT, label="weight")
    captions = ["step 5"] * frames if still else [f"step {i}" for i in range(frames)]
    matrices = [Matrix(title="fc", subtitle="4 → 3", values=values)]
    return MatricesScene(matrices, scale, LIGHT, "run & <title>", captions, wanted=size)


def cell_middles(scene: MatricesScene) -> list[tuple[int, int, int, int]]:
    """Row, column, and the pixel in the middle of each cell."""
    place = scene._layout[1][0]
    x, y = place.x + round(12 * scene.look.unit), place.y + round(46 * scene.look.unit)
    half = place.cell // 2 - 1
    return [(r, c, x + c * place.cell + half, y + r * place.cell + half) for r in range(3) for c in range(4)]


def expected(scene: MatricesScene, frame: int, row: int, column: int) -> Any:
    value = scene.matrices[0].values[frame][row, column]
    return table(DIVERGING)[round(float(value) * 127) + 128].astype(int)


def test_png_cells_have_exactly_the_colours_of_their_values(tmp_path: Path) -> None:
    scene = make_scene()
    pixels = np.asarray(Image.open(save(scene, tmp_path / "a.png"))).astype(int)
    for row, column, x, y in cell_middles(scene):
        np.testing.assert_array_equal(pixels[y, x], expected(scene, 5, row, column))


def test_png_of_several_frames_stacks_them(tmp_path: Path) -> None:
    scene = make_scene()
    image = Image.open(save(scene, tmp_path / "a.png", indices=[0, 3]))
    assert image.size == (scene.size[0], 2 * scene.size[1])
    pixels = np.asarray(image).astype(int)
    for row, column, x, y in cell_middles(scene):
        np.testing.assert_array_equal(pixels[y + scene.size[1], x], expected(scene, 3, row, column))


def test_gif_comes_back_with_its_frames_times_and_colours(tmp_path: Path) -> None:
    scene = make_scene()
    total = 0
    with Image.open(save(scene, tmp_path / "a.gif", fps=8)) as image:
        assert getattr(image, "n_frames", 1) == 6
        assert image.info["loop"] == 0
        for frame in range(6):
            image.seek(frame)
            total += image.info["duration"]
            pixels = np.asarray(image.convert("RGB")).astype(int)
            for row, column, x, y in cell_middles(scene):
                assert np.abs(pixels[y, x] - expected(scene, frame, row, column)).max() <= 4
    assert total == 750


def test_gif_of_equal_frames_is_one_frame_that_lasts(tmp_path: Path) -> None:
    with Image.open(save(make_scene(still=True), tmp_path / "a.gif", fps=10)) as image:
        assert getattr(image, "n_frames", 1) == 1
        assert image.info["duration"] == 600


def test_gif_that_stands_still_for_longer_than_the_format_can_say_is_written(tmp_path: Path) -> None:
    scene = make_scene(still=True)
    with Image.open(save(scene, tmp_path / "a.gif", fps=0.1, indices=[0] * 100)) as image:
        assert image.info["duration"] == 655_350


@pytest.mark.parametrize(("count", "fps"), [(7, 12.0), (100, 30.0), (3, 0.7), (5, 50.0)])
def test_gif_times_are_hundredths_that_add_up(count: int, fps: float) -> None:
    times = frame_times(count, fps)
    assert len(times) == count
    assert all(t % 10 == 0 and t >= 20 for t in times)
    assert abs(sum(times) - 1000 * count / fps) <= 5


@pytest.mark.parametrize("size", [None, (301, 203)])
def test_mp4_comes_back_with_its_frames_rate_and_colours(tmp_path: Path, size: tuple[int, int] | None) -> None:
    av = pytest.importorskip("av", reason="needs PyAV (epochal[video])")
    scene = make_scene(frames=12, size=size)
    path = save(scene, tmp_path / "a.mp4", fps=6)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [f.to_ndarray(format="rgb24").astype(int) for f in container.decode(stream)]
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate) == 6
        assert abs(float(stream.duration * stream.time_base) - 2) < 0.01
    assert len(frames) == 12
    assert all(side % 2 == 0 for side in frames[0].shape[:2])
    if size is None:
        for row, column, x, y in cell_middles(scene):
            assert np.abs(frames[7][y, x] - expected(scene, 7, row, column)).mean() <= 14
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_mp4_without_pyav_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.delitem(sys.modules, "av", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match="PyAV") as caught:
        save(make_scene(), tmp_path / "a.mp4")
    assert "pip install 'epochal[video]'" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_svg_is_well_formed_and_its_cells_have_the_colours(tmp_path: Path) -> None:
    scene = make_scene()
    root = ET.parse(save(scene, tmp_path / "a.svg")).getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{space}title").text == "run & <title>"  # type: ignore[union-attr]
    assert "run & <title>" in [t.text for t in root.iter(f"{space}text")]
    fills = {(r.get("x"), r.get("y")): r.get("fill") for r in root.iter(f"{space}rect")}
    place = scene._layout[1][0]
    for row, column, _, _ in cell_middles(scene):
        key = (str(place.x + 12 + column * place.cell), str(place.y + 46 + row * place.cell))
        assert fills[key] == "#{:02x}{:02x}{:02x}".format(*expected(scene, 5, row, column))


def test_palette_holds_the_inks_and_the_middle_of_the_map() -> None:
    palette = {tuple(c) for c in palette_of(LIGHT, table(DIVERGING)).tolist()}
    assert {LIGHT.ground, LIGHT.panel, LIGHT.ink, LIGHT.head} <= palette
    assert {tuple(table(DIVERGING)[i].tolist()) for i in (1, 128, 255)} <= palette


def test_quantiser_finds_the_nearest_colour() -> None:
    palette = palette_of(LIGHT, table(DIVERGING))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    found = np.asarray(Quantiser(palette)(Image.fromarray(pixels)))
    distance = ((pixels[:, :, None].astype(int) - palette[None, None].astype(int)) ** 2).sum(-1)
    chosen = np.take_along_axis(distance, found[..., None].astype(int), -1)[..., 0]
    np.testing.assert_array_equal(chosen, distance.min(-1))


def test_failing_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a.gif"
    target.write_text("old")
    scene = make_scene()
    broken = MatricesScene(scene.matrices, scene.scale, LIGHT, "t", [*scene.captions, "one too many"])
    with pytest.raises(IndexError):
        save(broken, target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("name", "options", "kind", "words"),
    [
        ("a.bmp", {}, UsageError, "'bmp'"),
        ("a", {}, UsageError, "without a suffix"),
        ("a.gif", {"fps": 0}, UsageError, "fps"),
        ("a.gif", {"fps": 0.001}, UsageError, "fps must lie between 0.1 and 240"),
        ("nowhere/a.gif", {}, UsageError, "no folder"),
        ("a.png", {"indices": [0] * 2000}, PictureError, "too much"),
    ],
)
def test_what_cannot_be_is_said(
    tmp_path: Path, name: str, options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        save(make_scene(), tmp_path / name, **options)


def test_a_film_of_200_frames_is_written_in_seconds(tmp_path: Path) -> None:
    import time

    scene = make_scene(frames=200, size=(800, 600))
    began = time.process_time()
    save(scene, tmp_path / "a.gif", fps=20)
    assert time.process_time() - began < 8  # 2.2 s where nothing else runs, target 4 s
