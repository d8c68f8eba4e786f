"""Event files that PyTorch's own SummaryWriter writes, held against the graph that Epochal draws of each network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs PyTorch")
pytest.importorskip("tensorboard", reason="needs TensorBoard")

import torch
from torch import nn

from epochal.facts import Graph
from epochal.frameworks.torch_graph import build_graph
from epochal.network.graph_files import read_graph_file
from tests.frameworks import known_networks as known

pytestmark = [
    pytest.mark.torch,
    # Of torch.jit, which the writer uses.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning"),
]


def written(network: nn.Module, inputs: Any, folder: Path) -> Graph:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))
    writer.add_scalar("loss", 1.0, 0)
    writer.add_graph(network.eval(), inputs)
    writer.close()
    graph, arrays = read_graph_file(next(folder.glob("*tfevents*")))
    assert arrays == {}
    return graph


class Twice(nn.Module):
    """Two inputs, a layer used twice in a row, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(3, 4)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.one(self.one(x)) + self.two(y), x


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (lambda: known.ResNet(known.BasicBlock, (2, 1, 1)), torch.zeros(2, 3, 32, 32)),
        (lambda: known.ResNet(known.Bottleneck, (1, 2)), torch.zeros(2, 3, 32, 32)),
        (lambda: known.Block(16, 4, fused=False), torch.zeros(3, 5, 16)),
        (lambda: known.Block(16, 4, fused=True), torch.zeros(3, 5, 16)),
        (known.Tied, torch.zeros(3, 5, 8)),
        (known.Gated, torch.zeros(3, 8)),
        (Twice, (torch.zeros(2, 4), torch.zeros(2, 3))),
    ],
    ids=["residual", "bottleneck", "transformer", "fused", "tied", "gated", "twice"],
)
def test_the_same_network_is_drawn_from_its_event_file(tmp_path: Path, network: Any, inputs: Any) -> None:
    module = network()
    graph, ours = written(module, inputs, tmp_path), build_graph(module, inputs)
    in_place = re.compile(r"\biadd\b")
    assert [layer.layer_id for layer in graph.layers] == [in_place.sub("add", la.layer_id) for la in ours.layers]
    assert [layer.kind for layer in graph.layers] == [in_place.sub("add", la.kind).strip("_") for la in ours.layers]
    assert [(e.source, e.target) for e in graph.edges] == [
        (in_place.sub("add", e.source), in_place.sub("add", e.target)) for e in ours.edges
    ]
    assert [edge.skip for edge in graph.edges] == [edge.skip for edge in ours.edges]
    assert [skip.through for skip in graph.skips] == [skip.through for skip in ours.skips]
    assert [layer.activation for layer in graph.layers] == [layer.activation for layer in ours.layers]
    assert [(g.group_id, g.kind, g.parent) for g in graph.groups] == [
        (g.group_id, g.kind, g.parent) for g in ours.groups
    ]
    assert graph.shared == ours.shared
    batch = (inputs[0] if isinstance(inputs, tuple) else inputs).shape[0]
    assert [la.outputs[:1] for la in graph.layers if la.role == "module"] == [
        tuple((batch, *shape[1:]) for shape in la.outputs[:1]) for la in ours.layers if la.role == "module"
    ]
    assert "not counted" in graph.note
    assert graph.multiply_adds is None


def test_lists_of_modules_have_no_names_there(tmp_path: Path) -> None:
    graph = written(known.UNet(2), torch.zeros(1, 1, 32, 32), tmp_path)
    ours = build_graph(known.UNet(2), torch.zeros(1, 1, 32, 32))
    assert (len(graph.layers), len(graph.edges)) == (len(ours.layers), len(ours.edges))
    assert [skip.target for skip in graph.skips] == ["cat", "cat_2"]
    assert {layer.kind for layer in graph.layers} >= {"ConvTranspose2d", "Conv2d", "MaxPool2d"}


def test_settings_and_what_a_layer_holds(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4, eps=1e-3), nn.Dropout(0.25))
    graph = written(network, torch.zeros(1, 3, 8, 8), tmp_path)
    conv, norm, drop = graph.layers[1:4]
    assert (conv.attributes["stride"], conv.attributes["padding"], conv.attributes["groups"]) == ([2, 2], [1, 1], 1)
    assert conv.attributes["tensors"] == "weight, bias"
    assert norm.attributes["eps"] == pytest.approx(1e-3)
    assert drop.attributes["p"] == 0.25


def test_recurrent_and_embedded(tmp_path: Path) -> None:
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.cell, self.out = nn.Embedding(10, 3), nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.out(torch.relu(self.cell(self.words(x))[0][:, -1]))
            return out

    graph = written(Reading(), torch.zeros(2, 5, dtype=torch.long), tmp_path)
    assert [layer.kind for layer in graph.layers] == [
        "input", "Embedding", "LSTM", "slice", "select", "relu", "Linear", "output",
    ]  # fmt: skip
    assert graph.layers[2].outputs == ((2, 5, 8),)
    assert "weight_hh_l0" in graph.layers[2].attributes["tensors"]
