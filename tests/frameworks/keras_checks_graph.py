"""Graphs of Keras models, the facts of their variables, and what is kept to build a model from again."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import epochal
from epochal.facts import Graph, Layer, Parameter
from epochal.frameworks.keras import probe
from epochal.frameworks.keras_facts import activation_of
from epochal.frameworks.keras_graph import build_graph
from epochal.frameworks.keras_steps import listened_layers
from epochal.store import graph_from_json, graph_to_json
from epochal.views.stored import make_stored_film
from tests.frameworks.keras_trainings import BACKEND, Subclassed, data, latest, pictures, recorder, regression

L: Any = keras.layers


def by_id(graph: Graph) -> dict[str, Layer]:
    found = {layer.layer_id: layer for layer in graph.layers}
    assert len(found) == len(graph.layers)
    return found


def arrows(graph: Graph) -> set[tuple[str, str, bool]]:
    return {(e.source, e.target, e.skip) for e in graph.edges}


def variables(layer: Any, *shape: int) -> dict[str, Parameter]:
    inputs = keras.Input(shape)
    graph = build_graph(keras.Model(inputs, layer(inputs)))
    return {p.name.partition("/")[2]: p for each in graph.layers for p in each.parameters}


def test_a_residual_network_is_drawn_with_its_skips_and_shared_layers() -> None:
    model, _, _ = pictures()
    graph = build_graph(model)
    layers = by_id(graph)
    assert list(layers) == [
        "picture", "stem", "norm", "relu", "inner", "join", "drop", "pool", "block/mix", "block/mix@2", "out", "output",
    ]  # fmt: skip
    assert arrows(graph) == {
        ("picture", "stem", False), ("stem", "norm", False), ("norm", "relu", False), ("relu", "inner", False),
        ("inner", "join", False), ("relu", "join", True), ("join", "drop", False), ("drop", "pool", False),
        ("pool", "block/mix", False), ("block/mix", "block/mix@2", False), ("block/mix@2", "out", False),
        ("out", "output", False),
    }  # fmt: skip
    assert layers["stem"].inputs == ((-1, 8, 8, 3),)
    assert layers["stem"].outputs == ((-1, 8, 8, 4),)
    assert layers["join"].inputs == ((-1, 8, 8, 4), (-1, 8, 8, 4))
    assert (layers["picture"].role, layers["join"].role, layers["out"].role) == ("input", "operation", "module")
    assert [layers[n].activation for n in ("stem", "norm", "relu", "inner", "block/mix", "out")] == [
        "ReLU", "ReLU", None, None, "Tanh", "Softmax",
    ]  # fmt: skip
    assert layers["stem"].attributes["kernel_size"] == [3, 3]
    assert layers["stem"].attributes["use_bias"] is False
    assert layers["drop"].attributes["rate"] == 0.3
    assert (graph.model, graph.framework, graph.source, graph.note) == ("pictures", "keras", "declared", "")
    moving = 2 * 4
    assert graph.parameter_count == model.count_params() - moving
    assert graph.trainable_count == sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert graph_from_json(graph_to_json(graph)) == graph


def test_skips_and_multiply_adds_of_a_residual_network() -> None:
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, padding="same")(inputs)
    for k in range(3):
        y = L.Conv2D(4 << k, 3, strides=2 if k else 1, padding="same")(x)
        y = L.Conv2D(4 << k, 3, padding="same")(L.ReLU()(L.BatchNormalization()(y)))
        x = L.Add()([y, L.Conv2D(4 << k, 1, strides=2)(x) if k else x])
    gate = L.Dense(16, activation="sigmoid")(L.GlobalAveragePooling2D()(x))
    graph = build_graph(keras.Model(inputs, L.Dense(5)(L.Flatten()(x * gate[:, None, None, :]))))
    assert [len(skip.through) for skip in graph.skips] == [0, 1, 1]
    stem, first = 64 * 27 * 4, 64 * 36 * 4 * 2
    second = 16 * (36 * 8 + 72 * 8 + 4 * 8)
    third = 4 * (72 * 16 + 144 * 16 + 8 * 16)
    assert graph.multiply_adds == stem + first + second + third + 16 * 16 + 64 * 5


def test_multiply_adds_of_other_layers() -> None:
    inputs = keras.Input((6, 8))
    x = L.MultiHeadAttention(2, 3)(inputs, inputs)
    x = L.LSTM(5, return_sequences=True)(L.Add()([inputs, x]))
    x = L.EinsumDense("abc,cd->abd", output_shape=(6, 7))(L.Conv1D(4, 3, padding="same")(x))
    x = L.SeparableConv1D(4, 3)(L.Conv1DTranspose(3, 2, strides=2)(x))
    x = L.DepthwiseConv1D(3, depth_multiplier=2)(x)
    model = keras.Model(inputs, keras.ops.matmul(x, keras.ops.transpose(x, (0, 2, 1))))
    graph = build_graph(model)
    attention = 4 * 6 * 8 * 2 * 3 + 2 * 2 * 6 * 6 * 3
    counts = [attention, 6 * (8 * 20 + 5 * 20), 6 * 3 * 5 * 4, 6 * 4 * 7, 6 * 7 * 2 * 3, 10 * (9 + 12), 8 * 3 * 8]
    assert [la.multiply_adds for la in graph.layers if la.multiply_adds] == [*counts, 8 * 8 * 8]
    assert None not in [la.multiply_adds for la in graph.layers]
    if BACKEND == "torch":
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(np.zeros((1, 6, 8), "float32"))
        seen = counter.get_total_flops() // 2
        # Its count leaves out products inside attention where the device fuses them.
        assert graph.multiply_adds in (seen, seen + 2 * 2 * 6 * 6 * 3)


def test_multiply_adds_of_layers_around_layers_and_of_attention() -> None:
    inputs, others = keras.Input((5, 6)), keras.Input((7, 6))

    def total(made: Any) -> int | None:
        return build_graph(keras.Model([inputs, others], made)).multiply_adds

    steps = 5 * (4 * 7 * (6 + 7))
    assert total(L.Bidirectional(L.LSTM(7))(inputs)) == 2 * steps
    assert total(L.RNN([L.LSTMCell(7), L.GRUCell(3)])(inputs)) == steps + 5 * 3 * 3 * (7 + 3)
    assert total(L.TimeDistributed(L.Dense(4))(inputs)) == 5 * 6 * 4
    assert total(L.SpectralNormalization(L.Dense(4))(inputs)) == 5 * 6 * 4
    assert total(L.Attention()([inputs, others])) == 5 * 7 * (6 + 6)
    assert total(L.Attention(score_mode="concat")([inputs, others])) == 5 * 7 * 6
    assert total(L.AdditiveAttention()([inputs, others])) == 5 * 7 * 6
    query, shared = 5 * 6 * 16, 2 * 7 * 6 * 8
    assert total(L.GroupQueryAttention(4, 4, 2)(inputs, others)) == query + shared + 2 * 5 * 7 * 16 + 5 * 16 * 6
    frames = keras.Input((3, 8, 8, 2))
    film = build_graph(keras.Model(frames, L.TimeDistributed(L.Conv2D(4, 3))(frames)))
    assert film.multiply_adds == 3 * 36 * 4 * 18


def test_a_model_inside_is_a_group() -> None:
    inner_in = keras.Input((4,))
    inner = keras.Model(inner_in, L.Dense(4, name="dense")(inner_in), name="inner")
    inputs = keras.Input((4,))
    graph = build_graph(keras.Model(inputs, inner(L.Dense(4, name="between")(inner(inputs)))))
    assert [(g.group_id, g.kind, g.parent, g.layers) for g in graph.groups] == [
        ("inner", "Functional", "", ("inner/dense",)), ("inner@2", "Functional", "", ("inner/dense@2",)),
    ]  # fmt: skip
    assert graph.shared == {"inner/dense": ("inner/dense", "inner/dense@2")}


def test_nested_models_are_opened_and_their_names_kept_apart() -> None:
    def branch(name: str) -> Any:
        inner = keras.Input((4,))
        return keras.Model(inner, L.Dense(4, name="dense")(inner), name=name)

    inputs = keras.Input((4,), name="x")
    model = keras.Model(inputs, keras.ops.relu(branch("left")(inputs) * branch("right")(inputs)))
    graph = build_graph(model)
    layers = by_id(graph)
    assert list(layers) == ["x", "left/dense", "right/dense", "multiply", "relu", "output"]
    assert [p.name for p in layers["right/dense"].parameters] == ["right/dense/kernel", "right/dense/bias"]
    assert layers["multiply"].activation == "ReLU"
    assert arrows(graph) == {
        ("x", "left/dense", False), ("x", "right/dense", False), ("left/dense", "multiply", False),
        ("right/dense", "multiply", False), ("multiply", "relu", False), ("relu", "output", False),
    }  # fmt: skip


def test_a_subclassed_model_is_drawn_from_a_call_with_symbols() -> None:
    model = Subclassed()
    assert build_graph(model).source == "parameters"
    model(np.zeros((2, 4), "float32"))
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    graph = build_graph(model, np.zeros((2, 4), "float32"))
    assert [la.layer_id for la in graph.layers] == ["input", "first", "drop", "second", "output"]
    assert graph.source == "forward"
    assert by_id(graph)["second"].inputs == ((-1, 8),)
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes  # no trace of the call


class Raw(keras.Model):  # type: ignore[misc]
    """Uses a function of the backend between its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = L.Dense(8, name="first"), L.Dense(2, name="second")
        self.unused = L.Dense(3, name="spare")
        self.unused.build((None, 4))

    def call(self, x: Any) -> Any:
        h = self.first(x)
        if BACKEND == "torch":
            import torch

            h = torch.sin(h)
        elif BACKEND == "jax":
            import jax

            h = jax.numpy.sin(h)
        else:
            import tensorflow as tf

            h = tf.sin(h)
        return self.second(h)


def test_where_symbols_do_not_go_the_layers_are_seen_in_their_order() -> None:
    model = Raw()
    model(np.zeros((2, 4), "float32"))
    graph = build_graph(model, np.zeros((2, 4), "float32"))
    assert [la.layer_id for la in graph.layers] == ["input", "first", "second", "output", "spare"]
    assert arrows(graph) == {("input", "first", False), ("first", "second", False), ("second", "output", False)}
    assert by_id(graph)["first"].outputs == ((-1, 8),)
    assert "not seen" in graph.note
    assert by_id(graph)["spare"].attributes["used"] is False


def test_what_variables_are_for_and_how_they_lie() -> None:
    dense = variables(L.Dense(5), 3)
    assert (dense["kernel"].role, dense["kernel"].layout, dense["kernel"].shown_shape) == ("weight", (1, 0), (5, 3))
    assert (dense["bias"].role, dense["bias"].layout, dense["bias"].initializer) == ("bias", (), "zeros")
    conv = variables(L.Conv2D(5, (2, 3)), 8, 8, 4)["kernel"]
    assert (conv.shape, conv.shown_shape) == ((2, 3, 4, 5), (5, 4, 2, 3))
    turned = variables(L.Conv2DTranspose(5, (2, 3)), 8, 8, 4)["kernel"]
    assert (turned.shape, turned.shown_shape) == ((2, 3, 5, 4), (5, 4, 2, 3))
    single = variables(L.Conv1D(5, 3), 8, 4)["kernel"]
    assert single.shown_shape == (5, 4, 3)
    deep = variables(L.DepthwiseConv2D((2, 3), depth_multiplier=2), 8, 8, 4)["kernel"]
    assert (deep.shape, deep.shown_shape) == ((2, 3, 4, 2), (4, 2, 2, 3))
    parts = variables(L.SeparableConv2D(5, 3), 8, 8, 4)
    assert {n: p.shown_shape for n, p in parts.items()} == {
        "depthwise_kernel": (4, 1, 3, 3), "pointwise_kernel": (5, 4, 1, 1), "bias": (5,),
    }  # fmt: skip
    assert variables(L.Embedding(7, 5), 3)["embeddings"].layout == ()
    cell = variables(L.LSTM(5), 6, 3)
    assert cell["lstm_cell/kernel"].shown_shape == (20, 3)
    assert cell["lstm_cell/recurrent_kernel"].initializer == "orthogonal, default"
    attention = L.MultiHeadAttention(2, 3, name="attend")
    inputs = keras.Input((6, 4))
    graph = build_graph(keras.Model(inputs, attention(inputs, inputs)))
    shown = {p.name: p.shown_shape for p in by_id(graph)["attend"].parameters}
    assert shown["attend/query/kernel"] == (2, 3, 4)
    assert shown["attend/attention_output/kernel"] == (4, 2, 3)
    norm = variables(L.BatchNormalization(), 3)
    assert {n: p.role for n, p in norm.items()} == {
        "gamma": "weight", "beta": "bias", "moving_mean": "buffer", "moving_variance": "buffer",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("initializer", "words"),
    [
        (None, "Glorot uniform, default"),
        ("he_normal", "He normal"),
        (keras.initializers.RandomUniform(-0.2, 0.2), "random uniform (-0.2 to 0.2)"),
        (keras.initializers.TruncatedNormal(stddev=0.1), "truncated normal (mean 0, deviation 0.1)"),
        (keras.initializers.RandomNormal(stddev=0.3), "random normal (mean 0, deviation 0.3)"),
        (keras.initializers.Constant(0.5), "constant 0.5"),
        ("orthogonal", "orthogonal"),
    ],
)
def test_how_weights_began_is_told_where_they_show_it(initializer: Any, words: str) -> None:
    keras.utils.set_random_seed(0)
    layer = L.Dense(40, **({} if initializer is None else {"kernel_initializer": initializer}))
    assert variables(layer, 30)["kernel"].initializer == words
    layer.set_weights([w * 1.5 for w in layer.get_weights()])
    if not words.startswith("constant"):
        assert variables(layer, 30)["kernel"].initializer is None  # not as they were drawn


def test_activations_have_the_names_that_other_frameworks_have() -> None:
    for made, word in (
        (L.Dense(1, activation="leaky_relu"), "LeakyReLU"),
        (L.Dense(1), None),
        (L.Activation("gelu"), "GELU"),
        (L.LeakyReLU(), "LeakyReLU"),
        (L.ELU(), "ELU"),
        (L.Softmax(), "Softmax"),
        (L.Dropout(0.1), None),
        (L.Dense(1, activation=lambda x: x), "<lambda>"),
    ):
        assert activation_of(made) == word


def test_outputs_are_listened_to_where_they_say_something() -> None:
    model, _, _ = pictures()
    assert [name for name, _ in listened_layers(model)] == [
        "stem", "norm", "relu", "inner", "join", "pool", "block/mix", "out",
    ]  # fmt: skip


def test_a_run_of_a_subclassed_model_gets_its_graph_from_the_first_batch(tmp_path: Path) -> None:
    model, (x, y) = Subclassed(), data()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0, callbacks=[recorder(tmp_path, activations=False, gradients=False, watch=True)])
    graph = latest(tmp_path).graph()
    assert graph is not None
    assert [la.layer_id for la in graph.layers] == ["input", "first", "drop", "second", "output"]


def test_weights_are_looked_at_unit_by_unit(tmp_path: Path) -> None:
    model, x, y = regression()
    model.fit(x, y, verbose=0, callbacks=[recorder(tmp_path)])
    reader = latest(tmp_path)
    kernel = model.get_weights()[0]
    assert make_stored_film(reader.stored, "param/hidden/kernel").frames.shape[1:] == (6, 4)
    assert np.array_equal(make_stored_film(reader.stored, "param/hidden/kernel").frames[-1], kernel.T)
    film = reader.film("hidden/kernel")
    assert film.axes == ("input", "unit")
    assert np.array_equal(film.frames[-1], kernel)


def test_a_model_is_built_again_from_what_was_kept(tmp_path: Path) -> None:
    model, x, y = pictures()
    model.fit(x, y, verbose=0, callbacks=[recorder(tmp_path)])
    reader = latest(tmp_path)
    twin = keras.models.model_from_json(next(reader.path.glob("**/network/keras.json")).read_text())
    twin.set_weights(list(reader.parameters("last").values()))
    assert np.array_equal(twin.predict(x, verbose=0), model.predict(x, verbose=0))
    with pytest.raises(epochal.EpochalError, match="no recorded network"):
        reader.network()


def test_a_model_that_the_user_lets_go_of_is_freed(tmp_path: Path) -> None:
    model = regression()[0]
    with epochal.init("gone", dir=tmp_path, system=False) as run:
        run.watch(model, gradients=False, activations=False)
        run.log({"x": 1.0}, step=1)
        left = weakref.ref(model)
        del model
        gc.collect()
        assert left() is None
        with pytest.warns(epochal.RecordingWarning, match="no longer there"):
            run.log({"x": 1.0}, step=2, epoch=1)


def test_layers_that_come_later_are_seen(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), L.Dense(2, name="one")])
    with epochal.init("grows", dir=tmp_path, strict=True, system=False) as run:
        run.watch(model, gradients=False, activations=False)
        run.log({"x": 1.0}, step=1, epoch=1)
        model.add(L.Dense(3, name="two"))
        run.log({"x": 1.0}, step=2, epoch=2)
    reader = latest(tmp_path)
    assert [len(reader.parameters(step)) for step in (1, 2)] == [2, 4]


def test_what_is_no_keras_model_is_left_to_other_adapters() -> None:
    assert probe({"w": np.zeros(3)}) is None
    found = probe(L.Dense(3))
    assert found is not None
    assert found.framework == "keras"


def test_a_model_reads_the_same_from_its_json() -> None:
    from epochal.network.keras_json import keras_graph

    def recurrent() -> Any:
        inputs = keras.Input((6, 8))
        x = L.GRU(4, return_sequences=True)(L.LSTM(5, return_sequences=True)(inputs))
        x = L.SeparableConv1D(4, 3)(L.Conv1DTranspose(3, 2, strides=2)(L.Conv1D(4, 3, padding="same")(x)))
        return keras.Model(inputs, L.LayerNormalization()(L.DepthwiseConv1D(3, depth_multiplier=2)(x)))

    def nested() -> Any:
        inner_in = keras.Input((4,))
        inner = keras.Model(inner_in, L.Dense(4, name="dense")(inner_in), name="inner")
        inputs = keras.Input((4,))
        return keras.Model(inputs, inner(L.Dense(4, name="between", activation="gelu")(inner(inputs))))

    sequential = keras.Sequential(
        [keras.Input((7,)), L.Embedding(50, 8), L.Flatten(), L.Dense(3), L.Activation("tanh")]
    )
    for model in (pictures()[0], recurrent(), nested(), sequential):
        ours, read = build_graph(model), keras_graph(json.loads(model.to_json()), "model.json")
        assert (read.edges, read.groups) == (ours.edges, ours.groups)
        for one, two in zip(read.layers, ours.layers, strict=True):
            for what in ("layer_id", "kind", "role", "activation", "attributes", "multiply_adds", "outputs", "inputs"):
                assert getattr(one, what) == getattr(two, what), (one.layer_id, what)
            assert [(p.name, p.shape, p.role, p.layout, p.trainable) for p in one.parameters] == [
                (p.name, p.shape, p.role, p.layout, p.trainable) for p in two.parameters
            ]
