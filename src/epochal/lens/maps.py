"""Feature maps: what the channels of a layer put out for one image, strongest first.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from epochal.errors import NotFoundError, UsageError
from epochal.film import Film
from epochal.lens.class_images import chain_weights
from epochal.lens.colouring import as_map, cubes, enlarged, heat, heat_scale, laid_over, panels_of
from epochal.network.dense import FUNCTIONS, DenseNetwork
from epochal.picture import ColourScale, PanelsScene, theme
from epochal.picture import save as save_scene

if TYPE_CHECKING:
    from epochal.network import Network

__all__ = ["CITATION", "FeatureMaps", "feature_maps"]

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]

CITATION = "Feature maps: what each channel puts out, strongest first (Zeiler and Fergus 2014)"
_TILES = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureMaps:
    """What one layer puts out for one image: `array` [channels, height, width], exactly as it came; of a
    volume [channels, depth, height, width], whose pictures are cubes seen from the side.

    Layers whose outputs have no places give [channels], those of tokens [channels, tokens]. The array cannot be
    written to. `step` is the step of the network.
    """

    array: Array
    layer: str
    caption: str = CITATION
    step: int | None = None

    @cached_property
    def strength(self) -> Array:
        """The mean absolute value of each channel [channels]."""
        flat = self.array.reshape(len(self.array), -1)
        return np.array([np.abs(row).mean(dtype=np.float64) if row.size else 0.0 for row in flat])

    @cached_property
    def order(self) -> Array:
        """The channels with the strongest first; those that are not finite come last."""
        return np.argsort(-np.nan_to_num(self.strength, nan=-1.0, posinf=-1.0), kind="stable")

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""
        bad = int((~np.isfinite(self.array)).sum())
        return (f"{bad:,} values are not finite",) if bad else ()

    @property
    def numbers(self) -> dict[str, float]:
        """How many channels there are, the strongest one and its mean absolute value."""
        if not len(self.array):
            return {"channels": 0}
        best = int(self.order[0])
        return {"channels": len(self.array), "strongest": best, "strength": float(self.strength[best])}

    @property
    def signed(self) -> bool:
        """Whether there are values below zero."""
        return bool((self.array < 0).any())

    def channel(self, channel: int | None = None) -> Array:
        """One channel's map, the strongest one's where None; raises NotFoundError for one that is not there."""
        chosen = int(self.order[0]) if channel is None else channel
        if not 0 <= chosen < len(self.array):
            raise NotFoundError(f"Layer {self.layer!r} has channels 0 to {len(self.array) - 1}, not {chosen}.")
        found: Array = self.array[chosen]
        return found

    def over(self, photo: Pixels, channel: int | None = None, *, opacity: float = 0.6) -> Pixels:
        """One channel's map in colours over a photo [H, W, 3] uint8: as large as the photo, `opacity` from 0 to 1."""
        chosen = self.channel(channel)
        if chosen.ndim != 2:
            raise UsageError(f"Layer {self.layer!r} puts out {list(self.array.shape)}: no map that lies over a photo.")
        return laid_over(photo, heat(enlarged(chosen, photo.shape[:2]), signed=self.signed), opacity)

    def tiles(self, count: int = _TILES, *, mode: str = "light") -> list[tuple[str, Pixels]]:
        """Pictures [h, w, 3] of the `count` strongest channels with their numbers, all on one scale."""
        scale = self._scale(mode)
        chosen = self.order[:count].tolist()
        if self.array.ndim == 4:
            return [(str(c), cubes(self.array[c], scale, mode=mode, side=112)[0]) for c in chosen]
        return [(str(c), scale.paint(as_map(self.array[c]), theme(mode))) for c in chosen]

    def film(self) -> Film:
        """The maps, channels in their own order, as a film of one frame."""
        axes = {
            1: ("channel",),
            2: ("channel", "place"),
            3: ("channel", "row", "column"),
            4: ("channel", "slice", "row", "column"),
        }.get(self.array.ndim, ())
        return Film(f"feature maps of {self.layer}", [self.step or 0], self.array[None], axes=axes, units="activation")

    def scene(self, *, count: int = _TILES, mode: str = "light", size: tuple[int, int] | None = None) -> PanelsScene:
        """The strongest channels side by side, with a colour bar and whose idea it is."""
        left = len(self.array) - count
        words = f"{count} strongest of {len(self.array):,} channels" if left > 0 else f"{len(self.array):,} channels"
        return PanelsScene(
            panels=panels_of(self.tiles(count, mode=mode)),
            theme=theme(mode),
            title=f"Layer {self.layer}: {words}",
            captions=["" if self.step is None else f"step {self.step:,}"],
            wanted=size,
            note=self.caption,
            scale=self._scale(mode),
        )

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        count: int = _TILES,
        theme: str = "light",
        size: tuple[int, int] | None = None,
    ) -> Path:
        """Write the `count` strongest channels as a .png or .svg picture; .npz and .csv hold all values exactly."""
        if Path(path).suffix.lower() in (".npz", ".csv") or self.array.ndim == 1:
            return self.film().save(path)
        return save_scene(self.scene(count=count, mode=theme, size=size), path)

    def _scale(self, mode: str) -> ColourScale:
        return heat_scale(self.array, signed=self.signed, mode=mode)

    def __repr__(self) -> str:
        best = f"strongest channel {int(self.order[0])}" if len(self.order) else "no channels"
        return f"<FeatureMaps {self.layer}, {'×'.join(map(str, self.array.shape))}, {best}>"


@overload
def feature_maps(network: Network | Any, image: Any, *, layer: str) -> FeatureMaps: ...
@overload
def feature_maps(
    network: Network | Any, image: Any, *, layer: Sequence[str] | None = None
) -> dict[str, FeatureMaps]: ...
def feature_maps(
    network: Network | Any, image: Any, *, layer: str | Sequence[str] | None = None
) -> FeatureMaps | dict[str, FeatureMaps]:
    """What layers put out for one image [C, H, W]: of one layer, of several, or (None) of all from one forward.

    `network` is an Epochal network, a `torch.nn.Module` or a Keras model on the torch backend. Several layers come as
    a dictionary in the order in which they ran. Raises NotFoundError for a layer that is not there.
    """
    if isinstance(network, DenseNetwork):
        return _of_chain(network, image, layer)
    from epochal.lens.asking import Subject
    from epochal.lens.layers import named_layers
    from epochal.lens.outputs import as_array, channel_axis, layer_outputs
    from epochal.network.program import ExportedNetwork

    # What layers put out for words needs no gradient.
    words = isinstance(network, ExportedNetwork) and not any(one.dtype.is_floating_point for one in network.takes)
    subject = Subject(network, whole=words)
    batch = subject.example(image)
    wanted = None if layer is None else [layer] if isinstance(layer, str) else list(layer)
    known = named_layers(subject.module)
    found = {}
    for name, tensor in layer_outputs(subject, batch, wanted).items():
        if tensor.ndim < 2 or len(tensor) < 1 or not (tensor.dtype.is_floating_point or wanted):
            continue
        axis = channel_axis(known.get(name.partition("@")[0]), tuple(tensor.shape[1:]))
        maps = tensor[0].movedim(axis, 0)
        found[name] = FeatureMaps(array=as_array(maps), layer=name, step=subject.step)
    return found[layer] if isinstance(layer, str) else found


def _of_chain(
    network: DenseNetwork, image: Any, layer: str | Sequence[str] | None
) -> FeatureMaps | dict[str, FeatureMaps]:
    """What each linear layer of a chain puts out, before its activation."""
    chain, state = network.chain, network.state()
    given = image.detach().cpu().numpy() if hasattr(image, "detach") else image
    flow = np.asarray(given, np.float32).reshape(-1)
    if len(flow) != chain.links[0].inputs:
        raise UsageError(f"The network takes {chain.links[0].inputs} numbers; this image has {len(flow)}.")
    found = {}
    for link, weight in zip(chain.links, chain_weights(chain, state), strict=True):
        flow = weight @ flow + (0 if link.bias is None else state[link.bias])
        found[link.layer] = FeatureMaps(array=flow, layer=link.layer, step=network.step)
        for function in link.functions:
            flow = FUNCTIONS[function.name](flow, function.attributes)
    wanted = list(found) if layer is None else [layer] if isinstance(layer, str) else list(layer)
    if missing := [name for name in wanted if name not in found]:
        raise NotFoundError(f"There is no layer {missing[0]!r}.", hint=f"There are: {', '.join(found)}.")
    return found[layer] if isinstance(layer, str) else {name: found[name] for name in wanted}
