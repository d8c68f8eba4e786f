"""Numbers in JAX arrays on an accelerator, brought to the host without making the training wait (`record/deferred.py`).

JAX's arrays do not change, but their memory may be given away; so what is held are copies, made in the device's queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from epochal.errors import StoreError


class _Delivery:
    """Several log calls' numbers on their way."""

    def __init__(self, held: Sequence[Sequence[Any]]) -> None:
        self._held = held

    def read(self) -> list[list[float]]:
        """The numbers of each call."""
        try:
            return [[float(np.asarray(array).reshape(())) for array in arrays] for arrays in self._held]
        except RuntimeError as error:
            raise StoreError(f"JAX could not compute these numbers: {error}") from error


def hold(arrays: Sequence[Any]) -> list[Any]:
    """Copies of one-element arrays, on their way to the host already."""
    copies = [array.copy() for array in arrays]
    for copy in copies:
        copy.copy_to_host_async()
    return copies


def send(held: Sequence[Sequence[Any]]) -> _Delivery:
    """What was held is on its way."""
    return _Delivery(held)
