"""Configurations of any kind become what JSON can hold."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import json
import math
from pathlib import Path

import numpy as np
import pytest

from epochal.errors import UsageError
from epochal.record.config import plain_config


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Options:
    lr: float
    layers: tuple[int, ...]


def test_the_usual_kinds_are_kept_as_values() -> None:
    config = {
        "lr": np.float32(0.5),
        "n": np.int64(3),
        "path": Path("a/b"),
        "colour": Colour.RED,
        "sizes": (12, 12),
        "set": {2, 1},
        "none": None,
        1: True,
        "nested": {"options": Options(0.1, (1, 2)), "args": argparse.Namespace(x=1)},
    }
    plain, by_repr = plain_config(config)
    assert plain == {
        "lr": 0.5,
        "n": 3,
        "path": "a/b",
        "colour": "red",
        "sizes": [12, 12],
        "set": [1, 2],
        "none": None,
        "1": True,
        "nested": {"options": {"lr": 0.1, "layers": [1, 2]}, "args": {"x": 1}},
    }
    assert not by_repr
    json.dumps(plain, allow_nan=False)


def test_a_config_that_holds_itself_is_taken_once() -> None:
    config: dict[str, object] = {"lr": 0.1}
    config["self"] = config["again"] = config
    config["list"] = [config, [1, [2]]]
    plain, by_repr = plain_config(config)
    assert plain["list"][1] == [1, [2]]
    assert by_repr == ["self", "again", "list/0"]
    same = [1]
    assert plain_config({"a": same, "b": [same, same]})[0] == {"a": [1], "b": [[1], [1]]}
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    assert len(plain_config({"deep": deep})[1]) == 1


def test_values_that_cannot_be_shown_break_nothing() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    plain, by_repr = plain_config({"a": Broken(), "b": {Broken(): {Broken()}}})
    shown = "<Broken, cannot be shown: RuntimeError>"
    assert plain == {"a": shown, "b": {shown: [shown]}}
    assert by_repr == ["a", f"b/{shown}/0"]


def test_other_values_are_kept_by_repr_and_named() -> None:
    plain, by_repr = plain_config({"a": {"fn": len}, "nan": math.nan, "big": 2**80})
    assert plain == {"a": {"fn": "<built-in function len>"}, "nan": "nan", "big": str(2**80)}
    assert by_repr == ["a/fn", "nan", "big"]


def test_a_configuration_that_contains_itself_ends() -> None:
    config: dict[str, object] = {"lr": 0.1}
    config["self"] = config
    plain, by_repr = plain_config(config)
    json.dumps(plain)
    assert len(by_repr) == 1


def test_what_is_passed_in_is_not_kept() -> None:
    inner = [1, 2]
    plain, _ = plain_config({"a": inner})
    inner.append(3)
    assert plain == {"a": [1, 2]}


def test_what_is_no_mapping_is_refused() -> None:
    assert plain_config(None) == ({}, [])
    with pytest.raises(UsageError, match="config is a int"):
        plain_config(3)
