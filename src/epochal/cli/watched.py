"""What the recorder said of watching, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from epochal.picture.numbers import number


def watched_text(recorder: Mapping[str, Any]) -> str:
    """How often a run's models were looked at and what that cost; empty where none was watched."""
    looks, period, share = recorder.get("looks"), recorder.get("period"), recorder.get("share")
    if not isinstance(looks, int) or not isinstance(period, int) or not isinstance(share, int | float):
        return ""
    budget = recorder.get("budget")
    allowed = f"budget {number(100 * budget)} %" if isinstance(budget, int | float) else "no budget"
    texts = [
        f"{looks:,} looks, one every {period:,} steps" if period > 1 else f"{looks:,} looks, one each step",
        f"{number(100 * share)} % of the time ({allowed})",
        f"{_count(recorder, 'snapshots'):,} snapshots",
    ]
    if thinned := _count(recorder, "thinned"):
        texts[-1] += f", {thinned:,} of them thinned"
    if skipped := _count(recorder, "skipped"):
        texts.append(f"{skipped:,} looks left out")
    if isinstance(budget, int | float) and share > budget:
        texts.append(_over(recorder))
    return " · ".join(texts)


def _over(recorder: Mapping[str, Any]) -> str:
    """Why it cost more than the budget: a first training lasts a second, and its reader wonders."""
    spent = sum(float(recorder.get(name) or 0) for name in ("caller_seconds", "writer_seconds"))
    text = f"{number(spent)} s, over the budget because "
    if 2 * _count(recorder, "asked") >= _count(recorder, "looks"):
        return text + "each epoch and period asked for is looked at, however short the training"
    return text + "first looks come in advance, so that a short training keeps its steps"


def _count(recorder: Mapping[str, Any], name: str) -> int:
    value = recorder.get(name)
    return value if isinstance(value, int) else 0
