"""What was found of a transformer's attention: the weights of each head, rolled out over the layers, and maps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import NotFoundError, UsageError
from epochal.film import Film
from epochal.picture import ColourScale, GridScene, LabelledMatrix, Panel, PanelsScene, table, theme
from epochal.picture import save as save_scene

__all__ = ["CITATION", "Attention"]

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]

CITATION = "Attention weights, rolled out over the layers (Abnar and Zuidema 2020)"
_HEADS = 15
_OPACITY = 0.6


@dataclass(frozen=True, kw_only=True, eq=False)
class Attention:
    """Who looks at whom: `weights[i]` [heads, T, S] of the attention in layer `layers[i]`; each row adds up to 1.

    Row t says how much token t takes from each token s. `tokens` are their names, empty where nobody gave any. Where
    the tokens are patches of a picture, `grid` is how many there are in height and width, and `special` how many tokens
    (of the class, for instance) stand before them. `windowed` networks attend within windows of the picture.
    """

    layers: tuple[str, ...]
    weights: tuple[Array, ...]
    tokens: tuple[str, ...] = ()
    grid: tuple[int, int] | None = None
    special: int = 0
    windowed: bool = False
    caption: str = CITATION
    notes: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    step: int | None = None

    @cached_property
    def rollout(self) -> Array:
        """How much of each token's output comes from each token of the input [T, T], by way of all layers.

        Heads are averaged, half of each layer's output is what went past it (the shortcut), and layers are multiplied.
        Raises UsageError where layers do not attend to the same tokens throughout.
        """
        self.check_whole()
        sizes = {w.shape[1:] for w in self.weights}
        if len(sizes) != 1 or len(set(next(iter(sizes)))) != 1:
            raise UsageError(
                "There is no rollout: the layers do not all look from the same tokens to the same tokens.",
                hint="Look at heads: attention.map(layer, head).",
            )
        size = self.weights[0].shape[1]
        whole = np.eye(size)
        for weights in self.weights:
            mixed = 0.5 * weights.mean(axis=0, dtype=np.float64) + 0.5 * np.eye(size)
            whole = (mixed / mixed.sum(axis=1, keepdims=True)) @ whole
        found = whole.astype(np.float32)
        found.flags.writeable = False
        return found

    def check_whole(self) -> None:
        """Raise UsageError where it attends within windows: what cannot be rolled out, nor laid over the picture."""
        if self.windowed:
            raise UsageError(
                "This network attends within windows of the picture, as a Swin does: no token looks at all others, and "
                "the windows move from layer to layer. There is no rollout and no map over the picture.",
                hint="In Python, `found.weights` holds what each window and head looks at.",
            )

    @property
    def has_rollout(self) -> bool:
        """Whether the layers can be rolled out."""
        sizes = {w.shape[1:] for w in self.weights}
        return not self.windowed and len(sizes) == 1 and len(set(next(iter(sizes)))) == 1

    def of(self, layer: str | int | None = None, head: int | None = None) -> Array:
        """Weights [T, S]: of a layer's head, of the mean of its heads, or (no layer) the rollout."""
        if layer is None:
            return self.rollout
        if isinstance(layer, str):
            if layer not in self.layers:
                known = ", ".join(self.layers[:8])
                raise NotFoundError(f"There is no attention {layer!r}.", hint=f"There are: {known}.")

            layer = self.layers.index(layer)
        weights = self.weights[layer]
        if head is None:
            return np.asarray(weights.mean(axis=0))
        if not 0 <= head < len(weights):
            raise NotFoundError(f"It has heads 0 to {len(weights) - 1}, not {head}.")
        return np.asarray(weights[head])

    def map(self, layer: str | int | None = None, head: int | None = None, *, query: int | None = None) -> Array:
        """How much one token looks at each patch of the picture [h, w]; of no layer: by the rollout.

        `query` is the token that looks: where None, the first of the special ones (that of the class), and where there
        are none the mean over all. Raises UsageError where the tokens are no patches.
        """
        if self.grid is None:
            raise UsageError("These tokens are no patches of a picture.")
        found = self.of(layer, head)
        if found.shape[1] != self.special + self.grid[0] * self.grid[1]:
            raise UsageError("This attention does not look at the patches of the picture.")
        if query is not None and not 0 <= query < len(found):
            raise NotFoundError(f"There are tokens 0 to {len(found) - 1}, not {query}.")
        row = found.mean(axis=0) if query is None and not self.special else found[query or 0]
        return np.asarray(row[self.special :].reshape(self.grid))

    def film(self) -> Film:
        """The rollout as a film of one frame: the map over the picture, or [T, T]; of the last layer without one."""
        self.check_whole()
        layer = None if self.has_rollout else len(self.layers) - 1
        if self.grid is not None:
            return Film("attention", [self.step or 0], self.map(layer)[None], axes=("row", "column"), units="share")
        return Film("attention", [self.step or 0], self.of(layer)[None], axes=("row", "column"), units="share")

    def scene(
        self, *, layer: str | int | None = None, photo: Pixels | None = None, mode: str = "light",
        size: tuple[int, int] | None = None, title: str = "", beside: Any = None,
    ) -> PanelsScene | GridScene:  # fmt: skip
        """The rollout, and the heads of a layer (the last one where None): over the photo, or as matrices of tokens.

        `beside` are several of them and their captions, where it moves.
        """
        self.check_whole()
        results, captions = beside or ([self], ["" if self.step is None else f"step {self.step:,}"])
        at = len(self.layers) - 1 if layer is None else self.layers.index(layer) if isinstance(layer, str) else layer
        heads = range(min(_HEADS, len(self.weights[at])))
        wanted: list[tuple[str, int | None, int | None]] = [("rollout", None, None)] if self.has_rollout else []
        wanted += [(f"{self.layers[at]} · head {head}", at, head) for head in heads]
        name = title or f"Attention: {'rollout and ' if self.has_rollout else ''}heads of {self.layers[at]}"
        if self.grid is not None:
            panels = [Panel(pixels=photo, title="photo")] if photo is not None else []
            for words, one, head in wanted:
                maps = np.stack([result.map(one, head) for result in results])
                short = words.removeprefix(f"{self.layers[at]} · ")
                panels.append(Panel(pixels=_painted(maps, photo, mode), title=short))
            return PanelsScene(
                panels=panels, theme=theme(mode), title=name, captions=captions, wanted=size, note=self.caption
            )
        names = self.tokens or tuple(str(i) for i in range(self.weights[at].shape[2]))
        scale = ColourScale(lo=0.0, hi=1.0, colours=table("viridis", mode), signed=False, label="share")
        charts = [
            LabelledMatrix(
                title=words, values=np.stack([r.of(one, head) for r in results]), scale=scale,
                rows=names[-self.of(one, head).shape[0] :], columns=names,
            )
            for words, one, head in wanted
        ]  # fmt: skip
        return GridScene(
            charts=charts, theme=theme(mode), title=name, captions=captions, wanted=size, card=(360, 360),
            columns=min(4, len(charts)), scale=scale, note=self.caption,
        )  # fmt: skip

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        layer: str | int | None = None,
        photo: Pixels | None = None,
        theme: str = "light",
        size: tuple[int, int] | None = None,
    ) -> Path:
        """Write the rollout and the heads of a layer as a .png or .svg picture; .npz holds all weights by layer."""
        target = Path(path)
        if target.suffix.lower() == ".npz":
            arrays: dict[str, Any] = dict(zip(self.layers, self.weights, strict=True))
            if self.has_rollout:
                arrays["rollout"] = self.rollout
            np.savez_compressed(target, **arrays)
            return target
        return save_scene(self.scene(layer=layer, photo=photo, mode=theme, size=size), target)

    def __repr__(self) -> str:
        heads = sum(len(w) for w in self.weights)
        return f"<Attention of {len(self.layers)} layers, {heads} heads, {self.weights[-1].shape[-1]} tokens>"


def _painted(maps: Array, photo: Pixels | None, mode: str) -> Pixels:
    """Maps [T, h, w] in colours, over the photo where there is one."""
    from epochal.lens.colouring import enlarged, heat_scale, laid_over

    scale = heat_scale(maps, signed=False, mode=mode)
    if photo is None:
        return scale.paint(maps, theme(mode))
    large = np.stack([enlarged(one, photo.shape[:2]) for one in maps])
    return np.stack([laid_over(photo, frame, _OPACITY) for frame in scale.paint(large, theme(mode))])
