"""Charts keep their numbers, and refuse what they could not draw."""

from __future__ import annotations

import json

import numpy as np
import pytest

from epochal.errors import UsageError
from epochal.record.media.chart import Chart


def test_rows_and_roles_are_kept_as_strict_json() -> None:
    rows: list[list[object]] = [["a", np.float32(0.5)], ["b", float("nan")], [None, -float("inf")], ["c", np.int64(3)]]
    chart = Chart("bar", ["class", "score"], rows, x="class", y="score", title="Scores")
    encoded = chart.encode()
    assert encoded.extension == "json"
    assert json.loads(encoded.data, parse_constant=pytest.fail) == {
        "chart": {"kind": "bar", "title": "Scores", "x": "class", "y": "score"},
        "columns": ["class", "score"],
        "rows": [["a", 0.5], ["b", "NaN"], [None, "-Infinity"], ["c", 3]],
    }
    assert encoded.meta == {"chart": "bar", "rows": 4}


@pytest.mark.parametrize(
    ("kind", "roles", "message"),
    [
        ("pie", {"x": "a", "y": "b"}, "of kind 'pie'"),
        ("line", {"x": "a"}, "needs y="),
        ("line", {"x": "a", "y": "z"}, "y is 'z', which is no column"),
        ("matrix", {"x": "a", "y": "b"}, "needs value="),
        ("scatter", {"x": "a", "y": "b", "series": "z"}, "series is 'z'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(kind: str, roles: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Chart(kind, ["a", "b"], [[1, 2]], **roles)  # type: ignore[arg-type]


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(UsageError, match="3 cells for 2 columns"):
        Chart("line", ["a", "b"], [[1, 2], [1, 2, 3]], x="a", y="b")
    with pytest.raises(UsageError, match="a cell of a chart is one number"):
        Chart("line", ["a", "b"], [[1, np.ones(2)]], x="a", y="b")
