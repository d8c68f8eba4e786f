"""Facts about Keras layers: what their variables are for, how they lie, how they began, which activation follows."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt

from epochal.facts import Parameter
from epochal.facts.activations import ACTIVATIONS

__all__ = ["activation_of", "is_see_through", "parameter_fact", "settings"]

Role = Literal["weight", "bias", "buffer", "other"]

_ACTIVATION_LAYERS = ("ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax")
_SEE_THROUGH = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "Identity")

_WEIGHTS = re.compile(r"(kernel|embeddings|weights?|gamma|scale|w)\d*")
_BIASES = re.compile(r"(bias|beta|b)\d*")
_BUFFERS = re.compile(r"(moving_\w+|mean|variance|count|vector_u|seed_generator_state|iterations?)")

_DULL = {
    "name", "trainable", "dtype", "batch_shape", "build_config", "activation", "activity_regularizer", "seed",
    "sparse", "ragged", "synchronized", "quantization_config", "cell", "layer", "backward_layer",
}  # fmt: skip


def activation_of(what: Any) -> str | None:
    """The activation that a layer applies last, or that an operation is, as `ReLU`; None where there is none."""
    kind = type(what).__name__
    if isinstance(what, keras.layers.Layer):
        if kind in _ACTIVATION_LAYERS:
            return ACTIVATIONS.get(_snake(kind), kind)
        chosen = getattr(what, "activation", None)
        if chosen is None or not callable(chosen):
            return None
        word = str(getattr(chosen, "__name__", type(chosen).__name__))
        return None if word == "linear" else ACTIVATIONS.get(_snake(word), word)
    return ACTIVATIONS.get(_snake(kind))


def is_see_through(layer: Any) -> bool:
    """Whether an activation behind this layer is that of the layer in front: normalisations and dropouts."""
    return type(layer).__name__ in _SEE_THROUGH or "Dropout" in type(layer).__name__


def settings(layer: Any) -> dict[str, Any]:
    """The plain settings of a layer: units, kernel size, strides, rate, epsilon, ..."""
    if not isinstance(layer, keras.layers.Layer) or isinstance(layer, keras.Model):
        return {}
    try:
        config = layer.get_config()
    except Exception:  # noqa: BLE001 - the user's own code, or a layer that cannot be described
        return {}
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name in _DULL or name.endswith(("_initializer", "_regularizer", "_constraint")):
            continue
        plain = list(value) if isinstance(value, tuple | list) else value
        members = plain if isinstance(plain, list) else [plain]
        if all(isinstance(v, bool | int | str) or (isinstance(v, float) and math.isfinite(v)) for v in members):
            found[name] = plain
    return found


def parameter_fact(name: str, variable: Any, layer: Any) -> Parameter:
    """What is known of a variable that `layer` holds."""
    shape = tuple(int(s) for s in variable.shape)
    leaf = variable.name
    return Parameter(
        name=name,
        shape=shape,
        dtype=keras.backend.standardize_dtype(variable.dtype),
        role=_role(leaf),
        trainable=bool(variable.trainable),
        initializer=_initializer(leaf, variable, layer),
        layout=_layout(leaf, shape, layer),
    )


def _role(leaf: str) -> Role:
    word = leaf.rsplit("_", 1)[-1] if leaf.endswith(("_kernel", "_bias", "_embeddings")) else leaf
    if _BUFFERS.fullmatch(leaf):
        return "buffer"
    if _BIASES.fullmatch(word):
        return "bias"
    return "weight" if _WEIGHTS.fullmatch(word) else "other"


def _layout(leaf: str, shape: tuple[int, ...], layer: Any) -> tuple[int, ...]:
    """The order of axes that puts outputs first, then inputs, then the places of a kernel; () where it lies so."""
    n = len(shape)
    if n < 2 or _role(leaf) != "weight" or "embeddings" in leaf:
        return ()
    kernel = tuple(range(n - 2))
    kind = type(layer).__name__
    if kind.startswith("Conv") and "Transpose" in kind:
        return (n - 2, n - 1, *kernel)  # [places, outputs, inputs]
    if leaf == "depthwise_kernel" or kind.startswith("Depthwise"):
        return (n - 2, n - 1, *kernel)  # [places, channels, how many outputs each]
    equation = getattr(layer, "equation", None)
    if isinstance(equation, str) and leaf == "kernel":
        return _einsum_layout(equation, n)
    if n == 2 or "Conv" in kind:
        return (n - 1, n - 2, *kernel)  # [places, inputs, outputs]
    return ()


def _einsum_layout(equation: str, n: int) -> tuple[int, ...]:
    """Axes of an EinsumDense kernel: those that the output has and the input has not come first."""
    found = re.fullmatch(r"\s*([\w.]+)\s*,\s*(\w+)\s*->\s*([\w.]+)\s*", equation)
    if found is None or len(found[2]) != n:
        return ()
    outputs = [i for i, letter in enumerate(found[2]) if letter in found[3] and letter not in found[1]]
    order = (*outputs, *(i for i in range(n) if i not in outputs))
    return order if order != tuple(range(n)) else ()


def _initializer(leaf: str, variable: Any, layer: Any) -> str | None:
    """How a variable began, in words: the layer's own setting where the values are such as it draws."""
    if variable._value is None:
        return None
    values = np.asarray(keras.ops.convert_to_numpy(variable.value))
    if values.size == 0 or values.dtype.kind not in "fiub":
        return None
    first = float(values.reshape(-1)[0])
    if bool((values == values.reshape(-1)[0]).all()) and (values.size > 1 or first in (0.0, 1.0)):
        return {0.0: "zeros", 1.0: "ones"}.get(first, f"constant {first:g}")
    settings = (f"{leaf}_initializer", f"{leaf.removesuffix('_kernel')}_initializer")
    setting = next((name for name in settings if getattr(layer, name, None) is not None), None)
    if setting is None:
        return None
    chosen = getattr(layer, setting)
    if not _drawn(values.astype(np.float64), chosen):
        return None
    words, default = _words(chosen), _default(layer, setting)
    return f"{words}, default" if default is not None and _words(default) == words else words


def _words(chosen: Any) -> str:
    """`Glorot uniform`, `random normal (mean 0, deviation 0.05)`, `variance scaling (scale 2, fan in, normal)`."""
    kind = type(chosen).__name__
    try:
        config: Mapping[str, Any] = chosen.get_config()
    except Exception:  # noqa: BLE001 - the user's own initialiser
        config = {}
    if kind == "VarianceScaling":
        mode, distribution = (str(config.get(k, "")).replace("_", " ") for k in ("mode", "distribution"))
        return f"variance scaling (scale {config.get('scale'):g}, {mode}, {distribution})"
    if kind in ("RandomNormal", "TruncatedNormal"):
        return f"{_spaced(kind)} (mean {config.get('mean'):g}, deviation {config.get('stddev'):g})"
    if kind == "RandomUniform":
        return f"{_spaced(kind)} ({config.get('minval'):g} to {config.get('maxval'):g})"
    return _spaced(kind)


def _default(layer: Any, name: str) -> Any:
    for cls in type(layer).__mro__:
        made = vars(cls).get("__init__")
        parameter = inspect.signature(made).parameters.get(name) if callable(made) else None
        if parameter is not None and parameter.default is not parameter.empty and parameter.default is not None:
            return keras.initializers.get(parameter.default)
    return None


def _drawn(values: npt.NDArray[np.float64], chosen: Any) -> bool:
    """Whether values can be a fresh draw: trained ones sooner or later leave the bound or change their spread.

    The root mean square of n draws has a relative standard error of at most 0.71/√n; five of them are allowed.
    """
    if isinstance(chosen, keras.initializers.Orthogonal):
        flat = values.reshape(-1, values.shape[-1])
        flat = flat if flat.shape[0] >= flat.shape[1] else flat.T
        return bool(np.allclose(flat.T @ flat, np.eye(flat.shape[1]) * chosen.gain**2, atol=1e-3 * chosen.gain**2))
    found = _spread(chosen, values.shape)
    if found is None:
        return False
    bound, deviation = found
    if float(np.abs(values).max()) > bound * (1 + 1e-3):
        return False
    spread = float(np.sqrt(np.square(values).mean()))
    return values.size < 8 or abs(spread / deviation - 1) < 5 * 0.71 / math.sqrt(values.size) + 1e-3


def _spread(chosen: Any, shape: tuple[int, ...]) -> tuple[float, float] | None:
    """Bound and root mean square of what an initialiser draws, None where we do not know."""
    if isinstance(chosen, keras.initializers.VarianceScaling):
        fan_in, fan_out = _fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out}.get(str(chosen.mode), (fan_in + fan_out) / 2)
        deviation = math.sqrt(float(chosen.scale) / max(1.0, fan))
        return (deviation * math.sqrt(3) if chosen.distribution == "uniform" else math.inf), deviation
    if isinstance(chosen, keras.initializers.RandomUniform):
        low, high = float(chosen.minval), float(chosen.maxval)
        return max(abs(low), abs(high)), math.sqrt((low * low + low * high + high * high) / 3)
    if isinstance(chosen, keras.initializers.RandomNormal):
        return math.inf, math.hypot(float(chosen.stddev), float(chosen.mean))
    if isinstance(chosen, keras.initializers.TruncatedNormal):
        # A normal distribution cut off at two deviations has 0.8796 of its deviation left.
        return math.inf, math.hypot(0.87962566 * float(chosen.stddev), float(chosen.mean))
    return None


def _fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """How many inputs and outputs a unit of a kernel [places..., inputs, outputs] has."""
    if len(shape) < 2:
        size = float(shape[0]) if shape else 1.0
        return size, size
    places = math.prod(shape[:-2])
    return float(shape[-2] * places), float(shape[-1] * places)


def _snake(word: str) -> str:
    return {"ReLU": "relu", "ELU": "elu", "PReLU": "prelu", "LeakyReLU": "leaky_relu", "GELU": "gelu"}.get(
        word, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower()
    )


def _spaced(kind: str) -> str:
    """`GlorotUniform` as `Glorot uniform`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.removesuffix("Initializer")).split(" ")
    keep = ("Glorot", "He", "Lecun")
    return " ".join([words[0] if words[0] in keep else words[0].lower(), *(w.lower() for w in words[1:])])
