"""The training loop of the lab: the numbers of a loop written by hand, bit for bit, and again after a break."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch")

import torch
from torch import Tensor
from torch.nn import functional

import epochal
from epochal.demos.convnet import convnet3d
from epochal.demos.volumes import Block, Volumes
from epochal.errors import DivergedError, UsageError
from epochal.lab.training import check, read_checkpoint, train

pytestmark = pytest.mark.torch

PARAMETERS: dict[str, Any] = {
    "filters": [4, 6], "kernel_sizes": [3, 3], "pool_sizes": [2, 2], "dense": [16], "dropout": 0.4,
    "epochs": 4, "batch_size": 16, "learning_rate": 0.01,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EPOCHAL_STRICT", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def volumes(n: int = 90, classes: int = 3) -> Volumes:
    """Noise with a bright slice, whose place is the class."""
    draw = np.random.default_rng(1)
    y = draw.integers(0, classes, n)
    x = draw.integers(0, 90, (n, 8, 8, 8)).astype(np.uint8)
    x[np.arange(n), 2 * y] += 100
    parts = [Block(features=x[a:b], labels=y[a:b]) for a, b in ((0, 50), (50, 70), (70, n))]
    return Volumes(
        name="slices",
        source="here",
        training=parts[0],
        validation=parts[1],
        test=parts[2],
        classes=tuple("abcdef"[:classes]),
        largest=255.0,
    )


def trained(folder: Path, parameters: Mapping[str, Any], **options: Any) -> tuple[epochal.Run, dict[str, float]]:
    with epochal.init("lab", dir=folder, system=False, code=False) as run:
        return run, train(run, parameters, **{"model": "epochal:convnet3d", "data": volumes(), "seed": 7, **options})


def curves(run: epochal.Run) -> dict[str, tuple[list[int], list[float]]]:
    """Steps and values of all that was logged, but for the times."""
    assert run.path is not None
    found = epochal.open(run.path.parents[1]).run(run.id).stored.scalars()
    return {name: (s.steps.tolist(), s.v.tolist()) for name, s in found.items() if name != "seconds"}


def by_hand(parameters: Mapping[str, Any], data: Volumes, seed: int) -> tuple[list[list[float]], Any]:
    """The same training as PyTorch's tutorials write it: rows of train loss and accuracy, val loss and accuracy."""
    torch.manual_seed(seed)
    own = ("filters", "kernel_sizes", "pool_sizes", "dense", "dropout")
    network = convnet3d(input_shape=data.shape, classes=3, **{name: parameters[name] for name in own})
    optimiser = torch.optim.Adam(network.parameters(), lr=parameters["learning_rate"])
    order = torch.Generator().manual_seed(seed)

    def of(block: Block) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(block.features).float() / 255, torch.from_numpy(block.labels)

    x, y = of(data.training)
    x_val, y_val = of(data.validation)
    rows = []
    for _ in range(parameters["epochs"]):
        network.train()
        total, right = 0.0, 0
        shuffled, size = torch.randperm(len(y), generator=order), parameters["batch_size"]
        for batch in (shuffled[begin : begin + size] for begin in range(0, len(y), size)):
            optimiser.zero_grad()
            scores = network(x[batch])
            loss = functional.cross_entropy(scores, y[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += loss.item() * len(batch)
            right += int((scores.argmax(1) == y[batch]).sum())
        network.eval()
        with torch.no_grad():
            scores = network(x_val)
        val = functional.cross_entropy(scores, y_val).item()
        rows.append([total / len(y), right / len(y), val, (scores.argmax(1) == y_val).double().mean().item()])
    return rows, network


def test_it_is_the_loop_written_by_hand_bit_for_bit(tmp_path: Path) -> None:
    expected, network = by_hand(PARAMETERS, volumes(), 7)
    run, found = trained(tmp_path, PARAMETERS)
    logged = curves(run)
    steps = [4, 8, 12, 16]
    for column, name in enumerate(("train/loss", "train/accuracy", "val/loss", "val/accuracy")):
        assert logged[name] == (steps, [row[column] for row in expected]), name
    assert logged["learning_rate"] == (steps, [0.01] * 4)
    assert logged["epoch"] == (steps, [1.0, 2.0, 3.0, 4.0])
    reader = epochal.open(tmp_path).run(run.id)
    for name, value in network.state_dict().items():
        if "num_batches" not in name:
            np.testing.assert_array_equal(reader.parameters(16)[name], value.numpy(), err_msg=name)
    test = volumes().test
    assert test is not None
    with torch.no_grad():
        scores = network(torch.from_numpy(test.features).float() / 255)
    assert found["test_accuracy"] == (scores.argmax(1).numpy() == test.labels).mean()
    assert found["test_loss"] == functional.cross_entropy(scores, torch.from_numpy(test.labels)).item()
    losses = [row[2] for row in expected]
    assert (found["val_loss"], found["best_val_loss"]) == (losses[-1], min(losses))
    assert found["best_epoch"] == losses.index(min(losses)) + 1
    assert found["best_val_accuracy"] == max(row[3] for row in expected)
    assert (found["epochs"], found["weights"]) == (4, sum(p.numel() for p in network.parameters()))


def test_two_times_the_same_trial_and_another_seed(tmp_path: Path) -> None:
    parameters = {**PARAMETERS, "augmentation": ["shift", "noise:0.05"], "schedule": "cosine", "clip": 1.0}
    one, same = (curves(trained(tmp_path, parameters)[0]) for _ in range(2))
    assert one == same
    assert one != curves(trained(tmp_path, parameters, seed=8)[0])


@pytest.mark.parametrize("batches", [2, 4, 5, 11, 15])
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path, batches: int) -> None:
    parameters = {**PARAMETERS, "optimiser": "sgd", "schedule": "one_cycle", "augmentation": "flip", "early_stop": 4}
    whole = trained(tmp_path, parameters)
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) >= batches

    broken, said = trained(tmp_path, parameters, should_stop=should_stop)
    # At the end of an epoch it is asked again after the next batch.
    assert said["epochs"] == batches // 4
    assert broken.path is not None
    kept = read_checkpoint(broken.path)
    assert kept is not None
    # In the same run, as a lab goes on; and in a new one, which gets what the old one had.
    with epochal.init("lab", dir=tmp_path, id=broken.id, resume="must", system=False, code=False) as run:
        again = train(run, parameters, model="epochal:convnet3d", data=volumes(), seed=7, restore=kept)
    other = trained(tmp_path, parameters, restore=kept)
    for found, numbers in ((curves(run), again), (curves(other[0]), other[1])):
        assert found == curves(whole[0])
        assert {k: v for k, v in numbers.items() if k != "seconds"} == {
            k: v for k, v in whole[1].items() if k != "seconds"
        }
    assert read_checkpoint(broken.path) is None, "it is gone when the training is done"


def test_a_training_that_was_killed_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    whole = curves(trained(tmp_path, PARAMETERS)[0])

    def killed(epoch: int, _of: int, _numbers: Mapping[str, float]) -> None:
        if epoch == 3:
            raise MemoryError

    with pytest.raises(MemoryError):
        trained(tmp_path, PARAMETERS, on_epoch=killed)
    broken = epochal.open(tmp_path).run("latest")
    kept = read_checkpoint(broken.info.path)
    assert kept is not None
    assert kept["place"][:3] == [3, 0, 12]
    assert curves(trained(tmp_path, PARAMETERS, restore=kept)[0]) == whole
    with pytest.raises(UsageError, match="other parameters, another seed"):
        trained(tmp_path, PARAMETERS, restore=kept, seed=1)
    path = Path(broken.info.path) / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    assert read_checkpoint(broken.info.path) is None


class Evil:
    """What a pickle would run."""

    def __reduce__(self) -> Any:
        return print, ("run",)


def test_a_state_is_read_without_running_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"format": 1, "network": Evil()}, tmp_path / "checkpoint.pt")
    assert read_checkpoint(tmp_path) is None
    assert capsys.readouterr().out == ""


def test_random_numbers_of_the_caller_go_on(tmp_path: Path) -> None:
    def drawn() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(1))]

    def seeded() -> None:
        random.seed(3)
        np.random.seed(3)
        torch.manual_seed(3)

    seeded()
    expected = drawn()
    seeded()
    trained(tmp_path, {**PARAMETERS, "epochs": 1})
    assert drawn() == expected


def test_the_network_and_what_it_says_are_recorded(tmp_path: Path) -> None:
    run, found = trained(tmp_path, PARAMETERS)
    reader = epochal.open(tmp_path).run(run.id)
    assert {"stage1.conv.weight", "dense1.linear.weight", "output.bias"} <= set(reader.parameters(16))
    data = volumes()
    answers = reader.network()(data.validation.features.astype(np.float32) / 255)
    assert (answers.argmax(1) == data.validation.labels).mean() == pytest.approx(found["val_accuracy"])
    (item,) = reader.media("predictions")
    assert item.meta["accuracy"] == pytest.approx(found["val_accuracy"])
    assert (item.meta["examples"], item.meta["class_names"], item.meta["inputs"]) == (20, ["a", "b", "c"], "numbers")
    summary = reader.summary
    assert (summary["val/loss"].better, summary["val/accuracy"].better) == ("min", "max")


def test_a_loss_that_is_none(tmp_path: Path) -> None:
    wild = {**PARAMETERS, "optimiser": "sgd", "learning_rate": 1e30, "epochs": 2}
    _, found = trained(tmp_path, wild)
    assert math.isnan(found["train_loss"])
    assert found["epochs"] == 2
    assert "best_val_loss" not in found
    with pytest.raises(DivergedError, match=r"The loss is (nan|inf) at step \d, in epoch 1") as caught:
        trained(tmp_path, {**wild, "stop_on_nan": True})
    assert "smaller learning rate" in caught.value.hint


def test_it_stops_where_validation_does_not_become_better(tmp_path: Path) -> None:
    still = {**PARAMETERS, "learning_rate": 1e-12, "batch_norm": False, "epochs": 30, "early_stop": 3}
    run, found = trained(tmp_path, still)
    losses = curves(run)["val/loss"][1]
    best = losses.index(min(losses)) + 1
    assert found["epochs"] == len(losses) == best + 3 < 30
    assert "test_accuracy" in found


def test_numbers_to_be_met_and_a_factory_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_factories.py").write_text(
        "from torch import nn\n"
        "def line(input_shape, width: int, sigmoid=False):\n"
        "    return nn.Sequential(nn.Linear(input_shape[0], width), nn.Tanh(), nn.Linear(width, 1))\n"
        "def broken():\n    raise ZeroDivisionError('in the factory')\n"
        "def none():\n    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    draw = np.random.default_rng(0)
    x = draw.normal(size=(120, 5)).astype(np.float32)
    np.savez(
        tmp_path / "line.npz", X_train=x, y_train=x @ [1.0, -2.0, 0.5, 0.0, 3.0], X_test=x[:9], y_test=x[:9].sum(1)
    )
    options: dict[str, Any] = {"model": "own_factories:line", "data": str(tmp_path / "line.npz")}
    parameters = {"width": 16, "epochs": 60, "batch_size": 10, "learning_rate": 0.02, "weight_decay": 0.0}
    run, found = trained(tmp_path / "runs", parameters, **options)
    assert found["val_loss"] < 0.5
    assert "val/accuracy" not in curves(run)
    assert "test_loss" in found
    mae = trained(tmp_path / "runs", {**parameters, "loss": "mae", "epochs": 1}, **options)[1]
    assert mae["val_loss"] > 0
    with pytest.raises(UsageError, match="loss 'cross_entropy' does not fit the data"):
        trained(tmp_path / "runs", {**parameters, "loss": "cross_entropy"}, **options)
    with pytest.raises(UsageError, match=r"no parameter 'widht'[\s\S]*Did you mean 'width'"):
        check({"widht": 3}, model="own_factories:line")
    with pytest.raises(UsageError, match="wants width"):
        check({}, model="own_factories:line")
    with pytest.raises(ZeroDivisionError, match="in the factory"):
        trained(tmp_path / "runs", {}, **{**options, "model": "own_factories:broken"})
    with pytest.raises(UsageError, match=r"gave a int, not a torch\.nn\.Module"):
        trained(tmp_path / "runs", {}, **{**options, "model": "own_factories:none"})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"filter": [3]}, r"no parameter 'filter'[\s\S]*Did you mean 'filters'"),
        ({"learning_rat": 1}, "Did you mean 'learning_rate'"),
        ({"optimizer": "adam", "optimiser": "sgd"}, "optimiser is given twice, once as (optimizer|optimiser)"),
        ({"input_shape": [3]}, "input_shape comes from the data"),
        ({"optimiser": "adamm"}, r"no optimiser 'adamm'[\s\S]*Did you mean 'adam"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"augmentation": "rotat"}, "Did you mean 'rotate'"),
        ({"augmentation": "rotate:much"}, "'much' is not a number"),
        ({"epochs": 0}, "epochs must be a whole number from 1"),
        ({"epochs": 2.5}, "epochs must be a whole number"),
        ({"batch_size": True}, "batch_size must be"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0"),
        ({"learning_rate": "0.1"}, "learning_rate must be a number above 0; it is '0.1'"),
        ({"momentum": 1.0}, "momentum must be a number 0 or more, below 1"),
        ({"clip": -1}, "clip must be"),
        ({"stop_on_nan": 1}, "stop_on_nan must be true or false"),
        ({"early_stop": 0}, "early_stop must be"),
        ({"loss": "mse"}, "loss 'mse' does not fit the data, whose labels are classes"),
        ({"pool_sizes": [8, 2]}, "Stage 2 pools to nothing: 1 × 1 × 1 by 2 × 2 × 2"),
        ({"device": "nowhere"}, "device 'nowhere' cannot be used"),
    ],
)
def test_what_cannot_be_is_said_before_anything_trains(change: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why):
        trained(tmp_path, {**PARAMETERS, **change})
    assert "train/loss" not in epochal.open(tmp_path).run("latest").summary


def test_both_spellings_are_the_same(tmp_path: Path) -> None:
    american = {**PARAMETERS, "optimizer": "adamw", "initializer": "he_normal", "epochs": 1}
    british = {**PARAMETERS, "optimiser": "adamw", "initialiser": "he_normal", "epochs": 1}
    assert curves(trained(tmp_path, american)[0]) == curves(trained(tmp_path, british)[0])


def test_a_disk_that_is_full_is_told_and_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    run, found = trained(tmp_path, {**PARAMETERS, "epochs": 2})
    assert found["epochs"] == 2
    (alert,) = epochal.open(tmp_path).run(run.id).alerts()
    assert "cannot be kept" in alert.title
    assert "No space left" in alert.text
