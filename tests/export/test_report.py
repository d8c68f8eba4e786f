"""A report, taken apart: its archive holds what the wire answers, under the addresses the Studio asks."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal import export
from epochal.errors import NotFoundError
from epochal.export.job import Job
from epochal.export.report import build_archive
from epochal.export.thin import every_second
from epochal.picture import theme
from epochal.store import Library, StoredRun
from epochal.wire.answer import Wire
from epochal.wire.frames import decode, encode
from epochal.wire.paths import path_of
from tests.workspace.recording import Recorded, record

PAGE = """<!doctype html><html><head><title>Epochal</title>
<script type="module">document.write("</bo" + "dy>")</script></head>
<body><script type="application/octet-stream" id="epochal-data"></script><div id="app"></div></body></html>"""


class Page(HTMLParser):
    """Finds the title and the data element, as a browser would."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inside = ""
        self.data: list[str] = []
        self.title = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = str(dict(attrs).get("id") or tag)

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "epochal-data":
            self.data.append(data)
        if self.inside == "title":
            self.title += data


def unpack(text: str) -> dict[str, bytes]:
    raw = gzip.decompress(base64.b64decode(text))
    (length,) = struct.unpack_from("<I", raw)
    files = json.loads(raw[4 : 4 + length])["files"]
    start = 4 + length
    return {f["path"]: raw[start + f["offset"] : start + f["offset"] + f["length"]] for f in files}


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    folder = tmp_path / "studio"
    folder.mkdir()
    (folder / "report.html").write_text(PAGE)
    return folder


def report(made: Recorded, studio: Path, **options: Any) -> tuple[Page, dict[str, bytes]]:
    to = studio.parent / "report.html"
    export.write(StoredRun(made.writer.path), to=to, studio_folder=studio, **options)
    page = Page(to.read_text())
    return page, unpack("".join(page.data))


def test_a_report_answers_as_the_server_does(recorded: Recorded, studio: Path) -> None:
    page, files = report(recorded, studio)
    assert page.title == "iris-12 · Epochal"
    wire = Wire(Library(recorded.root), live=False)
    run = recorded.id
    same = [
        path_of("studio"),
        path_of("scalars", run),
        path_of("graph", run),
        *(path_of("frames", run, series=f"{kind}/{n}") for kind in ("param", "grad") for n in recorded.params[0]),
        *(path_of("histograms", run, series=f"param/{n}") for n in recorded.params[0]),
        path_of("frames", run, series="lens/class_images"),
    ]
    for path in same:
        address, _, query = path.partition("?")
        assert files[path] == wire.answer(address, query).body
    assert set(files) == {*same, path_of("runs"), path_of("run", run)}
    assert json.loads(files[path_of("studio")])["live"] is False
    frames = decode(files[path_of("frames", run, series="param/0.weight")])[1]["frames"]
    np.testing.assert_array_equal(frames, np.stack([recorded.params[s]["0.weight"] for s in recorded.params]))


def test_only_this_run_is_in_it(recorded: Recorded, studio: Path) -> None:
    other = record(recorded.root, name="secret")
    other.writer.finish()
    _, files = report(recorded, studio)
    runs = json.loads(files[path_of("runs")])["runs"]
    assert [r["id"] for r in runs] == [recorded.id]
    assert not any("secret" in path or b"secret" in body for path, body in files.items())


def test_part_of_a_run_asks_for_no_more_than_that(recorded: Recorded, studio: Path) -> None:
    _, files = report(recorded, studio, what="weights", layers="0.weight")
    frames = [path for path in files if "/frames" in path]
    assert frames == [path_of("frames", recorded.id, series="param/0.weight")]
    assert not any("/histograms" in path or "/scalars?" in path for path in files)
    detail = json.loads(files[path_of("run", recorded.id)])
    assert {t["series"] for t in detail["tensors"] if t["frames"]} == {"param/0.weight"}
    assert not any(t["rows"] for t in detail["tensors"])


def test_a_report_that_would_be_large_is_thinned_and_says_so(recorded: Recorded) -> None:
    def job() -> Job:
        return Job(
            run=StoredRun(recorded.writer.path),
            to=Path("unused.html"),
            what="all",
            format="html",
            steps=None,
            layers=None,
            fps=None,
            size=None,
            cmap=None,
            theme=theme("light"),
        )

    whole = build_archive(job())
    asked = job()
    small = build_archive(asked, room=9000)
    assert len(small.files) < len(whole.files)
    large = [f for f in small.files if "/frames" in f["path"] or "/histograms" in f["path"]]
    assert sum(f["length"] for f in large) <= 9000
    assert {n.code for n in asked.notices} == {"thinned", "left_out"}
    texts = unpack(small.pack().decode())
    detail = json.loads(texts[path_of("run", recorded.id)])
    assert {n["code"] for n in detail["notices"]} >= {"thinned", "left_out"}
    kept = {f["path"] for f in small.files}
    for tensor in detail["tensors"]:
        assert bool(tensor["frames"]) == (path_of("frames", recorded.id, series=tensor["series"]) in kept)
        assert bool(tensor["rows"]) == (path_of("histograms", recorded.id, series=tensor["series"]) in kept)
    frames = texts[path_of("frames", recorded.id, series="param/0.weight")]
    assert decode(frames)[0]["encoding"] == "u1"


def test_every_second_frame_keeps_the_last() -> None:
    body = encode(
        {"series": "x", "stride": 1}, {"steps": np.arange(5), "frames": np.arange(10, dtype=np.float32).reshape(5, 2)}
    )
    header, arrays = decode(every_second(body))
    assert header["stride"] == 2
    assert arrays["steps"].tolist() == [0, 2, 4]
    assert arrays["frames"].tolist() == [[0, 1], [4, 5], [8, 9]]


def test_a_page_without_the_element_gets_one(recorded: Recorded, studio: Path) -> None:
    (studio / "report.html").write_text(
        PAGE.replace('<script type="application/octet-stream" id="epochal-data"></script>', "")
    )
    _, files = report(recorded, studio)
    assert path_of("run", recorded.id) in files


def test_a_name_cannot_break_out_of_the_title(tmp_path: Path, studio: Path) -> None:
    made = record(tmp_path / "runs", name="</title><script>alert(1)</script>")
    made.writer.finish()
    page, _ = report(made, studio)
    assert page.title == "</title><script>alert(1)</script> · Epochal"


def test_without_a_built_studio_it_says_how_to_build_it(recorded: Recorded, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="not built") as caught:
        export.write(StoredRun(recorded.writer.path), to=tmp_path / "r.html", studio_folder=tmp_path)
    assert "npm run build" in caught.value.hint
    assert not (tmp_path / "r.html").exists()
