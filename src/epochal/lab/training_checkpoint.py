"""Where a training is, kept so that one that was broken off goes on as if it had not been.

One file in the run's folder, replaced as a whole, gone when the training is done: parameters, the state of the
optimiser, random numbers, the place in the epoch, and the rows that were logged. It is read without running anything.
"""

from __future__ import annotations

import os
import pickle  # for the name of its error alone
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ["forget_checkpoint", "read_checkpoint", "write_checkpoint"]

NAME = "checkpoint.pt"
FORMAT = 1


def read_checkpoint(folder: str | os.PathLike[str]) -> Mapping[str, Any] | None:
    """What a training that was recorded in `folder` left to go on from; None where nothing can be read."""
    path = Path(folder) / NAME
    if not path.is_file():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, TypeError, AttributeError, pickle.UnpicklingError):
        return None  # damage shows in many ways, and then the training begins anew
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None


def write_checkpoint(folder: str | os.PathLike[str] | None, state: Mapping[str, Any]) -> str | None:
    """Keep the state of a training; return why it could not be, None when it is kept."""
    if folder is None:
        return None
    target = Path(folder) / NAME
    partial = target.with_name(f".{NAME}.{os.getpid()}.tmp")
    try:
        torch.save({**state, "format": FORMAT}, partial)
        partial.replace(target)
    except (OSError, RuntimeError) as error:  # PyTorch tells of a full disk as a RuntimeError
        partial.unlink(missing_ok=True)
        return str(error)
    return None


def forget_checkpoint(folder: str | os.PathLike[str] | None) -> None:
    """Take it away: the training is done."""
    if folder is not None:
        (Path(folder) / NAME).unlink(missing_ok=True)
