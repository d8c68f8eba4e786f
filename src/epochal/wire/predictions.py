"""What a network said of examples, packed: the answers of all steps, or the confidences of one example."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import EpochalError
from epochal.network.recorded import class_names
from epochal.store.reader import StoredRun
from epochal.views.predictions import ExampleSet, Outline, Prepared, find_item, prepared_of
from epochal.wire import frames

__all__ = ["encode_example", "encode_outline", "names_document"]


def encode_outline(found: Outline) -> bytes:
    """An EPF1 container with a PredictionsHeader: steps i8[T], of u4[T], predicted u1 or u4, labels u4.

    `predicted` holds the answers of step after step, `labels` the right answers of set after set that has some.
    """
    wide = any(part.dtype != np.uint8 for part in found.predicted)
    parts = [_widened(part) if wide else part for part in found.predicted]
    labels = [each.labels for each in found.sets if each.labels is not None]
    arrays: dict[str, npt.NDArray[Any]] = {
        "steps": found.steps,
        "of": found.of,
        "predicted": np.concatenate(parts) if parts else np.empty(0, np.uint8),
        "labels": np.concatenate(labels).astype(np.uint32) if labels else np.empty(0, np.uint32),
    }
    header = {
        "series": found.series,
        "total": found.total,
        "stride": found.stride,
        "unreadable": found.unreadable,
        "blobs": found.blobs,
        "sets": [_set_document(each) for each in found.sets],
    }
    return frames.encode(header, arrays)


def _widened(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Answers of one byte as those of four; no answer stays no answer."""
    if part.dtype != np.uint8:
        return part
    wide = part.astype(np.uint32)
    wide[part == 255] = np.iinfo(np.uint32).max
    return wide


def _set_document(each: ExampleSet) -> dict[str, Any]:
    ids = each.ids.tolist() if isinstance(each.ids, np.ndarray) else each.ids
    return {
        "examples": each.examples,
        "classes": each.classes,
        "class_names": each.class_names,
        "feature_names": each.feature_names,
        "labels": each.labels is not None,
        "ids": None if ids is None else [str(one) for one in ids],
        "inputs": each.inputs,
        "inputs_blob": each.inputs_blob,
        "inputs_bytes": each.inputs_bytes,
        "range": each.range,
        "outputs": each.outputs,
        "shown": each.shown,
        "prepared": _prepared_document(each.prepared),
    }


def names_document(run: StoredRun) -> dict[str, Any]:
    """A NamesDocument: what recorded examples call the numbers of their rows and their classes."""
    known: dict[str, Any] = {"columns": [], "classes": list(class_names(run)), "prepared": None}
    try:
        names = [name for name, series in run.media_series().items() if "predictions" in series.kinds]
        metas = [find_item(run, name, "predictions", None).meta for name in names]
    except (EpochalError, OSError):
        return known
    for meta in metas:
        prepared, columns, classes = prepared_of(meta), meta.get("feature_names"), meta.get("class_names")
        if not known["classes"] and isinstance(classes, list) and len(classes) == meta.get("classes"):
            known["classes"] = [str(one) for one in classes]
        # Columns that the network is not given are not its inputs.
        if not known["columns"] and isinstance(columns, list) and (prepared is not None or not meta.get("shown")):
            known["columns"] = [str(one) for one in columns]
            known["prepared"] = _prepared_document(prepared)
    return known


def _prepared_document(prepared: Prepared | None) -> dict[str, list[float]] | None:
    if prepared is None:
        return None
    return {name: values.tolist() for name, values in zip(("scale", "offset"), prepared, strict=True)}


def encode_example(
    series: str, example: int, steps: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float32]
) -> bytes:
    """An EPF1 container with an ExampleHeader: steps i8[T], probabilities f4[T, C]."""
    return frames.encode({"series": series, "example": example}, {"steps": steps, "probabilities": probabilities})
