"""What is drawn over a picture: boxes, masks, and the names of their classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.record.media.arrays import as_array

__all__ = ["Box", "masks_of", "plain_boxes", "plain_classes"]

Box = Mapping[str, Any] | Sequence[float]
"""`{"box": (x0, y0, x1, y1), "label": ..., "score": ...}`, or the four numbers alone."""

_ONE = "boxes"


def plain_boxes(boxes: Iterable[Box] | Mapping[str, Iterable[Box]]) -> dict[str, list[dict[str, Any]]]:
    """Return boxes by group, each as `{"box": [x0, y0, x1, y1]}` with `class`, `label` and `score` where given."""
    groups = boxes if isinstance(boxes, Mapping) else {_ONE: boxes}
    return {str(name): [_plain_box(box) for box in group] for name, group in groups.items()}


def _plain_box(box: Any) -> dict[str, Any]:
    facts = dict(box) if isinstance(box, Mapping) else {"box": box}
    try:
        corners = [float(value) for value in facts.pop("box")]
    except (KeyError, TypeError, ValueError):
        corners = []
    if len(corners) != 4 or not all(map(math.isfinite, corners)):
        raise UsageError(f"a box is {box!r}", hint='give {"box": (x0, y0, x1, y1), "label": "cat"} in pixels')
    x0, y0, x1, y1 = corners
    plain: dict[str, Any] = {"box": [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]}
    label = facts.pop("label", None)
    if label is not None:
        plain.update({"class": int(label)} if isinstance(label, int | np.integer) else {"label": str(label)})
    score = facts.pop("score", None)
    if score is not None:
        plain["score"] = float(score)
    if facts:
        raise UsageError(f"a box has {sorted(map(str, facts))[0]!r}", hint="it may have: box, label, score")
    return plain


def plain_classes(classes: Mapping[int, str] | Sequence[str]) -> dict[str, str]:
    """Return the names of classes by their number, as JSON has them."""
    pairs = classes.items() if isinstance(classes, Mapping) else enumerate(classes)
    try:
        return {str(int(number)): str(name) for number, name in pairs}
    except (ValueError, TypeError):
        hint = "give {0: 'road', 1: 'car'}, or a list of names"
        raise UsageError(f"classes are {classes!r}"[:200], hint=hint) from None


def masks_of(masks: object, size: tuple[int, int]) -> dict[str, npt.NDArray[np.uint8]]:
    """Return masks by name, [H, W] uint8 class numbers; raises UsageError where they do not fit the picture."""
    named = masks if isinstance(masks, Mapping) else {"mask": masks}
    return {str(name): _mask(str(name), mask, size) for name, mask in named.items()}


def _mask(name: str, data: object, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    array = as_array(data, f"mask {name!r}")
    if array.shape != (size[1], size[0]):
        raise UsageError(f"mask {name!r} has shape {array.shape}, its image is {size[1]} high and {size[0]} wide")
    if array.dtype.kind == "f" or (array.size and (int(array.min()) < 0 or int(array.max()) > 255)):
        raise UsageError(
            f"mask {name!r} has values of {array.dtype} from {array.min()} to {array.max()}",
            hint="give the number of each pixel's class, 0 to 255",
        )
    return array.astype(np.uint8)
