"""What methods give, as one picture or film: the photo, and beside it what each method sees."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.lens.attribution import Attribution
from epochal.lens.colouring import as_map, cubes, heat_scale, laid_over
from epochal.lens.kernels import Filters
from epochal.lens.maps import FeatureMaps
from epochal.picture import ColourScale, Panel, PanelsScene, theme
from epochal.picture.voxels import VIEWS

__all__ = ["panels_of_method", "scene"]

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]

_OPACITY = 0.55
_TILES = 64
_FEW = 16
_LEAST = 112
_SHARE = 0.995
"""So many places of an attribution lie within its scale: a few that stick out would leave all others dark."""


def scene(
    seen: Mapping[str, Sequence[Any]],
    photo: Pixels | None,
    *,
    title: str,
    captions: Sequence[str],
    mode: str = "light",
    size: tuple[int, int] | None = None,
    volume: Array | None = None,
    moving: bool = False,
) -> PanelsScene:
    """The photo and what each method gives: `seen` has one result for each of `captions`, step after step.

    `volume` is the input [..., D, H, W] of a network that takes volumes. What is found in it is drawn as cubes, which
    turn once around in a film (`moving`) of one step.
    """
    alone = len(seen) == 1
    panels = []
    turns = VIEWS if moving and len(captions) == 1 and any(map(_is_volume, seen.values())) else 1
    captions = list(captions) * turns
    if volume is not None and any(isinstance(results[0], Attribution) for results in seen.values()):
        first = volume.reshape(-1, *volume.shape[-3:])[0]
        scale = heat_scale(first, signed=bool((first < 0).any()), mode=mode)
        shown = cubes(first, scale, mode=mode, turns=turns)
        panels.append(Panel(pixels=shown if turns > 1 else shown[0], title="input"))  # the same at all steps
    if photo is not None and any(isinstance(results[0], Attribution) for results in seen.values()):
        panels.append(Panel(pixels=photo, title="photo"))
    for name, results in seen.items():
        panels += panels_of_method(name, results, photo, mode=mode, alone=alone, turns=turns)
    captioned = list(dict.fromkeys(results[-1].caption for results in seen.values()))
    note = captioned[0] if alone else "; ".join(_short(name, results[-1]) for name, results in seen.items())
    return PanelsScene(
        panels=panels, theme=theme(mode), title=title, captions=captions, wanted=size, note=note,
        scale=_bar(next(iter(seen.values())), mode) if alone else None,
    )  # fmt: skip


def panels_of_method(
    name: str, results: Sequence[Any], photo: Pixels | None, *, mode: str, alone: bool, turns: int = 1
) -> list[Panel]:
    """The panels of one method, each with a frame for each result; `alone` gives channels panels of their own.

    With several `turns` there is one result, and volumes have a frame for each.
    """
    last = results[-1]
    if isinstance(last, Attribution):
        where = f" · {last.layer}" if last.layer else ""
        frames = _attributed(results, photo, mode, turns)
        return [Panel(pixels=frames, title=f"{name}{where} · {last.score:.3g}")]
    if isinstance(last, FeatureMaps):
        chosen = [int(c) for c in last.order[: _TILES if alone else _FEW]]
        scale = heat_scale(np.stack([r.array for r in results]), signed=any(r.signed for r in results), mode=mode)
        tiles = {str(c): _channels([r.array[c] for r in results], scale, mode, turns) for c in chosen}
        return _tiled(tiles, f"{name} · {last.layer}", photo, alone=alone, mode=mode)
    if isinstance(last, Filters):
        chosen = [int(i) for i in last.order[: _TILES * 2 if alone else _FEW]]
        pictures = np.stack([r.pictures(mode=mode, like=last) for r in results])
        tiles = {str(i): pictures[:, i] for i in chosen}
        return _tiled(tiles, f"{name} · {last.layer}", photo, alone=alone, mode=mode)
    if hasattr(last, "pixels"):
        if (volume := getattr(last, "volume", None)) is not None:
            frames = _channels([r.volume for r in results], heat_scale(volume, signed=True, mode=mode), mode, turns)
        else:
            frames = np.stack([r.pixels for r in results])
        return [Panel(pixels=frames, title=f"{last.what}: {last.start:.3g} → {last.objective:.3g}")]
    if len(results) > 1:
        raise UsageError(f"{name} gives no film.", hint="Leave --steps out, or name one step.")
    drawn: PanelsScene = last.scene(mode=mode)
    return list(drawn.panels)


def _is_volume(results: Sequence[Any]) -> bool:
    """Whether a method has found something in three dimensions."""
    last = results[-1]
    return (
        (isinstance(last, Attribution) and last.map.ndim == 3)
        or (isinstance(last, FeatureMaps) and last.array.ndim == 4)
        or getattr(last, "volume", None) is not None
    )


def _channels(maps: Sequence[Array], scale: ColourScale, mode: str, turns: int) -> Pixels:
    """Maps in colours [T, h, w, 3]: volumes as cubes, from several sides where they turn."""
    if maps[-1].ndim == 3:
        return np.concatenate([cubes(m, scale, mode=mode, turns=turns, side=_LEAST) for m in maps])
    painted = np.stack([scale.paint(as_map(m), theme(mode)) for m in maps])
    return np.repeat(painted, turns, axis=0)


def _attributed(results: Sequence[Attribution], photo: Pixels | None, mode: str, turns: int) -> Pixels:
    """The maps in colours, on one scale for all steps; maps of where something is seen lie over the photo."""
    last = results[-1]
    if last.map.ndim == 3:
        scale = heat_scale(np.stack([r.map for r in results]), signed=last.signed, mode=mode, share=_SHARE)
        return np.concatenate([cubes(r.map, scale, mode=mode, turns=turns) for r in results])
    maps = np.stack([as_map(r.map) for r in results])
    painted = heat_scale(maps, signed=last.signed, mode=mode, share=_SHARE).paint(maps, theme(mode))
    if photo is None or last.coarse is None or maps.shape[1:] != photo.shape[:2]:
        return painted
    return np.stack([laid_over(photo, frame, _OPACITY) for frame in painted])


def _tiled(tiles: Mapping[str, Pixels], name: str, photo: Pixels | None, *, alone: bool, mode: str) -> list[Panel]:
    if alone:
        return [Panel(pixels=frames, title=channel) for channel, frames in tiles.items()]
    side = _LEAST if photo is None else max(photo.shape[:2])
    whole = _mosaic(list(tiles.values()), theme(mode).ground, side)
    return [Panel(pixels=whole, title=f"{name}: {len(tiles)} strongest")]


def _mosaic(tiles: Sequence[Pixels], ground: tuple[int, int, int], side: int) -> Pixels:
    """Tiles [T, h, w, 3] in one picture [T, H, W, 3] with lines between them, enlarged to about `side` pixels."""
    columns = int(np.ceil(np.sqrt(len(tiles))))
    rows = -(-len(tiles) // columns)
    count, high, wide = tiles[0].shape[:3]
    factor = max(1, side // max(rows * (high + 1), columns * (wide + 1)))
    whole = np.empty((count, rows * (high * factor + 1) - 1, columns * (wide * factor + 1) - 1, 3), np.uint8)
    whole[:] = ground
    for i, tile in enumerate(tiles):
        y, x = i // columns * (high * factor + 1), i % columns * (wide * factor + 1)
        whole[:, y : y + high * factor, x : x + wide * factor] = tile.repeat(factor, axis=1).repeat(factor, axis=2)
    return whole


def _bar(results: Sequence[Any], mode: str) -> Any:
    """The colour bar of one method that has a scale."""
    last = results[-1]
    if isinstance(last, Attribution):
        maps = np.stack([r.map for r in results])
        return heat_scale(maps, signed=last.signed, mode=mode, label=last.units, share=_SHARE)
    if isinstance(last, FeatureMaps):
        whole = np.stack([r.array for r in results])
        return heat_scale(whole, signed=any(r.signed for r in results), mode=mode, label="activation")
    return None


def _short(name: str, result: Any) -> str:
    """The method and whose idea it is."""
    found = re.search(r"\(([^()]*\d{4})\)", result.caption)
    return f"{name}: {found[1]}" if found else str(result.caption)
