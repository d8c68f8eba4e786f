"""The watched models of a run, seen as one: as if they sat in one dictionary of modules, `generator.0.weight`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from epochal.errors import UsageError
from epochal.record.probe import Activation, Bytes, Late, Probe, TensorFact

Choose = Callable[[str], bool]


@dataclass(slots=True, eq=False)
class Model:
    """One watched model. `name` is "" for one that has none: its tensors keep their own names.

    `parameters`, `gradients`, `activations` and `chosen` say what statistics are made of; `identity` is the
    `id` of the user's object.
    """

    name: str
    probe: Probe
    parameters: bool = True
    gradients: bool = True
    chosen: Choose = lambda _: True
    identity: int = 0
    activations: bool = True
    awaits_inputs: bool = False
    first: int = 0
    """Where its gradients begin among those of all models."""
    slopes: frozenset[str] = field(default_factory=frozenset)
    """The names of its gradients' series."""

    @property
    def prefix(self) -> str:
        """What its names begin with."""
        return f"{self.name}." if self.name else ""

    @property
    def title(self) -> str:
        """What it is called in a sentence."""
        return f"the watched model {self.name!r}" if self.name else "the watched model"

    def file(self, name: str) -> str:
        """Where a file of its network lies below the writer's folder."""
        return f"network/{self.name}/{name}" if self.name else f"network/{name}"


class Models:
    """Does to all models what a probe does to one. Belongs to the threads that a probe belongs to."""

    def __init__(self) -> None:
        self.every: list[Model] = []
        self.facts: list[TensorFact] = []
        """The tensors of all models as of the last `gather`."""
        self.slopes: list[TensorFact] = []
        """Those of them whose gradients are recorded."""
        self.framework = ""
        """The frameworks that the models are of."""
        self._alone = False
        self._own: dict[str, tuple[int, TensorFact]] = {}

    def gather(self) -> None:
        """Learn anew which tensors there are; raises UsageError where two models have some of the same name."""
        self._alone = len(self.every) == 1 and not self.every[0].name
        facts: list[TensorFact] = []
        slopes: list[TensorFact] = []
        self._own = {}
        for place, model in enumerate(self.every):
            model.first = len(slopes)
            for own in model.probe.parameters():
                fact = _named(own, model.prefix)
                if fact.name in self._own:
                    raise UsageError(
                        f"two watched models have a tensor {fact.name!r}",
                        hint="give each model a name of its own: run.watch(model, name='...')",
                    )
                self._own[fact.name] = place, own
                facts.append(fact)
                if fact.trainable and model.gradients:
                    slopes.append(fact)
            model.slopes = frozenset(f"grad/{fact.name}" for fact in slopes[model.first :])
        self.facts, self.slopes = facts, slopes
        self.framework = ", ".join(dict.fromkeys(model.probe.framework for model in self.every))

    @property
    def measured(self) -> bool:
        """Whether statistics are made of anything."""
        return any(model.parameters or model.gradients or model.activations for model in self.every)

    @property
    def size(self) -> int:
        """How many numbers training changes; all floating ones where it cannot be told which those are."""
        trained = sum(fact.size for fact in self.facts if fact.trainable)
        return trained or sum(fact.size for fact in self.facts if fact.code[0] in "FB" and fact.code != "BOOL")

    @property
    def left_out(self) -> list[str]:
        """Tensors that cannot be stored, with their types."""
        return [model.prefix + text for model in self.every for text in model.probe.left_out]

    def troubles(self) -> list[str]:
        """What probes could not do, to be told once."""
        return [text for model in self.every for text in getattr(model.probe, "troubles", tuple)()]

    @property
    def gone(self) -> list[Model]:
        """Models that the user let go of."""
        return [model for model in self.every if model.probe.gone]

    def take_hook_seconds(self) -> float:
        """Time spent inside hooks since this was asked last."""
        spent = 0.0
        for model in self.every:
            spent += model.probe.hook_seconds
            model.probe.hook_seconds = 0.0
        return spent

    def wanted(self, name: str) -> bool:
        """Whether statistics are made of a parameter."""
        model = self.every[self._own[name][0]]
        return model.parameters and self.wanted_slope(name)

    def wanted_slope(self, name: str) -> bool:
        """Whether statistics are made of a parameter's gradient."""
        place, own = self._own[name]
        chosen = self.every[place].chosen
        return chosen(own.name) or chosen(name)

    def bind(self, places: Sequence[Bytes], facts: Sequence[TensorFact]) -> object:
        """Make of one byte array for each tensor what `stage` copies into."""
        if self._alone:
            return self.every[0].probe.bind(places, facts)
        parts: list[tuple[list[Bytes], list[TensorFact]]] = [([], []) for _ in self.every]
        for place, fact in zip(places, facts, strict=True):
            at, own = self._own[fact.name]
            parts[at][0].append(place)
            parts[at][1].append(own)
        return [model.probe.bind(*part) for model, part in zip(self.every, parts, strict=True)]

    def stage(self, into: Any, slopes_into: Any) -> Sequence[int] | None:
        """Copy all tensors and, where asked, the gradients that there are; see Probe.stage."""
        if self._alone:
            model = self.every[0]
            return model.probe.stage(into, slopes_into if model.gradients else None)
        there: list[int] = []
        for place, model in enumerate(self.every):
            slopes = slopes_into[place] if slopes_into is not None and model.gradients else None
            found = model.probe.stage(into[place], slopes)
            if found is None:
                return None
            there += [model.first + k for k in found]
        return there

    def late(self) -> Late | None:
        """What the last call of `stage` left to the writer's thread."""
        left = [(place, late) for place, model in enumerate(self.every) if (late := _late(model.probe)) is not None]
        if not left:
            return None
        if self._alone:
            return left[0][1]

        def copy(into: Any, slopes_into: Any) -> None:
            for place, late in left:
                late(into[place], slopes_into[place])

        return copy

    def arm(self) -> None:
        """Catch what layers put out in the next training forward pass of each model."""
        for model in self.every:
            model.probe.arm()

    def rest(self) -> None:
        """No look is near, until `arm`."""
        for model in self.every:
            getattr(model.probe, "rest", tuple)()

    def activations(self) -> Callable[[], Sequence[Activation]]:
        """What was caught since `arm`."""
        if self._alone:
            return self.every[0].probe.activations()
        caught = [(model.prefix, model.probe.activations()) for model in self.every]
        return lambda: [replace(a, layer=prefix + a.layer) for prefix, read in caught for a in read()]

    def note_zeros(self, norms: dict[str, list[float]]) -> None:
        """Where every gradient of a model is zero at log time, training zeroes them in place before it logs."""
        for model in self.every:
            found = [norm for series in model.slopes & norms.keys() for norm in norms[series]]
            if found and not any(found):
                model.probe.prefer_hooks()

    def close(self) -> None:
        """Let go of all models."""
        for model in self.every:
            model.probe.close()


def _named(fact: TensorFact, prefix: str) -> TensorFact:
    if not prefix:
        return fact
    return replace(fact, name=prefix + fact.name, aliases=tuple(prefix + alias for alias in fact.aliases))


def _late(probe: Probe) -> Late | None:
    ask = getattr(probe, "late", None)
    return None if ask is None else ask()
