"""What can be asked of a run's recorded network, and its class images among the tensors of a run."""

from __future__ import annotations

import importlib.util
from typing import Any

from epochal.errors import EpochalError
from epochal.facts import Graph
from epochal.facts.chain import dense_chain
from epochal.lens.films import CLASS_IMAGES, recorded_class_images
from epochal.network.dense import can_run
from epochal.network.recorded import class_names
from epochal.store.reader import StoredRun

__all__ = ["MOST_VALUES", "askable", "class_images_document", "why_not_askable"]

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


def why_not_askable(run: StoredRun) -> str:
    """In a sentence, why `askable` gives None."""
    try:
        graph, models = run.graph(), list(filter(None, run.models()))
        inputs = [layer for layer in graph.layers if layer.role == "input"] if graph is not None else []
        if graph is None:
            return "No network was watched."
        if len(run.models()) > 1:
            return (
                f"There are several: {', '.join(models)}. In Python: reader.network(step, model={models[0]!r})(inputs)."
            )
        if len(inputs) > 1:
            names = ", ".join(layer.layer_id for layer in inputs)
            return f"It takes {len(inputs)} inputs. In Python: reader.network(step)({names})."
        if not run.snapshot_steps():
            return "No snapshot of its parameters was kept."
        if run.network_path() is None and not can_run(dense_chain(graph)):
            return graph.note or "Its program was not recorded."
        if importlib.util.find_spec("torch") is None:
            return "PyTorch is not installed here."
        return "The size of one input is not known, or it is too large. In Python: reader.network(step)(inputs)."
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
