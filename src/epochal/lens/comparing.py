"""The comparisons by name: ways of looking at a whole network with a set of examples, or at its weights alone."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from epochal.errors import UsageError
from epochal.lens.heads import Attention
from epochal.lens.spectrum import Spectra
from epochal.lens.surface import Landscape

__all__ = ["COMPARISONS", "Comparison", "compare", "comparison_named", "facts_of", "settings_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison: `epochal.lens.<name>`, what it shows in words, whose idea it is, and what it needs and can take.

    `needs` and `takes` are among `data`, `labels`, `image`, `layers`, `layer`, `other`, `run` and `path`.
    """

    name: str
    words: str
    paper: str
    needs: frozenset[str]
    takes: frozenset[str]


def _comparison(name: str, words: str, paper: str, *, needs: str, takes: str = "") -> Comparison:
    needed = frozenset(needs.split())
    return Comparison(name=name, words=words, paper=paper, needs=needed, takes=needed | frozenset(takes.split()))


COMPARISONS: dict[str, Comparison] = {
    one.name: one
    for one in (
        _comparison("cka", "how alike layers arrange the same examples", "Kornblith et al. 2019",
                    needs="data", takes="layers other"),
        _comparison("cka_steps", "how alike one layer is to itself at other steps", "Kornblith et al. 2019",
                    needs="data layer run", takes="other"),
        _comparison("linear_probes", "what a linear classifier reads from each layer", "Alain and Bengio 2016",
                    needs="data labels", takes="layers"),
        _comparison("spectra", "the singular values of each layer's weights", "Rudelson and Vershynin 2007",
                    needs="", takes="layers"),
        _comparison("loss_landscape", "the loss around the network, and the training's way", "Li et al. 2018",
                    needs="data labels", takes="path"),
        _comparison("attention", "which tokens each head of a transformer looks at", "Abnar and Zuidema 2020",
                    needs="image", takes="layers"),
    )
}  # fmt: skip
"""Every comparison that a name can ask for."""

_GIVEN = frozenset({
    "network", "a", "b", "inputs", "labels", "layers", "layers_b", "layer", "other", "run", "path", "steps", "image",
    "progress", "preview", "tokens", "loss",
})  # fmt: skip


def comparison_named(name: str) -> Comparison | None:
    """The comparison of a name (`linear-probes` is `linear_probes`), None where there is none."""
    return COMPARISONS.get(name.strip().replace("-", "_").lower())


def settings_of(name: str) -> list[str]:
    """The options of a comparison, beside what it looks at."""
    function = getattr(import_module("epochal.lens"), name)
    return [one for one in inspect.signature(function).parameters if one not in _GIVEN]


def arguments(
    name: str,
    *,
    data: Any = None,
    labels: Any = None,
    image: Any = None,
    layers: Sequence[str] | None = None,
    other: Any = None,
    path: Any = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What `epochal.lens.<name>` is given beside the network; raises UsageError where something is missing."""
    known = COMPARISONS[name]
    given = {"data": data, "labels": labels, "image": image, "layer": None if not layers else layers[0]}
    if missing := sorted(need for need in known.needs - {"run"} if given[need] is None):
        raise UsageError(f"{name} needs {' and '.join(missing)}.", hint=_HINTS.get(missing[0], ""))
    how: dict[str, Any] = dict(options or {})
    if "data" in known.needs:
        how["inputs"] = data
    if "labels" in known.needs:
        how["labels"] = labels
    if "image" in known.needs:
        how["image"] = image
    if "layers" in known.takes and layers:
        how["layers"] = list(layers)
    if "layer" in known.needs and layers:
        how["layer"] = layers[0]
    if other is not None:
        if "other" not in known.takes:
            raise UsageError(f"{name} looks at one network.", hint="cka compares two.")
        how["b" if name == "cka" else "other"] = other
    if path is not None:
        if "path" not in known.takes:
            raise UsageError(f"{name} shows no path.", hint="loss_landscape does.")
        how["path"] = path
    return how


_HINTS = {
    "data": "A run that recorded examples has some; otherwise give a file of inputs.",
    "labels": "The classes of the examples, as whole numbers.",
    "layer": "Name the layer.",
    "image": "Name a picture, or an array of tokens.",
}


def compare(network: Any, name: str, **how: Any) -> Any:
    """A comparison by its name; `network` is a recorded run for those over its steps, `how` as `arguments` gives it."""
    lens: Any = import_module("epochal.lens")
    return getattr(lens, name)(network, **how)


def facts_of(result: Any) -> dict[str, Any]:
    """What a comparison found, by name: numbers and lists of them, as programs read it."""
    if isinstance(result, Spectra):
        laws = result.power_laws or (None,) * len(result.layers)
        return {
            "layers": list(result.layers),
            "shapes": [list(shape) for shape in result.shapes],
            "spectral_norm": result.spectral_norm.tolist(),
            "stable_rank": result.stable_rank.tolist(),
            "alpha": [None if law is None else law.alpha for law in laws],
            "alpha_error": [None if law is None else law.error for law in laws],
            "alpha_distance": [None if law is None else law.distance for law in laws],
        }
    if isinstance(result, Landscape):
        return {
            "loss": result.loss,
            "centre": result.centre,
            "least": float(np.nanmin(result.array)),
            "shape": list(result.array.shape),
            "variance": None if result.variance is None else result.variance.tolist(),
            "path_steps": list(result.path_steps),
            "path_losses": None if result.path_losses is None else result.path_losses.tolist(),
        }
    if isinstance(result, Attention):
        return {
            "layers": list(result.layers),
            "heads": [len(weights) for weights in result.weights],
            "tokens": list(result.tokens),
            "grid": None if result.grid is None else list(result.grid),
            "special": result.special,
            "rollout": result.has_rollout,
        }
    if hasattr(result, "interval"):
        return {
            "layers": list(result.layers),
            "accuracy": result.array.tolist(),
            "train": result.train.tolist(),
            "interval": result.interval.tolist(),
            "chance": result.chance,
            "features": list(result.features),
            "penalties": list(result.penalties),
        }
    return {"rows": list(result.rows), "columns": list(result.columns), "cka": result.array.tolist()}
