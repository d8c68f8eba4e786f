"""What can be asked of a run's recorded network, and its class images among the tensors of a run."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import EpochalError, UsageError
from epochal.facts import Graph
from epochal.facts.chain import dense_chain
from epochal.lens.films import CLASS_IMAGES, recorded_class_images
from epochal.network.dense import can_run
from epochal.network.recorded import class_names
from epochal.store.reader import StoredRun

__all__ = [
    "MOST_VALUES",
    "SeveralInputs",
    "ask_documents",
    "askable",
    "class_images_document",
    "several_inputs",
    "why_not_askable",
]

MOST_VALUES = 200_704
"""Numbers in one input: 224 x 224 pixels in four channels."""


def askable(run: StoredRun) -> dict[str, Any] | None:
    """An Askable: what one example looks like to the network, None where it cannot be asked.

    It takes one input of a known size, and is either a chain of linear layers or an exported program, for which PyTorch
    is needed here.
    """
    try:
        graph = run.graph()
        if graph is None or len(run.models()) > 1 or not run.snapshot_steps():
            return None
        shape = _input_shape(graph)
        program = run.network_path() is not None and importlib.util.find_spec("torch") is not None
        if shape is None or not (program or can_run(dense_chain(graph))):
            return None
    except (EpochalError, OSError):
        return None
    size = 1
    for side in shape:
        size *= side
    if not 0 < size <= MOST_VALUES:
        return None
    return {"shape": list(shape), "classes": list(class_names(run))}


@dataclass(frozen=True, slots=True)
class SeveralInputs:
    """How one example of each of several inputs becomes what the network takes.

    `shapes` are those of one example, `whole` says which inputs have no batch: they are given as they are.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    whole: tuple[bool, ...]
    batch: int

    def batches(self, inputs: Sequence[Sequence[float]]) -> list[npt.NDArray[np.float32]]:
        """What the network is given: the example, as often as its batch is large. UsageError where it cannot be."""
        if len(inputs) != len(self.shapes):
            raise UsageError(f"The network takes {len(self.shapes)} inputs; it was given {len(inputs)}.")
        found = []
        for name, shape, whole, values in zip(self.names, self.shapes, self.whole, inputs, strict=True):
            if len(values) != prod(shape):
                raise UsageError(f"{name} takes {prod(shape):,} numbers; it was given {len(values):,}.")
            with np.errstate(over="ignore"):
                one = np.array(values, np.float64).astype(np.float32).reshape(shape)
            found.append(one if whole else np.repeat(one[None], self.batch, axis=0))
        return found


def ask_documents(run: StoredRun) -> dict[str, Any]:
    """What a run's facts say of asking its network: `ask`, `ask_inputs` and `ask_reason`."""
    known = askable(run)
    several = None if known is not None else several_inputs(run)
    return {
        "ask": known,
        "ask_inputs": []
        if several is None
        else [{"name": name, "shape": list(shape)} for name, shape in zip(several.names, several.shapes, strict=True)],
        "ask_reason": "" if known or several else why_not_askable(run),
    }


def several_inputs(run: StoredRun) -> SeveralInputs | None:
    """How a network with several inputs is asked, None where it takes one or cannot be asked."""
    try:
        graph = run.graph()
        if graph is None or len(run.models()) > 1 or not run.snapshot_steps() or run.network_path() is None:
            return None
        found = _several(graph)
    except (EpochalError, OSError):
        return None
    return found if isinstance(found, SeveralInputs) and importlib.util.find_spec("torch") is not None else None


def _several(graph: Graph) -> SeveralInputs | str | None:
    """The inputs; None where there are not several, a sentence where their sizes do not say what one example is."""
    layers = [layer for layer in graph.layers if layer.role == "input"]
    if len(layers) < 2:
        return None
    names = tuple(layer.layer_id for layer in layers)
    sizes = [(layer.outputs or layer.inputs or ((),))[0] for layer in layers]
    firsts = {size[0] for size in sizes if size}
    for name, size in zip(names, sizes, strict=True):
        if not size:
            return f"The size of {name} is not known."
        if any(side < 1 for side in size[1:]):
            return f"{name} may be of any size ({' x '.join('any' if s < 0 else str(s) for s in size)})."
    # Where the batch may be of any size, an input of a fixed one has none. Else all examples come in that many.
    free = -1 in firsts
    if not free and len(firsts) > 1:
        return "Its inputs are of different batches."
    whole = tuple(free and size[0] != -1 for size in sizes)
    shapes = tuple(size if alone else size[1:] for size, alone in zip(sizes, whole, strict=True))
    if sum(prod(shape) for shape in shapes) > MOST_VALUES:
        return "Its inputs are too large to be written here."
    return SeveralInputs(names, shapes, whole, 1 if free else max(1, next(iter(firsts))))


def why_not_askable(run: StoredRun) -> str:
    """In a sentence, why `askable` gives None, and what to do."""
    try:
        graph, models = run.graph(), list(filter(None, run.models()))
        if graph is None:
            return "No network was watched."
        inputs = [layer.layer_id for layer in graph.layers if layer.role == "input"]
        python = f"In Python: reader.network(step)({', '.join(inputs) if len(inputs) > 1 else 'inputs'})."
        if len(run.models()) > 1:
            return (
                f"There are several: {', '.join(models)}. In Python: reader.network(step, model={models[0]!r})(inputs)."
            )
        if not run.snapshot_steps():
            return "No snapshot of its parameters was kept."
        if run.network_path() is None and not can_run(dense_chain(graph)):
            return graph.note or "Its program was not recorded."
        if importlib.util.find_spec("torch") is None:
            return "PyTorch is not installed here."
        if isinstance(why := _several(graph), str):
            return f"It takes {len(inputs)} inputs. {why} {python}"
        return f"The size of one input is not known, or it is too large. {python}"
    except (EpochalError, OSError) as error:
        return str(error)


def class_images_document(run: StoredRun) -> dict[str, Any] | None:
    """The TensorDocument of a run's class images, None where it has none that weights alone make."""
    try:
        images = recorded_class_images(run)
    except (EpochalError, OSError):
        return None
    if images is None:
        return None
    return {
        "series": CLASS_IMAGES,
        "kind": "lens",
        "name": "class images",
        "shape": list(images.shape),
        "layout": [],
        "dtype": "float32",
        "frames": len(images.steps),
        "rows": 0,
        "change": None,
    }


def _input_shape(graph: Graph) -> tuple[int, ...] | None:
    chain = dense_chain(graph)
    if chain is not None:
        return chain.input_shape
    inputs = [layer for layer in graph.layers if layer.role == "input"]
    if len(inputs) != 1:
        return None
    shapes = inputs[0].outputs or inputs[0].inputs
    if len(shapes) != 1 or len(shapes[0]) < 2 or any(side < 1 for side in shapes[0][1:]):
        return None
    return shapes[0][1:]
