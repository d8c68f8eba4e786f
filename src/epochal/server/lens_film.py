"""The task of filming: what ways of looking find at one input at many snapshots of a run, as one file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.lens.methods import METHODS
from epochal.network.recorded import open_each
from epochal.server.lens_desk import Desk
from epochal.server.lens_look import Look, Unwanted
from epochal.store.reader import StoredRun
from epochal.wire.looked import filmed
from epochal.wire.schema_lens import LensFilmQuestion

__all__ = ["film", "film_header"]

Array = npt.NDArray[Any]

MOST_SECS = 900.0
"""A film may take longer than a look."""
_MOST_FRAMES = 240
_LOOKED = 0.85
"""So much of the time is spent on looking, the rest on drawing."""


def film_header(run: StoredRun, question: LensFilmQuestion, step: int, methods: list[str]) -> dict[str, Any]:
    """What the task is told beside the question to the lens; raises UsageError for what gives no film."""
    still = [name for name in methods if METHODS[name].kind == "examples"]
    if still or question.check:
        raise UsageError(f"{', '.join(still) or 'A check'} gives no film.", hint="Choose other ways of looking.")
    moving = question.format != "png"
    known = [one for one in run.snapshot_steps() if _within(one, question)] if moving else [step]
    if not known:
        raise UsageError("There is no snapshot between these steps.")
    places = np.unique(np.linspace(0, len(known) - 1, min(_MOST_FRAMES, len(known))).round().astype(int))
    return {"steps": [int(known[i]) for i in places], "format": question.format, "fps": question.fps}


def film(desk: Desk, asked: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Look at each step, draw what was found, and hand over the file."""
    run = StoredRun(asked["path"])
    network = desk.network(asked)
    photo = desk.opened.input(run, network, asked, arrays)
    steps: list[int] = list(asked["steps"])
    seen: dict[str, list[Any]] = {name: [] for name in asked["methods"]}
    held = dict(asked)
    try:
        if held["target"] is None:
            # Another class at each step would make a film of several things: that of the step that is looked at holds.
            look = Look(desk, held, network, photo, quiet=True)
            found = dict(look.results(look.target()))
            held["target"] = next(
                (r.target for r in found.values() if isinstance(getattr(r, "target", None), int)), None
            )
        for done, one in enumerate(open_each(run, steps)):
            look = Look(desk, held, one, photo, quiet=True)
            look.part = (_LOOKED * done / len(steps), _LOOKED * (done + 1) / len(steps))
            look.share(0.0, at_once=True)
            for name, result in look.results(held["target"]):
                seen[name].append(result)
        look.part = (_LOOKED, 1.0)
        body = filmed(
            seen, photo, steps, asked["format"], fps=asked["fps"], title=run.info().name, mode=asked["theme"],
            progress=lambda done, total: look.share(done / total),
        )  # fmt: skip
    except Unwanted:
        return
    name = f"{run.info().name}-{_title(asked)}.{asked['format']}"
    desk.say(str(asked["job"]), "file", {"file": np.frombuffer(body, np.uint8)}, name=name)


def _title(asked: Mapping[str, Any]) -> str:
    return str(asked["methods"][0]) if len(asked["methods"]) == 1 else "lens"


def _within(step: int, question: LensFilmQuestion) -> bool:
    return (question.first is None or step >= question.first) and (question.last is None or step <= question.last)
