"""The lab: train a family of networks, keep what became of each, and learn which choice mattered.

Names are imported when they are first used: the process of a trial needs little of this.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from epochal.lab.api import Lab, rerun, run
    from epochal.lab.result import LabResult, read
    from epochal.lab.session import Progress

__all__ = ["Lab", "LabResult", "Progress", "read", "rerun", "run"]
_ELSEWHERE = {"LabResult": "result", "read": "result", "Progress": "session"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"epochal.lab.{_ELSEWHERE.get(name, 'api')}"), name)
    return value
