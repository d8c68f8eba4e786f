"""Keeping the graphs and programs of watched models: once for each, as soon as an example batch is known."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from epochal.errors import RecordingWarning
from epochal.record.models import Model
from epochal.store import RunWriter, graph_to_json


class Drawing:
    """Draws models. `seconds` is what that took so far: it is no part of what looks may cost."""

    def __init__(
        self, writer: RunWriter, *, told: Callable[[str], None], failed: Callable[[str, Exception], None]
    ) -> None:
        self.seconds = 0.0
        self._writer, self._told, self._failed = writer, told, failed

    def begin(self, model: Model, inputs: object) -> None:
        """Draw a model with its example batch, or wait for the first training batch where there is none."""
        if inputs is None:
            model.probe.await_inputs()
            model.awaits_inputs = True
        else:
            self.draw(model, inputs)

    def late(self, model: Model, *, last: bool = False) -> None:
        """Draw a model if its first batch came meanwhile; `last` draws it without, as far as that is possible."""
        inputs = model.probe.caught_inputs()
        if inputs is not None or last:
            model.awaits_inputs = False
            self.draw(model, inputs)

    def draw(self, model: Model, inputs: object) -> None:
        """Keep a model's graph and, where it can be exported, its program."""
        start = perf_counter()
        try:
            network = model.probe.network(inputs)
            self._writer.put_file(model.file("graph.json"), graph_to_json(network.graph))
            for name, content in network.files.items():
                self._writer.put_file(model.file(name), content)
            if network.program is not None:
                self._writer.put_file(model.file("network.pt2"), network.program)
            elif network.trouble:
                self._told(f"the network could not be exported, only its graph is recorded: {network.trouble}")
        except RecordingWarning:
            raise
        except Exception as error:  # noqa: BLE001 - the user's own code runs in here, and looks must go on
            self._failed("drawing the network", error)
        finally:
            self.seconds += perf_counter() - start
