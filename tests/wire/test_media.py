"""Logged values that are no numbers, what was printed, and where a run comes from, as the Studio asks for them."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import epochal
from epochal.errors import NotFoundError, UsageError
from epochal.export.job import Job
from epochal.export.report import build_archive
from epochal.facts import MediaItem
from epochal.server.app import make_app
from epochal.store.library import Library
from epochal.wire.answer import Wire
from epochal.wire.media import blob_type, thin_items
from epochal.wire.paths import path_of
from epochal.wire.schema import CodeDocument, ConsoleDocument, MediaDocument, RunDetail
from tests.server.asking import Client


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    with epochal.init("shown", dir=folder, strict=True, system=False) as run:
        for step in range(3):
            pixels = np.full((4, 5), 80 * step, np.uint8)
            run.log({"loss": 1.0 - step / 10, "pictures/first": epochal.Image(pixels, caption=f"at {step}")}, step=step)
        run.log(
            {"pictures/many": [epochal.Image(np.zeros((2, 2), np.uint8), caption=str(k)) for k in range(3)]}, step=2
        )
        run.log({"page": epochal.Html("<script>alert(1)</script>"), "note": epochal.Text("**a**")}, step=2)
        print("epoch 1 of 3")
        run.alert("Look", "at this", level="warning")
    return folder


@pytest.fixture
def run(root: Path) -> str:
    stored = Library(root).run("latest")
    return f"{stored.project}/{stored.run_id}"


def ask(root: Path, path: str) -> Any:
    address, _, query = path.partition("?")
    return json.loads(Wire(Library(root)).answer(address, query).body)


def test_a_runs_detail_lists_media_and_alerts(root: Path, run: str) -> None:
    detail = RunDetail.model_validate(ask(root, path_of("run", run)))
    listed = {m.series: (m.kinds, m.count, m.steps, m.first_step, m.last_step) for m in detail.media}
    assert listed == {
        "pictures/first": (["image"], 3, 3, 0, 2),
        "pictures/many": (["image"], 3, 1, 2, 2),
        "page": (["html"], 1, 1, 2, 2),
        "note": (["text"], 1, 1, 2, 2),
    }
    assert [(a.title, a.text, a.level, a.step) for a in detail.alerts] == [("Look", "at this", "warning", 2)]
    assert detail.console


def test_items_and_their_bytes(root: Path, run: str) -> None:
    client = Client(make_app(root))
    document = MediaDocument.model_validate(client.get(path_of("media", run, series="pictures/first")).json())
    assert [(i.step, i.caption, i.kind, i.index) for i in document.items] == [
        (0, "at 0", "image", 0), (1, "at 1", "image", 0), (2, "at 2", "image", 0),
    ]  # fmt: skip
    for item in document.items:
        answer = client.get(path_of("blob", run, name=item.blob))
        assert answer.headers["content-type"] == "image/png"
        assert hashlib.sha256(answer.content).hexdigest() == item.blob.partition(".")[0]
        assert len(answer.content) == item.size
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), 80 * item.step)
    part = ask(root, path_of("media", run, series="pictures/first", start=1, end=1))
    assert [i["step"] for i in part["items"]] == [1]
    assert [i["index"] for i in ask(root, path_of("media", run, series="pictures/many"))["items"]] == [0, 1, 2]


def test_what_a_run_logged_is_never_run(root: Path, run: str) -> None:
    client = Client(make_app(root))
    (page,) = client.get(path_of("media", run, series="page")).json()["items"]
    answer = client.get(path_of("blob", run, name=page["blob"]))
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert blob_type("x.safetensors") == "application/octet-stream"


@pytest.mark.parametrize(
    "name", ["../../run.json", "0" * 64, "0" * 64 + ".png/../x", "%2e%2e%2f" + "0" * 58 + ".png", "0" * 63 + ".png"]
)
def test_no_other_file_is_given_out(root: Path, run: str, name: str) -> None:
    client = Client(make_app(root))
    assert client.get(path_of("blob", run, name=name)).status_code in (400, 422)
    with pytest.raises((UsageError, NotFoundError)):
        ask(root, path_of("blob", run, name=name))


def test_a_file_that_no_value_has_is_not_found(root: Path, run: str) -> None:
    assert Client(make_app(root)).get(path_of("blob", run, name="0" * 64 + ".png")).status_code == 404
    (item, *_) = ask(root, path_of("media", run, series="pictures/first"))["items"]
    wrong = item["blob"].replace(".png", ".svg")
    assert Client(make_app(root)).get(path_of("blob", run, name=wrong)).status_code == 404


def test_the_console_and_the_code(root: Path, run: str) -> None:
    lines = ConsoleDocument.model_validate(ask(root, path_of("console", run))).lines
    assert "epoch 1 of 3" in [line.text for line in lines]
    assert len(ask(root, path_of("console", run, last=1))["lines"]) == 1
    code = CodeDocument.model_validate(ask(root, path_of("code", run)))
    assert "numpy" in {name.lower() for name in code.packages}


def test_a_report_holds_the_media(root: Path, run: str, tmp_path: Path) -> None:
    stored = Library(root).run("latest")
    nothing: Any = {"format": "html", "steps": None, "layers": None, "fps": None, "size": None, "cmap": None}
    nothing["theme"] = "light"
    job = Job(run=stored, to=tmp_path / "x.html", what="all", **nothing)
    archive = build_archive(job)
    held = {file["path"] for file in archive.files}
    (first, *_) = ask(root, path_of("media", run, series="pictures/first"))["items"]
    assert path_of("media", run, series="pictures/first") in held
    assert path_of("blob", run, name=first["blob"]) in held
    assert path_of("console", run) in held
    small = build_archive(job, room=600)
    assert path_of("media", run, series="pictures/first") not in {file["path"] for file in small.files}


def test_many_items_are_thinned_by_whole_steps() -> None:
    items = [
        MediaItem(series="a", kind="image", step=k // 4, t=0.0, index=k % 4, sha256="0" * 64, extension="png", size=1)
        for k in range(1000)
    ]
    kept, stride = thin_items(items, most=100)
    steps = [item.step for item in kept]
    assert stride == 10
    assert sorted(set(steps)) == [*range(0, 250, 10), 249]
    assert all(steps.count(step) == 4 for step in set(steps))
    assert thin_items(items, most=1000) == (items, 1)
