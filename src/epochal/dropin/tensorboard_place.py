"""Which run belongs to a `log_dir`: event files have a folder as their only name."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any, Literal

from epochal.record import Run, init

MARK = "epochal-run.json"
"""The file in `log_dir` that says which run was recorded instead of event files."""


def default_folder(comment: str) -> str:
    """Where TensorBoard's writer writes when nobody says where."""
    return str(Path("runs", time.strftime("%b%d_%H-%M-%S") + f"_{socket.gethostname()}{comment}"))


def begin(
    log_dir: str,
    purge_step: int | None,
    *,
    again: bool,
    project: str | None,
    dir: str | os.PathLike[str] | None,
    mode: Literal["on", "off"],
) -> Run:
    """Begin the run of `log_dir`; with `purge_step`, or where it was begun here before (`again`), go on with it."""
    name, config = Path(log_dir).name or None, {"log_dir": log_dir}
    if mode == "off":
        return init(project or name, mode="off")
    known = _mark(log_dir)
    if known and (again or purge_step is not None):
        more: dict[str, Any] = {} if purge_step is None else {"rewind_to": int(purge_step) - 1}
        return init(known["project"], id=known["id"], resume="allow", dir=known["root"], config=config, **more)
    run = init(project, name=name, config=config, dir=dir)
    if run.path is not None:
        _write_mark(log_dir, run.path)
    return run


def _mark(log_dir: str) -> dict[str, str] | None:
    try:
        found = json.loads(Path(log_dir, MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    keys = ("project", "id", "root")
    whole = isinstance(found, dict) and all(isinstance(found.get(key), str) for key in keys)
    return found if whole and Path(found["root"], found["project"], found["id"]).is_dir() else None


def _write_mark(log_dir: str, path: Path) -> None:
    facts = {"project": path.parent.name, "id": path.name, "root": str(path.parent.parent.absolute())}
    with contextlib.suppress(OSError):  # a folder that cannot be written costs nothing but the way back
        Path(log_dir).mkdir(parents=True, exist_ok=True)
        Path(log_dir, MARK).write_text(json.dumps(facts), encoding="utf-8")
