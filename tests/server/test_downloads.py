from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import httpx
import pytest

from epochal.errors import PictureError
from epochal.server import downloads
from epochal.server.app import make_app
from epochal.store.reader import StoredRun
from epochal.wire.queries import ExportQuery
from tests.server.asking import HOME, Client
from tests.server.recorded import record

FORMATS = [
    ("scalars", "csv", b'"name"', "text/csv"),
    ("weights", "gif", b"GIF89a", "image/gif"),
    ("weights", "png", b"\x89PNG", "image/png"),
    ("scalars", "svg", b"<", "image/svg+xml"),
    ("scalars", "parquet", b"PAR1", "application/vnd.apache.parquet"),
]


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize(("what", "suffix", "begins", "media_type"), FORMATS)
def test_files_come_as_attachments_and_leave_nothing_behind(
    shown: tuple[Path, str], own_temporary_folder: Path, what: str, suffix: str, begins: bytes, media_type: str
) -> None:
    client = Client(make_app(shown[0]))
    answer = client.get(f"/api/v1/runs/{shown[1]}/export?what={what}&format={suffix}")
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(begins)
    assert answer.headers["content-type"].startswith(media_type)
    assert int(answer.headers["content-length"]) == len(answer.content)
    name = f"{shown[1].replace('/', '-')}-{what}.{suffix}"
    assert f'filename="{name}"' in answer.headers["content-disposition"]
    assert list(own_temporary_folder.iterdir()) == []


def test_what_cannot_be_written_is_said(shown: tuple[Path, str], own_temporary_folder: Path) -> None:
    client = Client(make_app(shown[0]))
    for query in ("what=all&format=gif", "what=weights&format=png&steps=12345", "what=weights&format=png&layers=nope"):
        answer = client.get(f"/api/v1/runs/{shown[1]}/export?{query}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "usage")
    assert client.get("/api/v1/runs/iris/nothing/export?what=scalars&format=csv").status_code == 404
    assert list(own_temporary_folder.iterdir()) == []


@pytest.mark.parametrize("size", ["99999x99999", "0x0", "1x1", "99999x1"])
def test_absurd_sizes_neither_fail_nor_fill_the_memory(shown: tuple[Path, str], size: str) -> None:
    client = Client(make_app(shown[0]))
    answer = client.get(f"/api/v1/runs/{shown[1]}/export?what=weights&format=png&steps=last&size={size}")
    assert answer.status_code in (200, 422)


def test_a_name_in_any_script_arrives(tmp_path: Path) -> None:
    run = record(tmp_path, project='zażółć "x"'.replace('"', "'"))
    answer = Client(make_app(tmp_path)).get(f"/api/v1/runs/{run.replace(' ', '%20')}/export?what=scalars&format=csv")
    disposition = answer.headers["content-disposition"]
    assert "filename*=UTF-8''za%C5%BC%C3%B3%C5%82%C4%87%20%27x%27-" in disposition
    assert disposition.isascii()


def test_an_exporter_that_fails_leaves_nothing_behind(shown: tuple[Path, str], own_temporary_folder: Path) -> None:
    def failing(run: StoredRun, query: ExportQuery, to: Path) -> None:
        to.write_bytes(b"half")
        raise PictureError("the film is too long", hint="choose fewer steps")

    client = Client(make_app(shown[0], exporter=failing))
    answer = client.get(f"/api/v1/runs/{shown[1]}/export?what=weights&format=gif")
    assert answer.status_code == 422
    assert answer.json() == {
        "error": {"code": "picture", "message": "the film is too long", "hint": "choose fewer steps"}
    }
    assert list(own_temporary_folder.iterdir()) == []


def test_two_are_made_at_once_a_few_wait_and_the_rest_come_back_later(shown: tuple[Path, str]) -> None:
    free, lock = threading.Event(), threading.Lock()
    at_once, most = 0, 0

    def slow(run: StoredRun, query: ExportQuery, to: Path) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        free.wait(10)
        to.write_bytes(b"x")
        with lock:
            at_once -= 1

    app = make_app(shown[0], exporter=slow)

    async def ask_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOME) as client:
            path = f"/api/v1/runs/{shown[1]}/export?what=weights&format=gif"
            asked = [asyncio.create_task(client.get(path)) for _ in range(downloads._WAITING_AT_MOST + 3)]
            while sum(t.done() for t in asked) < 3:
                await asyncio.sleep(0.01)
            free.set()
            return await asyncio.gather(*asked)

    answers = asyncio.run(ask_all())
    busy = [a for a in answers if a.status_code == 429]
    assert len(busy) == 3
    assert busy[0].json()["error"]["code"] == "busy"
    assert busy[0].headers["retry-after"]
    assert [a.content for a in answers if a.status_code == 200] == [b"x"] * downloads._WAITING_AT_MOST
    assert most == 2
