"""All ways of looking, by name: what each is in words, and what it takes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from epochal.errors import NotFoundError, UsageError

__all__ = ["METHODS", "Method", "look", "method_named"]

Kind = Literal["attribution", "maps", "kernels", "maximum", "examples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way of looking: `epochal.lens.<name>`, what it shows in words, whose idea it is, and what it can be given.

    `takes` are among `image`, `target`, `layer`, `channel` and `data`; `needs` are those that it cannot do without.
    """

    name: str
    kind: Kind
    words: str
    paper: str
    takes: frozenset[str]
    needs: frozenset[str] = frozenset({"image"})


def _attribution(name: str, words: str, paper: str, *, layer: bool = False) -> Method:
    takes = frozenset({"image", "target", "layer"} if layer else {"image", "target"})
    return Method(name=name, kind="attribution", words=words, paper=paper, takes=takes)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="feature_maps", kind="maps", words="what the channels of a layer put out, strongest first",
            paper="Zeiler and Fergus 2014", takes=frozenset({"image", "layer"}), needs=frozenset({"image", "layer"}),
        ),
        _attribution("saliency", "the gradient of the score by each pixel", "Simonyan et al. 2013"),
        _attribution("input_x_gradient", "pixels times their gradient", "Shrikumar et al. 2016"),
        _attribution("guided_backprop", "the gradient through what speaks for the class", "Springenberg et al. 2014"),
        _attribution("deconvolution", "the answer led back through the layers", "Zeiler and Fergus 2013"),
        _attribution("grad_cam", "where in a layer the class is seen", "Selvaraju et al. 2017", layer=True),
        _attribution("grad_cam_plus_plus", "the same for several objects", "Chattopadhay et al. 2018", layer=True),
        _attribution("layer_cam", "the same in finer detail, also in early layers", "Jiang et al. 2021", layer=True),
        _attribution("score_cam", "the same without gradients, map by map", "Wang et al. 2020", layer=True),
        _attribution("guided_grad_cam", "guided gradients where Grad-CAM looks", "Selvaraju et al. 2017", layer=True),
        _attribution("integrated_gradients", "gradients on the way to the image", "Sundararajan et al. 2017"),
        _attribution("smoothgrad", "the mean gradient of noisy copies", "Smilkov et al. 2017"),
        _attribution("vargrad", "the variance of the gradient of noisy copies", "Adebayo et al. 2018"),
        _attribution("occlusion", "how the score falls when a window is covered", "Zeiler and Fergus 2013"),
        _attribution("rise", "which random masks leave the score", "Petsiuk et al. 2018"),
        _attribution("lrp", "the score shared out layer by layer", "Bach et al. 2015"),
        Method(
            name="filters", kind="kernels", words="the kernels of a layer as pictures",
            paper="Krizhevsky et al. 2012", takes=frozenset({"layer", "channel"}), needs=frozenset(),
        ),
        Method(
            name="maximize", kind="maximum", words="the picture that a class or channel answers to most",
            paper="Erhan et al. 2009, Olah et al. 2017", takes=frozenset({"target", "layer", "channel"}),
            needs=frozenset(),
        ),
        Method(
            name="top_examples", kind="examples", words="the examples that each unit answers to most",
            paper="Zeiler and Fergus 2014", takes=frozenset({"data", "layer"}), needs=frozenset({"data", "layer"}),
        ),
    )
}  # fmt: skip
"""Every way of looking that a name can ask for."""


def method_named(name: str) -> Method:
    """The method of a name (`grad-cam` is `grad_cam`); NotFoundError says which there are."""
    known = METHODS.get(name.strip().replace("-", "_").lower())
    if known is None:
        near = difflib.get_close_matches(name, METHODS, 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(METHODS)}."
        raise NotFoundError(f"There is no method {name!r}.", hint=hint)
    return known


def look(
    network: Any,
    image: Any,
    methods: Sequence[str],
    *,
    target: Any = None,
    layer: str | None = None,
    channel: int | None = None,
    data: Any = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Several methods on one network and image: method -> what it gives, attributions sharing their forward.

    Each method is given what it takes of the rest; `options` are more arguments of a method by its name. Raises
    NotFoundError for a method that is not there, UsageError where one lacks what it needs.
    """
    chosen = [method_named(name) for name in methods]
    given = {"image": image, "target": target, "layer": layer, "channel": channel, "data": data}
    for method in chosen:
        if missing := sorted(need for need in method.needs if given[need] is None):
            raise UsageError(f"{method.name} needs {' and '.join(missing)}.")
    more = dict(options or {})
    lens: Any = import_module("epochal.lens")
    found: dict[str, Any] = {}
    if together := [method.name for method in chosen if method.kind == "attribution"]:
        own = {name: how for name, how in more.items() if name in together}
        found |= lens.attributions(network, image, together, target=target, layer=layer, options=own)
    for method in chosen:
        if method.kind != "attribution":
            how = {name: given[name] for name in sorted(method.takes - {"image", "data"}) if given[name] is not None}
            if method.kind == "maximum":
                how = _what_to_maximize(how)
            first = [given[name] for name in ("image", "data") if name in method.takes]
            found[method.name] = getattr(lens, method.name)(network, *first, **how, **more.get(method.name, {}))
    return {method.name: found[method.name] for method in chosen}


def _what_to_maximize(how: dict[str, Any]) -> dict[str, Any]:
    """A channel of a layer where one is named, otherwise the class."""
    if how.get("channel") is not None:
        return {name: value for name, value in how.items() if name != "target"}
    if how.get("target") is None:
        raise UsageError("maximize needs a target, or a layer and a channel.")
    return {"target": how["target"]}
