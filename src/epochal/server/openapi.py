"""`python -m epochal.server.openapi web/src/wire/openapi.json` writes the API's description into a file.

With `--check` it fails when the file is not what would be written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from epochal.server.app import make_app
from epochal.server.describe import describe

__all__ = ["main", "render"]


def render() -> str:
    """The document as the text that is committed; the version is left open, so that a release changes nothing."""
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
