"""Words that errors of the lab share: near names, lists, times and sizes as people write them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable

from epochal.errors import UsageError

__all__ = ["bytes_of", "in_words", "quoted", "seconds_of", "suggestion"]

_TIMES = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


def suggestion(word: str, known: Iterable[str]) -> str:
    """What was perhaps meant, or what there is."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"there is: {quoted(names)}"


def quoted(names: Iterable[str]) -> str:
    """Names joined by commas; many are cut short."""
    listed = list(names)
    return ", ".join(listed[:24]) + (", ..." if len(listed) > 24 else "") or "nothing"


def seconds_of(given: object, *, what: str) -> float:
    """Seconds of a number, or of a text such as `90 s`, `30 min`, `2h`, `1d`, `1h 30min`."""
    if isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given) and given > 0:
        return float(given)
    if isinstance(given, str):
        text = given.strip().lower()
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text)
        whole = re.sub(r"\s+", "", text) == "".join(a + b for a, b in parts)
        if parts and whole and all(unit in _TIMES for _, unit in parts):
            total = sum(float(number) * _TIMES[unit] for number, unit in parts)
            if total > 0:
                return total
    raise UsageError(f"{what} is {given!r}, not a time", hint='write seconds, or "90 s", "30 min", "2h"')


def bytes_of(given: object, *, what: str) -> int:
    """Bytes of a number, or of a text such as `500MB`, `2 GiB`."""
    if isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given) and given > 0:
        return int(given)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", given.strip().lower()) if isinstance(given, str) else None
    if found and found[2] in _SIZES and float(found[1]) > 0:
        return int(float(found[1]) * _SIZES[found[2]])
    raise UsageError(f"{what} is {given!r}, not an amount of memory", hint='write bytes, or "500MB", "2GB"')


def in_words(size: float) -> str:
    """Bytes for people: `1.5 GB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} B"
