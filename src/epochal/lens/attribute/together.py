"""Several attributions of one image, which share what they can: one forward, and one way back for each rule."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from epochal.errors import NotFoundError, UsageError
from epochal.lens.asking import Forward, Subject
from epochal.lens.attribute.cams import (
    cam_of,
    grad_cam,
    grad_cam_plus_plus,
    guided_grad_cam,
    guided_grad_cam_of,
    layer_cam,
)
from epochal.lens.attribute.deconvolution import deconvolution, deconvolution_of
from epochal.lens.attribute.guided_backprop import guided_backprop, guided_backprop_of
from epochal.lens.attribute.input_x_gradient import input_x_gradient, input_x_gradient_of
from epochal.lens.attribute.integrated_gradients import integrated_gradients
from epochal.lens.attribute.lrp import lrp
from epochal.lens.attribute.occlusion import occlusion
from epochal.lens.attribute.rise import rise
from epochal.lens.attribute.saliency import saliency, saliency_of
from epochal.lens.attribute.score_cam import score_cam
from epochal.lens.attribute.shared import begin, useful_layer
from epochal.lens.attribute.smoothgrad import smoothgrad, vargrad
from epochal.lens.attribution import Attribution

__all__ = ["METHODS", "attributions"]

METHODS: dict[str, Callable[..., Attribution]] = {
    method.__name__: method
    for method in (
        saliency, input_x_gradient, guided_backprop, deconvolution, grad_cam, grad_cam_plus_plus, guided_grad_cam,
        layer_cam, score_cam, integrated_gradients, smoothgrad, vargrad, occlusion, rise, lrp,
    )
}  # fmt: skip
"""Every method by its name; all are called `method(network, image, target=..., ...)`."""

_OF_INPUT: dict[str, Callable[[Forward], Attribution]] = {
    "saliency": saliency_of,
    "input_x_gradient": input_x_gradient_of,
    "guided_backprop": guided_backprop_of,
    "deconvolution": deconvolution_of,
}
_OF_LAYER = ("grad_cam", "grad_cam_plus_plus", "layer_cam", "guided_grad_cam")


def attributions(
    network: Any,
    image: Any,
    methods: Sequence[str] = ("saliency", "input_x_gradient", "guided_backprop", "deconvolution", "grad_cam"),
    *,
    target: Any = None,
    layer: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Attribution]:
    """Several methods on one image: method -> what it says, each as if it were asked alone.

    Gradients and class activation maps share one forward and one way back for each rule, so that six of them cost less
    than three. `layer` is that of class activation maps; `options` are more arguments of a method by its name, such as
    `{"occlusion": {"window": 8}}`. Raises NotFoundError for a method that is not there.
    """
    chosen = [methods] if isinstance(methods, str) else list(methods)
    more = dict(options or {})
    for name in (*chosen, *more):
        if name not in METHODS:
            near = difflib.get_close_matches(str(name), METHODS, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(METHODS)}."
            raise NotFoundError(f"There is no method {name!r}.", hint=hint)
        if name not in chosen:
            raise UsageError(f"There are options for {name!r}, which was not asked.")
    subject = network if isinstance(network, Subject) else Subject(network)
    found: dict[str, Attribution] = {}
    shared = [name for name in chosen if (name in _OF_INPUT or name in _OF_LAYER) and not more.get(name)]
    if shared:
        found |= _shared(subject, image, shared, target, layer)
        target = next(iter(found.values())).target
    for name in chosen:
        if name not in found:
            given = {"layer": layer} if "cam" in name else {}
            found[name] = METHODS[name](subject, image, target=target, **(given | dict(more.get(name, {}))))
            target = found[name].target
    return {name: found[name] for name in chosen}


def _shared(
    subject: Subject, image: Any, names: Sequence[str], target: Any, layer: str | None
) -> dict[str, Attribution]:
    of_layer = any(name in _OF_LAYER for name in names)
    where = useful_layer(subject, subject.example(image), layer) if of_layer else ""
    forward = begin(subject, image, target, *([where] if of_layer else []))
    if of_layer and any(name in ("saliency", "input_x_gradient") for name in names):
        forward.gradients("", where)  # both on one way back
    found = {}
    for name in names:
        if name in _OF_INPUT:
            found[name] = _OF_INPUT[name](forward)
        else:
            found[name] = (
                guided_grad_cam_of(forward, where) if name == "guided_grad_cam" else cam_of(name, forward, where)
            )
    return found
