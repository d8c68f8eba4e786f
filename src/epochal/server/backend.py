"""What the routes call: reads through the wire, changes through the library."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from epochal.wire.queries import ExportQuery
from epochal.wire.schema import RunChange

__all__ = ["Backend"]


class Backend:
    """Answers requests about one library."""

    def read(self, request: Request, what: str, project: str = "", run_id: str = "") -> Response:
        """Answer a GET."""
        raise NotImplementedError

    def change(self, project: str, run_id: str, change: RunChange) -> Response:
        """Change what people may change."""
        raise NotImplementedError

    def delete(self, project: str, run_id: str) -> Response:
        """Move to the trash."""
        raise NotImplementedError

    def restore(self, project: str, run_id: str) -> Response:
        """Take out of the trash."""
        raise NotImplementedError

    async def export(self, project: str, run_id: str, query: ExportQuery) -> Response:
        """Make a file."""
        raise NotImplementedError

    def events(self, request: Request) -> Response:
        """The live stream."""
        raise NotImplementedError
