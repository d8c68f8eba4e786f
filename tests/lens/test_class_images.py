"""Class images against products written out in numpy, and against PyTorch's own gradients."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import epochal
from epochal import lens
from epochal.errors import NotFoundError, UsageError
from epochal.facts.chain import dense_chain

Array = npt.NDArray[Any]


def saved(path: Path, *sizes: int, seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        made[f"layers.{i}.weight"] = random.normal(size=(outputs, inputs)).astype(np.float32)
        made[f"layers.{i}.bias"] = random.normal(size=outputs).astype(np.float32)
    np.savez(path, **made)  # type: ignore[arg-type]
    return made


def test_two_layers_are_the_sum_over_hidden_units(tmp_path: Path) -> None:
    made = saved(tmp_path / "net.npz", 784, 30, 10)
    network = epochal.Network.open(tmp_path / "net.npz", input_shape=(28, 28), activation="sigmoid")
    found = lens.class_images(network)
    assert found.array.shape == (10, 28, 28)
    assert found.method == "back-projection"
    w1, w2 = made["layers.0.weight"].astype(np.float64), made["layers.1.weight"].astype(np.float64)
    for c in range(10):
        expected = np.zeros(784)
        for j in range(30):
            expected += w1[j] * w2[c, j]
        np.testing.assert_allclose(found.array[c].ravel(), expected, atol=1e-6)
        shares = found.shares(c)
        assert shares.shape == (30, 28, 28)
        np.testing.assert_allclose(shares[7].ravel(), w1[7] * w2[c, 7], atol=1e-6)
        np.testing.assert_allclose(shares.sum(axis=0), found.array[c], atol=1e-6)


@pytest.mark.parametrize("sizes", [(9, 4), (9, 7, 5, 4), (9, 7, 5, 6, 3, 4)])
def test_any_depth(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    made = saved(tmp_path / "net.npz", *sizes)
    network = epochal.Network.open(tmp_path / "net.npz", activation="tanh")
    product = np.eye(sizes[0])
    for i in range(len(sizes) - 1):
        product = made[f"layers.{i}.weight"].astype(np.float64) @ product
    found = lens.class_images(network, input_shape=(3, 3))
    np.testing.assert_allclose(found.array, product.reshape(-1, 3, 3), atol=1e-6)
    if len(sizes) == 2:
        with pytest.raises(UsageError, match="no shares"):
            found.shares(0)
    else:
        np.testing.assert_allclose(found.shares(1).sum(axis=0), found.array[1], atol=1e-6)


def test_without_activations_the_pictures_are_the_network(tmp_path: Path) -> None:
    """An independent reading: a linear network's answer to a unit input is a pixel of each class image."""
    saved(tmp_path / "net.npz", 6, 5, 3)
    network = epochal.Network.open(tmp_path / "net.npz", activation="none")
    answers = network(np.eye(6)) - network(np.zeros((1, 6)))
    np.testing.assert_allclose(lens.class_images(network).array, answers.T, atol=1e-5)


def test_a_wrong_shape_is_said(tmp_path: Path) -> None:
    saved(tmp_path / "net.npz", 9, 4, 2)
    network = epochal.Network.open(tmp_path / "net.npz")
    with pytest.raises(UsageError, match=r"9 numbers cannot be folded to \[2, 4\]"):
        lens.class_images(network, input_shape=(2, 4))


def test_they_are_saved_as_files(tmp_path: Path) -> None:
    saved(tmp_path / "net.npz", 16, 3, 2)
    found = lens.class_images(epochal.Network.open(tmp_path / "net.npz", input_shape=(4, 4)))
    for suffix in ("png", "svg", "npz", "csv"):
        assert found.save(tmp_path / f"classes.{suffix}").stat().st_size > 100
    with np.load(tmp_path / "classes.npz") as kept:
        np.testing.assert_array_equal(kept["frames"][0], found.array)
    assert "<img" in found._repr_html_()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    torch.manual_seed(0)
    nn, folder = torch.nn, tmp_path_factory.mktemp("runs")
    kinds = {
        "dense": nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Sigmoid(), nn.Dropout(0.2), nn.Linear(8, 3)),
        "conv": nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)),
    }
    x, y = torch.randn(24, 1, 6, 6), torch.randint(0, 3, (24,))
    for name, net in kinds.items():
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
        with epochal.init(project="test", name=name, dir=folder, strict=True) as run:
            run.watch(net, inputs=(x[:2],), snapshots=1)
            for step in range(3):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(net(x), y)
                loss.backward()
                optimizer.step()
                run.log({"loss": loss}, step=step, epoch=step)
    runs = {r.info.name: r for r in epochal.open(folder).runs()}
    return runs, kinds, x, y


@pytest.mark.torch
def test_a_film_over_the_snapshots_of_a_run(trained: Any) -> None:
    runs, *_ = trained
    run = runs["dense"]
    film = lens.film(lens.class_images, run)
    assert film.frames.shape == (len(run.steps("params")), 3, 1, 6, 6)
    assert film.steps.tolist() == run.steps("params")
    for step, frame in film:
        state = run.parameters(step)
        expected = state["4.weight"].astype(np.float64) @ state["1.weight"].astype(np.float64)
        np.testing.assert_allclose(frame.reshape(3, 36), expected, atol=1e-6)
    assert not np.allclose(film.frames[0], film.frames[-1])
    np.testing.assert_allclose(lens.class_images(run.network()).array, film.frames[-1], atol=1e-6)
    np.testing.assert_array_equal(run.film("lens/class_images").frames, film.frames.astype(np.float32))
    few = lens.film(lens.class_images, run, steps=[0, 2], input_shape=(6, 6))
    assert few.frames.shape == (2, 3, 6, 6)
    with pytest.raises(NotFoundError, match="no snapshot at step 99"):
        lens.film(lens.class_images, run, steps=[99])


@pytest.mark.torch
def test_other_networks_need_examples_and_give_mean_gradients(trained: Any) -> None:
    import torch

    runs, kinds, x, y = trained
    run, net = runs["conv"], kinds["conv"]
    network = run.network()
    assert dense_chain(run.graph()) is None
    with pytest.raises(UsageError, match="class_images\\(network, inputs, labels\\)"):
        lens.class_images(network)
    found = lens.class_images(network, x, y)
    assert found.method == "mean input gradient"
    assert "mean gradient" in found.caption
    assert "24 examples of the class" in found.caption
    for c in range(3):
        gradients = []
        for example in x[y == c]:
            one = example[None].clone().requires_grad_()
            (gradient,) = torch.autograd.grad(net.eval()(one)[0, c], one)
            gradients.append(gradient[0].numpy())
        np.testing.assert_allclose(found.array[c], np.mean(gradients, axis=0), atol=1e-6)
    missing = lens.class_images(network, x[y == 0], y[y == 0])
    assert np.isnan(missing.array[1:]).all()
    assert "that the network gives" in lens.class_images(network, x).caption
    film = lens.film(lens.class_images, run, inputs=x, labels=y)
    np.testing.assert_allclose(film.frames[-1], found.array, atol=1e-6)
    with pytest.raises(UsageError, match="labels must be 24 numbers of classes, 0 to 2"):
        lens.class_images(network, x, y + 5)


def test_pictures_of_classes_stand_in_a_grid(tmp_path: Path) -> None:
    from epochal.film.draw import scene
    from epochal.picture import MatricesScene, theme

    saved(tmp_path / "net.npz", 12, 5, 10)
    for shape in ((4, 3), (1, 4, 3)):
        found = lens.class_images(epochal.Network.open(tmp_path / "net.npz", input_shape=shape))
        drawn = scene(found.film(), theme=theme("light"), size=None, cmap=None, moving=False)
        assert isinstance(drawn, MatricesScene)
        values = drawn.matrices[0].values[0]
        assert values.shape == (2 * 5 - 1, 5 * 4 - 1), "two rows of five, a line of nothing between them"
        np.testing.assert_allclose(values[5:9, 4:7], found.array[6].reshape(4, 3), atol=1e-6)
