"""Train a small network on a table and record it, through the same three calls that a user has."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import math
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

import epochal
from epochal.demos.images import find_mnist, split_images
from epochal.demos.tables import Part, Split, Table, load_csv, load_table, split
from epochal.errors import MissingExtraError, UsageError

__all__ = ["DEFAULTS", "Defaults", "Material", "Progress", "TableDemo", "Trained", "train"]

Engine = Literal["auto", "torch", "numpy"]
Array = npt.NDArray[Any]

OPTIMIZERS = {"adam": 0.005, "rmsprop": 0.002, "sgd": 0.02}
"""Name -> the learning rate it has when none is given; `sgd` has a momentum of 0.9."""
RATES = {("mnist", "adam"): 0.002}
"""What is better for one demo."""
ACTIVATIONS = ("relu", "tanh", "sigmoid")
LOOKS = 4
"""How often in an epoch a network that learns pictures is looked at."""
EXAMPLES = 500
"""Of so many examples of the test part, at most, what the network says is recorded each epoch."""
LARGEST_LAYER = 65_536
MOST_WEIGHTS = 50_000_000

BETTER: dict[str, Literal["min", "max"]] = {
    "loss": "min", "val_loss": "min", "test_loss": "min",
    "accuracy": "max", "val_accuracy": "max", "test_accuracy": "max",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a demo trains when it is not told otherwise."""

    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    activation: str


DEFAULTS = {
    "mnist": Defaults(hidden=(30,), epochs=10, batch_size=32, activation="sigmoid"),
    "": Defaults(hidden=(12, 12), epochs=150, batch_size=16, activation="relu"),
}
"""By the name of the demo; "" is for all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What is learnt: three parts whose examples have the shape `shape`, and the names of the `classes`.

    `looks` says how often in an epoch the network is looked at; `source` where the data came from; `columns` what the
    features are called, where they have names.
    """

    name: str
    source: str
    parts: Split
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    looks: int = 1
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDemo:
    """What to train: a table by `name`, or a CSV file at `path` with its `target` column; the network; the training.

    The name `mnist` stands for handwritten digits: from the `.npz` file at `path` or wherever they are to be had.
    `hidden` are the sizes of the layers between features and classes. `lr` None takes the optimizer's own
    (`OPTIMIZERS`). `validation` and `test` are fractions of the table. With `batches`, the loss of every batch is
    recorded too, as `batch/loss`.
    """

    name: str = "iris"
    path: str | os.PathLike[str] | None = None
    target: str | None = None
    hidden: tuple[int, ...] = (12, 12)
    epochs: int = 150
    seed: int = 0
    lr: float | None = None
    optimizer: str = "adam"
    batch_size: int = 16
    activation: str = "relu"
    validation: float = 0.2
    test: float = 0.2
    batches: bool = False

    def material(self, say: Callable[[str], None] = lambda _: None) -> Material:
        """The data, in parts. `say` is told what a person should know of where they came from.

        Raises UsageError where the data cannot be learnt from, MissingExtraError where a package is missing.
        """
        if self.name != "mnist":
            return self.divided(self.table())
        if self.target is not None:
            raise UsageError("MNIST has no columns.", hint="Leave --target out.")
        images = find_mnist(self.path, say=say)
        shape = images.training[0].shape[1:]
        looks = LOOKS if len(images.training[1]) > 5_000 else 1
        return Material(
            name=images.name, source=images.source, parts=split_images(images), shape=shape, classes=images.classes,
            looks=looks,
        )  # fmt: skip

    def divided(self, table: Table) -> Material:
        """A table in its parts."""
        parts = split(table, validation=self.validation, test=self.test, seed=self.seed)
        source = table.name if self.path is None else str(self.path)
        shape = (table.features.shape[1],)
        return Material(
            name=table.name,
            source=source,
            parts=parts,
            shape=shape,
            classes=table.classes,
            columns=table.columns,
        )

    def table(self) -> Table:
        """The table itself. Raises UsageError where it cannot be learnt from."""
        if self.path is None:
            if self.target is not None:
                raise UsageError("A target column is given without a file.", hint="Name the file with --data.")
            return load_table(self.name)
        if self.target is None:
            raise UsageError(f"Which column of {self.path} holds the classes?", hint="Name it with --target.")
        return load_csv(Path(self.path), self.target)

    def check(self) -> None:
        """Raise UsageError, naming what was expected, where a setting cannot be."""
        for size in self.hidden:
            _whole("A hidden layer's size", size, 1, LARGEST_LAYER)
        weights = sum(a * b for a, b in pairwise(self.hidden))
        if weights > MOST_WEIGHTS:
            raise UsageError(
                f"The hidden layers have {weights:,} weights between them; {MOST_WEIGHTS:,} is the most.",
                hint="Every epoch keeps a copy of all of them. Choose smaller layers.",
            )
        _whole("The number of epochs", self.epochs, 1, 10_000_000)
        _whole("The batch size", self.batch_size, 1, 10_000_000)
        _whole("The seed", self.seed, 0, 2**32 - 1)
        _known("optimizer", self.optimizer, tuple(OPTIMIZERS))
        _known("activation", self.activation, ACTIVATIONS)
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise UsageError(f"The learning rate must be a number above 0; it is {self.lr}.")

    def learning_rate(self) -> float:
        """`lr`, or the optimizer's own."""
        usual = RATES.get((self.name, self.optimizer), OPTIMIZERS[self.optimizer])
        return usual if self.lr is None else float(self.lr)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is: `epoch` of `epochs` are done, with these metrics."""

    epoch: int
    epochs: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A finished training: where its run lies, and what came of it."""

    project: str
    run_id: str
    name: str
    path: Path
    engine: str
    seconds: float
    metrics: Mapping[str, float]


class Learner(Protocol):
    """A network with its optimizer."""

    engine: str
    network: Any

    def running(self) -> AbstractContextManager[None]:
        """What must hold while it trains."""

    def example(self, x: Array) -> object:
        """A batch as `run.watch` wants its inputs, None where it needs none."""

    def examples(self, x: Array, labels: Array, shown: Array | None) -> Any:
        """Examples as `run.watch` wants them, None where it cannot ask the network."""

    def learn(self, x: Array, labels: Array) -> float:
        """Take one step of training on a batch and return its loss."""

    def evaluate(self, x: Array, labels: Array) -> tuple[float, float]:
        """Mean cross-entropy and accuracy."""


def train(
    demo: TableDemo,
    *,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the word that `epochal.init` has
    on_progress: Callable[[Progress], None] | None = None,
    on_start: Callable[[epochal.Run], None] | None = None,
    pace: float = 0.0,
    engine: Engine = "auto",
    material: Material | None = None,
) -> Trained:
    """Train, record, and say where the run lies.

    The untrained network is evaluated first, as epoch 0; then after each epoch `loss`, `accuracy`, `val_loss` and
    `val_accuracy`; at the end `test_loss` and `test_accuracy`. The same seed gives the same numbers on the same
    machine and engine. `pace` is the least number of seconds an epoch takes, to watch it live. `on_start` is called
    with the run as soon as it is there, `on_progress` after each epoch. `material` is `demo.material()` where that is
    there already. A network that learns pictures is looked at, and evaluated, several times in each epoch.

    Raises UsageError, before any run is made, where the data or a setting cannot be; MissingExtraError where a package
    is missing.
    """
    demo.check()
    _known("engine", engine, ("auto", "torch", "numpy"))
    if not (math.isfinite(pace) and pace >= 0):
        raise UsageError(f"The pace must be a number of seconds, 0 or more; it is {pace}.")
    data = demo.material() if material is None else material
    parts = data.parts
    learner = _learner(engine, data, demo)
    name = "-".join([data.name, *map(str, demo.hidden)]) + (f" seed {demo.seed}" if demo.seed else "")
    start = time.monotonic()
    config = _config(demo, data, learner.engine)
    with (
        learner.running(),
        epochal.init(project=_project(data.name), name=name, config=config, dir=dir, tags=["demo"]) as run,
    ):
        if on_start is not None:
            on_start(run)
        for series, better in BETTER.items():
            run.define(series, better=better)
        asked = _first(parts.test, EXAMPLES)
        # Pictures are kept of all looks: most of what is to be seen happens in the first epoch.
        often = math.ceil(len(parts.training.labels) / demo.batch_size) // data.looks
        run.watch(
            learner.network,
            inputs=learner.example(parts.training.features[:8]),
            snapshots="epoch" if data.looks == 1 else max(1, often),
            # Rows are kept as they were measured, beside what the network takes: z-scores.
            examples=learner.examples(asked.features, asked.labels, asked.measured),
            class_names=data.classes,
            feature_names=data.columns or None,
        )
        metrics = _loop(run, learner, data, demo, on_progress, pace)
        path = run.path
    if path is None:
        raise UsageError("Recording is off, so there is no run to show.")
    return Trained(
        project=run.project,
        run_id=run.id,
        name=name,
        path=Path(path),
        engine=learner.engine,
        seconds=time.monotonic() - start,
        metrics=metrics,
    )


def _loop(
    run: epochal.Run,
    learner: Learner,
    data: Material,
    demo: TableDemo,
    on_progress: Callable[[Progress], None] | None,
    pace: float,
) -> dict[str, float]:
    # Its own generator: the order of the batches does not hang on how the network was drawn.
    random = np.random.default_rng((demo.seed, 1))
    parts, training, step = data.parts, data.parts.training, 0
    batches = math.ceil(len(training.labels) / demo.batch_size)
    between = {math.ceil(batches * look / data.looks): look for look in range(1, data.looks)}
    metrics: dict[str, float] = {}
    for epoch in range(demo.epochs + 1):
        started = time.monotonic()
        if epoch:
            order = random.permutation(len(training.labels))
            for batch in range(batches):
                if batch in between:
                    run.log(_metrics(learner, parts), step=step, epoch=epoch - 1 + between[batch] / data.looks)
                rows = order[batch * demo.batch_size : (batch + 1) * demo.batch_size]
                loss = learner.learn(training.features[rows], training.labels[rows])
                step += 1
                if demo.batches:
                    run.log({"batch/loss": loss}, step=step)
        metrics = _metrics(learner, parts)
        run.log(metrics, step=step, epoch=epoch)
        if on_progress is not None:
            on_progress(Progress(epoch, demo.epochs, metrics))
        if (rest := pace - (time.monotonic() - started)) > 0:
            time.sleep(rest)
    loss, accuracy = learner.evaluate(parts.test.features, parts.test.labels)
    tested = {"test_loss": loss, "test_accuracy": accuracy}
    run.log(tested, step=step)
    return metrics | tested


def _first(part: Part, most: int) -> Part:
    """The first examples of a part, spread over it where it is larger."""
    rows = np.unique(np.linspace(0, len(part.labels) - 1, min(most, len(part.labels))).astype(int))
    measured = None if part.measured is None else part.measured[rows]
    return Part(features=part.features[rows], labels=part.labels[rows], measured=measured)


def _metrics(learner: Learner, parts: Split) -> dict[str, float]:
    loss, accuracy = learner.evaluate(parts.training.features, parts.training.labels)
    val_loss, val_accuracy = learner.evaluate(parts.validation.features, parts.validation.labels)
    return {"loss": loss, "val_loss": val_loss, "accuracy": accuracy, "val_accuracy": val_accuracy}


def _learner(engine: Engine, data: Material, demo: TableDemo) -> Learner:
    chosen = engine if engine != "auto" else "torch" if importlib.util.find_spec("torch") else "numpy"
    try:
        file = importlib.import_module(f"epochal.demos.{chosen}_network")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(
            "PyTorch is not installed.", hint="Install it with `pip install 'epochal[torch]'`, or train with numpy."
        ) from error
    make: Callable[..., Learner] = file.TorchLearner if chosen == "torch" else file.NumpyLearner
    return make(
        (math.prod(data.shape), *demo.hidden, len(data.classes)),
        input_shape=data.shape,
        activation=demo.activation,
        optimizer=demo.optimizer,
        lr=demo.learning_rate(),
        seed=demo.seed,
    )


def _config(demo: TableDemo, data: Material, engine: str) -> dict[str, Any]:
    return {
        "data": data.source,
        "target": demo.target,
        "hidden": list(demo.hidden),
        "activation": demo.activation,
        "optimizer": demo.optimizer,
        "lr": demo.learning_rate(),
        "batch_size": demo.batch_size,
        "epochs": demo.epochs,
        "seed": demo.seed,
        "validation": demo.validation,
        "test": demo.test,
        "engine": engine,
        "features": math.prod(data.shape),
        "classes": list(data.classes),
        "examples": {
            "training": len(data.parts.training.labels),
            "validation": len(data.parts.validation.labels),
            "test": len(data.parts.test.labels),
        },
    }


def _project(name: str) -> str:
    """A table's name as that of a project, which is a folder."""
    return re.sub(r"[^\w-]+", "-", name).strip("-_")[:60] or "table"


def _whole(what: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"{what} must be a whole number from {least:,} to {most:,}; it is {value!r}.")


def _known(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        near = difflib.get_close_matches(str(value), known, 1)
        raise UsageError(
            f"There is no {what} {value!r}.",
            hint=(f"Did you mean {near[0]!r}? " if near else "") + f"Known: {', '.join(known)}.",
        )
