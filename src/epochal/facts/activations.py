"""Names of activations, in the words that networks of all frameworks are described with."""

from __future__ import annotations

__all__ = ["ACTIVATIONS", "activation_word"]

ACTIVATIONS: dict[str, str] = {
    "relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "LeakyReLU", "prelu": "PReLU", "elu": "ELU", "celu": "CELU",
    "selu": "SELU", "gelu": "GELU", "silu": "SiLU", "swish": "SiLU", "mish": "Mish", "sigmoid": "Sigmoid",
    "log_sigmoid": "LogSigmoid", "hard_sigmoid": "Hardsigmoid", "hard_silu": "Hardswish", "hard_tanh": "Hardtanh",
    "tanh": "Tanh", "softplus": "Softplus", "softsign": "Softsign", "softmax": "Softmax", "log_softmax": "LogSoftmax",
    "glu": "GLU", "hard_shrink": "Hardshrink", "soft_shrink": "Softshrink", "tanh_shrink": "Tanhshrink",
    "threshold": "Threshold", "exponential": "Exponential",
}  # fmt: skip
"""By the names that functions have (`leaky_relu`)."""

_BY_LETTERS = {name.replace("_", ""): word for name, word in ACTIVATIONS.items()}


def activation_word(name: str) -> str | None:
    """The word for what calls itself so in any way (`LeakyRelu`, `leaky_relu_`); None where it is no activation."""
    return _BY_LETTERS.get(name.lower().replace("_", ""))
