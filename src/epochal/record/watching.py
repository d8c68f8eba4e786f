"""The part of a run that looks at networks: models that are watched, parameters that are handed over."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from time import time
from typing import Literal, SupportsIndex

from epochal.errors import UsageError
from epochal.facts import Graph
from epochal.record.edge import Edge
from epochal.record.examined import Examined, Outputs
from epochal.record.models import Model
from epochal.record.policy import DISK_BYTES, Account, Policy, Snapshots
from epochal.record.probe import find_probe
from epochal.record.pushed import Kept, Pusher
from epochal.record.ranks import Place
from epochal.record.values import as_number
from epochal.record.watch import Watcher
from epochal.store import RunWriter
from epochal.store.memory import hold_memory

_BEGINNING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Schedule:
    """When all watched models of a run are looked at, and what it may cost; checked when made."""

    snapshots: Snapshots = "epoch"
    every: int = 1
    budget: float | None = 0.02
    disk: float | None = DISK_BYTES
    gradient_snapshots: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for what cannot be."""
        kept = self.snapshots
        if not (kept is None or kept == "epoch" or (type(kept) is int and kept > 0)):
            raise UsageError(f"snapshots is {kept!r}", hint="use 'epoch', a number of steps, or None")
        if type(self.every) is not int or self.every < 1:
            raise UsageError(f"every is {self.every!r}", hint="give a number of steps, such as 10")
        if self.budget is not None and not 0 <= self.budget <= 1:
            raise UsageError(
                f"budget is {self.budget!r}",
                hint="give a part of the training's time, such as 0.02, or None for no limit",
            )
        if self.disk is not None and not self.disk > 0:
            raise UsageError(f"disk is {self.disk!r}", hint="give a number of bytes, such as 4e9, or None for no limit")

    def check(self, running: Schedule) -> None:
        """Raise UsageError where this one asks for something else than the one that is running."""
        for part in fields(self):
            asked, given = getattr(self, part.name), getattr(running, part.name)
            if asked not in (given, part.default):
                raise UsageError(
                    f"{part.name} is {asked!r} here and {given!r} for the models that are watched already",
                    hint="all models of a run are looked at by one schedule: that of the first watch() call",
                )


class Watching(Edge):
    """The part of `Run` that looks at networks."""

    __slots__ = ("_examined", "_pusher", "_schedule", "_untrained", "_watcher")

    _watcher: Watcher | None
    _pusher: Pusher | None
    _examined: dict[int, Examined]
    """What asks each watched network about examples, by the network's identity."""
    _schedule: Schedule
    _untrained: bool
    _place: Place

    def watch(
        self,
        model: object,
        *,
        name: str | None = None,
        inputs: object = None,
        parameters: bool = True,
        gradients: bool = True,
        activations: bool = True,
        snapshots: Snapshots = "epoch",
        every: int = 1,
        budget: float | None = 0.02,
        disk: float | None = DISK_BYTES,
        gradient_snapshots: bool = False,
        targets: str | Sequence[str] | None = None,
        examples: tuple[object, object] | tuple[object, object, object] | None = None,
        class_names: Sequence[str] | None = None,
        feature_names: Sequence[str] | None = None,
        outputs: Outputs | None = None,
        ranks: Literal["first", "all"] = "first",
    ) -> None:
        """Record the network itself: its graph and program, and its parameters, gradients and activations over time.

        `model` is a torch.nn.Module or a mapping of names to numpy arrays (or an object with such a mapping as
        `parameters`). Of several models in one run each gets a `name`, which its tensors' names begin with; all are
        looked at by the schedule that the first call gave. `inputs` is one example batch; without it the first training
        batch is used.

        Snapshots of all parameters are kept at each new epoch of `log(epoch=...)` (where no epoch is ever logged: at
        log calls, as the budget allows), every `snapshots` steps, or with None only by `run.snapshot()`; with
        `gradient_snapshots` those of all gradients too. They take at most `disk` bytes (None: whatever they take): then
        some in between are let go of, ever more of the later ones, never the best (`run.define`), the last, nor those
        of `run.snapshot()`. Statistics and histograms are kept at the same steps, and in between at steps `every` apart
        as long as looking takes less than the part `budget` of the training's time (None: whatever it takes, and
        training waits where the writer is behind). `parameters`, `gradients`, `activations` and `targets` (names of
        tensors or patterns such as `layers.0.*`) say what statistics are made of.

        With `examples`, (x, y) or (x, y, shown), the network is asked about the same examples each epoch (and every
        `snapshots` steps, where that is a number), in evaluation mode and leaving the training as it was. What it says
        is recorded as `log_predictions` does: x is what it is given, y the right answers, `shown` (x itself) what
        people see. `outputs` says what it puts out: "raw" scores (None, unless the numbers look like probabilities,
        which is an error), "softmax" or "sigmoid".

        In a distributed training only rank 0 looks, for there all ranks have the same parameters; `ranks="all"` lets
        each process look at its own, as where each trains another part of a network.
        """
        if self._writer is None or self._append is None:
            self._refuse()
            return
        if self._is_spared(ranks):
            return
        with self._guard.over("run.watch()"):
            if self._pusher is not None and self._pusher.looked:
                raise UsageError(
                    "parameters were handed over by log_parameters already",
                    hint="use either of the two in a run, or call run.unwatch() between them",
                )
            if self._watcher is not None and all(watched.probe.gone for watched in self._watcher.models):
                self.unwatch()
            schedule = Schedule(snapshots, every, budget, disk, gradient_snapshots)
            if gradient_snapshots and not gradients:
                raise UsageError("gradient_snapshots=True asks for gradients, gradients=False for none")
            self._check_name(name, model, schedule)
            hold_memory()
            probe = find_probe(model, activations=activations, gradients=gradients)
            watched = Model(
                name=name or "",
                probe=probe,
                parameters=parameters,
                gradients=gradients,
                chosen=_chooser(targets),
                identity=id(model),
                activations=activations,
            )
            try:
                self._watch(self._writer, watched, inputs, schedule)
            except BaseException:
                probe.close()
                raise
            untrained, self._untrained = self._untrained, False
            if examples is not None and self._watcher is not None:
                asked = self._examined[id(model)] = Examined(
                    probe,
                    examples,
                    outputs=outputs,
                    account=self._watcher.policy.account,
                    log=self._log_examined,
                    name=f"{name}/predictions" if name else "predictions",
                    class_names=class_names,
                    feature_names=feature_names,
                    every=self._schedule.snapshots if isinstance(self._schedule.snapshots, int) else 0,
                )
                if untrained or (self.step is None and len(self._watcher.models) > 1):
                    asked.begin(self.step)

    def _ask(self, step: int, epoch: float | None, now: float) -> None:
        """Ask the networks about their examples where this log call is one of a new epoch."""
        for asked in list(self._examined.values()):
            with self._guard.over("run.watch(examples=...)"):
                if not asked.probe.gone:
                    asked.tick(step, epoch, now)

    def _ask_last(self, identity: int | None = None) -> None:
        """Ask about the last step, and let go of the examples: of one network, or of all."""
        for key in list(self._examined) if identity is None else [identity]:
            if (asked := self._examined.pop(key, None)) is not None:
                with self._guard.over("run.watch(examples=...)"):
                    asked.finish(self.step)

    def _is_spared(self, ranks: str) -> bool:
        """Whether looking is left to rank 0."""
        if ranks not in ("first", "all"):
            self._guard.failed("run.watch()", UsageError(f"ranks is {ranks!r}", hint="use 'first' or 'all'"))
        return ranks != "all" and self._place.rank > 0

    def _check_name(self, name: str | None, model: object, schedule: Schedule) -> None:
        if name is not None and not (isinstance(name, str) and re.fullmatch(r"\w[\w-]*", name)):
            raise UsageError(f"name is {name!r}", hint="use letters, digits, '_' and '-', such as 'generator'")
        if self._watcher is None:
            return
        there = [watched for watched in self._watcher.models if not watched.probe.gone]
        if any(watched.identity == id(model) for watched in there):
            raise UsageError("this model is being watched already", hint="call run.unwatch() first")
        if name is None:
            raise UsageError(
                "a model is being watched already, a second one needs a name",
                hint="call run.watch(model, name='critic'), or run.unwatch() first",
            )
        if any(watched.name == name for watched in there):
            raise UsageError(f"a model called {name!r} is being watched already", hint="give this one another name")
        schedule.check(self._schedule)

    def _watch(self, writer: RunWriter, model: Model, inputs: object, schedule: Schedule) -> None:
        if self._watcher is not None:
            self._watcher.add(model, inputs, step=self.step, now=time())
            return
        watcher = Watcher(
            model,
            Policy(schedule.snapshots, Account(budget=schedule.budget), schedule.every, schedule.disk),
            writer,
            gradient_snapshots=schedule.gradient_snapshots,
            told=lambda message: self._guard.lost("network", message, once=message),
            failed=self._guard.failed,
        )
        watcher.begin(inputs, step=self.step, untrained=self._untrained, now=time())
        self._watcher, self._schedule = watcher, schedule

    def unwatch(self, model: object = None) -> None:
        """Stop watching: take the last look, and let go of the model.

        With `model`, one of several or its name, the others are watched on; without, all are let go of.
        """
        looking = self._watcher or self._pusher
        if looking is None or self._closed:
            self._watcher = self._pusher = None
            self._examined = {}
            return
        with self._guard.over("run.unwatch()"):
            if model is not None and self._watcher is not None:
                found = self._find(self._watcher, model)
                self._ask_last(found.identity)
                if len(self._watcher.models) > 1:
                    self._watcher.remove(found, self.step, self._epoch, time())
                    return
            self._ask_last()
            self._watcher = self._pusher = None
            looking.finish(self.step, self._epoch, time())

    @staticmethod
    def _find(watcher: Watcher, model: object) -> Model:
        for watched in watcher.models:
            if watched.identity == id(model) or (isinstance(model, str) and watched.name == model):
                return watched
        names = ", ".join(repr(watched.name) for watched in watcher.models if watched.name)
        raise UsageError(
            "unwatch() got a model that is not being watched",
            hint=f"give the very object that was watched{f', or one of {names}' if names else ''}",
        )

    def snapshot(self, step: SupportsIndex | None = None) -> None:
        """Keep all parameters of the watched models as they are now, as those of `step` (the last one logged).

        Such a snapshot is never let go of, however much room snapshots take.
        """
        if self._append is None:
            self._refuse()
            return
        with self._guard.over("run.snapshot()"):
            if self._watcher is None:
                if self._place.rank:
                    return  # rank 0 takes it
                raise UsageError("no model is being watched", hint="call run.watch(model) first")
            at = max(self._step, 0) if step is None else self._as_step(step)
            if not self._watcher.snapshot(at, self._epoch, time()):
                message = "the writer could not free memory for the snapshot in time"
                if self._guard.strict:
                    raise UsageError(message)
                self._guard.told(f"run.snapshot() failed, training goes on: {message}", once="snapshot")

    def log_parameters(
        self,
        parameters: object,
        *,
        gradients: object = None,
        activations: object = None,
        step: SupportsIndex | None = None,
        epoch: float | None = None,
        snapshots: Kept = "all",
        graph: Graph | None = None,
    ) -> None:
        """Record parameters as they are now: those of networks that are no objects which `watch` could look at.

        `parameters` is a container of arrays (numpy, JAX, PyTorch), nested as you like: mappings, lists, tuples, named
        tuples, dataclasses, Flax and Equinox modules. Their names are the way to them, joined by dots. `gradients` and
        `activations` are containers of the same kind; a gradient belongs to the parameter of its name. Recorded are
        statistics and histograms of all, and of the parameters also their values: at every call (`snapshots="all"`),
        at the first of each whole epoch ("epoch"), every n steps, or never (None). `step` and `epoch` are the last ones
        logged where they are not given; the counter of `log` stays where it is. `graph` tells how the network is built,
        once; without it layers are drawn from the names.
        """
        append = self._append
        if append is None or self._writer is None:
            self._refuse()
            return
        with self._guard.over("run.log_parameters()"):
            if self._watcher is not None:
                raise UsageError(
                    "a model is being watched: its parameters are recorded already",
                    hint="use either of the two in a run, or call run.unwatch() between them",
                )
            if self._place.rank:
                return  # those of rank 0 are recorded
            at = max(self._step, 0) if step is None else self._as_step(step)
            if epoch is not None and (number := as_number(epoch)) is not None and number != self._epoch:
                append({"epoch": number}, at, time())
                self._epoch = number
            with _BEGINNING:
                pusher = self._pusher = self._pusher or Pusher(self._writer, guard=self._guard)
            pusher.push(
                parameters,
                gradients=gradients,
                activations=activations,
                step=at,
                epoch=self._epoch,
                snapshots=snapshots,
                graph=graph,
            )


def _chooser(targets: str | Sequence[str] | None) -> Callable[[str], bool]:
    if targets is None:
        return lambda _: True
    patterns = (targets,) if isinstance(targets, str) else tuple(targets)
    return lambda name: any(fnmatchcase(name, p) or name.startswith(p + ".") for p in patterns)
