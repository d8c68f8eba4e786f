"""Chains of dense layers that other frameworks trained answer in numpy as they did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import epochal


@pytest.mark.sklearn
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("activation", ["tanh", "relu", "logistic", "identity"])
def test_a_classifier_of_scikit_learn(tmp_path: Path, activation: str) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn (epochal[sklearn])")
    from sklearn.datasets import load_iris
    from sklearn.neural_network import MLPClassifier

    from epochal.frameworks.sklearn import fit

    x, y = load_iris(return_X_y=True)
    model = MLPClassifier((7, 5), activation=activation, max_iter=20, random_state=0)
    with epochal.init(project="test", dir=tmp_path, strict=True) as run:
        fit(model, x, y, run=run)
    network = epochal.open(tmp_path).run("latest").network()
    np.testing.assert_allclose(network(x.astype(np.float64)), model.predict_proba(x), atol=1e-6)
    first, second, last = model.coefs_
    images = epochal.lens.class_images(network)
    np.testing.assert_allclose(images.array, (first @ second @ last).T, atol=1e-6)
    units = network.units(network.layers[0].layer_id)
    np.testing.assert_array_equal(units[3].incoming, first[:, 3])
    (outgoing,) = units[3].outgoing.values()
    np.testing.assert_array_equal(outgoing, second[3])


@pytest.mark.keras
@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_a_model_of_keras(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras", reason="needs Keras (epochal[keras])")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            layers.Flatten(),
            layers.Dense(6, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(5, activation="softmax"),
        ]
    )
    with epochal.init(project="test", dir=tmp_path, strict=True) as run:
        run.watch(model)
        run.log({"loss": 0.0}, step=0)
    network = epochal.open(tmp_path).run("latest").network()
    x = np.random.default_rng(0).normal(size=(9, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(network(x), np.asarray(model.predict(x, verbose=0)), atol=1e-5)
    kernels = [np.asarray(w) for w in model.get_weights()[::2]]
    expected = (kernels[0] @ kernels[1]).T.reshape(5, 4, 3)
    np.testing.assert_allclose(epochal.lens.class_images(network).array, expected, atol=1e-6)
