"""Multiply-adds of PyTorch's ONNX exports: those that PyTorch's own counter sees in the network itself."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch")
pytest.importorskip("onnx", reason="PyTorch writes ONNX files with onnx, which is not installed")
pytest.importorskip("onnxscript", reason="PyTorch writes ONNX files with onnxscript, which is not installed")

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from epochal.network.onnx import read_onnx
from tests.frameworks import known_networks as known

pytestmark = [pytest.mark.torch, pytest.mark.slow]
BATCH = 2

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "grouped": lambda: nn.Conv2d(8, 12, 3, groups=4, stride=2, dilation=2),
    "depthwise": lambda: nn.Conv2d(8, 16, 3, groups=8, padding=1),
    "transposed": lambda: nn.ConvTranspose2d(8, 12, 3, stride=2, groups=4, output_padding=1),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(8 * 16 * 16, 5), nn.ReLU(), nn.Linear(5, 3, bias=False)),
    "shared": lambda: nn.Sequential(*[nn.Conv2d(8, 8, 3, padding=1)] * 2),
    "resnet": lambda: nn.Sequential(nn.Conv2d(8, 3, 1), known.ResNet(known.BasicBlock, (2, 2, 2, 2), 10)),
    "unet": lambda: nn.Sequential(nn.Conv2d(8, 1, 1), known.UNet(3, 4)),
    "attention": lambda: nn.Sequential(
        nn.Flatten(2), nn.TransformerEncoderLayer(256, 4, 32, batch_first=True, dropout=0.0)
    ),
}


CASES = [(name, batch) for name in NETWORKS for batch in ("fixed", "any") if (name, batch) != ("attention", "any")]
"""Attention over an open batch is written with sizes that the file works out as it runs: these it does not tell."""


@pytest.mark.parametrize(("name", "batch"), CASES)
def test_as_pytorch_counts_them(name: str, batch: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, x = NETWORKS[name]().eval(), torch.randn(BATCH, 8, 16, 16)
    with torch.no_grad():
        for parameter in network.parameters():  # what is alike is written once
            parameter.copy_(torch.randn(parameter.shape))
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        math = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
        with FlopCounterMode(display=False) as counter, math, torch.no_grad():
            network(x)
        shapes = ({0: torch.export.Dim("batch")},) if batch == "any" else None
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # PyTorch warns of its own
            torch.onnx.export(network, (x,), tmp_path / "net.onnx", dynamo=True, dynamic_shapes=shapes, verbose=False)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    graph, _ = read_onnx(tmp_path / "net.onnx")
    assert None not in [layer.multiply_adds for layer in graph.layers]
    assert graph.multiply_adds == counter.get_total_flops() // 2 // BATCH
    if name != "resnet":  # its batch normalisation is folded into the convolutions
        assert graph.parameter_count == sum(p.numel() for p in network.parameters())
