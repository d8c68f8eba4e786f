"""What is kept of a layer's output: a sample of its values, exact figures of all, and which of its units were alive."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TypeGuard

import torch
from torch import nn

from epochal.frameworks import torch_device
from epochal.record.probe import Activation, Figures

SAMPLE = 16_384
"""Of a larger output so many values, evenly spread, are kept."""
_MOST = 4 * SAMPLE
"""So many values are kept of all calls of one layer together."""
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_WIDE = (torch.int64, torch.int32, torch.float64)
# Modules whose output has its units along dimension 1, whatever its other dimensions are.
_CHANNELS = (
    nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.dropout._DropoutNd, nn.Upsample, nn.PixelShuffle,
)  # fmt: skip
_FEATURES = (nn.Linear, nn.Bilinear, nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RNNBase, nn.RNNCellBase)

# Outputs under `torch.func.grad` and `vmap` are wrapped in tensors that do not outlive the call.
_FUNCTIONS = getattr(torch._C, "_functorch", None)
_is_wrapped = getattr(_FUNCTIONS, "is_functorch_wrapped_tensor", None)
_inside = getattr(_FUNCTIONS, "get_unwrapped", None)


class Kept:
    """What is kept of one layer's output over the calls of one forward pass."""

    __slots__ = ("_alive", "_distance", "_held", "_parts", "_sums", "_unread", "calls", "size")

    def __init__(self) -> None:
        self.size = self.calls = 0
        self._parts: list[torch.Tensor] = []
        self._held = 0
        self._distance = 1
        self._sums: list[torch.Tensor] = []
        self._alive: torch.Tensor | None = None
        # Parts that are whole outputs: their living units are looked for when they are read, off the training thread.
        self._unread: list[tuple[int, torch.Size, int | None]] = []

    @classmethod
    def of(cls, output: torch.Tensor, axis: int | None) -> Kept:
        """A single small output, which is nobody else's."""
        kept = cls()
        kept.calls, kept.size = 1, output.numel()
        kept._parts, kept._held = [output], kept.size
        kept._unread = [(0, output.shape, axis)]
        return kept

    def add(self, output: torch.Tensor, axis: int | None) -> None:
        """Keep an output: a copy at once, because the next layer may change it in place."""
        count = output.numel()
        self.calls += 1
        self.size += count
        if 0 < count <= SAMPLE and self._distance == 1 and output.is_cpu and output.is_contiguous():
            # The commonest case, small outputs: all else waits until they are read.
            self._unread.append((len(self._parts), output.shape, axis))
            self._parts.append(output.clone())
        else:
            self._add_other(output, axis, count)
        self._held += self._parts[-1].numel()
        if self._held > _MOST:
            self._thin(2, 2 * self._distance)

    def _add_other(self, output: torch.Tensor, axis: int | None, count: int) -> None:
        distance = _distance(output, count)
        if distance > self._distance:
            self._thin(-(-distance // self._distance), distance)
        flat = _flat(output)
        if count:
            self._read_units(self._parts)
            self._note_units(output, axis)
        if self._distance > 1:
            self._sums.append(sums(flat))
        self._parts.append(flat.clone() if self._distance == 1 else flat[:: self._distance].clone())

    def _thin(self, step: int, distance: int) -> None:
        """Keep fewer of the values of all calls, so that each call has the same share."""
        if self._distance == 1:
            self._sums = [sums(part.reshape(-1)) for part in self._parts]
            self._read_units(self._parts)
        self._distance = distance
        self._parts = [part.reshape(-1)[::step].clone() for part in self._parts]
        self._held = sum(part.numel() for part in self._parts)

    def _read_units(self, parts: Sequence[torch.Tensor]) -> None:
        """Look for living units in the parts where that was left for later."""
        unread, self._unread = self._unread, []
        for at, shape, axis in unread:
            self._note_units(parts[at].view(shape), axis)

    def _note_units(self, output: torch.Tensor, axis: int | None) -> None:
        if axis is None or not output.is_floating_point() or output.layout is not torch.strided or output.is_nested:
            self._alive = None
            return
        others = [d for d in range(output.dim()) if d != axis]
        # NaN is alive too: it is not 0.
        alive = (output.amax(others) != 0) | (output.amin(others) != 0)
        if self._alive is not None and self._alive.shape == alive.shape:
            alive |= self._alive
        self._alive = alive

    def tensors(self) -> list[torch.Tensor]:
        """Everything that is to be read, to be handed back (from the CPU) to `activation`."""
        parts = self._parts
        values = parts[0] if len(parts) == 1 else torch.cat([part.reshape(-1) for part in parts])
        found = [values]
        if self._sums:
            found.append(torch.stack(self._sums))
        if self._alive is not None:
            found.append(self._alive)
        return found

    def activation(self, layer: str, read: Sequence[torch.Tensor]) -> Activation:
        """The facts of this layer."""
        values = read[0].reshape(-1)
        alive = None if self._alive is None else read[-1]
        if self._unread:
            self._alive = alive
            self._read_units(torch.split(values, [part.numel() for part in self._parts]))
            alive = self._alive
        if values.dtype not in (torch.float32, torch.float64):
            values = values.to(torch.float64 if values.dtype in _WIDE else torch.float32)
        array = values.numpy()
        dead = math.nan
        if alive is not None:
            dead = 1 - int(alive.sum()) / alive.numel()
        figures = figures_of(read[1], values) if self._sums else None
        return Activation(layer=layer, values=array, size=self.size, dead=dead, figures=figures)


def sums(flat: torch.Tensor) -> torch.Tensor:
    """What exact figures are made of, as float64 and on the same device: no value is waited for.

    [count, NaNs, infinities, zeros, least, most, sum, sum of squares]; the last four are those of all values on an
    accelerator, those of the finite ones (NaN where there is none) on the CPU.
    """
    if not flat.is_floating_point():
        flat = flat.double()
    elif flat.dtype in (torch.float16, torch.bfloat16):
        flat = flat.float()
    least, most = torch.aminmax(flat) if flat.numel() else (flat.new_tensor(math.nan), flat.new_tensor(math.nan))
    zeros = (flat == 0).sum()
    nan = inf = zeros.new_zeros(())
    if flat.device.type != "cpu" or not math.isfinite(least.item()) or not math.isfinite(most.item()):
        nan, inf = flat.isnan().sum(), flat.isinf().sum()
        if flat.device.type == "cpu":
            flat = flat[flat.isfinite()]
            least, most = torch.aminmax(flat) if flat.numel() else (flat.new_tensor(math.nan),) * 2
    wide = torch.float64 if flat.device.type != "mps" else torch.float32
    total = flat.sum(dtype=wide)
    norm = torch.linalg.vector_norm(flat, dtype=wide)
    counted = zeros.new_full((), flat.numel())
    return torch.stack([n.to(wide) for n in (counted, nan, inf, zeros, least, most, total, norm.square())])


def figures_of(calls: torch.Tensor, sample: torch.Tensor) -> Figures:
    """The figures of all calls together: `calls` holds the `sums` of each.

    Of an accelerator's values that are not all finite, those over finite values are the sample's.
    """
    rows = calls.double()
    _, nan, inf, zeros = (int(n) for n in rows[:, :4].sum(0).tolist())
    rows = rows[rows[:, 0] > 0]
    count = int(rows[:, 0].sum())
    least, most = (float(rows[:, 4].amin()), float(rows[:, 5].amax())) if count else (math.nan, math.nan)
    total, squares = rows[:, 6:].sum(0).tolist()
    if count and not (math.isfinite(least) and math.isfinite(most)):
        good = sample[sample.isfinite()].double()
        count, total, squares = good.numel(), float(good.sum()), float(good.square().sum())
        least, most = (float(good.amin()), float(good.amax())) if count else (math.nan, math.nan)
    mean = total / count if count else math.nan
    variance = squares / count - mean * mean if count else math.nan
    return Figures(
        mean=mean,
        std=math.sqrt(max(0.0, variance)) if count else math.nan,
        min=least,
        max=most,
        norm=math.sqrt(squares) if count else math.nan,
        zeros=zeros,
        nan=nan,
        inf=inf,
    )


def unit_axis(module: nn.Module) -> int | None:
    """Along which dimension the units of a layer's outputs lie by its kind: 1, channels, or -1, features.

    None where that follows from the output: see `axis_of`.
    """
    if isinstance(module, _FEATURES):
        return -1
    return 1 if isinstance(module, _CHANNELS) else None


def axis_of(output: torch.Tensor, known: int | None, before: tuple[torch.Size, int] | None) -> int | None:
    """Along which dimension of this output units lie, None where it has none; `known` is what `unit_axis` says.

    `before` is the shape of the output before this one, and that output's axis: what works on each value alone keeps
    its layout.
    """
    dims = output.dim()
    if dims < 2:
        return None
    if known is not None:
        return known if known > 0 else dims - 1
    if before is not None and before[0] == output.shape:
        return before[1]
    return 1 if dims > 3 else dims - 1


def is_small(output: object) -> TypeGuard[torch.Tensor]:
    """Whether an output is a plain small one at hand, of which all values can be kept as they are."""
    return (
        type(output) is torch.Tensor
        and output.dtype is torch.float32
        and not torch_device.carried(output)
        and output.layout is torch.strided
        and not output.is_nested
        and 0 < output.numel() <= SAMPLE
        and output.is_contiguous()
        and (_is_wrapped is None or not _is_wrapped(output))
    )


def first_tensor(output: object) -> torch.Tensor | None:
    """The first tensor in what a module returned."""
    if isinstance(output, torch.Tensor):
        return output
    return next((found for part in _parts(output) if (found := first_tensor(part)) is not None), None)


def every_tensor(value: object) -> list[torch.Tensor]:
    """All tensors in a nested value."""
    if isinstance(value, torch.Tensor):
        return [value]
    return [found for part in _parts(value) for found in every_tensor(part)]


def plain(tensor: torch.Tensor) -> torch.Tensor | None:
    """The values of a layer's output without gradient, as one dense tensor; None where there is no such thing."""
    while _is_wrapped is not None and _inside is not None and _is_wrapped(tensor):
        tensor = _inside(tensor)
    tensor = tensor.detach()
    if type(tensor) is torch.Tensor and tensor.dtype is torch.float32 and tensor.is_cpu and not tensor.is_nested:
        return tensor if tensor.layout is torch.strided else None
    tensor = getattr(tensor, "_local_tensor", tensor)
    if tensor.is_nested:
        return torch.cat([part.reshape(-1) for part in tensor.unbind()])
    if tensor.is_meta or tensor.is_quantized or tensor.is_complex() or tensor.layout is not torch.strided:
        return None
    return tensor


def _parts(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, tuple | list):
        yield from value
    elif is_dataclass(value) and not isinstance(value, type):
        yield from (getattr(value, field.name, None) for field in fields(value))


def _flat(values: torch.Tensor) -> torch.Tensor:
    """The values in one row, in the order of memory, whatever that is: without a copy where they are dense."""
    dense = values.is_contiguous() or values.is_contiguous(
        memory_format=_LAST.get(values.dim(), torch.contiguous_format)
    )
    return values.as_strided((values.numel(),), (1,)) if dense else values.reshape(-1)


def _distance(values: torch.Tensor, count: int) -> int:
    """From one kept value to the next.

    It shares no factor with a dimension: one that did would look at the same channel or column again and again.
    """
    if count <= SAMPLE:
        return 1
    distance = -(-count // SAMPLE)
    while any(math.gcd(distance, n) > 1 for n in values.shape):
        distance += 1
    return distance
