"""The API holds to its own description, whatever it is asked: schemathesis makes up questions from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)

from epochal.server import make_app, start_in_background
from epochal.server.describe import describe
from epochal.server.openapi import main, render
from tests.labs import make_lab
from tests.server.recorded import record

COMMITTED = Path(__file__).parents[2] / "web" / "src" / "wire" / "openapi.json"
SCHEMA = schemathesis.openapi.from_dict(describe(make_app(".")))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
NOT_ASKED = {"events": "its answer never ends", "export": "files take long; test_downloads.py asks for them"}
OPERATIONS = {
    found.ok().definition.raw["operationId"]: found.ok()
    for found in SCHEMA.get_all_operations()
    if found.ok().definition.raw["operationId"] not in NOT_ASKED
}
SERIES = ["param/layers.0.weight", "param/layers.0.bias", "grad/layers.0.weight", "act/layers.0"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server's address, and a run of it."""
    root = tmp_path_factory.mktemp("asked")
    run = record(root)
    make_lab(root, repeats=1)
    with start_in_background(make_app(root), port=0) as server:
        yield server.url.rstrip("/"), run
    shutil.rmtree(root)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_whatever_is_asked_is_answered_as_described(name: str, running: tuple[str, str]) -> None:
    url, run = running
    project, run_id = run.split("/")
    operation = OPERATIONS[name]

    @settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def ask(data: Any) -> None:
        mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if mode is GenerationMode.POSITIVE and "project" in (case.path_parameters or {}) and data.draw(st.booleans()):
            case.path_parameters = (
                {"project": "small", "lab_id": httpx.get(f"{url}/api/v1/labs").json()["labs"][0]["lab_id"]}
                if "lab_id" in case.path_parameters
                else {"project": project, "run_id": run_id}
            )
            if "series" in (case.query or {}):
                case.query["series"] = data.draw(st.sampled_from(SERIES))
        if name == "restore_run":
            httpx.delete(f"{url}/api/v1/runs/{run}")
        case.call_and_validate(base_url=url, checks=CHECKS)
        if name in ("delete_run", "restore_run"):
            httpx.post(f"{url}/api/v1/runs/{run}/restore")

    ask()
    assert httpx.get(f"{url}/api/v1/runs/{run}").status_code == 200


def test_the_committed_description_is_up_to_date(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--check", str(COMMITTED)]) == 0
    stale = tmp_path / "openapi.json"
    stale.write_text(render().replace("200", "201", 1), encoding="utf-8")
    assert main(["--check", str(stale)]) == 1
    assert "out of date" in capsys.readouterr().err
    assert main([str(stale)]) == 0
    assert stale.read_text(encoding="utf-8") == COMMITTED.read_text(encoding="utf-8")


def test_every_operation_is_described_for_people() -> None:
    for path, methods in describe(make_app("."))["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], f"{method} {path}"
            assert all(p.get("description") for p in operation.get("parameters", ())), f"{method} {path}"
