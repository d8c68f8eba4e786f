"""The loop that trains any network: what a trial of a lab does unless it names a training of its own.

With the same parameters, seed, data, machine and number of threads, two trainings log the same numbers to the last bit;
on an accelerator only as far as its operations are deterministic. Times alone differ.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from epochal.demos.volumes import Block, Volumes
from epochal.errors import DivergedError, UsageError
from epochal.lab.named import find_data, find_model
from epochal.lab.training_checkpoint import forget_checkpoint, read_checkpoint, write_checkpoint
from epochal.lab.training_parts import augment, loss_of, make_optimiser, rate_at
from epochal.lab.training_settings import Settings, divide, given_by_data
from epochal.record import Run

__all__ = ["check", "read_checkpoint", "sparing_a_core", "train"]

Model = str | Callable[..., Any]
Metrics = dict[str, float]

EVALUATED_TOGETHER = 512
CHECKPOINT_SECONDS = 30.0
"""In a longer epoch the state is kept in between as often as this."""
SHOWN_BYTES = 8 << 20
"""Larger validation sets are recorded by what the network says of them alone, without the examples."""
BETTER: dict[str, Literal["min", "max"]] = {
    "train/loss": "min", "val/loss": "min", "test/loss": "min",
    "train/accuracy": "max", "val/accuracy": "max", "test/accuracy": "max",
}  # fmt: skip


def check(parameters: Mapping[str, Any], *, model: Model, data: str | Volumes | None = None) -> None:
    """Raise UsageError for parameters that neither the training nor the network of `model` has, or that cannot be.

    With `data` the network is made, too, so that what does not fit is said.
    """
    settings, wanted = divide(parameters, find_model(model))
    if data is not None:
        examples = find_data(data)
        loss_of(settings, classes=bool(examples.classes))
        with _seeded(0):
            _made(find_model(model), examples, wanted)


def train(
    run: Run,
    parameters: Mapping[str, Any],
    *,
    model: Model,
    data: str | Volumes,
    seed: int,
    validation: float | None = None,
    restore: Mapping[str, Any] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_epoch: Callable[[int, int, Mapping[str, float]], None] | None = None,
) -> Metrics:
    """Train a network and record it in `run`, which stays open; return what came of it.

    `parameters` are those of the training (`Settings`: `learning_rate`, `epochs`, `batch_size`, `optimiser`, ...) and
    of the network, which the factory `model` takes by keyword; it is told `input_shape` (of one example) and `classes`
    (1 where labels are numbers) if it asks for them. `model` and `data` are names (`find_model`, `find_data`) or the
    things themselves; `validation` is the share of the training part that validates.

    Logged after each epoch, at the number of updates as step: `train/loss` and `train/accuracy` (means over the epoch,
    while it learns), `val/loss`, `val/accuracy`, `learning_rate`, `seconds` (of the epoch); at the end `test/loss` and
    `test/accuracy` where there is a test part. The network is watched at the default budget, and what it says of the
    validation part at the end is recorded as `predictions`.

    `restore` is what `read_checkpoint` found in the folder of a run that was broken off: the training goes on from
    there with the same numbers as if it had not been, and logs into a new run what the old one had logged. Where
    `should_stop()` comes true, the state is kept and the training ends after the batch. `on_epoch` is called with the
    epoch, how many there are, and its numbers.

    Returned are the last values (`train_loss`, `val_accuracy`, `test_accuracy`, ...), `best_val_loss`,
    `best_val_accuracy`, `best_epoch` (of the lowest validation loss), `epochs` that were trained, `weights` of the
    network, and `seconds`.

    Raises UsageError before anything trains where parameters, model or data cannot be; DivergedError where
    `stop_on_nan` was asked for and a loss is not finite.
    """
    factory = find_model(model)
    settings, wanted = divide(parameters, factory)
    examples = find_data(data, validation=validation)
    with _seeded(seed):
        network = _made(factory, examples, wanted)
        training = _Training(run, settings, network, examples, seed, dict(parameters))
        training.begin(restore)
        training.epochs(should_stop, on_epoch)
        return training.end()


def _made(factory: Callable[..., Any], data: Volumes, wanted: Mapping[str, Any]) -> nn.Module:
    given = given_by_data(factory, input_shape=tuple(data.shape), classes=len(data.classes) or 1)
    network = factory(**given, **wanted)
    if not isinstance(network, nn.Module):
        raise UsageError(f"The factory gave a {type(network).__name__}, not a torch.nn.Module.")
    return network


@dataclass(slots=True)
class _Sums:
    """What is added up over the batches of an epoch."""

    loss: float = 0.0
    right: int = 0
    count: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _State:
    """Where the training is: `epoch` are done, and `batch` batches of the next one."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    sums: _Sums = field(default_factory=_Sums)
    rows: list[tuple[int, int, Metrics]] = field(default_factory=list)
    """What was logged: step, epoch, numbers."""
    since_best: int = 0
    seconds: float = 0.0
    stopped: bool = False


class _Training:
    """A network in training: everything that `train` does, in its order."""

    def __init__(
        self, run: Run, settings: Settings, network: nn.Module, data: Volumes, seed: int, parameters: dict[str, Any]
    ) -> None:
        self._run, self._settings, self._data = run, settings, data
        self._identity = {"parameters": repr(sorted(parameters.items(), key=str)), "seed": seed, "data": data.source}
        self._device = _device(settings.device)
        self._network = network.to(self._device)
        self._optimiser = make_optimiser(settings, network.parameters())
        self._loss = loss_of(settings, classes=bool(data.classes))
        self._order = torch.Generator().manual_seed(seed)
        self._began = self._order.get_state()
        self._state = _State()
        self._kept = time.monotonic()
        self._told = False
        self._training = self._tensors(data.training)
        self._validation = self._tensors(data.validation)

    def begin(self, restore: Mapping[str, Any] | None) -> None:
        """Say what is better, watch the network, and go on from where it was."""
        for name, better in BETTER.items():
            if self._data.classes or not name.endswith("accuracy"):
                self._run.define(name, better=better)
        if restore is not None:
            self._restore(restore)
        self._run.watch(self._network, inputs=(self._some(self._training[0], slice(0, 8)),))

    def epochs(
        self, should_stop: Callable[[], bool], on_epoch: Callable[[int, int, Mapping[str, float]], None] | None
    ) -> None:
        """Train until the last epoch, or until there is a reason to stop."""
        state, settings = self._state, self._settings
        while state.epoch < settings.epochs and not state.stopped:
            if not self._epoch(should_stop):
                state.stopped = True
                self._keep()
                return
            numbers = self._numbers()
            state.epoch, state.batch, state.sums = state.epoch + 1, 0, _Sums()
            state.rows.append((state.step, state.epoch, numbers))
            self._run.log(numbers, step=state.step, epoch=state.epoch)
            self._judge()
            self._keep()
            if on_epoch is not None:
                on_epoch(state.epoch, settings.epochs, numbers)

    def end(self) -> Metrics:
        """Test, record what the network says of the validation part, and tell what came of the training."""
        state, run = self._state, self._run
        if not state.rows:
            return {"epochs": 0.0, "seconds": state.seconds}
        epochs = [(epoch, numbers) for _, epoch, numbers in state.rows]
        last = epochs[-1][1]
        found = {name.replace("/", "_"): value for name, value in last.items() if "/" in name}
        finite = [(numbers["val/loss"], epoch) for epoch, numbers in epochs if math.isfinite(numbers["val/loss"])]
        if finite:
            found["best_val_loss"], found["best_epoch"] = min(finite)
        if "val/accuracy" in last:
            found["best_val_accuracy"] = max(numbers["val/accuracy"] for _, numbers in epochs)
        interrupted = state.stopped and state.batch > 0
        if self._data.test is not None and not interrupted:
            tested, _ = self._evaluate(self._tensors(self._data.test))
            tests = {f"test/{name}": value for name, value in tested.items()}
            run.log(tests, step=state.step)
            found |= {name.replace("/", "_"): value for name, value in tests.items()}
        if self._data.classes and not interrupted:
            self._predict()
        found["epochs"] = float(state.epoch)
        found["weights"] = float(sum(p.numel() for p in self._network.parameters()))
        found["seconds"] = state.seconds
        if not interrupted:
            forget_checkpoint(run.path)
        return found

    def _epoch(self, should_stop: Callable[[], bool]) -> bool:
        """Train the rest of an epoch; False where it was broken off."""
        state, settings, size = self._state, self._settings, self._settings.batch_size
        features, labels = self._training
        self._began = self._order.get_state()
        order = torch.randperm(len(labels), generator=self._order)
        batches = math.ceil(len(labels) / size)
        constant = settings.schedule == "constant" and not settings.warmup
        self._network.train()
        while state.batch < batches:
            started = time.perf_counter()
            rows = order[state.batch * size : (state.batch + 1) * size].to(self._device)
            x, truth = self._some(features, rows), labels[rows]
            if settings.augmentations:
                x = augment(x, settings.augmentations, chance=settings.augmentation_chance)
            if not constant:
                self._set_rate(rate_at(settings, state.epoch + state.batch / batches))
            self._optimiser.zero_grad()
            said = self._network(x)
            loss = self._loss(said, truth)
            loss.backward()  # type: ignore[no-untyped-call]
            if settings.clip is not None:
                nn.utils.clip_grad_norm_(self._network.parameters(), settings.clip)
            self._optimiser.step()
            value = float(loss.item())
            state.batch, state.step = state.batch + 1, state.step + 1
            state.sums.loss += value * len(rows)
            state.sums.right += int((said.argmax(1) == truth).sum()) if self._data.classes else 0
            state.sums.count += len(rows)
            state.sums.seconds += time.perf_counter() - started
            if settings.stop_on_nan and not math.isfinite(value):
                raise DivergedError(
                    f"The loss is {value} at step {state.step:,}, in epoch {state.epoch + 1}.",
                    hint="Try a smaller learning rate, or clip the gradients.",
                )
            if should_stop() and state.batch < batches:
                return False
            if time.monotonic() - self._kept > CHECKPOINT_SECONDS and state.batch < batches:
                self._keep()
        return True

    def _numbers(self) -> Metrics:
        """What is logged of the epoch that is done."""
        sums = self._state.sums
        numbers = {"train/loss": sums.loss / sums.count}
        if self._data.classes:
            numbers["train/accuracy"] = sums.right / sums.count
        started = time.perf_counter()
        evaluated, _ = self._evaluate(self._validation)
        seconds = sums.seconds + time.perf_counter() - started
        self._state.seconds += seconds
        numbers |= {f"val/{name}": value for name, value in evaluated.items()}
        return numbers | {"learning_rate": self._optimiser.param_groups[0]["lr"], "seconds": seconds}

    def _judge(self) -> None:
        """Stop where the validation loss has not become lower for long enough."""
        state, patience = self._state, self._settings.early_stop
        losses = [numbers["val/loss"] for _, _, numbers in state.rows]
        lower = math.isfinite(losses[-1]) and all(not losses[-1] >= earlier for earlier in losses[:-1])
        state.since_best = 0 if lower else state.since_best + 1
        state.stopped = patience is not None and state.since_best >= patience

    def _evaluate(self, part: tuple[Tensor, Tensor]) -> tuple[Metrics, Tensor]:
        """Mean loss without smoothing, accuracy, and what the network says [n, classes]."""
        features, labels = part
        plain = loss_of(_unsmoothed(self._settings), classes=bool(self._data.classes))
        training = self._network.training
        self._network.eval()
        said, total = [], 0.0
        with torch.no_grad():
            for begin in range(0, len(labels), EVALUATED_TOGETHER):
                rows = slice(begin, begin + EVALUATED_TOGETHER)
                said.append(self._network(self._some(features, rows)))
                total += float(plain(said[-1], labels[rows]).item()) * len(said[-1])
        self._network.train(training)
        answers = torch.cat(said)
        numbers = {"loss": total / len(labels)}
        if self._data.classes:
            numbers["accuracy"] = float((answers.argmax(1) == labels).double().mean().item())
        return numbers, answers

    def _predict(self) -> None:
        """Record what the network says of the validation part; the examples too, where they are small."""
        _, answers = self._evaluate(self._validation)
        shares = torch.softmax(answers.double(), dim=1).cpu().numpy()
        block, largest = self._data.validation, self._data.largest
        shown: npt.NDArray[Any] | None = block.features
        if block.features.dtype != np.uint8 and block.features.min() >= 0 and block.features.max() <= largest:
            shown = np.round(block.features * (255.0 / largest)).astype(np.uint8)
        if shown is not None and shown.nbytes > SHOWN_BYTES:
            shown = None
        if len(self._data.classes) > 1:
            self._run.log_predictions(shown, block.labels, shares, self._data.classes, step=self._state.step)

    def _set_rate(self, rate: float) -> None:
        for group in self._optimiser.param_groups:
            group["lr"] = rate

    def _some(self, features: Tensor, rows: Tensor | slice) -> Tensor:
        """Some examples as the network takes them."""
        some = features[rows].float()
        return some / self._data.largest if self._data.largest != 1.0 else some

    def _tensors(self, part: Block) -> tuple[Tensor, Tensor]:
        features, labels = np.ascontiguousarray(part.features), np.ascontiguousarray(part.labels)
        return torch.from_numpy(features).to(self._device), torch.from_numpy(labels).to(self._device)

    def _keep(self) -> None:
        """Keep where the training is; where that fails, it is said once, and training goes on."""
        state = self._state
        why = write_checkpoint(
            self._run.path,
            {
                **self._identity,
                "network": self._network.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                # In the middle of an epoch its order is drawn again.
                "order": self._began if state.batch else self._order.get_state(),
                "random": torch.get_rng_state(),
                "place": [state.epoch, state.batch, state.step, state.since_best, state.seconds],
                "sums": [state.sums.loss, state.sums.right, state.sums.count, state.sums.seconds],
                "rows": [[step, epoch, dict(numbers)] for step, epoch, numbers in state.rows],
            },
        )
        self._kept = time.monotonic()
        if why is not None and not self._told:
            self._told = True
            self._run.alert("The state of the training cannot be kept", why, level="warning")

    def _restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from a state; one of another training is left alone."""
        if any(kept.get(key) != value for key, value in self._identity.items()):
            raise UsageError("The state to go on from is that of other parameters, another seed, or other data.")
        self._network.load_state_dict(kept["network"])
        # A copy, for the optimiser goes on writing into what it is given.
        self._optimiser.load_state_dict(copy.deepcopy(kept["optimiser"]))
        self._order.set_state(kept["order"])
        torch.set_rng_state(kept["random"])
        epoch, batch, step, since_best, seconds = kept["place"]
        rows = [(step, epoch, dict(numbers)) for step, epoch, numbers in kept["rows"]]
        self._state = _State(epoch, batch, step, _Sums(*kept["sums"]), rows, since_best, seconds)
        logged = self._run.step
        for row_step, row_epoch, numbers in rows:
            if logged is None or row_step > logged:
                self._run.log(numbers, step=row_step, epoch=row_epoch)


def _unsmoothed(settings: Settings) -> Settings:
    return replace(settings, label_smoothing=0.0) if settings.label_smoothing else settings


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=wanted).device
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {wanted!r} cannot be used: {error}", hint="Use auto, cpu, cuda or mps.") from error


@contextlib.contextmanager
def sparing_a_core() -> Iterator[None]:
    """Leave a core to whoever watches: threads that wait for a busy core are many times slower than fewer of them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, min(threads, (os.cpu_count() or 1) - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """All common random numbers from `seed` on; afterwards they go on as if nothing had happened."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
