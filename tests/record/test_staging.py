"""Memory laid out as the snapshot's file, and the stock of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from epochal.record.probe import Bytes, TensorFact
from epochal.record.staging import COPIED_BYTES, Layout, Pool, Slot
from epochal.store.safetensors import read_header


def fact(name: str, shape: tuple[int, ...], code: str = "F32", aliases: tuple[str, ...] = ()) -> TensorFact:
    sizes = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "BOOL": 1}
    return TensorFact(name=name, shape=shape, code=code, itemsize=sizes[code], trainable=True, aliases=aliases)


FACTS = [
    fact("b", (3,), "BOOL"),
    fact("w", (2, 3)),
    fact("half", (5,), "F16"),
    fact("count", (), "I64"),
    fact("double", (2,), "F64"),
    fact("none", (0, 4)),
    fact("w2", (4,), aliases=("tied",)),
]


@pytest.mark.parametrize(("step", "epoch"), [(0, None), (123, 4.0), (10**18, -1.2345678901234567e-300)])
def test_the_buffer_is_a_safetensors_file(tmp_path: Path, step: int, epoch: float | None) -> None:
    layout = Layout(FACTS)
    buffer = layout.blank()
    rng = np.random.default_rng(0)
    buffer[layout.data_start :] = rng.integers(0, 2, len(buffer) - layout.data_start)
    layout.fill_header(buffer, step, epoch)
    (tmp_path / "a.safetensors").write_bytes(buffer.tobytes())
    found = load_file(tmp_path / "a.safetensors")
    assert {n: (v.shape, v.dtype.str[1:]) for n, v in found.items()} == {
        "b": ((3,), "b1"),
        "w": ((2, 3), "f4"),
        "half": ((5,), "f2"),
        "count": ((), "i8"),
        "double": ((2,), "f8"),
        "none": ((0, 4), "f4"),
        "w2": ((4,), "f4"),
    }
    for place, one in zip(layout.cut(buffer), FACTS, strict=True):
        assert np.array_equal(np.ascontiguousarray(found[one.name]).reshape(-1).view(np.uint8), place)
    header = json.loads(buffer[8 : layout.data_start].tobytes())
    assert [k for k in header if k != "__metadata__"] == [f.name for f in FACTS]
    expected = {"format": "pt", "step": str(step), "tied": "w2"}
    assert header["__metadata__"] == expected | ({} if epoch is None else {"epoch": repr(epoch)})
    assert layout.data_start % 64 == 0


def test_names_that_json_must_escape(tmp_path: Path) -> None:
    names = ['quo"te', "back\\slash", "naïve", "new\nline", "nul\0\0", "no\\u0000nul", "step"]
    layout = Layout([fact(n, (1,), aliases=("epoch", "nul\0") if n == "step" else ()) for n in names])
    buffer = layout.blank()
    layout.fill_header(buffer, 7, 0.5)
    (tmp_path / "a.safetensors").write_bytes(buffer.tobytes())
    assert set(load_file(tmp_path / "a.safetensors")) == set(names)
    header = read_header(tmp_path / "a.safetensors")
    assert (header.step, header.epoch, header.metadata["nul\0"]) == (7, 0.5, "step")
    layout.fill_header(buffer, 7, None)
    (tmp_path / "a.safetensors").write_bytes(buffer.tobytes())
    assert read_header(tmp_path / "a.safetensors").epoch is None


def test_groups_hold_the_chosen_tensors_of_a_type_end_to_end() -> None:
    layout = Layout(FACTS, chosen=lambda name: name != "w")
    assert {g.code: [FACTS[i].name for i in g.tensors] for g in layout.groups} == {
        "F64": ["double"],
        "F32": ["none", "w2"],
        "F16": ["half"],
    }
    (group,) = [g for g in layout.groups if g.code == "F32"]
    buffer = layout.blank()
    layout.cut(buffer)[6].view("<f4")[:] = [1, 2, 3, 4]
    assert group.read(buffer).tolist() == [1, 2, 3, 4]


def test_half_types_are_read_exactly() -> None:
    layout = Layout([fact("h", (3,), "F16"), fact("b", (3,), "BF16")])
    buffer = layout.blank()
    layout.cut(buffer)[0].view("<f2")[:] = [0.1, -2, 65504]
    layout.cut(buffer)[1].view("<u2")[:] = [0x3F80, 0xC000, 0x7F7F]
    half, brain = layout.groups
    assert half.read(buffer).tolist() == np.array([0.1, -2, 65504], "<f2").astype(float).tolist()
    assert brain.read(buffer).tolist() == [1.0, -2.0, float(np.uint32(0x7F7F0000).view(np.float32))]


def bind(places: Sequence[Bytes], facts: Sequence[TensorFact]) -> list[Bytes]:
    return list(places)


def test_a_model_without_parameters_has_an_empty_snapshot(tmp_path: Path) -> None:
    layout = Layout([])
    buffer = layout.blank()
    layout.fill_header(buffer, 3, None)
    (tmp_path / "a.safetensors").write_bytes(buffer.tobytes())
    assert load_file(tmp_path / "a.safetensors") == {}


@pytest.mark.parametrize("size", [4, COPIED_BYTES])
def test_looks_do_not_share_memory_and_the_stock_is_bounded(size: int) -> None:
    layout = Layout([fact("w", (size,))])
    pool = Pool(layout, Layout([]), bind)
    taken: list[Slot] = []
    while (slot := pool.take()) is not None:
        slot.params[0][:] = len(taken) % 200  # type: ignore[index]
        taken.append(pool.settle(slot))
        assert len(taken) <= 512
    assert len(taken) == pool.limit >= 3
    assert pool.take() is None
    assert [int(layout.cut(s.buffer)[0][0]) for s in taken] == [k % 200 for k in range(len(taken))]
    pool.give(taken[0])
    assert pool.take() is not None


def test_a_model_larger_than_the_stock_still_has_one_slot() -> None:
    # A ResNet-50 with its gradients still has room to say how far it moved; one as large as this is staged alone.
    resnet = Layout([fact("w", (25_557_032,))])
    assert Pool(resnet, resnet, bind).limit == 3
    assert Pool(Layout([fact("w", (200 << 20,))]), Layout([]), bind).limit == 1
