"""Class activation maps: what a layer found, weighted by what the score makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from epochal.lens.asking import Forward, Subject
from epochal.lens.attribute.guided_backprop import guided_backprop_of
from epochal.lens.attribute.shared import begin, channels_first, enlarged, of_input, of_places, places, useful_layer
from epochal.lens.attribution import Attribution

__all__ = ["grad_cam", "grad_cam_plus_plus", "guided_grad_cam", "layer_cam"]

CAPTIONS = {
    "grad_cam": "Grad-CAM: the layer's maps, weighted by the mean gradient of the score (Selvaraju et al. 2017)",
    "grad_cam_plus_plus": "Grad-CAM++: places with a positive gradient weigh more (Chattopadhyay et al. 2018)",
    "layer_cam": "Layer-CAM: each place of the layer's maps weighted by its own positive gradient (Jiang et al. 2021)",
}


def grad_cam(network: Any, image: Any, *, target: Any = None, layer: str | None = None) -> Attribution:
    """Where a layer found what speaks for the target: ReLU(Σ weight · map), a weight being the channel's mean gradient.

    `layer` is a name such as `layer3.2`; without it, the last convolution with what follows in its shape, before
    pooling. `.coarse` is the map [h, w] in the layer's size, `.array` and `.map` are enlarged to the input. R. R.
    Selvaraju and others: Grad-CAM (2017). Raises NotFoundError for a layer that is not there, UsageError for one that
    has no maps, NetworkError for one that the score does not depend on.
    """
    return _begin_cam("grad_cam", network, image, target, layer)


def grad_cam_plus_plus(network: Any, image: Any, *, target: Any = None, layer: str | None = None) -> Attribution:
    """As `grad_cam`, with weights from the places where the gradient is positive, after the second and third powers.

    With g the gradient and A the maps, a place counts g² / (2 g² + g³ ΣA) in its channel; derivatives are those of
    exp(score), whose common factor is left out. A. Chattopadhyay and others: Grad-CAM++ (2018).
    """
    return _begin_cam("grad_cam_plus_plus", network, image, target, layer)


def layer_cam(network: Any, image: Any, *, target: Any = None, layer: str | None = None) -> Attribution:
    """As `grad_cam`, each place of each map weighted by its own positive gradient: fine also in early layers.

    P.-T. Jiang and others: LayerCAM (2021).
    """
    return _begin_cam("layer_cam", network, image, target, layer)


def guided_grad_cam(network: Any, image: Any, *, target: Any = None, layer: str | None = None) -> Attribution:
    """Guided back-propagation times the enlarged Grad-CAM: fine and of the class. [C, H, W].

    R. R. Selvaraju and others: Grad-CAM (2017).
    """
    forward, name = with_layer(network, image, target, layer)
    return guided_grad_cam_of(forward, name)


def with_layer(network: Any, image: Any, target: Any, layer: str | None) -> tuple[Forward, str]:
    """One forward of one image that keeps a layer, the last useful one where None is named."""
    subject = network if isinstance(network, Subject) else Subject(network)
    name = useful_layer(subject, subject.example(image), layer)
    return begin(subject, image, target, name), name


def _begin_cam(method: str, network: Any, image: Any, target: Any, layer: str | None) -> Attribution:
    return cam_of(method, *with_layer(network, image, target, layer))


def cam_of(method: str, forward: Forward, layer: str) -> Attribution:
    """The same of a forward that has kept the layer."""
    coarse, shape = _coarse(method, forward, layer)
    return of_places(
        forward.subject,
        coarse,
        shape,
        method=method,
        target=forward.target,
        score=forward.score,
        caption=CAPTIONS[method],
        layer=layer,
        notes=(*forward.remarks, *_remarks(forward, layer, coarse)),
    )


def guided_grad_cam_of(forward: Forward, layer: str) -> Attribution:
    """The same of a forward that has kept the layer."""
    coarse, shape = _coarse("grad_cam", forward, layer)
    subject, guided = forward.subject, guided_backprop_of(forward)
    large = enlarged(coarse[None, None], shape)[0, 0]
    channel = subject.channel_axis(len(forward.inputs.shape) - 1)
    spread = large if channel is None else large.unsqueeze(channel)
    found = of_input(
        subject,
        (spread.cpu() * _tensor(guided, forward)).unsqueeze(0),
        method="guided_grad_cam",
        target=forward.target,
        score=forward.score,
        caption="Guided back-propagation times Grad-CAM (Selvaraju et al. 2017)",
        drawn="strongest",
        notes=(*guided.notes, *_remarks(forward, layer, coarse)),
    )
    object.__setattr__(found, "layer", layer)
    return found


def _tensor(guided: Attribution, forward: Forward) -> Tensor:
    return forward.inputs.new_tensor(guided.array).cpu()


def _coarse(method: str, forward: Forward, layer: str) -> tuple[Tensor, tuple[int, ...]]:
    """The map [h, w] of a method in the layer's size, and the size of the input's places."""
    shape = places(forward.subject, forward.inputs)
    gradient = channels_first(forward.subject, forward.gradients(layer)[layer], layer, len(shape))
    maps = channels_first(forward.subject, forward.kept[layer].detach(), layer, len(shape))
    return _WAYS[method](maps, gradient).sum(dim=1).clamp(min=0)[0], shape


def _grad_cam(maps: Tensor, gradient: Tensor) -> Tensor:
    return maps * _mean(gradient)


def _plus_plus(maps: Tensor, gradient: Tensor) -> Tensor:
    squares = gradient**2
    below = 2 * squares + squares * gradient * _sum(maps)
    share = squares / below.where(below != 0, below.new_ones(()))
    return maps * _sum(share * gradient.clamp(min=0))


def _layer_cam(maps: Tensor, gradient: Tensor) -> Tensor:
    return maps * gradient.clamp(min=0)


_WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad_cam": _grad_cam,
    "grad_cam_plus_plus": _plus_plus,
    "layer_cam": _layer_cam,
}


def _mean(values: Tensor) -> Tensor:
    return values.mean(dim=tuple(range(2, values.ndim)), keepdim=True)


def _sum(values: Tensor) -> Tensor:
    return values.sum(dim=tuple(range(2, values.ndim)), keepdim=True)


def _remarks(forward: Forward, layer: str, coarse: Tensor) -> tuple[str, ...]:
    said = []
    uses = forward.kept.uses.get(layer, 1)
    if uses > 1:
        said.append(f"{layer} runs {uses} times in one forward: this is its first use, {layer}@2 the second")
    if not coarse.any():
        said.append("the map is zero everywhere: nothing in this layer speaks for the target")
    return tuple(said)
