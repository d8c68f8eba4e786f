"""ONNX files: those in `tests/data` were made and checked with onnx 1.23; what they hold is written out below."""

from __future__ import annotations

import json
import random
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import epochal
from epochal.errors import DamagedError, NotFoundError
from epochal.facts import Skip
from epochal.network.onnx import read_onnx
from epochal.network.onnx_file import Node, Sizes
from epochal.network.onnx_work import Batch, multiply_adds
from tests.cli.command import going

SAMPLE = Path(__file__).parents[1] / "data" / "residual.onnx"


def test_a_residual_network() -> None:
    graph, arrays = read_onnx(SAMPLE)
    assert [(layer.layer_id, layer.kind) for layer in graph.layers] == [
        ("x", "input"), ("stem", "Conv"), ("relu", "Relu"), ("block/conv1", "Conv"),
        ("block/norm", "BatchNormalization"), ("block/relu", "Relu"), ("block/conv2", "Conv"), ("block/down", "Conv"),
        ("block/Add", "Add"), ("pool", "GlobalAveragePool"), ("Reshape", "Reshape"), ("fc", "Gemm"),
        ("last", "MatMul"), ("output", "output"),
    ]  # fmt: skip
    assert graph.skips == (Skip(source="relu", target="block/Add", through=("block/down",)),)
    assert [(group.group_id, len(group.layers)) for group in graph.groups] == [("block", 6)]
    by_id = {layer.layer_id: layer for layer in graph.layers}
    stem = by_id["stem"]
    assert (stem.inputs, stem.outputs) == (((-1, 3, 16, 16),), ((-1, 4, 16, 16),))
    assert stem.attributes["pads"] == [1, 1, 1, 1]
    assert [(p.name, p.role, p.shape) for p in stem.parameters] == [
        ("stem.weight", "weight", (4, 3, 3, 3)), ("stem.bias", "bias", (4,)),
    ]  # fmt: skip
    assert [p.role for p in by_id["block/norm"].parameters] == ["weight", "bias", "buffer", "buffer"]
    assert by_id["block/norm"].attributes["epsilon"] == pytest.approx(1e-5)
    assert (by_id["last"].parameters[0].layout, by_id["fc"].parameters[0].layout) == ((1, 0), ())
    stem_work, first, second, down = 16 * 16 * 4 * 27, 64 * 8 * 36, 64 * 8 * 36, 64 * 8 * 4
    assert graph.multiply_adds == stem_work + first + second + down + 6 * 8 + 2 * 6
    assert (graph.framework, graph.model) == ("onnx", "residual")
    rng = np.random.default_rng(0)  # as the file was made
    np.testing.assert_array_equal(arrays["stem.weight"], rng.normal(size=(4, 3, 3, 3)).astype("f4"))
    assert "shape" not in arrays


def test_multiply_adds_of_products_that_are_no_layers() -> None:
    graph, arrays = read_onnx(SAMPLE.with_name("counted.onnx"))
    steps, by_id = 7, {layer.layer_id: layer for layer in graph.layers}
    counts = {name: layer.multiply_adds for name, layer in by_id.items() if layer.multiply_adds}
    assert counts == {
        "lstm": steps * 2 * 4 * 8 * (3 + 8),  # both directions; the sequence comes first and the batch second
        "gru": steps * 3 * 5 * (3 + 5),
        "einsum": steps * 3 * 4,
        "product": steps * 4 * 6,  # of rows that are all steps of all examples
        "attention": 2 * steps * steps * 4,
        "conv": 3 * 9 * 7,  # its weight is kept in bytes
    }
    assert [(p.name, p.role) for p in by_id["lstm"].parameters] == [("lw", "weight"), ("lr", "weight"), ("lb", "bias")]
    assert [(p.name, p.dtype, p.shape) for p in by_id["conv"].parameters] == [("cw", "int8", (9, 7, 1))]
    assert set(arrays) == {"lw", "lr", "lb", "gw", "gr", "ew", "mw"}


def test_a_batch_that_is_fixed_is_shared_out_and_an_unknown_size_is_no_count() -> None:
    sizes: dict[str, Sizes] = {"x": (4, 5, 6), "w": (6, 3), "y": (4, 5, 3), "rows": (20, 6), "z": (20, 3)}
    product = Node(op="MatMul", inputs=["x", "w"], outputs=["y"])
    flat = Node(op="MatMul", inputs=["rows", "w"], outputs=["z"])
    assert [multiply_adds(node, sizes, Batch.of(4)) for node in (product, flat)] == [5 * 6 * 3] * 2
    assert multiply_adds(product, sizes | {"y": (4, "", 3)}, Batch.of(4)) is None
    assert multiply_adds(product, sizes | {"x": (4, 5, "")}, Batch.of(4)) == 5 * 6 * 3, "the other side tells it"
    assert multiply_adds(product, sizes | {"y": ("n", 5, 3)}, Batch.of("n")) == 5 * 6 * 3
    assert multiply_adds(product, sizes | {"y": ("n", "t", 3)}, Batch.of("n")) is None
    assert multiply_adds(Node(op="FusedMatMul", domain="com.microsoft"), sizes, Batch.of(4)) is None
    assert multiply_adds(Node(op="Loop"), sizes, Batch.of(4)) is None


def test_a_file_is_served_with_its_network(tmp_path: Path) -> None:
    with going("view", SAMPLE, "--dir", tmp_path / "runs", "--no-open", "--port", "0") as view:
        base, _, place = view.wait_for("Studio").split()[-1].partition("#")
        assert place.startswith("/network")
        run_id = place.partition("run=")[2]
        with urllib.request.urlopen(f"{base}api/v1/runs/{run_id}/graph", timeout=20) as answer:
            assert len(json.load(answer)["layers"]) == 14
        assert view.interrupt() == 0
    run = epochal.open(tmp_path / "runs").run(run_id)
    assert run.parameters()["fc.weight"].shape == (6, 8)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_onnx(tmp_path / "none.onnx")
    for data in (b"", b"nothing", b"\xff" * 40, b"\x3a\xff\xff\xff\xff\x0f"):
        (tmp_path / "bad.onnx").write_bytes(data)
        with pytest.raises(DamagedError, match="no ONNX model"):
            read_onnx(tmp_path / "bad.onnx")


def test_sizes_that_a_file_claims_are_not_believed(tmp_path: Path) -> None:
    def part(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    huge = b"\x08\xff\xff\xff\xff\xff\xff\xff\x7f" * 2  # two axes of 2**62
    tensor = huge + b"\x10\x01" + part(8, b"w") + part(9, b"1234")
    node = part(1, b"x") + part(1, b"w") + part(2, b"y") + part(4, b"Conv")
    graph = part(1, node) + part(5, tensor)
    (tmp_path / "huge.onnx").write_bytes(part(7, graph))
    with pytest.raises(DamagedError, match="w has 4 bytes"):
        read_onnx(tmp_path / "huge.onnx")


def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    whole, place = SAMPLE.read_bytes(), tmp_path / "damaged.onnx"
    chance = random.Random(0)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        place.write_bytes(bytes(data[: chance.choice((len(data), chance.randrange(len(data))))]))
        try:
            graph, _ = read_onnx(place)
        except DamagedError:
            continue
        assert graph.layers
        assert graph.skips is not None
