"""Recorded weights, gradients and activations of Keras models against numpy and against Keras itself."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import epochal
from epochal.errors import RecordingWarning
from tests.frameworks.keras_trainings import (
    BACKEND,
    NAMES,
    Regression,
    Subclassed,
    Weights,
    classifier,
    column,
    data,
    latest,
    pictures,
    recorder,
    regression,
    traces,
)

L: Any = keras.layers
FIT = {"batch_size": 12, "shuffle": False, "verbose": 0}


def same_steps(root: Path, expected: Regression, *, scale: float = 1.0) -> None:
    """Every step's weights and gradients are those of numpy."""
    reader = latest(root)
    steps = len(expected.slopes) - 1
    assert reader.steps("params") == list(range(steps + 1))
    assert reader.steps("grads") == list(range(1, steps + 1))
    for k, name in enumerate(NAMES):
        film, slopes = reader.film(f"param/{name}"), reader.film(f"grad/{name}")
        for step in range(steps + 1):
            np.testing.assert_allclose(film.frames[step], expected.weights[step][k], rtol=2e-4, atol=2e-6)
        for step in range(1, steps + 1):
            np.testing.assert_allclose(slopes.frames[step - 1] * scale, expected.slopes[step][k], rtol=2e-4, atol=2e-6)


OPTIONS: list[dict[str, Any]] = [{}, {"run_eagerly": True}]
if BACKEND == "tensorflow":
    OPTIONS.append({"jit_compile": True})


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_steps_weights_and_gradients_are_those_of_numpy(tmp_path: Path, options: dict[str, Any]) -> None:
    model, x, y = regression(**options)
    expected = Regression(model.get_weights(), x, y, batch=12, rate=0.05, epochs=2)
    model.fit(x, y, epochs=2, callbacks=[recorder(tmp_path)], **FIT)
    same_steps(tmp_path, expected)
    assert traces(model) == []


@pytest.mark.skipif(BACKEND != "torch", reason="it is the torch backend that carries values from a device")
def test_values_that_are_carried_from_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from epochal.frameworks import torch_device

    monkeypatch.setattr(torch_device, "carried", lambda tensor: True)  # as if the CPU's memory was far away
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=64.0)
    model, x, y = regression(optimizer=scaled)
    expected = Regression(model.get_weights(), x, y, batch=12, rate=0.05)
    model.fit(x, y, callbacks=[recorder(tmp_path)], **FIT)
    same_steps(tmp_path, expected)
    assert list(column(latest(tmp_path), "act/hidden", "mean")) == [1, 2, 3, 4]


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no steps_per_execution on the torch backend")
def test_of_several_steps_in_one_call_the_last_is_seen(tmp_path: Path) -> None:
    model, x, y = regression(steps_per_execution=3)
    expected = Regression(model.get_weights(), x, y, batch=12, rate=0.05, epochs=2)
    model.fit(x, y, epochs=2, callbacks=[recorder(tmp_path)], **FIT)
    reader = latest(tmp_path)
    assert reader.steps("grads") == [3, 4, 7, 8]  # 4 batches an epoch: one call of 3, one of 1
    for step, frame in zip([3, 4, 7, 8], reader.film("grad/hidden/kernel").frames, strict=True):
        np.testing.assert_allclose(frame, expected.slopes[step][0], rtol=2e-4, atol=2e-6)
    final = reader.parameters("last")
    assert all(np.array_equal(a, b) for a, b in zip(final.values(), model.get_weights(), strict=True))


def test_gradients_of_a_scaled_loss_are_recorded_without_the_scale(tmp_path: Path) -> None:
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=64.0, dynamic_growth_steps=3)
    model, x, y = regression(optimizer=scaled)
    expected = Regression(model.get_weights(), x, y, batch=12, rate=0.05, epochs=2)
    model.fit(x, y, epochs=2, callbacks=[recorder(tmp_path)], **FIT)
    assert float(keras.ops.convert_to_numpy(scaled.dynamic_scale.value)) == 256.0  # it grew twice in 8 steps
    same_steps(tmp_path, expected)


def test_gradients_are_those_before_a_fixed_scale_and_before_clipping(tmp_path: Path) -> None:
    model, x, y = regression(optimizer=keras.optimizers.SGD(0.05, loss_scale_factor=8.0))
    expected = Regression(model.get_weights(), x, y, batch=12, rate=0.05)
    model.fit(x, y, callbacks=[recorder(tmp_path)], **FIT)
    same_steps(tmp_path, expected)
    clipped, x, y = regression(optimizer=keras.optimizers.SGD(0.05, clipvalue=1e-3))
    first = Regression(clipped.get_weights(), x, y, batch=12, rate=0.0)
    clipped.fit(x, y, callbacks=[recorder(tmp_path)], **FIT)
    frame = latest(tmp_path).film("grad/hidden/kernel").frames[0]
    np.testing.assert_allclose(frame, first.slopes[1][0], rtol=2e-4, atol=2e-6)


def test_activations_are_those_of_the_training_batch(tmp_path: Path) -> None:
    model, x, y = regression()
    weights = model.get_weights()
    weights[0][:, 2], weights[1][2] = -10.0, -100.0  # one unit that never wakes
    model.set_weights(weights)
    expected = Regression(weights, x, y, batch=12, rate=0.05)
    model.fit(x, y, callbacks=[recorder(tmp_path)], **FIT)
    reader = latest(tmp_path)
    assert [s for s in reader.stored.statistics_series() if s.startswith("act/")] == ["act/hidden", "act/out"]
    for name, figure in (("mean", np.mean), ("std", np.std), ("max", np.max), ("norm", np.linalg.norm)):
        told = column(reader, "act/hidden", name)
        assert list(told) == [1, 2, 3, 4]
        for step, value in told.items():
            np.testing.assert_allclose(value, figure(expected.hidden[step]), rtol=1e-4)
    for step, share in column(reader, "act/hidden", "dead").items():
        assert share == pytest.approx((expected.hidden[step] == 0).all(0).mean())
        assert share > 0.16


def test_large_outputs_have_exact_figures_and_a_sampled_histogram(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((32, 32, 3)), L.Conv2D(8, 3, activation="relu", name="wide"), L.Flatten()])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(10, 32, 32, 3)).astype("float32")
    kernel, bias = model.get_weights()
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), axis=(1, 2))
    put_out = np.maximum(np.einsum("nhwcij,ijco->nhwo", windows, kernel.astype(np.float64)) + bias, 0)
    model.fit(x, np.zeros((10, 7200), "float32"), batch_size=10, verbose=0, callbacks=[recorder(tmp_path)])
    reader = latest(tmp_path)
    told = {name: column(reader, "act/wide", name)[1] for name in ("mean", "std", "min", "max", "norm", "size", "seen")}
    assert told["size"] == put_out.size == 72_000
    assert told["seen"] < 20_000
    for name, value in (("mean", put_out.mean()), ("std", put_out.std()), ("max", put_out.max())):
        np.testing.assert_allclose(told[name], value, rtol=1e-4)
    np.testing.assert_allclose(told["norm"], np.linalg.norm(put_out), rtol=1e-4)
    assert abs(column(reader, "act/wide", "zeros")[1] - (put_out == 0).sum()) <= 5  # of 72,000, some lie next to 0
    assert column(reader, "act/wide", "dead")[1] == 0


@pytest.mark.parametrize("kind", ["pictures", "subclassed"])
def test_watching_changes_nothing(tmp_path: Path, kind: str) -> None:
    ends, histories = [], []
    for callbacks in ([], [recorder(tmp_path)]):
        if kind == "pictures":
            model, x, y = pictures()
        else:
            keras.utils.set_random_seed(5)
            model, (x, y) = Subclassed(), data()
            model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(x, y, epochs=2, batch_size=16, verbose=0, callbacks=callbacks, validation_split=0.2)
        ends.append(model.get_weights())
        histories.append(history.history)
    assert histories[0] == histories[1]
    assert all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))
    assert latest(tmp_path).steps("grads") != []


def test_each_epochs_snapshot_is_what_get_weights_said(tmp_path: Path) -> None:
    model, x, y = pictures()
    first, weights = model.get_weights(), Weights()
    model.fit(x, y, epochs=3, batch_size=16, verbose=0, callbacks=[weights, recorder(tmp_path, snapshots="epoch")])
    reader = latest(tmp_path)
    assert reader.steps("params") == [0, 3, 6, 9]
    for step, expected in zip((0, 3, 6, 9), (first, *weights.kept), strict=True):
        kept = reader.parameters(step)
        assert all(np.array_equal(a, b) for a, b in zip(kept.values(), expected, strict=True))
    assert list(kept)[:3] == ["stem/kernel", "norm/gamma", "norm/beta"]
    assert kept.keys() >= {"norm/moving_mean", "norm/moving_variance", "block/mix/kernel"}


def test_a_model_that_is_built_by_its_first_step_has_its_first_values(tmp_path: Path) -> None:
    x, y = data()
    for make in (classifier, Subclassed):
        keras.utils.set_random_seed(7)
        twin = make()
        twin(x[:1])
        keras.utils.set_random_seed(7)
        model = make()
        if make is Subclassed:
            model.compile("adam", "sparse_categorical_crossentropy")
        if make is classifier:
            assert model.weights == []
        model.fit(x, y, verbose=0, callbacks=[recorder(tmp_path, activations=False)])
        reader = latest(tmp_path)
        assert all(np.array_equal(a, b) for a, b in zip(reader.parameters(0).values(), twin.get_weights(), strict=True))
        assert reader.config["parameters"] == twin.count_params()


def test_a_model_that_is_watched_without_the_callback(tmp_path: Path) -> None:
    model, x, y = regression()
    expected = Regression(model.get_weights(), x, y, batch=12, rate=0.05, epochs=2)
    with epochal.init("plain", dir=tmp_path, strict=True, system=False) as run:
        run.watch(model, budget=None, snapshots=1, gradient_snapshots=True)
        logs = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: run.log(logs))
        model.fit(x, y, epochs=2, callbacks=[logs], **FIT)
    reader = latest(tmp_path)  # which counts steps from 0
    assert reader.steps("params") == list(range(8))
    for step in range(8):
        kernel = reader.parameters(step)["hidden/kernel"]
        np.testing.assert_allclose(kernel, expected.weights[step + 1][0], rtol=2e-4, atol=2e-6)
    film = reader.film("grad/hidden/kernel")
    assert film.steps.tolist()[-7:] == list(range(1, 8))
    np.testing.assert_allclose(film.frames[-1], expected.slopes[8][0], rtol=2e-4, atol=2e-6)
    assert "act/out" in reader.stored.statistics_series()
    assert traces(model) == []


def test_frozen_layers_have_no_gradients_and_integers_are_kept(tmp_path: Path) -> None:
    model, x, y = regression()
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    model.fit(x, y, callbacks=[recorder(tmp_path)], **FIT)
    reader = latest(tmp_path)
    assert [s for s in reader.series() if s.startswith("grad/")] == ["grad/out/kernel", "grad/out/bias"]
    graph = reader.graph()
    assert graph is not None
    facts = {p.name: p.trainable for layer in graph.layers for p in layer.parameters}
    assert facts == {"hidden/kernel": False, "hidden/bias": False, "out/kernel": True, "out/bias": True}


class TwoOptimizers(keras.Model):  # type: ignore[misc]
    """A training step of the user's own: each half of the model has its optimizer."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner = model
        self.slow = keras.optimizers.SGD(0.01)

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.inner(x, training=training)


def test_a_training_step_of_the_users_own_is_seen_too(tmp_path: Path) -> None:
    if BACKEND == "jax":
        pytest.skip("a stateless step of several optimizers is hundreds of lines")
    inner, x, y = regression()
    expected = Regression(inner.get_weights(), x, y, batch=12, rate=0.01)

    class Own(TwoOptimizers):
        def train_step(self, batch: Any) -> dict[str, Any]:
            given, wanted = batch
            if BACKEND == "torch":
                self.zero_grad()
                loss = keras.ops.mean(keras.ops.square(self(given, training=True) - wanted))
                loss.backward()
                slopes = [v.value.grad for v in self.trainable_variables]
                import torch

                with torch.no_grad():
                    self.slow.apply(slopes, self.trainable_variables)
            else:
                import tensorflow as tf

                with tf.GradientTape() as tape:
                    loss = keras.ops.mean(keras.ops.square(self(given, training=True) - wanted))
                self.slow.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return {"mine": loss}

    model = Own(inner)
    model.compile()
    history = model.fit(x, y, callbacks=[recorder(tmp_path)], **FIT)
    reader = latest(tmp_path)
    assert reader.film("mine").frames.tolist() == history.history["mine"]
    film = reader.film("grad/twin/hidden/kernel")
    assert film.steps.tolist() == [1, 2, 3, 4]
    for step, frame in zip(film.steps.tolist(), film.frames, strict=True):
        np.testing.assert_allclose(frame, expected.slopes[step][0], rtol=2e-4, atol=2e-6)
    assert "act/twin/hidden" in reader.stored.statistics_series()
    assert traces(model) == []


def test_mixed_precision_is_recorded(tmp_path: Path) -> None:
    kind = "mixed_bfloat16" if BACKEND == "torch" else "mixed_float16"
    keras.config.set_dtype_policy(kind)
    try:
        model, x, y = regression()
        assert (kind == "mixed_float16") == isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        expected = Regression(model.get_weights(), x, y, batch=12, rate=0.05)
        model.fit(x, y, callbacks=[recorder(tmp_path)], **FIT)
    finally:
        keras.config.set_dtype_policy("float32")
    reader = latest(tmp_path)
    slopes, wanted = reader.film("grad/out/kernel").frames[0], expected.slopes[1][2]
    # With a scale of 2^15 half precision overflows where Keras then skips the step: an infinity is what there was.
    fits = np.abs(wanted) * (2.0**15 if kind == "mixed_float16" else 1) < 60_000
    np.testing.assert_allclose(slopes[fits], wanted[fits], rtol=0.05, atol=0.02)
    assert fits.any()
    assert reader.parameters(0)["hidden/kernel"].dtype == np.float32
    assert reader.config["dtype_policy"] == kind
    assert 0 < column(reader, "act/hidden", "max")[1] < 50


def test_a_loop_of_the_users_own(tmp_path: Path) -> None:
    model, x, y = regression()
    expected = Regression(model.get_weights(), x, y, batch=12, rate=0.05)
    run = epochal.init("loop", dir=tmp_path, strict=BACKEND != "jax", system=False)
    run.watch(model, budget=None, snapshots=1, gradient_snapshots=True)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", RecordingWarning)
        for step, start in enumerate(range(0, 48, 12), 1):
            part, wanted = x[start : start + 12], y[start : start + 12]
            if BACKEND == "torch":
                import torch

                model.zero_grad()
                keras.ops.mean(keras.ops.square(model(part, training=True) - torch.from_numpy(wanted))).backward()
                with torch.no_grad():
                    model.optimizer.apply([v.value.grad for v in model.trainable_variables], model.trainable_variables)
            elif BACKEND == "tensorflow":
                import tensorflow as tf

                with tf.GradientTape() as tape:
                    loss = keras.ops.mean(keras.ops.square(model(part, training=True) - wanted))
                slopes = tape.gradient(loss, model.trainable_variables)
                model.optimizer.apply_gradients(zip(slopes, model.trainable_variables, strict=True))
            else:
                for variable, value in zip(model.weights, expected.weights[step], strict=True):
                    variable.assign(value)
            model(part, training=False)  # an evaluation in between is none of training
            run.log({"x": 1.0}, step=step)
        run.finish()
    reader = latest(tmp_path)
    if BACKEND == "jax":
        assert reader.steps("params") == [0, 1, 2, 3, 4]
        assert ["log_parameters" in str(w.message) for w in told if w.category is RecordingWarning] == [True]
        np.testing.assert_allclose(reader.parameters(4)["out/bias"], expected.weights[4][3], rtol=1e-5)
        return
    assert [str(w.message) for w in told if w.category is RecordingWarning] == []
    same_steps(tmp_path, expected)
    for step, mean in column(reader, "act/hidden", "mean").items():
        np.testing.assert_allclose(mean, expected.hidden[step].mean(), rtol=1e-4)
    assert traces(model) == []
