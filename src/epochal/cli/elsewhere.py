"""`epochal view NETWORK`: a network from a file, a library or the user's own code as a run of one step."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from epochal.cli.terminal import Terminal
from epochal.errors import UsageError
from epochal.facts import Graph
from epochal.network.elsewhere import ACTIVATIONS, OUTPUTS, chain_graph, read_arrays
from epochal.network.graph_files import is_graph_file, read_graph_file
from epochal.network.sources import LIBRARIES

if TYPE_CHECKING:
    from epochal.network import Network

__all__ = ["ACTIVATIONS", "OUTPUTS", "graph_of_file", "is_named", "is_network", "open_typed", "record_file"]

_SUFFIXES = (".npz", ".safetensors", ".pt", ".pth", ".pt2")
_CODE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_PROJECT = "opened"


def is_network(word: str) -> bool:
    """Whether a word is the name of such a file, or of a network, rather than of a folder."""
    path = Path(word)
    return not path.is_dir() and (word.lower().endswith(_SUFFIXES) or is_graph_file(path) or is_named(word))


def graph_of_file(path: Path) -> Graph:
    """The graph of the network that a file holds."""
    if is_graph_file(path):
        return read_graph_file(path)[0]
    if path.suffix.lower() == ".pt2":
        raise UsageError(f"{path.name} is a program.", hint=f"See its network with `epochal view {path.name}`.")
    return chain_graph(read_arrays(path), model=path.stem)


def is_named(word: str) -> bool:
    """Whether a word names a network of a library (`timm:resnet18`) or code (`package.module:function`)."""
    library, colon, name = word.partition(":")
    return bool(colon and name) and not Path(word).exists() and (library in LIBRARIES or bool(_CODE.fullmatch(word)))


def open_typed(
    word: str, *, weights: str | None = None, input_shape: Sequence[int] | None = None, **how: Any
) -> Network:
    """The network that a word means which the person at this terminal typed: it may name code, which is run."""
    from epochal.network.sources import open_code, open_source

    if is_named(word) and word.partition(":")[0] not in LIBRARIES:
        # Modules of this folder are found, as with `python -m`.
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return open_code(word, weights=weights, input_shape=input_shape)
    return open_source(word, weights=weights, input_shape=input_shape, **how)


class _Arrays:
    """Parameters without a graph, as `run.watch` takes them."""

    def __init__(self, parameters: Mapping[str, npt.NDArray[Any]]) -> None:
        self.parameters = dict(parameters)


class _Network(_Arrays):
    """Parameters with their graph."""

    def __init__(self, parameters: Mapping[str, npt.NDArray[Any]], graph: Graph) -> None:
        super().__init__(parameters)
        self._graph = graph

    def graph(self) -> Graph:
        """What the network is."""
        return self._graph


def record_file(path: Path, root: Path, args: argparse.Namespace, terminal: Terminal) -> str:
    """Record the network of a file, or that a name means, below `root`; return the page of the Studio that shows it."""
    from epochal.record import init

    if path.suffix.lower() == ".pt2" or is_named(args.folder):
        return _record_network(root, args)
    if is_graph_file(path):
        return _record_graph(path, root, args)
    arrays = read_arrays(path)
    holder: _Arrays
    try:
        graph = chain_graph(
            arrays,
            input_shape=args.input_shape,
            activation=args.activation or "relu",
            output=args.output or "none",
            model=path.stem,
        )
        holder = _Network(arrays, graph)
    except UsageError as error:
        if args.input_shape or args.activation or args.output:
            raise
        terminal.warn(f"Only the weights are shown, this network cannot be asked: {error.message}")
        holder = _Arrays(arrays)
    root.mkdir(parents=True, exist_ok=True)
    config = {"file": path.name, "input_shape": args.input_shape, "activation": args.activation, "output": args.output}
    given = {key: value for key, value in config.items() if value is not None}
    with init(
        project=_PROJECT, name=path.stem, dir=root, config=given, system=False, console=False, code=False, strict=True
    ) as run:
        run.watch(holder, budget=None)
        run.snapshot(step=0)
    return f"#/weights?run={run.project}/{run.id}&view=pictures"


def _record_graph(path: Path, root: Path, args: argparse.Namespace) -> str:
    """The graph that a file of another tool keeps, and its weights; it cannot be asked."""
    from epochal.record import init

    if args.input_shape or args.activation or args.output:
        raise UsageError(f"{path.name} says itself what its network is.", hint="Leave the options out.")
    graph, arrays = read_graph_file(path)
    root.mkdir(parents=True, exist_ok=True)
    with init(
        project=_PROJECT, name=graph.model, dir=root, config={"file": path.name}, system=False, console=False,
        code=False, strict=True,
    ) as run:  # fmt: skip
        if arrays:
            run.watch(_Network(arrays, graph), budget=None)
            run.snapshot(step=0)
        else:
            run.log_graph(_Network(arrays, graph))
    return f"#/network?run={run.project}/{run.id}"


def _record_network(root: Path, args: argparse.Namespace) -> str:
    """A network that can be asked: exported as in a training, with the names of its classes and how it takes photos."""
    from epochal.record import init

    if args.activation or args.output:
        raise UsageError("This network says itself what its layers do.", hint="Leave the options out.")
    word = args.folder
    network = open_typed(word, weights=args.weights, input_shape=args.input_shape)
    shape = network.input_shape
    if shape is None:
        raise UsageError(f"{word} does not say what it takes.", hint="Say it: --input-shape 3 224 224.")
    fixed = getattr(network, "takes", None)
    size = fixed[0].shape[0] if fixed and fixed[0].shape and fixed[0].shape[0] > 0 else 2
    config: dict[str, Any] = {"network": word}
    if network.classes:
        config["class_names"] = list(network.classes)
    if network.preparation is not None:
        config["preparation"] = network.preparation.settings()
    name = Path(word).stem if word.lower().endswith(_SUFFIXES) else word.partition(":")[2]
    root.mkdir(parents=True, exist_ok=True)
    with init(
        project=_PROJECT, name=name, dir=root, config=config, system=False, console=False, code=False, strict=True
    ) as run:
        blank = np.zeros((size, *shape), np.float32)
        run.watch(network.module, inputs=(_as_taken(network.module, blank),), gradients=False, activations=False)
        run.snapshot(step=0)
    return f"#/lens?run={run.project}/{run.id}"


def _as_taken(module: Any, batch: npt.NDArray[Any]) -> Any:
    """The batch as a tensor in the type of the module's parameters."""
    torch: Any = sys.modules["torch"]  # it made the module
    like = next((p for p in module.parameters() if p.dtype.is_floating_point), None)
    return torch.as_tensor(batch, dtype=None if like is None else like.dtype)
