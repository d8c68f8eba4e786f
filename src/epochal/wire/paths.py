"""The one way to spell each address, so that a static export finds an answer by the very text the Studio asks with.

Parameters stand in a fixed order, those at their default are left out, and texts are escaped as JavaScript's
`encodeURIComponent` does. `web/src/wire/paths.ts` spells the same; tests/data/wire_paths.json holds both to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from epochal.errors import NotFoundError, UsageError

__all__ = ["API", "PARAMETERS", "parse_path", "path_of"]

API = "/api/v1"

PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "studio": {},
    "runs": {},
    "run": {},
    "scalars": {"name": (), "points": 2000, "start": None, "end": None},
    "frames": {"series": None, "mode": "value", "encoding": "auto", "start": None, "end": None},
    "histograms": {"series": None},
    "graph": {},
    "media": {"series": None, "start": None, "end": None},
    "blob": {"name": None},
    "predictions": {"series": None, "example": None, "at": None},
    "console": {"last": 2000},
    "code": {},
    "export": {
        "what": None,
        "format": None,
        "steps": None,
        "layers": None,
        "fps": None,
        "size": None,
        "cmap": None,
    },
    "events": {},
}
"""What can be asked, with each question's parameters in the order they are spelled, and their defaults."""

_OF_STUDIO = ("studio", "runs", "events")
_UNESCAPED = "!*'()"  # besides letters, digits and _.-~ these stay as they are in encodeURIComponent


def path_of(what: str, run: str = "", /, *, version: str | None = None, **parameters: Any) -> str:
    """The address of a question: `path_of("frames", "iris/2026", series="param/0.weight", mode="change")`.

    `run` is `project/run_id`. `version`, the run's, stands last as `v`; a static export's addresses have none.
    """
    if what not in PARAMETERS:
        raise UsageError(f"there is no question {what!r}", hint=f"known: {', '.join(PARAMETERS)}")
    known = PARAMETERS[what]
    if unknown := sorted(set(parameters) - set(known)):
        raise UsageError(f"{what} has no parameter {unknown[0]!r}", hint=f"known: {', '.join(known) or 'none'}")
    path = f"{API}/{what}" if what in _OF_STUDIO else _run_path(what, run)
    pairs = [
        f"{name}={_escape(item)}"
        for name, default in known.items()
        if (value := parameters.get(name, default)) != default
        for item in (value if isinstance(value, Sequence) and not isinstance(value, str) else (value,))
    ]
    if version is not None:
        pairs.append(f"v={_escape(version)}")
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def parse_path(path: str) -> tuple[str, str, str]:
    """What is asked, the project and the run id (both empty for questions about the Studio) of an escaped path."""
    parts = path.split("/")
    match parts:
        case ["", "api", "v1", what] if what in _OF_STUDIO:
            return what, "", ""
        case ["", "api", "v1", "runs", project, run_id]:
            return "run", unquote(project), unquote(run_id)
        case ["", "api", "v1", "runs", project, run_id, what] if what in PARAMETERS and what not in (
            "run",
            *_OF_STUDIO,
        ):
            return what, unquote(project), unquote(run_id)
        case _:
            raise NotFoundError(f"there is nothing at {path}")


def _run_path(what: str, run: str) -> str:
    project, slash, run_id = run.partition("/")
    if not (project and slash and run_id) or "/" in run_id:
        raise UsageError(f"a run is named project/run_id, not {run!r}")
    path = f"{API}/runs/{_escape(project)}/{_escape(run_id)}"
    return path if what == "run" else f"{path}/{what}"


def _escape(value: Any) -> str:
    """As encodeURIComponent(String(value)): a whole float has no point there."""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return quote(text, safe=_UNESCAPED)
