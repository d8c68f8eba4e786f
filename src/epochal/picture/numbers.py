"""Numbers as people read them, and round places for the ticks of an axis."""

from __future__ import annotations

import math
from itertools import pairwise

MINUS = "−"


def nice_ticks(lo: float, hi: float, count: int = 5) -> list[float]:
    """Round numbers inside [lo, hi], about `count` of them, evenly spaced by 1, 2 or 5 times a power of ten."""
    if not (math.isfinite(lo) and math.isfinite(hi)) or hi <= lo:
        return [lo] if math.isfinite(lo) else []
    raw = (hi - lo) / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.7)
    first = math.ceil(lo / step - 1e-9)
    last = math.floor(hi / step + 1e-9)
    return [round(i * step, 12 - math.floor(math.log10(step))) for i in range(first, last + 1)]


def tick_labels(ticks: list[float]) -> list[str]:
    """Labels with the same number of decimals for all ticks of one axis."""
    if not ticks:
        return []
    largest = max(abs(t) for t in ticks)
    gap = min((b - a for a, b in pairwise(ticks)), default=largest or 1.0)
    if largest >= 1e6 or (0 < largest < 1e-4):
        return [_scientific(t) for t in ticks]
    decimals = max(0, -math.floor(math.log10(gap) + 1e-9)) if gap > 0 else 0
    return [_signed(f"{t:,.{decimals}f}") if t else _signed(f"{0:.{decimals}f}") for t in ticks]


def _scientific(value: float) -> str:
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.6e}".split("e")
    short = mantissa.rstrip("0").rstrip(".")
    return _signed(f"{short}e{int(exponent)}")


def _signed(text: str) -> str:
    return text.replace("-", MINUS)


def number(value: float, digits: int = 4) -> str:
    """A number with `digits` significant digits, a real minus sign and thousands separated: −0.8012, 9,720, 1.2e−7."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value == int(value) and abs(value) < 1e7:
        return _signed(f"{int(value):,}")
    if not 1e-4 <= abs(value) < 1e7:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return _signed(f"{mantissa}e{int(exponent)}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return _signed(f"{value:,.{decimals}f}")


def compact(value: float, digits: int = 3) -> str:
    """As `number`, without zeros at the end: 0.06, −1.2."""
    text = number(value, digits)
    mantissa, mark, exponent = text.partition("e")
    return (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa) + mark + exponent


def whole(value: float) -> str:
    """A count or step with thousands separated; an epoch of 81.5 keeps its fraction."""
    return _signed(f"{int(value):,}") if value == int(value) else _signed(f"{value:,.2f}".rstrip("0"))
