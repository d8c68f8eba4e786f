"""Gradients in long trainings: where all is plain one light hook does, until something else happens."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim import optimizer as torch_optimizer

from epochal.errors import RecordingWarning
from epochal.frameworks.torch import TorchProbe
from epochal.record import Run
from tests.frameworks.torch_trainings import batch, begin, hooks_left, stored

pytestmark = pytest.mark.torch


class Training:
    """A small training that is recorded, and the norms of the gradients that its optimizer got."""

    def __init__(self, run: Run, *, per_log: int = 1) -> None:
        torch.manual_seed(0)
        self.run, self.per_log = run, per_log
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.wanted: list[float] = []
        self.step = 0
        run.watch(self.model)

    def loss(self, seed: int) -> Tensor:
        x, y = batch(seed)
        return F.cross_entropy(self.model(x), y)

    def train(self, steps: int, *, spoil: bool = False, zero: bool = False, before_step: bool = False) -> None:
        for _ in range(steps):
            for part in range(self.per_log):
                self.optimizer.zero_grad()
                self.loss(self.step * self.per_log + part).backward()  # type: ignore[no-untyped-call]
                gradient = self.model[0].weight.grad
                assert isinstance(gradient, Tensor)
                norm = float(gradient.double().norm())
                if before_step:
                    self.log()
                self.optimizer.step()
            self.wanted.append(norm)
            if spoil:
                self.optimizer.zero_grad()
                self.loss(1000).backward()  # type: ignore[no-untyped-call]
            if zero:
                self.optimizer.zero_grad()
            if not before_step:
                self.log()
            self.step += 1

    def log(self) -> None:
        self.run.log({"x": 1.0}, step=self.step, epoch=self.step)

    def check(self, *, missing: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        table = stored(self.run).statistics("grad/0.weight")
        found = dict(zip(table.steps.tolist(), table.columns["norm"].tolist(), strict=True))
        assert set(range(self.step)) - found.keys() <= missing
        steps = sorted(found)
        np.testing.assert_allclose([found[k] for k in steps], [self.wanted[k] for k in steps], rtol=1e-6)


def standing() -> int:
    return len(torch_optimizer._global_optimizer_pre_hooks)


@pytest.mark.parametrize("per_log", [1, 3])
def test_a_plain_training_is_left_with_one_light_hook(tmp_path: Path, per_log: int) -> None:
    with begin(tmp_path) as run:
        training = Training(run, per_log=per_log)
        training.train(8)
        assert standing() == 0
        assert hooks_left(training.model) > 0
        training.train(60)  # looks at which all is noted again lie among them
        pickle.loads(pickle.dumps(training.model))
        copy.deepcopy(training.model)
    training.check()
    assert standing() == hooks_left(training.model) == 0


def test_a_pass_after_the_step_is_not_taken_for_the_step_s(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        training = Training(run)
        training.train(10)
        with pytest.warns(RecordingWarning, match="something else with gradients"):
            training.train(1, spoil=True)
        training.train(10)
        training.train(3, spoil=True)
        training.train(6)
    # Until it is known what happens there is nothing: better than another gradient.
    training.check(missing={10, 21, 22})


@pytest.mark.parametrize("kind", ["zero", "before_step", "spoil"])
def test_a_script_that_changes_its_ways(tmp_path: Path, kind: str) -> None:
    with begin(tmp_path) as run:
        training = Training(run)
        training.train(10)
        with pytest.warns(RecordingWarning, match="something else with gradients"):
            training.train(10, **{kind: True})
        training.train(10)
    training.check(missing={10, 11, 12})


def test_parameters_that_are_replaced(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        training = Training(run)
        training.train(10)
        training.model.load_state_dict(copy.deepcopy(training.model.state_dict()), assign=True)
        training.optimizer = torch.optim.SGD(training.model.parameters(), lr=0.1)
        training.train(10)
    training.check(missing={10})


def test_nothing_stands_where_no_look_is_near() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = TorchProbe(model, activations=False, gradients=True)
    facts = probe.parameters()
    room = [np.zeros(4 * fact.size, np.uint8) for fact in facts]
    places, slopes = probe.bind(room, facts), probe.bind([r.copy() for r in room], facts)
    for seed in range(20):
        probe.arm()
        x, y = batch(seed)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        assert probe.stage(places, slopes) == [0, 1]
        probe.rest()
        assert hooks_left(model) == 0 or seed < 4
    probe.close()
    assert hooks_left(model) == 0
