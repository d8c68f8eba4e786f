from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from epochal.demos.numpy_network import ACTIVATIONS, NumpyLearner, NumpyMlp

Array = npt.NDArray[Any]


def problem(n: int = 7, features: int = 5, classes: int = 3) -> tuple[Array, Array]:
    random = np.random.default_rng(1)
    return random.normal(size=(n, features)), random.integers(0, classes, n)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("hidden", [(), (4,), (6, 4)])
def test_gradients_are_those_of_finite_differences(activation: str, hidden: tuple[int, ...]) -> None:
    x, labels = problem()
    network = NumpyMlp((5, *hidden, 3), activation=activation, seed=2, dtype=np.float64)
    loss = network.learn(x, labels)
    assert loss == pytest.approx(network.evaluate(x, labels)[0])
    gradients = {name: gradient.copy() for name, gradient in network.gradients.items()}
    assert gradients.keys() == network.parameters.keys()
    for name, parameter in network.parameters.items():
        numeric = np.empty_like(parameter)
        for at in np.ndindex(parameter.shape):
            kept = parameter[at]
            values = []
            for change in (1e-6, -1e-6):
                parameter[at] = kept + change
                values.append(network.evaluate(x, labels)[0])
            parameter[at] = kept
            numeric[at] = (values[0] - values[1]) / 2e-6
        np.testing.assert_allclose(gradients[name], numeric, atol=1e-7)


def test_weights_begin_as_pytorch_draws_them() -> None:
    network = NumpyMlp((16, 400, 3), seed=0)
    weight = network.parameters["layers.0.weight"]
    assert weight.shape == (400, 16)
    assert weight.dtype == np.float32
    assert np.abs(weight).max() <= 0.25
    assert weight.std() == pytest.approx(0.25 / np.sqrt(3), rel=0.03)
    assert list(network.parameters) == ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"]
    assert not np.array_equal(NumpyMlp((16, 400, 3), seed=1).parameters["layers.0.weight"], weight)


@pytest.mark.torch
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_training_goes_as_in_pytorch(optimizer: str, activation: str) -> None:
    """A second library as the independent answer: the same start and batches lead to the same network."""
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    from epochal.demos.torch_network import TorchLearner

    settings: dict[str, Any] = {"activation": activation, "optimizer": optimizer, "lr": 0.01, "seed": 0}
    theirs, ours = TorchLearner((5, 8, 3), **settings), NumpyLearner((5, 8, 3), **settings)
    for name, tensor in theirs.network.state_dict().items():
        ours.network.parameters[name][...] = tensor.numpy()
    x, labels = problem(60)
    x = x.astype(np.float32)
    for _ in range(20):
        one, other = ours.learn(x, labels), theirs.learn(x, labels)
        assert one == pytest.approx(other, abs=1e-4)
    for name, tensor in theirs.network.state_dict().items():
        np.testing.assert_allclose(ours.network.parameters[name], tensor.numpy(), atol=2e-3)
    np.testing.assert_allclose(ours.evaluate(x, labels), theirs.evaluate(x, labels), atol=1e-3)
    assert torch.get_num_threads() >= 1


def test_parameters_change_in_place_and_what_ran_is_shown() -> None:
    x, labels = problem()
    learner = NumpyLearner((5, 4, 3), activation="relu", optimizer="adam", lr=0.1, seed=0)
    held = learner.network.parameters["layers.0.weight"]
    before = held.copy()
    learner.learn(x, labels)
    assert learner.network.parameters["layers.0.weight"] is held
    assert not np.array_equal(held, before)
    shown = learner.network.activations
    assert {name: value.shape for name, value in shown.items()} == {
        "layers.0": (7, 4), "layers.1": (7, 4), "layers.2": (7, 3)
    }  # fmt: skip
    assert shown["layers.1"].min() >= 0


def test_large_scores_do_not_overflow() -> None:
    x, labels = problem()
    for activation in ACTIVATIONS:
        network = NumpyMlp((5, 4, 3), activation=activation, seed=0)
        for parameter in network.parameters.values():
            parameter *= 1e4
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            assert np.isfinite(network.learn(x.astype(np.float32), labels))


def test_the_graph_is_drawn() -> None:
    graph = NumpyMlp((4, 12, 3), activation="tanh").graph()
    assert [layer.layer_id for layer in graph.layers] == ["x", "layers.0", "layers.1", "layers.2", "output"]
    assert [layer.activation for layer in graph.layers] == [None, "Tanh", None, None, None]
    assert graph.layers[1].outputs == ((-1, 12),)
    assert graph.parameter_count == 4 * 12 + 12 + 12 * 3 + 3
    assert (graph.edges[0].source, graph.edges[0].target) == ("x", "layers.0")
    assert graph.source == "declared"
