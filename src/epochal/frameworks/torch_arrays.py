"""PyTorch tensors that are handed over among arrays: `run.log_parameters({"w": tensor})`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

# numpy knows neither of these; their bits are read as integers of their size.
_BITS = {torch.bfloat16: torch.int16, torch.float8_e4m3fn: torch.uint8, torch.float8_e5m2: torch.uint8}


def source(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """The tensor's values, not copied where they lie in this machine's memory; bfloat16 as uint16, float8 as uint8."""
    here = tensor.detach().cpu()
    bits = _BITS.get(here.dtype)
    if bits is None:
        return here.numpy()
    return here.contiguous().view(bits).numpy().view(np.uint16 if here.dtype == torch.bfloat16 else np.uint8)
