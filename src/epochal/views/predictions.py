"""What a network said of examples through a training, as a page wants it: the answers of all steps, small.

Of each step only the likeliest class of each example is taken; all confidences are one file a step (or, of one example,
a few bytes of each file), which are read when they are asked for.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import DamagedError, EpochalError, NotFoundError, UsageError
from epochal.facts import MediaItem, PredictionHistory, PredictionSet
from epochal.facts.scores import predicted_classes
from epochal.store import StoredRun
from epochal.store.blobs import check_blob, split_blob_name
from epochal.store.safetensors import SnapshotHeader, TensorPlace, read_header, read_tensor

__all__ = [
    "AnswersMemory",
    "ExampleSet",
    "Outline",
    "Prepared",
    "find_item",
    "last_items",
    "prepared_of",
    "read_answers",
    "read_example",
    "read_file",
    "read_history",
    "read_outline",
    "read_predictions",
]

OUTLINE_BYTES = 32 << 20
"""So many bytes of answers are sent at once; of more, every n-th step."""
Arrays = dict[str, npt.NDArray[Any]]
Prepared = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExampleSet:
    """N examples that a network was asked about at several steps, and what is known of them.

    `inputs` says what they are: `pictures`, `numbers`, `texts`, or "" where none were logged; `inputs_blob` is the file
    that holds them, of `inputs_bytes`. `outputs` says what the network put out (`raw`, `softmax`, `sigmoid`), "" where
    only probabilities were logged; `shown` that the network was given something else than these inputs: of rows of a
    table, `prepared` says what, `inputs * scale + offset` column by column.
    """

    examples: int
    classes: int
    labels: npt.NDArray[np.int64] | None
    ids: Sequence[str] | npt.NDArray[np.int64] | None
    class_names: tuple[str, ...] | None
    feature_names: tuple[str, ...] | None
    inputs: str
    inputs_blob: str
    inputs_bytes: int
    range: tuple[float, float] | None
    outputs: str
    shown: bool
    prepared: Prepared | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outline:
    """The answers of a series at T steps: `predicted[t]` [N], 255 (of bytes) or 2^32 - 1 where one is not finite.

    `of[t]` is the number of the step's set in `sets`, `blobs[t]` the file with all its confidences. `total` counts the
    steps that were recorded, of which every `stride`-th is here, and the last; `unreadable` those whose file is gone or
    no longer what it was.
    """

    series: str
    steps: npt.NDArray[np.int64]
    of: npt.NDArray[np.uint32]
    predicted: list[npt.NDArray[Any]]
    blobs: list[str]
    sets: list[ExampleSet]
    total: int
    stride: int
    unreadable: int


@dataclass(slots=True)
class AnswersMemory:
    """What was read of a series already, by the hash of its files; they never change."""

    answers: dict[str, tuple[npt.NDArray[Any], int]] = field(default_factory=dict)
    """The answers of a file and its number of classes."""
    own_labels: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    truths: dict[str, tuple[Arrays, SnapshotHeader]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


def find_item(stored: StoredRun, name: str, kind: str, step: int | None) -> MediaItem:
    """The value of a series at a step, or the last one; NotFoundError names the steps there are."""
    series = stored.media_series()
    if name not in series:
        there = [n for n, s in series.items() if kind in s.kinds]
        raise NotFoundError(
            f"The run {stored.project}/{stored.run_id} has no {kind} {name!r}.",
            hint=f"It has: {', '.join(there[:8])}." if there else f"Record them with run.log_{kind}(...).",
        )
    items = [item for item in stored.media(name) if item.kind == kind]
    if not items:
        raise NotFoundError(f"{name!r} is a series of {', '.join(series[name].kinds)}, not of {kind}.")
    if step is None:
        return items[-1]
    found = [item for item in items if item.step == step]
    if not found:
        near = sorted({item.step for item in items}, key=lambda s: abs(s - step))[:4]
        raise NotFoundError(f"There is no {kind} {name!r} at step {step}.", hint=f"Nearest: {sorted(near)}.")
    return found[-1]


def last_items(stored: StoredRun, name: str) -> list[MediaItem]:
    """The predictions of a series by step; of those logged several times at one step, the last."""
    items = stored.media(name) if name in stored.media_series() else []
    found = {item.step: item for item in items if item.kind == "predictions"}
    if not found:
        find_item(stored, name, "predictions", None)  # which says what there is
    return list(found.values())


def read_file(stored: StoredRun, sha256: str, names: Sequence[str] | None = None) -> tuple[Arrays, SnapshotHeader]:
    """The tensors of a file, held against its hash; raises DamagedError where one is missing."""
    path = stored.blob(sha256)
    check_blob(path)
    return read_tensors(path, names)


def read_tensors(path: Path, names: Sequence[str] | None = None) -> tuple[Arrays, SnapshotHeader]:
    """The tensors of a safetensors file and its header."""
    header = read_header(path)
    wanted = list(header.tensors) if names is None else list(names)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if missing := [name for name in wanted if name not in header.tensors]:
            raise DamagedError(f"{path.name} has no tensor {missing[0]!r}")
        return {name: read_tensor(fd, header.tensors[name]) for name in wanted}, header
    finally:
        os.close(fd)


def _hash_of(item: MediaItem, key: str) -> str | None:
    """The hash of a further file that a value refers to, None where it has none."""
    named = split_blob_name(str(item.meta.get(key, "")))
    return named[0] if named else None


def _texts(header: SnapshotHeader, key: str) -> tuple[str, ...] | None:
    try:
        found = json.loads(header.metadata[key])
    except (KeyError, ValueError):
        return None
    return tuple(map(str, found)) if isinstance(found, list) else None


def _names(item: MediaItem, key: str) -> tuple[str, ...] | None:
    found = item.meta.get(key)
    return tuple(map(str, found)) if isinstance(found, list) and found else None


def _range(item: MediaItem) -> tuple[float, float] | None:
    scale = item.meta.get("range")
    return (float(scale[0]), float(scale[1])) if isinstance(scale, list) and len(scale) == 2 else None


def prepared_of(meta: Mapping[str, Any]) -> Prepared | None:
    """Scale and offset of each column, as a value's facts tell them; None where they do not."""
    found = meta.get("prepared")
    if not isinstance(found, dict):
        return None
    try:
        scale, offset = (np.array(found[name], np.float64) for name in ("scale", "offset"))
    except (KeyError, TypeError, ValueError):
        return None
    fits = scale.ndim == offset.ndim == 1 and scale.shape == offset.shape
    return (scale, offset) if fits and np.isfinite(scale).all() and np.isfinite(offset).all() else None


def _checked(probabilities: npt.NDArray[Any] | None, item: MediaItem) -> npt.NDArray[Any]:
    if probabilities is None or probabilities.ndim != 2 or probabilities.dtype.kind != "f":
        raise DamagedError(f"{item.filename} holds no probabilities")
    return probabilities


def _labels(tensors: Arrays, count: int, classes: int, item: MediaItem) -> npt.NDArray[np.int64] | None:
    labels = tensors.get("labels")
    if labels is None:
        return None
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise DamagedError(f"the right answers of {item.filename} are not {count}")
    if count and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise DamagedError(f"the right answers of {item.filename} are no numbers of {classes} classes")
    return labels.astype(np.int64, copy=False)


def _read_said(stored: StoredRun, item: MediaItem) -> tuple[npt.NDArray[Any], Arrays, SnapshotHeader]:
    """The probabilities of a step, and the tensors and texts of its examples."""
    tensors, header = read_file(stored, item.sha256)
    probabilities = _checked(tensors.get("probabilities"), item)
    # What stays the same over steps lies in a file of its own; earlier runs have it in each step's.
    if (truth := _hash_of(item, "truth_blob")) is not None:
        tensors, header = read_file(stored, truth)
    return probabilities, tensors, header


def read_answers(
    stored: StoredRun, item: MediaItem
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Probabilities [N, C], labels [N] and names of classes of a step, without the inputs."""
    probabilities, tensors, header = _read_said(stored, item)
    return (
        probabilities,
        _labels(tensors, len(probabilities), probabilities.shape[1], item),
        _texts(header, "class_names"),
    )


def read_predictions(stored: StoredRun, name: str, step: int | None) -> PredictionSet:
    """What the network said of examples at a step, or the last time."""
    item = find_item(stored, name, "predictions", step)
    probabilities, tensors, header = _read_said(stored, item)
    inputs: Any = None
    if (examples := _hash_of(item, "inputs_blob")) is not None:
        inputs = _read_inputs(stored, item, examples)
    ids: Any = tensors.get("ids")
    return PredictionSet(
        name=name,
        step=item.step,
        probabilities=probabilities,
        labels=_labels(tensors, len(probabilities), probabilities.shape[1], item),
        ids=ids if ids is not None else _texts(header, "ids"),
        class_names=_texts(header, "class_names"),
        inputs=inputs,
        range=_range(item),
        feature_names=_names(item, "feature_names"),
        shown=item.meta.get("shown") is True,
        prepared=prepared_of(item.meta),
    )


def _read_inputs(stored: StoredRun, item: MediaItem, sha256: str) -> Any:
    if item.meta.get("inputs") != "texts":
        return read_file(stored, sha256, ("inputs",))[0]["inputs"]
    found = json.loads(stored.blob_bytes(sha256))
    if not isinstance(found, list):
        raise DamagedError(f"the texts of {item.filename} are no list")
    return tuple(map(str, found))


def read_outline(
    stored: StoredRun, name: str, memory: AnswersMemory | None = None, *, most: int = OUTLINE_BYTES
) -> Outline:
    """The answers of a series at all its steps (every n-th, where they would be more than `most` bytes)."""
    known = memory or AnswersMemory()
    items = last_items(stored, name)
    total = len(items)
    size = sum(
        int(item.meta.get("examples", 0)) * (1 if int(item.meta.get("classes", 0)) < 256 else 4) for item in items
    )
    stride = max(1, -(-size // most))
    kept = [item for i, item in enumerate(items) if i % stride == 0 or i == total - 1]
    sets: dict[object, tuple[int, ExampleSet]] = {}
    steps: list[int] = []
    of: list[int] = []
    predicted: list[npt.NDArray[Any]] = []
    blobs: list[str] = []
    with known.lock:
        for item in kept:
            try:
                answers, classes = _answers(stored, item, known)
                key = _examples_key(item, len(answers), classes, known)
                if key not in sets:  # most steps are of the same examples: these are looked up once
                    sets[key] = len(sets), _set_of(stored, item, len(answers), classes, known)
            except DamagedError:
                continue
            number = sets[key][0]
            steps.append(item.step)
            of.append(number)
            predicted.append(answers)
            blobs.append(item.filename)
    return Outline(
        series=name,
        steps=np.array(steps, np.int64),
        of=np.array(of, np.uint32),
        predicted=predicted,
        blobs=blobs,
        sets=[each for _, each in sets.values()],
        total=total,
        stride=stride,
        unreadable=len(kept) - len(steps),
    )


def _answers(stored: StoredRun, item: MediaItem, known: AnswersMemory) -> tuple[npt.NDArray[Any], int]:
    if (found := known.answers.get(item.sha256)) is not None:
        return found
    tensors, _ = read_file(stored, item.sha256)
    probabilities = _checked(tensors.get("probabilities"), item)
    classes = probabilities.shape[1]
    if (labels := _labels(tensors, len(probabilities), probabilities.shape[1], item)) is not None:
        known.own_labels[item.sha256] = labels
    best = predicted_classes(probabilities)
    # -1 wraps to the largest number there is, which stands for no answer.
    answers: npt.NDArray[Any] = best.astype(np.uint8 if classes < 256 else np.uint32)
    known.answers[item.sha256] = answers, classes
    return answers, classes


def _examples_key(item: MediaItem, count: int, classes: int, known: AnswersMemory) -> object:
    """What tells the examples of a step from others."""
    truth = _hash_of(item, "truth_blob")
    labels = None if truth else known.own_labels.get(item.sha256)
    blob = str(item.meta.get("inputs_blob", ""))
    return truth, None if labels is None else labels.tobytes(), blob, count, classes


def _set_of(stored: StoredRun, item: MediaItem, count: int, classes: int, known: AnswersMemory) -> ExampleSet:
    """What is known of the examples of a step."""
    truth = _hash_of(item, "truth_blob")
    ids: Any = None
    names = _names(item, "class_names")
    labels = known.own_labels.get(item.sha256)
    if truth is not None:
        if truth not in known.truths:
            known.truths[truth] = read_file(stored, truth)
        tensors, header = known.truths[truth]
        labels = _labels(tensors, count, classes, item)
        ids = tensors.get("ids")
        ids = _texts(header, "ids") if ids is None else ids
        names = _texts(header, "class_names")
    blob = str(item.meta.get("inputs_blob", ""))
    return ExampleSet(
        examples=count,
        classes=classes,
        labels=labels,
        ids=ids,
        class_names=names if names is not None and len(names) == classes else None,
        feature_names=_names(item, "feature_names"),
        inputs=str(item.meta.get("inputs", "")) if split_blob_name(blob) else "",
        inputs_blob=blob if split_blob_name(blob) else "",
        inputs_bytes=_size_of(stored, blob),
        range=_range(item),
        outputs=str(item.meta.get("outputs", "")),
        shown=item.meta.get("shown") is True,
        prepared=prepared_of(item.meta),
    )


def _size_of(stored: StoredRun, blob: str) -> int:
    """How many bytes a file has, 0 where it is not there."""
    try:
        return stored.blob(blob.partition(".")[0]).stat().st_size if split_blob_name(blob) else 0
    except (EpochalError, OSError):
        return 0


def read_history(stored: StoredRun, name: str) -> PredictionHistory:
    """Which class was said at every step of the examples that were asked about the last time."""
    found = read_outline(stored, name, most=1 << 62)
    if not len(found.steps):
        raise DamagedError(f"none of the files of {name!r} can be read", hint="a copy of the run may still hold them")
    last = int(found.of[-1])
    mine = [t for t in range(len(found.steps)) if int(found.of[t]) == last]
    stack = np.stack([found.predicted[t] for t in mine])
    predicted = stack.astype(np.int64)
    predicted[stack == np.iinfo(stack.dtype).max] = -1
    each = found.sets[last]
    return PredictionHistory(
        name=name,
        steps=found.steps[mine],
        predicted=predicted,
        labels=each.labels,
        class_names=each.class_names,
        others=len(found.steps) - len(mine),
    )


def read_example(
    stored: StoredRun, name: str, example: int, *, at: int | None = None, memory: AnswersMemory | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The confidences of one example at all steps of its set: steps [T] and probabilities [T, C].

    `at` is a step at which the examples are those that are meant, the last one else. A few bytes of each file are read.
    """
    known = memory or AnswersMemory()
    found = read_outline(stored, name, known, most=1 << 62)
    if not len(found.steps):
        raise DamagedError(f"none of the files of {name!r} can be read", hint="a copy of the run may still hold them")
    place = len(found.steps) - 1
    if at is not None:
        if at not in (listed := found.steps.tolist()):
            raise NotFoundError(f"There is no predictions {name!r} at step {at}.")
        place = listed.index(at)
    count = found.sets[int(found.of[place])].examples
    if not 0 <= example < count:
        raise UsageError(f"there is no example {example}", hint=f"there are {count}, from 0")
    mine = [t for t in range(len(found.steps)) if found.of[t] == found.of[place]]
    rows = [_row(stored.blob(found.blobs[t].partition(".")[0]), example) for t in mine]
    return found.steps[mine], np.stack(rows).astype(np.float32, copy=False)


def _row(path: Path, row: int) -> npt.NDArray[Any]:
    place = read_header(path).tensors["probabilities"]
    _, classes = place.shape
    size = (place.end - place.begin) // max(1, place.shape[0])
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        begin = place.begin + row * size
        return read_tensor(fd, TensorPlace(place.dtype, (classes,), begin, begin + size))
    finally:
        os.close(fd)
