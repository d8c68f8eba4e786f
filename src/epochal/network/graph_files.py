"""Networks' graphs from files that other tools wrote: ONNX, TensorBoard's event files, W&B's and Keras' JSON.

Nothing in such a file is run, and every byte of it may be hostile: sizes and depths have bounds, and what cannot be is
a DamagedError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt

from epochal.errors import DamagedError, NotFoundError, UsageError
from epochal.facts import Edge, Graph, Layer, find_groups, mark_skips
from epochal.facts.activations import activation_word
from epochal.facts.structure import name_activations

__all__ = [
    "MOST_LAYERS",
    "file_bytes",
    "finished",
    "is_graph_file",
    "parsed",
    "read_graph_file",
    "running_order",
]

Array = npt.NDArray[Any]
K = TypeVar("K")

MOST_BYTES = 4 << 30
MOST_LAYERS = 20_000
MOST_TEXT = 64 << 20

# What stands between a layer and "its" activation without changing whose activation it is.
_SEE_THROUGH = ("norm", "dropout", "identity", "biasadd")


def is_graph_file(path: Path) -> bool:
    """Whether a file is, by its name, one that `read_graph_file` reads."""
    return path.suffix.lower() in (".onnx", ".json") or "tfevents" in path.name


def read_graph_file(path: Path) -> tuple[Graph, dict[str, Array]]:
    """Return the graph of a network that a file keeps, and by name those weights whose values lie in it.

    Raises NotFoundError where there is no such file or no graph in it, DamagedError where it says what cannot be.
    """
    if path.suffix.lower() == ".onnx":
        from epochal.network.onnx import read_onnx

        return read_onnx(path)
    if "tfevents" in path.name:
        from epochal.network.events import read_events

        return read_events(path), {}
    if path.suffix.lower() != ".json":
        raise UsageError(f"{path.name} holds no graph that can be read.", hint="Known: .onnx, tfevents, .json.")
    said = parsed(bytes(file_bytes(path, MOST_TEXT)), path.name)
    if isinstance(said, Mapping) and "nodes" in said:
        from epochal.network.wandb_graph import wandb_graph

        return wandb_graph(said, path), {}
    from epochal.network.keras_json import keras_graph

    return keras_graph(said, path.name), {}


def file_bytes(path: Path, most: int = MOST_BYTES) -> memoryview:
    """What a file holds; NotFoundError where there is none, DamagedError where it is larger than `most` bytes."""
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.", hint="It is a folder." if path.is_dir() else "")
    if path.stat().st_size > most:
        raise DamagedError(f"{path.name} is larger than {most >> 20:,} MiB.")
    return memoryview(path.read_bytes())


def parsed(text: bytes, name: str) -> Any:
    """What a JSON text says; DamagedError where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{name} is no JSON: {str(error)[:200]}") from None


def running_order(sources: Mapping[K, Sequence[K]], first: Iterable[K]) -> list[K]:
    """Each of `first`, and all that they take from, behind what it takes from; a loop is entered where it is met."""
    order: list[K] = []
    seen: set[K] = set()
    for start in first:
        waiting = [(start, False)]
        while waiting:
            one, ready = waiting.pop()
            if ready:
                order.append(one)
            elif one not in seen:
                seen.add(one)
                waiting.append((one, True))
                waiting += [(source, False) for source in reversed(sources[one]) if source in sources]
    return order


class Names:
    """The names that are taken."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._taken

    def fresh(self, name: str) -> str:
        """`name`, or that with the next number that is free (`add_2`, `relu@3`) where it is taken; it is taken then."""
        use = re.fullmatch(r"(.*@)(\d+)", name)
        stem = use[1] if use else f"{name}_"
        n, found = self._next.get(stem, int(use[2]) + 1 if use else 2), name or "value"
        while found in self._taken:
            found, n = f"{stem}{n}", n + 1
        self._taken.add(found)
        self._next[stem] = n
        return found


def finished(
    layers: Sequence[Layer],
    edges: Sequence[Edge],
    *,
    model: str,
    framework: str,
    kinds: Mapping[str, str] | None = None,
    separator: str = "/",
    note: str = "",
    weighted: Collection[str] = (),
    functions: Mapping[str, str] | None = None,
) -> Graph:
    """A graph of layers and arrows in running order: with its groups, skip connections and activations.

    `functions` says which activations layers are whose kind does not say it.
    """
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"more than {MOST_LAYERS:,} layers")
    words = {layer.layer_id: word for layer in layers if (word := activation_word(layer.kind))} | dict(functions or {})
    through = {layer.layer_id for layer in layers if any(word in layer.kind.lower() for word in _SEE_THROUGH)}
    return Graph(
        source="declared",
        layers=tuple(name_activations(layers, edges, words, through)),
        edges=mark_skips(layers, edges, weighted=weighted),
        groups=find_groups(layers, kinds, separator=separator),
        model=model,
        framework=framework,
        note=note,
    )
