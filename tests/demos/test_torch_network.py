from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch")

import torch
from torch import nn

from epochal.demos.torch_network import Mlp, TorchLearner

pytestmark = pytest.mark.torch


def test_names_shapes_and_layers() -> None:
    network = Mlp((4, 12, 12, 3))
    assert list(network.state_dict()) == [f"layers.{i}.{what}" for i in (0, 2, 4) for what in ("weight", "bias")]
    assert [type(layer) for layer in network.layers] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert network(torch.zeros(5, 4)).shape == (5, 3)
    assert isinstance(Mlp((4, 2, 3), activation="sigmoid").layers[1], nn.Sigmoid)
    assert len(Mlp((4, 3)).layers) == 1


def test_the_seed_draws_the_network_and_leaves_the_callers_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    one, same, other = (
        TorchLearner((4, 6, 3), activation="relu", optimizer="adam", lr=0.01, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(2), expected)
    weights = [learner.network.state_dict()["layers.0.weight"] for learner in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_it_runs_on_one_core_and_gives_the_others_back() -> None:
    learner = TorchLearner((4, 6, 3), activation="relu", optimizer="sgd", lr=0.01, seed=0)
    before = torch.get_num_threads()

    def broken_off() -> None:
        with learner.running():
            assert torch.get_num_threads() == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_it_learns(optimizer: str) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(90, 4)).astype(np.float32)
    labels = (x[:, 0] > 0).astype(np.int64)
    learner = TorchLearner((4, 8, 2), activation="tanh", optimizer=optimizer, lr=0.02, seed=0)
    first = learner.evaluate(x, labels)[0]
    for _ in range(60):
        learner.learn(x, labels)
    loss, accuracy = learner.evaluate(x, labels)
    assert loss < first / 2
    assert accuracy > 0.9
