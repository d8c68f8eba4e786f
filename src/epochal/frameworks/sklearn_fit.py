"""How trainings of scikit-learn's estimators are followed: one way for each kind of estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from epochal.errors import RecordingWarning, UsageError
from epochal.frameworks.session import Session
from epochal.frameworks.sklearn_mlp import is_mlp, loss_of, spread
from epochal.record import Run

__all__ = ["Training", "choose"]

Follow = Callable[["Training", Any, Any], None]

# Where a multi-layer perceptron has drawn its first weights, and where an epoch has ended: no public calls, so that
# `partial_fit` stands in where a version of scikit-learn does not have them.
_BEGUN, _EPOCH = "_initialize", "_update_no_improvement_count"
_STATED = 50
"""A forest is scored at most so often while it grows."""
_PREDICTIONS = 10_000
"""Predictions are kept at each epoch while they are at most so many numbers, else only the last."""


def choose(estimator: Any) -> Follow:
    """Return how an estimator's training can be followed; raises UsageError, which says why, where it cannot."""
    last = final(estimator)
    name = type(last).__name__
    if is_mlp(last):
        if last.solver not in ("sgd", "adam"):
            raise UsageError(
                f"{name}(solver={last.solver!r}) cannot be followed: it minimises in one call without epochs",
                hint="use solver='adam' or 'sgd', or record its result with run.watch(estimator) after fit",
            )
        if all(callable(getattr(type(last), part, None)) for part in (_BEGUN, _EPOCH)):
            return by_own_fit
        return by_partial_fit
    if hasattr(last, "staged_predict"):
        return by_stages
    if hasattr(last, "partial_fit") and hasattr(last, "max_iter"):
        return by_partial_fit
    if hasattr(last, "warm_start") and hasattr(last, "n_estimators"):
        return by_growing
    raise UsageError(
        f"the training of a {name} cannot be followed: it has neither partial_fit with max_iter nor stages, "
        "and stopping its solver after each step would make another training of it",
        hint="fit it as usual, then record its scores with run.log() and its weights with run.watch(estimator)",
    )


def final(estimator: Any) -> Any:
    """The estimator at a pipeline's end, or the estimator itself."""
    steps = getattr(estimator, "steps", None)
    return steps[-1][1] if steps else estimator


class Training:
    """One training that is recorded: where its numbers go, and what they are measured with."""

    def __init__(self, estimator: Any, session: Session, *, epochs: int | None, fit_options: Mapping[str, Any]) -> None:
        self.estimator, self.last = estimator, final(estimator)
        self.fit_options = dict(fit_options)
        if epochs is not None and (type(epochs) is not int or epochs < 1):
            raise UsageError(f"epochs is {epochs!r}", hint="give a number of epochs, such as 50")
        self.epochs = epochs
        self._session = session
        self._validation: tuple[Any, Any] | None = None
        self._watched = False
        self._start = 0
        self._predicted = -1
        self._step = self._epoch = 0

    @property
    def run(self) -> Run:
        """The run that is recorded."""
        return self._session.open()

    def set_aside(self, x: Any, y: Any, validation: tuple[Any, Any] | float | None) -> tuple[Any, Any]:
        """Take validation examples out of the data, where a part of it was named; return what is left to train on."""
        if validation is None:
            return x, y
        if isinstance(validation, tuple) and len(validation) == 2:
            self._validation = validation
            return x, y
        if not (isinstance(validation, float) and 0 < validation < 1):
            raise UsageError(
                f"validation is {validation!r}", hint="give examples as (X, y), or a part of the data such as 0.2"
            )
        from sklearn.base import is_classifier
        from sklearn.model_selection import train_test_split

        seed = getattr(self.last, "random_state", None)
        seed = seed if isinstance(seed, int | np.integer) else None
        kept, held, kept_y, held_y = train_test_split(
            x, y, test_size=validation, random_state=seed, stratify=y if is_classifier(self.last) else None
        )
        self._validation = (held, held_y)
        return kept, kept_y

    def begin(self) -> None:
        """Begin the run, or go on with the one that was given."""
        run = self._session.begin_training(config=_settings(self.estimator))
        self._start = 0 if run.step is None else run.step
        score = _score_name(self.last)
        measured = [] if is_mlp(self.last) else [score]
        if self._validation is not None or getattr(self.last, "early_stopping", False) is True:
            measured.append(f"val_{score}")
        for name in measured:
            run.define(name, better="max")

    def watch(self, x: Any = None, y: Any = None) -> None:
        """Look at the weights from here on; with examples, also at gradients and activations."""
        if self._watched or not (is_mlp(self.last) or hasattr(self.last, "fit_intercept")):
            return
        self._watched = True
        with self.guarded("looking at the estimator"):
            sample = None if x is None or y is None else (_dense(self._prepared(_rows(x))), _rows(y))
            self.run.watch(self.last, inputs=sample)

    def _prepared(self, x: Any) -> Any:
        """Examples as the last estimator of a pipeline gets them."""
        return x if self.last is self.estimator else self.estimator[:-1].transform(x)

    def scored(self, step: int, epoch: int, numbers: Mapping[str, float], *, ending: bool = False) -> None:
        """Record one epoch: `numbers` and the scores on the validation examples."""
        self._step, self._epoch = self._start + step, epoch
        found = dict(numbers)
        with self.guarded("scoring the estimator"):
            if self._validation is not None:
                found.update(self._validated(*self._validation))
        self.run.log(found, step=self._step, epoch=epoch)
        with self.guarded("scoring the estimator"):
            self._predict(ending=ending)

    def _validated(self, x: Any, y: Any) -> dict[str, float]:
        found = {f"val_{_score_name(self.last)}": float(self.estimator.score(x, y))}
        if is_mlp(self.last):
            found["val_loss"] = loss_of(self.last, _dense(self._prepared(x)), np.asarray(y))
        elif hasattr(self.estimator, "predict_proba"):
            from sklearn.metrics import log_loss

            found["val_loss"] = float(log_loss(y, self.estimator.predict_proba(x), labels=self.estimator.classes_))
        return found

    def _predict(self, *, ending: bool) -> None:
        if self._validation is None or not hasattr(self.estimator, "predict_proba") or self._predicted == self._step:
            return
        x, y = self._validation
        classes = self.estimator.classes_
        if np.ndim(y) != 1 or (not ending and len(y) * len(classes) > _PREDICTIONS):
            return
        self._predicted = self._step
        labels = np.searchsorted(classes, y)
        names = [str(one) for one in classes]
        self.run.log_predictions(None, labels, self.estimator.predict_proba(x), names, step=self._step)

    def end(self) -> None:
        """Record what belongs to the end of a training."""
        with self.guarded("scoring the estimator"):
            self._predict(ending=True)

    @contextmanager
    def guarded(self, doing: str) -> Iterator[None]:
        """Warn of an error of recording once, and let the training go on."""
        try:
            yield
        except RecordingWarning:
            raise
        except Exception as error:  # noqa: BLE001 - measuring runs the user's estimator, and must not end its training
            self._session.failed(doing, error)


def by_own_fit(training: Training, x: Any, y: Any) -> None:
    """Multi-layer perceptrons: their own `fit` runs, and calls back where an epoch has ended."""
    last = training.last
    begin, count = getattr(last, _BEGUN), getattr(last, _EPOCH)
    seen = 0

    def initialised(*arguments: Any, **options: Any) -> Any:
        answer = begin(*arguments, **options)
        training.watch(x, y)
        return answer

    def epoch_ended(*arguments: Any, **options: Any) -> Any:
        nonlocal seen
        answer = count(*arguments, **options)
        with training.guarded("recording an epoch"):
            epoch = len(last.loss_curve_)
            seen += 1
            examples = last.t_ // epoch if last.t_ else _count(x)
            size = min(200, examples) if last.batch_size == "auto" else min(last.batch_size, examples)
            numbers = {"loss": float(last.loss_)}
            if last.early_stopping:
                numbers[f"val_{_score_name(last)}"] = float(last.validation_scores_[-1])
            training.scored(seen * math.ceil(examples / size), epoch, numbers)
        return answer

    with _set(last, max_iter=training.epochs):
        if last.warm_start and hasattr(last, "coefs_"):
            training.watch(x, y)
        setattr(last, _BEGUN, initialised)
        setattr(last, _EPOCH, epoch_ended)
        try:
            training.estimator.fit(x, y, **training.fit_options)
        finally:
            last.__dict__.pop(_BEGUN, None)
            last.__dict__.pop(_EPOCH, None)


def by_partial_fit(training: Training, x: Any, y: Any) -> None:
    """Estimators that learn a part of the data at a time: all of it once for each epoch."""
    from sklearn.base import is_classifier

    last = training.last
    prepared = x if last is training.estimator else training.estimator[:-1].fit_transform(x, y)
    options = dict(training.fit_options)
    if is_classifier(last):
        options["classes"] = np.unique(y)
    most = training.epochs or last.max_iter
    tol, patience = getattr(last, "tol", None), getattr(last, "n_iter_no_change", 5)
    seed = getattr(last, "random_state", None)
    # From a whole number each call would draw the same order of examples again.
    source = np.random.RandomState(seed) if isinstance(seed, int | np.integer) else seed
    best, waited, score = -math.inf, 0, _score_name(last)
    _forget(last)
    training.watch(x, y)
    with _set(last, random_state=source, early_stopping=False):
        for epoch in range(1, most + 1):
            last.partial_fit(prepared, y, **options)
            options.pop("classes", None)
            numbers = {score: float(last.score(prepared, y))}
            if hasattr(last, "loss_"):
                numbers["loss"] = float(last.loss_)
            training.scored(epoch * _updates(last, _count(x)), epoch, numbers)
            now = -numbers.get("loss", -numbers[score])
            waited = 0 if tol is None or now > best + tol else waited + 1
            best = max(best, now)
            if waited >= patience:
                break


def by_stages(training: Training, x: Any, y: Any) -> None:
    """Boosted models: they are fitted by their own `fit`, and their stages are recorded one by one afterwards."""
    last = training.last
    limit = {"max_iter" if hasattr(last, "max_iter") else "n_estimators": training.epochs}
    with _set(last, **limit):
        training.estimator.fit(x, y, **training.fit_options)
    score = _score_name(last)
    losses = getattr(last, "train_score_", None) if not hasattr(last, "max_iter") else None
    with training.guarded("scoring the stages"):
        seen = zip(_staged(training, x, y), _held(training), strict=False)
        for stage, (own, held) in enumerate(seen, start=1):
            numbers = {score: own, **({} if held is None else {f"val_{score}": held})}
            if losses is not None:
                numbers["loss"] = float(losses[stage - 1])
            training.run.log(numbers, step=training._start + stage, epoch=stage)
            training._step, training._epoch = training._start + stage, stage


def by_growing(training: Training, x: Any, y: Any) -> None:
    """Forests: trees are added by `warm_start`, a few at a time, which gives the same forest as growing it at once."""
    last = training.last
    most = training.epochs or last.n_estimators
    sizes = np.unique(np.linspace(1, most, min(most, _STATED)).round().astype(int)).tolist()
    score = _score_name(last)
    _forget(last)
    with _set(last, warm_start=True, n_estimators=sizes[0]):
        for size in sizes:
            last.n_estimators = size
            training.estimator.fit(x, y, **training.fit_options)
            with training.guarded("scoring the estimator"):
                training.scored(size, size, {score: float(training.estimator.score(x, y))})


def _staged(training: Training, x: Any, y: Any) -> Iterator[float]:
    """The score after each stage."""
    from sklearn.base import is_classifier
    from sklearn.metrics import accuracy_score, r2_score

    measure = accuracy_score if is_classifier(training.last) else r2_score
    for answers in training.last.staged_predict(training._prepared(x)):
        yield float(measure(y, answers))


def _held(training: Training) -> Iterator[float | None]:
    if training._validation is None:
        while True:
            yield None
    yield from _staged(training, *training._validation)


def _forget(estimator: Any) -> None:
    """Begin anew, as `fit` does, where an estimator was fitted before and is not to go on from there."""
    if not getattr(estimator, "warm_start", False):
        for name in [one for one in vars(estimator) if one.endswith("_") and not one.startswith("__")]:
            delattr(estimator, name)


@contextmanager
def _set(estimator: Any, **values: Any) -> Iterator[None]:
    """Let some of an estimator's settings be others for a while; those that it does not have, and None, are left."""
    old = {
        name: getattr(estimator, name) for name, new in values.items() if new is not None and hasattr(estimator, name)
    }
    for name in old:
        setattr(estimator, name, values[name])
    try:
        yield
    finally:
        for name, value in old.items():
            setattr(estimator, name, value)


def _settings(estimator: Any) -> dict[str, Any]:
    """An estimator's parameters as configuration; what is neither number nor word is kept as text."""
    found: dict[str, Any] = {"estimator": type(final(estimator)).__name__}
    for name, value in estimator.get_params(deep=True).items():
        if hasattr(value, "get_params") or name in ("steps", "memory", "transform_input"):
            continue
        found[name] = value if _is_plain(value) else repr(value)
    return found


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(one) for one in value)
    return value is None or isinstance(value, bool | int | float | str)


def _score_name(estimator: Any) -> str:
    from sklearn.base import is_classifier

    return "accuracy" if is_classifier(estimator) else "r2"


def _updates(estimator: Any, examples: int) -> int:
    """How many updates an epoch is: one for each example, where examples come in no batches."""
    size = getattr(estimator, "batch_size", 1)
    size = min(200, examples) if size == "auto" else min(int(size), examples)
    return math.ceil(examples / size)


def _count(x: Any) -> int:
    return int(x.shape[0]) if hasattr(x, "shape") else len(x)


def _rows(rows: Any) -> Any:
    """Some of the rows, evenly spread: of an array, a sparse matrix, a data frame or a list."""
    if hasattr(rows, "iloc"):
        return rows.iloc[spread(np.arange(len(rows)))]
    if hasattr(rows, "tocsr"):
        return rows.tocsr()[spread(np.arange(rows.shape[0]))]
    return spread(np.asarray(rows))


def _dense(x: Any) -> Any:
    return x.toarray() if hasattr(x, "toarray") else np.asarray(x)
