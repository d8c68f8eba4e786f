"""Which objects are networks of numpy arrays, and how they are read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from epochal.frameworks.arrays import SAMPLE, ArrayProbe, probe


@pytest.mark.parametrize(
    "model",
    [
        3,
        "x",
        None,
        [np.zeros(2)],
        {"w": [1.0]},
        {1: np.zeros(2)},
        SimpleNamespace(parameters=lambda: {"w": np.zeros(2)}),
    ],
)
def test_other_things_are_no_networks(model: object) -> None:
    assert probe(model) is None


def found(model: object) -> ArrayProbe:
    made = probe(model)
    assert made is not None
    return made


def staged(made: ArrayProbe) -> dict[str, Any]:
    facts = made.parameters()
    places = [np.zeros(f.size * f.itemsize, np.uint8) for f in facts]
    into = made.bind(places, facts)
    assert made.stage(into) is not None
    return {f.name: a for f, a in zip(facts, into, strict=True)}


def test_any_byte_order_and_layout_is_read_as_values() -> None:
    values = np.arange(6.0).reshape(2, 3)
    arrays = {"big": values.astype(">f8"), "fortran": np.asfortranarray(values), "strided": np.arange(12.0)[::2]}
    read = staged(found(arrays))
    assert np.array_equal(read["big"], values)
    assert np.array_equal(read["fortran"], values)
    assert read["strided"].tolist() == [0, 2, 4, 6, 8, 10]


def test_changes_of_shape_type_or_name_are_noticed() -> None:
    arrays = {"a": np.zeros(2), "b": np.zeros(3)}
    made = found(arrays)
    into = list(staged(made).values())
    arrays["a"] = np.zeros(4)
    assert made.stage(into) is None
    arrays["a"] = np.zeros(2, np.float32)
    assert made.stage(into) is None
    del arrays["a"]
    assert made.stage(into) is None


def test_only_gradients_of_the_right_shape_are_taken() -> None:
    model = SimpleNamespace(
        parameters={"a": np.zeros(2), "b": np.zeros(3), "n": np.array(1)},
        gradients={"a": np.ones(3), "b": [1.0, 2.0, 3.0], "other": np.zeros(1)},
    )
    made = found(model)
    facts = made.parameters()
    trainable = [f for f in facts if f.trainable]
    assert [f.name for f in trainable] == ["a", "b"]
    everything, into = (
        made.bind([np.zeros(f.size * f.itemsize, np.uint8) for f in fs], fs) for fs in (facts, trainable)
    )
    assert made.stage(everything, into) == [1]
    assert into[1].tolist() == [1, 2, 3]


def test_complex_activations_are_told_and_left_out(recwarn: pytest.WarningsRecorder) -> None:
    shown = {"wave": np.ones(3, np.complex64), "real": np.ones(3)}
    made = found(SimpleNamespace(parameters={"w": np.zeros(1)}, activations=shown))
    assert [one.layer for one in made.activations()()] == ["real"]
    assert made.troubles() == ["activations of 'wave' are complex and are not recorded"]
    assert made.troubles() == []
    assert not recwarn.list


def test_activations_are_copied_and_large_ones_sampled() -> None:
    shown = {"small": np.ones(3, np.float32), "large": np.arange(float(10 * SAMPLE)).reshape(-1, 16), "gone": None}
    made = found(SimpleNamespace(parameters={"w": np.zeros(1)}, activations=shown))
    read = made.activations()
    shown["small"][:] = 7  # type: ignore[index]
    small, large = read()
    assert small.values.tolist() == [1, 1, 1]
    assert large.size == 10 * SAMPLE
    assert len(large.values) <= SAMPLE
    assert {int(v) % 16 for v in large.values} == set(range(16))
