"""The API's description for other programs: `python -m epochal.server.openapi web/src/wire/openapi.json` writes it.

With `--check` it fails when the file is not what would be written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from epochal._version import __version__
from epochal.wire.schema import ErrorDocument, EventDocument, FramesHeader, HistogramsHeader, SeriesKept

__all__ = ["describe", "main", "render"]

_REF = "#/components/schemas/{model}"
_DESCRIPTION = (
    "What the Studio asks of a folder of runs. Facts are JSON, columns are Arrow IPC streams, stacks of frames are "
    "EPF1 containers: b'EPF1', the header's length as u32, the header as JSON padded with spaces to a multiple of 8, "
    "then little-endian arrays, each padded to 8 bytes."
)


def describe(app: FastAPI) -> dict[str, Any]:
    """The app's OpenAPI document, with errors and the headers of binary answers among its components."""
    document = get_openapi(
        title="Epochal", version=__version__, description=_DESCRIPTION, routes=app.routes, openapi_version="3.1.0"
    )
    _, extra = models_json_schema(
        [
            (model, "serialization")
            for model in (ErrorDocument, EventDocument, FramesHeader, HistogramsHeader, SeriesKept)
        ],
        ref_template=_REF,
    )
    schemas = document["components"]["schemas"]
    schemas.update(extra["$defs"])
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def render() -> str:
    """The document as the text that is committed; the version is left open, so that a release changes nothing."""
    from epochal.server.app import make_app

    document = describe(make_app("."))
    document["info"]["version"] = "1"
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the document, or with `--check` compare it with what is there."""
    parser = argparse.ArgumentParser(prog="python -m epochal.server.openapi", description=__doc__)
    parser.add_argument("to", type=Path)
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args(arguments)
    text = render()
    if chosen.check:
        same = chosen.to.is_file() and chosen.to.read_text(encoding="utf-8") == text
        if not same:
            sys.stderr.write(f"{chosen.to} is out of date: run python -m epochal.server.openapi {chosen.to}\n")
        return 0 if same else 1
    chosen.to.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
