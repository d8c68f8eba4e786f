"""`epochal show`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from epochal.cli import summary
from epochal.cli.elsewhere import graph_of_file
from epochal.cli.options import add_dir, add_json, add_run, existing_root
from epochal.cli.terminal import Terminal, columns
from epochal.errors import NotFoundError
from epochal.facts import Graph
from epochal.workspace import open as open_workspace

EXAMPLES = """
epochal show latest
epochal show latest --network
epochal show model.onnx --network
epochal show latest --console
epochal show iris/baseline --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    add_run(parser)
    parser.add_argument(
        "--network", action="store_true", help="the network's layers instead of the metrics, of a run or of a file"
    )
    parser.add_argument("--console", action="store_true", help="what the training printed instead of the metrics")
    add_dir(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Print the summary of a run, or its layers."""
    if args.network:
        graph = _graph(args)
        if args.json:
            terminal.json(_network_document(graph))
        else:
            _show_network(graph, terminal)
        return 0
    reader = open_workspace(existing_root(args.dir)).run(args.run)
    if args.console:
        lines = reader.console()
        if args.json:
            terminal.json([asdict(line) for line in lines])
        else:
            for line in lines:
                terminal.line(line.text)
        return 0
    if args.json:
        terminal.json(summary.document(reader))
    else:
        summary.show(reader, terminal)
    return 0


def _graph(args: argparse.Namespace) -> Graph:
    if Path(args.run).is_file():
        return graph_of_file(Path(args.run))
    reader = open_workspace(existing_root(args.dir)).run(args.run)
    graph = reader.graph()
    if graph is None:
        raise NotFoundError(
            f"The run {reader.id} has no recorded network.", hint="Record it with run.watch(model, inputs=one_batch)."
        )
    return graph


def _show_network(graph: Graph, terminal: Terminal) -> None:
    terminal.line(" · ".join(filter(None, [terminal.style(graph.model or "network", "bold"), graph.framework])))
    terminal.line()
    worked = graph.multiply_adds is not None
    head = ["layer", "kind", "in", "out", "activation", "parameters"]
    rows = [[*head, *(["multiply-adds"] if worked else []), "first values"]]
    for layer in graph.layers:
        if layer.role in ("input", "output") and not layer.parameters:
            continue
        initial = {p.initializer for p in layer.parameters if p.initializer and p.role == "weight"}
        rows.append(
            [
                layer.layer_id,
                layer.kind,
                _shapes(layer.inputs),
                _shapes(layer.outputs),
                layer.activation or "",
                f"{layer.parameter_count:,}" if layer.parameters else "",
                *([f"{layer.multiply_adds:,}" if layer.multiply_adds else ""] if worked else []),
                ", ".join(sorted(initial)),
            ]
        )
    for i, text in enumerate(columns(rows, right=(5, 6) if worked else (5,))):
        terminal.line(terminal.style(text, "soft") if i == 0 else text)
    terminal.line()
    frozen = graph.parameter_count - graph.trainable_count
    size = f" ({_bytes(graph.nbytes)} with buffers)" if graph.nbytes else ""
    if graph.parameter_count or not graph.note:
        terminal.line(
            f"{graph.parameter_count:,} parameters{size}" + (f", {frozen:,} of them frozen" if frozen else "")
        )
    if worked:
        least = "at least " if any(layer.multiply_adds is None for layer in graph.layers) else ""
        terminal.line(f"{least}{graph.multiply_adds:,} multiply-adds in the forward pass of one example")
    with_weights = {layer.module for layer in graph.layers if layer.parameter_count}
    again = with_weights & graph.shared.keys()
    for count, one, many in (
        (len(graph.skips), "skip connection", "skip connections"),
        (len(again), "layer is used more than once", "layers are used more than once"),
    ):
        if count:
            terminal.line(f"{count:,} {one if count == 1 else many}")
    if graph.note:
        terminal.note(graph.note)


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _shapes(shapes: tuple[tuple[int, ...], ...]) -> str:
    return ", ".join("×".join("n" if side == -1 else str(side) for side in shape) or "scalar" for shape in shapes)


def _network_document(graph: Graph) -> dict[str, Any]:
    return {
        **asdict(graph),
        "parameter_count": graph.parameter_count,
        "trainable_count": graph.trainable_count,
        "multiply_adds": graph.multiply_adds,
        "bytes": graph.nbytes,
        "skips": [asdict(skip) for skip in graph.skips],
        "shared": graph.shared,
    }
