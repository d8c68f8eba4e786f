"""A network that is a PyTorch module in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._pytree import tree_map

from epochal.errors import UsageError
from epochal.facts import Graph, Shape
from epochal.network.network import Network, shown
from epochal.network.preparation import Preparation

__all__ = ["ModuleNetwork", "evaluating"]

Array = npt.NDArray[Any]


@final
class ModuleNetwork(Network):
    """A PyTorch module as it is: not copied, asked in eval mode, and left in the modes that it had.

    `module` is the caller's own. `input_shape` are the sizes of one example without the batch, None where nobody said.
    """

    __slots__ = ("_input_shape", "module")

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        input_shape: Sequence[int] | None = None,
        graph: Graph | None = None,
        step: int | None = None,
        preparation: Preparation | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__(graph=graph, step=step)
        self.module: torch.nn.Module = module
        self.preparation = preparation
        self.classes = tuple(classes)
        shape = preparation.input_shape if input_shape is None and preparation is not None else input_shape
        self._input_shape = None if shape is None else tuple(int(side) for side in shape)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """What the network answers, as arrays, to one batch of arrays or tensors; floats go in its own type."""
        args, kwargs = tree_map(self._tensor, (inputs, named))
        with torch.no_grad(), evaluating(self.module):
            return tree_map(_array, self.module(*args, **kwargs))

    @property
    def input_shape(self) -> Shape | None:
        """Sizes of one example of its first input, without the batch; None where nobody said."""
        return self._input_shape

    def input_gradients(self, inputs: Any, classes: Any) -> Array:
        """The gradient of the score of class `classes[i]` by example `inputs[i]`: an array like `inputs`."""
        batch = self._tensor(inputs).detach().clone()
        if not batch.dtype.is_floating_point:
            raise UsageError("The input is not made of floating numbers: it has no gradient.")
        with torch.enable_grad(), evaluating(self.module):
            scores = self.module(batch.requires_grad_())
            if not isinstance(scores, torch.Tensor) or scores.ndim != 2 or len(scores) != len(batch):
                raise UsageError("Gradients of classes are taken of networks that put out one tensor [N, classes].")
            chosen = torch.as_tensor(np.asarray(classes, np.int64), device=scores.device)
            picked = scores[torch.arange(len(batch), device=scores.device), chosen].sum()
            (gradient,) = torch.autograd.grad(picked, batch)
        return np.array(_array(gradient))

    def state(self) -> dict[str, Array]:
        """Copies of its parameters and buffers by name; bfloat16 as float32, since numpy has no such type."""
        return {name: np.array(_array(tensor)) for name, tensor in self.module.state_dict().items()}

    def _tensor(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor | np.ndarray):
            return value
        tensor = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
        like = next((p for p in self.module.parameters() if p.dtype.is_floating_point), None)
        if like is None:
            return tensor
        return tensor.to(like.device, like.dtype if tensor.dtype.is_floating_point else tensor.dtype)

    def _takes(self) -> str:
        return "x" if self._input_shape is None else f"x {shown((-1, *self._input_shape))}"


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Every part of a module in eval mode within the block, and afterwards in the mode that each of them had."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _array(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    tensor = value.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
