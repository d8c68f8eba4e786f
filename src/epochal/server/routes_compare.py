"""The addresses of comparisons."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from epochal.server.backend import Backend
from epochal.wire.schema_compare import CompareDocument, CompareJob, CompareQuestion

__all__ = ["add_comparisons"]

Project = Annotated[str, Path(min_length=1, max_length=200, description="The run's project")]
RunId = Annotated[str, Path(min_length=1, max_length=200, description="The run's id within its project")]
Job = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="What POST .../compare said")]


def add_comparisons(router: APIRouter, backend: Backend) -> None:
    """What is asked of comparisons; they are stopped, and their arrays read, as questions to the lens are."""
    run = "/runs/{project}/{run_id}"

    @router.get(run + "/compare", operation_id="comparable", response_model=CompareDocument, tags=["lens"])
    def comparable(project: Project, run_id: RunId) -> Response:
        """By what the run's network can be compared."""
        return backend.comparable(project, run_id)

    @router.post(run + "/compare", operation_id="compare", response_model=CompareJob, tags=["lens"])
    def compare(project: Project, run_id: RunId, question: CompareQuestion) -> Response:
        """Compare the recorded network as it was at a step; it goes on while you ask how it stands."""
        return backend.compare(project, run_id, question)

    @router.get("/compare/{job}", operation_id="compared", response_model=CompareJob, tags=["lens"])
    def compared(job: Job) -> Response:
        """How a comparison stands, and what was found so far."""
        return backend.compared(job)
