"""Layers drawn from names alone."""

from __future__ import annotations

import pytest

from epochal.facts import Graph, Shape
from epochal.frameworks.array_layers import placed, plain_graph


def drawn(shapes: dict[str, Shape], dtype: str = "float32", **options: object) -> Graph:
    return plain_graph({n: (s, dtype) for n, s in shapes.items()}, model="M", framework="numpy", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "layer", "role"),
    [
        ("layers.0.weight", "layers.0", "weight"),
        ("layers.0.bias", "layers.0", "bias"),
        ("weights.3", "3", "weight"),
        ("net.biases.3", "net.3", "bias"),
        ("W1", "1", "weight"),
        ("b_1", "1", "bias"),
        ("enc.W2", "enc.2", "weight"),
        ("Dense_0.kernel", "Dense_0", "weight"),
        ("BatchNorm_0.scale", "BatchNorm_0", "weight"),
        ("BatchNorm_0.mean", "BatchNorm_0", "buffer"),
        ("Embed_0.embedding", "Embed_0", "weight"),
        ("rnn.weight_hh_l0", "rnn", "weight"),
        ("rnn.bias_ih_l0", "rnn", "bias"),
        ("mlp/~/linear_0.w", "mlp/~/linear_0", "weight"),
        ("Dense_0/kernel", "Dense_0", "weight"),
        ("w", "network", "weight"),
        ("coefs_.0", "0", "weight"),
        ("intercepts_.0", "0", "bias"),
        ("0.1", "0", None),
        ("theta", "theta", None),
    ],
)
def test_a_name_tells_its_layer_and_role(name: str, layer: str, role: str | None) -> None:
    assert placed(name) == (layer, role)


def test_what_no_word_tells_is_told_by_its_axes() -> None:
    graph = drawn({"0.0": (4, 8), "0.1": (8,), "0.2": (8, 8), "1.0": (8, 3), "theta": (5,)})
    roles = {p.name: p.role for layer in graph.layers for p in layer.parameters}
    assert roles == {"0.0": "weight", "0.1": "bias", "0.2": "other", "1.0": "weight", "theta": "weight"}
    counts = drawn({"layers.0.weight": (2, 2), "layers.0.count": ()}, "int32").layers[0].parameters
    assert [(p.role, p.trainable) for p in counts] == [("buffer", False)] * 2


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"a.weight": (8, 4), "a.bias": (8,)}, {"a.weight": (8, 4)}),
        ({"a.weight": (4, 8), "a.bias": (8,)}, {"a.weight": (8, 4)}),
        ({"a.w": (4, 8), "a.b": (8,), "b.w": (8, 8), "b.b": (8,)}, {"a.w": (8, 4), "b.w": (8, 8)}),
        ({"weights.0": (30, 64), "biases.0": (30, 1)}, {"weights.0": (30, 64)}),
        ({"weights.0": (64, 30), "biases.0": (1, 30)}, {"weights.0": (30, 64)}),
        ({"Dense_0.kernel": (4, 8)}, {"Dense_0.kernel": (8, 4)}),
        ({"Conv_0.kernel": (3, 5, 1, 4), "Conv_0.bias": (4,)}, {"Conv_0.kernel": (4, 1, 3, 5)}),
        ({"Conv_0.kernel": (7, 2, 4)}, {"Conv_0.kernel": (4, 2, 7)}),
        ({"query.kernel": (8, 2, 4), "query.bias": (2, 4)}, {"query.kernel": (8, 2, 4)}),
        ({"Embed_0.embedding": (100, 8)}, {"Embed_0.embedding": (100, 8)}),
        ({"conv.weight": (4, 1, 3, 3), "conv.bias": (4,)}, {"conv.weight": (4, 1, 3, 3)}),
    ],
)
def test_weights_are_looked_at_with_outputs_first(shapes: dict[str, Shape], expected: dict[str, Shape]) -> None:
    graph = drawn(shapes)
    shown = {p.name: p.shown_shape for layer in graph.layers for p in layer.parameters}
    assert {name: shown[name] for name in expected} == expected


def test_a_square_weight_follows_the_others() -> None:
    first = drawn({"a.w": (4, 8), "a.b": (8,), "b.w": (8, 8), "b.b": (8,)})
    assert [layer.parameters[0].layout for layer in first.layers] == [(1, 0), (1, 0)]
    mixed = drawn({"a.w": (4, 8), "a.b": (8,), "b.w": (3, 8), "b.b": (3,), "c.w": (8, 8), "c.b": (8,)})
    assert [layer.parameters[0].layout for layer in mixed.layers] == [(1, 0), (), ()]


def test_kinds_come_from_the_caller_or_from_flax_names() -> None:
    graph = drawn({"Dense_0.kernel": (2, 2), "blocks.1.weight": (2, 2), "x.weight": (2, 2)}, kinds={"x": "Linear"})
    assert [layer.kind for layer in graph.layers] == ["Dense", "Arrays", "Linear"]
