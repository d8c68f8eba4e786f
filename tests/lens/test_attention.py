"""Attention against a transformer written by hand, PyTorch's own weights, and those of Hugging Face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from epochal import lens
from epochal.errors import NotFoundError, UsageError

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor, nn  # noqa: E402

from tests.attending import Windows  # noqa: E402


class Block(nn.Module):
    """One layer written out: it keeps the weights of its heads."""

    def __init__(self, width: int, heads: int, how: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.heads, self.how = heads, how
        self.kept = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1)) / (width // self.heads) ** 0.5
        if self.how == "causal":
            scores = scores.masked_fill(torch.ones(t, t).triu(1).bool(), float("-inf"))
        weights = scores.softmax(dim=-1)  # with "fused" it weighs nothing, and is not taken for attention
        if not torch.compiler.is_exporting():
            self.kept = weights.detach()
        if self.how == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v)
        elif self.how == "einsum":
            mixed = torch.einsum("nhts,nhsd->nhtd", F.dropout(weights, 0.5, self.training), v)
        else:
            mixed = weights @ v
        added: Tensor = self.out(mixed.transpose(1, 2).reshape(n, t, width))
        return x + added


class Vision(nn.Module):
    """Patches of 4 x 4, a token of the class, two layers."""

    def __init__(self, how: str = "plain", layers: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.cls = nn.Parameter(torch.randn(1, 1, 16))
        self.places = nn.Parameter(torch.randn(1, 13, 16))
        self.blocks = nn.Sequential(*(Block(16, 4, how) for _ in range(layers)))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        flow = self.patches(x).flatten(2).transpose(1, 2)
        flow = torch.cat([self.cls.expand(len(x), -1, -1), flow], dim=1) + self.places
        scores: Tensor = self.head(self.blocks(flow)[:, 0]).softmax(dim=-1)
        return scores


def vision(how: str) -> tuple[Vision, Tensor]:
    torch.manual_seed(0)
    return Vision(how), torch.randn(3, 12, 16)


@pytest.mark.parametrize("how", ["plain", "einsum", "causal", "fused"])
def test_they_are_the_weights_that_the_network_itself_has(how: str) -> None:
    net, x = vision(how)
    net.train()
    found = lens.attention(net, x)
    assert net.training
    assert found.layers == ("blocks.0", "blocks.1")
    net.eval()(x[None])
    for block, weights in zip(net.blocks, found.weights, strict=True):
        assert isinstance(block, Block)
        np.testing.assert_allclose(weights, block.kept[0].numpy(), atol=1e-6)
    assert found.grid == (3, 4)
    assert found.special == 1
    assert found.numbers == {"layers": 2, "heads": 8, "tokens": 13}


def test_the_rollout_is_that_of_the_paper_and_maps_are_rows_of_it() -> None:
    net, x = vision("plain")
    found = lens.attention(net, x)
    net.eval()(x[None])
    rolled = np.eye(13)
    for block in net.blocks:
        assert isinstance(block, Block)
        mean = block.kept[0].double().mean(dim=0).numpy()
        rolled = (mean + np.eye(13)) / 2 @ rolled
    np.testing.assert_allclose(found.rollout, rolled, atol=1e-6)
    np.testing.assert_allclose(found.rollout.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found.map(), rolled[0, 1:].reshape(3, 4), atol=1e-6)
    np.testing.assert_allclose(found.map("blocks.1", 2, query=5), found.weights[1][2][5, 1:].reshape(3, 4))
    one = lens.attention(net, x, layers=["blocks.1"])
    assert one.layers == ("blocks.1",)
    np.testing.assert_array_equal(one.weights[0], found.weights[1])


def test_multihead_attention_of_pytorch_and_its_fast_path() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    net = nn.Sequential(encoder, nn.Flatten(), nn.Linear(96, 3)).eval()
    x = torch.randn(6, 16)
    before = torch.backends.mha.get_fastpath_enabled()
    found = lens.attention(net, x)
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert found.layers == ("0.layers.0.self_attn", "0.layers.1.self_attn")
    flow = x[None]
    for i, one in enumerate(encoder.layers):
        _, expected = one.get_submodule("self_attn")(flow, flow, flow, need_weights=True, average_attn_weights=False)
        np.testing.assert_allclose(found.weights[i], expected[0].detach().numpy(), atol=1e-6)
        flow = one(flow)
    assert found.grid is None


def test_an_exported_program_attends_as_its_module(tmp_path: Path) -> None:
    for how in ("plain", "fused"):
        net, x = vision(how)
        with epochal.init(project="p", dir=tmp_path, strict=True) as recording:
            recording.watch(net, inputs=x[None])
            recording.log({"loss": 0.0}, step=1)
            recording.snapshot(1)
        run: Any = epochal.open(tmp_path).run("latest")
        live, exported = lens.attention(net, x), lens.attention(run.network(1), x)
        assert exported.layers == live.layers
        assert exported.step == 1
        for a, b in zip(live.weights, exported.weights, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    film = lens.film(lens.attention, run, image=x)
    np.testing.assert_allclose(film[1], exported.map(), atol=1e-6)


@pytest.mark.transformers
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_models_of_hugging_face_have_the_weights_that_they_put_out(implementation: str) -> None:
    transformers = pytest.importorskip("transformers", reason="Transformers is not installed")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    vit = transformers.ViTConfig(**sizes, image_size=32, patch_size=8, attn_implementation="eager")
    bert = transformers.BertConfig(**sizes, vocab_size=50, attn_implementation="eager")
    gpt = transformers.GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, attn_implementation="eager")
    tokens = torch.tensor([3, 7, 11, 13, 2])
    for config, kind, given in (
        (vit, transformers.ViTForImageClassification, torch.randn(3, 32, 32)),
        (bert, transformers.BertForSequenceClassification, tokens),
        (gpt, transformers.GPT2LMHeadModel, tokens),
    ):
        model = kind(config).eval()
        with torch.no_grad():
            expected = model(given[None], output_attentions=True).attentions
        model.set_attn_implementation(implementation)
        found = lens.attention(model, given)
        assert len(found.weights) == 2
        for a, b in zip(found.weights, expected, strict=True):
            np.testing.assert_allclose(a, b[0].numpy(), atol=1e-5)
    padded = {"input_ids": tokens, "attention_mask": torch.tensor([1, 1, 1, 0, 0])}
    model = transformers.BertForSequenceClassification(bert).eval()
    model.set_attn_implementation(implementation)
    found = lens.attention(model, padded, tokens=["a", "b", "c", "-", "-"])
    assert found.weights[0][:, :, 3:].max() < 1e-6
    assert found.tokens == ("a", "b", "c", "-", "-")


@pytest.mark.parametrize("weights", [False, True])
def test_attention_within_windows_has_neither_rollout_nor_map(weights: bool, tmp_path: Path) -> None:
    net = Windows(weights=weights)  # with weights, heads and windows lie in one axis
    x = torch.rand(1, 8, 8)
    with epochal.init(project="p", dir=tmp_path, strict=True) as recording:
        recording.watch(net, inputs=x[None].repeat(2, 1, 1, 1))
        recording.log({"loss": 0.0}, step=1)
        recording.snapshot(1)
    for network in (net, epochal.open(tmp_path).run("latest").network(1)):
        found = lens.attention(network, x)
        assert found.windowed
        assert not found.has_rollout
        assert found.weights[0].shape == (8, 4, 4)
        for ask in (found.of, found.film, found.scene):
            with pytest.raises(UsageError, match="attends within windows"):
                ask()


def test_what_attends_nowhere_and_bad_input() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=-1))
    with pytest.raises(UsageError, match="Nothing in this network attends"):
        lens.attention(net, torch.zeros(4))
    vit, x = vision("plain")
    with pytest.raises(NotFoundError, match="no attention in a layer 'head'"):
        lens.attention(vit, x, layers=["head"])
    with pytest.raises(UsageError, match="13 tokens and 2 names"):
        lens.attention(vit, x, tokens=["a", "b"])
    found = lens.attention(vit, x)
    with pytest.raises(NotFoundError, match="no attention 'x'"):
        found.of("x")
    with pytest.raises(NotFoundError, match="heads 0 to 3"):
        found.of(0, 4)


def test_pictures(tmp_path: Path) -> None:
    net, x = vision("plain")
    found = lens.attention(net, x)
    photo = np.zeros((12, 16, 3), np.uint8)
    for suffix in ("png", "svg", "npz"):
        found.save(tmp_path / f"attention.{suffix}", photo=photo)
        assert (tmp_path / f"attention.{suffix}").stat().st_size > 200
    with np.load(tmp_path / "attention.npz") as held:
        np.testing.assert_array_equal(held["blocks.0"], found.weights[0])
    words = nn.Sequential(nn.Embedding(9, 16), Block(16, 4, "causal"), nn.Flatten(), nn.Linear(48, 2))
    told = lens.attention(words, np.array([1, 5, 2]), tokens=["the", "cat", "sat"])
    assert np.triu(told.weights[0], 1).max() == 0
    told.save(tmp_path / "words.png", theme="dark")
