"""Open the network that a run has recorded, with its parameters as they were at a step."""

from __future__ import annotations

import importlib
import importlib.util
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from epochal.errors import MissingExtraError, NetworkMissingError, NotFoundError, UsageError
from epochal.facts import Graph
from epochal.facts.chain import dense_chain
from epochal.network.dense import DenseNetwork, can_run
from epochal.network.preparation import Preparation

if TYPE_CHECKING:
    from epochal.network.network import Network
    from epochal.network.program import ExportedNetwork
    from epochal.store import StoredRun

__all__ = ["bring_to", "class_names", "open_each", "open_quickly", "open_recorded"]


def open_recorded(run: StoredRun, step: int | None = None, *, model: str | None = None, trust: bool = False) -> Network:
    """The run's network as it was at `step`, a step with a snapshot; the last one when None.

    Of several models `model` names the one that is meant; its parameters have their own names then. The file is checked
    before PyTorch reads it; `trust` lifts that for files that would be refused. A chain of linear layers that was
    recorded without a program, or is opened where PyTorch is not installed, is rebuilt from its graph in numpy.

    Raises UsageError where `model` is left out and there are several, NotFoundError where there is none of its name or
    no snapshot at `step`, naming the nearest; NetworkMissingError when the run has no network or it cannot be rebuilt,
    saying why; UntrustedNetworkError when loading the file could run code; MissingExtraError without PyTorch.
    """
    names, model = _chosen(run, model)
    graph, path = run.graph(model), run.network_path(model)
    there = path is not None and Path(path).is_file()
    if graph is not None and not (there and importlib.util.find_spec("torch")) and can_run(dense_chain(graph)):
        return _rebuilt(run, graph, step, model, names)
    if path is None or not there:
        raise NetworkMissingError(f"Run {run.info().name!r} has no recorded network{_reason(graph)}.", hint=_HINT)
    chosen = choose_step(list(run.snapshot_steps("params")), step)
    state = {} if chosen is None else _own(run.snapshot(chosen), model or "", names)
    network: ExportedNetwork = _torch_file().load_network(
        Path(path), graph=graph, step=chosen, state=state, trust=trust
    )
    return _named(network, run)


def open_quickly(run: StoredRun, step: int | None = None, *, model: str | None = None) -> Network:
    """As `open_recorded`, but a chain of linear layers always in numpy: nothing is loaded or checked first."""
    names, model = _chosen(run, model)
    graph = run.graph(model)
    if graph is not None and can_run(dense_chain(graph)):
        return _rebuilt(run, graph, step, model, names)
    return open_recorded(run, step, model=model)


def open_each(run: StoredRun, steps: Iterable[int], *, model: str | None = None) -> Iterator[Network]:
    """The run's network at each of `steps`, opened as `open_quickly` does.

    A recorded program is checked and loaded once: the network that comes is the same one with other parameters, so
    whoever keeps something of it copies it.
    """
    names, model = _chosen(run, model)
    moving: ExportedNetwork | None = None
    for step in steps:
        if moving is None:
            network = open_quickly(run, step, model=model)
            if not isinstance(network, DenseNetwork):
                moving = cast("ExportedNetwork", network)
            yield network
        else:
            moving.become(_own(run.snapshot(step), model or "", names), step)
            yield moving


def recorded_parameters(
    run: StoredRun, step: int | None = None, *, model: str | None = None
) -> tuple[int, Graph | None, dict[str, Any]]:
    """The step, the graph (None where there is none) and the tensors at a snapshot by name; no network is opened."""
    names, model = _chosen(run, model)
    chosen = choose_step(list(run.snapshot_steps("params")), step)
    if chosen is None:
        raise NotFoundError("There are no parameters: this run has no snapshots.", hint=_SNAPSHOT_HINT)
    return chosen, run.graph(model), _own(run.snapshot(chosen), model or "", names)


def _chosen(run: StoredRun, model: str | None) -> tuple[list[str], str | None]:
    """The names of the run's models, and the one that is meant."""
    names = run.models()
    if model is None:
        if len(names) > 1:
            raise UsageError(
                f"Run {run.info().name!r} has several models: {', '.join(filter(None, names))}.",
                hint=f"Say which one: network(step, model={names[-1]!r}).",
            )
        model = names[0] if names else None
    return names, model


def _rebuilt(run: StoredRun, graph: Graph, step: int | None, model: str | None, names: Sequence[str]) -> Network:
    chosen = choose_step(list(run.snapshot_steps("params")), step)
    if chosen is None:
        raise NotFoundError("There are no parameters: this run has no snapshots.", hint=_SNAPSHOT_HINT)
    return _named(DenseNetwork(graph, _own(run.snapshot(chosen), model or "", names), step=chosen), run)


def bring_to(network: Network, run: StoredRun, step: int) -> bool:
    """Give a network that was opened from a run the parameters of another step; False where it must be opened anew."""
    names, model = _chosen(run, None)
    if isinstance(network, DenseNetwork):
        return False
    cast("ExportedNetwork", network).become(_own(run.snapshot(step), model or "", names), step)
    return True


def class_names(run: StoredRun) -> tuple[str, ...]:
    """The names of the classes, as the config tells them (`classes` or `class_names`), empty where it does not."""
    config = run.info().config
    for key in ("class_names", "classes"):
        named = config.get(key)
        if isinstance(named, list) and all(isinstance(one, str) for one in named):
            return tuple(named)
    return ()


def _named(network: Network, run: StoredRun) -> Network:
    """The network with the names of its classes and the preparation of photos that the run's config tells."""
    network.classes = class_names(run)
    told = Preparation.told(run.info().config.get("preparation"))
    if told is not None and network.input_shape in (None, told.input_shape):
        network.preparation = told
    return network


def choose_step(steps: Sequence[int], step: int | None) -> int | None:
    """`step` when it is one of the growing `steps`, the last of them when None; None when there are no steps at all."""
    if step is None:
        return steps[-1] if steps else None
    at = bisect_left(steps, step)
    if at < len(steps) and steps[at] == step:
        return step
    near = [str(s) for s in steps[max(0, at - 1) : at + 1]]
    if not near:
        raise NotFoundError(f"There is no snapshot at step {step}: this run has no snapshots.", hint=_SNAPSHOT_HINT)
    raise NotFoundError(f"There is no snapshot at step {step}.", hint=f"The nearest: {' and '.join(near)}.")


def _own(state: Mapping[str, Any], model: str, names: Sequence[str]) -> dict[str, Any]:
    """The tensors of one model, by its own names."""
    if model:
        return {name.removeprefix(f"{model}."): value for name, value in state.items() if name.startswith(f"{model}.")}
    others = tuple(f"{name}." for name in names if name)
    return {name: value for name, value in state.items() if not name.startswith(others)}


_HINT = "Record with `run.watch(model, inputs=one_batch)`; parameters at snapshots are there also without a network."
_SNAPSHOT_HINT = "`run.watch(model)` takes one after each epoch, `run.snapshot()` one at this moment."


def _reason(graph: Graph | None) -> str:
    if graph is None:
        return ": no model was watched"
    return f": {graph.note.rstrip('.')}" if graph.note else ""


def _torch_file() -> Any:
    """The file that needs PyTorch, imported when somebody asks."""
    try:
        return importlib.import_module("epochal.network.program")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(
            "Opening a recorded network needs PyTorch.", hint="Install it with `pip install 'epochal[torch]'`."
        ) from error
