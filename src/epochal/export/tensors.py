"""The tensors of a run's layers, read frame by frame, so that a film of a large network fits into memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from epochal.errors import DamagedError, NotFoundError
from epochal.facts import Graph
from epochal.picture import tiles
from epochal.store import SnapshotKind, StoredRun
from epochal.views.layers import TensorFacts, WeightLayer, group_layers, layouts, turned

Values = npt.NDArray[Any]
_HELD_AT_MOST = 256 << 20
SMALLEST_PICTURE = 8
"""A first layer's inputs are taken for a square picture from 8x8 on, where the network does not say it itself."""
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def known_graph(run: StoredRun) -> Graph | None:
    """The run's graph, None where there is none or its file is damaged: what is drawn does not hang on it."""
    try:
        return run.graph()
    except DamagedError:
        return None


def weight_layers(run: StoredRun, kind: SnapshotKind = "params") -> list[WeightLayer]:
    """Layers with their weight, bias and other parameters, in running order; buffers are left out."""
    steps = run.snapshot_steps(kind)
    if not steps:
        return []
    header = run.snapshot_header(steps[-1], kind)
    prefix: Literal["param", "grad"] = "param" if kind == "params" else "grad"
    graph = known_graph(run)
    buffers = {p.name for layer in graph.layers for p in layer.parameters if p.role == "buffer"} if graph else set()
    orders = layouts(graph)
    facts = []
    for name, place in header.tensors.items():
        if name in buffers or name.endswith(_BUFFERS):
            continue
        shape, layout = turned(place.shape, orders.get(name, ()))
        # Layers are grouped by the names of parameters, which gradients share.
        facts.append(
            TensorFacts(
                series=f"{prefix}/{name}",
                kind="param",
                name=name,
                shape=shape,
                layout=layout,
                dtype=place.dtype,
                frames=len(steps),
                rows=0,
                change=None,
            )
        )
    return group_layers(facts, graph)


class TensorFrames:
    """One tensor at chosen steps: `frames[i]` is read when it is asked for, missing or damaged ones are all NaN.

    `shape` is that of a frame after its axes were put in the order `layout`.
    """

    def __init__(
        self,
        run: StoredRun,
        name: str,
        kind: SnapshotKind,
        steps: Sequence[int],
        shape: tuple[int, ...],
        layout: tuple[int, ...] = (),
    ) -> None:
        self._run, self._name, self._kind, self._steps = run, name, kind, steps
        self._frame_shape, self._layout = shape, layout
        self._held: dict[int, Values] | None = None
        self.missing = 0

    @classmethod
    def of(cls, run: StoredRun, tensor: TensorFacts, kind: SnapshotKind, steps: Sequence[int]) -> TensorFrames:
        """The frames of a tensor as the views describe it."""
        return cls(run, tensor.name, kind, steps, tensor.shape or (), tensor.layout)

    @property
    def shape(self) -> tuple[int, ...]:
        """[T, ...]."""
        return (len(self._steps), *self._frame_shape)

    def hold(self) -> None:
        """Keep what is read from now on."""
        self._held = {}

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> Values:
        if self._held is not None and index in self._held:
            return self._held[index]
        try:
            frame = self._run.tensor(self._name, self._steps[index], self._kind)
            if self._layout and frame.ndim == len(self._layout):
                frame = frame.transpose(self._layout)
            if frame.shape != self._frame_shape:
                raise NotFoundError("the tensor had another shape then")
        except (NotFoundError, DamagedError):
            self.missing += 1
            frame = np.full(self._frame_shape, np.nan, np.float32)
        if self._held is not None:
            self._held[index] = frame
        return frame


class Arranged:
    """Frames as matrices: kernels as tiles, a list as one column."""

    def __init__(self, frames: TensorFrames) -> None:
        self._frames = frames
        inner = frames.shape[1:]
        self.holes: npt.NDArray[np.bool_] | None = None
        if len(inner) > 2:
            arranged, self.holes = tiles(np.zeros((1, *inner), np.float32))
            rows, columns = arranged.shape[1:]
        else:
            rows, columns = (inner[0] if inner else 1), (inner[1] if len(inner) == 2 else 1)
        self.shape = (len(frames), rows, columns)

    def __getitem__(self, index: int) -> Values:
        frame = self._frames[index]
        if frame.dtype.kind not in "fiu":
            frame = frame.real if frame.dtype.kind == "c" else frame.astype(np.float32)
        if self.holes is not None:
            tiled: Values = tiles(frame[None])[0][0]
            return tiled
        return frame.reshape(self.shape[1:])


class Flowing:
    """Frames [units, ...] as a grid of tiles (height, width), one for each unit, from left to right and down.

    A tile of 1x1 makes a grid of single values; with the same `across`, a unit stands there where its picture stands
    in the other.
    """

    def __init__(self, frames: TensorFrames, tile: tuple[int, int], *, across: int | None = None) -> None:
        self._frames, self._tile = frames, tile
        units = frames.shape[1]
        self.across = across or min(units, math.ceil(math.sqrt(2 * units * tile[0] / tile[1])))
        self._down = math.ceil(units / self.across)
        empty = self._lay(np.zeros((units, *tile), np.float32))
        # Places after the last unit are holes like the gaps between tiles.
        self.holes: npt.NDArray[np.bool_] = np.isnan(empty)
        self.shape = (len(frames), *empty.shape)

    def __getitem__(self, index: int) -> Values:
        return self._lay(self._frames[index].reshape(-1, *self._tile))

    def _lay(self, pictures: Values) -> Values:
        laid = np.full((self._down * self.across, *self._tile), np.nan, np.result_type(pictures.dtype, np.float32))
        laid[: len(pictures)] = pictures
        grid = laid.reshape(1, self._down, self.across, *self._tile)
        values: Values = grid[0, :, :, 0, 0] if self._tile == (1, 1) else tiles(grid)[0][0]
        return values


def tile_of(layer: WeightLayer, graph: Graph | None, *, first: bool) -> tuple[int, int] | None:
    """The picture that a unit's weights make, (height, width): where the network's input is one, or a convolution has
    one input channel; planes of a colour picture stand side by side. None where they make none."""
    shape = (layer.weight.shape if layer.weight is not None else None) or ()
    if len(shape) == 4 and shape[1] == 1 and shape[2] * shape[3] > 1:
        return shape[2], shape[3]
    if len(shape) != 2 or not first:
        return None
    seen = [each.outputs[0][1:] for each in graph.layers if each.role == "input" and each.outputs] if graph else []
    for sizes in seen:
        channels, height, width = sizes if len(sizes) == 3 else (1, *sizes) if len(sizes) == 2 else (0, 0, 0)
        if channels in (1, 3) and min(height, width) > 1 and channels * height * width == shape[1]:
            return height, channels * width
    side = math.isqrt(shape[1])
    return (side, side) if side * side == shape[1] and side >= SMALLEST_PICTURE else None


class FlatFrames:
    """Frames as lists [T, n]."""

    def __init__(self, frames: TensorFrames) -> None:
        self._frames = frames
        self.shape = (len(frames), int(np.prod(frames.shape[1:])))

    def __getitem__(self, index: int) -> Values:
        return self._frames[index].reshape(-1)


def hold_small(frames: Sequence[TensorFrames]) -> None:
    """Keep frames in memory, all of them, where they fit."""
    if sum(4 * int(np.prod(f.shape)) for f in frames) <= _HELD_AT_MOST:
        for each in frames:
            each.hold()


def extremes(frames: Sequence[TensorFrames], count: int) -> tuple[float, float, int]:
    """Lowest and highest finite value of all frames (0, 0 where there is none), and how many are not finite."""
    lo, hi, bad = np.inf, -np.inf, 0
    for i in range(count):
        for each in frames:
            frame = each[i]
            finite = np.isfinite(frame)
            if not finite.all():
                bad += int(frame.size - finite.sum())
                frame = frame[finite]
            if frame.size:
                lo, hi = min(lo, float(frame.real.min())), max(hi, float(frame.real.max()))
    return (0.0, 0.0, bad) if lo > hi else (lo, hi, bad)
