"""Filters: the kernels of a layer as pictures.

Those on three input channels are shown in their colours, as Krizhevsky, Sutskever and Hinton did ("ImageNet
Classification with Deep Convolutional Neural Networks", NeurIPS 2012); deeper ones channel by channel, or by the
principal components of what each place of a kernel looks for over all input channels.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from epochal.errors import NotFoundError, UsageError
from epochal.film import Film
from epochal.lens.colouring import as_pixels, heat_scale, panels_of
from epochal.network import Network
from epochal.network.dense import DenseNetwork
from epochal.picture import ColourScale, PanelsScene, theme
from epochal.picture import save as save_scene

__all__ = ["CITATION", "Filters", "filters"]

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]
Look = Literal["colours", "channel", "components"]

CITATION = "Filters: the kernels of the layer, largest first (Krizhevsky, Sutskever and Hinton 2012)"
_TILES = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filters:
    """The kernels of a layer: `array` [outputs, inputs, height, width], exactly as they are.

    Those of a volume are [outputs, inputs, depth, height, width], and their pictures have the slices in a row.

    `look` says how `pictures` shows them: in `colours` (three inputs), one input `channel`, or by their three principal
    `components`. `order` holds the outputs with the largest norm first. `explained` is the share of the kernels'
    variance that three components hold.
    """

    array: Array
    layer: str
    look: Look
    order: Array
    channel: int | None = None
    explained: float | None = None
    caption: str = CITATION
    step: int | None = None
    notes: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)

    def pictures(self, *, mode: str = "light", like: Filters | None = None) -> Pixels:
        """A picture of each kernel [outputs, height, width, 3].

        Colours and components lie between black and white, grey where a weight is zero, on one scale for the layer.
        `like` are the same filters at another step, whose components and scale are taken: so a film does not jump.
        """
        held = self if like is None else like
        if self.look == "channel":
            return held._scale(mode).paint(_flat(self.array)[:, self.channel or 0], theme(mode))
        if self.look == "colours":
            values, limits = _flat(self.array), np.abs(np.nan_to_num(_flat(held.array))).max(keepdims=True)
        else:
            axes = _axes(_flat(held.array))[0]
            values = _along(_flat(self.array), axes)
            # Each component on its own scale: otherwise the third is hardly to be seen.
            limits = np.abs(_along(_flat(held.array), axes)).max(axis=(0, 2, 3), keepdims=True)
        return as_pixels(np.moveaxis(values / np.where(limits > 0, limits, 1.0) / 2 + 0.5, 1, -1))

    def film(self) -> Film:
        """The kernels as a film of one frame."""
        axes = ("output", "input", *(("slice",) if self.array.ndim == 5 else ()), "row", "column")
        return Film(f"filters of {self.layer}", [self.step or 0], self.array[None], axes=axes, units="weight")

    def scene(self, *, count: int = _TILES, mode: str = "light", size: tuple[int, int] | None = None) -> PanelsScene:
        """The kernels side by side, the largest first, with whose idea it is."""
        shown = self.pictures(mode=mode)
        how = {"colours": "in their colours", "channel": f"input channel {self.channel}",
               "components": f"three principal components, {(self.explained or 0):.0%} of the variance"}  # fmt: skip
        return PanelsScene(
            panels=panels_of([(str(i), shown[i]) for i in self.order[:count].tolist()]),
            theme=theme(mode),
            title=f"Filters of layer {self.layer}, {how[self.look]}",
            captions=["" if self.step is None else f"step {self.step:,}"],
            wanted=size,
            note=self.caption,
            scale=self._scale(mode) if self.look == "channel" else None,
        )

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        count: int = _TILES,
        theme: str = "light",
        size: tuple[int, int] | None = None,
    ) -> Path:
        """Write the `count` largest kernels as a .png or .svg picture; .npz and .csv hold all values exactly."""
        if Path(path).suffix.lower() in (".npz", ".csv"):
            return self.film().save(path)
        return save_scene(self.scene(count=count, mode=theme, size=size), path)

    def _scale(self, mode: str) -> ColourScale:
        chosen = self.array[:, self.channel or 0] if self.look == "channel" else self.array
        return heat_scale(chosen, signed=True, mode=mode)

    def __repr__(self) -> str:
        return f"<Filters {self.layer}, {'×'.join(map(str, self.array.shape))}, {self.look}>"


def filters(network: Network | Any, *, layer: str | None = None, channel: int | None = None) -> Filters:
    """The kernels of a convolution as pictures: of the first one where `layer` is None.

    Kernels on three inputs are shown in colours, on others by principal components, or, with `channel`, the weights on
    that input channel alone. `network` is an Epochal network, a `torch.nn.Module` or a Keras model. Raises
    NotFoundError for a layer that has no kernels of two or three dimensions.
    """
    kernels = _kernels(network)
    if not kernels:
        raise NotFoundError("The network has no convolution with kernels of two or three dimensions.")
    name = next(iter(kernels)) if layer is None else layer
    if name not in kernels:
        near = difflib.get_close_matches(name, kernels, 3, 0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(list(kernels)[:12])}."
        raise NotFoundError(f"There is no layer {name!r} with kernels.", hint=hint)
    array = kernels[name]
    inputs = array.shape[1]
    if channel is not None and not 0 <= channel < inputs:
        raise UsageError(f"Layer {name!r} has input channels 0 to {inputs - 1}, not {channel}.")
    if channel is None and inputs == 1:
        channel = 0
    look: Look = "channel" if channel is not None else "colours" if inputs == 3 else "components"
    norms = np.sqrt(np.square(array.astype(np.float64)).sum(axis=tuple(range(1, array.ndim))))
    bad = int((~np.isfinite(array)).sum())
    return Filters(
        array=array,
        layer=name,
        look=look,
        order=np.argsort(-np.nan_to_num(norms, nan=-1.0, posinf=-1.0), kind="stable"),
        channel=channel,
        explained=_axes(_flat(array))[1] if look == "components" else None,
        step=getattr(network, "step", None),
        notes=(f"{bad:,} weights are not finite",) if bad else (),
        numbers={"filters": len(array), "inputs": inputs},
    )


def _flat(array: Array) -> Array:
    """Kernels as pictures [outputs, inputs, height, width]: those of volumes by their slices in a row."""
    if array.ndim == 4:
        return array
    found: Array = array.transpose(0, 1, 3, 2, 4)
    return found.reshape(*found.shape[:3], -1)


def _axes(array: Array) -> tuple[Array, float]:
    """Three principal axes [inputs, 3] of what the places of kernels look for, and their share of variance.

    Not centred, so that a weight of zero stays zero. An axis points to where its largest number is above zero.
    """
    inputs = array.shape[1]
    places = np.nan_to_num(array.astype(np.float64)).transpose(0, 2, 3, 1).reshape(-1, inputs)
    values, axes = np.linalg.eigh(places.T @ places)
    chosen = np.zeros((inputs, 3))
    chosen[:, : min(3, inputs)] = axes[:, ::-1][:, :3]
    found = places @ chosen
    largest = found[np.abs(found).argmax(axis=0), np.arange(3)]
    whole = float(values.sum())
    share = float(values[::-1][:3].sum()) / whole if whole > 0 else 0.0
    return chosen * np.where(largest < 0, -1.0, 1.0), share


def _along(array: Array, axes: Array) -> Array:
    """Kernels [outputs, inputs, h, w] along three axes: [outputs, 3, h, w]."""
    found: Array = np.einsum("oihw,ic->ochw", np.nan_to_num(array.astype(np.float64)), axes)
    return found


def _kernels(network: Any) -> dict[str, Array]:
    """Layer -> its kernels [outputs, inputs, height, width], outputs first whatever the framework."""
    if isinstance(network, DenseNetwork):
        return {}
    from epochal.lens.modules import kernels_of

    return kernels_of(network.module if isinstance(network, Network) else network)
