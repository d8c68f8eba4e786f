"""Convolutional networks of 1, 2 and 3 dimensions: sizes against arithmetic, answers against PyTorch by hand."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs PyTorch")

import torch
from torch import nn
from torch.nn import functional

from epochal.demos.convnet import ConvNet, convnet1d, convnet2d, convnet3d
from epochal.demos.convnet_plan import INITIALISERS
from epochal.errors import UsageError

pytestmark = pytest.mark.torch

FACTORIES = {1: convnet1d, 2: convnet2d, 3: convnet3d}


def seen(network: ConvNet, x: Any) -> dict[str, tuple[int, ...]]:
    """The shape that each layer really puts out."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, layer in network.named_modules():
        layer.register_forward_hook(lambda _l, _i, out, name=name: shapes.__setitem__(name, tuple(out.shape)))
    network.eval()(x)
    return shapes


def test_the_students_dictionary_works_as_it_is() -> None:
    parameters = {
        "filters": [8, 16, 32],
        "kernel_sizes": [5, 3, 3],
        "pool_sizes": [2, 2, 2],
        "dense": [64, 32],
        "dropout": 0.4,
    }
    network = convnet3d(**parameters)  # type: ignore[arg-type]
    layers = [type(m).__name__ for m in network.modules() if not list(m.children())]
    stage = ["Conv3d", "ReLU", "BatchNorm3d", "MaxPool3d"]
    assert layers == [*stage * 3, "Flatten", *["Linear", "ReLU", "Dropout"] * 2, "Linear"]
    weights = (
        (125 * 1 + 1 + 2) * 8 + (27 * 8 + 1 + 2) * 16 + (27 * 16 + 1 + 2) * 32
        + (32 * 2**3 + 1) * 64 + (64 + 1) * 32 + (32 + 1) * 10
    )  # fmt: skip
    assert sum(p.numel() for p in network.parameters()) == network.plan.weights == weights
    assert network(torch.zeros(4, 16, 16, 16)).shape == (4, 10)
    assert network(torch.zeros(4, 4096)).shape == (4, 10)
    assert network(torch.zeros(4, 1, 16, 16, 16)).shape == (4, 10)
    with pytest.raises(RuntimeError, match="shape"):
        network(torch.zeros(4, 8, 16, 16))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid", 1])
def test_sizes_are_those_of_the_arithmetic(dimensions: int, kernel: int, stride: int, padding: Any) -> None:
    sizes = (17, 15, 12)[:dimensions]
    network = FACTORIES[dimensions](
        input_shape=(2, *sizes),
        filters=[3],
        kernel_sizes=kernel,
        stride=stride,
        padding=padding,
        pool_sizes=2,
        dense=[],
    )
    if padding == "same":
        convolved = tuple(math.ceil(n / stride) for n in sizes)
    else:
        convolved = tuple((n + 2 * (padding if padding != "valid" else 0) - kernel) // stride + 1 for n in sizes)
    (stage,) = network.plan.stages
    assert stage.convolved == convolved
    assert stage.leaving == tuple(n // 2 for n in convolved)
    shapes = seen(network, torch.rand(2, 2, *sizes))
    assert shapes["stage1.conv"] == (2, 3, *convolved)
    assert shapes["stage1.pool"] == (2, 3, *stage.leaving)
    assert shapes["output"] == (2, 10)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_same_padding_with_a_stride_of_one_is_pytorchs(dimensions: int) -> None:
    torch.manual_seed(0)
    network = FACTORIES[dimensions](input_shape=(9,) * dimensions, filters=[2], kernel_sizes=4, pooling="none", dense=0)
    x = torch.rand(3, *(9,) * dimensions)
    convolution = (functional.conv1d, functional.conv2d, functional.conv3d)[dimensions - 1]
    conv: Any = network.get_submodule("stage1.conv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch copies the input here, and says so
        expected = convolution(x[:, None], conv.weight, conv.bias, padding="same")
    stage: Any = network.get_submodule("stage1")
    torch.testing.assert_close(stage[1](stage[0](x[:, None])), expected)


def test_every_layer_can_be_told() -> None:
    network = convnet2d(
        input_shape=(3, 20, 30),
        classes=4,
        filters=[4, 5, 6],
        kernel_sizes=[3, [1, 3], 5],
        pool_sizes=[2, [1, 2], 0],
        stride=[1, 1, [2, 1]],
        padding=["same", [0, 1], "valid"],
        pooling=["avg", "max", "none"],
        activation=["tanh", "none", "leaky_relu", "gelu", "elu"],
        batch_norm=[False, True, False],
        initialiser=["he_normal", "orthogonal", "zeros", "glorot_uniform", "normal"],
        dense=[20, 12],
        dropout=[0.5, 0.0],
    )
    names = [type(m).__name__ for m in network.modules() if not list(m.children())]
    assert names == [
        *("Conv2d", "Tanh", "AvgPool2d"), *("Conv2d", "BatchNorm2d", "MaxPool2d"), *("Conv2d", "LeakyReLU"),
        *("Flatten", "Linear", "GELU", "Dropout", "Linear", "ELU", "Linear"),
    ]  # fmt: skip
    # 20 x 30 -> 10 x 15 -> 10 x 7 -> valid 5 x 5 with stride 2, 1: 3 x 3
    assert [stage.leaving for stage in network.plan.stages] == [(10, 15), (10, 7), (3, 3)]
    shapes = seen(network, torch.rand(2, 3, 20, 30))
    assert (shapes["stage3"], shapes["flatten"], shapes["output"]) == ((2, 6, 3, 3), (2, 54), (2, 4))
    third: Any = network.get_submodule("stage3.conv")
    assert not third.weight.any()
    second: Any = network.get_submodule("stage2.conv")
    rows = second.weight.reshape(5, -1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", INITIALISERS)
def test_initialisers_are_pytorchs(name: str) -> None:
    torch.manual_seed(3)
    network = convnet1d(input_shape=(20,), filters=[7], initialiser=name, dense=0)
    torch.manual_seed(3)
    conv, output = nn.Conv1d(1, 7, 3), None
    if name not in ("default", "normal"):
        getattr(nn.init, f"{name}_")(conv.weight)
    elif name == "normal":
        nn.init.normal_(conv.weight, std=0.05)
    ours: Any = network.get_submodule("stage1.conv")
    assert output is None
    assert torch.equal(ours.weight, conv.weight)
    assert name == "default" or not ours.bias.any()


def test_dropout_without_dense_layers_is_after_flattening() -> None:
    network = convnet1d(input_shape=(16,), dense=0, dropout=0.25)
    assert isinstance(network.dropout, nn.Dropout)
    network.train()
    assert [name for name, _ in network.named_children()][-3:] == ["flatten", "dropout", "output"]
    assert not any(isinstance(m, nn.Dropout) for m in convnet1d(dense=(), dropout=0).modules())


def test_no_stage_and_one_number_for_all() -> None:
    plain = convnet3d(filters=[], dense=8, input_shape=(2, 3, 4), activation=["tanh"])
    assert plain(torch.zeros(1, 2, 3, 4)).shape == (1, 10)
    assert len(convnet2d(filters=6, kernel_sizes=[3, 3, 3], pool_sizes=2).plan.stages) == 3
    assert [s.filters for s in convnet2d(filters=6, kernel_sizes=[3, 3, 3]).plan.stages] == [6, 6, 6]


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"filters": [8, 16], "kernel_sizes": [3]}, "unequal length: filters 2, kernel_sizes 1"),
        ({"filters": [8, 16], "pool_sizes": [2, 2, 2]}, "unequal length: filters 2, pool_sizes 3"),
        ({"filters": [4] * 6}, r"Stage 5 pools to nothing: 1 × 1 × 1 by 2 × 2 × 2"),
        (
            {"filters": [4, 4], "pool_sizes": [[2, 2, 8], [1, 1, 4]]},
            r"Stage 2 pools to nothing: 8 × 8 × 2 by 1 × 1 × 4",
        ),
        (
            {"kernel_sizes": [3, 17], "padding": "valid"},
            r"Stage 2: a kernel of 17 × 17 × 17 does not fit into 7 × 7 × 7",
        ),
        ({"filters": [8, 0]}, "filters of stage 2 must be a whole number from 1"),
        ({"filters": [8, True]}, "filters of stage 2 must be a whole number"),
        ({"filters": "8"}, "filters of stage 1 must be a whole number"),
        ({"kernel_sizes": [[3, 3], 3]}, "kernel_sizes of stage 1 has 2 numbers for 3 axes"),
        ({"activation": "rellu"}, r"activation is 'rellu'[\s\S]*Did you mean 'relu'"),
        ({"activation": ["relu"] * 5}, "activation has 5 entries for 2 stages and 1 dense layers"),
        ({"pooling": ["max", "min"]}, r"pooling of stage 2 is 'min'"),
        ({"initialiser": "xavier"}, r"initialiser is 'xavier'[\s\S]*Did you mean 'xavier"),
        ({"padding": "samee"}, r"padding of stage 1 is 'samee'"),
        ({"padding": -1}, "padding of stage 1 must be a whole number from 0"),
        ({"batch_norm": "yes"}, "batch_norm of stage 1 must be true or false"),
        ({"dropout": 1.0}, "dropout must be a share from 0 to below 1"),
        ({"dropout": [0.1, 0.2]}, "dropout has 2 entries for 1 dense layer"),
        ({"dense": [0]}, "dense layer's size must be"),
        ({"input_shape": (28, 28)}, "takes examples of 3 sizes"),
        ({"input_shape": (256, 256, 256), "filters": 64, "dense": 4096}, r"549,755,817,984 of them from 134,217,728"),
        ({"filters": [1] * 65, "pooling": "none"}, "65 stages are too many"),
    ],
)
def test_what_cannot_be_built_is_said(parameters: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        convnet3d(**parameters)
