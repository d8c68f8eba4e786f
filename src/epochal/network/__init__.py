"""A network that one can ask: the recorded one, as it was at a step, without the script that trained it."""

from epochal.network.recorded import open_recorded

__all__ = ["open_recorded"]
