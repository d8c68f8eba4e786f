"""Ways of looking inside a network: one file per way, a network in and pictures or films out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from epochal.errors import MissingExtraError
from epochal.lens.attribution import Attribution
from epochal.lens.class_images import ClassImages, class_images
from epochal.lens.films import film, recorded_class_images
from epochal.lens.heads import Attention
from epochal.lens.spectrum import PowerLaw, Spectra, spectra
from epochal.lens.surface import Landscape

if TYPE_CHECKING:
    from epochal.lens.attending import attention
    from epochal.lens.attribute.cams import grad_cam, grad_cam_plus_plus, guided_grad_cam, layer_cam
    from epochal.lens.attribute.deconvolution import deconvolution
    from epochal.lens.attribute.guided_backprop import guided_backprop
    from epochal.lens.attribute.input_x_gradient import input_x_gradient
    from epochal.lens.attribute.integrated_gradients import integrated_gradients
    from epochal.lens.attribute.lrp import lrp
    from epochal.lens.attribute.occlusion import occlusion
    from epochal.lens.attribute.rise import rise
    from epochal.lens.attribute.saliency import saliency
    from epochal.lens.attribute.sanity_check import SanityCheck, sanity_check
    from epochal.lens.attribute.score_cam import score_cam
    from epochal.lens.attribute.smoothgrad import smoothgrad, vargrad
    from epochal.lens.attribute.together import attributions
    from epochal.lens.examples import TopExamples, top_examples
    from epochal.lens.kernels import Filters, filters
    from epochal.lens.landscape import loss_landscape
    from epochal.lens.maps import FeatureMaps, feature_maps
    from epochal.lens.maximum import Maximized, maximize, maximizing
    from epochal.lens.photos import open_photo
    from epochal.lens.probes import Probes, linear_probes
    from epochal.lens.similarity import Similarity, cka, cka_steps
    from epochal.lens.within import inside

__all__ = [
    "Attention",
    "Attribution",
    "ClassImages",
    "FeatureMaps",
    "Filters",
    "Landscape",
    "Maximized",
    "PowerLaw",
    "Probes",
    "SanityCheck",
    "Similarity",
    "Spectra",
    "TopExamples",
    "attention",
    "attributions",
    "cka",
    "cka_steps",
    "class_images",
    "deconvolution",
    "feature_maps",
    "film",
    "filters",
    "grad_cam",
    "grad_cam_plus_plus",
    "guided_backprop",
    "guided_grad_cam",
    "input_x_gradient",
    "inside",
    "integrated_gradients",
    "layer_cam",
    "linear_probes",
    "loss_landscape",
    "lrp",
    "maximize",
    "maximizing",
    "occlusion",
    "open_photo",
    "recorded_class_images",
    "rise",
    "saliency",
    "sanity_check",
    "score_cam",
    "smoothgrad",
    "spectra",
    "top_examples",
    "vargrad",
]

# Each name's home among the files that need PyTorch, imported when it is first used.
_HOMES = {
    "FeatureMaps": "maps",
    "Filters": "kernels",
    "Maximized": "maximum",
    "Probes": "probes",
    "SanityCheck": "attribute.sanity_check",
    "Similarity": "similarity",
    "TopExamples": "examples",
    "attention": "attending",
    "attributions": "attribute.together",
    "cka": "similarity",
    "cka_steps": "similarity",
    "deconvolution": "attribute.deconvolution",
    "feature_maps": "maps",
    "filters": "kernels",
    "grad_cam": "attribute.cams",
    "grad_cam_plus_plus": "attribute.cams",
    "guided_backprop": "attribute.guided_backprop",
    "guided_grad_cam": "attribute.cams",
    "input_x_gradient": "attribute.input_x_gradient",
    "inside": "within",
    "integrated_gradients": "attribute.integrated_gradients",
    "layer_cam": "attribute.cams",
    "linear_probes": "probes",
    "loss_landscape": "landscape",
    "lrp": "attribute.lrp",
    "maximize": "maximum",
    "maximizing": "maximum",
    "occlusion": "attribute.occlusion",
    "open_photo": "photos",
    "rise": "attribute.rise",
    "saliency": "attribute.saliency",
    "sanity_check": "attribute.sanity_check",
    "score_cam": "attribute.score_cam",
    "smoothgrad": "attribute.smoothgrad",
    "top_examples": "examples",
    "vargrad": "attribute.smoothgrad",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'epochal.lens' has no attribute {name!r}")
    try:
        module = import_module(f"epochal.lens.{home}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(
            f"epochal.lens.{name} needs PyTorch.", hint="Install it with `pip install 'epochal[torch]'`."
        ) from error
    # All of its names at once: a file may be called as something in it, and importing it sets the file.
    globals().update({other: getattr(module, other) for other, place in _HOMES.items() if place == home})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
