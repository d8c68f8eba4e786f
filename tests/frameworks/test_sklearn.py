"""scikit-learn: trainings that are recorded come out as if they were not, and what is recorded is what happened."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: make test-frameworks installs it")

from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier, SGDRegressor
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from epochal.errors import RecordingWarning, UsageError
from epochal.frameworks.sklearn import fit
from epochal.frameworks.sklearn_mlp import Mlp, loss_of
from epochal.record import Run, init
from epochal.store import StoredRun

pytestmark = pytest.mark.sklearn

IRIS = load_iris(return_X_y=True)
SUGAR = load_diabetes(return_X_y=True)
SUGAR = (SUGAR[0] * 20, (SUGAR[1] - SUGAR[1].mean()) / SUGAR[1].std())
ODD = np.arange(len(IRIS[0])) % 3 == 0


@pytest.fixture(autouse=True)
def unconverged() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        yield


def only_run(root: Path) -> StoredRun:
    (folder,) = [path.parent for path in root.glob("*/*/run.json")]
    return StoredRun(folder)


def column(found: StoredRun, name: str) -> list[float]:
    return found.scalars()[name].v.tolist()  # type: ignore[no-any-return]


MLPS = {
    "adam": MLPClassifier((8,), max_iter=25, random_state=0),
    "sgd-adaptive": MLPClassifier(
        (8, 5), max_iter=50, random_state=1, solver="sgd", learning_rate="adaptive", learning_rate_init=0.2,
        activation="tanh", n_iter_no_change=2, tol=1e-2,
    ),
    "sgd-invscaling": MLPClassifier((6,), max_iter=15, random_state=2, solver="sgd", learning_rate="invscaling"),
    "stops-early": MLPClassifier((9,), max_iter=200, random_state=3, early_stopping=True, activation="logistic"),
    "in-order": MLPClassifier((5,), max_iter=12, random_state=0, shuffle=False, batch_size=16),
    "converges": MLPClassifier((5,), max_iter=400, random_state=0, tol=5e-3, learning_rate_init=0.02),
    "unseeded-instance": MLPClassifier((5,), max_iter=9, random_state=np.random.RandomState(5)),
}  # fmt: skip


@pytest.mark.parametrize("name", MLPS)
def test_a_perceptron_comes_out_as_from_its_own_fit_to_the_last_bit(name: str, tmp_path: Path) -> None:
    x, y = IRIS
    alone, recorded = clone(MLPS[name]).fit(x, y), clone(MLPS[name])
    assert fit(recorded, x, y, dir=tmp_path, strict=True) is recorded
    assert recorded.loss_curve_ == alone.loss_curve_
    assert recorded.n_iter_ == alone.n_iter_
    for a, b in zip(recorded.coefs_ + recorded.intercepts_, alone.coefs_ + alone.intercepts_, strict=True):
        assert np.array_equal(a, b)
    assert recorded.get_params().keys() == alone.get_params().keys()
    assert set(vars(recorded)) == set(vars(alone)), "nothing of ours is left on the estimator"
    found = only_run(tmp_path)
    assert column(found, "loss") == alone.loss_curve_
    assert column(found, "epoch") == list(range(1, alone.n_iter_ + 1))
    if alone.early_stopping:
        assert column(found, "val_accuracy") == alone.validation_scores_
    assert found.info().status == "finished"
    assert found.info().config["hidden_layer_sizes"] == list(alone.hidden_layer_sizes)
    assert found.notices() == ()


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_a_regressor_too_with_weights_of_samples(loss: str, tmp_path: Path) -> None:
    x, y = SUGAR[0], SUGAR[1] - SUGAR[1].min()
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    net = MLPRegressor(loss=loss, hidden_layer_sizes=(7,), max_iter=10, random_state=0)
    alone = clone(net).fit(x, y, sample_weight=weight)
    recorded = fit(
        net, x, y, dir=tmp_path, strict=True, fit_options={"sample_weight": weight}, validation=(x[:50], y[:50])
    )
    assert recorded.loss_curve_ == alone.loss_curve_
    found = only_run(tmp_path)
    assert column(found, "val_r2")[-1] == pytest.approx(alone.score(x[:50], y[:50]))
    if loss == "squared_error":
        half = 0.5 * np.mean((y[:50] - alone.predict(x[:50])) ** 2)
        assert column(found, "val_loss")[-1] == pytest.approx(half)


def test_weights_of_each_epoch_are_those_that_fit_had_then(tmp_path: Path) -> None:
    x, y = IRIS
    net = MLPClassifier((6,), max_iter=8, random_state=0, batch_size=30)
    fit(net, x, y, dir=tmp_path, strict=True)
    found = only_run(tmp_path)
    assert found.snapshot_steps() == [0, 5, 10, 15, 20, 25, 30, 35, 40]  # 150 examples are 5 batches
    for epochs in (1, 4, 8):
        alone = MLPClassifier((6,), max_iter=epochs, random_state=0, batch_size=30).fit(x, y)
        snapshot = found.snapshot(5 * epochs)
        for i in range(2):
            assert np.array_equal(snapshot[f"layers.{i}.weight"], alone.coefs_[i].T)
            assert np.array_equal(snapshot[f"layers.{i}.bias"], alone.intercepts_[i])
    assert found.snapshot_header(20).epoch == 4.0
    untrained = found.snapshot(0)["layers.0.weight"]
    bound = np.sqrt(6 / (4 + 6))
    assert np.abs(untrained).max() <= bound
    assert not np.array_equal(untrained, found.snapshot(5)["layers.0.weight"])
    graph = found.graph()
    assert graph is not None
    assert [layer.layer_id for layer in graph.layers] == [
        "x", "layers.0", "layers.0.relu", "layers.1", "layers.1.softmax", "output"
    ]  # fmt: skip
    assert graph.layers[1].parameters[0].shape == (6, 4)
    assert {n for n in found.statistics_series() if not n.startswith("param/")} == {
        *(f"grad/layers.{i}.{part}" for i in range(2) for part in ("weight", "bias")),
        "act/layers.0", "act/layers.0.relu", "act/layers.1", "act/layers.1.softmax",
    }  # fmt: skip


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("kind", ["classes", "two", "labels", "numbers", "several", "counts"])
def test_gradients_are_those_of_the_loss(activation: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5))
    y: Any = {
        "classes": rng.integers(0, 3, 40),
        "two": rng.choice(["a", "b"], 40),
        "labels": rng.integers(0, 2, (40, 3)),
        "numbers": rng.normal(size=40),
        "several": rng.normal(size=(40, 2)),
        "counts": rng.poisson(2, 40).astype(float),
    }[kind]
    options: dict[str, Any] = {"max_iter": 3, "random_state": 0, "alpha": 0.3, "activation": activation}
    options["hidden_layer_sizes"] = (6, 4)
    if kind in ("classes", "two", "labels"):
        net = MLPClassifier(**options).fit(x, y)
    else:
        net = MLPRegressor(**options, loss="poisson" if kind == "counts" else "squared_error").fit(x, y)
    shown = Mlp(net, x, y).gradients
    assert shown is not None

    def loss() -> float:
        penalty = 0.5 * net.alpha * sum((w**2).sum() for w in net.coefs_) / len(x)
        outputs = y.shape[1] if kind == "several" else 1  # its gradient is of the sum over outputs
        return outputs * loss_of(net, x, y) + float(penalty)

    for i in range(3):
        for name, parameter in (("weight", net.coefs_[i].T), ("bias", net.intercepts_[i])):
            gradient = shown[f"layers.{i}.{name}"]
            assert gradient.shape == parameter.shape
            for place in [(0,) * parameter.ndim, tuple(n - 1 for n in parameter.shape)]:
                kept, either = parameter[place], []
                for nudge in (1e-6, -1e-6):
                    parameter[place] = kept + nudge
                    either.append(loss())
                parameter[place] = kept
                assert gradient[place] == pytest.approx((either[0] - either[1]) / 2e-6, abs=2e-7)


def test_activations_and_losses_are_those_of_the_estimator(tmp_path: Path) -> None:
    x, y = IRIS
    net = MLPClassifier((8,), max_iter=5, random_state=0).fit(x, y)
    shown = Mlp(net, x).activations
    assert shown is not None
    np.testing.assert_allclose(shown["layers.1.softmax"], net.predict_proba(x), rtol=1e-12)
    assert loss_of(net, x, y) == pytest.approx(log_loss(y, net.predict_proba(x)))
    assert Mlp(net, x).gradients is None
    fit(clone(net), x[~ODD], y[~ODD], dir=tmp_path, strict=True, validation=(x[ODD], y[ODD]))
    found = only_run(tmp_path)
    again = clone(net).fit(x[~ODD], y[~ODD])
    assert column(found, "val_loss")[-1] == pytest.approx(log_loss(y[ODD], again.predict_proba(x[ODD])))
    assert column(found, "val_accuracy")[-1] == again.score(x[ODD], y[ODD])
    (media,) = found.media("predictions", steps=[5])
    assert media.kind == "predictions"
    assert len(found.media("predictions")) == 5


def test_a_pipeline_is_fitted_as_by_its_own_fit(tmp_path: Path) -> None:
    x, y = IRIS
    net = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=15, random_state=0))
    alone = clone(net).fit(x, y)
    recorded = fit(net, x, y, dir=tmp_path, strict=True, validation=(x[ODD], y[ODD]))
    assert recorded is net
    assert np.array_equal(recorded.predict_proba(x), alone.predict_proba(x))
    found = only_run(tmp_path)
    assert column(found, "val_accuracy")[-1] == alone.score(x[ODD], y[ODD])
    assert column(found, "val_loss")[-1] == pytest.approx(log_loss(y[ODD], alone.predict_proba(x[ODD])))
    assert found.info().config["mlpclassifier__max_iter"] == 15
    # Activations are those of examples that went through the scaler.
    hidden = Mlp(alone[-1], alone[:-1].transform(x)).activations
    assert hidden is not None
    table = found.statistics("act/layers.0")
    assert table.columns["mean"][-1] == pytest.approx(hidden["layers.0"].mean(), rel=1e-5)


def test_a_part_is_set_aside_and_epochs_take_the_place_of_max_iter(tmp_path: Path) -> None:
    x, y = IRIS
    net = fit(MLPClassifier((5,), random_state=0), x, y, dir=tmp_path, strict=True, validation=0.2, epochs=6)
    assert net.n_iter_ == 6
    assert net.max_iter == 200
    assert net.t_ == 6 * 120
    assert len(column(only_run(tmp_path), "val_accuracy")) == 6


def test_a_second_fit_begins_anew_and_a_warm_one_goes_on(tmp_path: Path) -> None:
    x, y = IRIS
    net = MLPClassifier((5,), max_iter=4, random_state=0)
    with init("twice", dir=tmp_path, strict=True) as run:
        fit(net, x, y, run=run)
        first = net.loss_curve_
        fit(net, x, y, run=run)
        assert net.loss_curve_ == first
        net.set_params(warm_start=True)
        fit(net, x, y, run=run)
        assert len(net.loss_curve_) == 8
        assert not run.ended
    losses = only_run(tmp_path).scalars()["loss"]
    assert losses.steps.tolist() == list(range(1, 13))
    assert losses.v.tolist() == first + net.loss_curve_


@pytest.mark.parametrize(
    "estimator",
    [
        SGDClassifier(random_state=0, loss="log_loss", max_iter=30),
        Perceptron(random_state=0, max_iter=20),
        SGDRegressor(random_state=0, max_iter=20),
    ],
    ids=lambda e: type(e).__name__,
)
def test_others_learn_epoch_by_epoch(estimator: Any, tmp_path: Path) -> None:
    regression = isinstance(estimator, SGDRegressor)
    x, y = SUGAR if regression else IRIS
    net = make_pipeline(StandardScaler(), clone(estimator))
    fit(net, x, y, dir=tmp_path, strict=True)
    found = only_run(tmp_path)
    score = "r2" if regression else "accuracy"
    assert column(found, score)[-1] == net.score(x, y)
    alone = make_pipeline(StandardScaler(), clone(estimator)).fit(x, y)
    assert net.score(x, y) > alone.score(x, y) - 0.1, "not equal to fit, but as good"
    last = found.snapshot(found.snapshot_steps()[-1])
    assert np.array_equal(last["layers.0.weight"], np.atleast_2d(net[-1].coef_))
    assert np.array_equal(last["layers.0.bias"], np.atleast_1d(net[-1].intercept_))
    assert found.snapshot_steps()[0] == len(x)
    assert net[-1].random_state == 0


@pytest.mark.parametrize(
    "estimator",
    [
        GradientBoostingClassifier(n_estimators=12, random_state=0, subsample=0.7),
        GradientBoostingRegressor(n_estimators=12, random_state=0),
        AdaBoostClassifier(n_estimators=6, random_state=0),
        HistGradientBoostingRegressor(max_iter=8, random_state=0),
        RandomForestClassifier(n_estimators=60, random_state=0, max_depth=3),
        BaggingClassifier(n_estimators=7, random_state=0),
    ],
    ids=lambda e: type(e).__name__,
)
def test_ensembles_come_out_as_from_their_own_fit(estimator: Any, tmp_path: Path) -> None:
    regression = "Regressor" in type(estimator).__name__
    x, y = SUGAR if regression else IRIS
    odd = np.arange(len(x)) % 3 == 0
    alone, recorded = clone(estimator).fit(x[~odd], y[~odd]), clone(estimator)
    recorded.fit(x[odd], y[odd])  # fitted before: that is no part of the result
    fit(recorded, x[~odd], y[~odd], dir=tmp_path, strict=True, validation=(x[odd], y[odd]))
    answers = "predict" if regression else "predict_proba"
    assert np.array_equal(getattr(recorded, answers)(x), getattr(alone, answers)(x))
    assert recorded.get_params() == alone.get_params()
    found = only_run(tmp_path)
    score = "r2" if regression else "accuracy"
    assert column(found, score)[-1] == pytest.approx(alone.score(x[~odd], y[~odd]))
    assert column(found, f"val_{score}")[-1] == pytest.approx(alone.score(x[odd], y[odd]))
    if hasattr(alone, "staged_predict"):
        third = list(alone.staged_predict(x[~odd]))[2]
        expected = 1 - ((third - y[~odd]) ** 2).sum() / ((y[~odd] - y[~odd].mean()) ** 2).sum()
        expected = expected if regression else float((third == y[~odd]).mean())
        assert column(found, score)[2] == pytest.approx(expected)
    if isinstance(estimator, GradientBoostingClassifier | GradientBoostingRegressor):
        assert column(found, "loss") == alone.train_score_.tolist()


def test_a_forest_keeps_its_own_size_whatever_happens(tmp_path: Path) -> None:
    forest = RandomForestClassifier(n_estimators=20, random_state=0)
    fit(forest, *IRIS, dir=tmp_path, strict=True, epochs=5)
    assert (len(forest.estimators_), forest.n_estimators, forest.warm_start) == (5, 20, False)
    y = np.array(["a", "b", None] * 50, object)
    with pytest.raises((TypeError, ValueError)):
        fit(forest, IRIS[0], y, dir=tmp_path)
    assert (forest.n_estimators, forest.warm_start) == (20, False)


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (MLPClassifier(solver="lbfgs"), "lbfgs.*minimises in one call"),
        (LogisticRegression(), "LogisticRegression cannot be followed"),
        (KMeans(), "KMeans cannot be followed"),
        (DecisionTreeClassifier(), "DecisionTreeClassifier cannot be followed"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_the_reason(estimator: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        fit(estimator, *IRIS, dir=tmp_path)
    assert not list(tmp_path.iterdir()), "no run was begun"


def test_a_training_that_fails_ends_its_run_and_the_error_is_the_users(tmp_path: Path) -> None:
    net = MLPClassifier((4,), max_iter=5)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        fit(net, IRIS[0], IRIS[1][:-1], dir=tmp_path)
    info = only_run(tmp_path).info()
    assert info.status == "failed"
    assert "_initialize" not in vars(net)
    for validation in (1.5, "half", 3):
        with pytest.raises(UsageError, match="validation is"):
            fit(net, *IRIS, dir=tmp_path, validation=validation)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="epochs is 0"):
        fit(net, *IRIS, dir=tmp_path, epochs=0)


def test_trouble_of_recording_does_not_end_a_training(tmp_path: Path) -> None:
    net = MLPClassifier((4,), max_iter=5, random_state=0)
    with pytest.warns(RecordingWarning, match="scoring the estimator failed, training goes on"):
        fit(net, *IRIS, dir=tmp_path, strict=False, validation=(IRIS[0][:, :2], IRIS[1]))
    assert net.n_iter_ == 5
    assert len(column(only_run(tmp_path), "loss")) == 5


def test_without_the_calls_of_this_version_partial_fit_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("epochal.frameworks.sklearn_fit._EPOCH", "_no_such_method")
    x, y = IRIS
    net = fit(MLPClassifier((8,), max_iter=20, random_state=0, early_stopping=True), x, y, dir=tmp_path, strict=True)
    assert net.early_stopping is True
    assert net.random_state == 0
    found = only_run(tmp_path)
    assert column(found, "loss") == net.loss_curve_
    assert len(net.loss_curve_) == 20
    # The same first weights and the same first epoch, and other orders of examples after it.
    alone = MLPClassifier((8,), max_iter=20, random_state=0).fit(x, y)
    assert net.loss_curve_[0] == alone.loss_curve_[0]
    assert net.loss_curve_ == pytest.approx(alone.loss_curve_, rel=0.1)


def test_watching_in_a_loop_of_ones_own(tmp_path: Path) -> None:
    x, y = IRIS
    net, kept = MLPClassifier((6,), random_state=0), []
    with init("own", dir=tmp_path, strict=True) as run:
        run.watch(net, inputs=(x, y))
        for epoch in range(1, 5):
            net.partial_fit(x, y, classes=[0, 1, 2])
            run.log({"loss": net.loss_}, step=epoch, epoch=epoch)
            kept.append(net.coefs_[0].T.copy())
    found = only_run(tmp_path)
    assert found.snapshot_steps() == [1, 2, 3, 4], "before the first fit there is nothing to keep"
    assert all(np.array_equal(found.snapshot(s)["layers.0.weight"], kept[s - 1]) for s in range(1, 5))
    graph = found.graph()
    assert graph is not None
    assert (graph.model, graph.framework, len(graph.layers)) == ("MLPClassifier", "sklearn", 6)
    shown = Mlp(net, x, y).gradients
    assert shown is not None
    norm = found.statistics("grad/layers.0.weight").columns["norm"][-1]
    assert norm == pytest.approx(np.linalg.norm(shown["layers.0.weight"]))


def test_watching_linear_models_and_what_has_no_weights(tmp_path: Path) -> None:
    net = SGDClassifier(random_state=0)
    with init("own", dir=tmp_path, strict=True) as run:
        with pytest.raises(UsageError, match="no weights to look at"):
            run.watch(DecisionTreeClassifier())
        run.watch(make_pipeline(StandardScaler(), net))
        for epoch in range(3):
            net.partial_fit(*IRIS, classes=[0, 1, 2])
            run.log({"x": 1.0}, step=epoch, epoch=epoch)
        assert isinstance(run, Run)
    found = only_run(tmp_path)
    assert found.snapshot_steps() == [0, 1, 2]
    assert np.array_equal(found.snapshot(2)["layers.0.weight"], net.coef_)
    graph = found.graph()
    assert graph is not None
    assert [(layer.layer_id, layer.kind) for layer in graph.layers] == [("layers.0", "Dense")]


def test_data_of_other_kinds(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    frame = pandas.DataFrame(IRIS[0], columns=list("abcd"))
    words = pandas.Series(np.array(["s", "v", "w"])[IRIS[1]])
    for k, (x, y) in enumerate(
        [(frame, words), (sparse.csr_matrix(IRIS[0]), IRIS[1]), (IRIS[0].tolist(), IRIS[1].tolist())]
    ):
        net = fit(
            MLPClassifier((4,), max_iter=3, random_state=0), x, y, dir=tmp_path / str(k), strict=True, validation=0.3
        )
        assert net.n_iter_ == 3
        assert len(column(only_run(tmp_path / str(k)), "val_loss")) == 3
