"""The one builder of answers: the live server, the static export and the tests ask it the same way.

`Wire` keeps what makes the next answer quick; `answer` is the same for a single question.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_not
from typing import Any

import numpy.typing as npt

from epochal._version import __version__
from epochal.errors import NotFoundError, UsageError
from epochal.facts import STATISTICS, Notice
from epochal.lens.films import CLASS_IMAGES, recorded_class_images
from epochal.store.layout import check_name
from epochal.store.library import Library
from epochal.store.reader import StoredRun
from epochal.views.curves import make_curve
from epochal.views.detail import ChangeCache, read_detail
from epochal.views.films import FilmStack, make_film
from epochal.views.histograms import make_columns, make_histograms
from epochal.views.predictions import AnswersMemory, read_example, read_outline
from epochal.views.runs import RunFacts
from epochal.views.stored import FilmMemory, make_stored_film
from epochal.views.table import ENDED, RunsTable, lies_inside
from epochal.wire import columns, frames
from epochal.wire.asking import ask_documents, class_images_document
from epochal.wire.documents import (
    console_document,
    detail_document,
    graph_document,
    media_document,
    notice_documents,
    row_document,
    to_json,
)
from epochal.wire.labs import LABS, LabAnswers
from epochal.wire.media import blob_type, thin_items
from epochal.wire.paths import parse_path
from epochal.wire.predictions import encode_example, encode_outline, names_document
from epochal.wire.queries import (
    BlobQuery,
    ConsoleQuery,
    FramesQuery,
    HistogramsQuery,
    MediaQuery,
    PlainQuery,
    PredictionsQuery,
    ScalarsQuery,
    StatisticsQuery,
    read_query,
)

__all__ = ["Answer", "Wire", "answer"]

JSON = "application/json"
SERIES_HEADER = "Epochal-Series"

_HEADER_AT_MOST = 4000
_KEPT_AT_MOST = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to send. `unchanged` says that the asker has it already, and that `body` is left out.

    `immutable` says that the same address will never be answered otherwise.
    """

    body: bytes
    media_type: str
    etag: str
    immutable: bool = False
    unchanged: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Opened:
    """A run that was asked about, and what was kept of it."""

    stored: StoredRun
    films: dict[str, FilmMemory] = field(default_factory=dict)
    changes: ChangeCache = field(default_factory=dict)
    answers: dict[str, AnswersMemory] = field(default_factory=dict)
    detail: tuple[str, bytes] = ("", b"")
    scalars_nbytes: int = 0


@dataclass(frozen=True, slots=True)
class _Listed:
    """The table of runs as it was last answered: its rows, their JSON, and all of it."""

    facts: list[RunFacts]
    notices: list[Notice]
    rows: list[bytes]
    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question, with the run it is about where it is about one."""

    what: str
    query: str
    known_etags: str


def answer(library: Library, path: str, query: str = "", *, live: bool = True) -> Answer:
    """Answer one question, spelled as `epochal.wire.paths.path_of` does; raises what the address is wrong about."""
    return Wire(library, live=live).answer(path, query)


class Wire:
    """Answers questions about one library. Every method may be called from any thread.

    With `live=False` the Studio is told that no server stands behind the answers.
    """

    def __init__(
        self,
        library: Library,
        *,
        live: bool = True,
        writable: bool = False,
        export_formats: Sequence[str] | None = None,
    ) -> None:
        self._library = library
        self.table = RunsTable(library)
        self._labs = LabAnswers(library)
        self._studio = {
            "version": __version__,
            "live": live,
            "root": library.root.name,
            "writable": writable and live,
            "export_formats": list(_formats() if export_formats is None else export_formats) if live else [],
        }
        self._lock = threading.RLock()
        self._opened: OrderedDict[tuple[str, str], _Opened] = OrderedDict()
        self._listed = _Listed([], [], [], b'{"runs":[],"notices":[]}', _etag(b""))

    def answer(self, path: str, query: str = "", *, known_etags: str = "") -> Answer:
        """Answer the question at an address: `path` and `query` percent-encoded, `query` without its question mark."""
        what, project, run_id = parse_path(path)
        return self.ask(what, project, run_id, query=query, known_etags=known_etags)

    def ask(self, what: str, project: str = "", run_id: str = "", *, query: str = "", known_etags: str = "") -> Answer:
        """Answer a question; `known_etags` are those the asker has answers for already."""
        asked = _Asked(what, query, known_etags)
        if what in LABS:
            body, media_type = self._labs.answer(what, project, run_id, query)
            return _document(body, asked, media_type=media_type)
        match what:
            case "studio":
                read_query(PlainQuery, query)
                return _document(to_json(self._studio), asked)
            case "runs":
                read_query(PlainQuery, query)
                return self._runs(asked)
            case "run":
                return self._detail(self._open(project, run_id), asked)
            case "graph":
                return self._graph(self._open(project, run_id), asked)
            case "scalars":
                return self._scalars(self._open(project, run_id), asked)
            case "frames":
                return self._frames(self._open(project, run_id), asked)
            case "histograms":
                return self._histograms(self._open(project, run_id), asked)
            case "statistics":
                return self._statistics(self._open(project, run_id), asked)
            case "media":
                return self._media(self._open(project, run_id), asked)
            case "predictions":
                return self._predictions(self._open(project, run_id), asked)
            case "blob":
                return self._blob(self._open(project, run_id), asked)
            case "console":
                last = read_query(ConsoleQuery, query).last
                lines = self._open(project, run_id).stored.console(last=last)
                return _document(to_json(console_document(lines)), asked)
            case "code":
                read_query(PlainQuery, query)
                return self._code(self._open(project, run_id), asked)
            case _:
                raise UsageError(f"{what} is no document", hint="ask the server for it")

    def run(self, project: str, run_id: str) -> StoredRun:
        """The run of just these names; NotFoundError when there is none, or when it lies outside of the root."""
        return self._open(project, run_id).stored

    def look(self, project: str, run_id: str) -> RunFacts:
        """How a run stands; where somebody looks at its numbers, with those logged a moment ago."""
        opened = self._open(project, run_id)
        return self.table.one(opened.stored, newest=opened.scalars_nbytes > 0)

    def row(self, project: str, run_id: str) -> dict[str, Any]:
        """The RunRow of a run."""
        return row_document(self.table.one(self.run(project, run_id)))

    def _open(self, project: str, run_id: str) -> _Opened:
        key = (check_name(project, what="project"), check_name(run_id, what="run id"))
        with self._lock:
            opened = self._opened.get(key)
            if opened is not None and opened.stored.folder.run_json.is_file():
                self._opened.move_to_end(key)
                return opened
            self._opened.pop(key, None)
            found = [run for run in self._library.runs() if (run.project, run.run_id) == key]
            if not found or not lies_inside(self._library.root, found[0]):
                raise NotFoundError(
                    f"There is no run {project}/{run_id}", hint="it may have been deleted, moved or never made"
                )
            opened = self._opened[key] = _Opened(found[0])
            return opened

    def _give_back(self, current: _Opened) -> None:
        """Let go of the numbers of runs that were not asked about for longest, when they are many."""
        with self._lock:
            total = sum(o.scalars_nbytes for o in self._opened.values())
            for opened in list(self._opened.values()):
                if total <= _KEPT_AT_MOST:
                    return
                if opened is not current and opened.scalars_nbytes:
                    total -= opened.scalars_nbytes
                    opened.scalars_nbytes = 0
                    opened.stored.forget()

    def _runs(self, asked: _Asked) -> Answer:
        facts, notices = self.table.refresh()
        listed = self._listed
        # Rows that did not change are the same objects: then the whole table is the bytes that it was.
        if listed.notices != notices or len(listed.facts) != len(facts) or any(map(is_not, listed.facts, facts)):
            known = {run.info.path: (run, row) for run, row in zip(listed.facts, listed.rows, strict=True)}
            rows = []
            for run in facts:
                before, row = known.get(run.info.path, (None, b""))
                rows.append(row if before is run else to_json(row_document(run)))
            body = b'{"runs":[' + b",".join(rows) + b'],"notices":' + to_json(notice_documents(notices)) + b"}"
            listed = self._listed = _Listed(facts, notices, rows, body, _etag(body))
        return _document(listed.body, asked, etag=listed.etag)

    def _detail(self, run: _Opened, asked: _Asked) -> Answer:
        query = read_query(PlainQuery, asked.query)
        row = self.table.one(run.stored)
        version, body = run.detail
        if version != row.version:
            document = detail_document(read_detail(run.stored, row, changes=run.changes))
            document |= ask_documents(run.stored) | {"class_images": class_images_document(run.stored)}
            document |= {"names": names_document(run.stored)}
            body = to_json(document)
            run.detail = (row.version, body)
            # Its notices are known only once all numbers were read.
            run.scalars_nbytes = max(run.scalars_nbytes, sum(24 * s.n for s in row.summaries.values()))
            self._give_back(run)
        return _document(body, asked, immutable=_for_ever(query, row))

    def _graph(self, run: _Opened, asked: _Asked) -> Answer:
        query = read_query(PlainQuery, asked.query)
        row = self.table.one(run.stored)
        graph = run.stored.graph()
        if graph is None:
            raise NotFoundError(
                f"Run {run.stored.project}/{run.stored.run_id} has no graph",
                hint="run.watch(model, inputs=one_batch) records it",
            )
        return _document(to_json(graph_document(graph)), asked, immutable=_for_ever(query, row))

    def _scalars(self, run: _Opened, asked: _Asked) -> Answer:
        query = read_query(ScalarsQuery, asked.query)

        def build() -> tuple[bytes, Mapping[str, str]]:
            series = run.stored.scalars(query.name or None)
            run.scalars_nbytes = max(run.scalars_nbytes, sum(24 * len(s) for s in series.values()))
            self._give_back(run)
            curves = [
                make_curve(s.name, s.steps, s.t, s.v, points=query.points, start=query.start, end=query.end)
                for s in series.values()
            ]
            counts = to_json(columns.counts_of(curves)).decode("utf-8")
            # Names may hold any letter, a header only plain ones; where it would be long, the schema's copy must do.
            header = counts if counts.isascii() and len(counts) <= _HEADER_AT_MOST else ""
            return columns.encode_curves(curves), {SERIES_HEADER: header} if header else {}

        return self._columns(run.stored, query, asked, columns.MEDIA_TYPE, build)

    def _frames(self, run: _Opened, asked: _Asked) -> Answer:
        query = read_query(FramesQuery, asked.query)

        def build() -> tuple[bytes, Mapping[str, str]]:
            film = _film(run, query)
            header = {
                "series": query.series,
                "mode": query.mode,
                "encoding": film.encoding,
                "limit": film.limit,
                "lo": film.lo,
                "hi": film.hi,
                "nonfinite": film.nonfinite,
                "total": film.total,
                "stride": film.stride,
            }
            return frames.encode(header, {"steps": film.steps, "frames": film.frames}), {}

        return self._columns(run.stored, query, asked, frames.MEDIA_TYPE, build)

    def _histograms(self, run: _Opened, asked: _Asked) -> Answer:
        query = read_query(HistogramsQuery, asked.query)

        def build() -> tuple[bytes, Mapping[str, str]]:
            stack = make_histograms(run.stored, query.series)
            arrays: Mapping[str, npt.NDArray[Any]] = {
                "steps": stack.steps,
                "counts": stack.counts,
                "lo": stack.lo,
                "hi": stack.hi,
                "statistics": stack.statistics,
            }
            return frames.encode({"series": query.series, "columns": list(STATISTICS)}, arrays), {}

        return self._columns(run.stored, query, asked, frames.MEDIA_TYPE, build)

    def _statistics(self, run: _Opened, asked: _Asked) -> Answer:
        query = read_query(StatisticsQuery, asked.query)

        def build() -> tuple[bytes, Mapping[str, str]]:
            stack = make_columns(run.stored, query.kind, query.column)
            header = {"kind": query.kind, "column": query.column, "series": list(stack.series)}
            return frames.encode(header, {"starts": stack.starts, "steps": stack.steps, "values": stack.values}), {}

        return self._columns(run.stored, query, asked, frames.MEDIA_TYPE, build)

    def _media(self, run: _Opened, asked: _Asked) -> Answer:
        query = read_query(MediaQuery, asked.query)

        def build() -> tuple[bytes, Mapping[str, str]]:
            items = [
                item
                for item in run.stored.media(query.series)
                if (query.start is None or item.step >= query.start) and (query.end is None or item.step <= query.end)
            ]
            kept, stride = thin_items(items)
            return to_json(media_document(query.series, kept, total=len(items), stride=stride)), {}

        return self._columns(run.stored, query, asked, JSON, build)

    def _predictions(self, run: _Opened, asked: _Asked) -> Answer:
        query = read_query(PredictionsQuery, asked.query)

        def build() -> tuple[bytes, Mapping[str, str]]:
            memory = run.answers.get(query.series) or AnswersMemory()
            if query.example is None:
                body = encode_outline(read_outline(run.stored, query.series, memory))
            else:
                found = read_example(run.stored, query.series, query.example, at=query.at, memory=memory)
                body = encode_example(query.series, query.example, *found)
            run.answers[query.series] = memory  # only now is it known that there is such a series
            return body, {}

        return self._columns(run.stored, query, asked, frames.MEDIA_TYPE, build)

    def _blob(self, run: _Opened, asked: _Asked) -> Answer:
        """A file under its hash never changes, but it belongs to its run only."""
        query = read_query(BlobQuery, asked.query)
        etag, media_type = _etag(query.name.encode()), blob_type(query.name)
        path = run.stored.blob(query.name.partition(".")[0])
        if path.name != query.name:
            raise NotFoundError(f"No value of this run has the file {query.name}")
        if etag in asked.known_etags:
            return Answer(body=b"", media_type=media_type, etag=etag, immutable=True, unchanged=True)
        body = run.stored.blob_bytes(query.name.partition(".")[0])
        return Answer(body=body, media_type=media_type, etag=etag, immutable=True)

    def _code(self, run: _Opened, asked: _Asked) -> Answer:
        stored = run.stored
        document = {
            "code": stored.code(),
            "environment": stored.environment(),
            "diff": stored.diff(),
            "packages": stored.packages(),
        }
        return _document(to_json(document), asked)

    def _columns(
        self,
        run: StoredRun,
        query: PlainQuery,
        asked: _Asked,
        media_type: str,
        build: Callable[[], tuple[bytes, Mapping[str, str]]],
    ) -> Answer:
        """A large answer is told from others by the question and the run's version, without being built."""
        row = self.table.one(run, newest=True)
        told = (__version__, row.version, asked.what, run.project, run.run_id, query.model_dump(exclude={"v"}))
        etag, immutable = _etag(repr(told).encode()), _for_ever(query, row)
        if etag in asked.known_etags:
            return Answer(body=b"", media_type=media_type, etag=etag, immutable=immutable, unchanged=True)
        body, headers = build()
        return Answer(body=body, media_type=media_type, etag=etag, immutable=immutable, headers=headers)


def _film(run: _Opened, query: FramesQuery) -> FilmStack:
    chosen: Any = {"mode": query.mode, "encoding": query.encoding, "start": query.start, "end": query.end}
    if query.series != CLASS_IMAGES:
        memory = run.films.setdefault(query.series, FilmMemory())
        return make_stored_film(run.stored, query.series, memory=memory, **chosen)
    images = recorded_class_images(run.stored)
    if images is None:
        raise NotFoundError(
            f"Run {run.stored.project}/{run.stored.run_id} has no class images",
            hint="weights alone make them for chains of linear layers; epochal.lens.class_images takes examples too",
        )
    return make_film(images, **chosen)


def _document(body: bytes, asked: _Asked, *, etag: str = "", immutable: bool = False, media_type: str = JSON) -> Answer:
    """A small document is told from others by its content."""
    etag = etag or _etag(body)
    unchanged = etag in asked.known_etags
    return Answer(
        body=b"" if unchanged else body, media_type=media_type, etag=etag, immutable=immutable, unchanged=unchanged
    )


def _for_ever(query: PlainQuery, row: RunFacts) -> bool:
    return query.v == row.version and row.info.status in ENDED


def _etag(content: bytes) -> str:
    # Weak: the same answer may go out squeezed or not.
    return f'W/"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'


def _formats() -> list[str]:
    """What files can be made here: films as MP4 need an optional package."""
    films = ["gif", "mp4"] if importlib.util.find_spec("av") is not None else ["gif"]
    return [*films, "png", "svg", "html", "csv", "parquet"]
