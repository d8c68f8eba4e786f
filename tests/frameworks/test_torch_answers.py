"""Asking a PyTorch network about examples each epoch: what it says, and that the training never notices."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import epochal
from epochal.errors import RecordingWarning, UsageError
from epochal.workspace import RunReader

pytestmark = pytest.mark.torch
N, CLASSES = 30, 3
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(1))
Y = torch.arange(N) % CLASSES


class Net(nn.Module):
    """All that an evaluation could disturb: dropout, batch norm, random numbers, a counter, a cache, frozen parts."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(8, CLASSES)
        self.calls = 0
        self.cache: torch.Tensor | None = None
        self.norm.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        h = self.drop(self.norm(self.first(x)).relu())
        self.cache = h
        noise = torch.rand(()) * 0 + random.random() * 0 + np.random.rand() * 0
        out: torch.Tensor = self.last(h) + noise
        return out


class Plain(nn.Sequential):
    """A network that can be compiled in one piece."""

    calls = 0

    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, CLASSES))

    @property
    def drop(self) -> nn.Dropout:
        return self[3]  # type: ignore[return-value]


def train(
    root: Path | None, *, wrap: Any = None, epochs: int = 3, **options: Any
) -> tuple[dict[str, Any], Path | None]:
    """A training, and all that it came to: parameters, buffers, gradients, optimizer, generators, modes."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    net = Net() if wrap is None else Plain()
    net.drop.eval()
    model = net if wrap is None else wrap(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    seen: list[torch.Tensor] = []
    with epochal.init("p", dir=root, mode="off" if root is None else "on", strict=True, system=False) as run:
        run.watch(model, **options)
        step = 0
        for epoch in range(epochs):
            for part in torch.randperm(N).reshape(-1, 10):
                step += 1
                loss = cross_entropy(model(X[part]), Y[part])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                seen.append(loss.detach().clone())
                run.log({"loss": loss}, step=step, epoch=epoch + 1 if step % 3 == 0 else None)
        net.drop.p = 0.5
        path = run.path
    result = {
        **{f"state {k}": v for k, v in net.state_dict().items()},
        **{f"grad {k}": p.grad for k, p in net.named_parameters()},
        **{f"loss {i}": loss for i, loss in enumerate(seen)},
        **{f"optimizer {i}": s["exp_avg"] for i, s in enumerate(optimizer.state.values())},
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": str(np.random.get_state()),
        "modes": [m.training for m in net.modules()],
        "calls": net.calls,
    }
    return result, path


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other[key]), key
        else:
            assert value == other[key], key


def test_the_training_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    plain, _ = train(None)
    asked, path = train(tmp_path, examples=(X, Y))
    same(plain, asked)
    assert path is not None
    # Before the script names its first epoch, at step 3, others are asked about too, as the budget allows.
    assert {item.step for item in RunReader.open(path).media("predictions")} - {1, 2} == {0, 3, 6, 9}


def test_it_says_what_the_network_says_in_evaluation_mode(tmp_path: Path) -> None:
    _, path = train(tmp_path, examples=(X.numpy(), Y.numpy()), class_names=["a", "b", "c"], snapshots="epoch")
    assert path is not None
    reader = RunReader.open(path)
    for step in (0, 3, 6, 9):
        net = Net()
        net.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in reader.parameters(step).items()})
        net.eval()
        with torch.no_grad():
            expected = net(X).double().softmax(1).numpy()
        said = reader.predictions(step)
        np.testing.assert_allclose(said.probabilities, expected, rtol=0, atol=1e-6)
        assert said.labels is not None
        assert said.labels.tolist() == Y.tolist()
        np.testing.assert_array_equal(said.inputs, X.numpy())
        assert said.class_names == ("a", "b", "c")
    item = reader.media("predictions")[-1]
    assert item.meta["outputs"] == "raw"
    assert "shown" not in item.meta
    assert item.meta["seconds"] > 0
    cost = sum(each.meta["seconds"] for each in reader.media("predictions"))
    assert reader.info.recorder["caller_seconds"] >= cost * 0.99


@pytest.mark.parametrize("how", ["model", "in place"])
def test_compiled_networks_are_asked_uncompiled(tmp_path: Path, how: str) -> None:
    compiled: list[int] = []

    def backend(module: Any, inputs: Any) -> Any:
        compiled.append(1)
        return module.forward

    def wrap(net: nn.Module) -> Any:
        if how == "model":
            return torch.compile(net, backend=backend)
        net.compile(backend=backend)
        return net

    def forget() -> int:
        count = len(compiled)
        compiled.clear()
        torch._dynamo.reset()
        return count

    plain, _ = train(None, wrap=wrap)
    times = forget()
    asked, path = train(tmp_path, wrap=wrap, examples=(X, Y), activations=False)
    assert forget() == times
    same(plain, asked)
    assert path is not None
    assert {item.step for item in RunReader.open(path).media("predictions")} - {1, 2} == {0, 3, 6, 9}


def test_several_inputs_and_outputs_in_an_object(tmp_path: Path) -> None:
    class Answer(dict[str, torch.Tensor]):
        pass

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(11, 4)
            self.last = nn.Linear(4, 2)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> Answer:
            mean = (self.words(ids) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            return Answer(loss=torch.zeros(()), logits=self.last(mean))

    ids, mask = torch.arange(20).reshape(5, 4) % 11, torch.ones(5, 4)
    texts = ["one", "two", "three", "four", "five"]
    net = Two()
    for x in ({"ids": ids, "mask": mask}, (ids, mask)):
        with epochal.init("p", dir=tmp_path, strict=True, system=False) as run:
            run.watch(net, examples=(x, [0, 1, 0, 1, 1], texts))
            run.log({"loss": 1.0}, step=1, epoch=1)
            path = run.path
        assert path is not None
        said = RunReader.open(path).predictions(1)
        assert said.inputs == tuple(texts)
        assert RunReader.open(path).media("predictions")[-1].meta["shown"] is True
        expected = net(ids, mask)["logits"].softmax(1).detach().numpy()
        np.testing.assert_allclose(said.probabilities, expected, atol=1e-6)
    # Where nobody said what people should see, they see the first input.
    for x in ({"ids": ids, "mask": mask}, (ids, mask)):
        with epochal.init("p", dir=tmp_path, strict=True, system=False) as run:
            run.watch(net, examples=(x, [0, 1, 0, 1, 1]))
            run.log({"loss": 1.0}, step=1, epoch=1)
            path = run.path
        assert path is not None
        said = RunReader.open(path).predictions(1)
        np.testing.assert_array_equal(said.inputs, ids)
        assert said.shown


def test_many_examples_are_asked_in_batches(tmp_path: Path) -> None:
    rows: list[int] = []

    class Counting(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows.append(len(x))
            return super().forward(x)

    net = Counting(2, 2)
    x = torch.randn(2500, 2)
    with epochal.init("p", dir=tmp_path, strict=True, system=False) as run:
        run.watch(net, inputs=x[:2], examples=(x, torch.zeros(2500, dtype=torch.long)))
        rows.clear()
        run.log({"loss": 1.0}, step=1, epoch=1)
        assert rows == [1024, 1024, 452]
        path = run.path
    assert path is not None
    np.testing.assert_allclose(
        RunReader.open(path).predictions(1).probabilities, net(x).softmax(1).detach().numpy(), atol=1e-6
    )


def test_a_network_with_softmax_must_say_so(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(6, CLASSES), nn.Softmax(1))
    with epochal.init("p", dir=tmp_path, system=False) as run:
        with pytest.warns(RecordingWarning, match="probabilities already"):
            run.watch(net, examples=(X, Y))
        run.log({"loss": 1.0}, step=1, epoch=1)
        path = run.path
    assert path is not None
    assert "predictions" not in RunReader.open(path).media_series()
    with epochal.init("p", dir=tmp_path, strict=True, system=False) as run:
        run.watch(net, examples=(X, Y), outputs="softmax")
        run.log({"loss": 1.0}, step=1, epoch=1)
        path = run.path
    assert path is not None
    reader = RunReader.open(path)
    np.testing.assert_allclose(reader.predictions().probabilities, net(X).detach().numpy(), atol=1e-7)
    assert reader.media("predictions")[0].meta["outputs"] == "softmax"


def test_a_network_without_values_is_asked_later(tmp_path: Path) -> None:
    net = nn.Sequential(nn.LazyLinear(CLASSES))
    with epochal.init("p", dir=tmp_path, strict=True, system=False) as run:
        run.watch(net, examples=(X, Y))
        assert isinstance(net[0], nn.LazyLinear)
        net(X)
        run.log({"loss": 1.0}, step=1, epoch=1)
        path = run.path
    assert path is not None
    assert [item.step for item in RunReader.open(path).media("predictions")] == [1]


def test_trouble_in_the_network_is_told_once_and_the_training_goes_on(tmp_path: Path) -> None:
    class Odd(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not self.training:
                raise ValueError("only in training")
            return super().forward(x)

    net = Odd(6, CLASSES)
    net.train()
    with epochal.init("p", dir=tmp_path, system=False) as run:
        with pytest.warns(RecordingWarning, match="only in training"):
            run.watch(net, inputs=None, examples=(X, Y))
        assert net.training
        for step in range(3):
            run.log({"loss": 1.0}, step=step, epoch=step)
        path = run.path
    assert path is not None
    reader = RunReader.open(path)
    assert len(reader.steps("params")) == 3
    with (
        epochal.init("p", dir=tmp_path, strict=True, system=False) as run,
        pytest.raises(UsageError, match=r"\(x, y\)"),
    ):
        run.watch(net, examples=X)  # type: ignore[arg-type]


def test_two_networks_are_asked_each_about_its_own(tmp_path: Path) -> None:
    one, two = nn.Linear(6, 3), nn.Linear(6, 2)
    with epochal.init("p", dir=tmp_path, strict=True, system=False) as run:
        run.watch(one, name="one", examples=(X, Y))
        run.watch(two, name="two", examples=(X[:8], Y[:8] % 2))
        run.log({"loss": 1.0}, step=1, epoch=1)
        run.unwatch(two)
        run.log({"loss": 1.0}, step=2, epoch=2)
        path = run.path
    assert path is not None
    reader = RunReader.open(path)
    assert [item.step for item in reader.media("one/predictions")] == [0, 1, 2]
    assert [item.step for item in reader.media("two/predictions")] == [0, 1]
    assert reader.predictions(name="two/predictions").probabilities.shape == (8, 2)


def test_numpy_networks_that_can_be_called_are_asked_too(tmp_path: Path) -> None:
    class Numbers:
        def __init__(self) -> None:
            self.parameters = {"weight": np.random.default_rng(0).normal(size=(CLASSES, 6))}

        def __call__(self, x: Any) -> Any:
            return x @ self.parameters["weight"].T

    net = Numbers()
    with epochal.init("p", dir=tmp_path, strict=True, system=False) as run:
        run.watch(net, examples=(X.numpy(), Y.numpy()))
        run.log({"loss": 1.0}, step=1, epoch=1)
        path = run.path
        with pytest.raises(UsageError, match="numpy parameters cannot"):
            run.watch({"other.weight": np.ones((2, 2))}, name="mere", examples=(X.numpy(), Y.numpy()))
    assert path is not None
    scores = torch.from_numpy(net(X.numpy()))
    np.testing.assert_allclose(
        RunReader.open(path).predictions(1).probabilities, scores.softmax(1).numpy(), rtol=0, atol=1e-6
    )
