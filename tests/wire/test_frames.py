from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from epochal.errors import DamagedError
from epochal.wire.frames import decode, encode

ARRAYS = st.lists(
    st.sampled_from(["<f4", "<f8", "u1", "<u4", "<i8"]).flatmap(
        lambda d: hnp.arrays(np.dtype(d), hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=5,
)


@given(arrays=ARRAYS, label=st.text(max_size=20))
def test_what_goes_in_comes_out_bit_for_bit(arrays: list[npt.NDArray[Any]], label: str) -> None:
    named = {f"a{i}": array for i, array in enumerate(arrays)}
    header, found = decode(encode({"label": label}, named))
    assert header["label"] == label
    assert list(found) == list(named)
    for name, array in named.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_the_bytes_are_as_the_documentation_says() -> None:
    body = encode({"x": float("nan")}, {"b": np.array([1, 2, 3], np.uint8), "s": np.array([[7]], np.int64)})
    (length,) = struct.unpack_from("<I", body, 4)
    assert body[:4] == b"EPF1"
    assert (8 + length) % 8 == 0
    assert json.loads(body[8 : 8 + length]) == {
        "arrays": [{"name": "b", "dtype": "u1", "shape": [3]}, {"name": "s", "dtype": "i8", "shape": [1, 1]}],
        "x": None,
    }
    assert body[8 + length :] == b"\1\2\3\0\0\0\0\0" + struct.pack("<q", 7)


def test_big_endian_and_strided_arrays_are_straightened() -> None:
    array = np.arange(12, dtype=">f8").reshape(3, 4)[:, ::2]
    _, found = decode(encode({}, {"x": array}))
    np.testing.assert_array_equal(found["x"], array)
    assert found["x"].dtype == np.dtype("<f8")


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="float16"):
        encode({}, {"x": np.zeros(2, np.float16)})


@pytest.mark.parametrize("cut", [0, 3, 7, 20, 60, -1])
def test_a_damaged_container_says_so(cut: int) -> None:
    body = encode({"series": "param/x"}, {"x": np.arange(9.0)})
    with pytest.raises(DamagedError):
        decode(body[:cut])
    with pytest.raises(DamagedError):
        decode(b"XXXX" + body[4:])
