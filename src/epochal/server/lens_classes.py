"""The task of class images: the mean input gradient of each class over recorded examples, better with each batch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.lens.answering import scores_of
from epochal.lens.class_images import ClassImages, class_images
from epochal.network import Network
from epochal.network.confidence import confidences
from epochal.server.lens_desk import Desk
from epochal.store.reader import StoredRun
from epochal.views.predictions import find_item
from epochal.wire.frames import encode

__all__ = ["find_class_images"]

Array = npt.NDArray[Any]

_MOST = 1024
"""Of so many recorded examples at most, spread over all of them."""
_TELL_SECS = 0.25
_COMPARED = 48
_OFF = 0.05


def find_class_images(desk: Desk, asked: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Say the pictures over the examples so far every now and then, and those over all of them at the end."""
    network = desk.network(asked)
    run = StoredRun(asked["path"])
    found = desk.opened.examples(run, asked)
    inputs = desk.opened.data(run, network, asked)
    rows = np.unique(np.linspace(0, len(inputs) - 1, min(_MOST, len(inputs))).astype(int))
    labels = None if found.labels is None else found.labels[rows]
    notes = _notes(run, network, asked, inputs, found.probabilities)
    start = told = time.perf_counter()

    def say(images: ClassImages, *, done: bool) -> None:
        seconds = round(time.perf_counter() - start, 4)
        desk.say(asked["job"], "result", _packed(images), result=_said(images, notes, seconds, done=done))

    def preview(images: ClassImages, share: float) -> bool:
        nonlocal told
        now = time.perf_counter()
        if share < 1 and now - told > _TELL_SECS:
            told = now
            say(images, done=False)
            desk.say(asked["job"], "doing", doing="looking", share=share)
        return not desk.stopped(asked)

    images = class_images(network, inputs[rows], labels, preview=preview)
    if not desk.stopped(asked):
        say(images, done=True)


def _packed(images: ClassImages) -> dict[str, Array]:
    """maps f4 [classes times channels, h, w], class after class; `total` says how many classes there are."""
    array = images.array.astype(np.float32)
    sides = array.shape[-2:] if array.ndim > 2 else (1, array.shape[-1])
    header = {"method": "class_images", "channels": [], "total": len(array)}
    return {"maps": np.frombuffer(encode(header, {"maps": array.reshape(-1, *sides)}), np.uint8)}


def _said(images: ClassImages, notes: list[str], seconds: float, *, done: bool) -> dict[str, Any]:
    """A LensResult; `numbers` are how many examples there were of each class."""
    counts = [] if images.counts is None else images.counts.tolist()
    return {
        "method": "class_images", "kind": "classes", "layer": None, "target": None, "score": None, "signed": True,
        "places": True, "units": "score per input", "caption": images.caption, "notes": notes,
        "numbers": {str(label): float(count) for label, count in enumerate(counts)}, "what": images.method,
        "seconds": seconds, "done": done,
    }  # fmt: skip


def _notes(
    run: StoredRun, network: Network, asked: Mapping[str, Any], inputs: Array, recorded: npt.NDArray[np.float32]
) -> list[str]:
    """Whether the network says of the examples what was recorded, where that was at the same step."""
    item = find_item(run, asked["series"], "predictions", asked["at"])
    if item.step != network.step:
        return []
    rows = np.unique(np.linspace(0, len(inputs) - 1, min(_COMPARED, len(inputs))).astype(int))
    off = 0
    for i in rows:
        outputs = np.asarray(scores_of(network, inputs[i]), np.float64).reshape(-1)
        sure, _ = confidences(outputs, network.graph)
        difference = math.inf if sure.shape != recorded[i].shape else float(np.abs(sure - recorded[i]).max(initial=0.0))
        off += difference > _OFF
    if not off:
        return []
    return [f"of {off} of {len(rows)} examples the network says something else than was recorded: it was given others"]
