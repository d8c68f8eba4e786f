"""Making the films of a report small enough: coarser first, then fewer frames, then none of the largest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from epochal.wire import frames as packing

_FEWEST_FRAMES = 8
Asked = tuple[str, str, tuple[str, str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """An answer about a tensor: `what` is frames or histograms."""

    series: str
    what: str
    path: str
    media_type: str
    body: bytes


@dataclass(slots=True)
class Shrunk:
    """What is left. `thinned` counts films that are coarser or shorter, `left_out` names those that are gone."""

    answers: list[Packed] = field(default_factory=list)
    thinned: int = 0
    left_out: list[str] = field(default_factory=list)


def shrink(asked: Sequence[Asked], *, room: int, smaller: Callable[[str], bytes]) -> Shrunk:
    """Answers that together take at most `room` bytes; `smaller(series)` gives a film's frames as single bytes."""
    answers = [
        Packed(series=series, what=what, path=path, media_type=media, body=body)
        for series, what, (path, media, body) in asked
    ]
    changed: set[str] = set()

    def size() -> int:
        return sum(len(each.body) for each in answers)

    if size() > room:
        for i, each in enumerate(answers):
            if each.what == "frames" and packing.decode(each.body)[0]["encoding"] != "u1":
                answers[i] = replace(each, body=smaller(each.series))
                changed.add(each.series)
    while size() > room:
        films = [i for i, each in enumerate(answers) if each.what == "frames" and _count(each.body) > _FEWEST_FRAMES]
        if not films:
            break
        largest = max(films, key=lambda i: len(answers[i].body))
        answers[largest] = replace(answers[largest], body=every_second(answers[largest].body))
        changed.add(answers[largest].series)
    left_out: list[str] = []
    while answers and size() > room:
        largest = max(range(len(answers)), key=lambda i: len(answers[i].body))
        left_out.append(answers.pop(largest).series)
    kept = {each.series for each in answers if each.what == "frames"}
    return Shrunk(answers, len(changed & kept), left_out)


def every_second(body: bytes) -> bytes:
    """A film with every second of its frames, the last among them."""
    header, arrays = packing.decode(body)
    keep = np.arange(len(arrays["steps"]))[::-1][::2][::-1]
    facts = {key: value for key, value in header.items() if key != "arrays"}
    facts["stride"] = int(facts.get("stride", 1)) * 2
    return packing.encode(facts, {name: np.ascontiguousarray(array[keep]) for name, array in arrays.items()})


def _count(body: bytes) -> int:
    return len(packing.decode(body)[1]["steps"])
