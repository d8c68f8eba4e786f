"""What a network says of examples at one moment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.record.media.arrays import as_array
from epochal.record.media.pictured import ExampleBatch, examples_of
from epochal.record.media.shapes import label_numbers
from epochal.record.media.value import Blob, Encoded, Value
from epochal.store.safetensors import pack_tensors

__all__ = ["Predictions"]

_OFF = 0.02
"""How far a row's sum may be from 1: the rounding of half precision stays below it, scores that are none do not."""


class Predictions(Value):
    """A network's confidence in each class for N examples, and the right answers.

    `probabilities` are [N, C], rows that sum to 1, or [N]: of the second of two classes. `labels` [N] are numbers of
    classes, their names out of `class_names`, or one-hot rows [N, C]. `inputs` are the examples: pictures ([N, H, W],
    [N, H, W, C], [N, C, H, W]), texts, or any numbers [N, ...] (rows of a table, whose columns `feature_names` names;
    [N, D, H, W] are shown slice by slice); the same inputs are stored once. `ids` [N] name the examples. `facts` are
    further things to be told of them. Rows with a NaN or infinity are kept and counted.

    Raises UsageError where shapes do not fit or rows are no probabilities.
    """

    __slots__ = ("_class_names", "_facts", "_feature_names", "_ids", "_labels", "_probabilities", "batch")

    batch: ExampleBatch | None
    """The inputs: to be handed on where the same ones are logged again."""

    kind = "predictions"

    def __init__(
        self,
        inputs: object = None,
        *,
        labels: object = None,
        probabilities: object,
        class_names: Sequence[str] | None = None,
        ids: object = None,
        feature_names: Sequence[str] | None = None,
        facts: Mapping[str, Any] | None = None,
        known: ExampleBatch | None = None,
        caption: str = "",
    ) -> None:
        super().__init__(caption)
        found = as_array(probabilities, "probabilities").astype(np.float32)
        if found.ndim == 2 and found.shape[1] == 1:
            found = found[:, 0]
        if found.ndim == 1:
            found = np.stack([1 - found, found], axis=1)
        if found.ndim != 2 or found.shape[1] < 2:
            raise UsageError(
                f"probabilities have shape {found.shape}", hint="give [N, classes], or [N] for two classes"
            )
        _check_rows(found)
        self._probabilities = found
        self._class_names = [str(name) for name in class_names] if class_names is not None else []
        if self._class_names and len(self._class_names) != found.shape[1]:
            raise UsageError(f"{len(self._class_names)} class names for {found.shape[1]} classes")
        self._labels = None if labels is None else self._checked_labels(labels)
        self._ids = None if ids is None else _checked_ids(ids, len(found))
        self.batch = None if inputs is None else examples_of(inputs, len(found), "inputs", known=known)
        self._feature_names = [] if feature_names is None else [str(name) for name in feature_names]
        if self._feature_names:
            shape: tuple[int, ...] = getattr(self.batch.data, "shape", ()) if self.batch is not None else ()
            if len(shape) != 2 or shape[1] != len(self._feature_names):
                raise UsageError(
                    f"{len(self._feature_names)} feature names for inputs of shape {shape}",
                    hint="give one for each column of inputs [N, features]",
                )
        self._facts = dict(facts or {})

    def _checked_labels(self, labels: object) -> npt.NDArray[np.int64]:
        count, classes = self._probabilities.shape
        shape = getattr(labels, "shape", None)
        if shape is not None and tuple(shape) == (count, classes):
            places: npt.NDArray[np.int64] = as_array(labels, "labels").argmax(axis=1).astype(np.int64)
            return places  # one-hot, or soft
        found, names = label_numbers(labels, count, "labels")
        if names:
            if not self._class_names:
                if len(names) != classes:
                    raise UsageError(
                        f"labels have {len(names)} names, there are {classes} classes",
                        hint="give class_names in the order of the columns",
                    )
                self._class_names = names
            if unknown := [name for name in names if name not in self._class_names]:
                raise UsageError(f"label {unknown[0]!r} is none of the class names")
            found = np.array([self._class_names.index(name) for name in names], np.int64)[found]
        if found.size and not 0 <= int(found.min()) <= int(found.max()) < classes:
            raise UsageError(f"labels are {found.min()} to {found.max()}, there are {classes} classes")
        return found

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        return self._probabilities.nbytes + (0 if self.batch is None else self.batch.waiting_nbytes)

    def encode(self) -> Encoded:
        """A safetensors file with `probabilities`; what stays the same over steps is in files of its own."""
        count, classes = self._probabilities.shape
        meta: dict[str, Any] = {"examples": count, "classes": classes, **self._facts}
        if self._class_names:
            meta["class_names"] = self._class_names[:1000]
        if self._feature_names:
            meta["feature_names"] = self._feature_names[:1000]
        rows = np.isfinite(self._probabilities).all(axis=1)
        if odd := count - int(np.count_nonzero(rows)):
            meta["nonfinite"] = odd
        if self._labels is not None:
            right = (self._probabilities.argmax(axis=1) == self._labels) & rows
            meta["accuracy"] = float(right.mean()) if count else 0.0
        blobs = []
        if (truth := self._truth()) is not None:
            truth = truth.named()
            blobs.append(truth)
            meta["truth_blob"] = truth.name
        if self.batch is not None:
            blob, facts = self.batch.pack()
            blobs.append(blob)
            meta |= {**facts, "inputs_blob": blob.name}
        data = pack_tensors({"probabilities": self._probabilities}, metadata={"kind": "predictions"})
        return Encoded(data=data, extension="safetensors", meta=meta, blobs=tuple(blobs))

    def _truth(self) -> Blob | None:
        """The right answers and the names of examples and classes, which are the same at every step."""
        tensors: dict[str, npt.NDArray[Any]] = {}
        said: dict[str, str] = {}
        if self._labels is not None:
            tensors["labels"] = self._labels
        if isinstance(self._ids, list):
            said["ids"] = json.dumps(self._ids)
        elif self._ids is not None:
            tensors["ids"] = self._ids
        if self._class_names:
            said["class_names"] = json.dumps(self._class_names)
        if not tensors and not said:
            return None
        return Blob(pack_tensors(tensors, metadata={"kind": "truth", **said}), "safetensors")


def _check_rows(found: npt.NDArray[np.float32]) -> None:
    good = found[np.isfinite(found).all(axis=1)]
    if not len(good):
        return
    sums = good.sum(axis=1, dtype=np.float64)
    worst = int(np.abs(sums - 1).argmax())
    low, high = float(good.min()), float(good.max())
    if abs(float(sums[worst]) - 1) > _OFF or low < -_OFF or high > 1 + _OFF:
        raise UsageError(
            f"these are no probabilities: values lie from {low:.4g} to {high:.4g}, a row sums to {sums[worst]:.4g}",
            hint="give softmax(logits), whose rows sum to 1",
        )


def _checked_ids(ids: object, count: int) -> list[str] | npt.NDArray[np.int64]:
    plain = ids.tolist() if isinstance(ids, np.ndarray) and ids.dtype.kind in "OUS" else ids
    found: list[str] | npt.NDArray[np.int64]
    if isinstance(plain, list | tuple) and any(isinstance(one, str) for one in plain):
        found = [str(one) for one in plain]
    else:
        array = as_array(plain, "ids")
        if array.dtype.kind not in "iu":
            raise UsageError(f"ids are of {array.dtype}", hint="give whole numbers or texts")
        found = array.astype(np.int64).reshape(-1)
    if len(found) != count:
        raise UsageError(f"{len(found)} ids for {count} examples")
    return found
