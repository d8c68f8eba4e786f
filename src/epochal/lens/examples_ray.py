"""Top examples on Ray: each process looks at a part of the data set, and what they find is merged."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

try:
    import ray
except ModuleNotFoundError as error:
    from epochal.errors import MissingExtraError

    raise MissingExtraError("Ray is not installed.", hint="pip install 'epochal[ray]'") from error

from epochal.errors import NetworkError, UsageError
from epochal.lens.asking import Subject
from epochal.lens.ranking import Ranking, rank
from epochal.lens.source import Source
from epochal.lens.threads import limit_threads

__all__ = ["rank_on_ray"]

_TURNS = 4
"""So many parts are there for each process: one that is slower gets fewer of them."""


def rank_on_ray(
    network: Any,
    source: Source,
    layers: Sequence[str],
    k: int,
    *,
    first: int,
    workers: int,
    done: Callable[[int], object] | None = None,
) -> dict[str, Ranking]:
    """The rankings of layers over all of the data; `done` is told how many examples have been looked at.

    A cluster that Ray is connected to is used and left as it is, otherwise `workers` processes are started here, and
    ended. Raises UsageError where the network or the data set cannot be sent to other processes.
    """
    if workers < 1:
        raise UsageError(f"workers must be at least 1; it is {workers!r}.")
    parts = list(source.parts())
    shares = min(len(parts), workers * _TURNS)
    spans = [parts[len(parts) * i // shares : len(parts) * (i + 1) // shares] for i in range(shares)]
    with _connected(workers):
        sent = (_put(network, "network"), _put(source.data, "data set"))
        looking = ray.remote(num_cpus=1)(_look)
        sizes: dict[Any, int] = {}
        waiting: list[Any] = []
        order: list[Any] = []
        for span in spans:
            task = looking.remote(*sent, list(layers), k, span, first)
            sizes[task] = sum(map(len, span))
            waiting.append(task)
            order.append(task)
        looked = 0
        while waiting:
            ready, waiting = ray.wait(waiting)
            for task in ready:
                _outcome(task)
                looked += sizes[task]
                if done is not None:
                    done(looked)
        found = [_outcome(task) for task in order]
    return {name: reduce(Ranking.merged, (one[name] for one in found)) for name in layers}


def _look(
    network: Any, data: Any, layers: Sequence[str], k: int, parts: Sequence[range], first: int
) -> dict[str, Ranking]:
    """What runs in each process."""
    limit_threads(1)
    subject = Subject(network)
    return rank(subject, Source(subject, data), layers, k, parts, first=first)


def _put(value: Any, what: str) -> Any:
    try:
        return ray.put(value)
    except (TypeError, pickle.PicklingError, AttributeError, RuntimeError) as error:
        raise UsageError(
            f"The {what} cannot be sent to other processes: {error}", hint="Leave workers out, or give one that can."
        ) from error


def _outcome(task: Any) -> dict[str, Ranking]:
    try:
        found: dict[str, Ranking] = ray.get(task)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        first = (str(cause or error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise NetworkError(f"A process of Ray could not look: {first}") from error
    return found


@contextmanager
def _connected(workers: int) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()
