"""Facts about PyTorch modules: which of them are layers, what they hold, how their parameters began."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from epochal.facts import Parameter
from epochal.frameworks import torch_tensors

__all__ = ["activation_name", "attributes", "is_layer", "kind_of", "module_parameters", "tensor_names"]

_ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Sigmoid, nn.LogSigmoid, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Tanh, nn.Softplus, nn.Softsign,
    nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.GLU, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip

_ACTIVATION_NAMES = frozenset(activation.__name__ for activation in _ACTIVATIONS)

_FUNCTIONAL_ACTIVATIONS = {
    "relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "LeakyReLU", "prelu": "PReLU", "rrelu": "RReLU", "elu": "ELU",
    "celu": "CELU", "selu": "SELU", "gelu": "GELU", "silu": "SiLU", "mish": "Mish", "sigmoid": "Sigmoid",
    "log_sigmoid": "LogSigmoid", "logsigmoid": "LogSigmoid", "hardsigmoid": "Hardsigmoid", "hardswish": "Hardswish",
    "hardtanh": "Hardtanh", "tanh": "Tanh", "softplus": "Softplus", "softsign": "Softsign", "softmax": "Softmax",
    "log_softmax": "LogSoftmax", "softmin": "Softmin", "glu": "GLU", "hardshrink": "Hardshrink",
    "softshrink": "Softshrink", "tanhshrink": "Tanhshrink", "threshold": "Threshold",
}  # fmt: skip

# What a person asks of a layer. Only those that a module has, and that are plain values, are taken.
_ATTRIBUTES = (
    "in_features", "out_features", "in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding",
    "dilation", "groups", "padding_mode", "transposed", "num_features", "normalized_shape", "num_groups",
    "num_channels", "eps", "momentum", "affine", "elementwise_affine", "track_running_stats", "p", "inplace",
    "negative_slope", "alpha", "lambd", "beta", "threshold", "value", "approximate", "min_val", "max_val",
    "num_embeddings", "embedding_dim", "padding_idx", "max_norm", "input_size", "hidden_size", "num_layers",
    "batch_first", "dropout", "bidirectional", "proj_size", "nonlinearity", "embed_dim", "num_heads", "kdim", "vdim",
    "dim", "start_dim", "end_dim", "unflattened_size", "output_size", "scale_factor", "size", "mode", "align_corners",
    "ceil_mode", "count_include_pad", "upscale_factor", "downscale_factor", "num_parameters",
)  # fmt: skip


def kind_of(module: nn.Module) -> str:
    """The class's name; a parametrised module, and one of an exported program, by the class that it was before."""
    cls = type(module)
    if was := _before_export(module):
        return was
    if hasattr(module, "parametrizations") and cls.__name__.startswith("Parametrized") and cls.__bases__:
        cls = cls.__bases__[0]
    return cls.__name__


def _before_export(module: nn.Module) -> str:
    """The class that a module of an exported program was made from, empty for others."""
    if type(module).__module__ != "torch.export.unflatten":  # which takes a second to import
        return ""
    told: Any = getattr(module, "type_name", None)
    return str(told() or "").rpartition(".")[2] if callable(told) else ""


def is_layer(name: str, module: nn.Module) -> bool:
    """Whether a module is drawn as one layer: it has no modules inside, or PyTorch treats what is inside as its own."""
    children = [child for child, _ in module.named_children()]
    if children and not isinstance(module, nn.MultiheadAttention) and children != ["parametrizations"]:
        return False
    if name:
        return True
    # The whole network is one module: a layer when it is PyTorch's own, else its operations say more.
    return type(module).__module__.startswith("torch.nn.")


def activation_name(what: nn.Module | str) -> str | None:
    """The activation that a module or a function is (`ReLU`), None where it is none."""
    if isinstance(what, str):
        return _FUNCTIONAL_ACTIVATIONS.get(what.rstrip("_"))
    if was := _before_export(what):
        return was if was in _ACTIVATION_NAMES else None
    return type(what).__name__ if isinstance(what, _ACTIVATIONS) else None


def attributes(module: nn.Module) -> dict[str, Any]:
    """The plain settings of a module: sizes, kernel, stride, probability, epsilon, ..."""
    found: dict[str, Any] = {}
    for name in _ATTRIBUTES:
        value = getattr(module, name, None)
        if isinstance(value, (tuple, list, torch.Size)):
            if all(isinstance(v, (bool, int, float, str)) for v in value):
                found[name] = list(value)
        elif isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
            found[name] = value
    if "bias" in module._parameters:
        found["use_bias"] = module._parameters["bias"] is not None
    elif isinstance(bias := getattr(module, "bias", None), bool):
        found["use_bias"] = bias
    return found


def tensor_names(module: nn.Module) -> dict[int, str]:
    """For each parameter and buffer of a network, by `id`, the first name that the network gives it."""
    names: dict[int, str] = {}
    for name, tensor in _tensors(module):
        names.setdefault(id(tensor), name)
    return names


def module_parameters(module: nn.Module, names: Mapping[int, str], *, own: bool = False) -> tuple[Parameter, ...]:
    """Parameters and persistent buffers of a module, each under the first name that the network gives it.

    With `own`, only those that the module itself holds, not those of the modules inside it.
    """
    saved = set(module.state_dict(keep_vars=True))
    began = _initializers(module, own=own)
    found: dict[str, Parameter] = {}
    for local, tensor in _tensors(module, own=own):
        if local not in saved:
            continue  # a buffer that is not kept in snapshots
        name = names.get(id(tensor), local)
        found[name] = Parameter(
            name=name,
            shape=tuple(int(s) for s in tensor.shape),
            dtype=str(tensor.dtype).removeprefix("torch."),
            role=_role(local, tensor),
            trainable=bool(tensor.requires_grad),
            initializer=began.get(local),
        )
    return tuple(found.values())


def _tensors(module: nn.Module, *, own: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
    found: dict[str, torch.Tensor] = dict(module.named_parameters(recurse=not own, remove_duplicate=False))
    found |= dict(module.named_buffers(recurse=not own, remove_duplicate=False))
    # A lazy layer's tensors have no shape before it has seen data.
    yield from ((name, tensor) for name, tensor in found.items() if not is_lazy(tensor))


def _role(name: str, tensor: torch.Tensor) -> Literal["weight", "bias", "buffer", "other"]:
    if not isinstance(tensor, nn.Parameter):
        return "buffer"
    last = name.rsplit(".", 1)[-1]
    if "parametrizations." in name:  # layer.parametrizations.weight.original0
        last = name.rsplit(".", 2)[-2]
    if "bias" in last:
        return "bias"
    return "weight" if "weight" in last or "kernel" in last else "other"


def _initializers(module: nn.Module, *, own: bool) -> dict[str, str]:
    """How each tensor of a layer began, in words, where its values now still show it.

    The class's default is named only when every tensor of the layer can be a fresh draw of it: a small bias alone
    would often look so by chance.
    """
    tensors = {name: tensor for name, tensor in _tensors(module, own=own) if _readable(tensor)}
    words = {name: constant for name, tensor in tensors.items() if (constant := _constant(tensor)) is not None}
    default = {
        name: scheme for name, scheme in _default_scheme(module).items() if name in tensors and name not in words
    }
    if all(_fits(tensors[name], distribution, scale) for name, (_, distribution, scale) in default.items()):
        words |= {name: f"{scheme[0]}, default" for name, scheme in default.items()}
    return words


_Scheme = tuple[str, Literal["uniform", "normal"], float]  # words, distribution, its bound or standard deviation


def _default_scheme(module: nn.Module) -> dict[str, _Scheme]:
    """What the class's own `reset_parameters` draws from, for those classes of PyTorch that we know."""
    cls: Any = type(module)
    if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
        stock = nn.Linear if isinstance(module, nn.Linear) else nn.modules.conv._ConvNd
        if cls.reset_parameters is not stock.reset_parameters or not isinstance(module.weight, torch.Tensor):
            return {}
        fan_in = math.prod(module.weight.shape[1:])
        if fan_in == 0:
            return {}
        bound = 1 / math.sqrt(fan_in)
        return {
            "weight": ("Kaiming uniform (a=√5)", "uniform", bound),
            "bias": ("uniform (±1/√fan-in)", "uniform", bound),
        }
    if isinstance(module, nn.Embedding) and cls.reset_parameters is nn.Embedding.reset_parameters:
        return {"weight": ("normal (mean 0, deviation 1)", "normal", 1.0)}
    if isinstance(module, nn.RNNBase) and cls.reset_parameters is nn.RNNBase.reset_parameters:
        bound = 1 / math.sqrt(module.hidden_size)
        return {name: ("uniform (±1/√hidden)", "uniform", bound) for name, _ in module.named_parameters()}
    return {}


def _readable(tensor: torch.Tensor) -> bool:
    # Of a DTensor, asking for a value would ask all processes.
    whole = torch_tensors.local(tensor) is tensor and tensor.layout is torch.strided and not tensor.is_nested
    return whole and not tensor.is_meta and not tensor.is_quantized and tensor.numel() > 0


def _constant(tensor: torch.Tensor) -> str | None:
    values = tensor.detach()
    if values.is_floating_point() and values.itemsize == 1:
        values = values.float()  # these types can be stored, not compared
    first = values.flatten()[0]
    if not bool((values == first).all()):
        return None
    value = first.item()
    if tensor.numel() == 1 and isinstance(value, float | complex) and value not in (0, 1):
        return None  # one number says nothing of how it was chosen
    return "zeros" if value == 0 else "ones" if value == 1 else f"constant {value:g}"


def _fits(tensor: torch.Tensor, distribution: str, scale: float) -> bool:
    """Whether values can be fresh draws: trained ones sooner or later leave the bound or change their spread."""
    if not tensor.is_floating_point():
        return False
    values = tensor.detach().double()
    n = values.numel()
    if distribution == "uniform" and float(values.abs().max()) > scale * (1 + 1e-3):
        return False
    deviation = scale / math.sqrt(3) if distribution == "uniform" else scale
    # The root mean square of n draws has a relative standard error of 0.45/√n (uniform) or 0.71/√n (normal).
    error = (0.45 if distribution == "uniform" else 0.71) / math.sqrt(n)
    return n < 8 or abs(float(values.square().mean().sqrt()) / deviation - 1) < 5 * error + 1e-3
