"""Questions to the lens: they run beside the server, say what they find, and can be stopped."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import epochal
from epochal.server import make_app, start_in_background
from epochal.server.looking import Looking
from epochal.wire import frames
from epochal.wire.looking import OPTIONS
from epochal.wire.schema_lens import LensQuestion
from tests.network import attacks

torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
pytestmark = pytest.mark.torch


def bright(count: int, seed: int) -> tuple[Any, Any]:
    """Pictures [N, 3, 12, 12] whose bright half, left or right, is their class."""
    random = np.random.default_rng(seed)
    y = np.arange(count) % 2
    x = random.integers(0, 60, (count, 3, 12, 12)) / 255
    for i, side in enumerate(y):
        x[i, :, :, 6 * side : 6 * side + 6] += 0.6
    return x.astype(np.float32), y


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small convolutional network that tells left from right."""
    folder = tmp_path_factory.mktemp("looking")
    torch.manual_seed(0)
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(216, 2),
    )  # fmt: skip
    x, y = bright(64, 0)
    x[:, 0, 0, 0], x[:, 0, 0, 1] = 0.0, 1.0
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    with epochal.init(project="test", dir=folder, strict=True) as run:
        run.watch(net, inputs=(torch.from_numpy(x[:2]),), snapshots=None)
        for step in range(21):
            loss = nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            run.log({"loss": loss.item()}, step=step)
            if step in (0, 20):
                run.snapshot(step=step)
                said = net(torch.from_numpy(x)).softmax(1).detach().numpy()
                run.log_predictions(x, y, said, class_names=["left", "right"], step=step)
    return folder


@contextmanager
def asking(root: Path) -> Iterator[httpx.Client]:
    """A client of a server of its own: questions go on between requests."""
    with start_in_background(make_app(root), port=0) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def ask(root: Path) -> Iterator[httpx.Client]:
    with asking(root) as client:
        yield client


@pytest.fixture(scope="module")
def lens(root: Path) -> str:
    run = epochal.open(root).run("latest").stored
    return f"/api/v1/runs/test/{run.run_id}/lens"


def ended(ask: httpx.Client, job: dict[str, Any], *, secs: float = 60) -> dict[str, Any]:
    until = time.monotonic() + secs
    while job["state"] in ("waiting", "running"):
        assert time.monotonic() < until, job
        time.sleep(0.03)
        job = ask.get(f"/api/v1/lens/{job['id']}").json()
    return job


def looked(ask: httpx.Client, lens: str, **question: Any) -> dict[str, Any]:
    answer = ask.post(lens, json=question)
    assert answer.status_code == 200, answer.text
    return ended(ask, answer.json())


def maps(ask: httpx.Client, job: dict[str, Any], method: str) -> tuple[Any, Any]:
    answer = ask.get(f"/api/v1/lens/{job['id']}/maps", params={"method": method})
    assert answer.status_code == 200, answer.text
    return frames.decode(answer.content)


def test_the_catalogue_says_what_there_is(ask: httpx.Client, lens: str) -> None:
    found = ask.get(lens).json()
    assert found["reason"] == ""
    assert found["picture"] == [12, 12, 3]
    assert [layer["name"] for layer in found["layers"]] == ["0", "1", "2", "3", "4", "5", "6"]
    assert found["layers"][3]["shape"] == [6, 6, 6]
    assert {"saliency", "grad_cam", "feature_maps"} <= {m["name"] for m in found["methods"] if not m["reason"]}


def test_each_setting_is_one_of_its_method() -> None:
    import inspect

    import epochal.lens as lens

    for method, options in OPTIONS.items():
        function = lens.maximizing if method == "maximize" else getattr(lens, method)
        assert {option.name for option in options} <= set(inspect.signature(function).parameters), method


def test_several_methods_say_what_python_says(ask: httpx.Client, lens: str, root: Path) -> None:
    methods = ["grad_cam", "saliency", "feature_maps", "filters", "occlusion"]
    job = looked(ask, lens, methods=methods, example=5, options={"occlusion": {"window": 4, "stride": 2}}, layer="3")
    assert (job["state"], job["failures"]) == ("done", [])
    assert [result["method"] for result in job["results"]] == methods
    reader = epochal.open(root).run("latest")
    network = reader.network(20)
    known = reader.predictions()
    low, high = known.range or (0, 1)
    x = (low + known.inputs[5].astype(np.float64) / 255 * (high - low)).astype(np.float32).transpose(2, 0, 1)
    target = int(known.predicted[5])
    assert job["input"]["answers"][0]["index"] == target
    assert job["input"]["answers"][0]["confidence"] == pytest.approx(known.confidence[5], abs=1e-2)
    own = epochal.lens.saliency(network, x, target=target)
    np.testing.assert_allclose(maps(ask, job, "saliency")[1]["maps"][0], own.map, rtol=1e-4, atol=1e-6)
    own = epochal.lens.grad_cam(network, x, target=target, layer="3")
    np.testing.assert_allclose(maps(ask, job, "grad_cam")[1]["maps"][0], own.map, rtol=1e-4, atol=1e-6)
    own = epochal.lens.occlusion(network, x, target=target, window=4, stride=2)
    np.testing.assert_allclose(maps(ask, job, "occlusion")[1]["maps"][0], own.map, rtol=1e-4, atol=1e-5)
    header, found = maps(ask, job, "feature_maps")
    seen = epochal.lens.feature_maps(network, x, layer="3")
    assert header["channels"] == seen.order.tolist()
    np.testing.assert_allclose(found["maps"], seen.array[seen.order], rtol=1e-4, atol=1e-5)
    assert maps(ask, job, "filters")[1]["pixels"].shape == (6, 3, 3, 3)
    np.testing.assert_array_equal(maps(ask, job, "")[1]["pixels"][0], known.inputs[5])
    picture = ask.get(f"/api/v1/lens/{job['id']}/picture", params={"method": "grad_cam"})
    assert Image.open(io.BytesIO(picture.content)).size[0] > 12


def test_a_channel_or_a_unit_stands_where_a_class_stood(ask: httpx.Client, lens: str, root: Path) -> None:
    reader = epochal.open(root).run("latest")
    known = reader.predictions()
    low, high = known.range or (0, 1)
    x = (low + known.inputs[5].astype(np.float64) / 255 * (high - low)).astype(np.float32).transpose(2, 0, 1)
    for place in (None, [2, 4]):
        job = looked(ask, lens, methods=["saliency", "occlusion", "maximize"], example=5, inside="3", place=place,
                     target=2, options={"maximize": {"steps": 8}})  # fmt: skip
        assert job["failures"] == []
        own = epochal.lens.saliency(epochal.lens.inside(reader.network(20), "3", place=place), x, target=2)
        np.testing.assert_allclose(maps(ask, job, "saliency")[1]["maps"][0], own.map, rtol=1e-4, atol=1e-6)
        assert "channel 2 of 3" in job["results"][2]["what"]
    job = looked(ask, lens, methods=["saliency"], example=5, inside="3", target=6)
    assert "from 0 to 5" in job["failures"][0]["error"]["message"]


def test_a_map_is_checked_with_random_weights(ask: httpx.Client, lens: str) -> None:
    from epochal.lens.attribute.sanity_check import rank_correlation

    before = maps(ask, looked(ask, lens, methods=["saliency"], example=5, target=0), "saliency")[1]["maps"]
    job = looked(ask, lens, methods=["saliency", "grad_cam"], example=5, target=0, check=True, layer="3")
    assert job["error"] is None
    assert (job["state"], job["failures"]) == ("done", [])
    after = maps(ask, job, "saliency")[1]["maps"]
    assert not np.allclose(after, before)
    correlation = job["results"][0]["numbers"]["rank_correlation"]
    assert correlation == pytest.approx(rank_correlation(before, after), abs=1e-4)
    again = maps(ask, looked(ask, lens, methods=["saliency"], example=5, target=0), "saliency")[1]["maps"]
    np.testing.assert_array_equal(again, before)


def test_the_strongest_examples_of_a_unit(ask: httpx.Client, lens: str, root: Path) -> None:
    options = {"top_examples": {"k": 4}}
    job = looked(ask, lens, methods=["top_examples"], layer="3", channel=2, options=options)
    assert (job["state"], job["input"], job["failures"]) == ("done", None, [])
    header, found = maps(ask, job, "top_examples")
    reader = epochal.open(root).run("latest")
    known = reader.predictions()
    low, high = known.range or (0, 1)
    x = (low + known.inputs.astype(np.float64) / 255 * (high - low)).astype(np.float32).transpose(0, 3, 1, 2)
    top = epochal.lens.top_examples(reader.network(20), x, layer="3", k=4)
    assert header["channels"] == top.indices[2].tolist()
    assert header["examples"]["units"] == top.order.tolist()
    np.testing.assert_allclose(header["examples"]["values"], top.values[2], rtol=1e-4)
    assert found["pixels"].shape[0] == 8
    for rank, box in enumerate(header["examples"]["boxes"]):
        assert tuple(box) == top.field(2, rank)
        height, width = header["examples"]["sizes"][rank]
        seen = known.inputs[header["channels"][rank], box[0] : box[2], box[1] : box[3]].astype(int)
        assert np.abs(found["pixels"][rank, :height, :width].astype(int) - seen).max() <= 6  # colours from 0 to 1
    other = looked(ask, lens, methods=["top_examples"], layer="3", options=options)
    assert maps(ask, other, "top_examples")[0]["examples"]["unit"] == top.order[0]
    job = looked(ask, lens, methods=["top_examples"], layer="3", channel=17)
    assert "17" in job["failures"][0]["error"]["message"]


def test_the_process_is_warm_when_the_first_question_comes(root: Path) -> None:
    stored = epochal.open(root).run("latest").stored
    looking = Looking(lambda: False)
    try:
        looking.warm(stored)
        looking.warm(stored)
        until = time.monotonic() + 60
        while looking._running is not None or looking._waiting:
            assert time.monotonic() < until
            time.sleep(0.02)
        worker = looking._worker
        assert worker is not None
        job = looking.ask(stored, LensQuestion(methods=["saliency"], example=0))
        seen = []
        while (now := looking.document(job["id"]))["state"] not in ("done", "failed"):
            assert time.monotonic() < until
            seen.append(now["doing"])
            time.sleep(0.005)
        assert now["state"] == "done"
        assert looking._worker is worker
        assert "starting" not in seen
        assert len(looking._jobs) == 1, "nobody asked for what warms it"
    finally:
        looking.close()


def test_it_is_the_network_of_the_step(ask: httpx.Client, lens: str, root: Path) -> None:
    early, late = (looked(ask, lens, methods=["saliency"], example=1, step=step, target=0) for step in (19, 20))
    assert (early["step"], late["step"]) == (0, 20)
    assert not np.allclose(maps(ask, early, "saliency")[1]["maps"], maps(ask, late, "saliency")[1]["maps"])


def test_an_uploaded_picture_is_looked_at(ask: httpx.Client, lens: str) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 30:] = 200
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    name = ask.post("/api/v1/lens/pictures", content=file.getvalue()).json()["picture"]
    job = looked(ask, lens, methods=["grad_cam"], picture=name)
    assert job["state"] == "done", job
    assert job["input"]["answers"][0]["index"] == 1
    assert maps(ask, job, "")[1]["pixels"].shape == (1, 12, 12, 3)


def test_a_hostile_picture_is_refused_and_the_next_is_not(ask: httpx.Client, lens: str) -> None:
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    for body, said in ((b"GIF89a" + b"\xff" * 50, "picture"), (b"%!PS-Adobe-3.0 EPSF\n", "picture"),
                       (bomb.getvalue(), "pixels")):  # fmt: skip
        name = ask.post("/api/v1/lens/pictures", content=body).json()["picture"]
        job = looked(ask, lens, methods=["saliency"], picture=name)
        assert job["state"] == "failed"
        assert said in job["error"]["message"], job["error"]
    assert ask.post("/api/v1/lens/pictures", content=b"").status_code == 422
    assert ask.post("/api/v1/lens/pictures", content=b"x" * 1_000_001).status_code == 413
    assert looked(ask, lens, methods=["saliency"], example=0)["state"] == "done"


def test_what_does_not_fit_is_said(ask: httpx.Client, lens: str) -> None:
    for question, status, why in (
        ({"methods": ["salency"], "example": 0}, 404, "Did you mean 'saliency'?"),
        ({"methods": ["feature_maps"], "example": 0, "check": True}, 422, "Attributions are checked"),
        ({"methods": ["saliency"], "example": 0, "place": [1, 1]}, 422, "name its layer"),
        ({"methods": ["saliency"], "example": 0, "place": [1]}, 422, "place"),
        ({"methods": [], "example": 0}, 422, "methods"),
        ({"methods": ["saliency"]}, 422, "one input"),
        ({"methods": ["saliency"], "example": 0, "photo": "china"}, 422, "one input"),
        ({"methods": ["saliency"], "photo": "/etc/passwd"}, 404, "sample photo"),
        ({"methods": ["saliency"], "picture": "../../x"}, 422, "picture"),
        ({"methods": ["saliency"], "picture": "0" * 32}, 404, "no longer kept"),
        ({"methods": ["rise"], "example": 0, "options": {"rise": {"masks": 1e9}}}, 422, "10 to 8000"),
        ({"methods": ["rise"], "example": 0, "options": {"rise": {"seed": 1}}}, 422, "no setting 'seed'"),
        ({"methods": ["rise"], "example": 0, "options": {"occlusion": {"window": 3}}}, 422, "was not asked"),
        ({"methods": ["saliency"], "example": 0, "network": "os:system"}, 422, "network"),
    ):  # fmt: skip
        answer = ask.post(lens, json=question)
        told = answer.json()["error"]
        assert answer.status_code == status, question
        assert why in told["message"] + told["hint"], told
    assert ask.get("/api/v1/lens/" + "0" * 32).status_code == 404
    other = ask.post(lens, json={"methods": ["saliency"]}, headers={"Origin": "http://elsewhere.example"})
    assert other.status_code == 403


def test_a_method_that_fails_leaves_the_others(ask: httpx.Client, lens: str) -> None:
    job = looked(ask, lens, methods=["saliency", "grad_cam"], example=0, layer="no such layer")
    assert job["state"] == "done"
    assert [result["method"] for result in job["results"]] == ["saliency"]
    assert job["failures"][0]["method"] == "grad_cam"
    assert "no such layer" in job["failures"][0]["error"]["message"]
    job = looked(ask, lens, methods=["saliency"], example=64)
    assert "0 to 63" in job["error"]["message"]


def test_a_network_that_could_run_code_is_refused(root: Path, tmp_path: Path) -> None:
    """The gate stands before the process that looks: nothing of the file is run."""
    copy = tmp_path / "runs"
    shutil.copytree(root, copy)
    (program,) = copy.glob("test/*/w/*/network/network.pt2")
    entries, marker = attacks.honest(), tmp_path / "ran"
    attacks.pickled_weight(entries, marker)
    program.write_bytes(attacks.packed(entries))
    run = epochal.open(copy).run("latest").stored
    with asking(copy) as ask:
        answer = ask.post(f"/api/v1/runs/test/{run.run_id}/lens", json={"methods": ["saliency"], "example": 0})
        job = ended(ask, answer.json())
    assert job["state"] == "failed"
    assert job["error"]["code"] == "untrusted_network"
    assert not marker.exists()


LONG: dict[str, Any] = {"methods": ["rise", "maximize"], "example": 0,
                        "options": {"rise": {"masks": 8000}, "maximize": {"steps": 1024}}}  # fmt: skip


def test_questions_wait_and_can_be_stopped(ask: httpx.Client, lens: str) -> None:
    first = ask.post(lens, json=LONG).json()
    second = ask.post(lens, json=LONG).json()
    third = ask.post(lens, json={"methods": ["saliency"], "example": 0}).json()
    assert third["state"] == "waiting"
    assert third["ahead"] >= 1
    assert ask.delete(f"/api/v1/lens/{second['id']}").json()["state"] == "cancelled"
    ask.delete(f"/api/v1/lens/{first['id']}")
    assert ended(ask, first, secs=10)["state"] == "cancelled"
    assert ended(ask, third)["state"] == "done"


def test_too_many_are_refused(ask: httpx.Client, lens: str) -> None:
    answers = [ask.post(lens, json=LONG) for _ in range(12)]
    codes = [answer.status_code for answer in answers]
    assert 429 in codes
    for answer in answers:
        if answer.status_code == 200:
            ask.delete(f"/api/v1/lens/{answer.json()['id']}")
    assert ended(ask, answers[0].json(), secs=10)["state"] == "cancelled"


def test_what_takes_too_long_is_stopped(root: Path) -> None:
    stored = epochal.open(root).run("latest").stored
    looking = Looking(lambda: True, most_secs=0.3)
    try:
        job = looking.ask(stored, LensQuestion(methods=["saliency"], example=0))
        until = time.monotonic() + 10
        while (now := looking.document(job["id"]))["state"] != "failed":
            assert time.monotonic() < until
            time.sleep(0.02)
        assert now["error"]["code"] == "timeout"
        assert now["threads"] == 1
    finally:
        looking.close()


def test_an_idle_process_is_let_go_and_comes_back(root: Path) -> None:
    stored = epochal.open(root).run("latest").stored
    looking = Looking(lambda: False, idle_secs=0.1)
    try:
        for _ in range(2):
            job = looking.ask(stored, LensQuestion(methods=["filters"], example=0))
            until = time.monotonic() + 60
            while looking.document(job["id"])["state"] != "done":
                assert time.monotonic() < until, looking.document(job["id"])
                time.sleep(0.02)
            while looking._worker is not None:
                assert time.monotonic() < until
                time.sleep(0.02)
    finally:
        looking.close()


def test_a_run_without_a_network_says_so(tmp_path: Path) -> None:
    with epochal.init(project="test", dir=tmp_path, strict=True) as run:
        run.log({"loss": 0.0}, step=0)
    with asking(tmp_path) as ask:
        place = f"/api/v1/runs/test/{run.id}/lens"
        assert ask.get(place).json()["reason"] == "network"
        answer = ask.post(place, json={"methods": ["saliency"], "example": 0})
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "network_missing"


def test_networks_of_one_size_of_batch_and_of_words_say_what_they_say(tmp_path: Path) -> None:
    """A program whose batch is fixed is asked about one example; one that takes words says that it has no gradient."""
    nn = torch.nn
    torch.manual_seed(0)

    class Pair(torch.nn.Module):  # type: ignore[name-defined,misc]
        """Takes batches of two alone: the mean of a batch is taken apart from it."""

        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Conv2d(3, 4, 3)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.head(self.part(x).reshape(2, 4, -1).mean(dim=2))

    x = torch.rand(8, 3, 6, 6)
    words = nn.Sequential(nn.Embedding(7, 6), nn.Flatten(), nn.Linear(24, 3))
    for name, net, given in (("pair", Pair(), x), ("words", words, torch.arange(32).reshape(8, 4) % 7)):
        with epochal.init(project="other", name=name, dir=tmp_path, strict=True) as run:
            run.watch(net, inputs=(given[:2],))
            run.log({"loss": 1.0}, step=1)
            run.snapshot(1)
            said = torch.cat([net(given[i : i + 2]) for i in range(0, 8, 2)]).softmax(1).detach().numpy()
            run.log_predictions(given.numpy(), [0] * 8, said, step=1)
    with asking(tmp_path) as client:
        for name in ("pair", "words"):
            reader = epochal.open(tmp_path).run(f"other/{name}")
            lens = f"/api/v1/runs/other/{reader.stored.run_id}/lens"
            job = looked(client, lens, methods=["saliency"], series="predictions", example=2)
            assert job["error"] is None, job["error"]
            found = reader.predictions()
            best = int(found.probabilities[2].argmax())
            assert job["input"]["answers"][0]["index"] == best
            assert job["input"]["answers"][0]["confidence"] == pytest.approx(found.probabilities[2][best], abs=0.01)
            if name == "words":
                assert "whole numbers" in job["failures"][0]["error"]["message"]
            else:
                assert maps(client, job, "saliency")[1]["maps"].shape == (1, 6, 6)
