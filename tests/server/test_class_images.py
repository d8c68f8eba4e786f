"""Class images of networks that are no chain: found in the process beside the server, better with each batch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import epochal
from epochal.server import make_app, start_in_background
from epochal.server.looking import Looking
from epochal.wire import frames
from epochal.wire.schema_lens import ClassImagesQuestion

torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
pytestmark = pytest.mark.torch

N, CLASSES = 600, 3


def network() -> Any:
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(48, CLASSES)
    )


@pytest.fixture(scope="module")
def x() -> Any:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(N, 2, 6, 8)).astype(np.float32))


@pytest.fixture(scope="module")
def y() -> Any:
    return np.random.default_rng(1).integers(0, CLASSES - 1, N)  # none is of the last class


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, x: Any, y: Any) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    net = network()
    with epochal.init(project="test", dir=folder, strict=True, system=False, console=False) as run:
        run.watch(net, inputs=(x[:2],), snapshots=1, examples=(x, y), outputs="raw")
        for step in range(3):
            run.log({"loss": 1.0}, step=step, epoch=step)
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter.mul_(0.5)
    return folder


def expected(x: Any, y: Any, step: int) -> Any:
    """The mean gradient of the score of each class, by PyTorch itself, one example after the other."""
    net = network()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0.5**step)
    sums = np.zeros((CLASSES, 2, 6, 8))
    for one, label in zip(x, y, strict=True):
        image = one[None].clone().requires_grad_()
        net(image)[0, int(label)].backward()
        sums[label] += image.grad[0].numpy()
    counts = np.bincount(y, minlength=CLASSES)
    with np.errstate(invalid="ignore"):
        return sums / counts[:, None, None, None]


@pytest.fixture(scope="module")
def ask(root: Path) -> Iterator[httpx.Client]:
    with start_in_background(make_app(root), port=0) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def ended(ask: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    until = time.monotonic() + 60
    while job["state"] in ("waiting", "running"):
        assert time.monotonic() < until, job
        time.sleep(0.03)
        job = ask.get(f"/api/v1/lens/{job['id']}").json()
    return job


@pytest.mark.parametrize(("wanted", "step"), [(None, 2), (1, 1)])
def test_they_are_mean_gradients_at_a_step(
    ask: httpx.Client, root: Path, x: Any, y: Any, wanted: int | None, step: int
) -> None:
    run = epochal.open(root).run("latest").stored
    answer = ask.post(f"/api/v1/runs/test/{run.run_id}/class-images", json={"step": wanted})
    assert answer.status_code == 200, answer.text
    job = ended(ask, answer.json())
    assert (job["state"], job["step"], job["failures"]) == ("done", step, [])
    (result,) = job["results"]
    assert result["done"]
    assert result["caption"] == "mean gradient of the class's score by the input, over 600 examples of the class"
    assert [result["numbers"][str(c)] for c in range(CLASSES)] == np.bincount(y, minlength=CLASSES).tolist()
    assert result["notes"] == []
    header, arrays = frames.decode(ask.get(f"/api/v1/lens/{job['id']}/maps?method=class_images").content)
    assert header["total"] == CLASSES
    found = arrays["maps"].reshape(CLASSES, 2, 6, 8)
    np.testing.assert_allclose(found[:2], expected(x, y, step)[:2], atol=1e-6)
    assert np.isnan(found[2]).all()


def test_a_run_without_examples_says_so(tmp_path: Path, x: Any) -> None:
    net = network()
    with epochal.init(project="test", dir=tmp_path, strict=True, system=False, console=False) as run:
        run.watch(net, inputs=(x[:2],), snapshots=1)
        run.log({"loss": 1.0}, step=0, epoch=0)
    looking = Looking(lambda: False)
    with pytest.raises(epochal.EpochalError, match="no recorded examples"):
        looking.class_images(epochal.open(tmp_path).run("latest").stored, ClassImagesQuestion())


def test_what_was_recorded_for_people_is_not_differentiated(tmp_path: Path, x: Any, y: Any) -> None:
    net = network()
    shown = (x[:20].mean(dim=1, keepdim=True) > 0).numpy().astype(np.uint8) * 255
    with epochal.init(project="test", dir=tmp_path, strict=True, system=False, console=False) as run:
        run.watch(net, inputs=(x[:2],), snapshots=1, examples=(x[:20], y[:20], shown))
        run.log({"loss": 1.0}, step=0, epoch=0)
    with start_in_background(make_app(tmp_path), port=0) as server, httpx.Client(base_url=server.url) as client:
        job = ended(client, client.post(f"/api/v1/runs/test/{run.id}/class-images", json={}).json())
    assert job["state"] == "failed"
    assert "without the numbers that the network takes" in job["error"]["message"]


def test_pictures_come_better_with_each_batch_and_can_be_stopped(root: Path, x: Any, y: Any) -> None:
    """At any share the pictures are the mean over the examples so far."""
    seen: list[tuple[int, float]] = []

    def preview(images: Any, share: float) -> bool:
        seen.append((int(images.counts.sum()), share))
        if len(seen) == 1:
            np.testing.assert_allclose(images.array[:2], expected(x[:256], y[:256], 0)[:2], atol=1e-6)
        return len(seen) < 2

    found = epochal.lens.class_images(epochal.open(root).run("latest").network(0), x, y, preview=preview)
    assert seen == [(256, 256 / 600), (512, 512 / 600)]
    assert "over 512 examples" in found.caption
    np.testing.assert_allclose(found.array[:2], expected(x[:512], y[:512], 0)[:2], atol=1e-6)
