"""The lens on the wire: which ways of looking a run's network has, and what each of them found."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from epochal.errors import EpochalError, UsageError
from epochal.facts import Graph
from epochal.facts.chain import Chain, dense_chain
from epochal.lens.methods import METHODS, Method, method_named
from epochal.lens.photos import SAMPLES, picture_shape
from epochal.network.dense import can_run
from epochal.store.reader import StoredRun
from epochal.wire.asking import askable

__all__ = ["GROUP", "catalogue_document", "checked_methods", "checked_options", "examples_series"]

_NEEDS_DATA = "data"
_WITHOUT_TORCH = frozenset({"feature_maps", "filters"})
_SLOW = frozenset({"occlusion", "rise", "score_cam", "maximize", "smoothgrad", "vargrad", "integrated_gradients"})

GROUP = (
    "saliency", "input_x_gradient", "guided_backprop", "deconvolution", "grad_cam", "grad_cam_plus_plus", "layer_cam",
    "guided_grad_cam",
)  # fmt: skip
"""Those that share one forward, and are done first."""


@dataclass(frozen=True, slots=True)
class _Option:
    """A setting of a method, within bounds that keep it from taking the machine."""

    name: str
    words: str
    low: float
    high: float
    whole: bool = True


_SAMPLES = _Option("samples", "noisy copies", 2, 400)
_NOISE = _Option("noise", "noise, as a share of the range of the image", 0.001, 1, whole=False)
OPTIONS: dict[str, tuple[_Option, ...]] = {
    "integrated_gradients": (_Option("steps", "steps", 2, 512),),
    "smoothgrad": (_SAMPLES, _NOISE),
    "vargrad": (_SAMPLES, _NOISE),
    "occlusion": (_Option("window", "side of the window", 1, 256), _Option("stride", "stride", 1, 256)),
    "rise": (_Option("masks", "masks", 10, 8000), _Option("cells", "cells", 2, 32)),
    "maximize": (_Option("steps", "steps", 8, 1024), _Option("seed", "seed", 0, 1_000_000)),
    "top_examples": (_Option("k", "examples of a unit", 1, 32),),
}


def catalogue_document(run: StoredRun) -> dict[str, Any]:
    """A LensDocument: methods, layers, and what can be looked at, of a run's network; says why where it cannot."""
    graph: Graph | None = None
    known = askable(run)
    try:
        graph = run.graph()
    except (EpochalError, OSError):
        known = None
    chain = dense_chain(graph)
    torch = importlib.util.find_spec("torch") is not None
    document: dict[str, Any] = {
        "reason": "", "shape": [], "picture": None, "methods": [], "layers": [], "samples": [], "torch": torch,
    }  # fmt: skip
    if known is None or graph is None:
        missing = run.network_path() is not None and not torch
        return document | {"reason": "torch" if missing else "network"}
    shape = tuple(known["shape"])
    layers = _layers(graph, chain if can_run(chain) else None)
    picture = _picture(run, shape)
    return document | {
        "shape": list(shape),
        "picture": None if picture is None else list(picture),
        "methods": [
            _method_document(method, _why_not(run, method, graph, chain, torch=torch)) for method in METHODS.values()
        ],
        "layers": layers,
        "samples": [] if picture is None else _samples(),
    }


def checked_methods(run: StoredRun, names: list[str]) -> list[str]:
    """The methods of these names; raises NotFoundError for an unknown one and UsageError for one that does not fit."""
    chosen = list(dict.fromkeys(method_named(name).name for name in names))
    graph = run.graph()
    torch = importlib.util.find_spec("torch") is not None
    for name in chosen:
        if why := _why_not(run, METHODS[name], graph, dense_chain(graph), torch=torch):
            raise UsageError(f"{name} is not for this network.", hint=_REASONS[why])
    return chosen


def checked_options(methods: list[str], given: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """The settings of methods, each within its bounds; UsageError says what does not fit."""
    found: dict[str, dict[str, Any]] = {}
    for word, settings in given.items():
        method = method_named(word).name
        if method not in methods:
            raise UsageError(f"There are settings for {method}, which was not asked.")
        known = {option.name: option for option in OPTIONS.get(method, ())}
        for name, value in settings.items():
            option = known.get(name)
            if option is None:
                raise UsageError(f"{method} has no setting {name!r}.", hint=f"It has: {', '.join(known) or 'none'}.")
            if not option.low <= value <= option.high:
                raise UsageError(f"{method}.{name} goes from {option.low:g} to {option.high:g}, not {value:g}.")
            found.setdefault(method, {})[name] = round(value) if option.whole else float(value)
    return found


_REASONS: dict[str, str] = {
    "torch": "It needs PyTorch: pip install 'epochal[torch]'.",
    "convolution": "It looks at convolutions, and this network has none.",
    "data": "It needs examples: run.watch(model, examples=(x_val, y_val)) records them.",
}


def _why_not(run: StoredRun, method: Method, graph: Graph | None, chain: Chain | None, *, torch: bool) -> str:
    """Why a method cannot be used, as a word; empty where it can."""
    if _NEEDS_DATA in method.needs and not examples_series(run) and not _takes_photos(run):
        return "data"
    kinds = {layer.kind.lower() for layer in (graph.layers if graph is not None else ())}
    convolutions = any("conv" in kind for kind in kinds)
    if not convolutions and (method.name == "filters" or "cam" in method.name):
        return "convolution"
    if not torch and not (method.name in _WITHOUT_TORCH and can_run(chain)):
        return "torch"
    return ""


def _method_document(method: Method, reason: str) -> dict[str, Any]:
    return {
        "name": method.name,
        "kind": method.kind,
        "words": method.words,
        "paper": method.paper,
        "takes": sorted(method.takes),
        "slow": method.name in _SLOW,
        "reason": reason,
        "options": [
            {"name": o.name, "words": o.words, "low": o.low, "high": o.high, "whole": o.whole}
            for o in OPTIONS.get(method.name, ())
        ],
    }


def examples_series(run: StoredRun, wanted: str | None = None) -> str:
    """The predictions whose examples are there as the network takes them: the wanted ones, else the first, else ""."""
    found = [
        name
        for name, series in run.media_series().items()
        if "predictions" in series.kinds
        and any(item.meta.get("inputs") in ("pictures", "numbers") for item in run.media(name)[-1:])
    ]
    return wanted if wanted in found else next(iter(found), "")


def _takes_photos(run: StoredRun) -> bool:
    known = askable(run)
    return known is not None and _picture(run, tuple(known["shape"])) is not None and bool(_samples())


def _layers(graph: Graph, chain: Chain | None) -> list[dict[str, Any]]:
    """Layers by the names that the lens knows, in the order of the graph; blocks stand where their last layer does."""
    if chain is not None:
        return [
            {"name": link.layer, "kind": "Linear", "shape": [link.outputs], "maps": False, "block": False}
            for link in chain.links
        ]
    own = [layer for layer in graph.layers if layer.role == "module"]
    last: dict[str, int] = {}
    names = {layer.layer_id for layer in own}
    for i, layer in enumerate(own):
        parts = layer.layer_id.split(".")
        for n in range(1, len(parts)):
            last[".".join(parts[:n])] = i
    blocks: dict[int, list[str]] = {}
    for name, i in last.items():
        if name not in names:
            blocks.setdefault(i, []).append(name)
    found = []
    for i, layer in enumerate(own):
        found.append(_layer_document(layer.layer_id, layer.kind, layer.outputs, block=False))
        found += [
            _layer_document(name, "", layer.outputs, block=True) for name in sorted(blocks.get(i, ()), reverse=True)
        ]
    return found


def _layer_document(name: str, kind: str, outputs: tuple[tuple[int, ...], ...], *, block: bool) -> dict[str, Any]:
    shape = list(outputs[0][1:]) if outputs else []
    return {"name": name, "kind": kind, "shape": shape, "maps": len(shape) == 3, "block": block}


def _picture(run: StoredRun, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Height, width and channels of inputs of a shape, None where they are no pictures."""
    if len(shape) == 1 and not _shows_pictures(run):
        return None  # a row of a table may have as many columns as a small square has pixels
    found = picture_shape(shape)
    if found is not None:
        return found[1], found[2], found[0]
    if len(shape) == 3 and shape[2] in (1, 3):
        return shape[0], shape[1], shape[2]
    return None


def _shows_pictures(run: StoredRun) -> bool:
    """Whether the examples that a run recorded are pictures."""
    named = [name for name, series in run.media_series().items() if "predictions" in series.kinds]
    return any(item.meta.get("inputs") == "pictures" for name in named for item in run.media(name)[-1:])


def _samples() -> list[str]:
    """The sample photos whose packages are installed."""
    there = {package: importlib.util.find_spec(package) is not None for package, _ in SAMPLES.values()}
    return [name for name, (package, _) in SAMPLES.items() if there[package]]
