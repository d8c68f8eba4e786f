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
    "statistics": {"kind": None, "column": None},
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
    "labs": {},
    "lab": {},
    "lab/effects": {"metric": None},
    "lab/importance": {"metric": None},
    "lab/curves": {"name": (), "first": None, "count": None, "points": 400},
}
"""What can be asked, with each question's parameters in the order they are spelled, and their defaults."""

_OF_STUDIO = ("studio", "runs", "events", "labs")
_UNESCAPED = "!*'()"  # besides letters, digits and _.-~ these stay as they are in encodeURIComponent


def path_of(what: str, run: str = "", /, *, version: str | None = None, **parameters: Any) -> str:
    """The address of a question: `path_of("frames", "iris/2026", series="param/0.weight", mode="change")`.

    `run` is `project/run_id`, of a question about a lab `project/lab_id`. `version`, the run's, stands last as `v`; a
    static export's addresses have none.
    """
    if what not in PARAMETERS:
        raise UsageError(f"there is no question {what!r}", hint=f"known: {', '.join(PARAMETERS)}")
    known = PARAMETERS[what]
    if unknown := sorted(set(parameters) - set(known)):
        raise UsageError(f"{what} has no parameter {unknown[0]!r}", hint=f"known: {', '.join(known) or 'none'}")
    path = f"{API}/{what}" if what in _OF_STUDIO else _path_below(what, run)
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
            "lab",
            *_OF_STUDIO,
        ):
            return what, unquote(project), unquote(run_id)
        case ["", "api", "v1", "labs", project, lab_id]:
            return "lab", unquote(project), unquote(lab_id)
        case ["", "api", "v1", "labs", project, lab_id, what] if f"lab/{what}" in PARAMETERS:
            return f"lab/{what}", unquote(project), unquote(lab_id)
        case _:
            raise NotFoundError(f"there is nothing at {path}")


def _path_below(what: str, of: str) -> str:
    """The address of a question about a run or a lab."""
    kind, _, more = what.partition("/") if what.startswith("lab") else ("run", "", "" if what == "run" else what)
    project, slash, its_id = of.partition("/")
    if not (project and slash and its_id) or "/" in its_id:
        raise UsageError(f"a {kind} is named project/{kind}_id, not {of!r}")
    path = f"{API}/{kind}s/{_escape(project)}/{_escape(its_id)}"
    return f"{path}/{more}" if more else path


def _escape(value: Any) -> str:
    """As encodeURIComponent(String(value)): a whole float has no point there."""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return quote(text, safe=_UNESCAPED)
