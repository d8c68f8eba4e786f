"""A network that one can ask: the recorded one, as it was at a step, or one from a file of weights."""

from epochal.network.network import Network
from epochal.network.preparation import Preparation
from epochal.network.recorded import open_recorded
from epochal.network.units import Unit

__all__ = ["Network", "Preparation", "Unit", "open_recorded"]
