"""What the routes call: reads through the wire, changes through the library, files through the exporter."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.responses import Response

from epochal.errors import EpochalError
from epochal.server.asking import Asking
from epochal.server.downloads import Downloads, Exporter, attachment
from epochal.server.errors import error_response
from epochal.server.live import EventStream, Hub, Seen
from epochal.server.looking import Looking
from epochal.server.security import is_loopback
from epochal.store.library import Library
from epochal.views.runs import RunFacts
from epochal.wire.answer import Wire
from epochal.wire.documents import to_json
from epochal.wire.frames import MEDIA_TYPE
from epochal.wire.queries import ExportQuery
from epochal.wire.schema import Question, RunChange
from epochal.wire.schema_compare import CompareQuestion
from epochal.wire.schema_lens import ClassImagesQuestion, LensFilmQuestion, LensQuestion

__all__ = ["Backend"]

_SQUEEZED_FROM = 1500
_SQUEEZED_NEARBY_UP_TO = 256 << 10
_FRESH = {"Cache-Control": "no-store"}
_FOR_EVER = "private, max-age=31536000, immutable"


class Backend:
    """Answers requests about one library."""

    def __init__(
        self,
        library: Library,
        *,
        exporter: Exporter,
        writable: bool = True,
        watch_secs: float = 0.2,
        lens_secs: float = 180.0,
    ) -> None:
        self._library = library
        self._wire = Wire(library, writable=writable)
        self.hub = Hub(self._look_at_all, self._look_at_some, watch_secs=watch_secs)
        self._writable = writable
        self._downloads = Downloads(exporter)
        self._asking = Asking()
        self._looking = Looking(self._is_training, most_secs=lens_secs)

    def read(self, request: Request, what: str, project: str = "", run_id: str = "") -> Response:
        """Answer a GET with what the wire says, or say that the client has it already."""
        answer = self._wire.ask(
            what,
            project,
            run_id,
            query=request.scope["query_string"].decode("latin-1"),
            known_etags=request.headers.get("if-none-match", ""),
        )
        headers = {
            "ETag": answer.etag,
            "Cache-Control": _FOR_EVER if answer.immutable else "private, no-cache",
            "Vary": "Accept-Encoding",
            **answer.headers,
        }
        if answer.unchanged:
            return Response(None, 304, headers)
        body = answer.body
        if answer.media_type == "application/json" and _worth_squeezing(request, len(body)):
            body = gzip.compress(body, 1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return Response(body, 200, headers, answer.media_type)

    def change(self, project: str, run_id: str, change: RunChange) -> Response:
        """Change what people may change, and answer with the run's row as it is then."""
        if not self._writable:
            return _read_only()
        run = self._wire.run(project, run_id)
        changes: dict[str, Any] = change.model_dump(exclude_none=True)
        if "tags" in changes:
            changes["tags"] = list(dict.fromkeys(tag for tag in (t.strip() for t in changes["tags"]) if tag))
        if changes:
            self._library.change(run, **changes)
            self._wire.table.forget(run)
        return self._row(project, run_id)

    def delete(self, project: str, run_id: str) -> Response:
        """Move to the trash."""
        if not self._writable:
            return _read_only()
        run = self._wire.run(project, run_id)
        self._library.delete(run)
        self._wire.table.forget(run)
        return _json({"id": f"{project}/{run_id}"})

    def restore(self, project: str, run_id: str) -> Response:
        """Take out of the trash."""
        if not self._writable:
            return _read_only()
        self._wire.table.forget(self._library.restore(project, run_id))
        return self._row(project, run_id)

    def ask(self, project: str, run_id: str, question: Question) -> Response:
        """Let the run's network answer."""
        return _json(self._asking.ask(self._wire.run(project, run_id), question))

    def lens(self, project: str, run_id: str) -> Response:
        """What the lens can look at in a run."""
        from epochal.wire.looking import catalogue_document

        run = self._wire.run(project, run_id)
        self._looking.warm(run)
        return _json(catalogue_document(run))

    def look(self, project: str, run_id: str, question: LensQuestion) -> Response:
        """Begin to look."""
        return _json(self._looking.ask(self._wire.run(project, run_id), question))

    def lens_film(self, project: str, run_id: str, question: LensFilmQuestion) -> Response:
        """Begin a film."""
        return _json(self._looking.film(self._wire.run(project, run_id), question))

    def lens_file(self, job: str) -> Response:
        """The file that was made."""
        return attachment(*self._looking.file(job))

    def class_images(self, project: str, run_id: str, question: ClassImagesQuestion) -> Response:
        """Begin to find what each class looks like."""
        return _json(self._looking.class_images(self._wire.run(project, run_id), question))

    def comparable(self, project: str, run_id: str) -> Response:
        """By what a run's network can be compared."""
        from epochal.wire.comparing import compare_document

        run = self._wire.run(project, run_id)
        self._looking.warm(run)
        return _json(compare_document(run))

    def compare(self, project: str, run_id: str, question: CompareQuestion) -> Response:
        """Begin to compare."""
        from epochal.server.lens_compare import compared_header
        from epochal.server.lens_question import step_of, uploaded

        run = self._wire.run(project, run_id)
        other = None
        if question.against is not None:
            where, _, name = question.against.run.partition("/")
            other = self._wire.run(where, name)
        header = compared_header(run, question, other)
        arrays = uploaded(question.picture, self._looking.kept(question.picture))
        step = step_of(run, question.step)
        job = self._looking.put(run, "compare", step, header, arrays, methods=[question.what])
        return _json(_compared(job))

    def compared(self, job: str) -> Response:
        """How a comparison stands."""
        return _json(_compared(self._looking.document(job)))

    def looked(self, job: str) -> Response:
        """How a question to the lens stands."""
        return _json(self._looking.document(job))

    def stop_looking(self, job: str) -> Response:
        """Stop it."""
        return _json(self._looking.cancel(job))

    def lens_maps(self, job: str, method: str) -> Response:
        """The numbers that it found."""
        return Response(self._looking.maps(job, method), media_type=MEDIA_TYPE, headers=_FRESH)

    def lens_picture(self, job: str, method: str) -> Response:
        """What it found as a picture."""
        return Response(self._looking.picture(job, method), media_type="image/png", headers=_FRESH)

    def keep_picture(self, body: bytes) -> Response:
        """Keep an uploaded picture for the lens."""
        return _json({"picture": self._looking.keep(body)})

    def close(self) -> None:
        """Let go of everything that runs."""
        self._looking.close()
        self.hub.close()

    def _is_training(self) -> bool:
        return any(facts.info.status == "running" for facts in self._wire.table.refresh()[0])

    async def export(self, project: str, run_id: str, query: ExportQuery) -> Response:
        """Make a file; only so many at once."""
        return await self._downloads.make(lambda: self._wire.run(project, run_id), f"{project}-{run_id}", query)

    def events(self) -> Response:
        """The live stream."""
        return EventStream(self.hub)

    def _look_at_all(self) -> Mapping[str, Seen]:
        return dict(_seen(facts) for facts in self._wire.table.refresh()[0])

    def _look_at_some(self, ids: frozenset[str]) -> Mapping[str, Seen]:
        seen: dict[str, Seen] = {}
        for run_id in ids:
            project, _, name = run_id.partition("/")
            with contextlib.suppress(EpochalError, OSError):  # it is gone, or was damaged: the next look at all tells
                seen.update([_seen(self._wire.look(project, name))])
        return seen

    def _row(self, project: str, run_id: str) -> Response:
        return _json(self._wire.row(project, run_id))


def _compared(job: dict[str, Any]) -> dict[str, Any]:
    """A CompareJob of a LensJob."""
    return {key: value for key, value in job.items() if key not in ("methods", "input", "failures", "file")}


def _worth_squeezing(request: Request, nbytes: int) -> bool:
    """Whether an answer goes out squeezed: to this machine a long one is sent sooner than it is squeezed."""
    if nbytes < _SQUEEZED_FROM or "gzip" not in request.headers.get("accept-encoding", ""):
        return False
    near = request.client is not None and is_loopback(request.client.host)
    return not near or nbytes <= _SQUEEZED_NEARBY_UP_TO


def _seen(facts: RunFacts) -> tuple[str, Seen]:
    info = facts.info
    return f"{info.project}/{info.run_id}", Seen(info.status, info.last_step, facts.version)


def _json(document: Any) -> Response:
    return Response(to_json(document), media_type="application/json", headers={"Cache-Control": "no-store"})


def _read_only() -> Response:
    return error_response(403, "read_only", "this server only shows runs", hint="start it without --read-only")
