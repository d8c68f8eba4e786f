"""One builder: what a static export holds under an address is what the live server answers there."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import pytest

from epochal.errors import NotFoundError, UsageError
from epochal.server.app import make_app
from epochal.store.library import Library
from epochal.wire import answer as answering
from epochal.wire.answer import Wire, answer
from epochal.wire.paths import path_of
from tests.server.asking import Client
from tests.server.recorded import record


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answered")
    record(folder)
    return folder


@pytest.fixture
def run(root: Path) -> str:
    stored = Library(root).run("latest")
    return f"{stored.project}/{stored.run_id}"


def test_live_and_static_answers_are_the_same_bytes(root: Path, run: str) -> None:
    client, library = Client(make_app(root)), Library(root)
    for path in (
        path_of("runs"),
        path_of("run", run),
        path_of("graph", run),
        path_of("scalars", run),
        path_of("scalars", run, name=["loss"], points=8, start=3, end=40),
        path_of("frames", run, series="param/layers.0.weight"),
        path_of("frames", run, series="param/layers.0.bias", mode="since", encoding="u1"),
        path_of("histograms", run, series="grad/layers.2.weight"),
        path_of("statistics", run, kind="grad", column="norm"),
    ):
        live = client.get(path)
        address, _, query = path.partition("?")
        static = answer(library, address, query, live=False)
        assert static.body == live.content
        assert static.media_type == live.headers["content-type"]
        assert static.etag == live.headers["etag"]


def test_a_static_studio_knows_that_no_server_stands_behind_it(root: Path) -> None:
    told = json.loads(answer(Library(root), "/api/v1/studio", live=False).body)
    assert (told["live"], told["writable"], told["export_formats"]) == (False, False, [])
    live = json.loads(Wire(Library(root), writable=True).answer("/api/v1/studio").body)
    assert (live["live"], live["writable"], live["root"]) == (True, True, root.name)
    assert {"gif", "html", "csv"} <= set(live["export_formats"])


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/runs/a/b/export", "/elsewhere"])
def test_what_is_no_document_is_refused(root: Path, path: str) -> None:
    with pytest.raises((UsageError, NotFoundError)):
        answer(Library(root), path)


def test_a_query_is_checked_here_too(root: Path, run: str) -> None:
    address, _, query = path_of("frames", run, series="param/layers.0.bias").partition("?")
    for wrong in ("", "series=", f"{query}&mode=up", f"{query}&colour=red", "a=1&" * 3000):
        with pytest.raises(UsageError):
            answer(Library(root), address, wrong)
    assert answer(Library(root), address, unquote(query)).body == answer(Library(root), address, query).body


def test_numbers_of_runs_asked_about_long_ago_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [record(tmp_path) for _ in range(3)]
    wire = Wire(Library(tmp_path))
    monkeypatch.setattr(answering, "_KEPT_AT_MOST", 24 * 200)
    bodies = [wire.answer(path_of("scalars", run)).body for run in runs]
    kept = [opened.scalars_nbytes > 0 for opened in wire._opened.values()]
    assert kept == [False, False, True]
    assert [wire.answer(path_of("scalars", run)).body for run in runs] == bodies
