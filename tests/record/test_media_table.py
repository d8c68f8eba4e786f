"""Tables: rows in, JSON out, whatever the cells are."""

from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import pytest

from epochal.errors import UsageError
from epochal.record.media import Histogram, Image, Table, Text


def document(table: Table) -> Any:
    return json.loads(table.encode().data, parse_constant=pytest.fail)


def test_cells_of_all_kinds_are_strict_json() -> None:
    table = Table(["a", "b"])
    table.add_row(1, "x")
    table.add_row(np.float32(0.5), None)
    table.add_row(np.int64(2), np.str_("y"))
    table.add_row(True, np.bool_(False))
    table.add_row(float("nan"), -float("inf"))
    table.add_row(np.array(3.0), datetime.date(2024, 2, 29))
    table.add_row([2**60, "ü"])
    found = document(table)
    assert found["columns"] == ["a", "b"]
    assert found["rows"] == [
        [1, "x"],
        [0.5, None],
        [2, "y"],
        [True, False],
        [{"number": "NaN"}, {"number": "-Infinity"}],
        [3.0, "2024-02-29"],
        [2**60, "ü"],
    ]
    assert found["kinds"] == ["mixed", "mixed"]
    assert table.encode().meta == {"columns": ["a", "b"], "rows": 7}


def test_values_in_cells_become_blobs_of_their_own() -> None:
    image = Image(np.full((2, 2), 2.0), caption="c")
    table = Table(["picture", "words"], [[image, Text("x")], [image, None]])
    encoded = table.encode()
    found = document(table)
    assert found["kinds"] == ["image", "text"]
    cell = found["rows"][0][0]["value"]
    assert found["rows"][1][0]["value"] == cell
    assert (cell["kind"], cell["extension"], cell["caption"], cell["meta"]["width"]) == ("image", "png", "c", 2)
    blobs = {blob.name: blob for blob in encoded.blobs}
    assert len(blobs) == len(encoded.blobs) == 2
    assert blobs[f"{cell['sha256']}.png"].data == image.encode().data
    assert cell["size"] == len(image.encode().data)
    assert encoded.altered == {"pixels": 8}
    assert "lie outside" in encoded.told
    assert document(Table(["h"], [[Histogram([1, 2])]]))["rows"][0][0]["value"]["kind"] == "histogram"


def test_rows_come_in_many_forms() -> None:
    expected = {"columns": ["a", "b"], "rows": [[1, "x"], [2, "y"]], "kinds": ["number", "text"]}
    for table in (
        Table(["a", "b"], [[1, "x"], [2, "y"]]),
        Table(["a", "b"], [(1, "x"), (2, "y")]),
        Table(data=[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        Table(data={"a": [1, 2], "b": ["x", "y"]}),
        Table(["a", "b"], {"b": ["x", "y"], "a": [1, 2]}),
        Table(["a", "b"], iter([[1, "x"], [2, "y"]])),
    ):
        assert document(table) == expected
    assert document(Table(data=np.eye(2)))["columns"] == ["0", "1"]
    assert document(Table(["a"], [1, 2]))["rows"] == [[1], [2]]
    assert document(Table(data=[{"a": 1}, {"b": 2}]))["rows"] == [[1, None], [None, 2]]
    assert document(Table()) == {"columns": [], "rows": [], "kinds": []}
    by_column = Table()
    by_column.add_column("a", [1, 2])
    by_column.add_column("b", ["x", "y"])
    assert document(by_column) == expected


def test_data_frames_of_three_libraries() -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    polars = pytest.importorskip("polars", reason="needs polars")
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    columns = {"a": [1, 2], "b": ["x", None]}
    expected = [[1, "x"], [2, None]]
    for frame in (pandas.DataFrame(columns), polars.DataFrame(columns), pyarrow.table(columns)):
        assert document(Table(dataframe=frame))["rows"] == expected
        assert document(Table(data=frame))["rows"] == expected
        assert document(Table(["b"], dataframe=frame))["rows"] == [["x"], [None]]
    missing = pandas.DataFrame({"t": pandas.to_datetime(["2024-01-01", None]), "n": pandas.array([1, None], "Int64")})
    assert document(Table(dataframe=missing))["rows"] == [["2024-01-01T00:00:00", 1], [None, None]]


def test_what_was_logged_stays_as_it_was() -> None:
    table = Table(["a"], [[1]])
    taken = table.taken()
    table.add_row(2)
    table.add_column("b", [3, 4])
    assert document(taken)["rows"] == [[1]]
    assert document(table)["rows"] == [[1, 3], [2, 4]]
    assert len(table) == 2
    assert table.columns == ["a", "b"]
    assert table.rows == [(1, 3), (2, 4)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Table(["a", "a"]), "two columns have the same name"),
        (lambda: Table(["a"], [[1, 2]]), "a row has 2 cells, the table 1 columns"),
        (lambda: Table(["a"], [[object()]]), "column 'a', row 0 holds a object"),
        (lambda: Table(["a"], [[np.zeros(3)]]), "row 0 holds a ndarray"),
        (lambda: Table(["a"], [[{"x": 1}]]), "holds a dict"),
        (lambda: Table(["a"], [[Table()]]), "tables are not put into tables"),
        (lambda: Table(["a"], [["x" * 100_001]]), "100,001 characters"),
        (lambda: Table(data={"a": [1], "b": [1, 2]}), "different lengths: a 1, b 2"),
        (lambda: Table(["z"], data={"a": [1]}), "no column 'z'"),
        (lambda: Table(data="text"), "a table cannot be made of a str"),
        (lambda: Table(data=np.zeros(3)), "two axes"),
        (lambda: Table(data=[[1]], dataframe=5), "both given"),
        (lambda: Table(dataframe=5), "a int is no table"),
        (lambda: Table(["a"], [[1]]).add_column("a", [1]), "a column 'a' already"),
        (lambda: Table(["a"], [[1]]).add_column("b", [1, 2]), "2 cells, the table 1 rows"),
    ],
)
def test_what_is_no_table_is_refused(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_a_table_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("epochal.record.media.table.MOST_CELLS", 10)
    table = Table(["a", "b"], [[1, 2]] * 4)
    table.add_row(1, 2)
    with pytest.raises(UsageError, match="at most 10 cells"):
        table.add_row(1, 2)
