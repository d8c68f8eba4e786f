"""Comparisons of a recorded network: asked over the wire, they say what the same ones say in Python."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import epochal
from epochal import lens
from epochal.server import make_app, start_in_background
from epochal.wire import frames
from epochal.wire.schema_compare import CompareDocument, CompareJob

torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402

from tests.attending import Attending, Letters, Windows  # noqa: E402


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    torch.manual_seed(0)
    x, y = torch.rand(40, 1, 8, 8), torch.arange(40) % 2
    x[y == 1, :, :4] += 0.5
    x = (x * 170).round() / 255
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = Attending()
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        with epochal.init(project="test", name=f"run{seed}", dir=folder, strict=True) as run:
            run.watch(net, inputs=x[:2], examples=(x, y))
            for step in range(1, 5):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(net(x), y)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                run.log({"loss": loss.item()}, step=step)
                run.snapshot(step)
    for name, other, given in (("windows", Windows(), x), ("letters", Letters(), torch.arange(160).reshape(40, 4) % 5)):
        with epochal.init(
            project="test",
            name=name,
            dir=folder,
            strict=True,
            config={"vocabulary": "abcd "} if name == "letters" else {},
        ) as run:
            run.watch(other, inputs=given[:2], examples=(given, y))
            run.log({"loss": 1.0}, step=1)
            run.snapshot(1)
    return folder


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[httpx.Client]:
    """A client of a server on that folder."""
    with start_in_background(make_app(root)) as serving, httpx.Client(base_url=serving.url, timeout=30) as client:
        yield client


def ended(client: httpx.Client, run: str, **question: Any) -> dict[str, Any]:
    """The CompareJob of a question when it has ended."""
    asked = client.post(f"/api/v1/runs/{run}/compare", json=question)
    assert asked.status_code == 200, asked.text
    job = asked.json()
    end = time.monotonic() + 120
    while job["state"] in ("waiting", "running") and time.monotonic() < end:
        time.sleep(0.05)
        job = client.get(f"/api/v1/compare/{job['id']}").json()
        CompareJob.model_validate(job)
    return dict(job)


def answer(client: httpx.Client, run: str, **question: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is found of a question, as CompareResult and arrays."""
    job = ended(client, run, **question)
    assert job["state"] == "done", job
    (result,) = job["results"]
    assert result["done"]
    body = client.get(f"/api/v1/lens/{job['id']}/maps?method={question['what']}").content
    picture = client.get(f"/api/v1/lens/{job['id']}/picture?method={question['what']}").content
    assert picture[:4] == b"\x89PNG"
    return result, frames.decode(body)[1]


def test_they_say_what_python_says(client: httpx.Client, root: Path) -> None:
    one, two = (epochal.open(root).run(f"test/{name}") for name in ("run0", "run1"))
    run, other = (f"test/{reader.stored.run_id}" for reader in (one, two))
    known = client.get(f"/api/v1/runs/{run}/compare").json()
    CompareDocument.model_validate(known)
    assert known["attends"]
    assert known["labelled"] == known["series"] == ["predictions"]
    found = one.film  # the recorded examples are those that were given
    assert found is not None
    from epochal.views.given import given_examples

    given = given_examples(one.stored, (1, 8, 8), step=4)
    assert given.labels is not None
    alike, arrays = answer(client, run, what="cka", step=4, against={"run": other, "step": 4}, layers=["patches"])
    expected = lens.cka(one.network(4), two.network(4), given.inputs, layers=["patches"])
    np.testing.assert_allclose(arrays["matrix"], expected.array, rtol=1e-4)
    assert alike["facts"]["rows"] == ["patches"]
    _, arrays = answer(client, run, what="cka_steps", layers=["patches"])
    assert arrays["matrix"].shape == (5, 5)
    probes, _ = answer(client, run, what="linear_probes", step=4)
    np.testing.assert_allclose(
        probes["facts"]["accuracy"], lens.linear_probes(one.network(4), given.inputs, given.labels).array
    )
    assert probes["facts"]["chance"] == pytest.approx(0.5)
    spectra, arrays = answer(client, run, what="spectra", step=2)
    np.testing.assert_allclose(arrays["values"], lens.spectra(one.network(2)).array, rtol=1e-5)
    assert len(spectra["facts"]["stable_rank"]) == len(spectra["facts"]["layers"])
    shape, arrays = answer(client, run, what="loss_landscape", step=4, size=5)
    assert arrays["losses"].shape == (5, 5)
    assert shape["facts"]["path_steps"] == [0, 1, 2, 3, 4]
    landscape = lens.loss_landscape(one.network(4), given.inputs, given.labels, size=5, path=one)
    np.testing.assert_allclose(arrays["losses"], landscape.array, rtol=1e-4)
    assert landscape.path is not None
    np.testing.assert_allclose(arrays["path"], landscape.path, atol=1e-5)
    seen, arrays = answer(client, run, what="attention", step=4, example=3)
    expected_maps = lens.attention(one.network(4), given.inputs[3])
    np.testing.assert_allclose(arrays["maps"][0], expected_maps.map(), atol=1e-5)
    assert arrays["maps"].shape == (3, 2, 2)
    assert arrays["pixels"].shape == (8, 8, 3)
    assert seen["facts"]["heads"] == [2]


def test_what_cannot_be_is_said(client: httpx.Client, root: Path) -> None:
    run = f"test/{epochal.open(root).run('test/run0').stored.run_id}"
    for question, words in (
        ({"what": "cka_steps"}, "Name the layer"), ({"what": "attention"}, "Name one input"),
        ({"what": "attention", "example": 0, "text": "1"}, "Name one input"),
        ({"what": "spectra", "against": {"run": run}}, "one network"),
    ):  # fmt: skip
        refused = client.post(f"/api/v1/runs/{run}/compare", json=question)
        assert refused.status_code == 422, question
        assert words in refused.json()["error"]["message"]
    for bad in ({"what": "nothing"}, {"what": "loss_landscape", "size": 1000}):
        refused = client.post(f"/api/v1/runs/{run}/compare", json=bad)
        assert refused.status_code == 422


def test_a_long_one_shows_its_way_and_can_be_stopped(client: httpx.Client, root: Path) -> None:
    run = f"test/{epochal.open(root).run('test/run0').stored.run_id}"
    job = client.post(f"/api/v1/runs/{run}/compare", json={"what": "loss_landscape", "size": 61}).json()
    end = time.monotonic() + 60
    while not job["results"] and time.monotonic() < end:
        time.sleep(0.02)
        job = client.get(f"/api/v1/compare/{job['id']}").json()
    assert job["results"]
    first = job["results"][0]
    if job["state"] == "running":
        assert not first["done"]
        body = client.get(f"/api/v1/lens/{job['id']}/maps?method=loss_landscape").content
        assert np.isfinite(frames.decode(body)[1]["losses"]).all()
        client.delete(f"/api/v1/lens/{job['id']}")
        while job["state"] == "running" and time.monotonic() < end:
            time.sleep(0.02)
            job = client.get(f"/api/v1/compare/{job['id']}").json()
        assert job["state"] == "cancelled"


def test_attention_of_a_photo_and_of_an_uploaded_picture(client: httpx.Client, root: Path) -> None:
    reader = epochal.open(root).run("test/run0")
    run = f"test/{reader.stored.run_id}"
    known = client.get(f"/api/v1/runs/{run}/compare").json()
    assert known["picture"]
    assert known["tokens"] == ""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 200
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    name = client.post("/api/v1/lens/pictures", content=file.getvalue()).json()["picture"]
    _, arrays = answer(client, run, what="attention", step=4, picture=name)
    given = pixels[None, :, :, 0].astype(np.float32) / 255
    np.testing.assert_allclose(arrays["maps"][0], lens.attention(reader.network(4), given).map(), atol=1e-5)
    np.testing.assert_array_equal(arrays["pixels"], pixels)
    gone = client.post(f"/api/v1/runs/{run}/compare", json={"what": "attention", "picture": "0" * 32})
    assert gone.status_code == 404
    assert "no longer kept" in gone.json()["error"]["message"]
    unknown = client.post(f"/api/v1/runs/{run}/compare", json={"what": "attention", "photo": "nothing"})
    assert unknown.status_code == 404


def test_attention_of_tokens_has_their_names(client: httpx.Client, root: Path) -> None:
    reader = epochal.open(root).run("test/letters")
    run = f"test/{reader.stored.run_id}"
    assert client.get(f"/api/v1/runs/{run}/compare").json()["tokens"] == "letters"
    seen, arrays = answer(client, run, what="attention", example=1)
    assert seen["facts"]["tokens"] == ["▁", "a", "b", "c"]
    written, other = answer(client, run, what="attention", text="ad b")
    assert written["facts"]["tokens"] == ["a", "d", "▁", "b"]
    expected = lens.attention(reader.network(), np.array([0, 3, 4, 1]))
    np.testing.assert_allclose(other["maps"][0], expected.rollout, atol=1e-5)
    np.testing.assert_allclose(other["maps"][1:], expected.weights[0], atol=1e-5)
    assert not np.allclose(other["maps"], arrays["maps"])
    failed = ended(client, run, what="attention", text="az b")
    assert failed["error"]["message"] == "'z' is not in the vocabulary of this run."


def test_windows_are_refused_with_the_reason(client: httpx.Client, root: Path) -> None:
    run = f"test/{epochal.open(root).run('test/windows').stored.run_id}"
    failed = ended(client, run, what="attention", example=0)
    assert failed["state"] == "failed"
    assert "within windows" in failed["error"]["message"]
