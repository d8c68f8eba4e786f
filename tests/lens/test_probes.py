"""Linear probes against scikit-learn's ridge classifier on features taken by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import epochal
from epochal import lens
from epochal.errors import UsageError

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytestmark = [pytest.mark.torch, pytest.mark.sklearn]

from sklearn.datasets import load_digits  # noqa: E402
from sklearn.linear_model import RidgeClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from torch import nn  # noqa: E402

from epochal.lens.probes import _split  # noqa: E402
from tests.lens.known import plain_cnn  # noqa: E402

Array = npt.NDArray[Any]


def digits(count: int = 600) -> tuple[Array, Array]:
    x, y = load_digits(return_X_y=True)
    return (x[:count] / 16).astype(np.float32), y[:count].astype(np.int64)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 12), nn.Tanh(), nn.Linear(12, 10))


def ridge(features: Array, y: Array, train: Array, test: Array, alpha: float) -> tuple[float, float]:
    model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=alpha)).fit(features[train], y[train])
    return float(model.score(features[train], y[train])), float(model.score(features[test], y[test]))


def test_each_layer_is_the_ridge_classifier_of_scikit_learn() -> None:
    x, y = digits()
    net = network()
    found = lens.linear_probes(net, x, y, penalty=3.0, seed=5)
    assert found.layers == ("input", "0", "2", "4")
    train, test = _split(y, 0.25, 5)
    assert not set(train) & set(test)
    assert len(train) + len(test) == 600
    flow = torch.from_numpy(x)
    features = {"input": x}
    with torch.no_grad():
        for name, layer in net.named_children():
            flow = layer(flow)
            features[name] = flow.numpy().copy()
    for i, name in enumerate(found.layers):
        fitted, held = ridge(features[name].astype(np.float64), y, train, test, 3.0)
        assert found.train[i] == pytest.approx(fitted, abs=1e-12), name
        assert found.array[i] == pytest.approx(held, abs=1e-12), name
    commonest = np.bincount(y[train]).argmax()
    assert found.chance == pytest.approx(float((y[test] == commonest).mean()))
    assert found.array[0] > 0.85
    assert (found.interval[:, 0] < found.array).all()
    assert (found.array < found.interval[:, 1]).all()


def test_the_penalty_is_that_of_generalised_cross_validation() -> None:
    x, y = digits(300)
    found = lens.linear_probes(network(), x, y, layers=["2"])
    train, _ = _split(y, 0.25, 0)
    with torch.no_grad():
        features = network()[:3](torch.from_numpy(x)).double().numpy()[train]
    scaled = (features - features.mean(0)) / features.std(0)
    targets = np.where(y[train, None] == np.arange(10), 1.0, -1.0)
    n = len(train)
    errors = {}
    for penalty in np.logspace(-3, 6, 19):
        own = scaled @ np.linalg.solve(scaled.T @ scaled + penalty * np.eye(12), scaled.T)
        hat = own + np.full((n, n), 1 / n)
        errors[float(penalty)] = ((targets - hat @ targets) ** 2).sum() * n / (n - np.trace(hat)) ** 2
    assert found.penalties[1] == pytest.approx(min(errors, key=lambda p: errors[p]))


def test_maps_are_averaged_over_places_and_many_channels_projected() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((80, 1, 28, 28)).astype(np.float32)
    y = np.arange(80) % 4
    x[y == 1, :, :14] += 0.5
    net = plain_cnn()
    found = lens.linear_probes(net, x, y, features=100, penalty=1.0, seed=1)
    # 8 channels fit on a 3 x 3 grid, 12 on 2 x 2, 16 on 2 x 2, the picture itself on 10 x 10.
    assert found.features == (100, 72, 48, 64, 10)
    assert any("averaged over places to 3 on a side: 0" in note for note in found.notes)
    with torch.no_grad():
        maps = torch.nn.functional.adaptive_avg_pool2d(net[0](torch.from_numpy(x)), 3).flatten(1).double().numpy()
    train, test = _split(y, 0.25, 1)
    fitted, held = ridge(maps, y, train, test, 1.0)
    assert (found.train[1], found.array[1]) == pytest.approx((fitted, held))
    wide = nn.Sequential(nn.Linear(784, 300), nn.Linear(300, 2))
    few = lens.linear_probes(wide, x.reshape(80, -1), y, features=50)
    assert few.features == (50, 50, 2)
    assert any("projected at random: input, 0" in note for note in few.notes)


def test_random_labels_are_read_at_chance_and_names_are_classes() -> None:
    x, _ = digits()
    rng = np.random.default_rng(3)
    names = np.array(["cat", "dog", "owl", "fox"])[rng.integers(0, 4, len(x))]
    found = lens.linear_probes(network(), x, names)
    assert (found.array < 0.4).all()
    assert found.numbers["classes"] == 4
    pairs = [(row, int(label == "cat")) for row, label in zip(x, names, strict=True)]
    assert lens.linear_probes(network(), pairs, layers=["0"]).numbers["classes"] == 2


def test_bad_input_is_said() -> None:
    x, y = digits(40)
    for bad, words in (
        (None, "need the class"), (y[:-1], "classes of 40 examples"), (np.zeros(40, int), "one class"),
        (x[:, 0], "whole numbers or names"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            lens.linear_probes(network(), x, bad)
    rare = np.zeros(40, int)
    rare[3] = 1
    with pytest.raises(UsageError, match="has one example"):
        lens.linear_probes(network(), x, rare)
    with pytest.raises(UsageError, match="between 0 and 1"):
        lens.linear_probes(network(), x, y, held_out=1.0)


def test_over_a_training_probes_get_better(tmp_path: Path) -> None:
    x, y = digits()
    net = network()
    data, truth = torch.from_numpy(x), torch.from_numpy(y)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    with epochal.init(project="p", dir=tmp_path, strict=True) as recording:
        recording.watch(net, inputs=data[:2])
        for step in range(1, 4):
            for _ in range(25):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(data), truth).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            recording.log({"loss": 0.0}, step=step)
            recording.snapshot(step)
    run = epochal.open(tmp_path).run("latest")
    film = lens.film(lens.linear_probes, run, inputs=x, labels=y)
    assert film.frames.shape == (4, 4)
    assert film[3][3] > film[0][3] + 0.2
    np.testing.assert_array_equal(film[0], lens.linear_probes(run.network(0), x, y).array)
    lens.linear_probes(run.network(3), x, y).save(tmp_path / "probes.png")
    assert (tmp_path / "probes.png").stat().st_size > 1000
