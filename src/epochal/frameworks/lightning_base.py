"""The classes of Lightning that ours descend from, under the name that is installed and imported.

`lightning.pytorch` and the older `pytorch_lightning` hold the same classes twice. Ours descend from those that the
script has imported (from both, where it has imported both); a trainer of either takes them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from epochal.errors import MissingExtraError
from epochal.frameworks.session import Hook, Recording, guarded

_NAMES = ("lightning.pytorch", "pytorch_lightning")


def _packages() -> list[ModuleType]:
    imported = [name for name in _NAMES if sys.modules.get(name) is not None]
    for name in imported or _NAMES:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in (name, name.partition(".")[0]):
                raise
            continue
        if not imported:
            imported = [name]
            break
    if not imported:
        raise MissingExtraError("Lightning is not installed.", hint='pip install "epochal[lightning]"')
    return [sys.modules[name] for name in imported]


PACKAGES = _packages()
_utilities = importlib.import_module(f"{PACKAGES[0].__name__}.utilities.rank_zero")
_loggers = importlib.import_module(f"{PACKAGES[0].__name__}.loggers.logger")
rank_zero_experiment: Callable[[Any], Any] = _loggers.rank_zero_experiment

if TYPE_CHECKING:
    LoggerBase = object
    CallbackBase = object
else:
    LoggerBase = type(
        "LoggerBase",
        tuple(importlib.import_module(f"{p.__name__}.loggers.logger").Logger for p in PACKAGES),
        {"__doc__": "Lightning's own logger."},
    )
    CallbackBase = type("CallbackBase", tuple(p.Callback for p in PACKAGES), {"__doc__": "Lightning's own callback."})


def is_rank_zero() -> bool:
    """Whether this is the process that records: of those that train together, the first."""
    rank: int | None = getattr(_utilities.rank_zero_only, "rank", None)
    return not rank


def on_rank_zero(method: Hook) -> Hook:
    """Make a hook that does nothing in other processes than the first, and cannot break the training there."""
    hook = guarded(method)

    @wraps(method)
    def first(self: Recording, *args: Any, **kwargs: Any) -> None:
        if is_rank_zero():
            hook(self, *args, **kwargs)

    return cast(Hook, first)


__all__ = ["PACKAGES", "CallbackBase", "LoggerBase", "is_rank_zero", "on_rank_zero", "rank_zero_experiment"]
