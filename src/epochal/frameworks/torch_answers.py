"""Asking a PyTorch network about examples while it trains, without a trace left in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter, thread_time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from epochal.errors import UsageError
from epochal.frameworks.torch_compiled import uncompiled
from epochal.frameworks.torch_quiet import untouched
from epochal.frameworks.torch_tensors import is_spread

__all__ = ["ask_network"]

ROWS = 1024
BYTES = 32 << 20
"""A batch has at most so many rows, and about so many bytes."""


def ask_network(root: nn.Module, inputs: Any, rows: int) -> tuple[npt.NDArray[Any], float] | None:
    """What the network says of `rows` examples in evaluation mode, [rows, ...], and what that cost in seconds.

    `inputs` are [rows, ...] numbers, a tuple of several inputs, or a mapping of names to them. Batches go to the
    device that the network lies on, and it is waited for. Nothing of the training changes: modes, buffers, gradients,
    random generators and compiled code stay as they were. None while the network has parameters without values.

    Raises UsageError where it cannot be asked, and what the network itself raises.
    """
    if is_spread(root):
        raise UsageError(
            "a network whose parameters are spread over several processes cannot be asked by one of them",
            hint="log what it says with run.log_predictions()",
        )
    tensors = [*root.parameters(), *root.buffers()]
    if any(is_lazy(t) or t.is_meta for t in tensors):
        return None
    device = tensors[0].device if tensors else torch.device("cpu")
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)
    # The device works while this thread waits; on this machine's processors others may be at work, too.
    clock = thread_time if device.type == "cpu" else perf_counter
    start = clock()
    found = []
    with (
        untouched(root),
        torch.no_grad(),
        torch.autocast(device.type, enabled=False),
        uncompiled(),
    ):
        for batch in _batches(inputs, rows, device, dtype):
            if isinstance(batch, dict):
                said = root(**batch)
            elif isinstance(batch, tuple):
                said = root(*batch)
            else:
                said = root(batch)
            found.append(_scores(said).detach())
        whole = torch.cat(found) if found else torch.empty(0, 0)
        wide = whole.dtype if whole.dtype == torch.float64 else torch.float32
        values: npt.NDArray[Any] = whole.to("cpu", wide).numpy()
    return values, clock() - start


def _batches(inputs: Any, rows: int, device: torch.device, dtype: torch.dtype) -> Iterator[Any]:
    size = sum(_row_bytes(part) for part in _parts(inputs))
    step = int(max(1, min(ROWS, BYTES // max(1, size))))
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        if isinstance(inputs, Mapping):
            yield {str(k): _tensor(v[start:stop], device, dtype) for k, v in inputs.items()}
        elif isinstance(inputs, tuple):
            yield tuple(_tensor(v[start:stop], device, dtype) for v in inputs)
        else:
            yield _tensor(inputs[start:stop], device, dtype)


def _parts(inputs: Any) -> list[Any]:
    if isinstance(inputs, Mapping):
        return list(inputs.values())
    return list(inputs) if isinstance(inputs, tuple) else [inputs]


def _row_bytes(part: Any) -> int:
    count = 1
    for side in tuple(getattr(part, "shape", (1,)))[1:]:
        count *= int(side)
    return 4 * count


def _tensor(part: Any, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Numbers of numpy or lists are given the network's own type, tensors keep theirs; a copy, so that the network
    may change what it gets."""
    if isinstance(part, torch.Tensor):
        moved = part.detach().to(device)
        return moved.clone() if moved.data_ptr() == part.data_ptr() else moved
    found = torch.from_numpy(np.array(part, order="C"))
    return found.to(device, dtype if found.is_floating_point() else found.dtype)


def _scores(said: Any) -> torch.Tensor:
    """The scores in what a network returned: a tensor, the `logits` of an output object, or the first of several."""
    if isinstance(said, torch.Tensor):
        return said
    logits = said.get("logits") if isinstance(said, Mapping) else getattr(said, "logits", None)
    if isinstance(logits, torch.Tensor):
        return logits
    if isinstance(said, tuple | list) and said and isinstance(said[0], torch.Tensor):
        return said[0]
    raise UsageError(
        f"the network answers with a {type(said).__name__}, in which no scores are found",
        hint="log what it says with run.log_predictions()",
    )
