"""What the title of a picture says about the moment it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.picture.numbers import whole


def caption(step: int, epoch: float | None = None) -> str:
    """`epoch 81 · step 9,720`, without the epoch where it is not known."""
    said = f"step {whole(step)}"
    return said if epoch is None or not np.isfinite(epoch) else f"epoch {whole(round(epoch, 2))} · {said}"


def captions(steps: Sequence[int] | npt.NDArray[Any], epochs: npt.NDArray[Any] | None = None) -> Sequence[str]:
    """A caption for each step; `epochs` has the epoch of each, NaN where it is not known."""
    if epochs is None:
        return [caption(int(s)) for s in steps]
    return [caption(int(s), float(e)) for s, e in zip(steps, epochs, strict=True)]
