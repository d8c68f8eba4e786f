"""The reader gives the network back as it was at a step, without the script that trained it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import epochal
from epochal.errors import NotFoundError
from tests.workspace.recording import Recorded

pytestmark = pytest.mark.torch


def test_a_network_answers_as_it_did_at_each_step(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(16, 4)
    answers = {}
    with epochal.init(project="net", dir=tmp_path) as run:
        run.watch(model, inputs=x, snapshots=None)
        for step in range(3):
            model.train()
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            run.log({"loss": loss.item()}, step=step)
            run.snapshot(step=step)
            model.eval()
            answers[step] = model(x).detach().numpy().copy()
    reader = epochal.open(tmp_path).run("latest")
    for step, expected in answers.items():
        np.testing.assert_allclose(reader.network(step)(x.numpy()), expected, atol=1e-4)
    assert reader.network().step == 2
    with pytest.raises(NotFoundError, match="no snapshot at step 7"):
        reader.network(7)


def test_a_chain_of_linear_layers_needs_no_program_and_no_framework(recorded: Recorded) -> None:
    network = epochal.open(recorded.root).run("latest").network(20)
    x = np.random.default_rng(0).normal(size=(6, 4))
    state = {name: value.astype(np.float64) for name, value in recorded.params[20].items()}
    hidden = np.maximum(x @ state["0.weight"].T + state["0.bias"], 0)
    np.testing.assert_allclose(network(x), hidden @ state["2.weight"].T + state["2.bias"], atol=1e-5)
    assert network.step == 20
