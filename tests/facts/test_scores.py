"""Scores held against scikit-learn, closed forms, and counting by hand."""

from __future__ import annotations

import json
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.errors import UsageError
from epochal.facts import PredictionHistory, PredictionSet
from epochal.facts.scores import calibration, normalised, precision_recall, predicted_classes, roc

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is what the scores are held against")
TINY = 1e-12


def made(seed: int, n: int = 400, classes: int = 5, *, ties: bool = False, missing: int | None = None) -> PredictionSet:
    """Answers that are better than chance; with `ties` many scores are equal, `missing` is a class without examples."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    if missing is not None:
        labels[labels == missing] = (missing + 1) % classes
    scores = random.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    if ties:
        scores = np.round(scores)
    p = np.exp(scores)
    p /= p.sum(axis=1, keepdims=True)
    return PredictionSet(
        name="predictions", step=3, probabilities=p.astype(np.float32), labels=labels, class_names=list("abcdefghij")
    )


CASES = [
    made(0), made(1, ties=True), made(2, n=37, classes=2), made(3, n=60, classes=9, missing=4), made(4, n=3, classes=3)
]  # fmt: skip


@pytest.mark.parametrize("said", CASES)
def test_confusion_and_scores_of_classes(said: PredictionSet) -> None:
    classes = np.arange(said.probabilities.shape[1])
    guessed = said.probabilities.argmax(axis=1)
    np.testing.assert_array_equal(said.confusion(), metrics.confusion_matrix(said.labels, guessed, labels=classes))
    for ours, theirs in (("rows", "true"), ("columns", "pred"), ("all", "all")):
        expected = metrics.confusion_matrix(said.labels, guessed, labels=classes, normalize=theirs)
        # Where there is nothing to divide by, scikit-learn says 0 and we say that there is no answer.
        np.testing.assert_allclose(np.nan_to_num(said.confusion(normalise=ours)), expected, rtol=0, atol=TINY)  # type: ignore[arg-type]
    found = said.scores()
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        said.labels, guessed, labels=classes, zero_division=np.nan
    )
    np.testing.assert_allclose(found.precision, precision, rtol=0, atol=TINY)
    np.testing.assert_allclose(found.recall, recall, rtol=0, atol=TINY)
    np.testing.assert_array_equal(found.support, support)
    there = np.isfinite(f1) & (found.support + found.predicted > 0)
    np.testing.assert_allclose(found.f1[there], f1[there], rtol=0, atol=TINY)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(said.labels, guessed), abs=TINY)
    weighted = metrics.precision_recall_fscore_support(
        said.labels, guessed, labels=classes, average="weighted", zero_division=0
    )
    if np.isfinite(found.f1).all() and np.isfinite(found.precision).all():
        assert found.weighted("f1") == pytest.approx(weighted[2], abs=TINY)
        assert found.macro("f1") == pytest.approx(metrics.f1_score(said.labels, guessed, average="macro"), abs=TINY)


@pytest.mark.parametrize("said", CASES)
def test_curves_and_their_areas(said: PredictionSet) -> None:
    assert said.labels is not None
    for k in range(said.probabilities.shape[1]):
        yes, scores = said.labels == k, said.probabilities[:, k].astype(np.float64)
        if not 0 < yes.sum() < len(yes):
            assert np.isnan(said.roc(k).area)
            assert np.isnan(said.precision_recall(k).area) == (not yes.any())
            continue
        x, y, thresholds = metrics.roc_curve(yes, scores, drop_intermediate=False)
        ours = said.roc(k)
        np.testing.assert_allclose(ours.x, x, rtol=0, atol=TINY)
        np.testing.assert_allclose(ours.y, y, rtol=0, atol=TINY)
        np.testing.assert_array_equal(ours.thresholds, thresholds)
        assert ours.area == pytest.approx(metrics.roc_auc_score(yes, scores), abs=TINY)
        precision, recall, thresholds = metrics.precision_recall_curve(yes, scores)
        ours = said.precision_recall(k)
        np.testing.assert_allclose(ours.x[::-1], recall, rtol=0, atol=TINY)
        np.testing.assert_allclose(ours.y[::-1], precision, rtol=0, atol=TINY)
        np.testing.assert_array_equal(ours.thresholds[:0:-1], thresholds)
        assert ours.area == pytest.approx(metrics.average_precision_score(yes, scores), abs=TINY)


@pytest.mark.parametrize("said", CASES)
@pytest.mark.parametrize("bins", [1, 7, 10, 15])
def test_calibration_is_that_of_another_source(said: PredictionSet, bins: int) -> None:
    from sklearn.calibration import calibration_curve

    ours = said.calibration(bins)
    share, means = calibration_curve(said.right, said.confidence, n_bins=bins, strategy="uniform")
    some = ours.count > 0
    np.testing.assert_allclose(ours.accuracy[some], share, rtol=0, atol=TINY)
    np.testing.assert_allclose(ours.confidence[some], means, rtol=0, atol=TINY)
    # The definition, one example at a time and without histograms.
    gap = 0.0
    for b in range(bins):
        lo, hi = ours.edges[b], ours.edges[b + 1]
        inside = [i for i, c in enumerate(said.confidence) if (lo < c <= hi) or (b == 0 and c == 0)]
        if inside:
            gap += abs(sum(bool(said.right[i]) for i in inside) - sum(float(said.confidence[i]) for i in inside))
    assert ours.ece == pytest.approx(gap / len(said), abs=TINY)


def test_calibration_in_closed_form() -> None:
    # Ten examples that say 0.75, six of them right; ten that say 0.25, all of them wrong.
    found = calibration(np.array([1] * 6 + [0] * 14), np.array([0.75] * 10 + [0.25] * 10), bins=10)
    assert found.ece == pytest.approx((0.15 + 0.25) / 2, abs=TINY)
    assert found.mce == pytest.approx(0.25, abs=TINY)
    assert found.count.tolist() == [0, 0, 10, 0, 0, 0, 0, 10, 0, 0]
    sure = calibration(np.ones(5), np.ones(5))
    assert (sure.ece, sure.count[-1]) == (0.0, 5)
    assert np.isnan(calibration(np.empty(0), np.empty(0)).ece)


@pytest.mark.parametrize("said", CASES)
def test_losses_are_the_cross_entropy(said: PredictionSet) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # single precision does not sum to 1 in double
        expected = metrics.log_loss(
            said.labels, said.probabilities.astype(np.float64), labels=np.arange(said.probabilities.shape[1])
        )
        rows = said.probabilities.astype(np.float64).sum(axis=1)
    assert said.losses.mean() == pytest.approx(expected, abs=1e-6)
    exact = -np.log(said.probabilities.astype(np.float64)[np.arange(len(said)), said.labels])
    np.testing.assert_allclose(said.losses, exact, rtol=0, atol=TINY)
    assert np.abs(rows - 1).max() < 1e-6


def test_rows_that_are_not_finite_have_no_answer_and_count_nowhere() -> None:
    said = made(5, n=50, classes=3)
    p = said.probabilities.copy()
    p[3, 1], p[7, 0], p[9] = np.nan, np.inf, -np.inf
    odd = PredictionSet(name="x", step=0, probabilities=p, labels=said.labels)
    kept = np.ones(50, bool)
    kept[[3, 7, 9]] = False
    assert odd.predicted[~kept].tolist() == [-1, -1, -1]
    np.testing.assert_array_equal(odd.predicted[kept], said.predicted[kept])
    assert odd.confusion().sum() == 47
    assert said.labels is not None
    np.testing.assert_array_equal(
        odd.confusion(), metrics.confusion_matrix(said.labels[kept], said.predicted[kept], labels=range(3))
    )
    assert np.isnan(odd.losses[~kept]).all()
    assert np.isfinite(odd.losses[kept]).all()
    assert odd.calibration().count.sum() == 47


def test_what_there_is_not_is_not_a_number() -> None:
    said = PredictionSet(name="x", step=0, probabilities=np.array([[1.0, 0, 0]], np.float32), labels=np.array([0]))
    found = said.scores()
    assert found.precision[0] == 1
    assert np.isnan(found.precision[1:]).all()
    assert np.isnan(found.recall[1:]).all()
    assert np.isnan(said.confusion(normalise="rows")[1]).all()
    assert found.macro("recall") == 1.0
    with pytest.raises(UsageError, match="normalise is 'cells'"):
        normalised(said.confusion(), "cells")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not of one length"):
        roc(np.ones(3), np.ones(2))
    with pytest.raises(UsageError, match="no class 'z'"):
        CASES[0].roc("z")
    with pytest.raises(UsageError, match="no class 7"):
        CASES[0].precision_recall(7)
    assert CASES[0].roc("b").area == CASES[0].roc(1).area
    with pytest.raises(UsageError, match="without the right answers"):
        PredictionSet(name="x", step=0, probabilities=np.ones((1, 2), np.float32)).confusion()
    assert len(predicted_classes(np.empty((0, 3)))) == 0
    assert np.isnan(precision_recall(np.zeros(3, bool), np.arange(3.0)).area)


def history(predicted: Any, labels: Any) -> PredictionHistory:
    said = np.array(predicted, np.int64)
    return PredictionHistory(
        name="p", steps=np.arange(len(said), dtype=np.int64) * 10, predicted=said, labels=np.array(labels, np.int64)
    )


def test_forgotten_flipped_and_never_learned_by_hand() -> None:
    # Example 0 is learned and stays, 1 is forgotten, 2 is never learned, 3 is forgotten and learned again, 4 has NaN.
    film = history(
        [[1, 1, 0, 1, 1],
         [0, 0, 1, 0, -1],
         [0, 1, 1, 1, 0],
         [0, 2, 1, 0, 0]],
        [0, 0, 2, 0, 0],
    )  # fmt: skip
    assert film.forgotten().tolist() == [1]
    assert film.forgotten(20).tolist() == [1, 3]
    assert film.forgotten(10).tolist() == []
    assert film.forgotten(-1).tolist() == []
    assert film.never_learned().tolist() == [2]
    assert film.never_learned(15).tolist() == [2, 4]
    assert film.forgettings().tolist() == [0, 1, 0, 1, 0]
    assert film.flips().tolist() == [1, 3, 1, 3, 2]
    assert film.flipped(since=20).tolist() == [1, 3]
    assert film.flipped(since=10, step=20).tolist() == [1, 3, 4]
    assert film.accuracy.tolist() == [0.0, 0.75, 0.4, 0.6]


@pytest.mark.parametrize("seed", range(5))
def test_forgotten_examples_are_those_that_counting_one_by_one_finds(seed: int) -> None:
    random = np.random.default_rng(seed)
    film = history(random.integers(-1, 4, (9, 60)), random.integers(0, 4, 60))
    assert film.labels is not None
    for t, step in enumerate(film.steps.tolist()):
        forgotten, never, events = [], [], []
        for i in range(60):
            was = [int(film.predicted[k, i]) == int(film.labels[i]) for k in range(t + 1)]
            if any(was) and not was[-1]:
                forgotten.append(i)
            if not any(was):
                never.append(i)
            events.append(sum(a and not b for a, b in pairwise(was)))
        assert film.forgotten(step).tolist() == forgotten
        assert film.never_learned(step).tolist() == never
        assert film.forgettings(step).tolist() == events


KNOWN = json.loads((Path(__file__).parents[1] / "data" / "scores.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("known", KNOWN["cases"])
def test_the_file_that_the_studio_is_held_against_says_the_same(known: dict[str, Any]) -> None:
    p = np.array(known["probabilities"], np.float32).reshape(-1, known["classes"])
    said = PredictionSet(name="x", step=0, probabilities=p, labels=np.array(known["labels"]))
    assert said.confusion().ravel().tolist() == known["confusion"]
    np.testing.assert_allclose(said.scores().recall, np.array(known["recall"], float), rtol=0, atol=TINY)
    assert said.calibration().ece == pytest.approx(known["ece"], abs=TINY)
    assert said.calibration().count.tolist() == known["counts"]
    for k, curve in enumerate(known["curves"]):
        if curve is not None:
            assert said.roc(k).area == pytest.approx(curve["auc"], abs=TINY)
            assert said.precision_recall(k).area == pytest.approx(curve["ap"], abs=TINY)
