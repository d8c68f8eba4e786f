"""What counts as an array in a container, and what it is called."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from epochal.errors import UsageError
from epochal.record.tree import flatten


class Pair(NamedTuple):
    weight: Any
    bias: Any


@dataclass
class Block:
    weight: Any
    name: str = "block"
    width: int = 7
    fixed: Any = field(default=None, metadata={"static": True})
    inner: Any = None


W = np.ones((2, 3))


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        ({"a": W}, ["a"]),
        ({"net": [{"weight": W, "bias": W}, {"weight": W}]}, ["net.0.weight", "net.0.bias", "net.1.weight"]),
        ([W, (W, W)], ["0", "1.0", "1.1"]),
        ((Pair(W, W), None), ["0.weight", "0.bias"]),
        ({"weights": [W, W], "biases": [W, W]}, ["weights.0", "weights.1", "biases.0", "biases.1"]),
        (OrderedDict(b=W, a=MappingProxyType({"x": W})), ["b", "a.x"]),
        ({0: W, 1: {"x": W}}, ["0", "1.x"]),
        (Block(W, fixed=W, inner=[Block(W)]), ["weight", "inner.0.weight"]),
        (W, ["parameters"]),
        ({"scale": 1.5, "count": np.int64(3), "flag": True}, ["scale", "count", "flag"]),
        ({"batch_stats": {"Norm": {"mean": W}}, "params": {"Dense": {"kernel": W}}}, ["Dense.kernel", "Norm.mean"]),
        ({"params": {"w": W}, "other": W}, ["params.w", "other"]),
    ],
)  # fmt: skip
def test_names_are_the_way_to_each_array(tree: object, names: list[str]) -> None:
    assert list(flatten(tree).arrays) == names


def test_sorted_names_come_in_the_order_of_their_numbers() -> None:
    tree = dict.fromkeys(sorted(f"Dense_{i}" for i in range(12)), W)
    assert list(flatten(tree).arrays) == [f"Dense_{i}" for i in range(12)]
    own = {"Dense_10": W, "Conv_0": W, "Dense_2": W}
    assert list(flatten(own).arrays) == list(own)


def test_python_lists_of_numbers_are_vectors_and_matrices() -> None:
    tree = {
        "biases": [0.5, 1.0],
        "weights": [[1, 2], [3, 4], [5, 6]],
        "ragged": [[1.0], [2.0, 3.0]],
        "pair": (1.0, 2.0),
    }
    found = flatten(tree).arrays
    assert found["biases"].tolist() == [0.5, 1.0]
    assert found["weights"].shape == (3, 2)
    assert found["ragged.1"].tolist() == [2.0, 3.0]
    assert found["pair.0"].shape == ()


def test_numbers_of_a_dataclass_are_settings_and_its_class_is_told() -> None:
    tree = flatten({"first": Block(W, inner={"width": 3, "w": W})})
    assert list(tree.arrays) == ["first.weight", "first.inner.w"]
    assert tree.kinds == {"first": "Block"}
    assert tree.others == []


def test_arrays_are_handed_on_as_they_are() -> None:
    assert flatten({"a": {"b": W}}).arrays["a.b"] is W


def test_what_is_neither_array_nor_setting_is_named() -> None:
    tree = flatten({"w": W, "f": len, "s": "relu", "odd": SimpleNamespace(w=W)})
    assert list(tree.arrays) == ["w"]
    assert tree.others == ["odd (SimpleNamespace)"]


def test_a_container_that_holds_itself_is_entered_once() -> None:
    tree: dict[str, Any] = {"w": W}
    tree["again"] = tree
    tree["list"] = [tree, {"x": W}]
    assert list(flatten(tree).arrays) == ["w", "list.1.x"]


@pytest.mark.parametrize("tree", [None, {}, [], {"a": None}, "text", len, {"a": {"b": "c"}}, object()])
def test_nothing_to_record_is_an_error(tree: object) -> None:
    with pytest.raises(UsageError, match=r"gradients is a .* without any array"):
        flatten(tree, what="gradients")


def test_two_arrays_of_one_name_are_an_error() -> None:
    with pytest.raises(UsageError, match=r"two arrays are called 'a\.b'"):
        flatten({"a.b": W, "a": {"b": W}})
