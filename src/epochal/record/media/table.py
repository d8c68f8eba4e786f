"""Tables whose cells are numbers, texts, or other values."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from epochal.errors import UsageError
from epochal.record.media.value import Blob, Encoded, Value
from epochal.store.files import to_json

__all__ = ["Table"]

MOST_CELLS = 4_000_000
_TEXT_LIMIT = 100_000


class Table(Value):
    """A table: `columns` names, and rows of cells: numbers, texts, bools, dates, None, or values such as images.

    `data` is a list of rows, a list of mappings, or a mapping of columns. `dataframe` is one of pandas, polars or
    pyarrow. Rows may be added until it is logged, and after; what was logged stays as it was.

    >>> table = epochal.Table(columns=["name", "score"])
    >>> table.add_row("first", 0.5)
    >>> len(table)
    1
    """

    __slots__ = ("_columns", "_rows")

    kind = "table"

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        data: object = None,
        *,
        dataframe: object = None,
        caption: str = "",
    ) -> None:
        super().__init__(caption)
        if dataframe is not None:
            if data is not None:
                raise UsageError("data and dataframe are both given", hint="give one of them")
            data = _columns_of(dataframe)
        found, rows = _rows_of(data)
        names = [str(name) for name in columns] if columns is not None else found
        if found and columns is not None:
            if missing := [name for name in names if name not in found]:
                raise UsageError(f"the data has no column {missing[0]!r}", hint=f"it has: {', '.join(found[:12])}")
            order = [found.index(name) for name in names]
            rows = [[row[i] for i in order] for row in rows]
        if not names and rows:
            names = [str(i) for i in range(len(rows[0]))]
        if len(set(names)) < len(names):
            raise UsageError(f"two columns have the same name: {', '.join(names)}")
        self._columns: list[str] = names
        self._rows: list[tuple[Any, ...]] = []
        for row in rows:
            self.add_row(*row)

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return list(self._columns)

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Its rows, cells as they were given."""
        return list(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def add_row(self, *cells: Any) -> None:
        """Add a row with one cell for each column; one list of cells is taken too."""
        if len(cells) == 1 and len(self._columns) != 1 and isinstance(cells[0], list | tuple):
            cells = tuple(cells[0])
        if not self._columns and not self._rows:
            self._columns = [str(i) for i in range(len(cells))]
        if len(cells) != len(self._columns):
            raise UsageError(f"a row has {len(cells)} cells, the table {len(self._columns)} columns")
        self._check_room(len(cells))
        place = len(self._rows)
        self._rows.append(tuple(_cell(c, n, place) for c, n in zip(cells, self._columns, strict=True)))

    def add_column(self, name: str, values: Iterable[Any]) -> None:
        """Add a column with one cell for each row; the first column of an empty table makes its rows."""
        cells = list(values)
        name = str(name)
        if name in self._columns:
            raise UsageError(f"the table has a column {name!r} already")
        rows = self._rows if self._columns or self._rows else [() for _ in cells]
        if len(cells) != len(rows):
            raise UsageError(f"column {name!r} has {len(cells)} cells, the table {len(rows)} rows")
        self._check_room(len(cells))
        grown = [(*row, _cell(c, name, i)) for i, (row, c) in enumerate(zip(rows, cells, strict=True))]
        self._columns, self._rows = [*self._columns, name], grown

    def _check_room(self, more: int) -> None:
        if len(self._rows) * len(self._columns) + more > MOST_CELLS:
            raise UsageError(f"a table has at most {MOST_CELLS:,} cells", hint="log a part of it, or several tables")

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        values = sum(c.nbytes for row in self._rows for c in row if isinstance(c, Value))
        return 100 * len(self._rows) * max(1, len(self._columns)) + values

    def taken(self) -> Table:
        """The table as it is now."""
        copy = Table(self._columns, caption=self.caption)
        copy._rows = list(self._rows)
        return copy

    def encode(self) -> Encoded:
        """JSON: `columns`, and `rows` of numbers, texts, true, false, null, `{"number": "NaN"}` or `{"value": ...}`."""
        blobs: dict[str, Blob] = {}
        altered: dict[str, int] = {}
        told: list[str] = []
        rows = [[_stored(cell, blobs, altered, told) for cell in row] for row in self._rows]
        kinds = [_kind_of([row[i] for row in rows]) for i in range(len(self._columns))]
        return Encoded(
            data=to_json({"columns": self._columns, "kinds": kinds, "rows": rows}),
            extension="json",
            meta={"columns": self._columns[:1000], "rows": len(rows)},
            blobs=tuple(blobs.values()),
            altered=altered,
            told="; ".join(dict.fromkeys(told)),
        )


def _cell(cell: Any, column: str, row: int) -> Any:
    """A cell as it is kept until the table is logged: plain, and nothing that can change."""
    if cell is None or isinstance(cell, bool | int | float | str):
        if isinstance(cell, str) and len(cell) > _TEXT_LIMIT:
            raise UsageError(f"the text in column {column!r}, row {row} has {len(cell):,} characters", hint="cut it")
        return cell
    if isinstance(cell, Value):
        if cell.kind == "table":
            raise UsageError(f"column {column!r}, row {row} holds a table: tables are not put into tables")
        return cell.taken()
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, np.generic | np.ndarray) or hasattr(cell, "detach") or hasattr(cell, "item"):
        from epochal.record.values import as_number

        if isinstance(cell, np.bool_):
            return bool(cell)
        if isinstance(cell, np.integer):
            return int(cell)
        if isinstance(cell, np.str_ | np.datetime64):
            return str(cell)
        number = as_number(cell)
        if number is not None:
            return number
    raise UsageError(
        f"column {column!r}, row {row} holds a {type(cell).__name__}",
        hint="a cell is a number, a text, a date, None, or a value such as epochal.Image(...); str(value) makes a text",
    )


def _stored(cell: Any, blobs: dict[str, Blob], altered: dict[str, int], told: list[str]) -> Any:
    if isinstance(cell, float) and not math.isfinite(cell):
        return {"number": "NaN" if cell != cell else "Infinity" if cell > 0 else "-Infinity"}
    if isinstance(cell, str):
        return cell.encode("utf-8", "replace").decode("utf-8")
    if not isinstance(cell, Value):
        return cell
    encoded = cell.encode()
    own = Blob(encoded.data, encoded.extension)
    name = own.name
    blobs.setdefault(name, own)
    for blob in encoded.blobs:
        blobs.setdefault(blob.name, blob)
    for code, count in encoded.altered.items():
        altered[code] = altered.get(code, 0) + count
    if encoded.told:
        told.append(encoded.told)
    sha256, _, extension = name.partition(".")
    facts = {"kind": cell.kind, "sha256": sha256, "extension": extension, "size": len(encoded.data)}
    return {"value": {**facts, "caption": cell.caption, "meta": dict(encoded.meta)}}


def _kind_of(cells: list[Any]) -> str:
    """`number`, `text`, `bool`, the kind of its values, or `mixed`; `empty` without any."""
    kinds = set()
    for cell in cells:
        if cell is None:
            continue
        if isinstance(cell, bool):
            kinds.add("bool")
        elif isinstance(cell, str):
            kinds.add("text")
        elif isinstance(cell, dict) and "value" in cell:
            kinds.add(cell["value"]["kind"])
        else:
            kinds.add("number")
    return "empty" if not kinds else kinds.pop() if len(kinds) == 1 else "mixed"


def _rows_of(data: object) -> tuple[list[str], list[Sequence[Any]]]:
    """Names (empty where the data has none) and rows."""
    if data is None:
        return [], []
    if isinstance(data, Mapping):
        columns = {str(name): list(values) for name, values in data.items()}
        if len({len(values) for values in columns.values()}) > 1:
            lengths = ", ".join(f"{name} {len(values)}" for name, values in list(columns.items())[:8])
            raise UsageError(f"the columns have different lengths: {lengths}")
        return list(columns), list(zip(*columns.values(), strict=True))
    if isinstance(data, np.ndarray):
        if data.ndim != 2:
            raise UsageError(f"a table is made of an array with two axes, this one has shape {data.shape}")
        return [], data.tolist()
    if not isinstance(data, Iterable) or isinstance(data, str | bytes):
        if hasattr(data, "columns"):
            return _rows_of(_columns_of(data))
        raise UsageError(f"a table cannot be made of a {type(data).__name__}", hint="give a list of rows")
    if hasattr(data, "columns") or hasattr(data, "column_names"):
        return _rows_of(_columns_of(data))
    rows = list(data)
    if rows and all(isinstance(row, Mapping) for row in rows):
        names = list(dict.fromkeys(str(key) for row in rows for key in row))
        plain = [{str(key): value for key, value in row.items()} for row in rows]
        return names, [[row.get(name) for name in names] for row in plain]
    return [], [list(row) if isinstance(row, Iterable) and not isinstance(row, str) else [row] for row in rows]


def _columns_of(frame: Any) -> dict[str, list[Any]]:
    """The columns of a pandas, polars or pyarrow table as lists; missing values become None."""
    names = getattr(frame, "column_names", None)
    if names is None:
        names = getattr(frame, "columns", None)
    if names is None or not hasattr(frame, "__getitem__"):
        raise UsageError(f"a {type(frame).__name__} is no table", hint="give one of pandas, polars or pyarrow")
    found: dict[str, list[Any]] = {}
    for name in names:
        column = frame[name]
        for method in ("to_pylist", "to_list", "tolist"):
            if callable(convert := getattr(column, method, None)):
                found[str(name)] = _cleared(convert())
                break
        else:
            raise UsageError(f"column {name!r} of this {type(frame).__name__} cannot be read as a list")
    return found


def _cleared(values: list[Any]) -> list[Any]:
    """None for what is missing: pandas has marks of its own for it, and among texts it writes NaN."""
    texts = any(isinstance(value, str) for value in values)
    return [
        None if type(value).__name__ in ("NAType", "NaTType") or (texts and value != value) else value
        for value in values
    ]
