"""Lenses over a training: each frame what the method says of the network opened at that step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from epochal import lens
from epochal.errors import NotFoundError
from epochal.network.recorded import open_each, open_recorded

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from tests.lens.known import plain_cnn  # noqa: E402


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("runs")
    network = plain_cnn()
    x, y = torch.rand(32, 1, 28, 28), torch.arange(32) % 10
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    with epochal.init(project="p", dir=folder, strict=True) as recording:
        recording.watch(network, inputs=x[:2])
        for step in range(1, 5):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()
            recording.log({"loss": 0.0}, step=step)
            recording.snapshot(step)
    return epochal.open(folder).run("latest")


def test_each_frame_is_the_method_at_that_step(run: Any) -> None:
    x = np.random.default_rng(0).random((1, 28, 28)).astype(np.float32)
    seen: list[int] = []
    film = lens.film(lens.saliency, run, image=x, target=3, progress=lambda done, _: seen.append(done))
    assert film.steps.tolist() == [0, 1, 2, 3, 4]
    assert seen == [1, 2, 3, 4, 5]
    for step, frame in film:
        alone = lens.saliency(run.network(step), x, target=3)
        np.testing.assert_allclose(frame, alone.map, rtol=1e-5, atol=1e-8)
    assert not np.allclose(film.frames[0], film.frames[-1])
    maps = lens.film(lens.feature_maps, run, image=x, layer="3", steps=[1, 4])
    for step, frame in maps:
        np.testing.assert_array_equal(frame, lens.feature_maps(run.network(step), x, layer="3").array)
    kernels = lens.film(lens.filters, run, layer="0")
    for step, frame in kernels:
        np.testing.assert_array_equal(frame, run.parameters(step)["0.weight"])


def test_what_the_method_would_choose_is_chosen_once(run: Any) -> None:
    x = np.random.default_rng(0).random((1, 28, 28)).astype(np.float32)
    last = lens.grad_cam(run.network(4), x)
    film = lens.film(lens.grad_cam, run, image=x)
    for step, frame in film:
        alone = lens.grad_cam(run.network(step), x, target=last.target, layer=last.layer)
        np.testing.assert_allclose(frame, alone.map, rtol=1e-5, atol=1e-8)
    assert f"target {last.target}" in film.name


def test_pictures_and_files(run: Any, tmp_path: Path) -> None:
    film = lens.film(lens.maximize, run, target=1, steps=[0, 4])
    assert film.kind == "image"
    assert film.frames.shape == (2, 28, 28, 3)
    assert film.frames.dtype == np.uint8
    film.save(tmp_path / "most.gif")
    with pytest.raises(NotFoundError, match="no snapshot at step 9"):
        lens.film(lens.filters, run, layer="0", steps=[9])


def test_strongest_answers_rise_over_the_training(run: Any) -> None:
    data = np.random.default_rng(0).random((20, 1, 28, 28)).astype(np.float32)
    film = lens.film(lens.top_examples, run, data=data, layer="3", k=2)
    assert film.frames.shape == (5, 12, 2)
    alone = lens.top_examples(run.network(2), data, layer="3", k=2)
    np.testing.assert_array_equal(film[2], alone.values)


def test_networks_come_one_after_the_other_with_their_own_parameters(run: Any) -> None:
    steps = [4, 0, 2]
    for step, network in zip(steps, open_each(run.stored, steps), strict=True):
        alone = open_recorded(run.stored, step).state()
        assert network.step == step
        for name, value in network.state().items():
            np.testing.assert_array_equal(value, alone[name])
