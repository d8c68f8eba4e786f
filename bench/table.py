"""One way to print a measurement beside its target."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A measured figure; `target` is the most it may be, the least where `more_is_better`."""

    what: str
    value: float
    unit: str
    target: float | None = None
    peer: str = ""
    more_is_better: bool = False

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or nothing where there is no target."""
        if self.target is None:
            return ""
        return "met" if (self.value >= self.target if self.more_is_better else self.value <= self.target) else "MISSED"


def show(title: str, rows: list[Row]) -> None:
    """Print rows as a Markdown table."""
    out = sys.stdout
    out.write(f"\n### {title}\n\n| what | measured | target | | peer |\n|---|---|---|---|---|\n")
    for row in rows:
        sign = "≥" if row.more_is_better else "≤"
        target = "" if row.target is None else f"{sign} {row.target:g} {row.unit}"
        out.write(f"| {row.what} | {row.value:.3g} {row.unit} | {target} | {row.verdict} | {row.peer} |\n")
    out.flush()
