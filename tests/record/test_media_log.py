"""Values in a run: logged like numbers, told of like numbers, and never in the way of the training."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import epochal
from epochal.errors import RecordingWarning, UsageError
from epochal.record import Run, init
from epochal.record.values import sort_values
from epochal.store import StoredRun

RNG = np.random.default_rng(4)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EPOCHAL_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs"


def stored(run: Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def noise(*shape: int) -> Any:
    return RNG.integers(0, 256, shape, np.uint8)


def test_values_and_numbers_are_logged_together(root: Path) -> None:
    pixels = noise(28, 28)
    with init("p", strict=True) as run:
        run.log({"loss": 0.5, "images": {"first": epochal.Image(pixels, caption="c")}}, step=3, t=7.0)
        run.log({"only": epochal.Text("hello")}, step=4)
    found = stored(run)
    assert found.scalars()["loss"].v.tolist() == [0.5]
    (item,) = found.media("images/first")
    assert (item.step, item.t, item.caption, item.kind) == (3, 7.0, "c", "image")
    picture = PIL.Image.open(io.BytesIO(found.blob_bytes(item.sha256)))
    assert np.asarray(picture).tobytes() == pixels.tobytes()
    assert found.media("only")[0].step == 4
    assert found.notices() == ()


def test_a_list_is_several_values_of_one_step(root: Path) -> None:
    with init("p", strict=True) as run:
        run.log({"samples": epochal.Image.batch(noise(5, 8, 8))}, step=1)
        run.log({"mixed": (epochal.Text("a"), PIL.Image.new("L", (2, 2)))}, step=1)
    found = stored(run)
    assert [item.index for item in found.media("samples")] == [0, 1, 2, 3, 4]
    assert [(item.index, item.kind) for item in found.media("mixed")] == [(0, "text"), (1, "image")]


def test_the_same_image_a_hundred_times_is_one_file(root: Path) -> None:
    pixels = noise(16, 16)
    with init("p", strict=True) as run:
        for step in range(100):
            run.log({"same": epochal.Image(pixels)}, step=step)
    (blob,) = stored(run).path.glob("w/*/media/blobs/*")
    with PIL.Image.open(blob) as picture:
        assert picture.size == (16, 16)
    assert len(stored(run).media("same")) == 100


def test_pictures_and_figures_need_no_wrapping(root: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="needs matplotlib")
    plotly = pytest.importorskip("plotly.graph_objects", reason="needs plotly")
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1), dpi=50)
    figure.subplots().plot([1, 2])
    with init("p", strict=True) as run:
        run.log({"pil": PIL.Image.new("RGB", (4, 5)), "mpl": figure, "plotly": plotly.Figure()}, step=0)
    assert {n: s.kinds for n, s in stored(run).media_series().items()} == {
        "pil": ("image",),
        "mpl": ("figure",),
        "plotly": ("figure",),
    }


def test_what_is_logged_stays_as_it_was(root: Path) -> None:
    table = epochal.Table(["a"])
    with init("p", strict=True) as run:
        for step in range(3):
            table.add_row(step)
            run.log({"table": table}, step=step)
    found = stored(run)
    rows = [json.loads(found.blob_bytes(item.sha256))["rows"] for item in found.media("table")]
    assert rows == [[[0]], [[0], [1]], [[0], [1], [2]]]


def test_histograms_are_distributions(root: Path) -> None:
    values = RNG.normal(size=500)
    with init("p", strict=True) as run:
        for step in range(3):
            run.log({"activity": epochal.Histogram(values + step)}, step=step, t=float(step))
        run.log({"given": epochal.Histogram(counts=[1, 2.5], edges=[0, 1, 4])}, step=5)
    found = stored(run)
    table = found.statistics("activity")
    assert (table.steps.tolist(), table.t.tolist()) == ([0, 1, 2], [0.0, 1.0, 2.0])
    assert table.counts[1].tolist() == np.histogram(values + 1, 64)[0].tolist()
    assert list(found.media_series()) == ["given"]
    assert found.media("given")[0].meta["rebinned"] == 64


def test_pixels_out_of_range_are_said_once_and_counted(root: Path) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with init("p") as run:
            for step in range(3):
                run.log({"x": epochal.Image(np.full((2, 2), 3.0))}, step=step)
    assert len([w for w in told if "4 pixels" in str(w.message)]) == 1
    (notice,) = stored(run).notices()
    assert (notice.code, notice.count) == ("altered_pixels", 12)
    assert "12 pixels" in notice.message


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (np.zeros((3, 4)), "epochal.Histogram(value) for how its numbers are spread, or epochal.Image(value)"),
        ("words", "epochal.Text(value)"),
        ([1, 2], "epochal.Histogram(value)"),
        ([epochal.Text("a"), 5], "a list of 2"),
        ([], "a list of 0"),
        (np.array({"a": 1}), "that holds a dict, not a number, and was not recorded: log value.item()"),
        (np.array([{"a": np.float32(1)}]), "that holds a dict"),
        (np.complex64(1j), "a complex number"),
        (np.datetime64("2024-01-01"), "a datetime64 that holds '2024-01-01'"),
        (np.array(None), "holds 'None'"),
    ],
)
def test_what_is_no_value_is_refused_with_what_to_do(value: Any, part: str) -> None:
    found = sort_values({"deep": {"bad": value}, "good": np.float32(1), "map": {"one": np.float64(2)}})
    assert found.numbers == {"good": 1.0, "map/one": 2.0}
    assert not found.media
    assert part in found.refused[0].message
    assert found.refused[0].message.startswith("'deep/bad' is ")


def test_a_run_that_is_off_takes_values_for_nothing() -> None:
    run = init("p", mode="off")
    run.log({"x": epochal.Image(np.zeros((2, 2)))})
    run.log_predictions(None, [0], [[0.5, 0.5]])
    run.log_embedding(np.zeros((2, 3)))
    run.finish()


def test_predictions_and_embeddings_in_one_call(root: Path) -> None:
    x = RNG.random((6, 8, 8))
    with init("p", strict=True) as run:
        for epoch in range(3):
            run.log({"loss": 1.0}, step=10 * epoch, epoch=epoch)
            run.log_predictions(x, [0, 1, 2, 0, 1, 2], RNG.dirichlet(np.ones(3), 6), ["a", "b", "c"])
            run.log_embedding(RNG.normal(size=(6, 4)), list("aabbcc"), name="hidden")
        run.log_predictions(None, None, RNG.dirichlet(np.ones(2), 4), name="test", step=99, epoch=7.5)
        assert run.step == 20, "they are no steps of the training"
    found = stored(run)
    assert [item.step for item in found.media("predictions")] == [0, 10, 20]
    assert len({item.meta["inputs_blob"] for item in found.media("predictions")}) == 1
    assert found.media("test")[0].step == 99
    assert found.epochs()[1].tolist() == [0, 1, 2, 7.5]
    assert [item.meta["class_names"] for item in found.media("hidden")] == [["a", "b", "c"]] * 3


def test_what_is_kept_to_know_examples_again_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("epochal.record.media.pictured.KEPT_BYTES", 1000)
    monkeypatch.setattr("epochal.record.media.pictured.KEPT_BYTES_OF_ALL", 2000)
    with init("p", strict=True) as run:
        for n in (*range(20), 18):
            size = 126 if n == 5 else 100
            run.log_predictions(np.full((1, size), n / 20), [0], [[0.5, 0.5]], name=f"at {n}", step=0)
            assert sum(batch.nbytes for batch in run._batches.values()) <= 2000
        assert list(run._batches) == ["at 19", "at 18"]


def test_predictions_that_cannot_be_are_told_and_training_goes_on(root: Path) -> None:
    with init("p") as run:
        with pytest.warns(RecordingWarning, match=r"run.log_predictions\(\) failed(.|\n)*no probabilities") as told:
            run.log_predictions(None, None, [[5.0, 9.0]])
        assert Path(told[0].filename) == Path(__file__)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run.log_predictions(None, None, [[5.0, 9.0]])
    assert [(n.code, n.count) for n in stored(run).notices()] == [("dropped_error", 2)]
    with init("p", strict=True) as run, pytest.raises(UsageError, match="vectors have shape"):
        run.log_embedding(np.zeros(3))


def test_values_logged_after_the_end_are_told(root: Path) -> None:
    run = init("p")
    run.finish()
    with pytest.warns(RecordingWarning, match="was finished before"):
        run.log({"x": epochal.Text("late")})


def test_all_values_are_public_and_cost_nothing_before_they_are_used() -> None:
    code = (
        "import sys, epochal; before = set(sys.modules)\n"
        "epochal.Text('x'); epochal.Table(); epochal.Image([[0.5]])\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'PIL', 'matplotlib', 'av', 'torch', 'pyarrow'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_logging_a_small_picture_costs_the_caller_little(root: Path) -> None:
    pixels = noise(28, 28)
    with init("p", system=False, console=False) as run:
        costs = []
        for step in range(300):
            began = time.perf_counter()
            run.log({"x": epochal.Image(pixels)}, step=step)
            costs.append(time.perf_counter() - began)
    # Tens of microseconds where nothing else runs; the bound leaves room for a busy machine.
    assert sorted(costs)[150] < 1e-3


CRASHED = """
import os, sys, time, numpy as np, epochal
run = epochal.init("p", system=False, console=False)
for step in range(50):
    run.log({"image": epochal.Image(np.full((8, 8), step, np.uint8)), "loss": float(step)}, step=step)
time.sleep(float(sys.argv[1]))
os.kill(os.getpid(), 9)
"""


def test_kill_9_keeps_values_older_than_a_second(root: Path) -> None:
    environment = {**os.environ, "EPOCHAL_DIR": str(root)}
    done = subprocess.run([sys.executable, "-c", CRASHED, "2.5"], env=environment, check=False, timeout=60)
    assert done.returncode == -9
    (path,) = (p for p in root.glob("p/*") if (p / "run.json").exists())
    run = StoredRun(path)
    assert [item.step for item in run.media("image")] == list(range(50))
    for item in run.media("image"):
        assert PIL.Image.open(io.BytesIO(run.blob_bytes(item.sha256))).getpixel((0, 0)) == item.step


def test_a_process_that_just_ends_loses_nothing(root: Path) -> None:
    code = (
        "import numpy as np, epochal\nrun = epochal.init('p')\n"
        "for step in range(20): run.log({'x': epochal.Image(np.full((9, 9), step, np.uint8))}, step=step)\n"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "EPOCHAL_DIR": str(root)}, check=True, timeout=60)
    (path,) = (p for p in root.glob("p/*") if (p / "run.json").exists())
    assert len(StoredRun(path).media("x")) == 20
    assert StoredRun(path).info().status in ("finished", "stopped")
