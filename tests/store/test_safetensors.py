from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from safetensors.numpy import load_file, save_file

from epochal.errors import DamagedError, UsageError
from epochal.store.safetensors import read_header, read_tensor, write_snapshot
from tests.store.helpers import equal

TYPES = st.sampled_from(["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "i1", "<u8", "<u4", "<u2", "u1", "?"])


def read(path: Path) -> dict[str, Any]:
    header = read_header(path)
    with path.open("rb") as file:
        return {name: read_tensor(file.fileno(), place) for name, place in header.tensors.items()}


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=12).filter(lambda n: n != "__metadata__"),
        TYPES.flatmap(lambda t: nps.arrays(t, nps.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))),
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_the_library_reads_what_we_write_and_we_read_what_it_writes(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("s") / "x.safetensors"
    size = write_snapshot(path, tensors, metadata={"step": "3"})
    assert size == path.stat().st_size
    assert equal(load_file(path), tensors)
    assert equal(read(path), tensors)
    assert list(read_header(path).tensors) == list(tensors)
    save_file(tensors, path)
    assert equal(read(path), tensors)
    assert read_header(path).step is None


def file_of(header: object, data: bytes = bytes(16)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


GOOD = {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 50) + b"{}",
        file_of(b"not json"),
        file_of([]),
        file_of({"w": 3}),
        file_of({"w": {"dtype": "F32", "shape": [2, 2]}}),
        file_of({"w": GOOD["w"] | {"dtype": "F99"}}),
        file_of({"w": GOOD["w"] | {"shape": [2, 3]}}),
        file_of({"w": GOOD["w"] | {"shape": [-2, -2]}}),
        file_of({"w": GOOD["w"] | {"shape": [2**40, 2**40]}}),
        file_of({"w": GOOD["w"] | {"data_offsets": [16, 0]}}),
        file_of({"w": GOOD["w"] | {"data_offsets": [-16, 0]}}),
        file_of({"w": GOOD["w"] | {"data_offsets": [8, 24]}}),
        file_of(GOOD, bytes(15)),
        file_of({"__metadata__": [1]} | GOOD),
        file_of({f"w{n}": {"dtype": "U8", "shape": [999], "data_offsets": [0, 999]} for n in range(50)}, bytes(999)),
        file_of({"__metadata__": {"step": 1e999}} | GOOD),
        file_of(b'{"w":' * 100_000),
    ],
)
def test_hostile_headers_are_refused_naming_the_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"Snapshot bad\.safetensors cannot be read") as caught:
        read_header(path)
    assert str(path) in caught.value.hint


def test_noise_in_a_header_never_breaks_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_snapshot(path, {"w": np.ones((2, 2), np.float32), "b": np.zeros(3)}, metadata={})
    data = path.read_bytes()
    rng = random.Random(1)
    for _ in range(1000):
        broken = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            broken[rng.randrange(len(broken) - 40)] = rng.randrange(256)
        path.write_bytes(bytes(broken))
        try:
            read(path)
        except DamagedError:
            continue


def test_a_file_that_shrinks_while_it_is_read_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_snapshot(path, {"w": np.ones(100)}, metadata={})
    header = read_header(path)
    with path.open("r+b") as file:
        file.truncate(500)
        with pytest.raises(DamagedError, match=r"ends .* bytes before its tensor does"):
            read_tensor(file.fileno(), header.tensors["w"])


def test_tensors_lie_aligned_whatever_their_order(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_snapshot(
        path, {"a": np.ones(3, np.int8), "b": np.ones(3, np.float64), "c": np.ones(1, np.float16)}, metadata={}
    )
    for place in read_header(path).tensors.values():
        assert place.begin % {"I8": 1, "F64": 8, "F16": 2}[place.dtype] == 0


def test_the_reserved_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be called '__metadata__'"):
        write_snapshot(tmp_path / "x", {"__metadata__": np.ones(1)}, metadata={})
    assert list(tmp_path.iterdir()) == []


def test_a_thousand_tensors_are_written_in_several_calls(tmp_path: Path) -> None:
    tensors = {f"t{i}": np.full(7, i, np.float32) for i in range(1500)}
    write_snapshot(tmp_path / "x", tensors, metadata={})
    assert equal(load_file(tmp_path / "x"), tensors)
