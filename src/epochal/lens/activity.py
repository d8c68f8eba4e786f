"""What layers put out, heard while a network runs: each output is handed on as it comes, and none is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from epochal.errors import NetworkError, UsageError
from epochal.lens.asking import Subject
from epochal.lens.layers import find_layer, weighted_layers
from epochal.lens.outputs import first_tensor

__all__ = ["Activity", "left_out_note"]

Told = Callable[[str, Tensor], object]


def left_out_note(*heard: Activity) -> tuple[str, ...]:
    """A note on layers that could not be heard; none where all were."""
    names = list(dict.fromkeys(name for one in heard for name in one.left_out))
    if not names:
        return ()
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return (f"left out, since they put out no numbers for each example: {', '.join(names[:4])}{more}",)


@final
class Activity:
    """Hears the layers of a network; of all that have weights where none are named.

    `names` are those that are heard, after the first forward those of them that ran.
    """

    def __init__(self, subject: Subject, layers: Sequence[str] | None = None) -> None:
        if isinstance(layers, str):
            raise UsageError("layers is a list of names.", hint=f"Write layers=[{layers!r}].")
        self._subject = subject
        self._chosen = layers is not None
        self.left_out: list[str] = []
        """Those that were not named, and put out no numbers for each example."""
        self.names = list(dict.fromkeys(weighted_layers(subject.module) if layers is None else layers))
        for name in self.names:
            find_layer(subject.module, name)
        if not self.names:
            raise UsageError("The network has no layers with weights.", hint="Name some with layers=.")

    def hear(self, batch: Tensor, told: Told) -> None:
        """Run a batch; `told(layer, output [N, ...])` is called for each layer, in the order in which they ran.

        Raises NetworkError for a named layer that did not run or put out no numbers for each example.
        """
        subject, size = self._subject, self._subject.fixed
        heard: list[str] = []

        def hand_on(name: str, output: Tensor) -> None:
            heard.append(name)
            told(name, output)

        with subject.asking(gradients=False):
            if size is None or size == len(batch):
                self._listen(batch, len(batch), hand_on)
            else:
                parts: dict[str, list[Tensor]] = {}
                for first in range(0, len(batch), size):
                    part = batch[first : first + size]
                    full = torch.cat([part, part[:1].expand(size - len(part), *part.shape[1:])])
                    self._listen(full, len(part), lambda n, out: parts.setdefault(n, []).append(out.clone()))
                for name, found in parts.items():
                    hand_on(name, torch.cat(found))
        if self._chosen and (missing := [name for name in self.names if name not in heard]):
            raise NetworkError(f"Layer {missing[0]!r} put out no numbers for each example, or did not run.")
        if not heard:
            raise NetworkError("No layer put out numbers for each example.")
        self.left_out += [name for name in self.names if name not in heard]
        self.names = heard

    def _listen(self, batch: Tensor, count: int, told: Told) -> None:
        handles = []
        try:
            for name in self.names:
                module, use = find_layer(self._subject.module, name)
                handles.append(module.register_forward_hook(_hook(name, use, batch, count, told)))
            self._subject.run(batch)
        finally:
            for handle in handles:
                handle.remove()


def _hook(name: str, use: int, batch: Tensor, count: int, told: Told) -> Any:
    uses = 0

    def hook(_module: Any, _inputs: Any, output: Any) -> None:
        nonlocal uses
        uses += 1
        tensor = first_tensor(output) if uses == use else None
        if tensor is None or tensor.ndim < 2 or len(tensor) != len(batch) or not tensor.dtype.is_floating_point:
            return
        told(name, tensor.detach()[:count])

    return hook
