"""Networks by name: runs at a step, files, libraries; and code from the command line only."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from epochal.errors import MissingExtraError, NotFoundError, UsageError
from epochal.network import Preparation
from epochal.network.sources import open_code, open_source

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch


def small() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(3, 2))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    model = small()
    with epochal.init(project="p", name="n", dir=tmp_path, strict=True) as run:
        run.watch(model, inputs=torch.zeros(2, 4))
        for step in (5, 9):
            with torch.no_grad():
                model[0].bias.fill_(step)
            run.log({"loss": 1.0}, step=step)
            run.snapshot(step)
    return tmp_path


def test_a_run_at_a_step(runs: Path) -> None:
    for text, step in [("latest@5", 5), ("p/n@last", 9), ("latest", 9)]:
        network = open_source(text, root=runs)
        assert network.step == step
        assert network.state()["0.bias"].tolist() == [step] * 3
    assert open_source("latest@first", root=runs).step == 0  # as it was when it began to be watched
    with pytest.raises(NotFoundError, match="step 6"):
        open_source("latest@6", root=runs)
    with pytest.raises(UsageError, match="no step"):
        open_source("latest@soon", root=runs)
    with pytest.raises(NotFoundError):
        open_source("nobody", root=runs)


def test_a_module_is_left_in_its_modes_and_asked_in_eval_mode() -> None:
    module = small().train()
    module[3].eval()
    network = epochal.Network.from_torch(module, input_shape=[4], classes=["a", "b"])
    x = np.random.default_rng(0).normal(size=(5, 4))
    answer = network(x)
    assert [part.training for part in module] == [True, True, True, False]
    with torch.no_grad():
        np.testing.assert_array_equal(answer, module.eval()(torch.from_numpy(x).float()).numpy())
    assert (network.input_shape, network.classes, repr(network)) == (
        (4,), ("a", "b"), "<Network network as it is, takes x [any, 4]>",
    )  # fmt: skip
    gradient = network.input_gradients(x, [0, 1, 0, 1, 1])
    moved = x[1] + np.eye(4) * 1e-3
    expected = (network(moved)[:, 1] - network(x[1:2])[0, 1]) / 1e-3
    np.testing.assert_allclose(gradient[1], expected, atol=1e-3)


def test_code_is_not_loaded_by_name_but_where_it_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hers.py").write_text(
        "import torch\nfrom pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n"
        "def make():\n    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Dropout(), "
        "torch.nn.Linear(3, 2))\nnumber = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match="command line only"):
        epochal.Network.open("hers:make")
    assert not (tmp_path / "hers.ran").exists()
    arrays = {name: value.numpy() for name, value in small().state_dict().items()}
    np.savez(tmp_path / "w.npz", **arrays)
    network = open_code("hers:make", weights=tmp_path / "w.npz")
    assert (tmp_path / "hers.ran").exists()
    np.testing.assert_array_equal(network.state()["3.weight"], arrays["3.weight"])
    np.savez(tmp_path / "w.npz", **{"0.weight": np.zeros((2, 2)), "x": np.zeros(1)})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"lacks 0\.bias.*has no x.*0\.weight is \[2, 2\] in the file, \[3, 4\]"):
        open_code("hers:make", weights=tmp_path / "w.npz")
    for word, kind in [("hers:nothing", NotFoundError), ("hers:number", UsageError), ("no_such:make", NotFoundError)]:
        with pytest.raises(kind):
            open_code(word)
    sys.modules.pop("hers", None)


def test_what_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("efficientnet_lite_pytorch", "timm"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match="pretrained"):
        epochal.Network.open("epochal:efficientnet-lite0")
    with pytest.raises(MissingExtraError, match="timm"):
        epochal.Network.open("timm:resnet18")
    with pytest.raises(NotFoundError, match="There is epochal:efficientnet-lite0"):
        epochal.Network.open("epochal:other")
    with pytest.raises(UsageError, match="no name of a model"):
        epochal.Network.open("timm:a b")


def test_a_model_of_transformers_from_a_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="Hugging Face Transformers is not installed")
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=2,
        id2label={0: "left, west", 1: "right"}, label2id={"left, west": 0, "right": 1},
    )  # fmt: skip
    model = transformers.ResNetForImageClassification(config).eval()
    model.save_pretrained(tmp_path)
    network = open_source(f"transformers:{tmp_path}")
    assert network.classes == ("left", "right")
    x = np.random.default_rng(0).normal(size=(2, *(network.input_shape or ()))).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_array_equal(network(x), model(pixel_values=torch.from_numpy(x)).logits.numpy())


@pytest.mark.parametrize(
    "preparation",
    [
        Preparation(size=(6, 5), mean=(0.1, 0.2, 0.3), deviation=(0.5,), reversed=True),
        Preparation(size=(6, 5), mean=(127 / 255,), deviation=(128 / 255,), channels_last=True),
    ],
)
def test_pixels_come_back_from_what_they_were_made_into(preparation: Preparation) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    made = preparation.input(pixels)
    assert made.shape == preparation.input_shape
    np.testing.assert_array_equal(preparation.pixels(made), pixels)
    if preparation.channels_last:
        np.testing.assert_allclose(made, (pixels.astype(float) - 127) / 128, atol=1e-6)


def test_grey() -> None:
    preparation = Preparation(size=(2, 2), channels=1)
    white_and_green = np.array([[[255, 255, 255], [0, 255, 0]]] * 2, np.uint8)
    np.testing.assert_allclose(preparation.input(white_and_green)[0, 0], [1, 0.587], atol=1e-6)
    assert preparation.pixels(preparation.input(np.full((2, 2), 9, np.uint8))).tolist() == [[[9] * 3] * 2] * 2
