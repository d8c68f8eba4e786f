"""Convolutional networks in one, two and three dimensions from a dictionary of parameters.

Per stage: convolution, activation, batch norm, pooling. Then flatten; per dense layer: linear, activation, dropout; and
the output.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from epochal.demos.convnet_plan import Dense, Plan, Stage, plan_network

__all__ = ["ConvNet", "convnet1d", "convnet2d", "convnet3d"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "selu": nn.SELU, "gelu": nn.GELU, "silu": nn.SiLU,
    "mish": nn.Mish, "softplus": nn.Softplus, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
}  # fmt: skip
_CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS: tuple[type[nn.Module], ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_POOLS: dict[str, tuple[type[nn.Module], ...]] = {
    "max": (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    "average": (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
}
_ZEROS: tuple[type[nn.Module], ...] = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)


class ConvNet(nn.Module):
    """Stages of convolutions, dense layers, and scores of the classes [n, classes]; `plan` tells all sizes."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        dimensions = len(plan.shape) - 1
        for at, stage in enumerate(plan.stages, start=1):
            self.add_module(f"stage{at}", _stage(stage, dimensions))
        self.flatten = nn.Flatten()
        if plan.flat_dropout:
            self.dropout = nn.Dropout(plan.flat_dropout)
        for at, dense in enumerate(plan.dense, start=1):
            self.add_module(f"dense{at}", _dense(dense))
        self.output = _linear(plan.output)

    def forward(self, x: Tensor) -> Tensor:
        """Scores for examples [n, channels, sizes...], [n, sizes...] where there is one channel, or flat rows."""
        x = x.reshape(x.shape[0], *self.plan.shape)
        for part in self.children():
            x = part(x)
        return x


def convnet3d(
    *,
    input_shape: Sequence[int] = (16, 16, 16),
    classes: int = 10,
    filters: int | Sequence[int] = (8, 16),
    kernel_sizes: int | Sequence[Any] = 3,
    pool_sizes: int | Sequence[Any] = 2,
    dense: int | Sequence[int] = (64,),
    dropout: float | Sequence[float] = 0.5,
    activation: str | Sequence[str] = "relu",
    batch_norm: bool | Sequence[bool] = True,
    padding: str | int | Sequence[Any] = "same",
    stride: int | Sequence[Any] = 1,
    pooling: str | Sequence[str] = "max",
    initialiser: str | Sequence[str] = "default",
) -> ConvNet:
    """A three-dimensional network for examples [depth, height, width] or [channels, depth, height, width].

    `filters`, `kernel_sizes`, `pool_sizes`, `batch_norm`, `padding`, `stride` and `pooling` have one entry for each
    stage, or one for all; an entry of `kernel_sizes`, `pool_sizes`, `padding` and `stride` is a number for all axes or
    a list of one for each. `padding` is "same", "valid" or zeros on each side; `pooling` "max", "average" or "none".
    `dense` are the sizes of the dense layers, `dropout` what is dropped after each of them (after flattening where
    there is none). `activation` and `initialiser` have an entry for all, for each stage, or for each stage and each
    dense layer.

    Raises UsageError where lists are of unequal length, a word is not known, or a stage leaves nothing of its input.

    >>> convnet3d(filters=[8, 16], kernel_sizes=[3, 3], pool_sizes=[2, 2], dense=32).plan.stages[-1].leaving
    (4, 4, 4)
    """
    return ConvNet(plan_network(3, **locals()))


def convnet2d(
    *,
    input_shape: Sequence[int] = (28, 28),
    classes: int = 10,
    filters: int | Sequence[int] = (8, 16),
    kernel_sizes: int | Sequence[Any] = 3,
    pool_sizes: int | Sequence[Any] = 2,
    dense: int | Sequence[int] = (64,),
    dropout: float | Sequence[float] = 0.5,
    activation: str | Sequence[str] = "relu",
    batch_norm: bool | Sequence[bool] = True,
    padding: str | int | Sequence[Any] = "same",
    stride: int | Sequence[Any] = 1,
    pooling: str | Sequence[str] = "max",
    initialiser: str | Sequence[str] = "default",
) -> ConvNet:
    """The same for pictures [height, width] or [channels, height, width]: see `convnet3d`."""
    return ConvNet(plan_network(2, **locals()))


def convnet1d(
    *,
    input_shape: Sequence[int] = (128,),
    classes: int = 10,
    filters: int | Sequence[int] = (8, 16),
    kernel_sizes: int | Sequence[Any] = 3,
    pool_sizes: int | Sequence[Any] = 2,
    dense: int | Sequence[int] = (64,),
    dropout: float | Sequence[float] = 0.5,
    activation: str | Sequence[str] = "relu",
    batch_norm: bool | Sequence[bool] = True,
    padding: str | int | Sequence[Any] = "same",
    stride: int | Sequence[Any] = 1,
    pooling: str | Sequence[str] = "max",
    initialiser: str | Sequence[str] = "default",
) -> ConvNet:
    """The same for rows of numbers [length] or [channels, length]: see `convnet3d`."""
    return ConvNet(plan_network(1, **locals()))


def _stage(stage: Stage, dimensions: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    even = all(before == after for before, after in stage.pads)
    if not even:
        # Zeros are told for the last axis first.
        layers["pad"] = _ZEROS[dimensions - 1]([zeros for pair in reversed(stage.pads) for zeros in pair], 0.0)
    layers["conv"] = _CONVOLUTIONS[dimensions - 1](
        stage.channels,
        stage.filters,
        stage.kernel,
        stride=stage.stride,
        padding=tuple(before for before, _ in stage.pads) if even else 0,
    )
    _begin(layers["conv"], stage.initialiser)
    if stage.activation != "none":
        layers["activation"] = _ACTIVATIONS[stage.activation]()
    if stage.batch_norm:
        layers["norm"] = _NORMS[dimensions - 1](stage.filters)
    if stage.pooling != "none" and math.prod(stage.pool) > 1:
        layers["pool"] = _POOLS[stage.pooling][dimensions - 1](stage.pool)
    return nn.Sequential(layers)


def _dense(dense: Dense) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(linear=_linear(dense))
    if dense.activation != "none":
        layers["activation"] = _ACTIVATIONS[dense.activation]()
    if dense.dropout:
        layers["dropout"] = nn.Dropout(dense.dropout)
    return nn.Sequential(layers)


def _linear(dense: Dense) -> nn.Linear:
    layer = nn.Linear(dense.inputs, dense.outputs)
    _begin(layer, dense.initialiser)
    return layer


def _begin(layer: Any, initialiser: str) -> None:
    """Draw the weights; all but PyTorch's own way begin with biases of zero."""
    if initialiser == "default":
        return
    with torch.no_grad():
        if initialiser == "normal":
            nn.init.normal_(layer.weight, std=0.05)
        else:
            getattr(nn.init, f"{initialiser}_")(layer.weight)
        nn.init.zeros_(layer.bias)
