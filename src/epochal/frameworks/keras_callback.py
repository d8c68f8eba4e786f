"""The Keras callback: one run for each `fit`, with its metrics, settings, and the model itself."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from epochal.errors import UsageError
from epochal.frameworks.keras_answers import stated_outputs
from epochal.frameworks.keras_config import LearningRate, better_of, fit_facts, settings_of, sizes_of
from epochal.frameworks.keras_probe import KerasProbe
from epochal.frameworks.keras_steps import batch_of, described, said
from epochal.frameworks.session import Session, guarded
from epochal.record import Run
from epochal.record.examined import Outputs, as_probabilities
from epochal.record.guard import see_through

__all__ = ["Callback"]

_RATES = 50
"""So often in an epoch the learning rate is recorded."""
_SOMETIMES = 16
"""Every so many batches, where it is not known how many an epoch has."""


class Callback(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Records what `model.fit(..., callbacks=[Callback()])` does, on the torch, TensorFlow and JAX backends.

    With `run` all goes into a run that is there, which the user ends; else `project`, `name`, `config` and further
    `options` are those of `epochal.init`, and each `fit` has a run of its own (with `initial_epoch` it goes on with the
    last one), to which what `evaluate` says afterwards is added as `test_...`.

    Steps count batches from 1; step 0 is the untrained model. At each epoch's last step its metrics are recorded as
    Keras tells them, with the epoch: 1 after the first. In between `log_batches` records what Keras tells after each
    batch (True), each n-th (a number) or none (False), as `running/loss` and so on: the mean over the batches of the
    epoch so far, not the batch's own loss, which a compiled step does not give. `learning_rate` is that of the step.

    `watch` says whether the model is watched, or with which further options of `Run.watch`; `inputs` (one batch, for
    models that subclass keras.Model), `gradients`, `activations`, `snapshots` and `budget` are its commonest ones.
    Gradients are those that the optimizer is given: of the loss without its scale, before clipping. Activations are
    those of the same training batch.

    `predictions=(x, y)` lets the model predict these examples after each epoch, for `run.log_predictions`;
    `class_names` name its classes, and `outputs` says what the model puts out ("raw", "softmax" or "sigmoid"): where
    the activation of its last layer says so, it need not be given.

    Raises UsageError for options that are none.

    >>> import os
    >>> os.environ.setdefault("KERAS_BACKEND", "torch")  # doctest: +SKIP
    >>> callback = Callback(project="example", mode="off")
    """

    def __init__(
        self,
        run: Run | None = None,
        *,
        project: str | None = None,
        name: str | None = None,
        config: Mapping[str, Any] | object | None = None,
        dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the word that `epochal.init` has
        log_batches: bool | int = True,
        watch: bool | Mapping[str, Any] = True,
        inputs: object = None,
        gradients: bool = True,
        activations: bool = True,
        snapshots: Any = "epoch",
        budget: float | None = 0.02,
        predictions: tuple[Any, Any] | None = None,
        class_names: Sequence[str] | None = None,
        outputs: Outputs | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._arguments = {
            name: value for name, value in locals().items() if name not in ("self", "options", "__class__")
        }
        self._arguments |= options
        see_through(Path(keras.__file__).parent)
        if type(log_batches) is not bool and not (type(log_batches) is int and log_batches > 0):
            raise UsageError(f"log_batches is {log_batches!r}", hint="use True, False, or a number of batches")
        if predictions is not None and not (isinstance(predictions, tuple | list) and len(predictions) == 2):
            raise UsageError("predictions is no pair", hint="give (x, y): examples and the right answers")
        self._session = Session(run, project, {"name": name, "config": config, "dir": dir, **options})
        self._each = int(log_batches)
        self._watch: dict[str, Any] | None = None
        if watch is not False:
            told = dict(watch) if isinstance(watch, Mapping) else {}
            self._watch = {"inputs": inputs, "gradients": gradients, "activations": activations,
                           "snapshots": snapshots, "budget": budget} | told  # fmt: skip
        self._predictions, self._class_names, self._outputs = predictions, class_names, outputs
        self._probe: KerasProbe | None = None
        self._rate: LearningRate | None = None
        self._asked = False
        self._step = self._first = self._epoch_began = self._count = 0
        self._epochs_before = 0
        self._last_epoch = 0
        self._given: set[str] = set()
        self._ours: set[str] = set()
        self._defined: set[str] = set()
        self._running: dict[str, str] = {}
        self._left: weakref.finalize[Any, Any] | None = None

    def __deepcopy__(self, memo: Any) -> Callback:
        # Tuners give each of their trials a copy: each has a run of its own.
        return type(self)(**self._arguments)

    @property
    def run(self) -> Run | None:
        """The run of the latest training, None before the first."""
        return self._session.run

    @property
    def _network(self) -> Any:
        """The model, without what `self.model` does on the JAX backend: to bring the state of `fit` back to it."""
        model = self._model
        return model if isinstance(model, keras.Model) else getattr(model, "module", model)

    @guarded
    def on_train_begin(self, logs: Any = None) -> None:
        """A training is about to begin: at its first epoch, which is then known."""
        self._session.abandon()
        self._asked = _records_here()

    @guarded
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin the run, and watch the model as it is now."""
        if self._asked:
            self._asked = False
            self._begin(epoch)
        self._epoch_began = self._step

    def _begin(self, epoch: int) -> None:
        model = self._network
        facts = fit_facts(model)
        run = self._session.begin_training(anew=epoch == 0)
        self._given = set(run.config) - self._ours
        self._configure(run, settings_of(model, self.params or {}, facts))
        self._step = self._first = run.step or 0
        known = self._last_epoch if run._epoch is None else int(run._epoch)
        self._last_epoch = 0 if run.step is None else known
        self._epochs_before = max(0, self._last_epoch - epoch)
        self._last_epoch = epoch + self._epochs_before
        self._rate = LearningRate(model)
        self._defined, self._running = set(), {}
        if facts.callbacks is not None:
            # An exception that the user catches ends `fit` without a word: then Keras lets go of its list of callbacks.
            self._left = weakref.finalize(facts.callbacks, _leave, weakref.ref(self._session), run)
            self._left.atexit = False
        self._probe = None
        if self._watch is not None and run._watcher is None and run.path is not None:
            options = self._watch
            self._probe = KerasProbe(model, gradients=options["gradients"], activations=options["activations"])
            steps = self._probe.backend.steps
            steps.failed = self._failed
            if model.weights or not steps.install(model):
                self._begin_to_watch(run)
            else:
                steps.before = self._build  # on the TensorFlow backend `fit` builds the model in its first step
                return
        run.log({}, step=self._first, epoch=self._last_epoch)

    def _configure(self, run: Run, settings: Mapping[str, Any]) -> None:
        """Add settings, but to none that the user gave."""
        ours = {name: value for name, value in settings.items() if name not in self._given}
        self._ours |= set(ours)
        run.set_config(ours)

    def _begin_to_watch(self, run: Run) -> None:
        options = {k: v for k, v in (self._watch or {}).items() if k not in ("gradients", "activations")}
        gradients, activations = (bool((self._watch or {})[k]) for k in ("gradients", "activations"))
        run.watch(self._probe, gradients=gradients, activations=activations, **options)
        if self._probe is None:
            return
        if run._watcher is None:  # it failed, and was told
            self._probe.close()
            self._probe = None
        else:
            self._probe.backend.steps.install(self._network)

    @guarded
    def _build(self, args: tuple[Any, ...]) -> None:
        """Build the model as its first step would, so that its first values can be seen."""
        run, spec = self._session.run, getattr(args[0], "element_spec", None)
        if run is None:
            return
        if spec is not None:
            try:
                _Building(self._network).compute_output_spec(described(batch_of(spec)))
            except Exception as error:  # noqa: BLE001 - the user's own code; its step will tell what is wrong
                run._guard.lost("untrained", f"the untrained model could not be seen: {said(error)}", once="build")
        self._configure(run, sizes_of(self._network))
        self._begin_to_watch(run)
        run.log({}, step=self._first, epoch=self._last_epoch)

    def _failed(self, error: BaseException) -> None:
        """A step of the training raised."""
        run = self._session.run
        if not self._session.training or run is None:
            return
        if self._probe is not None and run._watcher is not None and not self._probe.readable:
            # On the JAX backend a step consumes the state that it was given: there is no last look at it.
            policy = run._watcher.policy
            policy.last_look = policy.last_snapshot = run.step
        self._forget_leaving()
        if isinstance(error, Exception):
            self._session.finish("failed", said(error))
        else:  # the user's or the system's wish
            self._session.finish(error=error)

    def _forget_leaving(self) -> None:
        if self._left is not None:
            self._left.detach()
            self._left = None

    @guarded
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Get ready for the look at the epoch's end."""
        steps = (self.params or {}).get("steps")
        # What comes at the end is the number of the last batch or of the first, as the version of Keras has it.
        count = batch + int(getattr(self._network, "steps_per_execution", 1))
        self._count = min(count, steps) if steps else count
        if self._count == steps and self._probe is not None and self._session.training and not self._probe.gone:
            self._probe.arm()

    @guarded
    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record what Keras tells after a batch, and let the run look at the model."""
        run = self._session.run
        if run is None or not self._session.training:
            return
        steps, count = (self.params or {}).get("steps"), self._count
        self._step = self._epoch_began + count
        data: dict[str, Any] = {}
        if self._each and logs and (count % self._each == 0 or count == steps):
            running = self._running
            for name, value in logs.items():
                data[running.get(name) or running.setdefault(name, f"running/{name}")] = value
        if self._each and count % (max(1, steps // _RATES) if steps else _SOMETIMES) == 0:
            self._add_rate(data)
        run.log(data, step=self._step)

    @guarded
    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record an epoch's metrics, and keep a snapshot."""
        run = self._session.run
        if run is None or not self._session.training:
            return
        metrics = dict(logs or {})
        for name in metrics.keys() - self._defined:
            self._defined.add(name)
            better = better_of(name, self._network) if name != "learning_rate" else None
            if better is not None:
                run.define(name, better=better)
        if self._step > self._first and "learning_rate" not in metrics:
            self._add_rate(metrics)
        self._last_epoch = epoch + 1 + self._epochs_before
        run.log(metrics, step=self._step, epoch=self._last_epoch)
        if self._predictions is not None:
            self._predict(run, *self._predictions)

    def _add_rate(self, data: dict[str, Any]) -> None:
        rate = None if self._rate is None else self._rate.at(self._step - self._first - 1)
        if rate is not None:
            data["learning_rate"] = rate

    def _predict(self, run: Run, x: Any, y: Any) -> None:
        said = self._network.predict(x, verbose=0)
        if not isinstance(said, np.ndarray) or said.ndim != 2:
            raise UsageError(
                "predictions= needs a model with one output of shape [batch, classes]",
                hint="log others with run.log_predictions()",
            )
        outputs = self._outputs or stated_outputs(self._network)
        said = as_probabilities(said, outputs)
        labels = np.asarray(keras.ops.convert_to_numpy(y))
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        run.log_predictions(x, labels, said, self._class_names, step=self._step)

    @guarded
    def on_train_end(self, logs: Any = None) -> None:
        """End the run where it was made here."""
        self._forget_leaving()
        if self._session.training:
            self._session.finish()
        self._probe = None

    @guarded
    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Record what `evaluate` says, where it is no part of a training: `test_loss` and so on, at the last step."""
        if self._session.training or self._asked or not logs or not _records_here():
            return
        run = self._session.open()
        for name in logs:
            better = better_of(name, self._network)
            if better is not None:
                run.define(f"test_{name}", better=better)
        run.aside({f"test_{name}": value for name, value in logs.items()})
        self._session.finish()


class _Building(keras.Operation):  # type: ignore[misc] # as above
    """Builds a model from what its inputs look like."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def call(self, inputs: Any) -> Any:
        """Run once on symbols."""
        return self._model(inputs)


def _leave(session: weakref.ref[Session], run: Run) -> None:
    """`fit` has ended without `on_train_end`."""
    known = session()
    if known is not None and known.run is run:
        known.abandon()


def _records_here() -> bool:
    """Whether this is the first of several processes that train together: they all see the same metrics."""
    rank = os.environ.get("RANK", "0")
    if rank.isdigit() and int(rank) > 0:
        return False
    if keras.backend.backend() == "jax":
        import jax

        return int(jax.process_index()) == 0
    return True
