"""Loss landscapes against losses worked out at moved parameters, PCA of scikit-learn, and a bowl in closed form."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import epochal
from epochal import lens
from epochal.errors import NetworkError, UsageError

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor, nn  # noqa: E402

Array = npt.NDArray[Any]


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    )


def data(count: int = 30) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.random((count, 1, 8, 8)).astype(np.float32), np.arange(count) % 3


def test_filters_keep_their_length_and_vectors_stay() -> None:
    x, y = data()
    net = network()
    for module in net:
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.tensor([0.1, -0.2, 0.3, 0.0])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    seen: list[dict[str, Tensor]] = []

    def loss(scores: Tensor, labels: Tensor) -> Tensor:
        seen.append({name: value.clone() for name, value in net.state_dict().items()})
        return F.cross_entropy(scores, labels)

    found = lens.loss_landscape(net, x, y, size=3, span=0.5, loss=loss, seed=2)
    # The first place asked of the grid is somewhere on it: undo it, and the directions come out.
    assert found.array.shape == (3, 3)
    at = {(round(float(a), 6), round(float(b), 6)) for a in found.x for b in found.y}  # type: ignore[union-attr]
    assert (0.5, -0.5) in at
    for state in seen:
        for name, value in state.items():
            if value.ndim < 2:
                torch.testing.assert_close(value, before[name])
    # On an axis only one direction acts: the move has each filter's own length, times 0.5.
    moves = [{n: s[n] - before[n] for n in ("0.weight", "5.weight")} for s in seen]
    lengths = [
        torch.allclose(m["0.weight"].flatten(1).norm(dim=1), 0.5 * before["0.weight"].flatten(1).norm(dim=1), rtol=1e-4)
        and torch.allclose(m["5.weight"].norm(dim=1), 0.5 * before["5.weight"].norm(dim=1), rtol=1e-4)
        for m in moves
    ]
    assert sum(lengths) == 4
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_each_place_is_the_loss_of_the_network_moved_by_hand() -> None:
    x, y = data()
    net = network().eval()
    found = lens.loss_landscape(net, x, y, size=5, span=1.0, seed=7)
    generator = torch.Generator().manual_seed(7)
    directions = []
    for _ in range(2):
        drawn = {}
        for name in ("0.weight", "5.weight"):
            weight = net.get_parameter(name).detach()
            noise = torch.randn(weight.shape, generator=generator)
            flat = noise.flatten(1)
            drawn[name] = (flat / flat.norm(dim=1, keepdim=True) * weight.flatten(1).norm(dim=1, keepdim=True)).reshape(
                weight.shape
            )
        directions.append(drawn)
    assert found.y is not None
    assert found.accuracy is not None
    for i in (0, 2, 4):
        for j in (0, 1, 4):
            moved = copy.deepcopy(net)
            with torch.no_grad():
                for name in ("0.weight", "5.weight"):
                    moved.get_parameter(name).add_(
                        float(found.x[j]) * directions[0][name] + float(found.y[i]) * directions[1][name]
                    )
                scores = moved(torch.from_numpy(x))
            expected = float(F.cross_entropy(scores, torch.from_numpy(y)))
            assert found.array[i, j] == pytest.approx(expected, rel=1e-5)
            assert found.accuracy[i, j] == pytest.approx(float((scores.argmax(1).numpy() == y).mean()))
    assert found.array[2, 2] == pytest.approx(found.centre)
    assert "3 parameters of one axis" not in found.notes[1]
    assert "4 parameters of one axis" in found.notes[1]
    assert "running statistics" in found.notes[1]


def test_a_linear_network_with_squared_loss_is_a_parabola() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 1, bias=False))
    x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    y = np.random.default_rng(1).normal(size=50).astype(np.float32)
    found = lens.loss_landscape(net, x, y, size=9, dimensions=1)
    assert found.y is None
    assert found.loss == "mean squared error"
    coefficients, left, *_ = np.polyfit(found.x, found.array, 2, full=True)
    assert coefficients[0] > 0
    assert float(left[0]) < 1e-8
    assert found.accuracy is None


def test_probabilities_have_their_own_loss() -> None:
    x, y = data()
    net = network()
    scores = lens.loss_landscape(net, x, y, size=3)
    same = lens.loss_landscape(nn.Sequential(net, nn.Softmax(dim=1)), x, y, size=3)
    assert same.loss == "cross-entropy of probabilities"
    np.testing.assert_allclose(same.array, scores.array, rtol=1e-4)


def test_coarse_places_come_first_and_it_can_be_stopped() -> None:
    x, y = data(6)
    net = network()
    known: list[int] = []

    def preview(so_far: lens.Landscape) -> bool:
        known.append(int(np.isfinite(so_far.array).sum()))
        assert np.isfinite(so_far.filled).all()
        return len(known) < 2

    before = net.state_dict()["0.weight"].clone()
    found = lens.loss_landscape(net, x, y, size=17, preview=preview)
    assert known[0] <= 25
    assert np.isfinite(found.array[[0, 8, 16]][:, [0, 8, 16]]).all()
    assert np.isnan(found.array).sum() == 17 * 17 - known[1]
    torch.testing.assert_close(net.state_dict()["0.weight"], before, rtol=0, atol=0)

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lens.loss_landscape(net, x, y, size=5, progress=stop)
    torch.testing.assert_close(net.state_dict()["0.weight"], before, rtol=0, atol=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("runs")
    net = network()
    x, y = data()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    with epochal.init(project="p", dir=folder, strict=True) as recording:
        recording.watch(net, inputs=torch.from_numpy(x[:2]))
        for step in range(1, 7):
            for _ in range(5):
                optimizer.zero_grad()
                F.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            recording.log({"loss": 0.0}, step=step)
            recording.snapshot(step)
    return epochal.open(folder).run("latest")


def test_the_path_lies_on_the_components_of_scikit_learn(run: Any, tmp_path: Path) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition", reason="scikit-learn is not installed")
    x, y = data()
    found = lens.loss_landscape(run.network(6), x, y, size=5, path=run)
    states = [run.parameters(step) for step in found.path_steps]
    rows = np.stack([np.concatenate([s["0.weight"].ravel(), s["5.weight"].ravel()]) for s in states]).astype(np.float64)
    pca = decomposition.PCA(n_components=2).fit(rows - rows[-1])
    assert found.variance is not None
    np.testing.assert_allclose(found.variance, pca.explained_variance_ratio_, rtol=1e-5)
    places = (rows - rows[-1]) @ pca.components_.T
    assert found.path is not None
    np.testing.assert_allclose(np.abs(found.path), np.abs(places), atol=1e-5)
    np.testing.assert_allclose(found.path[-1], 0, atol=1e-7)
    assert (found.path[0] >= 0).all()
    assert found.path_losses is not None
    with torch.no_grad():
        for step, value in zip(found.path_steps, found.path_losses, strict=True):
            scores = run.network(step).module(torch.from_numpy(x))
            assert value == pytest.approx(float(F.cross_entropy(scores, torch.from_numpy(y))), rel=1e-5)
    assert found.path_losses[-1] == pytest.approx(found.centre)
    assert f"{found.variance.sum():.1%} of the variance" in " ".join(found.notes)
    # The plane covers the path.
    assert found.y is not None
    assert found.x[0] < found.path[:, 0].min()
    assert found.y[-1] > found.path[:, 1].max()
    for suffix in ("png", "svg", "gif", "npz"):
        found.save(tmp_path / f"path.{suffix}")
    from PIL import Image

    with Image.open(tmp_path / "path.gif") as movie:
        assert getattr(movie, "n_frames", 1) == len(found.path_steps)


def test_a_film_has_the_surface_of_each_step(run: Any) -> None:
    x, y = data()
    film = lens.film(lens.loss_landscape, run, inputs=x, labels=y, size=3, steps=[0, 6])
    assert film.frames.shape == (2, 3, 3)
    np.testing.assert_allclose(film[6], lens.loss_landscape(run.network(6), x, y, size=3).array, rtol=1e-6)


def test_bad_input_is_said(run: Any) -> None:
    x, y = data()
    net = network()
    for how, words in (
        ({"size": 2}, "size is from 3"), ({"span": 0.0}, "span must be"), ({"dimensions": 3}, "1 or 2"),
        ({"loss": "hinge"}, "or a function"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            lens.loss_landscape(net, x, y, **how)
    with pytest.raises(UsageError, match="labels go from 0 to 5"):
        lens.loss_landscape(net, x, np.arange(30) % 6)
    with pytest.raises(UsageError, match="30 inputs and 29 labels"):
        lens.loss_landscape(net, x, y[:-1])
    with pytest.raises(UsageError, match="do not fit the network"):
        lens.loss_landscape(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), x, y, path=run)
    with pytest.raises(UsageError, match="three snapshots"):
        lens.loss_landscape(net, x, y, path=run, steps=[0, 6])
    with pytest.raises(NetworkError, match="no parameters of two"):
        lens.loss_landscape(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64)), x, np.arange(30) % 3, size=3)
