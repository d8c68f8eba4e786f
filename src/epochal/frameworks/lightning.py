"""Lightning: a logger that records a training and the network in it, and a callback for those who keep their logger.

`Trainer(logger=Logger("mnist"))` is all: when Lightning shows its loggers the module, the logger brings the callback
that watches it (`lightning_watch.py`). What Lightning logs is recorded at the steps that it gives; looks at the module
follow the callback's clock.
"""

from __future__ import annotations

import os
import weakref
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from epochal.errors import UsageError
from epochal.frameworks.checkpoints import Checkpoints, Kept
from epochal.frameworks.lightning_base import LoggerBase, is_rank_zero, on_rank_zero, rank_zero_experiment
from epochal.frameworks.lightning_watch import Callback, trainer_of
from epochal.frameworks.session import Session
from epochal.record import Run

_SANITY = "sanity"


class Logger(LoggerBase):
    """Records a Lightning training as one run: metrics, hyper-parameters, checkpoints, and the module itself.

    `project`, `name` and all further `options` are those of `epochal.init`, `version` (or `id`) is the run's id; with
    `run` all goes into a run that is there, which the user ends. `watch` says whether the module is watched, or with
    which options of `Run.watch`. Names of metrics get `prefix` in front. `log_model=True` keeps the best and the last
    checkpoint in the run's folder, "all" each one.

    The run begins when Lightning asks for it, ends with the training, and is gone on with by `trainer.test()`. In
    distributed trainings only the process of rank zero records.

    Raises UsageError for options that are none.

    >>> import lightning as L
    >>> trainer = L.Trainer(logger=Logger("example", mode="off"))
    """

    def __init__(
        self,
        project: str | None = None,
        *,
        name: str | None = None,
        run: Run | None = None,
        dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the word that `epochal.init` has
        version: str | None = None,
        log_model: bool | Literal["all"] = False,
        watch: bool | Mapping[str, Any] = True,
        prefix: str = "",
        **options: Any,
    ) -> None:
        super().__init__()
        if version is not None and options.setdefault("id", version) != version:
            raise UsageError(f"version={version!r} and id={options['id']!r} are two ids of one run", hint="give one")
        if log_model not in (True, False, "all"):
            raise UsageError(f"log_model is {log_model!r}", hint="use True, False or 'all'")
        self._session = Session(run, project, {"name": name, "dir": dir, **options})
        self._log_model = log_model
        self._watch = watch
        self._prefix = prefix
        self._checkpoints = Checkpoints()
        self._callback: weakref.ref[Callback] | None = None

    @property
    def name(self) -> str:
        """The project of the run: Lightning names folders by it."""
        return self._session.project

    @property
    def version(self) -> str:
        """The run's id."""
        return self._session.id

    @property
    def save_dir(self) -> str | None:
        """The folder of runs; None where nothing is recorded."""
        root = self._session.root
        return None if root is None else str(root)

    @property
    def root_dir(self) -> str | None:
        """The folder of the project; None where nothing is recorded."""
        root = self._session.root
        return None if root is None else str(root / self.name)

    @property
    def log_dir(self) -> str | None:
        """The folder of the run, where Lightning puts checkpoints; None where nothing is recorded."""
        path = self._session.path
        return None if path is None else str(path)

    @property
    def group_separator(self) -> str:
        """What stands between the parts of a metric's name."""
        return "/"

    @property
    @rank_zero_experiment
    def experiment(self) -> Run:
        """The run, to record anything into; it begins when this is first asked for.

        A run that has ended goes on while a trainer works, and is returned as it is else.
        """
        run = self._session.run
        return self._session.open() if run is None or is_at_work(self._trainer) else run

    @property
    def _trainer(self) -> Any:
        callback = self._callback() if self._callback is not None else None
        return None if callback is None else callback.trainer

    @on_rank_zero
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record metrics at a step; those of the sanity check, which is no training, as `sanity/...`."""
        self._log(metrics, step)

    def _log(self, values: Mapping[str, Any], step: int | None) -> None:
        run, trainer = self._session.open(), self._trainer
        named = {self._named(name): value for name, value in values.items()}
        if trainer is None:
            run.log(named, step=step)
            return
        # The callback writes down epochs where they end, as scripts do that log by themselves.
        callback = self._callback() if self._callback is not None else None
        if step is None and callback is not None:
            step = callback.step
        named.pop("epoch", None)
        if trainer.sanity_checking:
            named = {f"{_SANITY}/{name}": value for name, value in named.items()}
        run.aside(named, step=step)

    def _named(self, name: str) -> str:
        return name if name == "epoch" or not self._prefix else f"{self._prefix}/{name}"

    @on_rank_zero
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Add to the run's configuration; what JSON cannot hold is kept as its repr.

        With `metrics` (by name, or second), these are recorded too, at `step` or 0.
        """
        self._session.configure(params)
        metrics = kwargs.get("metrics", args[0] if args else None)
        if isinstance(metrics, Mapping):
            self._log(metrics, kwargs.get("step") or 0)

    @on_rank_zero
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Get ready to watch the module that a trainer is about to train; record the graph of any other module."""
        trainer = trainer_of(model)
        if not is_at_work(trainer):
            self._session.open().log_graph(model, input_array)
            return
        callback = next((c for c in trainer.callbacks if isinstance(c, Callback) and c.serves(self._session)), None)
        if callback is None:
            callback = Callback.serving(self._session, watch=self._watch)
            # Before all others: what they change is of the next step, and checkpoints must stay last.
            trainer.callbacks.insert(0, callback)
        callback.attach(trainer, input_array)
        self._callback = weakref.ref(callback)

    def save(self) -> None:
        """Do nothing: what was logged is safe already."""

    @on_rank_zero
    def finalize(self, status: str) -> None:
        """End the run with the trainer: as finished, failed or stopped. What comes later goes on with it."""
        callback = self._callback() if self._callback is not None else None
        error = callback.take_error() if callback is not None else None
        run = self._session.run
        if run is not None and self._log_model is True:
            self._checkpoints.keep(run)
        if error is not None:
            self._session.finish("failed", error)
        elif status in ("failed", "error"):
            self._session.finish("failed")
        elif status in ("aborted", "interrupted", "stopped"):
            self._session.finish("stopped")
        else:
            self._session.finish()

    @on_rank_zero
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Record what checkpoints there are: path, step, epoch, score, and which is the best."""
        run, trainer = self._session.open(), self._trainer
        callback = self._callback() if self._callback is not None else None
        best = str(getattr(checkpoint_callback, "best_model_path", "") or "")
        saved = str(getattr(checkpoint_callback, "_last_checkpoint_saved", "") or "")
        scores = {str(k): float(v) for k, v in (getattr(checkpoint_callback, "best_k_models", None) or {}).items()}
        last = str(getattr(checkpoint_callback, "last_model_path", "") or "")
        monitor = _logged(str(getattr(checkpoint_callback, "monitor", None) or ""), trainer)
        if monitor and (mode := getattr(checkpoint_callback, "mode", None)) in ("min", "max"):
            run.define(self._named(monitor), better=mode)
        kept = Kept(
            step=callback.step if callback is not None else run.step or 0,
            epoch=None if trainer is None else float(trainer.current_epoch),
            monitor=self._named(monitor) if monitor else "",
        )
        paths = [path for path in (saved, *scores, last) if path]
        self._checkpoints.add(run, paths, kept, saved=saved, scores=scores, best=best)
        if self._log_model == "all" and saved:
            run.keep_file(saved, f"checkpoints/{Path(saved).name}")

    def watch(self, model: Any, **options: Any) -> None:
        """Watch a module with the options of `Run.watch`, such as one that no trainer trains."""
        if is_rank_zero():
            self._session.open().watch(model, **options)

    def unwatch(self, model: Any = None) -> None:
        """Stop watching."""
        if is_rank_zero() and self._session.run is not None:
            self._session.run.unwatch(*(() if model is None else (model,)))

    @on_rank_zero
    def log_text(
        self,
        key: str,
        text: str | Sequence[Any] | None = None,
        step: int | None = None,
        *,
        columns: Sequence[str] | None = None,
        data: Sequence[Sequence[Any]] | None = None,
        dataframe: Any = None,
    ) -> None:
        """Record a text or several; with `columns` and `data`, or a `dataframe`, a table of them."""
        from epochal.record.media import Table, Text

        if text is None or columns is not None or data is not None or dataframe is not None:
            self._log({key: Table(columns, data, dataframe=dataframe)}, step)
        else:
            self._log({key: Text(text) if isinstance(text, str) else [Text(str(t)) for t in text]}, step)

    @on_rank_zero
    def log_table(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        data: Sequence[Sequence[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Record a table; its cells may be numbers, texts and values such as images."""
        from epochal.record.media import Table

        self._log({key: Table(columns, data, dataframe=dataframe)}, step)

    @on_rank_zero
    def log_image(self, key: str, images: Sequence[Any], step: int | None = None, **options: Any) -> None:
        """Record images: arrays, tensors, pictures, figures or paths; `options` of `epochal.Image` in lists as long."""
        from epochal.record.media import Image

        self._log({key: _each(Image, images, options)}, step)

    @on_rank_zero
    def log_audio(self, key: str, audios: Sequence[Any], step: int | None = None, **options: Any) -> None:
        """Record sounds: arrays or paths; `options` of `epochal.Audio`, such as `sample_rate`, in lists as long."""
        from epochal.record.media import Audio

        self._log({key: _each(Audio, audios, options)}, step)

    @on_rank_zero
    def log_video(self, key: str, videos: Sequence[Any], step: int | None = None, **options: Any) -> None:
        """Record videos: arrays or paths; `options` of `epochal.Video`, such as `fps`, in lists as long."""
        from epochal.record.media import Video

        self._log({key: _each(Video, videos, options)}, step)


def is_at_work(trainer: Any) -> bool:
    """Whether a trainer is between the beginning and the end of `fit`, `validate`, `test` or `predict`."""
    return trainer is not None and trainer.state.status == "running"


def _logged(monitor: str, trainer: Any) -> str:
    """The name under which Lightning logs a metric that checkpoints are judged by: it may log it twice."""
    whole = f"{monitor}_epoch"
    return whole if trainer is not None and whole in trainer.logged_metrics else monitor


def _each(kind: Any, items: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """A value of each item that is none yet, with its own options; an option that is no list is that of all."""
    if not isinstance(items, list | tuple):
        raise UsageError(f"got a {type(items).__name__}, expected a list", hint="give [item] for a single one")
    for name, values in options.items():
        if isinstance(values, list) and len(values) != len(items):
            raise UsageError(f"{name} has {len(values)} entries for {len(items)} items", hint="give one for each")
    made = []
    for i, item in enumerate(items):
        own = {name: v[i] if isinstance(v, list) else v for name, v in options.items()}
        made.append(item if isinstance(item, kind) else kind(item, **own))
    return made


__all__ = ["Callback", "Logger"]
