"""Graphs that other tools keep: event files of TensorBoard, JSON of W&B and Keras.

`keras.tfevents` was written by Keras 3.15's TensorBoard callback on TensorFlow 2.21, `tensorflow.tfevents` by
TensorFlow's own FileWriter, `watched.graph.json` by `wandb.watch(model, log_graph=True)` of wandb 0.31.
"""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from epochal.errors import DamagedError, NotFoundError, UsageError
from epochal.facts import Graph, Skip
from epochal.network.graph_files import read_graph_file
from tests.cli.command import epochal as command

DATA = Path(__file__).parents[1] / "data"


def kinds(graph: Graph) -> list[tuple[str, str]]:
    return [(layer.layer_id, layer.kind) for layer in graph.layers]


def test_a_model_of_keras_in_an_event_file() -> None:
    graph, arrays = read_graph_file(DATA / "keras.tfevents")
    assert (graph.model, graph.framework, graph.note, arrays) == ("residual", "keras", "", {})
    assert kinds(graph) == [
        ("x", "input"), ("stem", "Conv2D"), ("inner", "Conv2D"), ("norm", "BatchNormalization"), ("relu", "ReLU"),
        ("join", "Add"), ("pool", "GlobalAveragePooling2D"), ("out", "Dense"), ("output", "output"),
    ]  # fmt: skip
    assert graph.skips == (Skip(source="stem", target="join"),)
    assert graph.parameter_count == 3 * 3 * 3 * 4 + 4 + 3 * 3 * 4 * 4 + 2 * 4 + 4 * 3 + 3
    assert graph.multiply_adds == 64 * 27 * 4 + 64 * 36 * 4 + 4 * 3
    by_id = {layer.layer_id: layer for layer in graph.layers}
    assert by_id["stem"].parameters[0].shown_shape == (4, 3, 3, 3)
    assert [by_id[name].activation for name in ("stem", "inner", "norm", "relu", "out")] == [
        None, "ReLU", "ReLU", None, "Softmax",
    ]  # fmt: skip
    assert (by_id["stem"].attributes["padding"], by_id["stem"].units) == ("same", 4)


def test_a_graph_of_tensorflow_without_its_gradients() -> None:
    graph, _ = read_graph_file(DATA / "tensorflow.tfevents")
    assert kinds(graph) == [
        ("x", "input"), ("conv/Conv2D", "Conv2D"), ("conv/BiasAdd", "BiasAdd"), ("conv/Relu", "Relu"),
        ("more/Conv2D", "Conv2D"), ("more/add", "AddV2"), ("dense/Mean", "Mean"), ("dense/MatMul", "MatMul"),
        ("Square", "Square"), ("Mean", "Mean"),
    ]  # fmt: skip
    assert graph.skips == (Skip(source="conv/Relu", target="more/add"),)
    held = {p.name: (p.role, p.shown_shape) for layer in graph.layers for p in layer.parameters}
    assert held == {
        "conv/kernel": ("weight", (4, 3, 3, 3)), "conv/bias": ("bias", (4,)), "more/kernel": ("weight", (4, 4, 1, 1)),
        "dense/kernel": ("weight", (2, 4)),
    }  # fmt: skip
    assert graph.multiply_adds == 64 * 27 * 4 + 64 * 4 * 4 + 4 * 2
    assert [group.group_id for group in graph.groups] == ["conv", "more", "dense"]
    assert "gradients and updates are left out" in graph.note


def test_a_graph_of_weights_and_biases() -> None:
    graph, _ = read_graph_file(DATA / "watched.graph.json")
    assert kinds(graph) == [
        ("conv1", "Conv2d"), ("bn1", "BatchNorm2d"), ("relu", "ReLU"), ("maxpool", "MaxPool2d"),
        ("layer1.0", "BasicBlock"), ("layer2.0", "BasicBlock"), ("avgpool", "AdaptiveAvgPool2d"), ("fc", "Linear"),
    ]  # fmt: skip
    assert [(e.source, e.target) for e in graph.edges][:2] == [("conv1", "bn1"), ("bn1", "relu")]
    assert "keeps no arrows" in graph.note
    by_id = {layer.layer_id: layer for layer in graph.layers}
    assert by_id["conv1"].attributes["kernel_size"] == [7, 7]
    assert by_id["conv1"].attributes["use_bias"] is False
    assert by_id["conv1"].multiply_adds == 16 * 16 * 64 * 3 * 49
    assert by_id["layer1.0"].multiply_adds is None
    assert by_id["layer2.0"].parameters[-3].name == "layer2.0.downsample.0.weight"
    stem, last = 64 * 3 * 49 + 128, 128 * 10 + 10
    first, second = 2 * (64 * 64 * 9 + 128), 128 * 64 * 9 + 128 * 128 * 9 + 128 * 64 + 3 * 256
    assert graph.parameter_count == stem + first + second + last


def test_arrows_that_a_json_tells_are_followed(tmp_path: Path) -> None:
    names = ("x", "a", "b", "sum")
    said = {
        "format": "keras",
        "nodes": [{"name": name, "id": i, "class_name": name.title()} for i, name in enumerate(names)],
        "edges": [[0, 1], [1, 2], [1, 3], [2, 3]],
    }
    (tmp_path / "told.graph.json").write_text(json.dumps(said))
    graph, _ = read_graph_file(tmp_path / "told.graph.json")
    assert [(e.source, e.target) for e in graph.edges] == [("x", "a"), ("a", "b"), ("a", "sum"), ("b", "sum")]
    assert graph.note == ""


def test_a_sequential_model_as_keras_2_writes_it(tmp_path: Path) -> None:
    dense = {"class_name": "Dense", "config": {"name": "one", "units": 3, "activation": "relu", "use_bias": True}}
    first = {**dense, "config": {**dense["config"], "batch_input_shape": [None, 4]}}  # type: ignore[dict-item]
    drop = {"class_name": "Dropout", "config": {"name": "drop", "rate": 0.5}}
    last = {"class_name": "Dense", "config": {"name": "two", "units": 2, "activation": "linear", "use_bias": False}}
    said = {"class_name": "Sequential", "config": {"name": "sequential_1", "layers": [first, drop, last]}}
    (tmp_path / "model.json").write_text(json.dumps(said))
    graph, _ = read_graph_file(tmp_path / "model.json")
    assert [(la.layer_id, la.activation, la.parameter_count) for la in graph.layers] == [
        ("input", None, 0), ("one", "ReLU", 15), ("drop", None, 0), ("two", None, 6), ("output", None, 0),
    ]  # fmt: skip
    assert (graph.model, graph.multiply_adds) == ("Sequential", 12 + 6)


def test_a_functional_model_as_keras_2_writes_it(tmp_path: Path) -> None:
    def layer(kind: str, name: str, inputs: list[Any], **config: Any) -> dict[str, Any]:
        return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": inputs}

    layers = [
        layer("InputLayer", "x", [], batch_input_shape=[None, 4]),
        layer("Dense", "a", [[["x", 0, 0, {}]], [["a", 0, 0, {}]]], units=4, activation="tanh"),
        layer("Add", "sum", [[["a", 0, 0, {}], ["a", 1, 0, {}]]]),
    ]
    config = {"name": "tied", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["sum", 0, 0]]}
    (tmp_path / "model.json").write_text(json.dumps({"class_name": "Model", "config": config}))
    graph, _ = read_graph_file(tmp_path / "model.json")
    assert [(e.source, e.target) for e in graph.edges] == [
        ("x", "a"), ("a", "a@2"), ("a", "sum"), ("a@2", "sum"), ("sum", "output"),
    ]  # fmt: skip
    assert graph.shared == {"a": ("a", "a@2")}
    assert graph.parameter_count == 4 * 4 + 4


def test_what_holds_no_graph_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file"):
        read_graph_file(tmp_path / "none.json")
    with pytest.raises(UsageError, match="no graph"):
        read_graph_file(DATA / "wire_paths.txt")
    for name, text in (("a.json", "{"), ("b.json", "[" * 100_000), ("c.json", "[]"), ("d.json", '{"nodes": {}}')):
        (tmp_path / name).write_text(text)
        with pytest.raises(DamagedError):
            read_graph_file(tmp_path / name)
    (tmp_path / "e.tfevents").write_bytes(b"")
    with pytest.raises(DamagedError, match="no event file"):
        read_graph_file(tmp_path / "e.tfevents")
    whole = (DATA / "keras.tfevents").read_bytes()
    size = 16 + struct.unpack_from("<Q", whole)[0]
    (tmp_path / "f.tfevents").write_bytes(whole[:size])
    with pytest.raises(NotFoundError, match=r"add_graph"):
        read_graph_file(tmp_path / "f.tfevents")


def test_a_wrong_checksum_is_damage_and_a_torn_end_is_none(tmp_path: Path) -> None:
    whole = bytearray((DATA / "tensorflow.tfevents").read_bytes())
    place = tmp_path / "x.tfevents"
    place.write_bytes(whole + whole[:20])  # the next record is being written
    assert len(read_graph_file(place)[0].layers) == 10
    whole[5000] ^= 1
    place.write_bytes(whole)
    with pytest.raises(DamagedError, match="checksum"):
        read_graph_file(place)


def test_models_that_grow_when_they_are_opened_are_refused(tmp_path: Path) -> None:
    inner: dict[str, Any] = {"class_name": "Dense", "name": "d", "config": {"name": "d", "units": 1}}
    inner["inbound_nodes"] = [[["x", 0, 0, {}]]]
    for _ in range(12):  # each level calls what is inside ten times
        model = {
            "layers": [{"class_name": "InputLayer", "name": "x", "config": {"name": "x"}, "inbound_nodes": []}, inner],
            "input_layers": [["x", 0, 0]],
            "output_layers": [[inner["name"], 0, 0]],
        }
        inner = {"class_name": "Functional", "name": "m", "config": model, "inbound_nodes": [[["x", 0, 0, {}]]] * 10}
    (tmp_path / "bomb.json").write_text(json.dumps(inner))
    with pytest.raises(DamagedError, match="more than 20,000 layers"):
        read_graph_file(tmp_path / "bomb.json")


def checksum(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data: bytes) -> bytes:
    size = struct.pack("<Q", len(data))
    return size + struct.pack("<I", checksum(size)) + data + struct.pack("<I", checksum(data))


def part(number: int, data: bytes) -> bytes:
    size = len(data)
    return (
        bytes([number << 3 | 2, size & 127 | (128 if size > 127 else 0), *([size >> 7] if size > 127 else [])]) + data
    )


def test_loops_and_names_that_are_not_there_do_no_harm(tmp_path: Path) -> None:
    def node(name: bytes, op: bytes, *inputs: bytes) -> bytes:
        return part(1, part(1, name) + part(2, op) + b"".join(part(3, i) for i in inputs))

    graph = node(b"a", b"Merge", b"x", b"b") + node(b"b", b"NextIteration", b"a") + node(b"x", b"Placeholder")
    graph += node(b"self", b"Add", b"self", b"x", b"gone")
    (tmp_path / "loop.tfevents").write_bytes(record(part(4, graph)))
    drawn, _ = read_graph_file(tmp_path / "loop.tfevents")
    assert {layer.layer_id for layer in drawn.layers} == {"x", "a", "b", "self"}
    assert drawn.layers[0].layer_id == "x"
    assert drawn.skips is not None


@pytest.mark.parametrize("name", ["keras.tfevents", "tensorflow.tfevents", "watched.graph.json"])
def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path: Path, name: str) -> None:
    whole, place = (DATA / name).read_bytes(), tmp_path / name
    chance = random.Random(0)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if name.endswith("events"):  # with checksums that are right, so that what is inside is read
            records, at = b"", 0
            while at + 12 <= len(whole):
                size = struct.unpack_from("<Q", whole, at)[0]
                records += (
                    record(bytes(data[at + 12 : at + 12 + size])) if size < 10_000 else whole[at : at + size + 16]
                )
                at += size + 16
            data = bytearray(records)
        place.write_bytes(bytes(data))
        try:
            graph, _ = read_graph_file(place)
        except (DamagedError, NotFoundError):
            continue
        assert graph.layers
        assert graph.skips is not None


def test_show_prints_the_network_of_a_file() -> None:
    done = command("show", DATA / "keras.tfevents", "--network")
    assert done.returncode == 0
    assert "279 parameters" in done.stdout
    assert "1 skip connection" in done.stdout
    told = json.loads(command("show", DATA / "residual.onnx", "--network", "--json").stdout)
    assert len(told["skips"]) == 1
