"""A drawing made of rows: lines, bars, points or a matrix. The numbers are kept, not a picture of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np

from epochal.errors import UsageError
from epochal.record.media.value import Encoded, Value

__all__ = ["Chart", "ChartKind"]

ChartKind = Literal["line", "bar", "scatter", "histogram", "matrix"]

Cell = float | str | None


class Chart(Value):
    """Rows with columns, and how they are drawn.

    `kind` is "line", "bar" or "scatter" (`y` over `x`, one colour for each value of `series`), "histogram" (of `x`), or
    "matrix" (`value` in the cell of row `y` and column `x`). `columns` names the columns of `rows`; cells are numbers,
    texts or None. Raises UsageError for a column that is not there or a row of another length.

    >>> epochal.Chart("line", ["recall", "precision"], [[0.0, 1.0], [1.0, 0.4]], x="recall", y="precision")
    <epochal.Chart line of 2 rows>
    """

    __slots__ = ("_body", "_kind", "_rows")

    kind = "chart"

    def __init__(
        self,
        kind: ChartKind,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        x: str,
        y: str | None = None,
        series: str | None = None,
        value: str | None = None,
        title: str = "",
        caption: str = "",
    ) -> None:
        super().__init__(caption)
        if kind not in get_args(ChartKind):
            raise UsageError(f"a chart is of kind {kind!r}", hint=f"use one of: {', '.join(get_args(ChartKind))}")
        names = [str(column) for column in columns]
        needed: dict[str, str | None] = {"x": x, "y": y} if kind != "histogram" else {"x": x}
        if kind == "matrix":
            needed["value"] = value
        for role, name in {**needed, "series": series}.items():
            if name is None and role != "series":
                raise UsageError(f"a chart of kind {kind!r} needs {role}=", hint=f"name one of: {', '.join(names)}")
            if name is not None and name not in names:
                raise UsageError(f"{role} is {name!r}, which is no column", hint=f"it has: {', '.join(names)}")
        plain = [[_cell(cell) for cell in row] for row in rows]
        if wrong := next((row for row in plain if len(row) != len(names)), None):
            raise UsageError(f"a row has {len(wrong)} cells for {len(names)} columns")
        roles = {"x": x, "y": y, "series": series, "value": value}
        spec = {"kind": kind, "title": str(title), **{role: name for role, name in roles.items() if name is not None}}
        self._kind, self._rows = kind, len(plain)
        self._body = json.dumps({"chart": spec, "columns": names, "rows": plain}, allow_nan=False).encode()

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        return len(self._body)

    def encode(self) -> Encoded:
        """JSON: `chart` (kind, title and which column is what), `columns`, `rows`; numbers that JSON lacks are text."""
        return Encoded(data=self._body, extension="json", meta={"chart": self._kind, "rows": self._rows})

    def __repr__(self) -> str:
        return f"<epochal.Chart {self._kind} of {self._rows} rows>"


def _cell(cell: object) -> Cell:
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, np.generic) or hasattr(cell, "item"):
        try:
            cell = cell.item()
        except (ValueError, RuntimeError, TypeError) as error:
            raise UsageError(f"a cell of a chart is one number or text: {error}") from None
    if isinstance(cell, bool | int):
        return int(cell)
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else str(cell).replace("inf", "Infinity").replace("nan", "NaN")
    return str(cell)
