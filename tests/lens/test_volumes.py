"""The lens on networks of three dimensions: against captum, finite differences, and sums made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from epochal.errors import UsageError
from tests.lens.anchors import asked, captum, close, slopes

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor, nn  # noqa: E402

from epochal import lens  # noqa: E402
from epochal.lens.methods import METHODS, look  # noqa: E402
from epochal.lens.painting import Painting, Shaking  # noqa: E402
from epochal.lens.showing import scene  # noqa: E402
from epochal.picture import pictures, theme  # noqa: E402

assert captum
Array = npt.NDArray[Any]
SIDES = (6, 8, 10)
TARGET = 1


class Small(nn.Module):
    """Two convolutions on volumes; its sides differ, so that no two axes can be taken for one another."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.pool = nn.Conv3d(2, 4, 3, padding=1), nn.MaxPool3d(2)
        self.second = nn.Conv3d(4, 5, (3, 2, 3), padding=1)
        self.one, self.two = nn.ReLU(), nn.ReLU()
        self.out = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.two(self.second(self.pool(self.one(self.first(x)))))
        found: Tensor = self.out(y.mean(dim=(2, 3, 4)))
        return found


def network(kind: Any = torch.float32) -> Small:
    return Small().to(kind).eval()


def volume(kind: Any = np.float32) -> Array:
    return np.random.default_rng(5).normal(size=(2, *SIDES)).astype(kind)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("saliency", "Saliency"),
        ("input_x_gradient", "InputXGradient"),
        ("guided_backprop", "GuidedBackprop"),
        ("deconvolution", "Deconvolution"),
    ],
)
def test_gradients_are_as_captum_says(captum: Any, ours: str, theirs: str) -> None:
    how = {"abs": False} if ours == "saliency" else {}
    found = getattr(lens, ours)(network(), volume(), target=TARGET)
    expected = asked(getattr(captum, theirs)(network()), volume(), target=TARGET, **how)
    close(found.array, expected)
    assert found.map.shape == SIDES
    drawn = np.abs(expected).max(axis=0) if not found.signed else expected.sum(axis=0)
    close(found.map, drawn)


def test_saliency_is_the_slope_of_the_score() -> None:
    model = network(torch.float64)

    def score(batch: Array) -> Array:
        with torch.no_grad():
            answer: Array = model(torch.from_numpy(batch))[:, TARGET].numpy()
        return answer

    image = volume(np.float64)
    close(lens.saliency(model, image, target=TARGET).array, slopes(score, image), share=1e-5)


def test_integrated_gradients_add_up_and_are_as_captum_says(captum: Any) -> None:
    model, image = network(), volume()
    found = lens.integrated_gradients(model, image, target=TARGET, steps=64)
    with torch.no_grad():
        ends = model(torch.stack([torch.from_numpy(image), torch.zeros(2, *SIDES)]))[:, TARGET]
    assert found.array.sum() == pytest.approx(float(ends[0] - ends[1]), rel=2e-3)
    theirs = asked(captum.IntegratedGradients(model), image, target=TARGET, n_steps=256)
    close(found.array, theirs, share=0.02)


def test_grad_cam_is_as_captum_says_and_enlarged_in_three_directions(captum: Any) -> None:
    model, image = network(), volume()
    found = lens.grad_cam(model, image, target=TARGET, layer="second")
    inner = captum.LayerGradCam(model, model.second)
    coarse = asked(inner, image, target=TARGET, relu_attributions=True)[0]
    close(found.coarse, coarse)
    large = F.interpolate(torch.from_numpy(coarse)[None, None], size=SIDES, mode="trilinear", align_corners=False)
    close(found.map, large[0, 0].numpy())
    assert lens.grad_cam(model, image, target=TARGET).layer == "two"


def test_occlusion_is_the_fall_of_the_score(captum: Any) -> None:
    model, image = network(), volume()
    found = lens.occlusion(model, image, target=TARGET, window=(2, 4, 5), stride=(2, 4, 5))
    theirs = asked(
        captum.Occlusion(model), image, target=TARGET, sliding_window_shapes=(2, 2, 4, 5), strides=(2, 2, 4, 5)
    )
    close(found.array, theirs, share=1e-4)
    assert found.coarse is not None
    assert found.coarse.shape == (3, 2, 2)
    covered = torch.from_numpy(image).clone()[None]
    covered[:, :, 2:4, 4:8, 5:10] = 0
    with torch.no_grad():
        fall = float((model(torch.from_numpy(image)[None]) - model(covered))[0, TARGET])
    assert found.coarse[1, 1, 1] == pytest.approx(fall, rel=1e-3, abs=1e-6)


def test_relevance_is_kept() -> None:
    model = network()
    for layer in (model.first, model.second, model.out):
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    found = lens.lrp(model, volume(), target=TARGET)
    assert float(found.array.sum()) == pytest.approx(found.score, rel=0.02)


def test_feature_maps_are_what_the_layer_puts_out() -> None:
    model, image = network(), volume()
    found = lens.feature_maps(model, image, layer="first")
    with torch.no_grad():
        expected = model.first(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_allclose(found.array, expected, atol=1e-6)
    tiles = found.tiles(2)
    assert [int(name) for name, _ in tiles] == np.argsort(-np.abs(expected).mean(axis=(1, 2, 3)))[:2].tolist()
    assert tiles[0][1].shape == (112, 112, 3)


def test_kernels_lie_slice_beside_slice() -> None:
    model = network()
    found = lens.filters(model, layer="second", channel=2)
    weight = model.second.weight.detach().numpy()
    np.testing.assert_array_equal(found.array, weight)
    limit = np.abs(weight[:, 2]).max()
    shown = found.pictures()
    assert shown.shape == (5, 2, 9, 3)
    # Unit 3, slice 1, row 0, column 2: in the colour of its value on the layer's scale.
    value = weight[3, 2, 1, 0, 2] / limit
    like = found._scale("light").paint(np.array([[value * limit]]), theme("light"))[0, 0]
    assert shown[3, 0, 1 * 3 + 2].tolist() == like.tolist()
    assert lens.filters(model, layer="first").look == "components"
    assert found.film().axes == ("output", "input", "slice", "row", "column")
    transposed = nn.Sequential(nn.ConvTranspose3d(2, 4, 3)).eval()
    assert lens.filters(transposed, layer="0").array.shape == (4, 2, 3, 3, 3)


@pytest.mark.parametrize("size", [(8, 8, 8), (6, 9, 12), (32, 32)])
def test_a_volume_begins_as_faint_noise(size: tuple[int, ...]) -> None:
    def painting(seed: int) -> Painting:
        return Painting(1, size, seed=seed, decorrelated=False, device=torch.device("cpu"))

    found = torch.stack([painting(seed).plane().detach()[0, 0] for seed in range(32)])
    assert found.shape == (32, *size)
    assert float(found.std()) == pytest.approx(painting(0).expected_deviation(), rel=0.1)


def test_the_volume_that_a_class_answers_to_most() -> None:
    model = network()
    found = lens.maximize(model, target=TARGET, size=SIDES, steps=40)
    assert found.array.shape == (2, *SIDES)
    assert found.objective > found.start
    with torch.no_grad():
        said = float(model(torch.from_numpy(found.array)[None])[0, TARGET])
    assert said == pytest.approx(found.objective, rel=1e-4)
    assert found.volume is not None
    np.testing.assert_allclose(found.volume, 2 * found.array.mean(axis=0) - 1, atol=1e-5)
    assert found.pixels.shape == (8, 10 + 10 + 6 + 2, 3)
    assert found.film().axes == ("slice", "row", "column")
    with pytest.raises(UsageError, match="size has 2"):
        lens.maximize(model, target=TARGET, size=(8, 8), steps=2)
    one = lens.maximize(model, layer="first", channel=1, place=(2, 3, 4), size=SIDES, steps=8, shaken=False)
    with torch.no_grad():
        answer = float(model.first(torch.from_numpy(one.array)[None])[0, 1, 2, 3, 4])
    assert answer == pytest.approx(one.objective, rel=1e-4)
    with pytest.raises(UsageError, match="place has 2"):
        lens.maximize(model, layer="first", channel=1, place=(2, 3), size=SIDES, steps=2)


def test_a_ball_is_found_where_a_unit_looks_for_one() -> None:
    place = np.indices(SIDES)
    far = np.sqrt(sum((axis - middle) ** 2 for axis, middle in zip(place, (2, 5, 4), strict=True)))
    wanted = np.where(far < 2.6, 1.0, -0.4).astype(np.float32)
    unit = nn.Conv3d(1, 1, SIDES, bias=False)
    model = nn.Sequential(unit, nn.Flatten()).eval()
    unit.weight.data = torch.from_numpy(wanted[None, None])
    found = lens.maximize(model, target=0, size=SIDES, steps=160, shaken=False)
    assert found.volume is not None
    assert np.corrcoef(found.volume.ravel(), wanted.ravel())[0, 1] > 0.85
    assert found.objective > 0.7 * wanted[wanted > 0].sum()


def test_moves_of_a_volume_are_small_and_keep_its_axes() -> None:
    block = torch.zeros(1, 1, 9, 11, 13)
    block[0, 0, 6, 3, 9] = 1
    still = Shaking(shift=0, turn=0, zoom=0)(block, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(still, block, atol=1e-5)
    moved = Shaking()(block, torch.Generator().manual_seed(1))[0, 0]
    middles = [float((moved.sum(dim=[a for a in range(3) if a != axis]) * torch.arange(n)).sum() / moved.sum())
               for axis, n in enumerate((9, 11, 13))]  # fmt: skip
    assert middles == pytest.approx([6, 3, 9], abs=1.5)


def test_the_strongest_examples_of_a_channel() -> None:
    model = network()
    data = np.random.default_rng(8).normal(size=(12, 2, *SIDES)).astype(np.float32)
    found = lens.top_examples(model, data, layer="first", k=3)
    with torch.no_grad():
        answers = model.first(torch.from_numpy(data)).flatten(2).max(dim=2).values.numpy()
    for unit in range(4):
        order = np.argsort(-answers[:, unit], kind="stable")[:3]
        assert found.indices[unit].tolist() == order.tolist()
        np.testing.assert_allclose(found.values[unit], answers[order, unit], rtol=1e-5)
    assert found.crop(0).shape == (2, *SIDES)
    # What the answer comes from: nothing outside of the kernel's three places in each direction.
    back = found.deconvolved(0)
    place = np.unravel_index(int(model.first(torch.from_numpy(found.example(0))[None])[0, 0].argmax()), SIDES)
    assert np.abs(back).max() > 0
    near = tuple(slice(max(0, p - 1), p + 2) for p in place)
    outside = back.copy()
    outside[(slice(None), *near)] = 0
    assert not outside.any()
    assert all(pixels.shape == (168, 168, 3) for _, pixels in found.pictures(0))


def test_every_method_gives_something_that_can_be_drawn(tmp_path: Path) -> None:
    model, image = network(), volume()
    names = [name for name in METHODS if name not in ("maximize",)]
    few: Mapping[str, Mapping[str, Any]] = {
        "rise": {"masks": 24},
        "smoothgrad": {"samples": 4},
        "vargrad": {"samples": 4},
    }
    found: dict[str, Any] = {}
    for name in names:
        takes = METHODS[name].takes
        options = {n: o for n, o in few.items() if n == name}
        layer = "second" if "layer" in takes else None
        data = np.stack([image, -image]) if "data" in takes else None
        found |= look(model, image, [name], target=TARGET, layer=layer, data=data, options=options)
        result = found[name]
        assert result.save(tmp_path / f"{name}.png").stat().st_size > 500
        if METHODS[name].kind == "attribution":
            assert result.map.shape == SIDES, name
            assert np.isfinite(result.map).all()
    drawn = scene({"saliency": [found["saliency"]]}, None, title="t", captions=["step 3"], volume=image, moving=True)
    assert [panel.title.split(" ")[0] for panel in drawn.panels] == ["input", "saliency"]
    assert len(drawn.captions) == 48
    first, quarter = (np.asarray(p).astype(int) for p in pictures(drawn, [0, 12]))
    assert np.abs(first - quarter).max() > 60
    still = scene({"feature_maps": [found["feature_maps"]]}, None, title="t", captions=["step 3"], volume=image)
    assert len(still.captions) == 1


def test_the_command_draws_volumes_that_turn(tmp_path: Path) -> None:
    from epochal.cli.main import main

    program = torch.export.export(network(), (torch.zeros(1, 2, *SIDES),))
    torch.export.save(program, tmp_path / "net.pt2")
    np.save(tmp_path / "one.npy", volume())
    to = tmp_path / "turning.gif"
    words = ["lens", str(tmp_path / "net.pt2"), str(tmp_path / "one.npy"), "--method", "saliency,grad_cam"]
    assert main([*words, "--target", "1", "--to", str(to), "--fps", "12"]) == 0
    with Image.open(to) as gif:
        assert getattr(gif, "n_frames", 1) == 48
    assert main([*words, "--to", str(tmp_path / "still.png")]) == 0


@pytest.mark.parametrize("method", ["saliency", "grad_cam"])
def test_maps_of_volumes_are_checked_with_random_weights(method: str, tmp_path: Path) -> None:
    """The rank correlation is that of SciPy over all voxels, and the check can be saved as cubes."""
    stats = pytest.importorskip("scipy.stats", reason="SciPy is not installed")
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(4, 4, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * 64, 3),
    )  # fmt: skip
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x = torch.rand(1, 8, 8, 8)
    found = lens.sanity_check(getattr(lens, method), net, x, target=1, stages="cascade")
    assert found.original.map.shape == (8, 8, 8)
    for one, correlation in zip(found.maps, found.correlations, strict=True):
        expected = stats.spearmanr(np.abs(found.original.map).ravel(), np.abs(one.map).ravel()).statistic
        assert correlation == pytest.approx(expected, abs=1e-9)
    film = found.film()
    assert film.frames.shape == (4, 8, 8, 8)
    assert film.axes == ("slice", "row", "column")
    found.save(tmp_path / "check.gif")
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_film_over_steps_shows_the_volume_beside_what_is_found() -> None:
    """What is the same at all steps has one frame, which stands at each of them."""
    net, volume = Small(), torch.rand(2, *SIDES).numpy()
    seen = {"saliency": [lens.saliency(net, volume, target=TARGET) for _ in range(3)]}
    drawn = scene(seen, None, title="film", captions=["a", "b", "c"], volume=volume, moving=True)
    frames = [np.asarray(one) for one in pictures(drawn)]
    assert len(frames) == 3
    assert frames[0].std() > 0
