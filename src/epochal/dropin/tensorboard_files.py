"""The part of the interface that TensorBoard's own writer offers below `SummaryWriter`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from epochal.dropin.tensorboard import SummaryWriter


class FileWriter:
    """What `SummaryWriter.file_writer` is there for: flushing and closing. Raw events cannot be taken."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def get_logdir(self) -> str:
        """The folder that was asked for."""
        return self._writer.get_logdir()

    def flush(self) -> None:
        """Wait until all that was given is in the run's files."""
        self._writer.flush()

    def close(self) -> None:
        """End the run."""
        self._writer.close()

    def reopen(self) -> None:
        """Go on with the run after `close`."""
        _ = self._writer.run

    def add_event(self, event: Any, step: int | None = None, walltime: float | None = None) -> None:
        """Record the numbers of an event; what else is in it is counted as lost."""
        self.add_summary(getattr(event, "summary", None), step, walltime)

    def add_summary(self, summary: Any, global_step: int | None = None, walltime: float | None = None) -> None:
        """Record the numbers of a summary; what else is in it is counted as lost."""
        for value in getattr(summary, "value", ()):
            if value.HasField("simple_value"):
                self._writer.add_scalar(value.tag, value.simple_value, global_step, walltime)
            else:
                self._writer.run.note_lost(f"the summary {value.tag!r} is no number: use the writer's own calls for it")

    def add_graph(self, graph_profile: Any, walltime: float | None = None) -> None:
        """Not possible: a graph as TensorBoard stores it is no network."""
        self._writer.run.note_lost(
            "a graph in TensorBoard's own form is not recorded: use SummaryWriter.add_graph(model)"
        )

    add_onnx_graph = add_graph
