"""The task of looking: what the network says of an input, and what each method finds in it."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from epochal.errors import EpochalError, UsageError
from epochal.lens.answering import scores_of
from epochal.lens.methods import METHODS
from epochal.lens.methods import look as look_with
from epochal.lens.photos import Photo
from epochal.network import Network
from epochal.network.confidence import confidences
from epochal.network.dense import DenseNetwork
from epochal.server.lens_desk import Desk, told
from epochal.store.reader import StoredRun
from epochal.views.predictions import find_item
from epochal.wire.looked import drawn, packed, said_of
from epochal.wire.looking import GROUP

__all__ = ["Look", "Unwanted", "look"]

Array = npt.NDArray[Any]

_TOP = 5
_TELL_SECS = 0.1
_MOST_ROW = 4096
_OFF = 0.05
"""So far may confidences be from those recorded before the picture is held to be another input."""


def look(desk: Desk, asked: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Say what the network says of the input, then what each method found, as soon as it is known."""
    network = desk.network(asked)
    photo = desk.opened.input(StoredRun(asked["path"]), network, asked, arrays)
    with contextlib.suppress(Unwanted):
        Look(desk, asked, network, photo).go()


class Unwanted(BaseException):
    """Nobody waits for the answer any more. No handler of errors on the way shall take it for a failure."""


@final
class Look:
    """One question; one that is `quiet` says how far it is, and gives what it finds to the caller alone."""

    def __init__(
        self, desk: Desk, asked: Mapping[str, Any], network: Network, photo: Photo | None, *, quiet: bool = False
    ) -> None:
        self._desk, self._asked, self._network, self._photo = desk, asked, network, photo
        self._quiet = quiet
        self.part = (0.0, 1.0)
        """Which part of a longer task it is: its share begins and ends there."""
        self._run = StoredRun(asked["path"])
        self._job = str(asked["job"])
        self._told = 0.0

    def go(self) -> None:
        """Look."""
        target = self._asked["target"]
        if self._photo is not None:
            said, sure = self._seen(self._photo)
            expected = self._recorded()
            if expected is not None and (note := _compared(sure, expected[0], shown=expected[1])):
                said["notes"].append(note)
            pixels = self._photo.pixels
            self._desk.say(self._job, "input", {} if pixels is None else {"pixels": pixels}, input=said)
            target = _best(said) if target is None and self._asked["inside"] is None else target
        for names in _groups(self._asked["methods"]):
            self.share(None)
            self._group(names, target)

    def target(self) -> int | None:
        """The class that is explained: the one asked for, else the network's answer."""
        if self._asked["target"] is not None or self._asked["inside"] is not None or self._photo is None:
            found: int | None = self._asked["target"]
            return found
        return _best(self._seen(self._photo)[0])

    def results(self, target: int | None) -> Iterator[tuple[str, Any]]:
        """What each method finds, by name; raises where one of them cannot."""
        for names in _groups(self._asked["methods"]):
            self.share(None)
            yield from self._look(names, target).items()

    def _group(self, names: Sequence[str], target: int | None) -> None:
        """Several methods that share a forward; each by itself where one of them cannot."""
        start = time.perf_counter()
        try:
            found = self._check(names, target) if self._asked["check"] else self._look(names, target)
        except (EpochalError, MemoryError, RuntimeError, ValueError, TypeError) as error:
            if len(names) > 1:
                for name in names:
                    self._group([name], target)
                return
            self._desk.say(self._job, "failed", method=names[0], error=told(error))
            return
        seconds = (time.perf_counter() - start) / len(names)
        for name, result in found.items():
            self._found(name, result, seconds)

    def _look(self, names: Sequence[str], target: int | None) -> dict[str, Any]:
        asked = self._asked
        options = {name: {**asked["options"].get(name, {}), **self._watched(name)} for name in names}
        image = None if self._photo is None else self._photo.array
        if names == ["top_examples"]:
            return {"top_examples": self._top_examples(options["top_examples"])}
        layer = self._layer(names)
        if names == ["maximize"]:
            options["maximize"] |= self._previewed()
            layer = asked["layer"] if asked["channel"] is not None else None
            if asked["inside"] is not None:  # a channel is sought after where it is explained
                options["maximize"] |= {"place": asked["place"]}
                layer, how = asked["inside"], {"channel": target or 0}
                return look_with(self._network, None, names, layer=layer, options=options, **how)
        return look_with(
            self._subject(names), image, names, target=target, channel=asked["channel"], layer=layer,
            options={name: how for name, how in options.items() if how},
        )  # fmt: skip

    def _check(self, names: Sequence[str], target: int | None) -> dict[str, Any]:
        """The same with random weights."""
        lens: Any = importlib.import_module("epochal.lens")
        image = None if self._photo is None else self._photo.array
        found = {}
        for name in names:
            how = {**self._asked["options"].get(name, {}), **self._watched(name)}
            if "layer" in METHODS[name].takes and self._asked["layer"] is not None:
                how["layer"] = self._asked["layer"]
            found[name] = lens.sanity_check(getattr(lens, name), self._subject([name]), image, target=target, **how)
        return found

    def _subject(self, names: Sequence[str]) -> Any:
        """The network, or where a channel is explained, that seen from its layer."""
        if self._asked["inside"] is None or any(METHODS[name].kind != "attribution" for name in names):
            return self._network
        from epochal.lens import inside

        return inside(self._network, self._asked["inside"], place=self._asked["place"])

    def _top_examples(self, options: Mapping[str, Any]) -> Any:
        layer = self._layer(["feature_maps"])
        return self._desk.opened.top_examples(self._run, self._network, self._asked, layer or "", **options)

    def _watched(self, name: str) -> dict[str, Any]:
        """What tells how far a long method is, and ends it when nobody wants it any more."""
        if name == "top_examples":
            return {"progress": lambda done, total: self.share(done / total)}
        lens: Any = importlib.import_module("epochal.lens")
        takes = inspect.signature(getattr(lens, name)).parameters
        return {"progress": self.share} if "progress" in takes else {}

    def share(self, share: float | None, *, at_once: bool = False) -> None:
        """Say how much is done; raises Unwanted where nobody waits for it any more."""
        if self._desk.stopped(self._asked):
            raise Unwanted
        now = time.perf_counter()
        if share is not None and (at_once or now - self._told > _TELL_SECS):
            self._told = now
            first, end = self.part
            share = first + (end - first) * share
            self._desk.say(self._job, "doing", doing="looking", share=share)

    def _found(self, name: str, result: Any, seconds: float) -> None:
        photo = None if self._photo is None else self._photo.pixels
        unit = self._asked["channel"] if name == "top_examples" else None
        try:
            body = packed(name, result, None if photo is None else (photo.shape[0], photo.shape[1]), unit=unit)
        except EpochalError as error:
            self._desk.say(self._job, "failed", method=name, error=told(error))
            return
        picture = b""
        with contextlib.suppress(EpochalError, ValueError):  # a picture to keep is an extra
            caption = "" if self._network.step is None else f"step {self._network.step:,}"
            title = "" if self._photo is None else self._photo.name
            picture = drawn(name, result, photo, title=title, caption=caption, mode=self._asked["theme"])
        arrays = {"maps": np.frombuffer(body, np.uint8), "picture": np.frombuffer(picture, np.uint8)}
        self._desk.say(self._job, "result", arrays, result=said_of(name, result, seconds))

    def _previewed(self) -> dict[str, Any]:
        """What gives first sights of a picture that is searched for."""
        start = time.perf_counter()

        def preview(so_far: Any) -> None:
            if self._quiet:
                return self.share(so_far.done / so_far.steps)
            said = said_of("maximize", so_far, time.perf_counter() - start) | {"done": False}
            body = packed("maximize", so_far, None)
            self._desk.say(self._job, "result", {"maps": np.frombuffer(body, np.uint8)}, result=said)
            return self.share(so_far.done / so_far.steps)

        found: dict[str, Any] = {"preview": preview}
        if self._network.preparation is None and len(self._network.input_shape or ()) != 4:  # a volume is no photo
            found["preparation"] = self._desk.opened.preparation(self._run, self._network)[0]
        return found

    def _layer(self, names: Sequence[str]) -> str | None:
        """The layer to look at: where none is named, a class activation map chooses its own."""
        if self._asked["layer"] is not None:
            return str(self._asked["layer"])
        if "feature_maps" not in names:
            return None
        if isinstance(self._network, DenseNetwork):
            return self._network.chain.links[0].layer
        from epochal.lens.asking import Subject
        from epochal.lens.layers import last_useful_layer, named_layers

        subject = Subject(self._network)
        shape = self._network.input_shape or ()
        blank: Any = np.zeros(shape, np.float32) if self._photo is None else self._photo.array
        with subject.asking(gradients=False):
            try:
                return last_useful_layer(subject.module, lambda: subject.outputs(subject.example(blank)))
            except UsageError:
                return next(reversed(named_layers(subject.module)))

    def _recorded(self) -> tuple[Array, bool] | None:
        """What was recorded of the example at this very step, and whether its picture is one for people."""
        if self._asked["example"] is None:
            return None
        item = find_item(self._run, self._asked["series"], "predictions", self._asked["at"])
        if item.step != self._network.step:
            return None
        row = self._desk.opened.examples(self._run, self._asked).probabilities[int(self._asked["example"])]
        return row.astype(np.float64), item.meta.get("shown") is True

    def _seen(self, photo: Photo) -> tuple[dict[str, Any], Array]:
        """A LensInput: what the network says of the input; and how sure it is of each class."""
        outputs = scores_of(self._network, photo.array.astype(np.float32))
        if outputs.shape[:1] != (1,) or not outputs.size:
            raise UsageError("The network does not answer with one row of numbers.")
        flat = outputs.reshape(-1).astype(np.float64)
        sure, meaning = confidences(flat, self._network.graph)
        best = np.argsort(-np.nan_to_num(flat, nan=-np.inf), kind="stable")[:_TOP]
        answers = [
            {"index": int(i), "score": float(flat[i]), "confidence": float(sure[i]) if i < len(sure) else None}
            for i in best
        ]
        height, width = (0, 0) if photo.pixels is None else photo.pixels.shape[:2]
        values = photo.array.reshape(-1)[:_MOST_ROW].tolist() if photo.pixels is None else []
        said = {
            "name": photo.name, "height": height, "width": width, "values": values, "answers": answers,
            "meaning": meaning, "notes": list(photo.notes),
        }  # fmt: skip
        return said, sure


def _compared(said: Array, recorded: Array, *, shown: bool) -> str:
    """A note where the network says something else of an example than was recorded at the same step."""
    if said.shape != recorded.shape or not np.abs(said - recorded).max(initial=0.0) > _OFF:
        return ""
    if shown:
        raise UsageError(
            "These pictures were recorded for people: of them the network says something else than was recorded.",
            hint="Leave shown= out of run.watch(examples=...), or record what the network takes.",
        )
    return "the network says something else of this example than was recorded: it was given other numbers"


def _best(said: Mapping[str, Any]) -> int | None:
    return said["answers"][0]["index"] if said["answers"] else None


def _groups(methods: Sequence[str]) -> Iterator[list[str]]:
    """Those that share a forward together, then the others one by one, the quick ones first."""
    shared = [name for name in methods if name in GROUP]
    if shared:
        yield shared
    rest = [name for name in methods if name not in GROUP]
    for name in sorted(rest, key=lambda one: METHODS[one].kind in ("attribution", "maximum")):
        yield [name]
