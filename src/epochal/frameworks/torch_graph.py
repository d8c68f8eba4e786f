"""The structure of a PyTorch network: exported with its program, seen in one forward call, or only its parameters."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torch.nn.parameter import is_lazy

from epochal.errors import NetworkError
from epochal.facts import Graph
from epochal.frameworks.torch_export import Arguments, export_program, program_bytes, trace_program
from epochal.frameworks.torch_forward import trace_forward
from epochal.frameworks.torch_trace import bare_graph, make_graph

__all__ = ["build_graph", "export_network", "parameter_graph"]


def export_network(module: nn.Module, inputs: object) -> tuple[bytes, Graph]:
    """Export a network to the bytes of a `.pt2` file, and draw its graph.

    `inputs` is one example batch: the tuple of positional inputs of `module`, a mapping of keyword inputs, or one
    tensor. The network is exported in eval mode for batches of any size where it allows that (the graph's note says
    so where it does not); it, its modes and all random generators are left as they were. Takes one to three seconds.

    Raises NetworkError with the reason when the network cannot be exported; `build_graph` then still draws it.
    """
    _ready(module)
    program, note = export_program(module, as_arguments(inputs))
    graph = make_graph(module, trace_program(module, program), source="export", note=note)
    return program_bytes(program), graph


def build_graph(module: nn.Module, inputs: object, *, note: str = "") -> Graph:
    """Draw a network from one forward call with `inputs` (as in `export_network`), which may be any that it takes.

    Raises NetworkError when the forward call fails; `parameter_graph` then still lists the layers.
    """
    _ready(module)
    return make_graph(module, trace_forward(module, as_arguments(inputs)), source="forward", note=note)


def parameter_graph(module: nn.Module, *, note: str = "") -> Graph:
    """The layers of a network and their parameters, without running it: no shapes, no arrows."""
    return bare_graph(module, note=note or "Only the parameters are known: no example inputs were given.")


def as_arguments(inputs: object) -> Arguments:
    """Positional and keyword inputs from what a user gives as one example batch."""
    if isinstance(inputs, Mapping):
        return (), {str(name): value for name, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        return tuple(inputs), {}
    return (inputs,), {}


def _ready(module: nn.Module) -> None:
    if any(is_lazy(parameter) for parameter in module.parameters()):
        # Running it would draw its parameters, which is for the training to do.
        raise NetworkError(
            f"{type(module).__name__} has lazy layers that have not seen data yet.",
            hint="Watch it after its first forward call.",
        )
