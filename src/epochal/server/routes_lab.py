"""The addresses of labs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from epochal.server.backend import Backend
from epochal.wire.frames import MEDIA_TYPE
from epochal.wire.queries import LabCurvesQuery, LabEffectsQuery, PlainQuery
from epochal.wire.schema_lab import EffectsDocument, ImportanceDocument, LabDocument, LabTable

__all__ = ["add_labs"]

Project = Annotated[str, Path(min_length=1, max_length=200, description="The lab's project")]
LabId = Annotated[str, Path(min_length=1, max_length=200, description="The lab's id within its project")]

_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "As you have it: the ETag you sent still holds"}}


class _Frames(Response):
    media_type = MEDIA_TYPE


def add_labs(router: APIRouter, backend: Backend) -> None:
    """What is asked of labs: families of trainings, and what their parameters did."""
    lab = "/labs/{project}/{lab_id}"

    @router.get("/labs", operation_id="labs", response_model=LabTable, responses=_UNCHANGED, tags=["labs"])
    def labs(request: Request, query: Annotated[PlainQuery, Query()]) -> Response:
        """All labs, newest first."""
        return backend.read(request, "labs")

    @router.get(lab, operation_id="lab", response_model=LabDocument, responses=_UNCHANGED, tags=["labs"])
    def one(request: Request, project: Project, lab_id: LabId, query: Annotated[PlainQuery, Query()]) -> Response:
        """A lab with all its trials."""
        return backend.read(request, "lab", project, lab_id)

    @router.get(
        lab + "/effects",
        operation_id="lab_effects",
        response_model=EffectsDocument,
        responses=_UNCHANGED,
        tags=["labs"],
    )
    def effects(
        request: Request, project: Project, lab_id: LabId, query: Annotated[LabEffectsQuery, Query()]
    ) -> Response:
        """What each parameter did to a metric, how sure that is, and what the seed does."""
        return backend.read(request, "lab/effects", project, lab_id)

    @router.get(
        lab + "/importance",
        operation_id="lab_importance",
        response_model=ImportanceDocument,
        responses=_UNCHANGED,
        tags=["labs"],
    )
    def importance(
        request: Request, project: Project, lab_id: LabId, query: Annotated[LabEffectsQuery, Query()]
    ) -> Response:
        """Which parameters mattered by Optuna's evaluator: a second opinion, where Optuna is installed."""
        return backend.read(request, "lab/importance", project, lab_id)

    @router.get(
        lab + "/curves",
        operation_id="lab_curves",
        response_class=_Frames,
        responses={200: {"description": "EPF1 container, its header a LabCurvesHeader"}, **_UNCHANGED},
        tags=["labs"],
    )
    def curves(
        request: Request, project: Project, lab_id: LabId, query: Annotated[LabCurvesQuery, Query()]
    ) -> Response:
        """Series of all trials, or of some."""
        return backend.read(request, "lab/curves", project, lab_id)
