"""`epochal view net.npz`: a network from a file as a run of one step."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from epochal.cli.terminal import Terminal
from epochal.errors import UsageError
from epochal.facts import Graph
from epochal.network.elsewhere import ACTIVATIONS, OUTPUTS, chain_graph, read_arrays

__all__ = ["ACTIVATIONS", "OUTPUTS", "is_network", "record_file"]

_SUFFIXES = (".npz", ".safetensors", ".pt", ".pth", ".onnx")


def is_network(path: str) -> bool:
    """Whether a word is the name of such a file rather than of a folder."""
    return path.lower().endswith(_SUFFIXES) and not Path(path).is_dir()


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
    """Record the network of a file below `root`; return the page of the Studio that shows it."""
    from epochal.record import init

    if path.suffix.lower() == ".onnx":
        return _record_onnx(path, root, args)
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
        project="opened", name=path.stem, dir=root, config=given, system=False, console=False, code=False, strict=True
    ) as run:
        run.watch(holder, budget=None)
        run.snapshot(step=0)
    return f"#/weights?run={run.project}/{run.id}&view=pictures"


def _record_onnx(path: Path, root: Path, args: argparse.Namespace) -> str:
    """The graph of an ONNX file and its weights; it cannot be asked."""
    from epochal.network.onnx import read_onnx
    from epochal.record import init

    if args.input_shape or args.activation or args.output:
        raise UsageError("An ONNX file says itself what its network is.", hint="Leave the options out.")
    graph, arrays = read_onnx(path)
    root.mkdir(parents=True, exist_ok=True)
    with init(
        project="opened", name=path.stem, dir=root, config={"file": path.name}, system=False, console=False, code=False,
        strict=True,
    ) as run:  # fmt: skip
        if arrays:
            run.watch(_Network(arrays, graph), budget=None)
            run.snapshot(step=0)
        else:
            run.log_graph(_Network(arrays, graph))
    return f"#/network?run={run.project}/{run.id}"
