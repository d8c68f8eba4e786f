"""The callback that watches a LightningModule and keeps the clock of looking at it."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from epochal.frameworks.lightning_base import CallbackBase, on_rank_zero
from epochal.frameworks.session import Session
from epochal.frameworks.torch_trained import Watched
from epochal.record import Run

if TYPE_CHECKING:
    from epochal.frameworks.lightning import Logger


_COMPILED = (
    "activations are not recorded: all of the module's training step is compiled; "
    "to record them compile the network inside it instead, self.net = torch.compile(self.net)"
)


class Callback(CallbackBase):
    """Records a Lightning training beside the trainer's own logger: metrics, hyper-parameters and the module itself.

    With `run` all goes into a run that is there, which the user ends; else `project`, `name` and further `options`
    are those of `epochal.init`. `watch` says whether the module is watched, or with which options of `Run.watch`.
    Trainers with an Epochal logger need no callback. Nothing is recorded of a `fast_dev_run`, as Lightning has it.

    The module is looked at after batches whose optimizers stepped, so that gradients are those which they stepped
    with: accumulated, unscaled and clipped. Steps are those of Lightning's metrics, from 0: batches that stepped.

    >>> import lightning as L
    >>> trainer = L.Trainer(logger=False, callbacks=[Callback(mode="off")])
    """

    def __init__(
        self,
        run: Run | None = None,
        *,
        project: str | None = None,
        name: str | None = None,
        dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the word that `epochal.init` has
        watch: bool | Mapping[str, Any] = True,
        **options: Any,
    ) -> None:
        super().__init__()
        named = {"name": name, "dir": dir, **options}
        self._session = Session(run, project, named)
        self._bound = run is not None or project is not None or any(v is not None for v in named.values())
        self._watch = watch
        self._example: Any = None
        self._trainer: weakref.ref[Any] | None = None
        self._error: BaseException | None = None
        self._updates = -1
        self._epoch: int | None = None
        self._watched: Watched | None = None
        self.step = 0

    @classmethod
    def serving(cls, session: Session, *, watch: bool | Mapping[str, Any]) -> Callback:
        """The callback of a logger, which brings its own session."""
        callback = cls(watch=watch)
        callback._session, callback._bound = session, True
        return callback

    def serves(self, session: Session) -> bool:
        """Whether this callback records into the run of `session`, or can: it was given none of its own."""
        if not self._bound:
            self._session, self._bound = session, True
        return self._session is session

    def attach(self, trainer: Any, example: Any = None) -> None:
        """Know the trainer from here on; `example` is a batch of inputs, where the user gave one."""
        self._trainer = weakref.ref(trainer)
        self._example = example

    @property
    def trainer(self) -> Any:
        """The trainer that is known, None before it shows itself."""
        return None if self._trainer is None else self._trainer()

    def take_error(self) -> BaseException | None:
        """What ended the training, once."""
        error, self._error = self._error, None
        return error

    @on_rank_zero
    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Join the trainer's loggers."""
        self._join(trainer)

    @on_rank_zero
    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Join the trainer's loggers, where it only validates."""
        self._join(trainer)

    @on_rank_zero
    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        """Join the trainer's loggers."""
        self._join(trainer)

    def _join(self, trainer: Any) -> None:
        """Be where Lightning brings its metrics: in a logger, Epochal's own if the trainer has none."""
        from epochal.frameworks.lightning import Logger

        if trainer.fast_dev_run:
            return
        ours: list[Logger] = [logger for logger in trainer.loggers if isinstance(logger, Logger)]
        if not any(self.serves(logger._session) for logger in ours):
            logger = Logger(watch=self._watch)
            logger._session, self._bound = self._session, True
            trainer.loggers = [*trainer.loggers, logger]
            logger._callback = weakref.ref(self)
        if self.trainer is not trainer:
            self.attach(trainer)

    @on_rank_zero
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch the module as it is now: moved to its device, restored from its checkpoint."""
        if self.trainer is not trainer:
            return  # a fast_dev_run
        run = self._session.begin_training(anew=_batches(trainer) == 0)
        if "epochs" not in run.config and (trainer.max_epochs or -1) > 0:
            run.set_config({"epochs": trainer.max_epochs})
        self._epoch, self._updates = None, trainer.global_step
        self.step = max(0, _batches(trainer) - 1)
        if _batches(trainer):
            run.log({}, step=self.step)  # what is there now came of that step
        options = dict(self._watch) if isinstance(self._watch, Mapping) else {}
        self._watched = None
        if self._watch is not False and run._watcher is None:
            if getattr(pl_module, "_compiler_ctx", None) is not None and options.get("activations", True):
                options["activations"] = False
                run._guard.lost("network", _COMPILED, once=_COMPILED)
            inputs = options.pop("inputs", self._example)
            self._watched = Watched(pl_module, outside=_is_redirected)
            run.watch(self._watched, inputs=pl_module.example_input_array if inputs is None else inputs, **options)

    @on_rank_zero
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Get ready for the look at the epoch's end."""
        if self._watched is not None and trainer.is_last_batch:
            self._watched.expect_look()

    @on_rank_zero
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let the run look at the module, if its optimizers stepped."""
        if not self._session.training:
            return
        if self._watched is not None:
            self._watched.end_step()
        self.step = _batches(trainer)
        if trainer.global_step == self._updates:
            return  # gradients gather
        self._updates = trainer.global_step
        if trainer.is_last_batch:
            # Before the epoch's validation, which takes the gradients away.
            self._end_epoch(trainer)
        elif self.step:
            self._session.open().log({}, step=self.step)
        elif self._watched is not None:  # step 0 is kept for the network as it was before its first update
            self._watched.expect_look()

    @on_rank_zero
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Note an epoch that ended before its last batch."""
        if self._session.training and self._epoch != trainer.current_epoch:
            self._end_epoch(trainer)

    def _end_epoch(self, trainer: Any) -> None:
        self._epoch = trainer.current_epoch
        self._session.open().log({}, step=self.step, epoch=float(trainer.current_epoch))

    @on_rank_zero
    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the last look, before Lightning moves the module away."""
        self._session.training = False
        if self._watched is not None:
            self._session.open().unwatch(self._watched)
            self._watched = None

    @on_rank_zero
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Remember what ended the training, until Lightning tells its loggers that it failed."""
        self._error = exception


def trainer_of(module: Any) -> Any:
    """The trainer that a LightningModule belongs to, None for any other module."""
    return getattr(module, "_trainer", None)


def _is_redirected(module: Any) -> bool:
    """Whether a call of the module is one of its training step: Lightning makes it so inside data-parallel wrappers."""
    return getattr(vars(module).get("forward"), "__qualname__", "").startswith("_ForwardRedirection")


def _batches(trainer: Any) -> int:
    """How many batches ended in an optimizer's step: the step of Lightning's metrics."""
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)


__all__ = ["Callback", "trainer_of"]
