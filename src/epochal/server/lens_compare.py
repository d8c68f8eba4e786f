"""The task of comparing: a network over a set of examples, beside another one, and through its training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from epochal.errors import EpochalError, NotFoundError, UsageError
from epochal.lens.comparing import COMPARISONS, arguments
from epochal.lens.comparing import compare as compare_with
from epochal.lens.heads import Attention
from epochal.lens.photos import SAMPLES
from epochal.network import Network
from epochal.network.recorded import open_quickly
from epochal.server.lens_desk import Desk
from epochal.server.lens_question import step_of
from epochal.store.reader import StoredRun
from epochal.views.given import given_examples
from epochal.views.vocabulary import token_names, typed_input, vocabulary
from epochal.wire.comparing import compared_of, drawn_comparison, packed_comparison
from epochal.wire.schema_compare import CompareQuestion

__all__ = ["compare", "compared_header"]

Array = npt.NDArray[Any]

_MOST = {"cka": 2000, "cka_steps": 500, "linear_probes": 4000, "loss_landscape": 512}
"""So many examples are looked at here; in Python and on the command line all of them."""
_MOST_STEPS = 120
_TELL_SECS = 0.15
_ONE_INPUT = "Name one input: an example, a photo, a picture, or one that is written."


def compared_header(run: StoredRun, question: CompareQuestion, other: StoredRun | None) -> dict[str, Any]:
    """The header of the task of comparing; raises what is wrong with the question."""
    known = COMPARISONS[question.what]
    if "layer" in known.needs and len(question.layers) != 1:
        raise UsageError("Name the layer to look at.")
    inputs = (question.example, question.photo, question.picture, question.text)
    if "image" in known.needs and sum(one is not None for one in inputs) != 1:
        raise UsageError(_ONE_INPUT)
    if question.photo is not None and question.photo not in SAMPLES:
        raise NotFoundError(f"There is no sample photo {question.photo!r}.", hint=f"There are: {', '.join(SAMPLES)}.")
    if other is not None and "other" not in known.takes:
        raise UsageError(f"{question.what} looks at one network.")
    wanted = None if question.against is None else question.against.step
    return {
        "what": question.what, "series": question.series, "layers": question.layers, "size": question.size,
        "way": question.path, "example": question.example, "photo": question.photo, "theme": question.theme,
        "text": question.text,
        "other": None if other is None else str(other.path),
        "other_step": None if other is None else step_of(other, wanted), "at": None, "picture": None,
    }  # fmt: skip


def compare(desk: Desk, asked: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Compare, and tell what is found as soon as it is known."""
    network = desk.network(asked)
    try:
        _Task(desk, asked, network).go(arrays)
    except _Unwanted:
        return


class _Unwanted(BaseException):
    """Nobody waits for the answer any more. No handler of errors on the way shall take it for a failure."""


@final
class _Task:
    """One comparison."""

    def __init__(self, desk: Desk, asked: Mapping[str, Any], network: Network) -> None:
        self._desk, self._asked, self._network = desk, asked, network
        self._run = StoredRun(asked["path"])
        self._name = str(asked["what"])
        self._began = self._told = time.perf_counter()

    def go(self, arrays: Mapping[str, Array]) -> None:
        """Compare."""
        asked, name = self._asked, self._name
        known = COMPARISONS[name]
        data, labels, left = self._examples() if "data" in known.needs else (None, None, "")
        image, pixels = self._image(arrays) if "image" in known.needs else (None, None)
        reader = _Stored(self._run) if "run" in known.needs or (name == "loss_landscape" and asked["way"]) else None
        how = arguments(
            name, data=data, labels=labels, image=image, layers=asked["layers"] or None, other=self._other(),
            path=reader if name == "loss_landscape" else None, options={},
        )  # fmt: skip
        if name in ("cka", "cka_steps", "linear_probes", "loss_landscape"):
            how["progress"] = self._progress
        if name == "loss_landscape":
            how |= {"size": asked["size"], "preview": self._preview}
        if reader is not None:
            how["steps"] = _thinned(self._run.snapshot_steps(), int(asked["step"]))
        result = compare_with(reader if "run" in known.needs else self._network, name, **how)
        if isinstance(result, Attention) and image is not None:
            result = self._attended(result, image)
        said = compared_of(name, result, time.perf_counter() - self._began)
        if left:
            said["notes"].append(left)
        picture = b""
        try:
            picture = drawn_comparison(result, mode=asked["theme"], photo=pixels)
        except (EpochalError, ValueError):
            picture = b""  # a picture to keep is an extra
        body = packed_comparison(name, result, pixels)
        self._say(said, {"maps": np.frombuffer(body, np.uint8), "picture": np.frombuffer(picture, np.uint8)})

    def _examples(self) -> tuple[Array, Array | None, str]:
        """Inputs and classes, as many as there is time for, and what was left out."""
        shape = self._network.input_shape
        if shape is None:
            raise UsageError("The shape of this network's inputs is not known.")
        found = given_examples(self._run, shape, series=self._asked["series"], step=int(self._asked["step"]))
        if "labels" in COMPARISONS[self._name].needs and found.labels is None:
            raise NotFoundError("The classes of these examples are not known.", hint="examples=(x, y) records both.")
        count, most = len(found.inputs), _MOST[self._name]
        if count <= most:
            return found.inputs, found.labels, ""
        chosen = np.sort(np.random.default_rng(0).permutation(count)[:most])
        labels = None if found.labels is None else found.labels[chosen]
        return found.inputs[chosen], labels, f"{most:,} of {count:,} examples, drawn by chance"

    def _attended(self, result: Attention, image: Array) -> Attention:
        """The same with the names of its tokens; raises UsageError where no picture of it can be drawn."""
        result.check_whole()
        size = result.weights[-1].shape[-1]
        if result.grid is None and not result.tokens and image.ndim == 1 and image.size == size:
            names = token_names(vocabulary(self._run), image) if np.array_equal(image, np.round(image)) else []
            return replace(result, tokens=tuple(names))
        return result

    def _image(self, arrays: Mapping[str, Array]) -> tuple[Any, Array | None]:
        from epochal.views.given import series_with_inputs
        from epochal.views.predictions import last_items

        asked = dict(self._asked)
        if asked["text"] is not None:
            shape = self._network.input_shape
            if shape is None:
                raise UsageError("The shape of this network's inputs is not known.")
            return typed_input(asked["text"], vocabulary(self._run), shape).astype(np.float32), None
        if asked["example"] is not None:
            series = asked["series"] or next(iter(series_with_inputs(self._run)), "predictions")
            items = last_items(self._run, series)
            steps = [item.step for item in items if item.step <= int(asked["step"])]
            asked |= {"series": series, "at": max(steps, default=items[0].step)}
        photo = self._desk.opened.input(self._run, self._network, asked, arrays)
        if photo is None:
            raise UsageError(_ONE_INPUT)
        return photo.array, photo.pixels

    def _other(self) -> Any:
        if self._asked["other"] is None:
            return None
        stored = StoredRun(self._asked["other"])
        return _Stored(stored) if self._name == "cka_steps" else open_quickly(stored, int(self._asked["other_step"]))

    def _progress(self, done: int, total: int) -> None:
        self._check()
        now = time.perf_counter()
        if now - self._told > _TELL_SECS:
            self._told = now
            self._desk.say(str(self._asked["job"]), "doing", doing="looking", share=done / max(1, total))

    def _preview(self, so_far: Any) -> bool:
        self._check()
        said = compared_of(self._name, so_far, time.perf_counter() - self._began, done=False)
        self._say(said, {"maps": np.frombuffer(packed_comparison(self._name, so_far), np.uint8)})
        return True

    def _check(self) -> None:
        if self._desk.stopped(self._asked):
            raise _Unwanted

    def _say(self, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self._desk.say(str(self._asked["job"]), "result", arrays, result=said)


@final
class _Stored:
    """A recorded run, as comparisons over its steps take it."""

    def __init__(self, stored: StoredRun) -> None:
        self.stored = stored

    def epoch(self, step: int) -> float | None:
        """Not needed here."""
        return None


def _thinned(steps: Any, last: int) -> list[int]:
    """At most so many of a run's snapshots, evenly, the first, the last and the one that is looked at among them."""
    known = [int(step) for step in steps]
    if len(known) <= _MOST_STEPS:
        return known
    places = np.unique(np.linspace(0, len(known) - 1, _MOST_STEPS - 1).round().astype(int))
    return sorted({*(known[i] for i in places), last})
