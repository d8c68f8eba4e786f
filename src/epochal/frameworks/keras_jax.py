"""Keras on the JAX backend: gradients and outputs are computed beside a training step, from the same state and batch.

`fit` keeps the training's state outside of the model and writes it back at the end of each epoch; `prepare` has it
written back for a look. A step that is looked at is preceded by a second function, compiled from the same `train_step`
(which the user may have written), that computes what the step will hand to the optimizer and what the layers put out,
and changes nothing. The step itself is that of an unwatched training, to the last bit.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Any

import jax

from epochal.frameworks.keras_names import calls_seen
from epochal.frameworks.keras_outputs import Kept, activation, first_tensor, keep, unit_axis
from epochal.frameworks.keras_steps import Listened, Steps, batch_of, described, optimizers_of, said
from epochal.frameworks.keras_values import bind, copy
from epochal.record.probe import Activation

__all__ = ["JaxBackend"]

_LOOP = (
    "in a training loop of your own on the jax backend gradients and activations cannot be seen, and parameters only "
    "where the loop assigns them to the model: train with model.fit(), or hand them over with run.log_parameters()"
)


class JaxBackend:
    """See keras_steps.Backend."""

    def __init__(self, *, gradients: bool) -> None:
        self.hook_seconds = 0.0
        self.trouble = ""
        self.late = None
        self.steps = Steps(self._catch)
        self.inputs: Any = None
        self._gradients = gradients
        self._layers: Listened = ()
        self._model: weakref.ref[Any] = weakref.ref(self)
        self._beside: Callable[..., Any] | None = None
        self._beside_of: Callable[..., Any] | None = None
        self._deaf = self._blind = False
        self._looks_outside = 0
        self._slopes: dict[int, Any] = {}
        self._slopes_at = -1
        self._kept: dict[str, Kept] = {}

    def bind(self, places: Sequence[Any], facts: Sequence[Any]) -> Any:
        """Arrays over the given memory."""
        return bind(places, facts)

    def prepare(self, model: Any) -> None:
        """Have `fit` write its state back to the model."""
        if getattr(model, "train_function", None) is None:
            self._looks_outside += 1
            if self._looks_outside == 2 and (self._gradients or self._layers):  # the first is of the untrained model
                self.trouble = _LOOP
        else:
            model.jax_state_sync()

    def stage(self, targets: Any, variables: Sequence[Any], slopes_into: Any, trained: Sequence[Any]) -> list[int]:
        """Copy the variables, and the gradients of the step that was just made, where it was looked at."""
        copy(targets, [variable._value for variable in variables])
        if slopes_into is None or self._slopes_at != self.steps.calls:
            return []
        there = [k for k, variable in enumerate(trained) if id(variable) in self._slopes]
        copy([slopes_into[k] for k in there], [self._slopes[id(trained[k])] for k in there])
        return there

    def arm(self, model: Any, layers: Listened) -> None:
        """Look at the next training step."""
        self._layers, self._model = layers, weakref.ref(model)
        if self.steps.install(model):
            self.steps.armed = not self._blind

    def _catch(self, plain: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        state, batches = args
        model = self._model()
        if model is None:
            return plain(*args)
        # Older versions of Keras hand over a list of batches, newer ones what gives them.
        given: Callable[[list[Any]], Any] = list if isinstance(batches, list | tuple) else iter
        several = list(islice(batches, int(model.steps_per_execution)))
        if len(several) > 1:  # of several steps in one call the last is looked at
            _, state = plain(state, given(several[:-1]))
        if not several:
            self.steps.armed = True
            return plain(state, given([]))
        data = several[-1]
        if self.inputs is None:
            self.inputs = described(batch_of(data))
        start, compiled = perf_counter(), self._compilations()
        failed: Exception | None = None
        try:
            if self._beside_of is not plain:
                self._beside, self._beside_of = self._compiled(model), plain
            if self._beside is not None:
                slopes, self._kept = jax.block_until_ready(self._beside(state, data))
                trained = model.trainable_variables
                self._slopes = {id(trained[int(k)]): value for k, value in slopes.items()}
                self._slopes_at = self.steps.calls
        except Exception as error:  # noqa: BLE001 - beside the user's step, which must not fail for us
            failed = error
        if self._compilations() == compiled:  # compiling is no part of what a look costs
            self.hook_seconds += perf_counter() - start
        result = plain(state, given([data]))
        if failed is not None:  # what is the user's own the step has raised, too
            self._cannot(failed)
        return result

    def _compilations(self) -> int:
        size = getattr(self._beside, "_cache_size", None)
        return int(size()) if callable(size) else 0

    def _cannot(self, error: Exception) -> None:
        """Try without activations first."""
        self._slopes, self._kept = {}, {}
        why = said(error)
        if self._layers and not self._deaf:
            self._deaf, self._beside_of = True, None
            self.trouble = f"activations cannot be recorded: {why}"
        else:
            self._blind = True
            self.trouble = f"gradients and activations cannot be recorded: {why}"

    def _compiled(self, model: Any) -> Callable[..., Any] | None:
        beside = partial(self._look, model.train_step)
        if model.run_eagerly or not model.jit_compile:
            return beside
        compiled: Callable[..., Any] = jax.jit(beside)
        return compiled

    def _look(self, step: Callable[..., Any], state: Any, data: Any) -> tuple[dict[str, Any], dict[str, Kept]]:
        """Gradients by the place of their variable in the model, and outputs by the name of their layer."""
        slopes: dict[str, Any] = {}
        model = self._model()
        if model is None:
            return {}, {}
        if self._gradients:
            with self._optimizers_heard(model, slopes):
                step(state, data)
        kept: dict[str, Kept] = {}
        if self._layers and not self._deaf:
            found: dict[str, list[tuple[Any, int | None]]] = {}
            training = {"training": True} if getattr(model, "_call_has_training_arg", True) else {}
            with self._listening(found):
                model.stateless_call(state[0], state[1], batch_of(data), **training)
            for name, calls in found.items():
                sizes, one = keep(calls)
                # A compiled function hands out arrays; what is known when it is compiled goes with their names.
                kept[f"{','.join(map(str, sizes))} {name}"] = one
        return slopes, kept

    def _listening(self, found: dict[str, list[tuple[Any, int | None]]]) -> Any:
        names = {id(layer): name for name, layer in self._layers}
        here = _trace()
        before: tuple[tuple[int, ...], int] | None = None

        def note(layer: Any, args: Any, kwargs: Any, result: Any) -> None:
            nonlocal before
            tensor = first_tensor(result)
            # What is computed inside a loop or a checkpoint cannot be taken out of it.
            if not isinstance(tensor, jax.Array) or _trace() != here:
                return
            shape = tuple(tensor.shape)
            axis = unit_axis(layer, shape, before)
            before = None if axis is None else (shape, axis)
            found.setdefault(names[id(layer)], []).append((tensor, axis))

        return calls_seen([layer for _, layer in self._layers], note)

    @contextmanager
    def _optimizers_heard(self, model: Any, slopes: dict[str, Any]) -> Iterator[None]:
        place = {id(variable): k for k, variable in enumerate(model.trainable_variables)}
        optimizers = optimizers_of(model)

        def heard(optimizer: Any, apply: Callable[..., Any], state: Any, grads: Any, values: Any) -> Any:
            scale = _scale(optimizer, state)
            # A partly frozen model's own list is that of the optimizer.
            variables = optimizer._trainable_variables or model.trainable_variables
            for gradient, variable in zip(grads, variables, strict=False):
                if gradient is not None and id(variable) in place:
                    slopes[str(place[id(variable)])] = gradient if scale is None else gradient / scale
            return apply(state, grads, values)

        for optimizer in optimizers:
            optimizer.__dict__["stateless_apply"] = partial(heard, optimizer, optimizer.stateless_apply)
        try:
            yield
        finally:
            for optimizer in optimizers:
                optimizer.__dict__.pop("stateless_apply", None)

    def activations(self) -> Callable[[], Sequence[Activation]]:
        """What the layers put out in the last step that was looked at."""
        kept, self._kept = self._kept, {}
        order = {name: k for k, (name, _) in enumerate(self._layers)}
        return partial(_read, kept, order)

    def prefer_hooks(self) -> None:
        """Nothing to do: gradients are caught on their way to the optimizer."""

    def close(self) -> None:
        """Leave no trace in the model."""
        self.steps.remove()
        self._beside = self._beside_of = None
        self._slopes, self._kept = {}, {}


def _read(kept: dict[str, Kept], order: dict[str, int]) -> list[Activation]:
    found = []
    for key, one in kept.items():
        sizes, _, name = key.partition(" ")
        found.append(activation(name, tuple(int(n) for n in sizes.split(",")), one))
    return sorted(found, key=lambda a: order.get(a.layer, 0))


def _trace() -> Any:
    """Which function is being traced, always the same where this version of JAX does not tell."""
    try:
        from jax.extend.core import get_opaque_trace_state
    except ImportError:
        return None
    return get_opaque_trace_state()


def _scale(optimizer: Any, state: Sequence[Any]) -> Any:
    """By how much the loss was scaled in this step, None where it was not."""
    scale = getattr(optimizer, "dynamic_scale", None)
    if scale is None:
        return getattr(optimizer, "loss_scale_factor", None)
    places = [k for k, variable in enumerate(optimizer.variables) if variable is scale]
    return state[places[0]] if places else None
