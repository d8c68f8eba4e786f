"""The Studio's server as a function: it takes what it needs and returns an app."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from epochal.server.backend import Backend
from epochal.server.routes import make_router

__all__ = ["make_app"]


def make_app(root: Path | str) -> FastAPI:
    """An app that serves the runs below `root`."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(make_router(Backend()))
    return app
