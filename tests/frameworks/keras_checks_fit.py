"""What the callback records of `fit`: metrics, settings, how it ended, and what happens around it."""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import epochal
from epochal.errors import RecordingWarning, UsageError
from epochal.frameworks.keras import Callback
from tests.frameworks.keras_trainings import BACKEND, classifier, data, latest, recorder, regression, traces

L: Any = keras.layers
QUIET: dict[str, Any] = {"verbose": 0, "batch_size": 16}


def plain(root: Path, **options: Any) -> Callback:
    given: dict[str, Any] = {"project": "keras", "dir": root, "strict": True, "system": False}
    made: Any = Callback
    return made(**given | options)  # type: ignore[no-any-return]


def values(reader: Any, name: str) -> list[float]:
    return [float(v) for v in reader.film(name).frames]


def test_metrics_are_those_of_the_history(tmp_path: Path) -> None:
    model, (x, y) = classifier(), data(80)
    history = model.fit(x, y, epochs=4, validation_split=0.2, validation_freq=2, callbacks=[plain(tmp_path)], **QUIET)
    reader = latest(tmp_path)
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for name, told in history.history.items():
        assert values(reader, name) == told
    assert reader.film("loss").steps.tolist() == [4, 8, 12, 16]
    assert reader.film("val_loss").steps.tolist() == [8, 16]
    assert [reader.epoch(step) for step in (0, 3, 4, 5, 16)] == [0, 0, 1, 1, 4]
    better = {name: s.better for name, s in reader.summary.items()}
    assert (better["loss"], better["val_accuracy"], better["accuracy"]) == ("min", "max", "max")
    assert reader.info.status == "finished"


def test_batches_have_the_running_means_that_keras_tells(tmp_path: Path) -> None:
    told: list[dict[str, float]] = []
    model, (x, y) = classifier(), data(80)
    spy = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: told.append(dict(logs)))
    model.fit(x, y, epochs=2, callbacks=[spy, plain(tmp_path)], **QUIET)
    reader = latest(tmp_path)
    assert values(reader, "running/loss") == [logs["loss"] for logs in told]
    assert reader.film("running/accuracy").steps.tolist() == list(range(1, 11))
    for each, steps in ((3, [3, 5, 8, 10]), (False, None)):
        classifier().fit(x, y, epochs=2, callbacks=[plain(tmp_path, log_batches=each)], **QUIET)
        reader = latest(tmp_path)
        found = reader.film("running/loss").steps.tolist() if "running/loss" in reader.series() else None
        assert found == steps
        assert reader.steps("params") == [0, 5, 10]


def test_settings_are_plain_and_the_users_own_stay(tmp_path: Path) -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=4, decay_rate=0.5)
    model, x, y = regression(optimizer=keras.optimizers.SGD(schedule, momentum=0.9), metrics=["mae"])
    model.fit(x, y, epochs=3, batch_size=8, verbose=0, callbacks=[plain(tmp_path, config={"loss": "mine", "extra": 1})])
    reader = latest(tmp_path)
    config = json.loads(json.dumps(dict(reader.config)))
    assert config["optimizer"]["name"] == "SGD"
    assert config["optimizer"]["learning_rate"]["name"] == "ExponentialDecay"
    assert config["optimizer"]["learning_rate"]["decay_rate"] == 0.5
    assert config["optimizer"]["momentum"] == 0.9
    assert (config["loss"], config["extra"], config["metrics"]) == ("mine", 1, ["mae"])
    assert (config["epochs"], config["batch_size"], config["steps_per_epoch"]) == (3, 8, 6)
    assert (config["model"], config["parameters"]) == ("twin", 44)
    assert config["keras"]["backend"] == BACKEND


def test_the_learning_rate_is_that_of_each_step(tmp_path: Path) -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=4, decay_rate=0.5)
    model, x, y = regression(optimizer=keras.optimizers.SGD(schedule))
    model.fit(x, y, epochs=2, batch_size=8, verbose=0, callbacks=[plain(tmp_path)])
    np.testing.assert_allclose(values(latest(tmp_path), "learning_rate"), 0.1 * 0.5 ** (np.arange(12) / 4), rtol=1e-5)
    model, x, y = regression(optimizer=keras.optimizers.SGD(0.1))
    falling = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
    model.fit(x, y, epochs=3, batch_size=24, verbose=0, callbacks=[falling, plain(tmp_path)])
    film = latest(tmp_path).film("learning_rate")
    assert film.steps.tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(film.frames, [0.1, 0.1, 0.05, 0.05, 0.1 / 3, 0.1 / 3], rtol=1e-6)


def test_several_outputs_have_their_own_names(tmp_path: Path) -> None:
    inputs = keras.Input((4,), name="given")
    shared = L.Dense(6, activation="relu", name="shared")(inputs)
    model = keras.Model(
        inputs, [L.Dense(3, activation="softmax", name="kind")(shared), L.Dense(1, name="size")(shared)]
    )
    model.compile(
        "adam",
        loss={"kind": "sparse_categorical_crossentropy", "size": "mse"},
        metrics={"kind": ["accuracy"], "size": [keras.metrics.R2Score(name="fit")]},
    )
    x, y = data()
    wanted = {"kind": y, "size": x[:, :1]}
    history = model.fit(x, wanted, epochs=2, class_weight=None, callbacks=[plain(tmp_path)], **QUIET)
    reader = latest(tmp_path)
    assert {"kind_loss", "size_loss", "kind_accuracy", "size_fit", "loss"} <= set(history.history)
    for name, told in history.history.items():
        assert values(reader, name) == told
    better = {name: s.better for name, s in reader.summary.items()}
    assert (better["size_fit"], better["kind_accuracy"], better["kind_loss"]) == ("max", "max", "min")


def test_class_weights_and_data_without_a_length(tmp_path: Path) -> None:
    x, y = data(40)
    model = classifier()
    history = model.fit(x, y, class_weight={0: 2.0, 1: 1.0, 2: 0.5}, callbacks=[plain(tmp_path)], **QUIET)
    assert values(latest(tmp_path), "loss") == history.history["loss"]

    def batches() -> Any:
        for start in range(0, 40, 10):
            yield x[start : start + 10], y[start : start + 10]

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Your input ran out of data")  # Keras learns the length so
        told: list[int] = []
        spy = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: told.append(batch))
        history = classifier().fit(batches(), epochs=1, verbose=0, callbacks=[spy, plain(tmp_path)])
    reader = latest(tmp_path)
    assert reader.film("loss").steps.tolist() == [len(told)]
    assert reader.info.status == "finished"
    assert "steps_per_epoch" not in reader.config

    def endless() -> Any:
        while True:
            yield from batches()

    classifier().fit(endless(), epochs=2, steps_per_epoch=3, verbose=0, callbacks=[plain(tmp_path)])
    assert latest(tmp_path).film("loss").steps.tolist() == [3, 6]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.data is TensorFlow's")
def test_a_tf_data_set(tmp_path: Path) -> None:
    import tensorflow as tf

    x, y = data(40)
    sets = tf.data.Dataset.from_tensor_slices((x, y)).batch(10)
    history = classifier().fit(sets, epochs=2, verbose=0, callbacks=[recorder(tmp_path)], validation_data=sets)
    reader = latest(tmp_path)
    assert values(reader, "val_loss") == history.history["val_loss"]
    assert reader.steps("params") == list(range(9))


class Raises(keras.callbacks.Callback):  # type: ignore[misc]
    """Another callback that ends the training."""

    def __init__(self, error: BaseException, at: int) -> None:
        super().__init__()
        self.error, self.at = error, at

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == self.at:
            raise self.error


class Fragile(L.Layer):  # type: ignore[misc]
    """Raises once it is broken."""

    broken: BaseException | None = None

    def call(self, x: Any) -> Any:
        if Fragile.broken is not None:
            raise Fragile.broken
        return x


class Breaks(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        Fragile.broken = self.error


@pytest.mark.parametrize("error", [RuntimeError("broken layer"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_what_ends_a_step_ends_the_run(tmp_path: Path, error: BaseException) -> None:
    x, y = data()
    Fragile.broken = None
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="only"), Fragile()])
    model.compile("sgd", "mse", run_eagerly=True)
    callback = plain(tmp_path)
    with pytest.raises(type(error)):
        model.fit(x, keras.utils.to_categorical(y, 3), callbacks=[callback, Breaks(error)], **QUIET)
    info = latest(tmp_path).info
    if isinstance(error, KeyboardInterrupt):
        assert (info.status, info.error) == ("stopped", "KeyboardInterrupt")
    else:
        assert info.status == "failed"
        assert (info.error or "").startswith("RuntimeError: ")
        assert " broken layer " in (info.error or "")
    assert traces(model) == []
    assert latest(tmp_path).film("running/loss").steps.tolist() == [1]
    Fragile.broken = None
    model.fit(x, keras.utils.to_categorical(y, 3), callbacks=[callback], **QUIET)
    assert latest(tmp_path).info.status == "finished"
    assert len(epochal.open(tmp_path).runs()) == 2


def test_a_fit_that_ends_between_its_steps_is_a_failed_run(tmp_path: Path) -> None:
    model, (x, y) = classifier(), data()
    callback = plain(tmp_path)
    with contextlib.suppress(ValueError):
        model.fit(x, y, callbacks=[callback, Raises(ValueError("elsewhere"), 1)], **QUIET)
    gc.collect()
    info = latest(tmp_path).info
    assert (info.status, info.error) == ("failed", "the training was left before its end")
    assert traces(model) == []


def test_early_stopping_keeps_what_was_recorded(tmp_path: Path) -> None:
    model, (x, y) = classifier(), data()
    stop = keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=1, restore_best_weights=True)
    saved = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss")
    history = model.fit(x, y, epochs=50, callbacks=[stop, saved, plain(tmp_path / "runs")], **QUIET)
    epochs = len(history.epoch)
    assert epochs < 50
    reader = latest(tmp_path / "runs")
    assert reader.info.status == "finished"
    assert reader.steps("params") == [3 * epoch for epoch in range(epochs + 1)]
    best = keras.models.load_model(tmp_path / "best.keras").get_weights()
    step = 3 * (1 + int(np.argmin(history.history["loss"])))
    assert all(np.array_equal(a, b) for a, b in zip(reader.parameters(step).values(), best, strict=True))
    first = reader.parameters(3)  # what was restored: the best by a mode that is the wrong one
    assert all(np.array_equal(a, b) for a, b in zip(first.values(), model.get_weights(), strict=True))


def test_saving_and_copying_while_watched(tmp_path: Path) -> None:
    class Saves(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 1:
                self.model.save(tmp_path / "middle.keras")
                self.twin = keras.models.clone_model(self.model)

    model, (x, y) = classifier(), data()
    model.fit(x, y, callbacks=[recorder(tmp_path / "runs"), saves := Saves()], **QUIET)
    loaded = keras.models.load_model(tmp_path / "middle.keras")
    kept = latest(tmp_path / "runs").parameters(2)
    assert all(np.array_equal(a, b) for a, b in zip(kept.values(), loaded.get_weights(), strict=True))
    assert traces(loaded) == traces(saves.twin) == []


def test_fit_twice(tmp_path: Path) -> None:
    model, (x, y) = classifier(), data()
    callback = plain(tmp_path)
    model.fit(x, y, epochs=2, callbacks=[callback], **QUIET)
    first = callback.run
    model.fit(x, y, epochs=4, initial_epoch=2, callbacks=[callback], **QUIET)
    assert callback.run is not None
    assert first is not None
    assert callback.run.id == first.id  # the same training goes on
    reader = latest(tmp_path)
    assert reader.film("loss").steps.tolist() == [3, 6, 9, 12]
    assert [reader.epoch(s) for s in (3, 6, 9, 12)] == [1, 2, 3, 4]
    assert reader.info.status == "finished"
    model.fit(x, y, epochs=1, callbacks=[callback], **QUIET)
    assert callback.run.id != first.id  # another one
    assert latest(tmp_path).film("loss").steps.tolist() == [3]


def test_a_run_that_is_given_goes_on_and_is_not_ended(tmp_path: Path) -> None:
    model, (x, y) = classifier(), data()
    with epochal.init("mine", dir=tmp_path, strict=True, system=False) as run:
        for epochs in (2, 1):
            model.fit(x, y, epochs=epochs, callbacks=[Callback(run)], **QUIET)
            assert not run.ended
            assert traces(model) == []
        run.log({"after": 1.0}, step=10)
    reader = latest(tmp_path)
    assert reader.film("loss").steps.tolist() == [3, 6, 9]
    assert [reader.epoch(s) for s in (0, 3, 6, 9)] == [0, 1, 2, 3]
    assert all(np.array_equal(a, b) for a, b in zip(reader.parameters(9).values(), model.get_weights(), strict=True))
    assert reader.config["model"] == model.name


def test_copies_of_a_callback_have_runs_of_their_own(tmp_path: Path) -> None:
    callback, (x, y) = plain(tmp_path, log_batches=2, config={"trial": 1}), data()
    copies = [copy.deepcopy(callback) for _ in range(2)]
    for each in copies:
        classifier().fit(x, y, callbacks=[each], **QUIET)
    runs = epochal.open(tmp_path).runs()
    assert len(runs) == 2
    assert callback.run is None
    assert all(run.config["trial"] == 1 and run.film("running/loss").steps.tolist() == [2, 3] for run in runs)


def test_evaluate_and_predict(tmp_path: Path) -> None:
    model, (x, y) = classifier(), data()
    callback = plain(tmp_path)
    model.predict(x, verbose=0, callbacks=[callback])
    assert not (tmp_path / "keras").exists()
    model.fit(x, y, callbacks=[callback], validation_data=(x, y), **QUIET)
    loss, accuracy = model.evaluate(x, y, verbose=0, callbacks=[callback])
    reader = latest(tmp_path)
    assert len(epochal.open(tmp_path).runs()) == 1
    assert (values(reader, "test_loss"), values(reader, "test_accuracy")) == ([loss], [accuracy])
    assert reader.film("test_loss").steps.tolist() == [3]
    assert reader.info.status == "finished"
    model.evaluate(x, y, verbose=0, callbacks=[plain(tmp_path / "alone")])
    assert values(latest(tmp_path / "alone"), "test_loss") == [loss]


def test_predictions_after_each_epoch(tmp_path: Path) -> None:
    model, (x, y) = classifier(), data()
    callback = plain(tmp_path, predictions=(x[:5], y[:5]), class_names=["a", "b", "c"])
    model.fit(x, y, epochs=2, callbacks=[callback], **QUIET)
    found = latest(tmp_path).predictions()
    assert found.step == 6
    np.testing.assert_allclose(found.probabilities, model.predict(x[:5], verbose=0), rtol=1e-5)
    assert np.array_equal(np.asarray(latest(tmp_path).predictions(step=3).labels), y[:5])


def test_a_watched_model_is_asked_about_examples(tmp_path: Path) -> None:
    x, y = data()

    def fitted(where: Path, **options: Any) -> Any:
        keras.utils.set_random_seed(3)
        model = classifier()
        model.fit(x, y, epochs=2, callbacks=[plain(where, **options)], **QUIET)
        return model

    plainly = fitted(tmp_path / "plain")
    model = fitted(tmp_path / "asked", watch={"examples": (x[:5], y[:5]), "class_names": ["a", "b", "c"]})
    for one, other in zip(plainly.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    reader = latest(tmp_path / "asked")
    found = reader.predictions()
    assert [item.step for item in reader.media("predictions")][-2:] == [3, 6]
    assert reader.media("predictions")[0].meta["outputs"] == "softmax"  # as its last layer says
    np.testing.assert_allclose(found.probabilities, model.predict(x[:5], verbose=0), rtol=1e-5)
    np.testing.assert_array_equal(found.inputs, x[:5].astype(np.float32))


def test_outputs_are_taken_for_what_the_last_layer_says(tmp_path: Path) -> None:
    from epochal.frameworks.keras_answers import stated_outputs

    x = keras.Input((4,))
    made = [(keras.layers.Dense(3), "raw"), (keras.layers.Dense(3, activation="softmax"), "softmax"),
            (keras.layers.Dense(1, activation="sigmoid"), "sigmoid"), (keras.layers.Softmax(), "softmax"),
            (keras.layers.Dense(3, activation="relu"), None)]  # fmt: skip
    for layer, expected in made:
        assert stated_outputs(keras.Model(x, layer(x))) == expected
        assert stated_outputs(keras.Sequential([x, keras.layers.Dense(4, activation="softmax"), layer])) == expected


def test_wrong_options_are_told_before_the_training(tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"projekt": "x"}, "projekt"),
        ({"log_batches": 0}, "log_batches"),
        ({"predictions": 3}, "predictions"),
    ]
    for options, word in wrong:
        with pytest.raises(UsageError, match=word):
            Callback(**options)
    with pytest.raises(UsageError, match="beside run="):
        Callback(epochal.init("x", mode="off"), project="y")


def test_recording_that_fails_leaves_the_training_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from epochal.frameworks import keras_callback

    def broken(*_: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(keras_callback, "better_of", broken)
    model, (x, y) = classifier(), data()
    with pytest.warns(RecordingWarning, match="ours") as told:
        history = model.fit(x, y, epochs=2, callbacks=[plain(tmp_path, strict=False)], **QUIET)
    assert [w.filename for w in told if w.category is RecordingWarning] == [__file__]  # at the line that called fit
    assert len(history.epoch) == 2
    with pytest.raises(RuntimeError, match="ours"):
        classifier().fit(x, y, epochs=2, callbacks=[plain(tmp_path, strict=True)], **QUIET)


def test_nothing_is_recorded_when_recording_is_off(tmp_path: Path) -> None:
    model, (x, y) = classifier(), data()
    model.fit(x, y, callbacks=[plain(tmp_path, mode="off")], **QUIET)
    assert list(tmp_path.iterdir()) == []
    assert traces(model) == []
