"""Receptive fields: which part of an input one place of a layer can see."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor

from epochal.errors import NetworkError, UsageError
from epochal.lens.asking import Subject
from epochal.lens.outputs import reach

__all__ = ["Box", "Fields"]

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels, the last two outside."""

_INPUTS = 64
_MOST_NUMBERS = 1 << 21


@final
class Fields:
    """The fields of a layer's places, found where gradients of random inputs are not zero.

    A place in the middle and its neighbours are measured; where none of them reaches the edge, the others follow, since
    a convolution looks at all places alike. Otherwise each place is measured when it is asked for. Of a maximum, only
    the largest input has a gradient: over 64 inputs each of them is the largest at some time.
    """

    def __init__(self, subject: Subject, layer: str, shape: tuple[int, ...], *, seed: int = 0) -> None:
        if len(shape) != 3:
            raise UsageError(f"Fields are those of pictures [C, H, W]; an input is {list(shape)}.")
        self._subject, self._layer = subject, layer
        self._sides = (shape[0], shape[1]) if subject.channels_last else (shape[1], shape[2])
        # The way back of all of them is held in memory: of large pictures, fewer do.
        count = max(1, min(_INPUTS, _MOST_NUMBERS // max(1, shape[0] * shape[1] * shape[2])))
        each = subject.fixed or count
        count = -(-count // each) * each
        source = torch.Generator().manual_seed(seed)
        inputs = torch.randn(count, *shape, generator=source).to(subject.device, subject.dtype)
        with subject.asking(gradients=True):
            self._inputs = inputs.requires_grad_()
            found = torch.cat([reach(subject, part.clone(), layer) for part in torch.split(self._inputs, each)])
        if found.ndim != 4:
            raise NetworkError(f"Layer {layer!r} puts out no maps: its places have no fields.")
        self._output: Tensor = found.movedim(-1, 1) if subject.keras and subject.channels_last else found
        self.places = (int(self._output.shape[2]), int(self._output.shape[3]))
        self._measured: dict[tuple[int, int], Box] = {}
        self._axes = tuple(self._regular(axis) for axis in (0, 1))

    def __call__(self, row: int, column: int) -> Box:
        """The field of a place (row, column) of the layer, within the picture."""
        if not (0 <= row < self.places[0] and 0 <= column < self.places[1]):
            raise UsageError(f"Layer {self._layer!r} has places {self.places[0]} × {self.places[1]}.")
        edges: list[tuple[int, int]] = []
        for axis, place in enumerate((row, column)):
            regular = self._axes[axis]
            if regular is None:
                box = self._measure(row, column)
                edges.append((box[axis], box[axis + 2]))
            else:
                first, last, stride = regular
                side = self._sides[axis]
                edges.append((max(0, min(side - 1, first + stride * place)), min(side, max(1, last + stride * place))))
        return edges[0][0], edges[1][0], edges[0][1], edges[1][1]

    def _regular(self, axis: int) -> tuple[int, int, int] | None:
        """First and last pixel (outside) of place 0 along an axis, and the stride; None where it is not regular."""
        middle = [self.places[0] // 2, self.places[1] // 2]
        found = []
        for place in (middle[axis] - 1, middle[axis], middle[axis] + 1):
            if not 0 <= place < self.places[axis]:
                return None
            at = middle.copy()
            at[axis] = place
            box = self._measure(at[0], at[1])
            found.append((place, box[axis], box[axis + 2]))
        if any(first <= 0 or last >= self._sides[axis] for _, first, last in found):
            return None
        steps = {b[i] - a[i] for a, b in pairwise(found) for i in (1, 2)}
        if len(steps) != 1:
            return None
        stride = steps.pop()
        place, first, last = found[0]
        return first - stride * place, last - stride * place, stride

    def _measure(self, row: int, column: int) -> Box:
        if (row, column) not in self._measured:
            with self._subject.asking(gradients=True):
                # Random signs: gradients of channels that would cancel out do not.
                seen: Any = self._output[:, :, row, column]
                signs = torch.randn(seen.shape, generator=torch.Generator().manual_seed(1)).to(seen)
                (gradient,) = torch.autograd.grad((seen * signs).sum(), self._inputs, retain_graph=True)
            touched = gradient.abs().amax(dim=(0, 3) if self._subject.channels_last else (0, 1)) > 0
            rows, columns = touched.any(dim=1).nonzero().flatten(), touched.any(dim=0).nonzero().flatten()
            if not len(rows):
                raise NetworkError(f"Place {row}, {column} of layer {self._layer!r} sees nothing of the input.")
            self._measured[row, column] = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        return self._measured[row, column]
