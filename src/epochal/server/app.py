"""The Studio's server as a function: it takes what it needs and returns an app. Nothing here is global."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from epochal._version import __version__
from epochal.server.backend import Backend
from epochal.server.downloads import Exporter, epochals_own
from epochal.server.errors import install_error_handlers
from epochal.server.routes import make_router
from epochal.server.security import LOOPBACK_HOSTS, Access, Guard
from epochal.server.studio import StudioFiles
from epochal.store.library import Library

__all__ = ["make_app"]

_BUILT_STUDIO = Path(__file__).parents[1] / "studio"


def make_app(
    root: str | PathLike[str] | Library,
    *,
    studio_folder: str | PathLike[str] | None = None,
    token: str | None = None,
    allowed_hosts: Iterable[str] = LOOPBACK_HOSTS,
    writable: bool = True,
    watch_seconds: float = 0.2,
    lens_seconds: float = 180.0,
    exporter: Exporter | None = None,
) -> FastAPI:
    """An app that serves the runs of a folder, and the Studio to look at them.

    `token` is demanded of every request to the API where given. `allowed_hosts` are the names the server goes by, with
    or without a port. With `writable=False` nothing can be renamed, deleted or restored. Running runs are looked at
    every `watch_seconds` while anyone listens; a question to the lens is stopped after `lens_seconds`. `exporter`
    writes files to download; Epochal's own by default.
    """
    library = root if isinstance(root, Library) else Library(root)
    folder = Path(studio_folder) if studio_folder is not None else _BUILT_STUDIO
    files = StudioFiles(folder)
    backend = Backend(
        library,
        exporter=epochals_own(folder) if exporter is None else exporter,
        writable=writable,
        watch_secs=watch_seconds,
        lens_secs=lens_seconds,
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        backend.close()

    app = FastAPI(
        title="Epochal",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.access = access = Access(allowed_hosts=allowed_hosts, token=token)
    app.state.hub = backend.hub
    app.add_middleware(Guard, access=access)
    install_error_handlers(app)
    app.include_router(make_router(backend))
    app.add_route("/api/v1/openapi.json", _describe_once(app), include_in_schema=False)

    async def otherwise(scope: Scope, receive: Receive, send: Send) -> None:
        """What no route answers: a file of the Studio, or nothing."""
        if scope["path"].startswith("/api/"):
            raise HTTPException(404)
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        await files.answer(Request(scope))(scope, receive, send)

    app.router.default = otherwise
    return app


def _describe_once(app: FastAPI) -> Any:
    """A route that answers with the API's description, made when it is first asked for: it takes a while."""
    kept: list[bytes] = []

    def openapi(request: Request) -> Response:
        if not kept:
            from epochal.server.describe import describe

            kept.append(orjson.dumps(describe(app)))
        return Response(kept[0], media_type="application/json")

    return openapi
