"""What a network said of examples, as the Studio asks for it: live, over HTTP, and in an exported page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

import epochal
from epochal.errors import NotFoundError, UsageError
from epochal.export.job import Job
from epochal.export.report import _fewer, build_archive
from epochal.server.app import make_app
from epochal.store.library import Library
from epochal.wire import frames
from epochal.wire.answer import Wire
from epochal.wire.paths import path_of
from epochal.wire.schema import ExampleHeader, PredictionsHeader
from tests.server.asking import Client

STEPS, N, CLASSES = 5, 12, 3
RNG = np.random.default_rng(7)
P = RNG.dirichlet(np.ones(CLASSES), (STEPS, N)).astype(np.float32)
WIDE = RNG.dirichlet(np.ones(300), 4).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, N)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("said")
    with epochal.init("p", dir=folder, strict=True, system=False, console=False) as run:
        for t in range(STEPS):
            run.log({"loss": 1.0}, step=10 * t, epoch=t)
            run.log_predictions(RNG.random((N, 2)) * 0, LABELS, P[t], list("abc"), feature_names=["x", "y"])
        odd = P[0, :4].copy()
        odd[1] = np.nan
        run.log_predictions(None, None, odd, name="mixed", step=0)
        run.log_predictions(["a", "b", "c", "d"], [0, 1, 2, 299], WIDE, name="mixed", step=1)
        run.log({"note": epochal.Text("x")}, step=1)
    return folder


@pytest.fixture
def run(root: Path) -> str:
    stored = Library(root).run("latest")
    return f"{stored.project}/{stored.run_id}"


def ask(root: Path, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    address, _, query = path.partition("?")
    return frames.decode(Wire(Library(root)).answer(address, query).body)


def test_the_answers_of_all_steps(root: Path, run: str) -> None:
    header, arrays = ask(root, path_of("predictions", run, series="predictions"))
    found = PredictionsHeader.model_validate(header)
    assert arrays["steps"].tolist() == [0, 10, 20, 30, 40]
    assert arrays["of"].tolist() == [0] * STEPS
    assert arrays["predicted"].dtype == np.uint8
    np.testing.assert_array_equal(arrays["predicted"].reshape(STEPS, N), P.argmax(axis=2))
    np.testing.assert_array_equal(arrays["labels"], LABELS)
    (each,) = found.sets
    assert (each.class_names, each.feature_names, each.inputs, each.labels) == (
        ["a", "b", "c"], ["x", "y"], "numbers", True
    )  # fmt: skip
    assert each.inputs_bytes >= N * 2 * 4
    assert (found.total, found.stride, found.unreadable) == (STEPS, 1, 0)
    client = Client(make_app(root))
    for t, blob in enumerate(found.blobs):
        body = client.get(path_of("blob", run, name=blob)).content
        np.testing.assert_array_equal(load(body)["probabilities"], P[t])


def test_sets_of_different_sizes_and_types_in_one_answer(root: Path, run: str) -> None:
    header, arrays = ask(root, path_of("predictions", run, series="mixed"))
    assert arrays["of"].tolist() == [0, 1]
    assert arrays["predicted"].dtype == np.uint32
    expected = P[0, :4].argmax(axis=1).tolist()
    expected[1] = 2**32 - 1
    assert arrays["predicted"].tolist() == [*expected, *WIDE.argmax(axis=1).tolist()]
    assert arrays["labels"].tolist() == [0, 1, 2, 299]
    assert [(s["labels"], s["inputs"], s["classes"]) for s in header["sets"]] == [(False, "", 3), (True, "texts", 300)]


def test_one_example_at_all_steps(root: Path, run: str) -> None:
    header, arrays = ask(root, path_of("predictions", run, series="predictions", example=4))
    assert ExampleHeader.model_validate(header).example == 4
    np.testing.assert_array_equal(arrays["probabilities"], P[:, 4])
    header, arrays = ask(root, path_of("predictions", run, series="mixed", example=3, at=0))
    np.testing.assert_array_equal(arrays["probabilities"], P[:1, 3])
    with pytest.raises(UsageError, match="no example 12"):
        ask(root, path_of("predictions", run, series="predictions", example=12))
    with pytest.raises(NotFoundError, match="no predictions 'x'"):
        ask(root, path_of("predictions", run, series="x"))
    with pytest.raises(NotFoundError, match="series of text"):
        ask(root, path_of("predictions", run, series="note"))


def test_an_answer_is_known_again_over_http(root: Path, run: str) -> None:
    client = Client(make_app(root))
    answer = client.get(path_of("predictions", run, series="predictions"))
    assert answer.headers["content-type"] == frames.MEDIA_TYPE
    again = client.get(
        path_of("predictions", run, series="predictions"), headers={"If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304
    assert client.get(f"/api/v1/runs/{run}/predictions?series=predictions&example=-1").status_code in (400, 422)
    assert client.get(path_of("predictions", run, series="gone")).json()["error"]["code"] == "not_found"


def test_an_exported_page_holds_the_answers_and_their_files(root: Path, run: str, tmp_path: Path) -> None:
    nothing: Any = {**dict.fromkeys(("steps", "layers", "fps", "size", "cmap")), "format": "html", "theme": "light"}
    job = Job(run=Library(root).run("latest"), to=tmp_path / "x.html", what="all", **nothing)
    paths = {each["path"] for each in build_archive(job).files}
    header, _ = ask(root, path_of("predictions", run, series="predictions"))
    assert path_of("predictions", run, series="predictions") in paths
    assert path_of("predictions", run, series="mixed") in paths
    for blob in [*header["blobs"], header["sets"][0]["inputs_blob"]]:
        assert path_of("blob", run, name=blob) in paths
    assert json.dumps(sorted(paths)).count("/predictions?") == 2


def test_an_exported_page_holds_fewer_steps_where_all_would_be_too_many(
    root: Path, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Library(root).run("latest")
    sizes = [item.size for item in stored.media("predictions")]
    answered = ("p", "t", Wire(Library(root)).answer(*path_of("media", run, series="predictions").split("?")).body)
    assert _fewer(answered, most=sum(sizes)) == (answered, 1)
    monkeypatch.setattr("epochal.export.report._fewer", lambda listed: _fewer(listed, most=sum(sizes) // 2))
    nothing: Any = {**dict.fromkeys(("steps", "layers", "fps", "size", "cmap")), "format": "html", "theme": "light"}
    job = Job(run=stored, to=tmp_path / "x.html", what="all", **nothing)
    archive = build_archive(job)
    paths = {each["path"] for each in archive.files}
    header, _ = ask(root, path_of("predictions", run, series="predictions"))
    kept = [path_of("blob", run, name=blob) in paths for blob in header["blobs"]]
    assert kept == [True, False, True, False, True]
    (notice,) = [n for n in job.notices if "predictions" in n.message]
    assert notice.message == "To keep this file small, it has the confidences of 1 of 2 steps of 'predictions'"
    assert path_of("predictions", run, series="predictions") in paths
