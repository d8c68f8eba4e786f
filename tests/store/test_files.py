from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from epochal.errors import DamagedError
from epochal.store.files import from_json_number, read_json, replace_file, to_json


def test_json_is_strict_and_numbers_come_back() -> None:
    value = {
        "a": math.nan,
        "b": [math.inf, -math.inf],
        "c": np.float32(0.5),
        "d": np.arange(3),
        "e": Path("x"),
        1: None,
    }
    text = to_json(value)
    back = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert back == {"a": "NaN", "b": ["Infinity", "-Infinity"], "c": 0.5, "d": [0, 1, 2], "e": "x", "1": None}
    assert math.isnan(from_json_number(back["a"]))
    assert [from_json_number(v) for v in back["b"]] == [math.inf, -math.inf]
    assert math.isnan(from_json_number(None))


def test_replacing_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for n in range(3):
        replace_file(path, to_json({"n": n}))
    assert read_json(path) == {"n": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_failed_replacement_keeps_the_old_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "x.json"
    folder.mkdir()
    (folder / "inside").touch()
    with pytest.raises(OSError, match="irectory"):
        replace_file(folder, b"{}")
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "is not JSON"), (b"[]", "a JSON list, expected an object"), (b"", "is not JSON"),
        (b'{"a":' * 100_000, "is not JSON"),
    ],
)  # fmt: skip
def test_damaged_json_names_the_file(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=message) as caught:
        read_json(path)
    assert str(path) in caught.value.message
