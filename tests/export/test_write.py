"""Pictures and films of a recorded run, decoded again and held against what was recorded."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from epochal import export
from epochal.errors import NotFoundError, UsageError
from epochal.picture import DIVERGING, table
from epochal.record import init
from epochal.store import RunWriter, StoredRun
from tests.workspace.recording import Recorded

SVG = "{http://www.w3.org/2000/svg}"


def run_of(made: Recorded) -> StoredRun:
    return StoredRun(made.writer.path)


def limit(made: Recorded, steps: list[int]) -> float:
    return max(float(np.abs(t).max()) for s in steps for t in made.params[s].values())


def colour(value: float, of: float) -> tuple[int, ...]:
    return tuple(int(c) for c in table(DIVERGING)[round(value / of * 127) + 128])


def texts(path: Path) -> list[str]:
    return [t.text or "" for t in ET.parse(path).getroot().iter(f"{SVG}text")]


def test_a_svg_of_weights_has_every_value_as_a_cell_of_its_colour(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "w.svg"
    written = export.write(run_of(recorded), to=path, what="weights")
    assert (written.what, written.format, written.frames) == ("weights", "svg", 1)
    assert written.bytes == path.stat().st_size
    last = recorded.params[40]
    of = limit(recorded, [40])
    cells: dict[str, int] = {}
    for rect in ET.parse(path).getroot().iter(f"{SVG}rect"):
        if rect.get("width") == rect.get("height") == "23":
            cells[str(rect.get("fill"))] = cells.get(str(rect.get("fill")), 0) + 1
    expected: dict[str, int] = {}
    for tensor in last.values():
        for value in tensor.ravel():
            key = "#{:02x}{:02x}{:02x}".format(*colour(float(value), of))
            expected[key] = expected.get(key, 0) + 1
    assert cells == expected
    said = texts(path)
    assert {"iris-12 · weights", "epoch 4 · step 40", "0", "2", "4 → 12 · relu", "12 → 3"} <= set(said)
    assert any(re.fullmatch(r"\+\d\.\d+", word) for word in said)


def test_a_gif_of_weights_plays_every_step_on_one_scale(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "w.gif"
    written = export.write(run_of(recorded), to=path, fps=10)
    assert (written.what, written.frames) == ("weights", 5)
    of = limit(recorded, list(recorded.params))
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 5
        durations = []
        for frame, step in enumerate(recorded.params):
            image.seek(frame)
            durations.append(image.info["duration"])
            pixels = np.asarray(image.convert("RGB")).astype(int)
            # The first weight of the first layer: left upper corner of the first card.
            expected = colour(float(recorded.params[step]["0.weight"][0, 0]), of)
            assert np.abs(pixels[52 + 46 + 11, 20 + 12 + 11] - expected).max() <= 6
    assert durations == [100] * 5


def test_steps_layers_size_and_theme_are_obeyed(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "w.png"
    written = export.write(run_of(recorded), to=path, steps="0:20:20", layers="2", size="640x300", theme="dark")
    assert written.frames == 2
    with Image.open(path) as image:
        assert image.size == (640, 600)
        assert image.getpixel((2, 2)) == (18, 19, 21)
    svg = tmp_path / "w.svg"
    export.write(run_of(recorded), to=svg, steps=[10], layers=["2"])
    said = texts(svg)
    assert "epoch 1 · step 10" in said
    assert "4 → 12 · relu" not in said


def test_biases_show_where_they_have_been(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "b.svg"
    export.write(run_of(recorded), to=path, what="biases")
    root = ET.parse(path).getroot()
    grey = [p for p in root.iter(f"{SVG}path") if p.get("stroke") == "#dedbd5"]
    assert [str(p.get("d")).count("M") for p in grey] == [4, 4]
    assert "grey: where they have been" in texts(path)
    assert export.write(run_of(recorded), to=tmp_path / "b.gif", what="biases").frames == 5


@pytest.mark.parametrize("what", ["weights", "biases", "histogram", "scalars", "gradients"])
@pytest.mark.parametrize("suffix", ["png", "svg", "gif", "mp4"])
def test_everything_can_be_drawn(recorded: Recorded, tmp_path: Path, what: str, suffix: str) -> None:
    if suffix == "mp4":
        pytest.importorskip("av", reason="needs PyAV (epochal[video])")
    path = tmp_path / f"a.{suffix}"
    seen: list[tuple[int, int]] = []
    written = export.write(
        run_of(recorded), to=path, what=what, progress=lambda done, total: seen.append((done, total))
    )
    assert path.stat().st_size > 1000
    if suffix in ("gif", "mp4"):
        assert written.frames == 5
        assert seen[-1] == (5, 5)


def test_scalars_are_grouped_by_what_they_measure_and_count_their_gaps(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "s.svg"
    written = export.write(run_of(recorded), to=path, what="scalars")
    said = texts(path)
    assert {"loss", "val_loss", "accuracy", "2 not finite (gaps)"} <= set(said)
    assert said.count("loss") == 2  # the chart, and its line
    assert [n.code for n in written.notices] == ["not_finite"]
    assert written.notices[0].count == 2


def test_values_that_are_not_finite_are_seen_and_told(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path / "runs", project="p")
    weights = np.array([[1.0, np.nan], [np.inf, -2.0]], np.float32)
    writer.add_snapshot("params", {"w": weights}, step=0)
    writer.finish()
    path = tmp_path / "w.svg"
    written = export.write(StoredRun(writer.path), to=path)
    assert written.notices[0].count == 2
    cells = [r for r in ET.parse(path).getroot().iter(f"{SVG}rect") if r.get("width") == "23"]
    fills = [cell.get("fill") for cell in cells]
    assert len(fills) == 4
    assert fills.count("#e2aa00") == 2
    assert fills.count("#{:02x}{:02x}{:02x}".format(*colour(-2.0, 2.0))) == 1


def test_kernels_lists_and_odd_shapes_become_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "conv.weight": (8, 3, 5, 5),
        "conv.bias": (8,),
        "norm.weight": (8,),
        "norm.running_mean": (8,),
        "scale": (),
        "empty": (0, 3),
        "embedding": (300, 700),
    }
    writer = RunWriter.create(tmp_path / "runs", project="p")
    for step in (0, 1):
        tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        writer.add_snapshot("params", tensors, step=step)
    writer.finish()
    path = tmp_path / "w.svg"
    export.write(StoredRun(writer.path), to=path, size="900x700")
    said = texts(path)
    assert {"conv", "3 → 8 · 5×5"} <= set(said)
    assert not any("running_mean" in word for word in said)
    export.write(StoredRun(writer.path), to=tmp_path / "w.gif", size="900x700")


def test_biases_that_are_columns_stand_beside_their_weights(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parameters = {
        "weights": [rng.normal(size=(5, 3)), rng.normal(size=(2, 5))],
        "biases": [rng.normal(size=(5, 1)), rng.normal(size=(1, 2))],
    }
    with init("columns", dir=tmp_path / "runs", strict=True) as run:
        run.log_parameters(parameters)
    assert run.path is not None
    path = tmp_path / "w.svg"
    export.write(StoredRun(run.path), to=path, what="weights")
    said = texts(path)
    assert {"0", "3 → 5", "1", "5 → 2", "right of each matrix: bias"} <= set(said)
    assert not any("biases" in word for word in said)


def test_a_running_run_is_exported_as_it_stands(running: Recorded, tmp_path: Path) -> None:
    assert export.write(run_of(running), to=tmp_path / "w.gif").frames == 3


@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        ({"to": "a.bmp"}, "'bmp'", "gif, mp4, png"),
        ({"to": "a"}, "no suffix", "parquet"),
        ({"to": "a.png", "what": "wieghts"}, "no 'wieghts'", "Did you mean weights"),
        ({"to": "a.gif", "what": "all"}, "everything", "html"),
        ({"to": "a.csv", "what": "all"}, "everything", "scalars"),
        ({"to": "a.png", "size": "800*600"}, "800", "800x600"),
        ({"to": "a.png", "size": "10x10"}, "out of range", "120"),
        ({"to": "a.gif", "fps": 1000}, "fps", ""),
        ({"to": "a.gif", "fps": 0.001}, "fps must lie between 0.1 and 120", ""),
        ({"to": "a.png", "format": "gif"}, "'a.png' is named as png, but the format asked for is gif", "Drop one"),
        ({"to": "a.png", "cmap": "jet"}, "jet", "viridis"),
        ({"to": "a.png", "steps": "7"}, "step 7", "Nearest"),
        ({"to": "a.png", "layers": "9"}, "no layer '9'", "0, 2"),
        ({"to": "a.html", "steps": "1"}, "all steps", "--steps"),
        ({"to": "none/a.png"}, "no folder", ""),
    ],
)
def test_wrong_wishes_are_named_with_what_is_allowed(
    recorded: Recorded, tmp_path: Path, options: dict[str, Any], words: str, hint: str
) -> None:
    asked = {**options, "to": tmp_path / options["to"]}
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        export.write(run_of(recorded), **asked)
    assert hint in caught.value.hint
    assert not [p for p in tmp_path.iterdir() if p.is_file()]


@pytest.mark.parametrize("what", ["weights", "biases", "histogram", "gradients", "scalars"])
@pytest.mark.parametrize("suffix", ["png", "csv"])
def test_what_was_not_recorded_says_how_to_record_it(tmp_path: Path, what: str, suffix: str) -> None:
    writer = RunWriter.create(tmp_path / "runs", project="empty")
    writer.finish()
    with pytest.raises(NotFoundError) as caught:
        export.write(StoredRun(writer.path), to=tmp_path / f"a.{suffix}", what=what)
    assert caught.value.hint


def test_too_many_frames_are_thinned_and_that_is_said(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path / "runs", project="long")
    for step in range(400):
        writer.add_snapshot("params", {"w": np.full((2, 2), step, np.float32)}, step=step)
    writer.finish()
    written = export.write(StoredRun(writer.path), to=tmp_path / "a.gif", size="300x200")
    assert written.frames == 300
    assert written.notices[0].code == "thinned"
    assert "300 of 400" in written.notices[0].message


def test_without_gradients_their_histograms_are_drawn(tmp_path: Path, recorded: Recorded) -> None:
    for folder in recorded.writer.path.glob("w/*/grads"):
        for file in folder.iterdir():
            file.unlink()
    with pytest.raises(NotFoundError, match="no histograms of gradients"):
        export.write(run_of(recorded), to=tmp_path / "g.png", what="gradients")
