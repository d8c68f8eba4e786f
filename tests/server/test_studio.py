from __future__ import annotations

import os
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response

from epochal.server.studio import StudioFiles


def ask(files: StudioFiles, path: str, **headers: str) -> Response:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return files.answer(Request({"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": pairs}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    built = tmp_path / "studio"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text("<!doctype html>" + "<p>Studio</p>" * 200, encoding="utf-8")
    (built / "assets" / "index-Bx1.js").write_text("export const a = 1;\n" * 200, encoding="utf-8")
    (built / "assets" / "font-C3.woff2").write_bytes(bytes(range(256)) * 8)
    (built / "notes.py").write_text("secret", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    return built


def test_the_page_is_asked_for_anew_and_its_parts_are_kept_for_ever(folder: Path) -> None:
    files = StudioFiles(folder)
    page, script = ask(files, "/"), ask(files, "/assets/index-Bx1.js")
    assert page.headers["cache-control"] == "no-cache"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.body == (folder / "index.html").read_bytes() == ask(files, "/index.html").body
    assert script.headers["cache-control"].endswith("immutable")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"


def test_a_page_that_did_not_change_is_not_sent_again(folder: Path) -> None:
    files = StudioFiles(folder)
    etag = ask(files, "/").headers["etag"]
    again = ask(files, "/", if_none_match=f'"x", {etag}')
    assert (again.status_code, again.body) == (304, b"")


def test_text_is_squeezed_for_those_who_take_it(folder: Path) -> None:
    files = StudioFiles(folder)
    squeezed = ask(files, "/assets/index-Bx1.js", accept_encoding="gzip, br")
    assert squeezed.headers["content-encoding"] == "gzip"
    assert len(squeezed.body) < 500
    assert "content-encoding" not in ask(files, "/assets/font-C3.woff2", accept_encoding="gzip").headers


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "//etc/passwd",
        "/..%2fsecret.txt",
        "/assets\\..\\..\\secret.txt",
        "/notes.py",
        "/assets",
        "/assets/",
        "/secret.txt\0.js",
        "/nowhere",
        "/link.txt",
        "/out/secret.txt",
    ],
)
def test_nothing_outside_the_list_is_served(folder: Path, path: str) -> None:
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "out").symlink_to(folder.parent)
    answer = ask(StudioFiles(folder), path)
    assert answer.status_code == 404
    assert b"secret" not in answer.body


def test_a_studio_that_was_not_built_says_how_to_build_it_and_appears_once_built(folder: Path) -> None:
    page = (folder / "index.html").read_bytes()
    (folder / "index.html").unlink()
    files = StudioFiles(folder)
    answer = ask(files, "/")
    assert answer.status_code == 503
    assert b"npm run build" in answer.body
    (folder / "index.html").write_bytes(page)
    assert ask(files, "/").body == page


def test_a_studio_built_again_is_served_at_once(folder: Path) -> None:
    files = StudioFiles(folder)
    ask(files, "/")
    (folder / "assets" / "index-Cy2.js").write_text("new", encoding="utf-8")
    (folder / "index.html").write_text("new page", encoding="utf-8")
    os.utime(folder / "index.html", ns=(1, 1))
    assert ask(files, "/").body == b"new page"
    assert ask(files, "/assets/index-Cy2.js").body == b"new"
