"""Keras 3 on the torch, TensorFlow and JAX backends: `Callback` records what `model.fit` does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from epochal.errors import MissingExtraError

if TYPE_CHECKING:
    from epochal.frameworks.keras_callback import Callback as Callback
    from epochal.frameworks.keras_probe import KerasProbe

__all__ = ["Callback", "probe"]


def probe(model: object, *, activations: bool = True, gradients: bool = True) -> KerasProbe | None:
    """Return a probe when `model` is a Keras 3 model."""
    keras: Any = sys.modules.get("keras")
    if not str(getattr(keras, "__version__", "")).startswith(("3.", "4.")):
        return None  # an older Keras, or one that is only half imported
    from epochal.frameworks.keras_probe import probe as find

    return find(model, activations=activations, gradients=gradients)


def __getattr__(name: str) -> Any:
    # Keras itself is imported with what needs it: `run.watch` asks this file about models of any kind.
    if name == "Callback":
        try:
            from epochal.frameworks.keras_callback import Callback
        except ModuleNotFoundError as error:
            if error.name != "keras":
                raise  # such as the backend that Keras was told to use
            raise MissingExtraError(
                "Keras is not installed.", hint='pip install "epochal[keras]" and one of torch, tensorflow, jax'
            ) from None
        return Callback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
