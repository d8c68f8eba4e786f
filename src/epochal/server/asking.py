"""Asking a run's network live, as it was at a step: the recorded program behind its gate, or its weights in numpy."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from math import prod
from typing import Any

import numpy as np

from epochal.errors import EpochalError, NetworkMissingError, UsageError
from epochal.network import Network
from epochal.network.confidence import confidences
from epochal.network.recorded import open_quickly
from epochal.store.reader import StoredRun
from epochal.wire.asking import MOST_VALUES, askable, why_not_askable
from epochal.wire.schema import Question

__all__ = ["Asking", "BusyError"]

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
        if known is None:
            raise NetworkMissingError(
                f"The network of run {run.info().name!r} cannot be asked here. {why_not_askable(run)}",
                hint="run.watch(model, inputs=one_batch) records one, with a snapshot at each epoch.",
            )
        shape = tuple(known["shape"])
        if len(question.values) != prod(shape):
            raise UsageError(
                f"The network takes {prod(shape):,} numbers of shape {list(shape)}; it was given "
                f"{len(question.values):,}."
            )
        with np.errstate(over="ignore"):
            values = np.array(question.values, np.float64).astype(np.float32).reshape(1, *shape)
        if not np.isfinite(values).all():
            raise UsageError("All numbers must be finite.")
        if not self._free.acquire(timeout=_WAIT_SECS):
            raise BusyError("The network is answering others.", hint="try again in a while")
        try:
            start = time.perf_counter()
            network = self._open(run, question.step)
            outputs = network(values)
            seconds = time.perf_counter() - start
        finally:
            self._free.release()
        if isinstance(outputs, tuple | list) and len(outputs) == 1:
            outputs = outputs[0]
        if not isinstance(outputs, np.ndarray) or outputs.shape[:1] != (1,) or not 0 < outputs.size <= MOST_VALUES:
            raise UsageError("The network does not answer with one row of numbers.")
        flat = outputs.reshape(-1).astype(np.float64)
        sure, meaning = confidences(flat, network.graph)
        names = known["classes"]
        return {
            "step": network.step,
            "outputs": flat.tolist(),
            "confidences": sure.tolist(),
            "meaning": meaning,
            "classes": names if len(names) == len(sure) else [str(i) for i in range(len(sure))],
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
