"""Hugging Face Transformers: a callback of its `Trainer` that records a training and the network in it.

`Trainer(..., callbacks=[Callback()])` is all. The end of each update is the clock of watching; what the trainer logs
is recorded beside that clock, at its global step, under the names that other trackers have taught: `train/loss`,
`eval/loss`, `test/...`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epochal.errors import MissingExtraError
from epochal.frameworks.checkpoints import Checkpoints, Kept
from epochal.frameworks.session import Session, guarded
from epochal.frameworks.torch_trained import Watched
from epochal.record import Run
from epochal.record.secret import looks_secret

try:
    from transformers import TrainerCallback
    from transformers.utils.generic import find_labels
except ModuleNotFoundError as error:
    if error.name != "transformers":
        raise
    raise MissingExtraError(
        "Hugging Face Transformers is not installed.", hint='pip install "epochal[transformers]"'
    ) from None

if TYPE_CHECKING:
    Base = object
else:
    Base = TrainerCallback

_SPLITS = ("eval", "test")


class Callback(Base):
    """Records trainings of a Hugging Face `Trainer`: what it logs, its settings, checkpoints, and the model itself.

    With `run` all goes into a run that is there, which the user ends; else `project`, `name` and further `options`
    are those of `epochal.init`, and each training has a run of its own, ended with it: the trials of a hyper-parameter
    search too. Evaluations and predictions after a training go on with its run. `watch` says whether the model is
    watched, or with which options of `Run.watch`. In distributed trainings only the world's first process records.

    Raises UsageError for options that are none.

    >>> from transformers import Trainer
    >>> callbacks = [Callback("example", mode="off")]  # Trainer(..., callbacks=callbacks)
    """

    def __init__(
        self,
        project: str | None = None,
        *,
        name: str | None = None,
        run: Run | None = None,
        dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the word that `epochal.init` has
        watch: bool | Mapping[str, Any] = True,
        **options: Any,
    ) -> None:
        self._session = Session(run, project, {"name": name, "dir": dir, **options})
        self._watch = watch
        self._watched: Watched | None = None
        self._epoch = 0.0
        self._checkpoints = Checkpoints()

    @property
    def run(self) -> Run | None:
        """The run of the latest training, None before the first."""
        return self._session.run

    @guarded
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Begin the training's run, and watch the model."""
        if not state.is_world_process_zero:
            return
        anew = state.global_step == 0 or state.is_hyper_param_search
        run = self._session.begin_training(anew=anew, **_identity(args, state))
        self._checkpoints = Checkpoints()
        run.set_config(_settings(args, state, model))
        if args.metric_for_best_model:
            judged = _named(f"eval_{args.metric_for_best_model.removeprefix('eval_')}")
            run.define(judged, better="max" if args.greater_is_better else "min")
        if state.global_step:
            run.log({}, step=state.global_step)  # what is there now came of that step
        self._watched = None
        self._epoch = state.epoch or 0.0
        if self._watch is not False and run._watcher is None:
            targets = [*(args.label_names or find_labels(type(model))), "num_items_in_batch"]
            self._watched = Watched(model, targets=targets)
            run.watch(self._watched, **(self._watch if isinstance(self._watch, Mapping) else {}))

    @guarded
    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Get ready for the look at the epoch's end: it comes if this update goes as far as the one before."""
        if self._watched is not None and state.epoch is not None:
            ahead = 2 * state.epoch - self._epoch
            if floor(ahead + 1e-6) > floor(state.epoch + 1e-6) or state.global_step + 1 >= state.max_steps:
                self._watched.expect_look()
            self._epoch = state.epoch

    @guarded
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let the run look at the model after an update."""
        run = self._session.run
        if self._session.training and run is not None:
            if self._watched is not None:
                self._watched.end_step()
            run.log({}, step=state.global_step, epoch=state.epoch)

    @guarded
    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Record what the trainer logs."""
        if not state.is_world_process_zero or not logs:
            return
        run = self._session.open(**_identity(args, state))
        if self._session.training and "train_runtime" in logs:
            self._stop_watching()  # the trainer may load its best checkpoint into the model next
        # Each update has written down its epoch already.
        run.aside({_named(key): value for key, value in logs.items() if key != "epoch"}, step=state.global_step)

    @guarded
    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the run again, where an evaluation after the training went on with it."""
        if state.is_world_process_zero and not self._session.training:
            self._session.finish()

    @guarded
    def on_predict(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Record the metrics of a prediction, which the trainer does not log."""
        if not state.is_world_process_zero:
            return
        if metrics:
            run = self._session.open(**_identity(args, state))
            run.aside({_named(key): value for key, value in metrics.items()}, step=state.global_step)
        if not self._session.training:
            self._session.finish()

    @guarded
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record which checkpoints there are."""
        run = self._session.run
        if not state.is_world_process_zero or run is None or not (path := _checkpoint(args, state)):
            return
        monitor = args.metric_for_best_model or ""
        key = f"eval_{monitor.removeprefix('eval_')}"
        latest: Mapping[str, Any] = next((entry for entry in reversed(state.log_history) if key in entry), {})
        scores = {path: float(latest[key])} if monitor and latest.get("step") == state.global_step else {}
        kept = Kept(step=state.global_step, epoch=state.epoch, monitor=_named(key) if monitor else "")
        best = state.best_model_checkpoint or ""
        self._checkpoints.add(run, [path], kept, saved=path, scores=scores, best=str(best))

    @guarded
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the run with the training."""
        if state.is_world_process_zero and self._session.training:
            self._stop_watching()
            self._session.finish()

    def _stop_watching(self) -> None:
        run = self._session.run
        if self._watched is not None and run is not None:
            run.unwatch(self._watched)
        self._watched = None


def _named(key: str) -> str:
    """The name of a metric: its part of the data first, `train` where none is told."""
    for split in _SPLITS:
        if key.startswith(f"{split}_"):
            return f"{split}/{key[len(split) + 1 :]}"
    return f"train/{key}"


def _identity(args: Any, state: Any) -> dict[str, Any]:
    """What the run is called where the user gave no name: as the trainer's own settings say."""
    named = args.run_name if args.run_name and args.run_name != args.output_dir else None
    if state.trial_name:
        return {"name": state.trial_name, "group": named or args.output_dir}
    return {"name": named}


def _settings(args: Any, state: Any, model: Any) -> dict[str, Any]:
    """The configuration of the run: the trainer's arguments, the model's below `model`, and its size."""
    settings = _harmless(args.to_dict())
    config = getattr(model, "config", None)
    if config is not None:
        settings["model"] = _harmless(config if isinstance(config, Mapping) else config.to_dict())
    adapters = getattr(model, "peft_config", None)
    if isinstance(adapters, Mapping):
        settings["peft"] = {name: _harmless(adapter.to_dict()) for name, adapter in adapters.items()}
    if hasattr(model, "parameters"):
        parameters = list(model.parameters())
        settings["parameters"] = sum(p.numel() for p in parameters)
        settings["trainable_parameters"] = sum(p.numel() for p in parameters if p.requires_grad)
    settings["epochs"] = state.num_train_epochs or args.num_train_epochs
    if state.trial_params:
        settings["trial"] = dict(state.trial_params)
    return settings


def _harmless(settings: Mapping[Any, Any]) -> dict[str, Any]:
    """Settings without those that may hold a secret: texts under names such as `hub_token`."""
    found = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found[str(key)] = _harmless(value)
        elif not (isinstance(value, str) and looks_secret(str(key))):
            found[str(key)] = value
    return found


def _checkpoint(args: Any, state: Any) -> str:
    """The folder of the checkpoint just saved; trials of a search have folders of their own. '' where it is not."""
    name = f"checkpoint-{state.global_step}"
    places = [Path(args.output_dir, name)]
    if state.is_hyper_param_search:
        places = list(Path(args.output_dir).glob(f"*/{name}"))
    there = [path for path in places if path.is_dir()]
    return str(max(there, key=lambda path: path.stat().st_mtime)) if there else ""


__all__ = ["Callback"]
