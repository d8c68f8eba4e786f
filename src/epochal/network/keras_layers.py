"""What a layer of Keras holds and takes, from its settings and the shape of its input."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from epochal.facts import Parameter, Shape
from epochal.facts.activations import ACTIVATIONS, activation_word

__all__ = ["MERGING", "SILENT", "Facts", "described", "made_of"]

MERGING = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot")
SILENT = ("Cast", "GetItem", "Identity", "StopGradient")
"""Functions that hand their input on as it is, or a part of it."""
_PRODUCTS = ("Dot", "Matmul", "Einsum", "Tensordot")
# They hold nothing and multiply no matrices.
_PLAIN = re.compile(
    r"(?!Spectral|RandomFourier).*(Pooling\w*|Dropout\w*|Padding\w*|Cropping\w*|UpSampling\w*|Noise|Random\w+)"
    r"|Flatten|Reshape|Permute|RepeatVector|Activation|Identity|Masking|Rescaling|Resizing|CenterCrop"
)
_GATES = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}
_DULL = re.compile(
    r"name|trainable|dtype|batch_\w*shape|activation|seed|sparse|ragged|synchronized|.*_(initializer|regularizer|constraint)"
)
_WORDS = {"Zeros": "zeros", "Ones": "ones", "Orthogonal": "orthogonal"}


@dataclass(slots=True)
class Facts:
    """What is known of a layer; `unknown` where it may hold variables that are not told."""

    parameters: tuple[Parameter, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    activation: str | None = None
    multiply_adds: int | None = 0
    unknown: bool = False


def described(
    kind: str, config: Mapping[str, Any], inputs: Sequence[Shape], made: Shape | None, path: str, *, function: bool
) -> Facts:
    """The facts of a layer of this kind, or of a function of `keras.ops`; `made` is the shape of what it puts out."""
    facts = Facts(settings={} if function else _settings(config), activation=_activation(kind, config))
    held = _held(kind, config, inputs[0]) if inputs and not function else None
    if held is None:
        free = activation_word(kind) is not None and kind != "PReLU"
        facts.unknown = not (function or free or kind in MERGING or _PLAIN.fullmatch(kind))
        facts.multiply_adds = None if facts.unknown or kind in _PRODUCTS else 0
        return facts
    facts.parameters = tuple(_parameter(kind, config, path, name, shape) for name, shape in held.items())
    facts.multiply_adds = _work(kind, config, held, inputs[0], made)
    return facts


def made_of(kind: str, config: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape | None:
    """The shape of what a layer puts out that nothing in the file says, where it is plain."""
    ends = {"Dense": config.get("units"), "Embedding": config.get("output_dim")}
    if inputs and isinstance(end := ends.get(kind), int):
        return (*inputs[0], end) if kind == "Embedding" else (*inputs[0][:-1], end)
    if inputs and (activation_word(kind) or re.fullmatch(r".*(Dropout|Normalization)|Activation", kind)):
        return inputs[0]
    if inputs and kind == "Flatten" and -1 not in inputs[0][1:]:
        return (inputs[0][0], math.prod(inputs[0][1:]))
    return None


def _held(kind: str, config: Mapping[str, Any], given: Shape) -> dict[str, Shape] | None:
    """The shapes of its variables by name, in Keras' order; None where they are not known."""
    biased = config.get("use_bias", True)
    if kind == "Dense":
        units = _whole(config["units"])
        return {"kernel": (_closed(given[-1]), units)} | ({"bias": (units,)} if biased else {})
    if re.fullmatch(r"(Depthwise|Separable)?Conv[123]D(Transpose)?", kind):
        return _convolution(kind, config, given, biased=bool(biased))
    if kind in _GATES:
        units = _whole(config["units"])
        wide = _GATES[kind] * units
        bias = (2, wide) if kind == "GRU" and config.get("reset_after", True) else (wide,)
        cell = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower() + "_cell"
        held = {f"{cell}/kernel": (_closed(given[-1]), wide), f"{cell}/recurrent_kernel": (units, wide)}
        return held | ({f"{cell}/bias": bias} if biased else {})
    if kind == "Embedding":
        return {"embeddings": (_whole(config["input_dim"]), _whole(config["output_dim"]))}
    if kind in ("BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization"):
        return _norm(kind, config, given)
    return None


def _convolution(kind: str, config: Mapping[str, Any], given: Shape, *, biased: bool) -> dict[str, Shape]:
    channels = _closed(given[1 if config.get("data_format") == "channels_first" else -1])
    places = tuple(_whole(size) for size in config["kernel_size"])
    times = _whole(config.get("depth_multiplier", 1))
    if kind.startswith("Depthwise"):
        outputs, held = channels * times, {"kernel": (*places, channels, times)}
    elif kind.startswith("Separable"):
        outputs = _whole(config["filters"])
        ones = (1,) * len(places)
        held = {"depthwise_kernel": (*places, channels, times), "pointwise_kernel": (*ones, channels * times, outputs)}
    else:
        outputs = _whole(config["filters"])
        ends = (outputs, channels) if "Transpose" in kind else (channels // _whole(config.get("groups", 1)), outputs)
        held = {"kernel": (*places, *ends)}
    return held | ({"bias": (outputs,)} if biased else {})


def _norm(kind: str, config: Mapping[str, Any], given: Shape) -> dict[str, Shape]:
    axis = config.get("axis", -1)
    axes = axis if isinstance(axis, list) else [axis]
    shape = tuple(_closed(given[_integer(one)]) for one in axes)
    held = {name: shape for name, said in (("gamma", "scale"), ("beta", "center")) if config.get(said, True)}
    if kind == "BatchNormalization":
        held |= {"moving_mean": shape, "moving_variance": shape}
    return {} if kind == "UnitNormalization" else held


def _parameter(kind: str, config: Mapping[str, Any], path: str, name: str, shape: Shape) -> Parameter:
    leaf = name.rpartition("/")[2]
    role: Literal["weight", "bias", "buffer"] = "weight"
    role = "buffer" if leaf.startswith("moving_") else "bias" if leaf in ("bias", "beta") else role
    n = len(shape)
    turned = "Transpose" in kind or leaf == "depthwise_kernel" or kind.startswith("Depthwise")
    ends = (n - 2, n - 1) if turned else (n - 1, n - 2)
    dtype = config.get("dtype")
    policy = dtype.get("config", {}).get("name") if isinstance(dtype, Mapping) else dtype
    trainable = bool(config.get("trainable", True)) and role != "buffer"
    return Parameter(
        name=f"{path}/{name}",
        shape=shape,
        dtype=str(policy).removeprefix("mixed_") if policy in ("float16", "bfloat16", "float64") else "float32",
        role=role,
        trainable=trainable,
        initializer=_began(
            config.get(f"{leaf}_initializer", config.get(f"{leaf.removesuffix('_kernel')}_initializer"))
        ),
        layout=(*ends, *range(n - 2)) if role == "weight" and n > 1 and leaf != "embeddings" else (),
    )


def _began(said: Any) -> str | None:
    """How the first values were drawn, in words."""
    name = said.get("class_name") if isinstance(said, Mapping) else said
    if not isinstance(name, str):
        return None
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ")
    return _WORDS.get(name, words[:1].upper() + words[1:].lower())[:100]


def _work(
    kind: str, config: Mapping[str, Any], held: Mapping[str, Shape], given: Shape, made: Shape | None
) -> int | None:
    kernels = sum(math.prod(shape) for name, shape in held.items() if "kernel" in name)
    if kind in _GATES:
        return None if given[1] < 0 else given[1] * kernels
    if kind == "Dense":
        return None if -1 in given[1:] else math.prod(given[1:]) * held["kernel"][1]
    if "Transpose" in kind:
        return None if -1 in given[1:] else math.prod(given[1:]) * kernels // held["kernel"][-1]
    if "Conv" in kind:
        places = () if made is None else made[2:] if config.get("data_format") == "channels_first" else made[1:-1]
        return None if made is None or -1 in places else math.prod(places) * kernels
    return 0


def _activation(kind: str, config: Mapping[str, Any]) -> str | None:
    """The activation that a layer applies last, or that it is."""
    if (own := activation_word(kind)) is not None:
        return own
    said = config.get("activation")
    name = said.get("class_name") if isinstance(said, Mapping) else said
    return ACTIVATIONS.get(name, name[:100]) if isinstance(name, str) and name != "linear" else None


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in config.items():
        members = value if isinstance(value, list) else [value]
        plain = all(isinstance(v, bool | int | str) or (isinstance(v, float) and math.isfinite(v)) for v in members)
        if plain and len(members) <= 32 and _DULL.fullmatch(name) is None:
            found[name[:100]] = value[:1000] if isinstance(value, str) else value
    return found


def _whole(said: Any) -> int:
    """A size that a file says."""
    if not isinstance(said, int) or isinstance(said, bool) or not 0 < said < 1 << 40:
        raise ValueError(f"a size of {str(said)[:50]}")
    return said


def _integer(said: Any) -> int:
    if not isinstance(said, int):
        raise ValueError(f"an axis {str(said)[:50]}")
    return said


def _closed(size: int) -> int:
    return _whole(size)
