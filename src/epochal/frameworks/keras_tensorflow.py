"""Keras on the TensorFlow backend: gradients and outputs are handed out of the training step itself.

`fit` runs a compiled step, whose gradients do not come out of it. For a step that is looked at, a second function is
compiled from the same `train_step` (which the user may have written), and that hands them out beside the metrics. It
runs in the place of the other: the training goes on from what it computed. All other steps run as if nobody watched.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import tensorflow as tf

from epochal.frameworks.keras_names import calls_seen
from epochal.frameworks.keras_outputs import activation, first_tensor, is_small, keep, small_activation, unit_axis
from epochal.frameworks.keras_steps import Listened, RootCall, Steps, batch_of, described, optimizers_of, said, timed
from epochal.frameworks.keras_values import bind, copy
from epochal.record.probe import Activation

__all__ = ["TensorFlowBackend"]

_SEEN = "epochal"
_LOOP = (
    "gradients and activations of a training loop that is compiled with tf.function are not recorded: "
    "train with model.fit(), or leave the loop uncompiled"
)
_Outputs = dict[str, list[tuple[Any, int | None]]]


class TensorFlowBackend:
    """See keras_steps.Backend."""

    def __init__(self, *, gradients: bool) -> None:
        self.hook_seconds = 0.0
        self.trouble = ""
        self.late = None
        self.inputs: Any = None
        self.steps = Steps(self._catch)
        self._gradients = gradients
        self._root = RootCall(self._hear)
        self._layers: Listened = ()
        self._model: weakref.ref[Any] = weakref.ref(self)
        self._seeing: Callable[..., Any] | None = None
        self._seeing_of: Callable[..., Any] | None = None
        self._blind = self._works = self._eager = False
        self._axes: dict[str, list[int | None]] = {}
        self._slopes: dict[int, Any] = {}
        self._slopes_at: object = None
        self._kept: list[Callable[[], Activation]] = []
        self._heard_optimizers: list[Any] = []

    def bind(self, places: Sequence[Any], facts: Sequence[Any]) -> Any:
        """Arrays over the given memory."""
        return bind(places, facts)

    def prepare(self, model: Any) -> None:
        """Nothing to do: the variables are what training changes."""

    def stage(self, targets: Any, variables: Sequence[Any], slopes_into: Any, trained: Sequence[Any]) -> list[int]:
        """Copy the variables, and the gradients of the step that was just made, where it was seen inside."""
        copy(targets, [variable._value.numpy() for variable in variables])
        if slopes_into is None or not self._slopes or self._slopes_at != self._now():
            return []
        there = [k for k, variable in enumerate(trained) if id(variable) in self._slopes]
        copy([slopes_into[k] for k in there], [self._slopes[id(trained[k])].numpy() for k in there])
        return there

    def _now(self) -> object:
        """Which step was made last: as `fit` counts, or as the optimizers do."""
        model = self._model()
        if model is None or self.steps.plain is not None:
            return self.steps.calls
        return [int(optimizer._iterations.numpy()) for optimizer in optimizers_of(model)]

    def arm(self, model: Any, layers: Listened) -> None:
        """See inside the next training step."""
        self._layers, self._model = layers, weakref.ref(model)
        if self.steps.install(model):
            self._leave_loop()
            self.steps.armed = not self._blind or self.inputs is None
            return
        self._leave_loop()
        self._root.arm(model)
        for optimizer in optimizers_of(model) if self._gradients else ():
            self._heard_optimizers.append(optimizer)
            optimizer.__dict__["apply"] = partial(self._apply_in_loop, optimizer, optimizer.apply)

    def _catch(self, plain: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if self.inputs is None and (spec := getattr(args[0], "element_spec", None)) is not None:
            self.inputs = described(batch_of(spec))
        if self._seeing_of is not plain and not self._blind:
            self._seeing, self._seeing_of = self._compiled(), plain
        if self._seeing is None or self._blind:
            return plain(*args)
        try:
            with self._step_seen():
                result = self._seeing(*args)
        except (tf.errors.OpError, StopIteration):
            raise  # the step's own
        except Exception as error:
            if self._works or self._eager:
                raise
            # While the step is compiled nothing has run yet. What is the user's own, the other function raises too.
            result = plain(*args)
            self._cannot(said(error))
            return result
        self._works = True
        logs = dict(result)
        seen = logs.pop(_SEEN, None)
        if seen is None:
            self._cannot("this version of Keras hands out nothing but metrics")
            return logs
        with timed(self):
            self._slopes = {int(key): value for key, value in seen["gradients"].items()}
            self._slopes_at = self._now()
            self._keep(
                {name: list(zip(calls, self._axes[name], strict=True)) for name, calls in seen["outputs"].items()}
            )
        return logs

    def _compiled(self) -> Callable[..., Any] | None:
        """A train function like the model's own, whose metrics come with what happened inside."""
        model = self._model()
        if model is None:
            return None
        if model.distribute_strategy.num_replicas_in_sync > 1:
            self._cannot("the model is spread over several devices")
            return None
        self._works, self._eager = False, bool(model.run_eagerly)
        try:
            with self._step_seen():
                model.make_train_function(force=True)
            made: Callable[..., Any] = model.train_function
        except Exception as error:  # noqa: BLE001 - Keras' own part, which may change
            self._cannot(said(error))
            return None
        finally:
            model.train_function = self.steps
        return made

    @contextmanager
    def _step_seen(self) -> Iterator[None]:
        """Inside, the model's train step hands out what happens in it: some versions of Keras look for it late."""
        model: Any = self._model()
        model.__dict__["train_step"] = partial(self._step, model.train_step)
        try:
            yield
        finally:
            del model.__dict__["train_step"]

    def _cannot(self, why: str) -> None:
        self._blind = True
        self.trouble = f"gradients and activations cannot be recorded: {why}"

    def _step(self, step: Callable[[Any], Any], data: Any) -> dict[str, Any]:
        """The user's train step, seen inside. Runs when it is compiled; in eager mode, each time."""
        found: _Outputs = {}
        slopes: dict[str, Any] = {}
        with self._listening(found), self._optimizers_heard(slopes):
            logs = step(data)
        self._axes = {name: [axis for _, axis in calls] for name, calls in found.items()}
        outputs = {name: [tensor for tensor, _ in calls] for name, calls in found.items()}
        return {**logs, _SEEN: {"gradients": slopes, "outputs": outputs}}

    def _listening(self, found: _Outputs) -> Any:
        names = {id(layer): name for name, layer in self._layers}
        here = _graph()
        before: tuple[tuple[Any, ...], int] | None = None

        def note(layer: Any, args: Any, kwargs: Any, result: Any) -> None:
            nonlocal before
            try:
                tensor = first_tensor(result)
                # What is computed inside a loop of the graph cannot be taken out of it.
                if not isinstance(tensor, tf.Tensor) or tensor.dtype == tf.string or _graph() is not here:
                    return
                shape = tuple(tensor.shape)
                axis = unit_axis(layer, shape, before)
                before = None if axis is None else (shape, axis)
                found.setdefault(names[id(layer)], []).append((tensor, axis))
            except Exception as error:  # noqa: BLE001 - inside the user's step, which must not fail for us
                self.trouble = f"an output of {names[id(layer)]} is left out: {said(error)}"

        return calls_seen([layer for _, layer in self._layers], note)

    @contextmanager
    def _optimizers_heard(self, slopes: dict[str, Any]) -> Iterator[None]:
        model = self._model()
        optimizers = optimizers_of(model) if model is not None and self._gradients else []
        here = _graph()

        def heard(optimizer: Any, apply: Callable[..., Any], grads: Any, trainable_variables: Any = None) -> Any:
            grads = list(grads)
            try:
                if _graph() is here:
                    slopes.update(_unscaled(optimizer, grads, trainable_variables))
            except Exception as error:  # noqa: BLE001 - inside the user's step, which must not fail for us
                self.trouble = f"gradients cannot be recorded: {said(error)}"
            return apply(grads, trainable_variables)

        for optimizer in optimizers:
            optimizer.__dict__["apply"] = partial(heard, optimizer, optimizer.apply)
        try:
            yield
        finally:
            for optimizer in optimizers:
                optimizer.__dict__.pop("apply", None)

    def _hear(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One call of the model in a loop of the user's own."""
        if not tf.executing_eagerly():
            self._note_compiled_loop()
            return call(*args, **kwargs)
        if self.inputs is None:
            self.inputs = described(args[0] if len(args) == 1 else args)
        found: _Outputs = {}
        with self._listening(found):
            result = call(*args, **kwargs)
        with timed(self):
            self._keep(found)
        return result

    def _apply_in_loop(
        self, optimizer: Any, apply: Callable[..., Any], grads: Any, trainable_variables: Any = None
    ) -> Any:
        grads = list(grads)
        optimizer.__dict__.pop("apply", None)
        if not tf.executing_eagerly():
            self._note_compiled_loop()
            return apply(grads, trainable_variables)
        with timed(self):
            self._slopes = {int(k): v for k, v in _unscaled(optimizer, grads, trainable_variables).items()}
        result = apply(grads, trainable_variables)
        self._slopes_at = self._now()
        return result

    def _note_compiled_loop(self) -> None:
        """What `fit` compiles is seen from its next step on that is looked at."""
        if getattr(self._model(), "train_function", None) is None:
            self.trouble = _LOOP

    def _leave_loop(self) -> None:
        self._root.disarm()
        for optimizer in self._heard_optimizers:
            optimizer.__dict__.pop("apply", None)
        self._heard_optimizers = []

    def _keep(self, found: _Outputs) -> None:
        try:
            self._kept = [_kept(name, calls) for name, calls in found.items()]
        except Exception as error:  # noqa: BLE001 - inside the user's step, which must not fail for us
            self._kept = []
            self.trouble = f"outputs of the layers could not be read: {said(error)}"

    def activations(self) -> Callable[[], Sequence[Activation]]:
        """What the layers put out in the last step that was seen inside."""
        kept, self._kept = self._kept, []
        return lambda: [read() for read in kept]

    def prefer_hooks(self) -> None:
        """Nothing to do: gradients are caught on their way to the optimizer."""

    def close(self) -> None:
        """Leave no trace in the model."""
        self.steps.remove()
        self._leave_loop()
        self._seeing = self._seeing_of = None
        self._slopes, self._kept = {}, []


def _kept(name: str, calls: list[tuple[Any, int | None]]) -> Callable[[], Activation]:
    """What makes facts of a layer's outputs, on the writer's thread: it gets small ones as they are."""
    if is_small(calls):
        return lambda: small_activation(name, [(tensor.numpy(), axis) for tensor, axis in calls])
    return partial(activation, name, *keep(calls))


def _graph() -> Any:
    """The graph that is built here, None where values are computed at once."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _unscaled(optimizer: Any, grads: Sequence[Any], variables: Any) -> dict[str, Any]:
    """The gradients that an optimizer is given, without a loss' scale, by the identity of their Keras variables."""
    own = optimizer._trainable_variables if getattr(optimizer, "_trainable_variables", None) else []
    given = list(own if variables is None else variables)
    known = {id(v._value): v for v in (*own, *given) if hasattr(v, "_value")}
    scale: Any = getattr(optimizer, "dynamic_scale", None)
    factor = scale._value if scale is not None else getattr(optimizer, "loss_scale_factor", None)
    if scale is None and hasattr(optimizer, "initial_scale"):  # not built yet: the loss was scaled with this
        factor = optimizer.initial_scale
    found = {}
    for gradient, variable in zip(grads, given, strict=False):
        if gradient is not None:
            dense = tf.convert_to_tensor(gradient)
            owner = known.get(id(variable), variable)
            found[str(id(owner))] = dense if factor is None else dense / tf.cast(factor, dense.dtype)
    return found
