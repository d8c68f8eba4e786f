"""Strongest examples against all answers sorted, and fields against the arithmetic of convolutions."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.errors import NotFoundError, UsageError
from epochal.network import Network

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402

from epochal.lens.asking import Subject  # noqa: E402
from epochal.lens.examples import top_examples  # noqa: E402
from epochal.lens.field import Fields  # noqa: E402
from tests.lens.known import cifar10, plain_cnn, resnet20  # noqa: E402


def all_answers(network: nn.Sequential, data: Any, layers: int) -> Any:
    with torch.no_grad():
        return network[:layers](torch.as_tensor(data)).numpy()


@pytest.mark.parametrize("k", [1, 9])
def test_they_are_those_of_all_answers_sorted(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("epochal.lens.source._MOST_EXAMPLES", 37)  # several batches, the last of them smaller
    network = plain_cnn()
    data = np.random.default_rng(0).normal(size=(200, 1, 28, 28)).astype(np.float32)
    found = top_examples(network, data, layer=["0", "3", "6", "10"], k=k)
    for name, top in found.items():
        answers = all_answers(network, data, int(name) + 1)
        flat = answers.reshape(*answers.shape[:2], -1)
        best = flat.max(axis=2)
        order = np.argsort(-best, axis=0, kind="stable")[:k]
        # Batches of other sizes round otherwise.
        np.testing.assert_allclose(top.values, np.take_along_axis(best, order, 0).T, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(top.indices, order.T)
        for unit in range(top.values.shape[0]):
            place = np.unravel_index(flat[order[0, unit], unit].argmax(), answers.shape[2:])
            expected = place if len(place) == 2 else (-1, -1)
            assert tuple(top.places[unit, 0]) == expected


def test_of_equal_answers_the_first_examples_come_first() -> None:
    data = np.zeros((300, 1), np.float32)
    data[[7, 250, 140]] = 1
    top = top_examples(nn.Sequential(nn.Identity()), data, layer="0", k=5)
    assert top.indices[0].tolist() == [7, 140, 250, 0, 1]


def test_fewer_examples_than_asked_for() -> None:
    top = top_examples(plain_cnn(), np.random.default_rng(0).normal(size=(3, 1, 28, 28)), layer="0", k=5)
    assert (top.indices[:, 3:] == -1).all()
    assert np.isneginf(top.values[:, 3:]).all()
    assert sorted(top.indices[0, :3].tolist()) == [0, 1, 2]
    with pytest.raises(NotFoundError, match="rank 4"):
        top.crop(0, 4)
    assert len(top.pictures(0)) == 3


def test_answers_that_are_no_numbers_are_counted_and_left_out() -> None:
    data = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    network = nn.Sequential(nn.Identity())
    data[2, 1] = np.nan
    top = top_examples(network, data, layer="0", k=6)
    assert 2 not in top.indices[1]
    assert top.indices[1, -1] == -1
    assert "1 answers" in top.notes[0]


@pytest.mark.parametrize(
    "layers",
    [
        [(3, 1, 1, 1)],
        [(3, 1, 1, 1), (3, 1, 1, 1), (5, 1, 2, 1)],
        [(7, 2, 3, 1), (3, 1, 1, 1)],
        [(3, 1, 2, 2), (3, 2, 1, 1)],
        [(4, 2, 1, 1), (2, 2, 0, 1), (3, 1, 0, 1)],
    ],
)
@pytest.mark.parametrize("pool", [False, True])
def test_fields_are_those_of_the_arithmetic(layers: list[tuple[int, int, int, int]], pool: bool) -> None:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    size, stride, start, side = 1, 1, 0, 40
    for i, (kernel, step, padding, dilation) in enumerate(layers):
        parts += [nn.Conv2d(2 if i == 0 else 4, 4, kernel, step, padding, dilation), nn.ReLU()]
        size, start, stride = size + dilation * (kernel - 1) * stride, start - padding * stride, stride * step
        if pool and i == 0:
            parts.append(nn.MaxPool2d(2))
            size, stride = size + stride, stride * 2
    network = nn.Sequential(*parts)
    fields = Fields(Subject(network), str(len(parts) - 1), (2, side, side))
    for row in range(fields.places[0]):
        for column in range(fields.places[1]):
            first = [start + stride * place for place in (row, column)]
            expected = (max(0, first[0]), max(0, first[1]), min(side, first[0] + size), min(side, first[1] + size))
            assert fields(row, column) == expected
    assert len(fields._measured) <= 5 or fields.places[0] < 5


def test_a_field_that_reaches_the_edges_is_measured_at_each_place() -> None:
    network = plain_cnn()
    fields = Fields(Subject(network), "6", (1, 28, 28))
    assert fields(3, 3) == (5, 5, 23, 23)  # 18 pixels from -7 on, a stride of 4
    pooled = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(2), nn.Conv2d(2, 2, 3, padding=1))
    whole = Fields(Subject(pooled), "2", (1, 12, 12))
    assert whole(0, 1) == (0, 0, 12, 12)
    assert Fields(Subject(pooled), "1", (1, 12, 12))(0, 1) == (0, 5, 7, 12)


def test_a_crop_is_all_that_the_answer_needs() -> None:
    network = plain_cnn()
    data = np.random.default_rng(1).normal(size=(60, 1, 28, 28)).astype(np.float32)
    top = top_examples(network, data, layer="3", k=3)
    for unit in range(12):
        box = top.field(unit)
        assert box is not None
        top_, left, bottom, right = box
        np.testing.assert_array_equal(top.crop(unit), data[top.indices[unit, 0]][:, top_:bottom, left:right])
        other = np.full_like(data[:1], 7.0)
        other[0, :, top_:bottom, left:right] = top.crop(unit)
        row, column = top.places[unit, 0]
        if 0 < row < 13 and 0 < column < 13:  # inside, what lies around does not matter
            answer = all_answers(network, other, 4)[0, unit, row, column]
            assert answer == pytest.approx(float(top.values[unit, 0]), rel=1e-4)


def test_the_deconvolution_view_is_the_rule_started_from_one_unit() -> None:
    network = plain_cnn()
    data = np.random.default_rng(1).normal(size=(20, 1, 28, 28)).astype(np.float32)
    top = top_examples(network, data, layer="4", k=1)
    unit = int(top.order[0])
    x = torch.from_numpy(data[top.indices[unit, 0]][None])
    with torch.no_grad():
        pooled, where = nn.functional.max_pool2d(network[:2](x), 2, return_indices=True)
        # By hand: from the rectified unit down through the kernels, rectified where a rectifier was.
        row, column = top.places[unit, 0]
        back = torch.zeros(1, 12, 14, 14)
        back[0, unit, row, column] = 1
        state = network.state_dict()
        back = nn.functional.conv_transpose2d(back, state["3.weight"], padding=1)
        back = nn.functional.max_unpool2d(back, where, [2, 2]).clamp(min=0)
        back = nn.functional.conv_transpose2d(back, state["0.weight"], padding=1)[0].numpy()
    assert pooled.shape[-1] == 14
    box = top.field(unit)
    assert box is not None
    np.testing.assert_allclose(top.deconvolved(unit), back[:, box[0] : box[2], box[1] : box[3]], atol=1e-5)


def test_data_sets_and_loaders_in_their_own_order() -> None:
    network = plain_cnn()
    x = torch.rand(50, 1, 28, 28)
    held = torch.utils.data.TensorDataset(x, torch.zeros(50))
    shuffled = torch.utils.data.DataLoader(held, batch_size=7, shuffle=True)
    expected = top_examples(network, x, layer="3", k=4)
    for data in (held, shuffled, list(x.numpy())):
        found = top_examples(network, data, layer="3", k=4)
        np.testing.assert_array_equal(found.indices, expected.indices)
    with pytest.raises(UsageError, match="asked for its examples again"):
        top_examples(network, iter(x), layer="3")
    with pytest.raises(UsageError, match="no examples"):
        top_examples(network, x[:0], layer="3")


def test_a_program_whose_batch_is_fixed(tmp_path: Path) -> None:
    network = plain_cnn()
    x = torch.rand(10, 1, 28, 28)
    torch.export.save(torch.export.export(network, (x[:4],), strict=False), tmp_path / "n.pt2")
    found = top_examples(Network.open(tmp_path / "n.pt2"), x, layer="3", k=3)
    np.testing.assert_array_equal(found.indices, top_examples(network, x, layer="3", k=3).indices)
    torch.export.save(torch.export.export(network, (x[:1],), strict=False), tmp_path / "one.pt2")
    fields, expected = (
        Fields(Subject(held), "6", (1, 28, 28)) for held in (Network.open(tmp_path / "one.pt2"), network)
    )
    places = [(r, c) for r in range(7) for c in range(7)]
    assert [fields(*place) for place in places] == [expected(*place) for place in places]


def test_the_second_use_of_a_module_and_pictures(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Any) -> Any:
            return self.conv(self.conv(x).relu()).mean(dim=(2, 3))

    torch.manual_seed(0)
    network, x = Twice(), torch.rand(300, 3, 12, 12)
    top = top_examples(network, x, layer="conv@2", k=5)
    with torch.no_grad():
        best = network.conv(network.conv(x).relu()).amax(dim=(2, 3))
    assert top.indices[:, 0].tolist() == best.argmax(dim=0).tolist()
    seen: list[tuple[int, int]] = []
    top_examples(network, x, layer="conv", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(128, 300), (256, 300), (300, 300)]
    top.save(tmp_path / "top.png")
    top.save(tmp_path / "top.svg", units=[1], count=2)
    assert "Zeiler" in (tmp_path / "top.svg").read_text()
    top.save(tmp_path / "top.npz")
    with np.load(tmp_path / "top.npz") as held:
        np.testing.assert_array_equal(held["indices"], top.indices)


def test_a_trained_network_puts_alike_pictures_together() -> None:
    pictures, labels = (held[::5] for held in cifar10(2000))
    top = top_examples(resnet20(), pictures, layer=["linear", "layer3.2"], k=9)
    # The strongest nine for a class are nearly all of that class.
    hits = [(labels[top["linear"].indices[c]] == c).mean() for c in range(10)]
    assert np.mean(hits) > 0.9
    assert top["layer3.2"].field(0) == (0, 0, 32, 32)


def test_parts_merge_into_what_one_pass_finds_in_any_order() -> None:
    network = plain_cnn()
    random = np.random.default_rng(2)
    data = random.normal(size=(120, 1, 28, 28)).astype(np.float32)
    data[90] = data[3]  # equal answers in different parts
    whole = top_examples(network, data, layer="3", k=6)
    cuts = [0, 4, 50, 51, 120]
    parts = [top_examples(network, data[a:b], layer="3", k=6, first=a) for a, b in pairwise(cuts)]
    a, b, c, d = parts
    for merged in (
        a.merged(b).merged(c).merged(d),
        a.merged(b.merged(c.merged(d))),
        d.merged(b).merged(c.merged(a)),
    ):
        np.testing.assert_array_equal(merged.indices, whole.indices)
        np.testing.assert_allclose(merged.values, whole.values, rtol=1e-5)
        np.testing.assert_array_equal(merged.places, whole.places)
        np.testing.assert_array_equal(merged.crop(5, 2), whole.crop(5, 2))
        np.testing.assert_allclose(merged.deconvolved(5, 2), whole.deconvolved(5, 2), rtol=1e-4, atol=1e-6)
        assert merged.count == 120
    assert b.indices.min() == 4, "merging changes no part"
    with pytest.raises(UsageError, match="Example 4 is in both parts"):
        whole.merged(b)
    with pytest.raises(UsageError, match="cannot be merged"):
        a.merged(top_examples(network, data[50:], layer="0", k=6, first=50))
    with pytest.raises(UsageError, match="another number of examples"):
        a.merged(top_examples(network, data[50:], layer="3", k=2, first=50))
