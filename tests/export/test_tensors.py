from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from epochal import export
from epochal.export.tensors import Arranged, Flowing, TensorFrames, extremes, tile_of
from epochal.facts import Graph, Layer
from epochal.store import RunWriter, StoredRun
from epochal.views.layers import TensorFacts, WeightLayer


def layer_of(*shape: int) -> WeightLayer:
    weight = TensorFacts(
        series="param/w", kind="param", name="w", shape=shape, dtype="F32", frames=1, rows=0, change=None
    )
    return WeightLayer(layer="l", weight=weight)


def graph_with_input(*shape: int) -> Graph:
    return Graph(source="declared", layers=(Layer(layer_id="in", kind="input", role="input", outputs=((-1, *shape),)),))


@pytest.mark.parametrize(
    ("shape", "graph", "first", "tile"),
    [
        ((128, 784), None, True, (28, 28)),
        ((32, 64), None, True, (8, 8)),
        ((32, 64), None, False, None),
        ((12, 4), None, True, None),
        ((12, 49), None, True, None),
        ((12, 65), None, True, None),
        ((12, 20), graph_with_input(1, 4, 5), True, (4, 5)),
        ((12, 60), graph_with_input(3, 4, 5), True, (4, 15)),
        ((12, 20), graph_with_input(4, 5), True, (4, 5)),
        ((12, 784), graph_with_input(784), True, (28, 28)),
        ((32, 1, 3, 3), None, False, (3, 3)),
        ((32, 3, 3, 3), None, True, None),
    ],
)
def test_units_are_pictures_only_where_their_inputs_are(
    shape: tuple[int, ...], graph: Graph | None, first: bool, tile: tuple[int, int] | None
) -> None:
    assert tile_of(layer_of(*shape), graph, first=first) == tile


def recorded(tmp_path: Path, **tensors: tuple[int, ...]) -> tuple[StoredRun, list[dict[str, npt.NDArray[np.float32]]]]:
    rng = np.random.default_rng(0)
    writer = RunWriter.create(tmp_path / "runs", project="p")
    kept = []
    for step in (0, 5):
        kept.append({name: rng.normal(size=shape).astype(np.float32) for name, shape in tensors.items()})
        writer.add_snapshot("params", kept[-1], step=step)
    writer.finish()
    return StoredRun(writer.path), kept


def test_each_unit_has_its_picture_and_its_bias_the_same_place(tmp_path: Path) -> None:
    run, kept = recorded(tmp_path, w=(7, 20), b=(7,))
    flowing = Flowing(TensorFrames(run, "w", "params", [0, 5], (7, 20)), (4, 5))
    grid = Flowing(TensorFrames(run, "b", "params", [0, 5], (7,)), (1, 1), across=flowing.across)
    frame, values = flowing[1], grid[1]
    for unit in range(7):
        row, column = divmod(unit, flowing.across)
        tile = frame[row * 5 : row * 5 + 4, column * 6 : column * 6 + 5]
        np.testing.assert_array_equal(tile, kept[1]["w"][unit].reshape(4, 5))
        assert values[row, column] == kept[1]["b"][unit]
    assert (~flowing.holes).sum() == 7 * 20
    assert (~grid.holes).sum() == 7
    assert np.isnan(frame[flowing.holes]).all()


def test_frames_are_read_one_by_one_and_missing_ones_are_not_finite(tmp_path: Path) -> None:
    run, kept = recorded(tmp_path, w=(3, 2))
    frames = TensorFrames(run, "w", "params", [0, 5], (3, 2))
    assert frames.shape == (2, 3, 2)
    np.testing.assert_array_equal(frames[1], kept[1]["w"])
    gone = TensorFrames(run, "v", "params", [0, 5], (3, 2))
    assert np.isnan(gone[0]).all()
    assert gone.missing == 1
    lo, hi, bad = extremes([frames, gone], 2)
    values = np.concatenate([k["w"].ravel() for k in kept])
    assert (lo, hi, bad) == (values.min(), values.max(), 12)
    assert Arranged(frames).shape == (2, 3, 2)


def test_a_network_on_pictures_is_drawn_as_pictures(tmp_path: Path) -> None:
    shapes: dict[str, tuple[int, ...]] = {"0.weight": (9, 64), "0.bias": (9,), "2.weight": (4, 9), "2.bias": (4,)}
    run, _ = recorded(tmp_path, **shapes)
    path = tmp_path / "w.svg"
    export.write(run, to=path)
    text = path.read_text()
    assert "64 → 9 · each unit 8×8" in text
    assert "each where its unit is" in text
    assert "9 → 4" in text
