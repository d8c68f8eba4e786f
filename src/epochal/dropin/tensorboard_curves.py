"""Curves and histograms as TensorBoard counts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def precision_recall(labels: Any, predictions: Any, thresholds: int, weights: Any = None) -> npt.NDArray[np.float64]:
    """Rows of threshold, true and false positives, true and false negatives, precision and recall, [thresholds, 7].

    Threshold k is k / (thresholds - 1); a prediction is positive where it reaches the threshold, after rounding down to
    one. `labels` are 0 or 1, `predictions` lie in [0, 1]. Precision is 0 where nothing is positive. Raises ValueError
    for shapes that do not fit or predictions outside.
    """
    if thresholds < 2:
        raise ValueError(f"num_thresholds is {thresholds}, at least 2 are needed")
    truth = np.asarray(labels, np.float64).reshape(-1)
    chance = np.asarray(predictions, np.float64).reshape(-1)
    each = np.ones_like(truth) if weights is None else np.broadcast_to(np.asarray(weights, np.float64), truth.shape)
    if truth.shape != chance.shape:
        raise ValueError(f"{len(truth)} labels for {len(chance)} predictions")
    if len(chance) and not (np.min(chance) >= 0 and np.max(chance) <= 1):  # NaN fails too
        raise ValueError("predictions must lie between 0 and 1")
    place = np.floor(chance * (thresholds - 1)).astype(np.int64)
    positive = truth * each
    hits = np.bincount(place, positive, minlength=thresholds)
    misses = np.bincount(place, each - positive, minlength=thresholds)
    true_positive, false_positive = (np.cumsum(found[::-1])[::-1] for found in (hits, misses))
    false_negative = hits.sum() - true_positive
    true_negative = misses.sum() - false_positive
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(true_positive / (true_positive + false_positive))
        recall = np.nan_to_num(true_positive / (true_positive + false_negative))
    columns = (true_positive, false_positive, true_negative, false_negative, precision, recall)
    return np.stack([np.arange(thresholds) / (thresholds - 1), *columns], axis=1)


def with_left_edge(low: float, high: float, limits: Any, counts: Any) -> tuple[Any, Any]:
    """Counts and their edges, from right edges of which the first may lie below all values and the last be huge."""
    limits = np.asarray(limits, np.float64).reshape(-1)
    counts = np.asarray(counts, np.float64).reshape(-1)
    used = np.flatnonzero(counts)
    if not len(used):
        return counts[:1], np.array([low, max(high, np.nextafter(low, np.inf))])
    first, last = int(used[0]), int(used[-1])
    left = limits[first - 1] if first else min(low, np.nextafter(limits[0], -np.inf))
    edges = np.concatenate([[left], limits[first : last + 1]])
    edges[0] = max(edges[0], low) if low < edges[1] else edges[0]
    edges[-1] = min(edges[-1], high) if high > edges[-2] else edges[-1]
    return counts[first : last + 1], edges
