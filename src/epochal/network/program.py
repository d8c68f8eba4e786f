"""A network with the original module names, made from an exported program and a set of parameters."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import is_concrete_int
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from epochal.errors import NetworkMissingError, UsageError
from epochal.facts import Graph, Shape
from epochal.network.gate import pass_gate
from epochal.network.network import Network, shown
from epochal.network.preparation import Preparation

__all__ = ["ExportedNetwork", "Input", "load_network"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Input:
    """What the network takes at one place: -1 in `shape` may be any size."""

    name: str
    shape: Shape
    dtype: torch.dtype


@final
class ExportedNetwork(Network):
    """A network made from an exported PyTorch program.

    `module` is a `torch.nn.Module` with the dotted names of the original, in eval mode, on the CPU; hooks and gradients
    work on it.
    """

    __slots__ = ("_came", "_inputs", "_structure", "module")

    def __init__(self, program: ExportedProgram, *, graph: Graph | None, step: int | None) -> None:
        super().__init__(graph=graph, step=step)
        self.module: torch.nn.Module = torch.export.unflatten(program)
        self._came: tuple[Path, bool, bool] | None = None
        self._inputs = _inputs_of(program)
        self._structure = program.call_spec.in_spec

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """What the network answers, as arrays, to one batch of arrays or tensors.

        Inputs go by place or by name, or in tuples and dictionaries as the original took them; floating ones are
        brought to the type that the network takes. Raises UsageError for a wrong number, shape or type. Several outputs
        come in the structure that the network gives them.
        """
        leaves, structure = tree_flatten((inputs, named))
        if self._structure is None or structure != self._structure or len(leaves) != len(self._inputs):
            leaves = self._by_name(inputs, named)
        tensors = [_as_tensor(leaf, one) for leaf, one in zip(leaves, self._inputs, strict=True)]
        if self._structure is None or self._structure.num_leaves != len(tensors):
            raise UsageError("The network takes more than tensors: call its `module` as the original was called.")
        args, kwargs = tree_unflatten(tensors, self._structure)
        with torch.no_grad():
            return tree_map(_as_array, self.module(*args, **kwargs))

    def _by_name(self, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> list[Any]:
        """The inputs in order, of those given by their places and by their names."""
        expected = {one.name: one for one in self._inputs}
        if len(inputs) > len(self._inputs) or len(inputs) + len(named) != len(self._inputs) or named.keys() - expected:
            came = [*(f"input {i + 1}" for i in range(len(inputs))), *named]
            raise UsageError(f"The network takes {', '.join(expected)}; it was given {', '.join(came) or 'nothing'}.")
        given = dict(zip(expected, inputs, strict=False)) | dict(named)
        if given.keys() != expected.keys():
            raise UsageError(f"An input was given twice, by its place and as {', '.join(named)}.")
        return [given[name] for name in expected]

    @property
    def input_shape(self) -> Shape | None:
        """Sizes of one example of its first input, without the batch; None where it takes none of one shape."""
        shape = self._inputs[0].shape[1:] if self._inputs and self._inputs[0].shape else None
        return None if shape is None or -1 in shape else shape

    @property
    def takes(self) -> tuple[Input, ...]:
        """Its inputs, in order."""
        return self._inputs

    def run(self, batch: torch.Tensor) -> Any:
        """What the network puts out for a batch of its one input, as tensors that gradients can be taken of."""
        if len(self._inputs) != 1 or self._structure is None or self._structure.num_leaves != 1:
            raise UsageError(f"The network takes {len(self._inputs)} inputs, not one.")
        args, kwargs = tree_unflatten([batch], self._structure)
        return self.module(*args, **kwargs)

    def input_gradients(self, inputs: Any, classes: Any) -> Array:
        """The gradient of the score of class `classes[i]` by example `inputs[i]`: an array like `inputs`.

        The score is what the network puts out for the class; it must put out one tensor [N, classes] for one input.
        """
        if len(self._inputs) != 1 or self._structure is None:
            raise UsageError("Gradients are taken of networks with one input.")
        batch = _as_tensor(inputs, self._inputs[0]).detach().clone()
        if not batch.dtype.is_floating_point:
            raise UsageError(f"{self._inputs[0].name} is not made of floating numbers: it has no gradient.")
        args, kwargs = tree_unflatten([batch.requires_grad_()], self._structure)
        with torch.enable_grad():
            scores = self.module(*args, **kwargs)
            if not isinstance(scores, torch.Tensor) or scores.ndim != 2 or len(scores) != len(batch):
                raise UsageError("Gradients of classes are taken of networks that put out one tensor [N, classes].")
            chosen = torch.as_tensor(np.asarray(classes, np.int64))
            scores[torch.arange(len(batch)), chosen].sum().backward()  # type: ignore[no-untyped-call]
        return np.array(_as_array(batch.grad))

    def state(self) -> dict[str, Array]:
        """Copies of its parameters and buffers by name; bfloat16 as float32, since numpy has no such type."""
        return {name: np.array(_as_array(tensor)) for name, tensor in self.module.state_dict().items()}

    def become(self, state: Mapping[str, Array], step: int) -> None:
        """Take other parameters: those of the same network at another step."""
        _give(self.module, state)
        self.step = step

    def __reduce__(self) -> Any:
        """Sent to another process, it is opened there from the same file, behind the same gate."""
        if self._came is None:
            raise TypeError("a network that was made from no file cannot be sent to another process")
        path, trust, drop_samples = self._came
        again = partial(
            _opened_again, trust=trust, drop_samples=drop_samples, graph=self.graph, step=self.step, state=self.state(),
            preparation=self.preparation, classes=self.classes,
        )  # fmt: skip
        return again, (path,)

    def _takes(self) -> str:
        return ", ".join(f"{one.name} {shown(one.shape)}" for one in self._inputs)


def load_network(
    path: Path,
    *,
    graph: Graph | None,
    step: int | None,
    state: Mapping[str, Array],
    trust: bool,
    drop_samples: bool = False,
) -> ExportedNetwork:
    """Rebuild a network from its file and give it the parameters and buffers in `state` (none: it keeps its own)."""
    source = path if trust else io.BytesIO(pass_gate(path, drop_samples=drop_samples))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of its own use of what it deprecates
            network = ExportedNetwork(torch.export.load(source), graph=graph, step=step)
    except Exception as error:
        # PyTorch raises any kind of error for a program that it does not understand.
        raise NetworkMissingError(
            f"PyTorch {torch.__version__} cannot rebuild the recorded network: {type(error).__name__}: {error}",
            hint="A network recorded by a newer PyTorch needs that version. Snapshots are readable without it.",
        ) from error
    network._came = (path.absolute(), trust, drop_samples)
    if state:
        _give(network.module, state)
    return network


def _opened_again(
    path: Path, *, preparation: Preparation | None, classes: tuple[str, ...], **how: Any
) -> ExportedNetwork:
    network = load_network(path, **how)
    network.preparation, network.classes = preparation, classes
    return network


def _inputs_of(program: ExportedProgram) -> tuple[Input, ...]:
    users = program.graph_signature.user_inputs
    found = []
    for node in program.graph.nodes:
        value = node.meta.get("val") if node.op == "placeholder" and node.name in users else None
        if isinstance(value, torch.Tensor):
            shape = tuple(int(size) if is_concrete_int(size) else -1 for size in value.shape)
            found.append(Input(name=str(node.name), shape=shape, dtype=value.dtype))
    return tuple(found)


def _give(module: torch.nn.Module, state: Mapping[str, Array]) -> None:
    """Copy a snapshot into a module: every name must be there, in its shape; a shared tensor under any of its names."""
    own = module.state_dict(keep_vars=True)
    unknown = sorted(state.keys() - own.keys())
    wrong = [
        f"{name} is {list(state[name].shape)} in the snapshot, {list(tensor.shape)} in the network"
        for name, tensor in own.items()
        if name in state and tuple(state[name].shape) != tuple(tensor.shape)
    ]
    filled = {own[name].data_ptr() for name in own.keys() & state.keys()}
    missing = [name for name, tensor in own.items() if name not in state and tensor.data_ptr() not in filled]
    if unknown or missing or wrong:
        says = [f"the snapshot lacks {', '.join(missing[:5])}"] if missing else []
        says += [f"the network has no {', '.join(unknown[:5])}"] if unknown else []
        raise NetworkMissingError(
            f"The snapshot does not fit the recorded network: {'; '.join([*says, *wrong[:5]])}.",
            hint="The model was changed after `run.watch`; watch it again after such a change.",
        )
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(_bits_as(value, own[name].dtype))


def _bits_as(value: Array, dtype: torch.dtype) -> torch.Tensor:
    """An array as a tensor; types that numpy lacks (bfloat16, float8) come as unsigned integers of the same bits."""
    tensor = torch.from_numpy(np.array(value))
    unsigned = tensor.dtype in (torch.uint8, torch.uint16)
    if unsigned and dtype.is_floating_point and tensor.element_size() == dtype.itemsize:
        return tensor.view(dtype)
    return tensor


def _as_tensor(value: Any, expected: Input) -> torch.Tensor:
    tensor = value.detach() if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
    wanted, given = expected.shape, tuple(tensor.shape)
    if len(wanted) != len(given) or any(w not in (-1, g) for w, g in zip(wanted, given, strict=True)):
        raise UsageError(f"{expected.name} must have the shape {shown(wanted)}; it has {shown(given)}.")
    if tensor.dtype == expected.dtype:
        return tensor
    if expected.dtype.is_floating_point or (not tensor.dtype.is_floating_point and not tensor.dtype.is_complex):
        return tensor.to(expected.dtype)
    types = [str(dtype).removeprefix("torch.") for dtype in (expected.dtype, tensor.dtype)]
    raise UsageError(f"{expected.name} must be of type {types[0]}; it is {types[1]}.")


def _as_array(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    tensor = value.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
