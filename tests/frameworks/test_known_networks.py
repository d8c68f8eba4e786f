"""Graphs of architectures with known counts: layers, skip connections, parameters and multiply-adds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs PyTorch")

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from epochal.errors import NetworkError
from epochal.facts import Graph, find_groups, mark_skips
from epochal.frameworks.torch_graph import build_graph, export_network
from epochal.store import graph_from_json, graph_to_json
from tests.frameworks import known_networks as known

pytestmark = pytest.mark.torch
Draw = Callable[[nn.Module, Any], Graph]


def exported(network: nn.Module, inputs: Any) -> Graph:
    return export_network(network, inputs)[1]


both = pytest.mark.parametrize("draw", [exported, build_graph], ids=["export", "forward"])


def counted(network: nn.Module, inputs: torch.Tensor) -> int:
    """PyTorch's own count, which takes a multiply-add for two operations."""
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(inputs)
    return int(counter.get_total_flops()) // 2


def kinds(graph: Graph) -> Counter[str]:
    return Counter(layer.kind for layer in graph.layers)


@both
def test_resnet_18(draw: Draw) -> None:
    network = known.ResNet(known.BasicBlock, (2, 2, 2, 2))
    graph = draw(network, torch.randn(1, 3, 224, 224))
    assert (graph.parameter_count, graph.multiply_adds) == (11_689_512, 1_814_073_344), "as published"
    # The stem, eight blocks of two convolutions, three projections; a sum at the end of each block.
    found = kinds(graph)
    assert (found["Conv2d"], found["BatchNorm2d"], found["Linear"]) == (1 + 2 * 8 + 3, 20, 1)
    assert (found["add"], found["ReLU"]) == (8, 17)
    assert len(graph.layers) == 20 + 20 + 17 + 8 + 1 + len(("x", "maxpool", "avgpool", "flatten", "output"))
    assert sum(edge.skip for edge in graph.edges) == len(graph.skips) == 8
    identities = [skip for skip in graph.skips if not skip.through]
    assert len(identities) == 5
    projection = next(skip for skip in graph.skips if skip.through)
    assert projection.source == "layer1.1.relu@2"
    assert projection.through == ("layer2.0.downsample.0", "layer2.0.downsample.1")
    assert projection.target.startswith("layer2.0.")
    groups = {group.group_id: group for group in graph.groups}
    assert Counter(group.kind for group in graph.groups) == {"Sequential": 4 + 3, "BasicBlock": 8}
    assert groups["layer2.0.downsample"].parent == "layer2.0"
    assert groups["layer1.0"].layers[:2] == ("layer1.0.conv1", "layer1.0.bn1")
    assert graph.shared["layer1.0.relu"] == ("layer1.0.relu", "layer1.0.relu@2")
    assert graph_from_json(graph_to_json(graph)) == graph


@both
def test_resnet_50(draw: Draw) -> None:
    network = known.ResNet(known.Bottleneck, (3, 4, 6, 3))
    graph = draw(network, torch.randn(2, 3, 64, 64))
    assert graph.parameter_count == 25_557_032, "as published"
    assert graph.multiply_adds == counted(network, torch.randn(1, 3, 64, 64))
    assert kinds(graph)["Conv2d"] == 1 + 3 * 16 + 4
    assert len(graph.layers) == 53 + 53 + (1 + 3 * 16) + 16 + 1 + 5
    assert Counter(len(skip.through) for skip in graph.skips) == {0: 12, 2: 4}
    # Each arrow leads to a layer; behind a projection two ways lead to one sum.
    assert len(graph.edges) == len(graph.layers) - 1 + 16


@both
def test_efficientnet_lite0(draw: Draw) -> None:
    network = known.EfficientNetLite0()
    graph = draw(network, torch.randn(2, 3, 64, 64))
    assert graph.parameter_count == 4_652_008, "as published"
    assert graph.multiply_adds == counted(network, torch.randn(1, 3, 64, 64))
    repeats = [stage[-1] for stage in known.EFFICIENT_STAGES]
    assert len(graph.skips) == sum(n - 1 for n in repeats) == 9
    assert all(not skip.through for skip in graph.skips)
    assert kinds(graph)["Conv2d"] == 1 + (3 * sum(repeats) - 1) + 1, "the first block does not widen"
    assert Counter(group.kind for group in graph.groups)["MBConv"] == sum(repeats)


@both
def test_densenet(draw: Draw) -> None:
    counts = (3, 4, 2)
    network = known.DenseNet(counts, growth=8)
    graph = draw(network, torch.randn(2, 3, 32, 32))
    # A block of L layers has L(L+1)/2 connections more than a chain has (Huang et al. 2016, section 3).
    assert len(graph.skips) == sum(n * (n + 1) // 2 for n in counts)
    assert all(skip.target.rpartition(".")[2].startswith("cat") for skip in graph.skips)
    assert graph.multiply_adds == counted(network, torch.randn(1, 3, 32, 32))


def test_densenet_121_is_drawn_as_published() -> None:
    graph = build_graph(known.DenseNet((6, 12, 24, 16)), torch.randn(1, 3, 32, 32))
    assert graph.parameter_count == 7_978_856
    assert len(graph.skips) == 21 + 78 + 300 + 136


@both
@pytest.mark.parametrize("depth", [2, 4])
def test_unet(draw: Draw, depth: int) -> None:
    network = known.UNet(depth)
    graph = draw(network, torch.randn(2, 1, 32, 32))
    assert [skip.source for skip in graph.skips] == [f"downs.{i}.3" for i in reversed(range(depth))]
    assert graph.multiply_adds == counted(network, torch.randn(1, 1, 32, 32))
    assert kinds(graph)["Conv2d"] == 2 * (depth + 1) + 2 * depth + 1


@both
@pytest.mark.parametrize("fused", [True, False])
def test_a_transformer_block(draw: Draw, fused: bool) -> None:
    width, tokens = 16, 5
    graph = draw(known.Block(width, 4, fused=fused), torch.randn(3, tokens, width))
    assert [(skip.source, skip.through) for skip in graph.skips] == [("x", ()), ("add", ())]
    assert graph.parameter_count == 4 * (width * width + width) + 2 * 4 * width * width + 5 * width + 2 * 2 * width
    attention = 4 * tokens * width * width + 2 * tokens * tokens * width
    assert graph.multiply_adds == attention + 8 * tokens * width * width


@both
def test_a_block_that_is_used_twice_is_two_groups(draw: Draw) -> None:
    graph = draw(known.Tied(), torch.randn(3, 5, 8))
    assert [group.group_id for group in graph.groups if group.kind == "Block"] == ["block", "block@2"]
    assert graph.shared["block.norm1"] == ("block.norm1", "block.norm1@2")
    assert len(graph.skips) == 4
    once = 4 * 5 * 64 + 2 * 25 * 8 + 8 * 5 * 64
    assert graph.multiply_adds == 2 * once + 5 * 64
    assert graph.parameter_count == sum(p.numel() for p in known.Tied().parameters())


def test_a_forward_that_decides_is_seen_running() -> None:
    network = known.Deciding()
    with pytest.raises(NetworkError, match="data-dependent"):
        export_network(network, torch.randn(2, 4))
    graph = build_graph(network, torch.randn(2, 4))
    assert [(skip.source, skip.target) for skip in graph.skips] == [("x", "add")]
    assert graph.multiply_adds == 32


@both
def test_gates_and_norms_are_no_skips(draw: Draw) -> None:
    graph = draw(known.Gated(), torch.randn(3, 8))
    assert len(graph.edges) > len(graph.layers) - 1
    assert graph.skips == ()


class Recurrent(nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.cell, self.out = kind(3, 8, num_layers=2, batch_first=True, bidirectional=True), nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(self.cell(x)[0])
        return out


@both
@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_recurrent_layers_use_each_weight_at_each_step(draw: Draw, kind: Any, gates: int) -> None:
    graph = draw(Recurrent(kind), torch.randn(4, 7, 3))
    first, second = 2 * gates * 8 * (3 + 8), 2 * gates * 8 * (16 + 8)
    assert graph.multiply_adds == 7 * (first + second + 16 * 2)


@both
def test_attention_of_pytorch_itself(draw: Draw) -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    graph = draw(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.randn(3, 5, 16))
    assert graph.multiply_adds == 2 * (4 * 5 * 256 + 2 * 25 * 16 + 2 * 5 * 16 * 32)
    assert len(graph.skips) == 4


class Across(nn.Module):
    """Attention from one sequence to another of a different length and width."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, batch_first=True)

    def forward(self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.attention(x, keys, values, need_weights=False)[0]
        return out


@both
def test_attention_across(draw: Draw) -> None:
    graph = draw(Across(), (torch.randn(3, 5, 8), torch.randn(3, 7, 6), torch.randn(3, 7, 4)))
    assert graph.multiply_adds == 2 * 5 * 64 + 7 * 8 * (6 + 4) + 2 * 5 * 7 * 8
    assert [(skip.source, skip.through) for skip in graph.skips] == [("x", ())]


class Products(nn.Module):
    """Products that no layer makes."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Parameter(torch.randn(2, 6)), nn.Parameter(torch.randn(6, 2))
        self.turned = nn.ConvTranspose1d(4, 3, 5, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x @ (self.high @ self.low)
        y = torch.einsum("btc,bsc->bts", y, y)
        return torch.addmm(torch.zeros(3), self.turned(y)[:, :, 0], torch.eye(3))


@both
def test_products_outside_of_layers_are_counted(draw: Draw) -> None:
    graph = draw(Products(), torch.randn(2, 4, 6))
    assert graph.multiply_adds == 6 * 6 * 2 + 4 * 36 + 4 * 4 * 6 + 16 * 15 + 9


class FixedBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x.view(6, 4))
        return out


def test_a_fixed_batch_is_shared_out() -> None:
    graph = exported(FixedBatch(), torch.randn(6, 4))
    assert "fixed at 6" in graph.note
    assert graph.multiply_adds == 12


def test_facts_of_layers_that_other_tools_call_by_one_name() -> None:
    network = nn.Sequential(nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3), nn.ReLU())
    network[0].requires_grad_(False)
    graph = build_graph(network, torch.randn(2, 4))
    linear, batch, relu = graph.layers[1:4]
    assert (linear.units, linear.dtype, linear.trainable, linear.nbytes) == (3, "float32", False, 48)
    assert linear.attributes["use_bias"] is False
    assert (batch.trainable, batch.nbytes) == (True, 4 * 12 + 8)
    assert (relu.units, relu.dtype, relu.trainable, relu.multiply_adds) == (None, None, None, 0)
    assert graph.nbytes == 48 + 56


def test_structure_is_read_off_any_graph() -> None:
    graph = build_graph(known.ResNet(known.BasicBlock, (1, 1), 10), torch.randn(1, 3, 32, 32))
    assert mark_skips(graph.layers, graph.edges) == graph.edges
    derived = {group.group_id for group in find_groups(graph.layers)}
    assert derived == {group.group_id for group in graph.groups}
