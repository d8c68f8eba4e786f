"""Files to download: made in a thread, a few at once, streamed, and gone from the disk afterwards."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from epochal.server.errors import error_response
from epochal.store.reader import StoredRun
from epochal.wire.queries import ExportQuery

__all__ = ["Downloads", "Exporter", "attachment", "epochals_own"]

_AT_ONCE = 2
_WAITING_AT_MOST = 8
_PIECE = 1 << 20
_MEDIA_TYPES = {
    "gif": "image/gif",
    "png": "image/png",
    "svg": "image/svg+xml",
    "mp4": "video/mp4",
    "html": "text/html; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


class Exporter(Protocol):
    """Writes what `query` asks of a run to a file."""

    def __call__(self, run: StoredRun, query: ExportQuery, to: Path) -> None:
        """Write the file, or raise one of our errors."""
        ...


class Downloads:
    """Makes files, at most two at once; a few more wait, the rest are told to come back."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def make(self, find: Callable[[], StoredRun], name: str, query: ExportQuery) -> Response:
        """The file as an attachment; `find` gives the run, in the thread that makes the file."""
        if self._waiting >= _WAITING_AT_MOST:
            return error_response(
                429, "busy", "too many files are being made", hint="try again in a while", headers={"Retry-After": "5"}
            )
        self._waiting += 1
        try:
            async with self._free:
                path = await asyncio.to_thread(self._write, find, query)
        finally:
            self._waiting -= 1
        return _Attachment(path, f"{name}-{query.what.replace('/', '-')}.{query.format}", _MEDIA_TYPES[query.format])

    def _write(self, find: Callable[[], StoredRun], query: ExportQuery) -> Path:
        run = find()
        folder = Path(tempfile.mkdtemp(prefix="epochal-export-"))
        try:
            to = folder / f"export.{query.format}"
            self._exporter(run, query, to)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return to


def attachment(name: str, body: bytes) -> Response:
    """Bytes as a file to keep; its kind is that of its name."""
    kind = _MEDIA_TYPES.get(name.rpartition(".")[2], "application/octet-stream")
    return Response(body, media_type=kind, headers={"Content-Disposition": _called(name), "Cache-Control": "no-store"})


def _called(filename: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


class _Attachment(Response):
    """A file in a folder of its own, sent in large pieces; the folder is removed however the sending ends."""

    def __init__(self, path: Path, filename: str, media_type: str) -> None:
        headers = {
            "Content-Disposition": _called(filename),
            "Content-Length": str(path.stat().st_size),
            "Cache-Control": "no-store",
        }
        super().__init__(None, 200, headers, media_type)
        self.headers["content-length"] = headers["Content-Length"]
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file."""
        try:
            with self._path.open("rb") as file:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                while piece := await asyncio.to_thread(file.read, _PIECE):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await BackgroundTask(shutil.rmtree, self._path.parent, ignore_errors=True)()


def epochals_own(studio_folder: Path) -> Exporter:
    """What Epochal itself writes; `studio_folder` holds the page that a report is made from."""

    def write(run: StoredRun, query: ExportQuery, to: Path) -> None:
        from epochal import export

        export.write(
            run,
            to=to,
            what=query.what,
            format=query.format,
            steps=query.steps,
            layers=query.layers,
            fps=query.fps,
            size=query.size,
            cmap=query.cmap,
            studio_folder=studio_folder,
        )

    return write
