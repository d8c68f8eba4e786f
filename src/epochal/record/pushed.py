"""`run.log_parameters`: parameters that a training hands over call by call, in place of a model that is watched."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import floor, isfinite
from time import time
from typing import Any, Literal

from epochal.errors import StoreError, UsageError
from epochal.facts import Graph
from epochal.record.guard import Guard
from epochal.record.policy import Account, Look, Policy
from epochal.record.probe import find_probe
from epochal.record.tree import Tree, flatten, home_of
from epochal.record.watch import Watcher
from epochal.store import RunWriter

Kept = Literal["all", "epoch"] | int | None
"""Which calls keep the values and not only their statistics: all, the first of each epoch, one every n steps, none."""

_CONTAINERS = ("dict", "list", "tuple", "OrderedDict", "mappingproxy", "FrozenDict", "State")


@dataclass(slots=True)
class Pushed:
    """What the last call handed over, as the probe of arrays reads it."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    gradients: Mapping[str, Any] | None = None
    activations: Mapping[str, Any] | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    framework: str = "numpy"
    drawn: Graph | None = None

    def graph(self) -> Graph | None:
        """The graph that the user gave, None where there is none."""
        return self.drawn


class Pusher:
    """Takes parameters call by call and looks at them as at a watched model's."""

    def __init__(self, writer: RunWriter, *, guard: Guard) -> None:
        self._writer, self._guard = writer, guard
        self._pushed = Pushed()
        self._watcher: Watcher | None = None
        self._lock = threading.RLock()
        self._epoch: int | None = None
        self._slice: int | None = None
        self._graph: Graph | None = None

    @property
    def looked(self) -> bool:
        """Whether anything was taken."""
        return self._watcher is not None

    def push(
        self,
        parameters: object,
        *,
        gradients: object,
        activations: object,
        step: int,
        epoch: float | None,
        snapshots: Kept,
        graph: Graph | None,
    ) -> None:
        """Look at what is handed over.

        Raises UsageError for what holds no arrays, StoreError where the writer could not free memory in time.
        """
        if not (snapshots in ("all", "epoch", None) or (type(snapshots) is int and snapshots > 0)):
            raise UsageError(f"snapshots is {snapshots!r}", hint="use 'all', 'epoch', a number of steps, or None")
        tree = flatten(parameters)
        slopes = None if gradients is None else flatten(gradients, what="gradients")
        outputs = None if activations is None else flatten(activations, what="activations")
        for part in filter(None, (tree, slopes, outputs)):
            self._tell_others(part)
        with self._lock:
            held = self._pushed
            held.parameters, held.kinds = tree.arrays, tree.kinds
            held.gradients = None if slopes is None else slopes.arrays
            held.activations = None if outputs is None else outputs.arrays
            held.drawn = graph or held.drawn
            held.model = "" if type(parameters).__name__ in _CONTAINERS else type(parameters).__name__
            held.framework = _framework(parameters, tree)
            now = time()
            try:
                watcher = self._watcher
                if watcher is None or (graph is not None and graph != self._graph):
                    watcher, self._graph = watcher or self._begin(), graph
                    watcher.draw(())
                policy = watcher.policy
                policy.first_step, policy.last_step = step if policy.first_step is None else policy.first_step, step
                look = Look(statistics=True, snapshot=self._keeps(step, epoch, snapshots))
                if not watcher.look(look, step, epoch, now):
                    raise StoreError("the writer could not free memory for these parameters in time")
            finally:
                # What is still to be read is referred to by the look; nothing of the user's is kept alive here.
                held.parameters, held.gradients, held.activations = {}, None, None

    def _begin(self) -> Watcher:
        probe = find_probe(self._pushed)
        self._watcher = Watcher(
            probe,
            Policy(None, Account(budget=None)),
            self._writer,
            parameters=True,
            gradients=True,
            chosen=lambda _: True,
            told=self._told,
            failed=self._guard.failed,
        )
        return self._watcher

    def _keeps(self, step: int, epoch: float | None, kept: Kept) -> bool:
        if kept == "epoch":
            before, self._epoch = self._epoch, floor(epoch) if epoch is not None and isfinite(epoch) else self._epoch
            return self._epoch is None or self._epoch != before
        if isinstance(kept, int):
            before, self._slice = self._slice, step // kept
            return self._slice != before
        return kept == "all"

    def _tell_others(self, tree: Tree) -> None:
        if tree.others:
            names = ", ".join(tree.others[:8]) + (", ..." if len(tree.others) > 8 else "")
            self._told(f"{len(tree.others)} values are neither arrays nor numbers and are not recorded: {names}")

    def _told(self, message: str) -> None:
        self._guard.lost("network", message, once=message)

    def finish(self, step: int | None, epoch: float | None, now: float) -> None:
        """Hand over everything that waits."""
        with self._lock:
            watcher, self._watcher = self._watcher, None
            if watcher is not None:
                # The last call was the last look: nothing is read at `step` anew.
                watcher.finish(watcher.policy.last_look, epoch, now)


def _framework(parameters: object, tree: Tree) -> str:
    """Whose network this is: that of its class, else of its first array."""
    first = next(iter(tree.arrays.values()))
    found = home_of(parameters, ("flax", "equinox")) or home_of(first, ("jax", "jaxlib", "torch"))
    return "jax" if found == "jaxlib" else found or "numpy"
