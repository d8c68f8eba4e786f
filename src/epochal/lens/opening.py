"""Networks of any kind as a module and what asks it: recorded programs, modules, Keras models, chains in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it
from torch import Tensor, nn

from epochal.errors import MissingExtraError, NetworkError, UsageError
from epochal.facts.chain import Function
from epochal.lens.layers import is_keras
from epochal.network import Network
from epochal.network.dense import DenseNetwork
from epochal.network.program import ExportedNetwork

__all__ = ["one_tensor", "opened"]


def one_tensor(found: Any) -> Tensor:
    """The one tensor of what a network puts out; of several the one called logits, as Transformers' models do."""
    if isinstance(found, Tensor):
        scores = found
    elif isinstance(logits := getattr(found, "logits", None), Tensor):
        scores = logits
    else:
        values = list(found.values()) if isinstance(found, Mapping) else found
        if not isinstance(values, list | tuple) or len(values) != 1 or not isinstance(values[0], Tensor):
            count = len(values) if isinstance(values, list | tuple) else 0
            raise NetworkError(
                f"The network puts out {f'{count} values' if count else type(found).__name__}: one tensor is needed.",
                hint="Give a module around it whose forward returns the scores alone.",
            )
        scores = values[0]
    if not scores.dtype.is_floating_point:
        raise NetworkError(f"The network puts out {scores.dtype}, which has no gradient.")
    return scores


def opened(network: Any) -> tuple[nn.Module, Callable[[Tensor], Any]]:
    """The module of a network, and what asks it about a batch."""
    if isinstance(network, ExportedNetwork):
        return network.module, network.run
    if isinstance(network, DenseNetwork):
        chain = _DenseModule(network)
        return chain, chain
    inner = getattr(network, "module", None)
    if isinstance(network, Network | nn.DataParallel):
        if not isinstance(inner, nn.Module):
            raise UsageError(f"A {type(network).__name__} cannot be asked with gradients.")
        network = inner
    if is_keras(network) and not isinstance(network, nn.Module):
        raise MissingExtraError(
            "Keras runs on another backend than PyTorch here: the lens needs PyTorch's gradients.",
            hint="Set KERAS_BACKEND=torch before Keras is imported, and load the model again.",
        )
    if not isinstance(network, nn.Module):
        raise UsageError(
            f"A {type(network).__name__} is no network that the lens knows.",
            hint="Give an epochal Network, a torch.nn.Module, or a Keras model on the torch backend.",
        )
    # A compiled module runs the same operations as the one it was made from, hidden from the eye.
    compiled = getattr(network, "_orig_mod", None)
    module = compiled if isinstance(compiled, nn.Module) else network
    if is_keras(module):
        return module, lambda batch: module(batch, training=False)
    return module, module


class _DenseModule(nn.Module):
    """A chain of linear layers as PyTorch runs it; its layers have the names of the chain's."""

    def __init__(self, network: DenseNetwork) -> None:
        super().__init__()
        chain, state = network.chain, network.state()
        kind = np.result_type(state[chain.links[0].weight].dtype, np.float32)
        self._functions = [link.functions for link in chain.links]
        self._names = [link.layer for link in chain.links]
        self._size = prod(chain.input_shape)
        for link in chain.links:
            weight = state[link.weight]
            weight = weight.transpose(link.layout) if link.layout else weight
            bias = np.zeros(link.outputs) if link.bias is None else state[link.bias]
            layer = nn.Linear(link.inputs, link.outputs, device="meta")
            layer.weight = nn.Parameter(torch.from_numpy(weight.astype(kind)))
            layer.bias = nn.Parameter(torch.from_numpy(bias.astype(kind)))
            inside: nn.Module = self
            *path, last = link.layer.split(".")
            for part in path:
                if part not in inside._modules:
                    inside.add_module(part, nn.Module())
                inside = inside.get_submodule(part)
            inside.add_module(last, layer)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """[N, ...] to [N, classes]."""
        flow = x.reshape(len(x), self._size)
        for name, functions in zip(self._names, self._functions, strict=True):
            flow = self.get_submodule(name)(flow)
            for function in functions:
                flow = _apply(flow, function)
        return flow


def _apply(flow: Tensor, function: Function) -> Tensor:
    if function.name == "leakyrelu":
        slope = function.attributes.get("negative_slope", function.attributes.get("alpha", 0.01))
        return F.leaky_relu(flow, float(slope))
    if function.name == "linear":
        return flow
    known: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": F.relu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "softmax": lambda x: x.softmax(dim=-1),
        "logsoftmax": lambda x: x.log_softmax(dim=-1),
    }
    return known[function.name](flow)
