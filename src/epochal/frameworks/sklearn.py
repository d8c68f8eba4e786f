"""scikit-learn: `fit` trains an estimator as its own `fit` does and records each epoch; `run.watch(estimator)` takes
multi-layer perceptrons and linear models in loops of one's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.frameworks.arrays import ArrayProbe
from epochal.frameworks.session import Session
from epochal.frameworks.sklearn_fit import Training, choose
from epochal.frameworks.sklearn_mlp import Mlp, is_mlp
from epochal.record import Run
from epochal.record.tree import home_of

__all__ = ["fit", "probe"]

Array = npt.NDArray[Any]


def fit(
    estimator: Any,
    X: Any,  # noqa: N803 - the names that scikit-learn gives them
    y: Any,
    *,
    run: Run | None = None,
    project: str | None = None,
    validation: tuple[Any, Any] | float | None = None,
    epochs: int | None = None,
    fit_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Train an estimator, or a pipeline that ends in one, as `estimator.fit(X, y)` does, and record the training.

    Without `run` a run of its own is begun and finished; `project` and the other options are those of `epochal.init`
    (`config`: the estimator's parameters). `validation` are examples (X, y) that are not trained on, or what part of X
    is set aside for that; `epochs` takes the place of `max_iter`. `fit_options` go to the estimator's `fit`, such as
    `sample_weight`. Returns the estimator.

    Multi-layer perceptrons are trained by their own `fit`, so that the result is the same to the last bit; so are
    boosted models, whose stages are recorded afterwards, and forests, which grow by `warm_start`. Other estimators with
    `partial_fit` are trained by that, epoch by epoch, until the training score no longer improves: see the
    documentation for what differs from their `fit`. Raises UsageError where training cannot be followed at all, such as
    with `solver="lbfgs"`, and what the estimator itself raises.
    """
    follow = choose(estimator)  # before a run begins: it may refuse
    session = Session(run, project, options)
    training = Training(estimator, session, epochs=epochs, fit_options=dict(fit_options or {}))
    X, y = training.set_aside(X, y, validation)  # noqa: N806
    training.begin()
    try:
        follow(training, X, y)
    except BaseException as error:
        session.finish(error=error)
        raise
    training.end()
    session.finish()
    return estimator


def probe(model: object, *, activations: bool = True, gradients: bool = True) -> ArrayProbe | None:
    """Return a probe when `model` is a multi-layer perceptron or a linear model, or a pipeline that ends in one.

    Raises UsageError for estimators that have no weights.
    """
    if not home_of(model, ("sklearn",)) or not hasattr(model, "get_params"):
        return None
    steps = getattr(model, "steps", None)
    last = steps[-1][1] if steps else model
    if is_mlp(last):
        return ArrayProbe(Mlp(last), activations=activations, gradients=gradients)
    if hasattr(last, "coef_") or hasattr(last, "fit_intercept"):
        return ArrayProbe(_Linear(last), activations=False, gradients=False)
    raise UsageError(
        f"watch() got a {type(last).__name__}, which has no weights to look at",
        hint="epochal.frameworks.sklearn.fit() records the scores of its training",
    )


class _Linear:
    """A linear model as the probe of arrays reads it; before its first fit it has no parameters."""

    framework = "sklearn"

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    @property
    def model(self) -> str:
        """The class of the estimator."""
        return type(self._estimator).__name__

    @property
    def kinds(self) -> Mapping[str, str]:
        """One layer of weights."""
        return {"layers.0": "Dense"}

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Weights [outputs, features] and biases."""
        weight = getattr(self._estimator, "coef_", None)
        if weight is None:
            return {}
        weight = weight.toarray() if hasattr(weight, "toarray") else weight
        found = {"layers.0.weight": np.atleast_2d(weight)}
        bias = getattr(self._estimator, "intercept_", None)
        if bias is not None:
            found["layers.0.bias"] = np.atleast_1d(bias)
        return found
