"""Which steps and which layers: what `--steps` and `--layers` mean."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence

import numpy as np

from epochal.errors import UsageError

STEPS_ALLOWED = "all, first, last, 5, 1,5,9, 0:150 (both ends), 0:150:10 (one each 10 steps), every:5 (each fifth)"


def choose_steps(text: str | Iterable[int] | None, available: Sequence[int]) -> list[int]:
    """The steps that are meant, of those available (growing); UsageError says what is allowed and what is there.

    A range takes what is there between its ends, both included; with a stride, the first one in each stretch of that
    many steps. A single number must be there exactly.
    """
    if text is None:
        return list(available)
    if not isinstance(text, str):
        text = ",".join(str(int(step)) for step in text)
    words = [word for word in text.replace(" ", "").split(",") if word]
    if not words:
        raise UsageError("No steps are named.", hint=f"Allowed: {STEPS_ALLOWED}.")
    found: dict[int, None] = {}
    for word in words:
        found.update(dict.fromkeys(_meant(word, available)))
    if not found:
        there = f"from {available[0]} to {available[-1]}" if available else "none"
        raise UsageError(f"There is nothing recorded at the steps {text!r}.", hint=f"Recorded: {there}.")
    return sorted(found)


def _meant(word: str, available: Sequence[int]) -> list[int]:
    if word == "all":
        return list(available)
    if word in ("first", "last"):
        return [available[0 if word == "first" else -1]] if available else []
    if match := re.fullmatch(r"every:(\d+)", word):
        every = int(match[1])
        if every < 1:
            raise UsageError(f"The stride in {word!r} must be at least 1.")
        return list(available[::every])
    if match := re.fullmatch(r"(-?\d*):(-?\d*)(?::(\d+))?", word) or re.fullmatch(r"(\d+)-(\d+)()", word):
        first = int(match[1]) if match[1] else None
        last = int(match[2]) if match[2] else None
        between = [s for s in available if (first is None or s >= first) and (last is None or s <= last)]
        return _strided(between, int(match[3]), first) if match[3] else between
    if re.fullmatch(r"-?\d+", word):
        step = int(word)
        if step not in available:
            near = ", ".join(map(str, _nearest(available, step))) or "nothing was recorded"
            raise UsageError(f"There is nothing recorded at step {step}.", hint=f"Nearest: {near}.")
        return [step]
    raise UsageError(f"The steps {word!r} cannot be read.", hint=f"Allowed: {STEPS_ALLOWED}.")


def _strided(steps: list[int], stride: int, first: int | None) -> list[int]:
    if stride < 1:
        raise UsageError("The stride of steps must be at least 1.")
    if not steps:
        return []
    start = steps[0] if first is None else first
    return list({(step - start) // stride: step for step in reversed(steps)}.values())[::-1]


def _nearest(available: Sequence[int], step: int) -> list[int]:
    return sorted(sorted(available, key=lambda s: abs(s - step))[:3])


def thin(steps: Sequence[int], most: int) -> list[int]:
    """At most `most` of the steps, evenly, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    return [steps[i] for i in np.unique(np.round(np.linspace(0, len(steps) - 1, most)).astype(int))]


def choose_layers(wanted: str | Iterable[str] | None, names: Sequence[str]) -> list[str]:
    """The layers (or tensors) that are meant, in their own order; a name may be a pattern such as `encoder.*`.

    A name also means everything inside it: `encoder` is `encoder.0`, `encoder.1` and so on.
    """
    if wanted is None:
        return list(names)
    patterns = wanted.split(",") if isinstance(wanted, str) else list(wanted)
    patterns = [pattern.strip() for pattern in patterns if pattern.strip()]
    if not patterns:
        return list(names)
    kept: set[str] = set()
    for pattern in patterns:
        fits = {n for n in names if n == pattern or n.startswith(f"{pattern}.") or fnmatch.fnmatchcase(n, pattern)}
        if not fits:
            listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise UsageError(f"There is no layer {pattern!r}.", hint=f"Layers: {listed or 'none were recorded'}.")
        kept |= fits
    return [name for name in names if name in kept]
