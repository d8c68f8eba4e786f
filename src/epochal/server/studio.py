"""The Studio's files: a page, its scripts and styles, as the build left them."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

__all__ = ["StudioFiles"]

# Written here, not asked of the system: some machines take .js for text/plain, and then nothing runs.
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".wasm": "application/wasm",
    ".txt": "text/plain; charset=utf-8",
}
_INDEX = "index.html"
_SQUEEZED = (".html", ".js", ".css", ".json", ".svg", ".txt", ".webmanifest")
_FOR_EVER = "public, max-age=31536000, immutable"

_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Epochal</title>
<h1>The Studio is not built</h1>
<p>The server runs, but this checkout has no built Studio. Build it with
<code>npm ci &amp;&amp; npm run build</code> in the folder <code>web/</code> and reload this page. An installed package
has it inside.</p>
<p>The API answers already: <a href="/api/v1/runs">/api/v1/runs</a>.</p></html>
"""
_NOT_FOUND = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Not found</title>
<h1>There is no such page</h1><p><a href="/">To the Studio</a></p></html>
"""


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    squeezed: bytes | None
    etag: str
    media_type: str


class StudioFiles:
    """Serves what lies in a folder, and nothing else: an address is looked up in a list of files, never on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built_at = 0
        self._paths: dict[str, Path] = {}
        self._files: dict[str, _File] = {}

    def answer(self, request: Request) -> Response:
        """The file at the request's path."""
        self._look()
        name = request.url.path.removeprefix("/") or _INDEX
        if name not in self._paths:
            if name == _INDEX:
                return Response(_NOT_BUILT, 503, {"Cache-Control": "no-store"}, _MEDIA_TYPES[".html"])
            return Response(_NOT_FOUND, 404, {"Cache-Control": "no-store"}, _MEDIA_TYPES[".html"])
        file = self._file(name)
        # Vite puts a hash of the content into the name of everything below assets/.
        headers = {
            "ETag": file.etag,
            "Cache-Control": _FOR_EVER if name.startswith("assets/") else "no-cache",
            "Vary": "Accept-Encoding",
        }
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(None, 304, headers)
        if file.squeezed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.squeezed, 200, {**headers, "Content-Encoding": "gzip"}, file.media_type)
        return Response(file.body, 200, headers, file.media_type)

    def _look(self) -> None:
        """List the folder again when it was built again."""
        try:
            built_at = (self._folder / _INDEX).stat().st_mtime_ns
        except OSError:
            self._paths, self._files, self._built_at = {}, {}, 0
            return
        if built_at != self._built_at:
            self._paths = {
                path.relative_to(self._folder).as_posix(): path
                for path in self._folder.rglob("*")
                if path.is_file() and not path.is_symlink() and path.suffix in _MEDIA_TYPES
            }
            self._files = {}
            self._built_at = built_at

    def _file(self, name: str) -> _File:
        file = self._files.get(name)
        if file is None:
            path = self._paths[name]
            body = path.read_bytes()
            squeezed = gzip.compress(body, 6, mtime=0) if path.suffix in _SQUEEZED and len(body) > 1000 else None
            etag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
            file = self._files[name] = _File(body, squeezed, etag, _MEDIA_TYPES[path.suffix])
        return file
