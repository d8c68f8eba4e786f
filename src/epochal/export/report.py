"""A report: the whole Studio and one run in a single HTML file that needs no server and no network.

The answers of the wire lie in it under the very addresses that the Studio asks, packed as `archive.ts` reads them:
base64(gzip(u32 length of the JSON, JSON {"files": [...]}, the answers' bytes)).
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from epochal.errors import NotFoundError, UsageError
from epochal.export.choose import choose_layers
from epochal.export.job import Job
from epochal.export.thin import Shrunk, shrink
from epochal.facts import Notice
from epochal.picture import replacing
from epochal.store import Library
from epochal.wire.answer import Wire
from epochal.wire.paths import path_of

STUDIO = Path(__file__).parent.parent / "studio"
TEMPLATE = "report.html"
ANSWERS_BYTES = 24 << 20
"""How many bytes of a series of predictions it may hold; of longer ones every n-th step."""
ROOM_BYTES = 96 << 20
"""How many bytes of frames and histograms a report may hold before it is packed; a browser opens that at once."""
_DATA_ELEMENT = re.compile(rb'(<script\b[^>]*\bid="epochal-data"[^>]*>)\s*(</script>)')
_BLOB_NAME = re.compile(r"\b[0-9a-f]{64}\.[a-z0-9]{1,12}\b")
_TITLE = re.compile(rb"<title>[^<]*</title>")


Answered = tuple[str, str, bytes]
"""An address, and the media type and body of what is answered there."""


@dataclass(slots=True)
class Archive:
    """Answers by address."""

    files: list[dict[str, Any]] = field(default_factory=list)
    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0

    def add(self, path: str, media_type: str, body: bytes) -> None:
        """Put an answer under its address."""
        self.files.append({"path": path, "type": media_type, "offset": self._size, "length": len(body)})
        self._parts.append(body)
        self._size += len(body)

    def pack(self) -> bytes:
        """The text for the page's data element."""
        head = json.dumps({"files": self.files}, separators=(",", ":")).encode()
        raw = b"".join([struct.pack("<I", len(head)), head, *self._parts])
        return base64.b64encode(gzip.compress(raw, 6, mtime=0))


def write_report(job: Job, studio_folder: Path | None = None, *, room: int = ROOM_BYTES) -> None:
    """Write the report of a job's run; what had to be thinned is said in the report and in the job's notices."""
    if job.steps is not None:
        raise UsageError("A report holds all steps of its run.", hint="Leave --steps out, or write a .gif or .csv.")
    page = _template(STUDIO if studio_folder is None else studio_folder)
    archive = build_archive(job, room=room)
    name = job.run.info().name
    page = _TITLE.sub(lambda _: f"<title>{escape(name)} · Epochal</title>".encode(), page, count=1)
    data = archive.pack()
    if _DATA_ELEMENT.search(page):
        page = _DATA_ELEMENT.sub(lambda found: found[1] + data + found[2], page, count=1)
    else:
        at = page.rindex(b"</body>")
        element = b'<script type="application/octet-stream" id="epochal-data">' + data + b"</script>"
        page = page[:at] + element + page[at:]
    with replacing(job.to) as temporary:
        temporary.write_bytes(page)


def build_archive(job: Job, *, room: int = ROOM_BYTES) -> Archive:
    """Every answer that the Studio asks for, of this run alone."""
    run = job.run
    # The run's own folder says where its root is, whichever library it was found by.
    wire = Wire(Library(run.path.parent.parent), live=False)
    run_id = f"{run.project}/{run.run_id}"
    archive = Archive()

    def ask(what: str, **parameters: Any) -> Answered:
        path = path_of(what, run_id if what not in ("studio", "runs") else "", **parameters)
        address, _, query = path.partition("?")
        answer = wire.answer(address, query)
        return path, answer.media_type, answer.body

    detail = json.loads(ask("run")[2])
    whole = job.what in ("all", "weights") and job.layers is None
    images = [detail["class_images"]] if detail["class_images"] and whole else []
    wanted = _wanted(job, detail["tensors"]) | {one["series"]: ["frames"] for one in images}
    detail["ask"], detail["ask_inputs"] = None, []  # there is nobody to ask
    detail["class_images"] = images[0] if images else None
    shrunk = shrink(
        [(series, what, ask(what, series=series)) for series, kinds in wanted.items() for what in kinds],
        room=room,
        smaller=lambda series: ask("frames", series=series, encoding="u1")[2],
    )
    if job.what != "all":
        detail["media"], detail["alerts"], detail["console"] = [], [], False
    media, left_out, strides = _media(ask, detail, room=room - sum(len(each.body) for each in shrunk.answers))
    notices = _notices(shrunk, left_out, strides, job)
    kept = {(each.series, each.what) for each in shrunk.answers}
    for tensor in _tensors(detail):
        tensor["frames"] = tensor["frames"] if (tensor["series"], "frames") in kept else 0
        tensor["rows"] = tensor["rows"] if (tensor["series"], "histograms") in kept else 0
    if job.what in ("weights", "biases", "gradients", "histogram"):
        detail["series"] = [name for name in detail["series"] if name == "epoch"]
    detail["notices"] += notices
    detail["row"]["notices"] += len(notices)

    json_type = "application/json"
    archive.add(*ask("studio"))
    archive.add(path_of("runs"), json_type, _json({"runs": [detail["row"]], "notices": []}))
    archive.add(path_of("run", run_id), json_type, _json(detail))
    if detail["series"]:
        archive.add(*ask("scalars"))
    if detail["graph"]:
        archive.add(*ask("graph"))
    for each in shrunk.answers:
        archive.add(each.path, each.media_type, each.body)
    for answered in (*media, *([ask("console")] if detail["console"] else [])):
        archive.add(*answered)
    if job.progress is not None:
        job.progress(1, 1)
    return archive


def _wanted(job: Job, tensors: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """Which questions are to be answered for which tensors."""
    known = {t["series"]: t for t in tensors}
    names = list(dict.fromkeys(t["name"] for t in known.values()))
    chosen = set(choose_layers(job.layers, names))
    wanted: dict[str, list[str]] = {}
    for series, tensor in known.items():
        if tensor["name"] not in chosen or job.what == "scalars":
            continue
        kind = tensor["kind"]
        frames = tensor["frames"] > 0 and {
            "all": True,
            "weights": kind == "param",
            "biases": kind == "param" and len(tensor["shape"] or ()) == 1,
            "gradients": kind == "grad",
        }.get(job.what, False)
        rows = tensor["rows"] > 0 and (job.what in ("all", "histogram") or (job.what == "gradients" and kind == "grad"))
        wanted[series] = [what for what, yes in (("frames", frames), ("histograms", rows)) if yes]
    return wanted


def _tensors(node: Any) -> Iterable[dict[str, Any]]:
    """All tensor documents inside a run's detail, wherever they stand."""
    if isinstance(node, dict):
        if {"series", "frames", "rows"} <= node.keys():
            yield node
        else:
            for value in node.values():
                yield from _tensors(value)
    elif isinstance(node, list):
        for value in node:
            yield from _tensors(value)


def _media(
    ask: Callable[..., Answered], detail: dict[str, Any], *, room: int
) -> tuple[list[Answered], list[str], dict[str, int]]:
    """The logged values that `room` bytes hold, series by series in their order, and the series that are left out.

    The run's detail lists those only that are there. Of long series of predictions only every n-th step is; that n by
    series.
    """
    found: list[Answered] = []
    left_out: list[str] = []
    strides: dict[str, int] = {}
    seen: set[str] = set()
    for series in detail["media"]:
        listed = ask("media", series=series["series"])
        if series["kinds"] == ["predictions"]:
            listed, stride = _fewer(listed)
            if stride > 1:
                strides[series["series"]] = stride
        files = [name for item in json.loads(listed[2])["items"] for name in _blobs(item)]
        blobs = [ask("blob", name=name) for name in dict.fromkeys(files) if name not in seen]
        size = len(listed[2]) + sum(len(body) for _, _, body in blobs)
        if size > room:
            left_out.append(series["series"])
            continue
        room -= size
        seen.update(files)
        found += [listed, *blobs]
        if "predictions" in series["kinds"]:
            found.append(ask("predictions", series=series["series"]))
    detail["media"] = [series for series in detail["media"] if series["series"] not in left_out]
    return found, left_out, {name: n for name, n in strides.items() if name not in left_out}


def _fewer(listed: Answered, *, most: int = ANSWERS_BYTES) -> tuple[Answered, int]:
    """Every n-th of the listed values, and the last, so that their files take at most `most` bytes; and that n."""
    path, media_type, body = listed
    document = json.loads(body)
    items = document["items"]
    stride = max(1, -(-sum(item["size"] for item in items) // most))
    if stride == 1:
        return listed, 1
    document["items"] = [item for i, item in enumerate(items) if i % stride == 0 or i == len(items) - 1]
    document["stride"] *= stride
    return (path, media_type, _json(document)), stride


def _blobs(item: dict[str, Any]) -> list[str]:
    """The files of a media item: its own, and all that its facts name."""
    return [item["blob"], *_BLOB_NAME.findall(json.dumps(item["meta"]))]


def _notices(shrunk: Shrunk, media_left_out: list[str], strides: dict[str, int], job: Job) -> list[dict[str, Any]]:
    """What the report must say of itself; the job is told the same."""
    found: list[Notice] = []
    if shrunk.thinned:
        message = f"To keep this file small, {shrunk.thinned} films have fewer or coarser frames in it"
        found.append(
            Notice(code="thinned", message=message, hint="epochal view shows all of them", count=shrunk.thinned)
        )
    for name, stride in strides.items():
        message = f"To keep this file small, it has the confidences of 1 of {stride} steps of {name!r}"
        hint = "what was predicted is there for all steps; epochal view shows the rest"
        found.append(Notice(code="thinned", message=message, hint=hint, count=stride))
    if shrunk.left_out:
        count = len(shrunk.left_out)
        message = f"{count} films are too large for this file and left out of it, such as {shrunk.left_out[0]}"
        hint = "epochal view shows them; choose some with --layers"
        found.append(Notice(code="left_out", message=message, hint=hint, count=count))
    if media_left_out:
        count = len(media_left_out)
        message = f"{count} series of media are too large for this file and left out of it, such as {media_left_out[0]}"
        found.append(Notice(code="left_out", message=message, hint="epochal view shows them", count=count))
    job.notices += found
    return [asdict(notice) for notice in found]


def _template(folder: Path) -> bytes:
    path = folder / TEMPLATE
    try:
        return path.read_bytes()
    except OSError:
        raise NotFoundError(
            f"The Studio was not built: there is no {path}.",
            hint="Build it with 'npm ci && npm run build' in web/, or install a released epochal.",
        ) from None


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
