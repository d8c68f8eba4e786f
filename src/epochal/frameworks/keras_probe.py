"""How a Keras model is watched, on whichever backend Keras runs."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy.typing as npt

from epochal.errors import NetworkError
from epochal.frameworks.keras_answers import ask_network, stated_outputs
from epochal.frameworks.keras_graph import build_graph, needs_inputs
from epochal.frameworks.keras_names import named_weights
from epochal.frameworks.keras_steps import Backend, described, listened_layers
from epochal.frameworks.keras_values import CODES
from epochal.record.examined import Outputs
from epochal.record.probe import Activation, Bytes, Late, RecordedNetwork, TensorFact

__all__ = ["KerasProbe", "probe"]


def probe(model: object, *, activations: bool = True, gradients: bool = True) -> KerasProbe | None:
    """Return a probe when `model` is a Keras model (or layer), or one already."""
    if isinstance(model, KerasProbe):
        return model
    if not isinstance(model, keras.layers.Layer):
        return None
    return KerasProbe(model, activations=activations, gradients=gradients)


class KerasProbe:
    """One watched Keras model. Holds it weakly: a model that the user lets go of is freed."""

    framework = "keras"

    def __init__(self, model: Any, *, activations: bool, gradients: bool) -> None:
        self.backend = _backend(gradients=gradients)
        self._model = weakref.ref(model)
        self._want_activations = activations
        self.left_out: list[str] = []
        self._variables: list[Any] = []
        self._all: list[int] = []
        self._trained: list[Any] = []
        self._like: list[tuple[Any, str, bool]] = []
        self._layers: list[tuple[str, Any]] | None = None
        self._told: set[str] = set()

    @property
    def hook_seconds(self) -> float:
        """Time spent beside the training's steps since it was last set to 0."""
        return self.backend.hook_seconds

    @hook_seconds.setter
    def hook_seconds(self, seconds: float) -> None:
        self.backend.hook_seconds = seconds

    @property
    def gone(self) -> bool:
        """Whether the user let go of the model."""
        return self._model() is None

    @property
    def readable(self) -> bool:
        """Whether the variables have values now; a step that failed may have taken them."""
        model = self._root()
        self.backend.prepare(model)
        values = [variable._value for variable in model.weights]
        return not any(value is None or getattr(value, "is_deleted", bool)() for value in values)

    def troubles(self) -> Sequence[str]:
        """What the user should be told of, once each, since the last call."""
        message, self.backend.trouble = self.backend.trouble, ""
        if not message or message in self._told:
            return ()
        self._told.add(message)
        return (message,)

    def parameters(self) -> Sequence[TensorFact]:
        """The model's weights in the order of `get_weights`."""
        model = self._root()
        weights = named_weights(model)
        self.left_out, self._variables, self._layers = [], [], None
        self._all = [id(v) for v in model.weights]
        facts = []
        for name, weight in weights.items():
            variable = weight.variable
            dtype = keras.backend.standardize_dtype(variable.dtype)
            if dtype not in CODES or (variable._value is None and not _kept_elsewhere(model)):
                self.left_out.append(f"{name} ({dtype})")
                continue
            self._variables.append(variable)
            facts.append(
                TensorFact(
                    name=name,
                    shape=tuple(int(s) for s in variable.shape),
                    code=CODES[dtype],
                    itemsize=_ITEMSIZES[CODES[dtype]],
                    trainable=bool(variable.trainable) and "float" in dtype,
                )
            )
        self._trained = [v for v, fact in zip(self._variables, facts, strict=True) if fact.trainable]
        self._like = [_kind(v) for v in self._variables]
        return facts

    def _root(self) -> Any:
        model = self._model()
        if model is None:
            raise NetworkError(
                "the watched model is no longer there", hint="call run.unwatch() before letting go of it"
            )
        return model

    def bind(self, places: Sequence[Bytes], facts: Sequence[TensorFact]) -> object:
        """What `stage` copies into."""
        return self.backend.bind(places, facts)

    def stage(self, into: object, gradients_into: object = None) -> Sequence[int] | None:
        """Copy all weights, and the gradients of the step that was just made; None when the model has others."""
        model = self._root()
        if [id(v) for v in model.weights] != self._all or [_kind(v) for v in self._variables] != self._like:
            return None
        self.backend.prepare(model)
        return self.backend.stage(into, self._variables, gradients_into, self._trained)

    def late(self) -> Late | None:
        """What the last call of `stage` left to the writer's thread."""
        late: Late | None = self.backend.late
        self.backend.late = None
        return late

    def prefer_hooks(self) -> None:
        """Catch gradients when they are made from now on."""
        self.backend.prefer_hooks()

    def arm(self) -> None:
        """See inside the next training step."""
        model = self._root()
        if self._layers is None:
            self._layers = listened_layers(model) if self._want_activations else []
        self.backend.arm(model, self._layers)

    def activations(self) -> Callable[[], Sequence[Activation]]:
        """What the layers put out in the last training step that was seen inside; read when called."""
        return self.backend.activations()

    def network(self, inputs: object) -> RecordedNetwork:
        """Draw the model, and keep what Keras can build it again from."""
        model = self._root()
        self.backend.prepare(model)
        graph = build_graph(model, None if inputs is None else described(inputs))
        return RecordedNetwork(graph=graph, files=_config_file(model))

    @property
    def outputs(self) -> Outputs | None:
        """What the network's own last layer says of its outputs; None where it does not."""
        return stated_outputs(self._root())

    def answers(self, inputs: object, rows: int) -> tuple[npt.NDArray[Any], float] | None:
        """What the network says of examples, and what that cost in seconds; None while it cannot be asked."""
        model = self._root()
        self.backend.prepare(model)
        return ask_network(model, inputs, rows)

    def await_inputs(self) -> None:
        """Nothing to do: a subclassed model's batch is noted when it comes."""

    def caught_inputs(self) -> object:
        """What a batch looks like; any answer where the model's graph is known without one, None while it is not."""
        model = self._root()
        if not needs_inputs(model):
            return ()
        return self.backend.inputs

    def close(self) -> None:
        """Leave no trace in the model."""
        self.backend.close()
        self._variables, self._trained, self._all, self._layers = [], [], [], None


_ITEMSIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2,
              "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1, "C64": 8}  # fmt: skip


def _kind(variable: Any) -> tuple[Any, str, bool]:
    return variable.shape, variable.dtype, variable.trainable


def _kept_elsewhere(model: Any) -> bool:
    """Whether `fit` keeps the variables' values outside of them (on the JAX backend)."""
    return getattr(model, "_jax_state", None) is not None or not getattr(model, "_jax_state_synced", True)


def _config_file(model: Any) -> dict[str, bytes]:
    """`keras.json`, which `keras.models.model_from_json` builds the model from; none where Keras cannot write it."""
    try:
        text = model.to_json()
        json.loads(text)
    except Exception:  # noqa: BLE001 - Keras raises many things for models that cannot be described
        return {}
    return {"keras.json": text.encode()}


def _backend(*, gradients: bool) -> Backend:
    name = keras.backend.backend()
    if name == "torch":
        from epochal.frameworks.keras_torch import TorchBackend

        return TorchBackend()
    if name == "tensorflow":
        from epochal.frameworks.keras_tensorflow import TensorFlowBackend

        return TensorFlowBackend(gradients=gradients)
    if name == "jax":
        from epochal.frameworks.keras_jax import JaxBackend

        return JaxBackend(gradients=gradients)
    raise NetworkError(
        f"Keras runs on the {name} backend, which trains no networks", hint="use torch, tensorflow or jax"
    )
