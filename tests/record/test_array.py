"""Arrays are kept bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load

from epochal.errors import UsageError
from epochal.record.media.array import Array


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (4,), (2, 3, 5)])
def test_values_come_back_as_they_were(dtype: str, shape: tuple[int, ...]) -> None:
    given = (np.random.default_rng(0).standard_normal(shape) * 9).astype(dtype)
    encoded = Array(given).encode()
    kept = load(encoded.data)["values"]
    np.testing.assert_array_equal(kept, given)
    assert kept.dtype == given.dtype
    assert encoded.meta == {"shape": list(shape), "dtype": dtype}


def test_a_later_change_of_what_was_given_does_not_matter() -> None:
    given = np.zeros(3)
    value = Array(given)
    given[:] = 1
    assert load(value.encode().data)["values"].tolist() == [0, 0, 0]


def test_what_is_no_array_of_numbers_is_refused() -> None:
    with pytest.raises(UsageError, match="an array"):
        Array(["a", "b"])
