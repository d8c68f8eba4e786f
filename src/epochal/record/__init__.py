"""What runs inside the training process."""

from epochal.record.begin import init
from epochal.record.run import Run

__all__ = ["Run", "init"]
