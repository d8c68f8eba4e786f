"""Parameters that are kept inputs first, as Keras and Flax keep them, are looked at outputs first, wherever that is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from epochal.errors import DamagedError
from epochal.export.tensors import TensorFrames, weight_layers
from epochal.facts import Graph, Layer, Parameter
from epochal.film.draw import scene
from epochal.picture.theme import theme
from epochal.store import StoredRun, graph_from_json, graph_to_json
from epochal.store.library import Library
from epochal.views.detail import read_detail
from epochal.views.stored import make_stored_film
from epochal.views.table import RunsTable
from epochal.workspace import RunReader
from tests.server.recorded import begin

KERNEL = np.arange(12, dtype=np.float32).reshape(4, 3)  # [inputs, outputs]
FILTERS = np.arange(5 * 5 * 2 * 7, dtype=np.float32).reshape(5, 5, 2, 7)  # [rows, columns, inputs, outputs]

GRAPH = Graph(
    source="declared",
    layers=(
        Layer(
            layer_id="conv",
            kind="Conv2D",
            parameters=(
                Parameter(name="conv/kernel", shape=(5, 5, 2, 7), dtype="float32", role="weight", layout=(3, 2, 0, 1)),
            ),
        ),
        Layer(
            layer_id="dense",
            kind="Dense",
            parameters=(
                Parameter(name="dense/kernel", shape=(4, 3), dtype="float32", role="weight", layout=(1, 0)),
                Parameter(name="dense/bias", shape=(3,), dtype="float32", role="bias"),
            ),
        ),
    ),
)


@pytest.fixture
def run(tmp_path: Path) -> StoredRun:
    writer = begin(tmp_path)
    writer.put_file("network/graph.json", graph_to_json(GRAPH))
    for step in range(3):
        tensors = {"conv/kernel": FILTERS + step, "dense/kernel": KERNEL + step, "dense/bias": np.zeros(3, np.float32)}
        for kind in ("params", "grads"):
            writer.add_snapshot(kind, tensors, step=step)
    writer.finish()
    return StoredRun(writer.path)


def test_shapes_are_told_outputs_first(run: StoredRun, tmp_path: Path) -> None:
    detail = read_detail(run, RunsTable(Library(tmp_path)).one(run))
    shapes = {t.series: t.shape for t in detail.tensors}
    assert shapes["param/dense/kernel"] == shapes["grad/dense/kernel"] == (3, 4)
    assert shapes["param/conv/kernel"] == (7, 2, 5, 5)
    assert [(la.inputs, la.outputs) for la in detail.layers] == [(2, 7), (4, 3)]


@pytest.mark.parametrize("kind", ["param", "grad"])
def test_films_are_sent_outputs_first(run: StoredRun, kind: str) -> None:
    film = make_stored_film(run, f"{kind}/dense/kernel")
    assert np.array_equal(film.frames, [KERNEL.T, KERNEL.T + 1, KERNEL.T + 2])
    change = make_stored_film(run, f"{kind}/dense/kernel", mode="change", encoding="u1", start=1)
    assert change.frames.shape == (2, 3, 4)
    assert (change.limit, change.frames.min()) == (1.0, 255)
    filters = make_stored_film(run, f"{kind}/conv/kernel", start=2).frames[0]
    assert all(np.array_equal(filters[o, i], FILTERS[:, :, i, o] + 2) for o in range(7) for i in range(2))


def test_exports_are_drawn_outputs_first(run: StoredRun) -> None:
    kernel = weight_layers(run)[1].weight
    assert kernel is not None
    frames = TensorFrames.of(run, kernel, "params", [0, 2])
    assert frames.shape == (2, 3, 4)
    assert np.array_equal(frames[1], KERNEL.T + 2)


def test_the_reader_gives_what_was_kept_and_says_which_axis_is_which(run: StoredRun) -> None:
    reader = RunReader(run)
    film = reader.film("dense/kernel")
    assert np.array_equal(film.frames[0], KERNEL)
    assert film.axes == ("input", "unit")
    assert reader.film("conv/kernel").axes == ("row", "column", "input", "output")
    assert np.array_equal(reader.parameters(0)["dense/kernel"], KERNEL)
    drawn = scene(film, theme=theme("light"), size=None, cmap=None, moving=False).matrices[0]  # type: ignore[attr-defined]
    assert (drawn.title, drawn.subtitle) == ("unit × input", "3 × 4")
    assert np.array_equal(drawn.values[0], KERNEL.T)


def test_a_layout_survives_the_file_and_a_wrong_one_is_damage() -> None:
    told = graph_to_json(GRAPH)
    assert graph_from_json(told) == GRAPH
    value = json.loads(told)
    value["layers"][1]["parameters"][0]["layout"] = [0, 2]
    with pytest.raises(DamagedError, match="layout"):
        graph_from_json(json.dumps(value).encode())
    for parameter in (p for layer in value["layers"] for p in layer["parameters"]):
        del parameter["layout"]  # as graphs were written before there were layouts
    assert graph_from_json(json.dumps(value).encode()).layers[1].parameters[0].layout == ()
