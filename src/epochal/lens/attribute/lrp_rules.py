"""How relevance goes back through each operation.

What flows back is g, relevance divided by the value it belongs to: the relevance of a value x is x·g. Then a sum, a
mean, a pooling, a rectifier or a reshaping passes g on as it passes a gradient, with no division; only layers with
weights follow a rule of their own:

- ε: with z the layer's answer, g·z / (z + ε·sign z) goes back by the weights;
- z⁺: relevance g·z is shared among the inputs by their positive parts, (xᵢwᵢ)⁺ / Σ(xᵢwᵢ)⁺, and the bias takes none.
  A batch normalisation behind the layer is first drawn into its weights.

An activation that is no rectifier passes the relevance of its answer a on to its input z: g·a/z.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it
from torch import Tensor, autograd
from torch.overrides import TorchFunctionMode

from epochal.errors import NetworkError
from epochal.lens.rules import operations, refuse_hidden

__all__ = ["LRPRule", "Relevance", "passing"]

LRPRule = Literal["epsilon", "z+"]

_LAYERS = {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"}
_PRODUCTS = {"matmul", "mm", "rmatmul"}
_SAME = {
    "Relu", "Threshold", "LeakyRelu", "RreluWithNoise", "MaxPool2DWithIndices", "MaxPool3DWithIndices",
    "AdaptiveMaxPool2D", "AdaptiveMaxPool3D", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D",
    "MkldnnAdaptiveAvgPool2D", "Mean", "Sum", "Add", "Sub", "Neg", "View", "UnsafeView", "ReshapeAlias", "Permute",
    "Transpose", "T", "Squeeze", "Unsqueeze", "Slice", "Select", "Narrow", "Index", "IndexSelect", "Cat", "Stack",
    "Split", "SplitWithSizes", "Unbind", "ConstantPadNd", "ReflectionPad1D", "ReflectionPad2D", "ReplicationPad2D",
    "Clone", "Copy", "ToCopy", "Expand", "Repeat", "Alias", "AsStrided", "Flip", "NativeBatchNorm", "CudnnBatchNorm",
    "MkldnnBatchNorm", "UpsampleNearest2D", "UpsampleBilinear2D", "PixelShuffle", "PixelUnshuffle", "Max", "Amax",
}  # fmt: skip
"""Operations through which g goes as a gradient does: they are linear, or let one value through."""


class Relevance(TorchFunctionMode):
    """Within the block, layers with weights are run so that what comes back follows the rule."""

    def __init__(self, rule: LRPRule, epsilon: float, image: Tensor) -> None:
        super().__init__()
        self._rule, self._epsilon, self._image = rule, epsilon, image
        self._made: dict[int, tuple[Tensor, Tensor, _Part]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation."""
        named = kwargs or {}
        name = str(getattr(func, "__name__", "")).split(".")[0].strip("_")
        if name in _LAYERS and (found := self._layer(func, args, named)) is not None:
            return found
        if name in _PRODUCTS and not named and (found := self._product(args, swapped=name == "rmatmul")) is not None:
            return found
        if name == "batch_norm" and self._rule == "z+" and (found := self._normalised(func, args, named)) is not None:
            return found
        return func(*args, **named)

    def _layer(self, func: Any, args: Any, named: Any) -> Tensor | None:
        given = dict(zip(("input", "weight", "bias"), args, strict=False)) | {
            key: named[key] for key in ("input", "weight", "bias") if key in named
        }
        rest, others = args[3:], {k: v for k, v in named.items() if k not in ("input", "weight", "bias")}
        x, weight, bias = given["input"], given["weight"], given.get("bias")
        if not self._depends(x):
            return None
        if self._depends(weight):
            raise NetworkError("LRP has no rule for weights that are made from the image.")

        def run(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            answer: Tensor = func(x, weight, bias, *rest, **others)
            return answer

        held = None if bias is None else bias.detach()
        return self._apply(x, _Part(run, weight.detach(), held, self._rule, self._epsilon))

    def _product(self, args: Any, *, swapped: bool) -> Tensor | None:
        x, weight = reversed(args[:2]) if swapped else args[:2]
        if not isinstance(weight, Tensor) or weight.ndim != 2 or self._depends(weight) or not self._depends(x):
            return None
        return self._apply(x, _Part(_times, weight.detach(), None, self._rule, self._epsilon))

    def _normalised(self, func: Any, args: Any, named: Any) -> Tensor | None:
        """The layer before a batch normalisation, with the normalisation in its weights; None where it cannot be."""
        made = self._made.get(id(args[0])) if args else None
        if made is None or made[2].run is _times:
            return None
        names = (
            ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
            if type(func).__name__ == "function"
            else ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
        )
        given = dict(zip(names, args, strict=False)) | named
        mean, spread = given.get("running_mean"), given.get("running_var")
        _, x, part = made
        if given.get("training") or mean is None or spread is None or len(mean) != len(part.weight):
            return None
        scale = (spread + given.get("eps", 1e-5)).rsqrt()
        scale = scale if given.get("weight") is None else scale * given["weight"]
        shift = (0 if part.bias is None else part.bias) - mean
        bias = shift * scale if given.get("bias") is None else shift * scale + given["bias"]
        weight = part.weight * scale.reshape(-1, *[1] * (part.weight.ndim - 1))
        return self._apply(x, replace(part, weight=weight.detach(), bias=bias.detach()))

    def _apply(self, x: Tensor, part: _Part) -> Tensor:
        ruled: Any = _Ruled
        answer: Tensor = ruled.apply(x, part)
        if x.ndim == part.weight.ndim:
            self._made[id(answer)] = (answer, x, part)
        return answer

    def _depends(self, tensor: Any) -> bool:
        """Whether a tensor was made from the image."""
        if not isinstance(tensor, Tensor) or not tensor.requires_grad:
            return False
        if tensor is self._image:
            return True
        return any(getattr(node, "variable", None) is self._image for node in operations(tensor))


def _times(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    answer = x @ weight
    return answer if bias is None else answer + bias


@dataclass(frozen=True, slots=True)
class _Part:
    """A layer with weights: how it runs, and the rule that it follows back."""

    run: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    weight: Tensor
    bias: Tensor | None
    rule: LRPRule
    epsilon: float

    def back(self, x: Tensor, z: Tensor, g: Tensor) -> Tensor:
        """What goes back to the inputs x of an answer z."""
        if self.rule == "epsilon":
            sign = torch.where(z >= 0, 1.0, -1.0).to(z)
            return self._by(x, self.weight, g * z / (z + self.epsilon * sign))
        up, down = self.weight.clamp(min=0), self.weight.clamp(max=0)
        positive = self.run(x.clamp(min=0), up, None) + self.run(x.clamp(max=0), down, None)
        share = torch.where(positive > 0, g * z / positive.where(positive > 0, positive.new_ones(())), 0)
        return torch.where(x > 0, self._by(x, up, share), torch.where(x < 0, self._by(x, down, share), 0))

    def _by(self, x: Tensor, weight: Tensor, share: Tensor) -> Tensor:
        """`share` sent back by weights: the transpose of the layer, whatever it is."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (found,) = torch.autograd.grad(self.run(leaf, weight, None), leaf, share)
        return found


class _Ruled(autograd.Function):
    """A layer whose gradient is its rule."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, part: _Part) -> Tensor:
        """The layer as it is."""
        answer = part.run(x, part.weight, part.bias)
        ctx.part = part
        ctx.save_for_backward(x)
        ctx.answer = answer.clone()  # an activation may write over the answer
        return answer

    @staticmethod
    def backward(ctx: Any, *back: Tensor) -> tuple[Tensor, None]:
        """What the rule sends back."""
        (x,) = ctx.saved_tensors
        return ctx.part.back(x, ctx.answer, back[0]), None


@contextmanager
def passing(score: Tensor, image: Tensor) -> Iterator[None]:
    """Within the block, activations that are no rectifiers pass relevance on; raises NetworkError where no rule is."""
    nodes = _on_the_way(score, image)
    refuse_hidden([node for node in nodes if node.name() != "_RuledBackward"], "LRP")
    hooks = [(node, passed) for node in nodes if (passed := _passed(node, nodes)) is not None]
    handles = [node.register_hook(passed) for node, passed in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _passed(node: Any, reaching: dict[Any, None]) -> Any:
    """The hook of an operation, None where it passes g as a gradient; raises NetworkError where it has no rule."""
    name = re.sub(r"Backward\d*$", "", node.name())
    if name in _SAME or name in (
        "_Ruled",
        "torch::autograd::AccumulateGrad",
        "AccumulateGrad",
        "torch::autograd::Copy",
    ):
        return None
    operands = [before in reaching for before, _ in node.next_functions]
    if name in ("Mul", "Div") and sum(operands) == 1 and not (name == "Div" and operands[1:] == [True]):
        return None
    if name in _ACTIVATIONS:
        ratio = _ACTIVATIONS[name](node)
        return lambda _through, back: (None if back[0] is None else back[0] * ratio,)
    hint = "Give it the network without its softmax: LRP starts from a score." if "oftmax" in name else ""
    raise NetworkError(f"LRP has no rule for the operation {name.lower()} in this network.", hint=hint)


def _ratio(z: Tensor, answer: Tensor, at_zero: float) -> Tensor:
    return torch.where(z != 0, answer / z.where(z != 0, z.new_ones(())), at_zero)


def _hardtanh(node: Any) -> Tensor:
    low, high, z = float(node._saved_min_val), float(node._saved_max_val), node._saved_self
    return _ratio(z, z.clamp(low, high), 1.0 if low < 0 else 0.0)


_ACTIVATIONS: dict[str, Callable[[Any], Tensor]] = {
    "Hardtanh": _hardtanh,
    "Silu": lambda node: node._saved_self.sigmoid(),
    "Gelu": lambda node: _ratio(
        node._saved_self, F.gelu(node._saved_self, approximate=str(node._saved_approximate)), 0.5
    ),
    "Hardswish": lambda node: F.relu6(node._saved_self + 3) / 6,
}
"""Answer by input, a/z, of activations that are no plain rectifiers."""


def _on_the_way(score: Tensor, image: Tensor) -> dict[Any, None]:
    """The operations between the image and a score, without those that only make weights."""
    known: dict[Any, bool] = {}
    waiting = [(score.grad_fn, False)]
    while waiting:
        node, seen = waiting.pop()
        if node is None or (node in known and not seen):
            continue
        before = [earlier for earlier, _ in node.next_functions if earlier is not None]
        if seen:
            known[node] = any(known[earlier] for earlier in before) or getattr(node, "variable", None) is image
        else:
            known[node] = False
            waiting.append((node, True))
            waiting += [(earlier, False) for earlier in before if earlier not in known]
    return {node: None for node, reaches in known.items() if reaches}
