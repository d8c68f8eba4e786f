"""Real event files beside a run, for those who still look at TensorBoard."""

from __future__ import annotations

from typing import Any

from epochal.errors import MissingExtraError
from epochal.record.guard import warn_user


def event_writer(log_dir: str, comment: str, purge_step: int | None, queue: int, seconds: int, suffix: str) -> Any:
    """Return torch's `SummaryWriter`, else tensorboardX's; raises MissingExtraError where neither is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        try:
            from tensorboardX import SummaryWriter  # type: ignore[no-redef]
        except ImportError:
            raise MissingExtraError(
                "tee='tensorboard' needs TensorBoard's own writer",
                hint="pip install tensorboard torch, or pip install tensorboardX",
            ) from None
    return SummaryWriter(log_dir, comment, purge_step, queue, seconds, suffix)


class Tee:
    """Hands every call on to an event writer. What goes wrong there is told once and does not stop the run."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._failed: set[str] = set()

    def call(self, name: str, *given: Any) -> None:
        """Call a method of the writer."""
        try:
            getattr(self._writer, name)(*given)
        except Exception as error:  # noqa: BLE001 - another library's trouble is not the training's
            if name not in self._failed:
                self._failed.add(name)
                reason = f"{type(error).__name__}: {error}"
                warn_user(f"TensorBoard's own {name}() failed, its event file lacks it: {reason}")

    def flush(self) -> None:
        """Write what is queued."""
        self.call("flush")

    def close(self) -> None:
        """Close the event file; a later call opens another, as TensorBoard's writer does."""
        self.call("close")
