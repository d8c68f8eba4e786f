"""Asking a run's network live, as it was at a step: the recorded program behind its gate, or its weights in numpy."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import EpochalError, NetworkMissingError, UsageError
from epochal.network import Network
from epochal.network.confidence import confidences
from epochal.network.recorded import class_names, open_quickly
from epochal.store.reader import StoredRun
from epochal.wire.asking import MOST_VALUES, askable, several_inputs, why_not_askable
from epochal.wire.schema import Question

__all__ = ["Asking", "BusyError"]

Array = npt.NDArray[Any]
_KEPT = 8
_WAIT_SECS = 20.0


class BusyError(EpochalError):
    """Others are being answered."""

    code = "busy"


class Asking:
    """Answers questions to networks, one at a time; the last few networks stay open."""

    def __init__(self) -> None:
        self._free = threading.Lock()
        self._opened: OrderedDict[tuple[str, int, int], Network] = OrderedDict()

    def ask(self, run: StoredRun, question: Question) -> dict[str, Any]:
        """An AnswerDocument. Raises UsageError for what does not fit, NetworkMissingError where there is no network."""
        known = askable(run)
        several = several_inputs(run) if known is None else None
        if several is not None:
            given: Sequence[Array] = several.batches(question.inputs)
        elif known is not None:
            given = [_one(question, tuple(known["shape"]))]
        else:
            raise NetworkMissingError(
                f"The network of run {run.info().name!r} cannot be asked here. {why_not_askable(run)}",
                hint="run.watch(model, inputs=one_batch) records one, with a snapshot at each epoch.",
            )
        if not all(np.isfinite(values).all() for values in given):
            raise UsageError("All numbers must be finite.")
        if not self._free.acquire(timeout=_WAIT_SECS):
            raise BusyError("The network is answering others.", hint="try again in a while")
        try:
            start = time.perf_counter()
            network = self._open(run, question.step)
            outputs = _answer(network, given)
            seconds = time.perf_counter() - start
        finally:
            self._free.release()
        if isinstance(outputs, tuple | list) and len(outputs) == 1:
            outputs = outputs[0]
        batch = 1 if several is None else several.batch
        if isinstance(outputs, np.ndarray) and batch > 1 and outputs.shape[:1] == (batch,):
            outputs = outputs[:1]
        if not isinstance(outputs, np.ndarray) or outputs.shape[:1] != (1,) or not 0 < outputs.size <= MOST_VALUES:
            raise UsageError("The network does not answer with one row of numbers.")
        flat = outputs.reshape(-1).astype(np.float64)
        sure, meaning = confidences(flat, network.graph)
        names = class_names(run)
        return {
            "step": network.step,
            "outputs": flat.tolist(),
            "confidences": sure.tolist(),
            "meaning": meaning,
            "classes": list(names) if len(names) == len(sure) else [str(i) for i in range(len(sure))],
            "seconds": round(seconds, 6),
        }

    def _open(self, run: StoredRun, step: int | None) -> Network:
        """The network at the last snapshot that is not after `step`, or the first one."""
        steps = run.snapshot_steps()
        at = max((s for s in steps if step is None or s <= step), default=steps[0])
        # A resumed run may write a step again: then it is another file.
        key = (str(run.path), at, run.snapshot_path(at).stat().st_mtime_ns)
        network = self._opened.pop(key, None)
        if network is None:
            network = open_quickly(run, at)
        self._opened[key] = network
        while len(self._opened) > _KEPT:
            self._opened.popitem(last=False)
        return network


def _one(question: Question, shape: tuple[int, ...]) -> Array:
    """The one input of a network as a batch of one."""
    if len(question.values) != prod(shape):
        raise UsageError(
            f"The network takes {prod(shape):,} numbers of shape {list(shape)}; it was given {len(question.values):,}."
        )
    with np.errstate(over="ignore"):
        return np.array(question.values, np.float64).astype(np.float32).reshape(1, *shape)


def _answer(network: Network, given: Sequence[Array]) -> Any:
    """What the network says; whole numbers go to the inputs that take them, such as places in an embedding."""
    takes = getattr(network, "takes", ())
    inputs: list[Array] = list(given)
    for i, one in enumerate(takes[: len(inputs)]):
        if one.dtype.is_floating_point or one.dtype.is_complex:
            continue
        if not np.array_equal(inputs[i], np.floor(inputs[i])):
            raise UsageError(f"{one.name} takes whole numbers.")
        inputs[i] = inputs[i].astype(bool if str(one.dtype) == "torch.bool" else np.int64)
    try:
        return network(*inputs)
    except (IndexError, RuntimeError) as error:
        # As an embedding does for a number beyond its last row.
        raise UsageError(f"The network has no answer to this: {error}") from error
