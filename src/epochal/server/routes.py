"""The addresses of the API, their parameters and what they answer, as OpenAPI documents them.

Everything that is read comes from `epochal.wire`: a route here only says what there is and hands the question on.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from epochal.server.backend import Backend
from epochal.server.live import EventStream
from epochal.server.routes_compare import add_comparisons
from epochal.server.routes_lab import add_labs
from epochal.wire.queries import (
    BlobQuery,
    ConsoleQuery,
    ExportQuery,
    FramesQuery,
    HistogramsQuery,
    MediaQuery,
    PlainQuery,
    PredictionsQuery,
    ScalarsQuery,
    StatisticsQuery,
)
from epochal.wire.schema import (
    AnswerDocument,
    CodeDocument,
    ConsoleDocument,
    DeletedDocument,
    GraphDocument,
    MediaDocument,
    Question,
    RunChange,
    RunDetail,
    RunRow,
    RunTable,
    StudioDocument,
)
from epochal.wire.schema_lens import (
    ClassImagesQuestion,
    LensDocument,
    LensFilmQuestion,
    LensJob,
    LensPicture,
    LensQuestion,
)

__all__ = ["make_router"]

Project = Annotated[str, Path(min_length=1, max_length=200, description="The run's project")]
RunId = Annotated[str, Path(min_length=1, max_length=200, description="The run's id within its project")]
Job = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="The question's id")]
Method = Annotated[str, Query(max_length=40, description="Name of the method; empty for the input")]

# Not `model`: that would give errors the media type of the answer that did not come.
_ERROR: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Something went wrong: the one shape of every error",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorDocument"}}},
    },
}
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "As you have it: the ETag you sent still holds"}}
_EPF1 = "application/vnd.epochal.frames"
_ARROW = "application/vnd.apache.arrow.stream"


class _Arrow(Response):
    media_type = _ARROW


class _Frames(Response):
    media_type = _EPF1


class _Png(Response):
    media_type = "image/png"


class _File(Response):
    media_type = "application/octet-stream"


def _binary(description: str, **more: Any) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": description, **more}, **_UNCHANGED}


def make_router(backend: Backend) -> APIRouter:
    """All routes below /api/v1, answered by `backend`."""
    router = APIRouter(prefix="/api/v1", responses=_ERROR)
    run = "/runs/{project}/{run_id}"

    @router.get("/studio", operation_id="studio", response_model=StudioDocument, responses=_UNCHANGED, tags=["studio"])
    def studio(request: Request, query: Annotated[PlainQuery, Query()]) -> Response:
        """What this Studio is."""
        return backend.read(request, "studio")

    @router.get("/runs", operation_id="runs", response_model=RunTable, responses=_UNCHANGED, tags=["runs"])
    def runs(request: Request, query: Annotated[PlainQuery, Query()]) -> Response:
        """All runs, newest first."""
        return backend.read(request, "runs")

    @router.get(run, operation_id="run", response_model=RunDetail, responses=_UNCHANGED, tags=["runs"])
    def detail(request: Request, project: Project, run_id: RunId, query: Annotated[PlainQuery, Query()]) -> Response:
        """Everything small that is known of a run."""
        return backend.read(request, "run", project, run_id)

    @router.patch(run, operation_id="change_run", response_model=RunRow, tags=["runs"])
    def change(project: Project, run_id: RunId, change: RunChange) -> Response:
        """Rename, tag, annotate or archive a run; what is left out stays."""
        return backend.change(project, run_id, change)

    @router.delete(run, operation_id="delete_run", response_model=DeletedDocument, tags=["runs"])
    def delete(project: Project, run_id: RunId) -> Response:
        """Move a run to the trash."""
        return backend.delete(project, run_id)

    @router.post(run + "/restore", operation_id="restore_run", response_model=RunRow, tags=["runs"])
    def restore(project: Project, run_id: RunId) -> Response:
        """Take a run back out of the trash."""
        return backend.restore(project, run_id)

    @router.get(
        run + "/scalars",
        operation_id="scalars",
        response_class=_Arrow,
        responses=_binary(
            "Arrow IPC stream with columns name, step, t, v",
            headers={"Epochal-Series": {"schema": {"type": "string"}, "description": "JSON {name: SeriesKept}"}},
        ),
        tags=["series"],
    )
    def scalars(request: Request, project: Project, run_id: RunId, query: Annotated[ScalarsQuery, Query()]) -> Response:
        """Scalar series, thinned so that no extreme is lost."""
        return backend.read(request, "scalars", project, run_id)

    @router.get(
        run + "/frames",
        operation_id="frames",
        response_class=_Frames,
        responses=_binary("EPF1 container, its header a FramesHeader: arrays steps i8[T] and frames [T, ...]"),
        tags=["series"],
    )
    def frames(request: Request, project: Project, run_id: RunId, query: Annotated[FramesQuery, Query()]) -> Response:
        """A parameter, or its gradient, at every step at which it was kept."""
        return backend.read(request, "frames", project, run_id)

    @router.get(
        run + "/histograms",
        operation_id="histograms",
        response_class=_Frames,
        responses=_binary(
            "EPF1 container, its header a HistogramsHeader: steps i8[T], counts u4[T, 64], lo f8[T], hi f8[T], "
            "statistics f8[T, 11]"
        ),
        tags=["series"],
    )
    def histograms(
        request: Request, project: Project, run_id: RunId, query: Annotated[HistogramsQuery, Query()]
    ) -> Response:
        """Histograms and statistics of a tensor through time."""
        return backend.read(request, "histograms", project, run_id)

    @router.get(
        run + "/statistics",
        operation_id="statistics",
        response_class=_Frames,
        responses=_binary(
            "EPF1 container, its header a StatisticsHeader: starts u4[series + 1], steps i8[total], values f8[total]"
        ),
        tags=["series"],
    )
    def statistics(
        request: Request, project: Project, run_id: RunId, query: Annotated[StatisticsQuery, Query()]
    ) -> Response:
        """One statistic of all tensors of a kind through time."""
        return backend.read(request, "statistics", project, run_id)

    @router.get(
        run + "/graph", operation_id="graph", response_model=GraphDocument, responses=_UNCHANGED, tags=["network"]
    )
    def graph(request: Request, project: Project, run_id: RunId, query: Annotated[PlainQuery, Query()]) -> Response:
        """The network's layers and the arrows between them."""
        return backend.read(request, "graph", project, run_id)

    @router.post(run + "/ask", operation_id="ask", response_model=AnswerDocument, tags=["network"])
    def ask(project: Project, run_id: RunId, question: Question) -> Response:
        """Let the recorded network answer one example, as it was at a step."""
        return backend.ask(project, run_id, question)

    @router.get(run + "/lens", operation_id="lens", response_model=LensDocument, tags=["lens"])
    def lens(project: Project, run_id: RunId) -> Response:
        """How the run's network can be looked into."""
        return backend.lens(project, run_id)

    @router.post(run + "/lens", operation_id="look", response_model=LensJob, tags=["lens"])
    def look(project: Project, run_id: RunId, question: LensQuestion) -> Response:
        """Look at an input through the recorded network; it goes on while you ask how it stands."""
        return backend.look(project, run_id, question)

    @router.post(run + "/lens/film", operation_id="lens_film", response_model=LensJob, tags=["lens"])
    def lens_film(project: Project, run_id: RunId, question: LensFilmQuestion) -> Response:
        """Make a film of what ways of looking find at a run's snapshots, or a picture at one; then it has a file."""
        return backend.lens_film(project, run_id, question)

    @router.post(run + "/class-images", operation_id="class_images", response_model=LensJob, tags=["lens"])
    def class_images(project: Project, run_id: RunId, question: ClassImagesQuestion) -> Response:
        """Find what each class looks like to the network: its mean input gradient over recorded examples."""
        return backend.class_images(project, run_id, question)

    _add_lens(router, backend)
    add_comparisons(router, backend)
    add_labs(router, backend)

    @router.get(
        run + "/media", operation_id="media", response_model=MediaDocument, responses=_UNCHANGED, tags=["media"]
    )
    def media(request: Request, project: Project, run_id: RunId, query: Annotated[MediaQuery, Query()]) -> Response:
        """The logged values of a series that are no numbers: images, sounds, tables and the like."""
        return backend.read(request, "media", project, run_id)

    @router.get(
        run + "/predictions",
        operation_id="predictions",
        response_class=_Frames,
        responses=_binary(
            "EPF1 container, its header a PredictionsHeader: steps i8[T], of u4[T], predicted u1 or u4, labels u4; or, "
            "with `example`, an ExampleHeader: steps i8[T], probabilities f4[T, C]"
        ),
        tags=["media"],
    )
    def predictions(
        request: Request, project: Project, run_id: RunId, query: Annotated[PredictionsQuery, Query()]
    ) -> Response:
        """What the network said of examples through the training."""
        return backend.read(request, "predictions", project, run_id)

    @router.get(
        run + "/blob",
        operation_id="blob",
        response_class=_File,
        responses=_binary("The bytes of a logged value; pages and texts go out as text/plain"),
        tags=["media"],
    )
    def blob(request: Request, project: Project, run_id: RunId, query: Annotated[BlobQuery, Query()]) -> Response:
        """The bytes of a logged value, held against their hash."""
        return backend.read(request, "blob", project, run_id)

    @router.get(
        run + "/console", operation_id="console", response_model=ConsoleDocument, responses=_UNCHANGED, tags=["runs"]
    )
    def console(request: Request, project: Project, run_id: RunId, query: Annotated[ConsoleQuery, Query()]) -> Response:
        """What the training printed."""
        return backend.read(request, "console", project, run_id)

    @router.get(run + "/code", operation_id="code", response_model=CodeDocument, responses=_UNCHANGED, tags=["runs"])
    def code(request: Request, project: Project, run_id: RunId, query: Annotated[PlainQuery, Query()]) -> Response:
        """Where a run comes from: script, commit, changes since, machine, packages."""
        return backend.read(request, "code", project, run_id)

    @router.get(
        run + "/export",
        operation_id="export",
        response_class=_File,
        responses={200: {"description": "The file, as an attachment; its media type is that of its format"}},
        tags=["export"],
    )
    async def export(project: Project, run_id: RunId, query: Annotated[ExportQuery, Query()]) -> Response:
        """A picture, a film, a page or a table of a run, as a file."""
        return await backend.export(project, run_id, query)

    @router.get(
        "/events",
        operation_id="events",
        status_code=200,
        response_class=EventStream,
        responses={
            200: {
                "description": "Server-sent events named run, each an EventDocument",
                "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/EventDocument"}}},
            }
        },
        tags=["live"],
    )
    async def events() -> Response:
        """What is new, as it happens; comment lines keep the connection alive."""
        return backend.events()

    return router


def _add_lens(router: APIRouter, backend: Backend) -> None:
    """What is asked of questions to the lens."""

    @router.post(
        "/lens/pictures",
        operation_id="keep_picture",
        response_model=LensPicture,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
        tags=["lens"],
    )
    async def keep(request: Request) -> Response:
        """Keep a picture to look at for a while: the bytes of a PNG, JPEG, WebP, BMP or GIF file, up to 1 MB."""
        return backend.keep_picture(await request.body())

    @router.get("/lens/{job}", operation_id="looked", response_model=LensJob, tags=["lens"])
    def looked(job: Job) -> Response:
        """How a question stands, and what was found so far."""
        return backend.looked(job)

    @router.delete("/lens/{job}", operation_id="stop_looking", response_model=LensJob, tags=["lens"])
    def stop(job: Job) -> Response:
        """Stop a question; what was found stays."""
        return backend.stop_looking(job)

    @router.get(
        "/lens/{job}/maps",
        operation_id="lens_maps",
        response_class=_Frames,
        responses={200: {"description": "EPF1 container, its header a LensHeader: maps f4 or pixels u1"}},
        tags=["lens"],
    )
    def maps(job: Job, method: Method = "") -> Response:
        """The numbers that a method found, or the pixels of the input."""
        return backend.lens_maps(job, method)

    @router.get(
        "/lens/{job}/file",
        operation_id="lens_file",
        response_class=_File,
        responses={200: {"description": "The film, as an attachment; its media type is that of its format"}},
        tags=["lens"],
    )
    def file(job: Job) -> Response:
        """The file that a question for a film ends with."""
        return backend.lens_file(job)

    @router.get(
        "/lens/{job}/picture",
        operation_id="lens_picture",
        response_class=_Png,
        responses={200: {"description": "A PNG picture with title, scale and source"}},
        tags=["lens"],
    )
    def picture(job: Job, method: Method) -> Response:
        """What a method found as a picture to keep."""
        return backend.lens_picture(job, method)
