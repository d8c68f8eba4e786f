"""How what is measured becomes what a network is given: found from both, against scikit-learn's preparations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler

import epochal
from epochal.record.prepared import prepared_columns

X, Y = load_iris(return_X_y=True)


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler((-1, 1))])
@pytest.mark.parametrize("rows", [2, 30, 150])
def test_scaled_columns_are_found(scaler: Any, rows: int) -> None:
    given = scaler.fit(X).transform(X[::-1][:rows]).astype(np.float32)
    found = prepared_columns(X[::-1][:rows], given)
    assert found is not None
    other = np.array([[7.0, 2.0, 3.0, 0.7]])  # a flower that was never seen
    expected = scaler.transform(other)
    np.testing.assert_allclose(other * found["scale"] + found["offset"], expected, atol=3e-6)


def test_a_column_that_never_changes_has_no_scale() -> None:
    shown = np.c_[X[:20], np.full(20, 7.0)]
    found = prepared_columns(shown, (shown - 1) / 2)
    assert found is not None
    assert found["scale"] == pytest.approx([0.5] * 4 + [0])
    assert found["offset"][4] == 3


def test_what_no_line_makes_is_not_told() -> None:
    assert prepared_columns(X, np.log(X)) is None
    assert prepared_columns(X, QuantileTransformer(n_quantiles=50).fit_transform(X)) is None
    one_off = (X - 3) / 2
    one_off[77, 1] += 0.01
    assert prepared_columns(X, one_off) is None
    assert prepared_columns(X, one_off[:, :3]) is None
    assert prepared_columns(["red", "blue"], [[0.0], [1.0]]) is None
    assert prepared_columns(X * np.nan, X) is None
    assert prepared_columns(np.ones((4, 3, 2)), np.ones((4, 3, 2))) is None
    mixed = X.copy()
    mixed[:, 1] = 5.0  # one value for people, several for the network
    assert prepared_columns(mixed, X) is None


@pytest.mark.torch
def test_a_reader_gets_what_the_network_was_given(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    z = torch.from_numpy(StandardScaler().fit_transform(X)).float()
    model = torch.nn.Linear(4, 3)
    with epochal.init("flowers", dir=tmp_path, strict=True, system=False, console=False) as run:
        run.watch(model, examples=(z, Y, X))
        run.log({"loss": 1.0}, step=0, epoch=0)
    said = epochal.open(tmp_path).run("latest").predictions()
    assert said.shown
    np.testing.assert_array_equal(said.inputs, X.astype(np.float32))
    assert said.given is not None
    np.testing.assert_allclose(said.given, z.numpy(), atol=3e-6)
    with torch.no_grad():
        np.testing.assert_allclose(model(torch.from_numpy(said.given)).softmax(1), said.probabilities, atol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("shown", [np.log(X), [f"flower {i}" for i in range(150)]])
def test_what_was_given_is_not_known_where_no_line_makes_it(tmp_path: Path, shown: Any) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    model = torch.nn.Linear(4, 3)
    with epochal.init("flowers", dir=tmp_path, strict=True, system=False, console=False) as run:
        run.watch(model, examples=(torch.from_numpy(X).float(), Y, shown))
        run.log({"loss": 1.0}, step=0, epoch=0)
    said = epochal.open(tmp_path).run("latest").predictions()
    assert said.shown
    assert said.prepared is None
    assert said.given is None


def test_pictures_are_given_in_the_numbers_they_stand_for(tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 2 * 28 * 28).reshape(2, 28, 28)
    with epochal.init("pictures", dir=tmp_path, strict=True, system=False, console=False) as run:
        run.log({"loss": 1.0}, step=0)
        run.log_predictions(x, [0, 1], [[1.0, 0.0], [0.0, 1.0]])
    said = epochal.open(tmp_path).run("latest").predictions()
    assert said.given is not None
    np.testing.assert_allclose(said.given.reshape(x.shape), x, atol=1 / 255)
