"""CKA against its definitions: sums over distinct examples, and Kornblith's form in the space of features."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import epochal
from epochal import lens
from epochal.errors import NotFoundError, UsageError

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402

from tests.attending import Windows  # noqa: E402
from tests.lens.known import plain_cnn  # noqa: E402

Array = npt.NDArray[Any]


def hsic_by_quadruples(k: Array, el: Array) -> float:
    """The unbiased HSIC as a mean over all four distinct examples (Song et al. 2012, equation 3)."""
    found = [k[i, j] * (el[i, j] + el[q, r] - 2 * el[i, q]) for i, j, q, r in permutations(range(len(k)), 4)]
    return float(np.mean(found))


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def features(network: nn.Sequential, x: Array) -> list[Array]:
    """What the linear layers put out, layer after layer."""
    found, flow = [], torch.from_numpy(x)
    with torch.no_grad():
        for layer in network:
            flow = layer(flow)
            if isinstance(layer, nn.Linear):
                found.append(flow.numpy().copy())
    return found


def test_one_batch_is_the_mean_over_distinct_examples() -> None:
    x = np.random.default_rng(0).normal(size=(7, 5))
    network = small()
    found = lens.cka(network, inputs=x)
    assert found.rows == found.columns == ("0", "2", "4")
    grams = [f @ f.T for f in features(network, x)]
    hsic = np.array([[hsic_by_quadruples(a, b) for b in grams] for a in grams])
    expected = hsic / np.sqrt(np.outer(np.diag(hsic), np.diag(hsic)))
    np.testing.assert_allclose(found.array, expected, rtol=1e-9)


def test_batches_add_up_each_example_once() -> None:
    x = np.random.default_rng(1).normal(size=(13, 5))
    network = small()
    found = lens.cka(network, inputs=x, batch=6, seed=3)
    assert found.numbers == {"examples": 13, "batches": 2, "batch": 7, "seed": 3}
    all_features = features(network, x)
    sums = np.zeros((3, 3))
    for part in np.array_split(np.random.default_rng(3).permutation(13), 2):
        grams = [f[part] @ f[part].T for f in all_features]
        sums += np.array([[hsic_by_quadruples(a, b) for b in grams] for a in grams])
    expected = sums / np.sqrt(np.outer(np.diag(sums), np.diag(sums)))
    np.testing.assert_allclose(found.array, expected, rtol=1e-9)


def test_without_correction_it_is_that_of_kornblith_in_the_space_of_features() -> None:
    x = np.random.default_rng(2).normal(size=(40, 5))
    network = small()
    found = lens.cka(network, inputs=x, debiased=False)
    centred = [f - f.mean(axis=0) for f in features(network, x)]
    for i, a in enumerate(centred):
        for j, b in enumerate(centred):
            norm = np.linalg.norm
            expected = norm(b.T @ a) ** 2 / (norm(a.T @ a) * norm(b.T @ b))
            assert found.array[i, j] == pytest.approx(expected, rel=1e-9)
    assert "not debiased" in " ".join(found.notes)


def test_turned_and_scaled_features_are_the_same_and_unrelated_ones_are_not() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(400, 30)).astype(np.float32)
    one, turned = nn.Linear(30, 30, bias=False), nn.Linear(30, 30)
    q = torch.linalg.qr(torch.from_numpy(rng.normal(size=(30, 30)).astype(np.float32)))[0]
    with torch.no_grad():
        turned.weight.copy_(3.5 * q @ one.weight)
    assert lens.cka(nn.Sequential(one), nn.Sequential(turned), x, batch=100).array[0, 0] == pytest.approx(1, abs=1e-5)
    # Features that depend on other halves of the input have nothing in common: debiased CKA says so, the other not.
    first, second = (nn.Linear(30, 200, bias=False) for _ in range(2))
    with torch.no_grad():
        first.weight[:, :15] = 0
        second.weight[:, 15:] = 0
    few = x[:60]
    pair = nn.Sequential(first), nn.Sequential(second)
    assert abs(lens.cka(pair[0], pair[1], few).array[0, 0]) < 0.03
    assert lens.cka(pair[0], pair[1], few, debiased=False).array[0, 0] > 0.15


def test_maps_lie_flat_and_networks_are_compared_layer_by_layer() -> None:
    x = np.random.default_rng(5).random((24, 1, 28, 28)).astype(np.float32)
    a, b = plain_cnn(0), plain_cnn(1)
    found = lens.cka(a, b, x, layers=["0", "3"], layers_b=["10"])
    assert (found.rows, found.columns) == (("0", "3"), ("10",))
    with torch.no_grad():
        left = a[0](torch.from_numpy(x)).flatten(1).double().numpy()
        right = b(torch.from_numpy(x)).double().numpy()
    k, el = left @ left.T, right @ right.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(el, 0)

    def unbiased(p: Array, q: Array) -> float:
        n = len(p)
        return float(np.trace(p @ q) + p.sum() * q.sum() / (n - 1) / (n - 2) - 2 / (n - 2) * p.sum(0) @ q.sum(1))

    expected = unbiased(k, el) / np.sqrt(unbiased(k, k) * unbiased(el, el))
    assert found.array[0, 0] == pytest.approx(expected, rel=1e-3)


def test_layers_without_an_answer_and_bad_input() -> None:
    first = nn.Linear(4, 3)
    network = nn.Sequential(first, nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        first.bias.fill_(-100)
    found = lens.cka(network, inputs=np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32))
    assert np.isnan(found.array[1]).all()
    assert np.isfinite(found.array[0, 0])
    assert "says the same of all examples" in " ".join(found.notes)
    with pytest.raises(UsageError, match="at least 4 examples"):
        lens.cka(network, inputs=np.zeros((3, 4), np.float32))
    with pytest.raises(UsageError, match="give inputs"):
        lens.cka(network)
    with pytest.raises(NotFoundError, match="no layer 'nine'"):
        lens.cka(network, inputs=np.zeros((8, 4), np.float32), layers=["nine"])
    with pytest.raises(UsageError, match="list of names"):
        lens.cka(network, inputs=np.zeros((8, 4), np.float32), layers="0")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    x, y = torch.randn(64, 6), torch.arange(64) % 3
    optimizer = torch.optim.Adam(network.parameters(), 3e-2)
    with epochal.init(project="p", dir=folder, strict=True) as recording:
        recording.watch(network, inputs=x[:2])
        for step in range(1, 4):
            for _ in range(10):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            recording.log({"loss": 0.0}, step=step)
            recording.snapshot(step)
    return epochal.open(folder).run("latest")


def test_over_steps_each_pair_is_that_of_two_networks(run: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(7).normal(size=(50, 6)).astype(np.float32)
    found = lens.cka_steps(run, x, layer="2")
    assert found.rows == found.columns == ("0", "1", "2", "3")
    np.testing.assert_allclose(np.diag(found.array), 1, rtol=1e-6)
    pair = lens.cka(run.network(1), run.network(3), x, layers=["2"])
    assert found.array[1, 3] == pytest.approx(float(pair.array[0, 0]), rel=1e-5)
    assert found.array[0, 3] < 0.999
    film = lens.film(lens.cka, run, inputs=x)
    assert film.frames.shape == (4, 2, 2)
    np.testing.assert_allclose(film[3], lens.cka(run.network(3), inputs=x).array)
    found.save(tmp_path / "steps.png")
    found.save(tmp_path / "steps.svg")
    found.save(tmp_path / "steps.npz")
    assert (tmp_path / "steps.png").stat().st_size > 1000


def test_layers_that_cannot_be_compared_are_said() -> None:
    torch.manual_seed(0)
    network = Windows()
    x = torch.rand(20, 1, 8, 8)
    found = lens.cka(network, inputs=x)
    assert found.rows == ("patches", "head")
    assert any("left out" in note and "attention" in note for note in found.notes)
    probes = lens.linear_probes(network, x, np.arange(20) % 2)
    assert any("left out" in note and "attention" in note for note in probes.notes)
    assert not any("left out" in note for note in lens.cka(network, inputs=x, layers=["head"]).notes)
