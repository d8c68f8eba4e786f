from __future__ import annotations

from typing import Any

import pytest

from epochal.facts import Graph, Layer, Parameter
from epochal.views.layers import TensorFacts, group_layers


def tensor(name: str, *shape: int) -> TensorFacts:
    return TensorFacts(
        series=f"param/{name}", kind="param", name=name, shape=shape, dtype="F32", frames=3, rows=3, change=None
    )


def layer(layer_id: str, kind: str, *names: tuple[str, str], **more: Any) -> Layer:
    parameters = tuple(Parameter(name=n, shape=(), dtype="float32", role=r) for n, r in names)  # type: ignore[arg-type]
    return Layer(layer_id=layer_id, kind=kind, parameters=parameters, **more)


def test_the_graph_says_what_belongs_together_and_in_which_order() -> None:
    graph = Graph(
        source="export",
        layers=(
            layer("stem", "Linear", ("stem.weight", "weight"), ("stem.bias", "bias"), activation="relu"),
            layer("add", "add"),
            layer("norm", "BatchNorm1d", ("norm.weight", "weight"), ("norm.running_mean", "buffer")),
        ),
    )
    layers = group_layers(
        [tensor("norm.running_mean", 8), tensor("norm.weight", 8), tensor("stem.bias", 8), tensor("stem.weight", 8, 4)],
        graph,
    )
    assert [(la.layer, la.kind, la.activation, la.inputs, la.outputs) for la in layers] == [
        ("stem", "Linear", "relu", 4, 8),
        ("norm", "BatchNorm1d", None, 8, 8),
    ]
    assert layers[0].weight is not None
    assert layers[0].weight.name == "stem.weight"
    assert [t.name for t in layers[1].others] == ["norm.running_mean"]


def test_what_the_graph_does_not_know_is_grouped_by_name_after_it() -> None:
    graph = Graph(source="forward", layers=(layer("a", "Linear", ("a.weight", "weight")),))
    layers = group_layers([tensor("b.weight", 2, 3), tensor("b.bias", 2), tensor("a.weight", 3, 4)], graph)
    assert [la.layer for la in layers] == ["a", "b"]


def test_a_shared_parameter_stands_once() -> None:
    graph = Graph(
        source="export", layers=(layer("in", "Embedding", ("w", "weight")), layer("out", "Linear", ("w", "weight")))
    )
    layers = group_layers([tensor("w", 100, 8)], graph)
    assert [(la.layer, la.inputs, la.outputs) for la in layers] == [("in", 100, 8)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["layers.0.weight", "layers.0.bias"], [("layers.0", "layers.0.weight", "layers.0.bias")]),
        (["W1", "b1", "W2", "b2"], [("1", "W1", "b1"), ("2", "W2", "b2")]),
        (["Dense_0/kernel", "Dense_0/bias"], [("Dense_0", "Dense_0/kernel", "Dense_0/bias")]),
        (["weight", "bias"], [("network", "weight", "bias")]),
        (["embedding"], [("embedding", "embedding", None)]),
    ],
)
def test_names_alone_group_too(names: list[str], expected: list[tuple[str, str, str | None]]) -> None:
    tensors = [tensor(n, *((8,) if "b" in n.rsplit(".")[-1].rsplit("/")[-1][0].lower() else (8, 4))) for n in names]
    layers = group_layers(tensors, None)
    assert [(la.layer, la.weight and la.weight.name, la.bias and la.bias.name) for la in layers] == expected


@pytest.mark.parametrize(
    ("kind", "weight", "bias", "attributes", "inputs", "outputs"),
    [
        ("Linear", (10, 784), (10,), {}, 784, 10),
        ("Dense", (784, 10), (10,), {}, 784, 10),
        ("Linear", (10, 10), (10,), {}, 10, 10),
        ("Conv2d", (32, 3, 5, 5), (32,), {}, 3, 32),
        ("Conv2d", (32, 1, 3, 3), (32,), {"groups": 32}, 32, 32),
        ("ConvTranspose2d", (16, 8, 2, 2), (8,), {}, 16, 8),
        ("Embedding", (1000, 64), (), {}, 1000, 64),
        ("LayerNorm", (64,), (64,), {}, 64, 64),
    ],
)
def test_inputs_and_outputs_are_read_off_the_shapes(
    kind: str,
    weight: tuple[int, ...],
    bias: tuple[int, ...],
    attributes: dict[str, Any],
    inputs: int,
    outputs: int,
) -> None:
    graph = Graph(
        source="export", layers=(layer("x", kind, ("x.weight", "weight"), ("x.bias", "bias"), attributes=attributes),)
    )
    tensors = [tensor("x.weight", *weight), *([tensor("x.bias", *bias)] if bias else [])]
    (found,) = group_layers(tensors, graph)
    assert (found.inputs, found.outputs) == (inputs, outputs)


def test_gradients_and_activations_are_no_layers() -> None:
    gradient = TensorFacts(
        series="grad/a.weight", kind="grad", name="a.weight", shape=(2, 2), dtype="F32", frames=1, rows=1, change=None
    )
    assert group_layers([gradient], None) == []
