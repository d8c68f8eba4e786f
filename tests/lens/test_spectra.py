"""Weight spectra against PyTorch's norms and SciPy's distributions, and from snapshots without PyTorch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from epochal import lens
from epochal.errors import NetworkError, NotFoundError, UsageError
from epochal.lens.spectrum import power_law

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.ConvTranspose2d(6, 4, 2), nn.Flatten(), nn.Linear(2916, 9)
    )


def test_kernels_are_folded_and_vectors_left_out() -> None:
    network = net()
    found = lens.spectra(network)
    assert found.layers == ("0", "3", "5")
    assert found.shapes == ((6, 9), (4, 24), (9, 2916))
    conv, linear = network[0], network[5]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(linear, nn.Linear)
    folded = conv.weight.detach().flatten(1)
    np.testing.assert_allclose(found.spectral_norm[0], torch.linalg.matrix_norm(folded, 2).item(), rtol=1e-6)
    np.testing.assert_allclose(found.spectral_norm[2], torch.linalg.matrix_norm(linear.weight, 2).item(), rtol=1e-6)
    frobenius = float((linear.weight.detach() ** 2).sum())
    assert found.stable_rank[2] == pytest.approx(frobenius / found.spectral_norm[2] ** 2, rel=1e-6)
    # Each output of a transposed convolution is one row: its weights are [inputs, outputs, h, w].
    turned = network[3]
    assert isinstance(turned, nn.ConvTranspose2d)
    rows = turned.weight.detach().transpose(0, 1).flatten(1)
    np.testing.assert_allclose(found.values[1], torch.linalg.svdvals(rows).numpy(), rtol=1e-5)
    assert found.array.shape == (3, 9)
    assert np.isnan(found.array[0, 6:]).all()


def test_known_matrices() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    found = lens.spectra({"a.weight": turn @ np.diag([4.0, 3, 2, 1, 0]), "one": np.outer([1.0, 2], [3.0, 4, 5]),
                          "b": np.ones(4)})  # fmt: skip
    assert found.layers == ("a", "one")
    np.testing.assert_allclose(found.values[0], [4, 3, 2, 1, 0], atol=1e-12)
    np.testing.assert_allclose(found.stable_rank, [30 / 16, 1], rtol=1e-12)
    assert found.power_laws == (None, None)
    with pytest.raises(NotFoundError, match="no layer 'c'"):
        lens.spectra({"a": np.eye(3)}, layers=["c"])
    with pytest.raises(UsageError, match="no weights"):
        lens.spectra({"b": np.ones(4)})
    with pytest.raises(NetworkError, match="not finite"):
        lens.spectra({"a": np.array([[1.0, np.nan]])})


def test_the_power_law_is_the_one_that_scipy_measures_nearest() -> None:
    stats = pytest.importorskip("scipy.stats", reason="SciPy is not installed")
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.random(120), rng.pareto(1.6, 100) + 1])
    ordered = np.sort(values)
    distances = {}
    for least in ordered[:-1]:
        tail = ordered[ordered >= least]
        alpha = 1 + len(tail) / np.log(tail / least).sum()
        distances[least] = stats.kstest(tail, stats.pareto(alpha - 1, scale=least).cdf).statistic, alpha
    least = min(distances, key=lambda one: distances[one][0])
    found = power_law(values)
    assert found is not None
    assert (found.least, found.distance) == pytest.approx((least, distances[least][0]))
    assert found.alpha == pytest.approx(distances[least][1])
    assert abs(found.alpha - 2.6) < 3 * found.error
    assert power_law(values[:49]) is None
    assert power_law(np.ones(60)) is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    network = net()
    x = torch.rand(4, 1, 28, 28)
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    with epochal.init(project="p", dir=root, strict=True) as recording:
        recording.watch(network, inputs=x)
        for step in range(1, 4):
            optimizer.zero_grad()
            network(x).square().mean().backward()
            optimizer.step()
            recording.log({"loss": 0.0}, step=step)
            recording.snapshot(step)
    return root


def test_the_film_is_read_from_snapshots(folder: Path, tmp_path: Path) -> None:
    run: Any = epochal.open(folder).run("latest")
    film = lens.film(lens.spectra, run)
    assert film.frames.shape == (4, 3, 9)
    for step, frame in film:
        np.testing.assert_allclose(frame, lens.spectra(run.network(step).module).array, rtol=1e-6)
    assert not np.allclose(film[0][0, :6], film[3][0, :6])
    last = lens.spectra(run.network(3))
    for suffix in ("png", "svg", "npz", "csv"):
        last.save(tmp_path / f"spectra.{suffix}")
        assert (tmp_path / f"spectra.{suffix}").stat().st_size > 100
    assert last.film("stable rank").frames.shape == (1, 3)


def test_snapshots_need_no_pytorch(folder: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import epochal; from epochal import lens\n"
        f"film = lens.film(lens.spectra, epochal.open({str(folder)!r}).run('latest'), steps=[0, 3])\n"
        "print(film.frames.shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == "(2, 3, 9)", done.stderr


def test_kernels_of_keras_have_their_outputs_last(tmp_path: Path) -> None:
    # A graph that says so, as the Keras adapter writes it: the weights alone are enough.
    from epochal.facts.graph import Graph, Layer, Parameter
    from epochal.lens.spectrum import Weights

    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 5))
    parameter = Parameter(name="conv/kernel", shape=(3, 3, 2, 5), dtype="float32", role="weight", layout=(3, 2, 0, 1))
    graph = Graph(source="declared", layers=(Layer(layer_id="conv", kind="Conv2D", parameters=(parameter,)),))
    found = lens.spectra(Weights(graph, {"conv/kernel": kernel}))
    assert found.layers == ("conv",)
    assert found.shapes == ((5, 18),)
    np.testing.assert_allclose(found.values[0], np.linalg.svd(kernel.reshape(18, 5), compute_uv=False))
