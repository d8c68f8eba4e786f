"""How a network of any kind is asked with gradients: a recorded program, a PyTorch or Keras module, a numpy chain."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from epochal.errors import EpochalError, NetworkError, UsageError
from epochal.facts import Shape
from epochal.lens.layers import Kept, is_keras, keeping, named_layers
from epochal.lens.opening import one_tensor, opened
from epochal.lens.rules import Rule, plain
from epochal.network import Network
from epochal.network.dense import DenseNetwork
from epochal.network.module import evaluating
from epochal.network.program import ExportedNetwork
from epochal.store.memory import hold_memory

__all__ = ["Forward", "Part", "Progress", "Subject", "Target", "batches", "pick", "to_array"]

Array = npt.NDArray[Any]
Target = int | tuple[int, ...]
"""Which output is looked at: the number of a class, or a place [channel, row, column] in an output of more axes."""

Progress = Callable[[float], None]
"""Is told how much of a method is done, from 0 to 1; what it raises ends the method."""

_MOST_NUMBERS = 1 << 19
_MOST_EXAMPLES = 256


class Part(ABC):
    """A network in which something else is looked at than what it puts out at its end."""

    network: Any

    @abstractmethod
    def scores(self, whole: Subject, batch: Tensor) -> Tensor:
        """What is looked at instead, [N, ...] for a batch of N, by way of the whole network."""

    @abstractmethod
    def of(self, network: Any) -> Part:
        """The same of another network."""


@final
class Subject:
    """A network as the lens asks it: one batch in, one tensor of scores [N, classes, ...] out, in eval mode.

    `image` arguments are one example as the network takes it, without the batch (with a batch of one, it is taken off).
    Raises UsageError for what is no network or takes more than one input of floating numbers. With `whole` it may take
    whole numbers, such as words: these have no gradient, but what layers make of them can be compared.
    """

    def __init__(self, network: Any, *, whole: bool = False) -> None:
        hold_memory()
        self.whole = whole
        self.network: Any = network
        self.module: nn.Module
        self._call: Callable[[Tensor], Any]
        if isinstance(network, Part):
            inner = Subject(network.network)
            self.network, self.module = inner.network, inner.module
            self._call = partial(network.scores, inner)
        else:
            self.module, self._call = opened(network)
        self.step: int | None = getattr(network, "step", None)
        self.keras = is_keras(self.module)
        first = next((p for p in self.module.parameters() if p.dtype.is_floating_point), None)
        self.dtype = torch.float32 if first is None else first.dtype
        self.device = torch.device("cpu") if first is None else first.device
        self.shape: Shape | None = None
        self.fixed: int | None = None
        self._runs_last: bool | None = None
        self._learn_inputs()
        preparation = getattr(network, "preparation", None)
        self.channels_last = bool(preparation.channels_last) if preparation is not None else self.keras

    def _learn_inputs(self) -> None:
        """What is known of its input: the shape of one example, and the size of a batch where it cannot be another."""
        if isinstance(self.network, ExportedNetwork):
            expected = self.network.takes
            if len(expected) != 1:
                raise UsageError(f"The lens looks at networks with one input; this one takes {len(expected)}.")
            if not expected[0].dtype.is_floating_point and not self.whole:
                raise UsageError(
                    "This network takes whole numbers, such as words: they have no gradient.",
                    hint="Feature maps and attention can be looked at.",
                )
            self.dtype, shape = expected[0].dtype, expected[0].shape
            self.shape = shape[1:]
            self.fixed = shape[0] if shape and shape[0] > 0 else None
        elif isinstance(self.network, Network):
            self.shape = self.network.input_shape
        elif self.keras:
            sizes: Any = getattr(self.module, "input_shape", None)
            if isinstance(sizes, list | dict):
                raise UsageError(f"The lens looks at networks with one input; this one takes {len(sizes)}.")
            self.shape = None if sizes is None else tuple(-1 if side is None else int(side) for side in sizes[1:])

    def example(self, image: Any) -> Tensor:
        """A batch of one [1, ...] for an image, on the network's device and in its type; a copy of what was given.

        Raises UsageError where it is no array of finite floating numbers of the right shape.
        """
        if isinstance(image, Tensor):
            value = image.detach()
        else:
            array = np.asarray(image)
            if array.dtype.kind not in "fiub":
                raise UsageError(f"An image is an array of numbers; this is {array.dtype}.")
            value = torch.from_numpy(np.array(array))
        words = self.whole and not value.dtype.is_floating_point
        if not value.dtype.is_floating_point and not words:
            raise UsageError(
                f"The image is {str(value.dtype).removeprefix('torch.')}; a gradient needs floating numbers.",
                hint="Give it as the network takes it, scaled as in its training: for instance image / 255.",
            )
        with torch.inference_mode(mode=False):
            kind = value.dtype if words and self.dtype.is_floating_point else self.dtype
            batch = self._with_batch(value).to(self.device, kind, copy=True).contiguous()
        if not torch.isfinite(batch).all():
            raise UsageError("The image holds values that are not finite.")
        return batch

    def _with_batch(self, value: Tensor) -> Tensor:
        given = tuple(value.shape)
        if self.shape is not None:
            if _fits(given, self.shape):
                return value[None]
            if given[:1] == (1,) and _fits(given[1:], self.shape):
                return value
            if isinstance(self.network, DenseNetwork) and prod(given) == prod(self.shape):
                return value.reshape(1, *given)
            raise UsageError(
                f"The network takes one image of shape {_shown(self.shape)}; this one has {_shown(given)}.",
                hint="Several images are asked one by one." if _fits(given[1:], self.shape) else "",
            )
        volumes = any(isinstance(inner, nn.Conv3d) for inner in self.module.modules())
        if value.ndim == (5 if volumes else 4) and len(value) != 1:
            raise UsageError(f"One image at a time, [C, H, W]; this is a batch of {len(value)}.")
        if value.ndim == 0:
            raise UsageError("An image is an array [C, H, W], not a number.")
        return value if value.ndim == (5 if volumes else 4) else value[None]

    def outputs(self, batch: Tensor) -> Tensor:
        """The scores [N, classes, ...] of a batch, with gradients where they are on; a fixed batch is filled up."""
        if self.fixed is None or self.fixed == len(batch):
            return self._scores(batch)
        parts = []
        for first in range(0, len(batch), self.fixed):
            part = batch[first : first + self.fixed]
            filled = torch.cat([part, part[:1].detach().expand(self.fixed - len(part), *part.shape[1:])])
            parts.append(self._scores(filled)[: len(part)])
        return torch.cat(parts)

    def _scores(self, batch: Tensor) -> Tensor:
        scores = one_tensor(self.run(batch))
        if scores.ndim == 0 or len(scores) != len(batch):
            raise NetworkError(
                f"The network puts out {list(scores.shape)} for a batch of {len(batch)}; [N, classes] is needed."
            )
        return scores[:, None] if scores.ndim == 1 else scores

    def run(self, batch: Tensor) -> Any:
        """What the network puts out for a batch of the size that it takes, as it comes."""
        try:
            return self._call(batch)
        except EpochalError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
            first = str(error).strip().splitlines()[0][:300] if str(error).strip() else ""
            raise NetworkError(
                f"The network could not run on an input {list(batch.shape)}: {type(error).__name__}: {first}"
            ) from error

    @contextmanager
    def asking(self, *, gradients: bool) -> Iterator[None]:
        """Within the block the network is in eval mode, and gradients are on or off whatever they were outside."""
        with torch.inference_mode(mode=False), torch.set_grad_enabled(gradients), evaluating(self.module):
            yield

    def target_of(self, scores: Tensor, target: Any) -> Target:
        """The output that is meant among those of one example [classes, ...]: `target` checked, the highest for None.

        Raises UsageError for one that is not there.
        """
        shape = tuple(scores.shape)
        if target is None:
            if len(shape) != 1:
                raise UsageError(
                    f"The network puts out {_shown(shape)}: which place is meant?", hint="target=(c, row, col)"
                )
            return int(scores.argmax())
        try:
            given = tuple(operator.index(t) for t in (target if isinstance(target, tuple | list) else [target]))
        except TypeError:
            raise UsageError(f"target is the number of a class, or None for the highest; it is {target!r}.") from None
        if isinstance(target, bool | np.bool_):
            raise UsageError("target is the number of a class, not a truth value.")
        if len(given) != len(shape):
            raise UsageError(f"The network puts out {_shown(shape)}: the target {target!r} is no place in it.")
        if any(not 0 <= place < size for place, size in zip(given, shape, strict=True)):
            last = shape[0] - 1
            raise UsageError(
                f"There is no class {given[0]}: they go from 0 to {last}."
                if len(shape) == 1
                else f"There is no place {given} in an output {_shown(shape)}."
            )
        return given[0] if len(given) == 1 else given

    def forward(self, batch: Tensor, target: Any = None, *, layers: Sequence[str] = ()) -> Forward:
        """One forward of a batch whose gradients can be asked as often as wanted; a target of None: of the first."""
        with self.asking(gradients=True), keeping(self.module, layers) as kept:
            leaf = batch.detach().clone().requires_grad_()
            # A copy, since a network may write on its input, which a leaf does not allow.
            scores = self.outputs(leaf.clone())
        if not torch.isfinite(scores).all():
            raise NetworkError("The network puts out values that are not finite: there is nothing to look at.")
        return Forward(self, leaf, scores, self.target_of(scores[0], target), kept)

    def fast(self, batch: Tensor) -> Tensor:
        """The same batch with the channels of its pictures lying last, where the network runs so, and runs the same.

        Convolutions on processors are up to twice as fast so. A network that counts on the order in memory, by `view`
        for instance, gets it as it is.
        """
        if batch.ndim != 4 or batch.device.type != "cpu" or len(batch) < 2:
            return batch
        if self._runs_last is None:
            with self.asking(gradients=False):
                one = batch[:1].detach()
                try:
                    last = self.outputs(one.contiguous(memory_format=torch.channels_last))
                    self._runs_last = torch.allclose(last, self.outputs(one.contiguous()), rtol=1e-3, atol=1e-4)
                except NetworkError:
                    self._runs_last = False
        return batch.contiguous(memory_format=torch.channels_last) if self._runs_last else batch

    def channel_axis(self, axes: int) -> int | None:
        """Which axis of an example with so many axes holds its channels; None where none does."""
        if axes < 2 or (axes == 2 and not any("Conv1" in type(m).__name__ for m in self._parts())):
            return None
        return axes - 1 if self.channels_last else 0

    def _parts(self) -> list[Any]:
        return list(named_layers(self.module).values()) or [self.module]

    def answers(self, stacks: Iterable[Tensor], read: Callable[[Tensor], Tensor]) -> Tensor:
        """What `read` makes of the scores [N, ...] of stacks of examples, as one tensor; without gradients."""
        with self.asking(gradients=False):
            return torch.cat([read(self.outputs(self.fast(stack))) for stack in stacks])


@final
class Forward:
    """One forward of a batch: its inputs, scores and kept layers, with what autograd needs to go back."""

    def __init__(self, subject: Subject, inputs: Tensor, scores: Tensor, target: Target, kept: Kept) -> None:
        self.subject, self.inputs, self.scores, self.target, self.kept = subject, inputs, scores, target, kept
        with torch.inference_mode(mode=False), torch.enable_grad():
            self.chosen = pick(scores, target).sum()
        self._found: dict[Rule, dict[str, Tensor]] = {}

    @property
    def score(self) -> float:
        """The target's score of the first example."""
        return float(pick(self.scores.detach(), self.target)[0])

    def gradient(self, *, rule: Rule = plain, last: bool = False) -> Tensor:
        """The gradient of the target's score by the inputs, each example's by its own values.

        After the `last` one nothing more can be asked of this forward, which then gives its memory back on the way.
        """
        if last:
            return self._back([""], rule, last=True)[""]
        return self.gradients("", rule=rule)[""]

    def gradients(self, *names: str, rule: Rule = plain) -> dict[str, Tensor]:
        """The gradients of the target's score by the inputs ("") and kept layers, by name; one way back for all.

        What was asked before is not worked out again. Raises NetworkError where the score does not depend on one.
        """
        known = self._found.setdefault(rule, {})
        missing = [name for name in names if name not in known]
        if missing:
            known.update(self._back(missing, rule))
        return {name: known[name] for name in names}

    def _back(self, names: Sequence[str], rule: Rule, *, last: bool = False) -> dict[str, Tensor]:
        if not self.chosen.requires_grad:
            raise NetworkError(
                "The score does not depend on the image by way of operations that have gradients.",
                hint="Is there a torch.no_grad() or .detach() in the network?",
            )
        tensors = [self.kept[name] if name else self.inputs for name in names]
        for name, tensor in zip(names, tensors, strict=True):
            if not tensor.requires_grad:
                raise NetworkError(f"What layer {name!r} puts out does not depend on the image.")
        with torch.inference_mode(mode=False), rule(self.chosen):
            try:
                found: Any = torch.autograd.grad(self.chosen, tensors, retain_graph=not last, allow_unused=True)
            except RuntimeError as error:
                raise NetworkError(
                    f"PyTorch cannot go back through this network: {str(error).strip().splitlines()[0][:300]}"
                ) from error
        gradients = {}
        for name, gradient in zip(names, found, strict=True):
            if gradient is None:
                what = f"layer {name!r}" if name else "the image"
                raise NetworkError(f"The score of target {self.target} does not depend on {what}.")
            gradients[name] = gradient.detach()
        return gradients

    def confidence(self, scores: Tensor) -> Tensor:
        """The target's confidences [N] out of scores [N, classes]: probabilities as they are, else by softmax.

        A single number, and an output of more axes, stays what it is.
        """
        if self._bounded or scores.ndim != 2 or scores.shape[1] == 1:
            return pick(scores, self.target)
        return pick(scores.softmax(dim=1), self.target)

    @property
    def _bounded(self) -> bool:
        node = self.scores.grad_fn
        return node is not None and node.name().startswith(("SoftmaxBackward", "SigmoidBackward"))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader should know of the score."""
        if self._bounded:
            return ("the score is a probability: its gradients vanish where the network is sure",)
        return ()


def batches(
    count: int, example: Tensor, progress: Progress | None = None, *, gradients: bool = False
) -> Iterator[range]:
    """`count` examples like `example` [1, ...] in parts that fit into memory; `progress` is told after each of them.

    They are small: what the widest layers put out for a part, and with `gradients` what the way back needs, should not
    fall out of the processor's caches. Of photos, parts of ten take half as long again as parts of four.
    """
    numbers = _MOST_NUMBERS if gradients else _MOST_NUMBERS * 5 // 4
    size = max(1, min(_MOST_EXAMPLES, numbers // max(1, example.numel())))
    for first in range(0, count, size):
        part = range(first, min(count, first + size))
        yield part
        if progress is not None:
            progress(part.stop / count)


def to_array(tensor: Tensor) -> Array:
    """A tensor as a fresh array; bfloat16 as float32."""
    value = tensor.detach().cpu()
    return np.array((value.float() if value.dtype == torch.bfloat16 else value).contiguous().numpy())


def pick(scores: Tensor, target: Target) -> Tensor:
    """The target's scores [N] out of those of a batch [N, classes, ...]."""
    for place in target if isinstance(target, tuple) else (target,):
        scores = scores[:, place]
    return scores


def _fits(given: Shape, wanted: Shape) -> bool:
    return len(given) == len(wanted) and all(w in (-1, g) for g, w in zip(given, wanted, strict=True))


def _shown(shape: Shape) -> str:
    return f"[{', '.join('any' if side < 0 else str(side) for side in shape)}]"
