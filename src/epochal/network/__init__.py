"""A network that one can ask: the recorded one, as it was at a step, without the script that trained it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from epochal.network.recorded import open_recorded

if TYPE_CHECKING:
    from epochal.network.network import Network

__all__ = ["Network", "open_recorded"]


def __getattr__(name: str) -> Any:
    # The class needs PyTorch, which whoever only imports this room may not have.
    if name == "Network":
        from epochal.network.network import Network

        return Network
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
