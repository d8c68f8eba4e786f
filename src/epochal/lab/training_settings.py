"""The parameters that belong to training and not to the network, and which of a trial's parameters goes where."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from epochal.errors import UsageError

__all__ = ["AUGMENTATIONS", "LOSSES", "OPTIMISERS", "SCHEDULES", "Settings", "divide"]

OPTIMISERS = {"adam": 0.001, "adamw": 0.001, "nadam": 0.002, "rmsprop": 0.001, "adagrad": 0.01, "sgd": 0.01}
"""Name -> the learning rate it has when none is given."""
SCHEDULES = ("constant", "step", "exponential", "cosine", "linear", "one_cycle")
AUGMENTATIONS = {"none": 0.0, "flip": 0.5, "shift": 1 / 8, "rotate": 15.0, "noise": 0.1, "erase": 0.25}
"""Name -> how much: the chance of a flip along each axis, the largest shift and the side of what is erased as shares of
the size, degrees about the centre, and the deviation of what is added."""
LOSSES = ("auto", "cross_entropy", "mse", "mae", "huber")

GIVEN = ("input_shape", "classes")
"""What the data say of themselves, for a factory that asks for it."""
_OTHER_WORDS = {
    "optimizer": "optimiser",
    "lr": "learning_rate",
    "initializer": "initialiser",
    "strides": "stride",
    "batchnorm": "batch_norm",
    "grad_clip": "clip",
    "regularization": "regularisation",
    "normalization": "normalisation",
}
"""Other spellings -> the one that is used, where that is a parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a network is trained.

    `learning_rate` None takes the optimiser's own (`OPTIMISERS`). `momentum` is that of sgd. `schedule` is how the
    learning rate goes on over the epochs: "constant", "step" (times `decay` each `decay_every` epochs),
    "exponential" (times `decay` each epoch), "cosine" or "linear" (to nothing at the end), "one_cycle" (up over the
    first third, and down to nothing); before it, it grows over `warmup` epochs. `clip` is the largest norm of all
    gradients. `augmentation` is what is done to each training example, at random: one of `AUGMENTATIONS`, or
    several, with how much of it after a colon: "rotate:30" turns by up to 30 degrees; `augmentation_chance` is the
    share of the examples that it is done to. `early_stop` ends the training after so many epochs without a lower
    validation loss, `stop_on_nan` as soon as a loss is not finite. `device` is "auto" (an accelerator where there
    is one), "cpu", "cuda", "mps".
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float | None = None
    optimiser: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "constant"
    decay: float = 0.1
    decay_every: int = 10
    warmup: int = 0
    augmentation: str | tuple[str, ...] = "none"
    augmentation_chance: float = 1.0
    label_smoothing: float = 0.0
    clip: float | None = None
    loss: str = "auto"
    early_stop: int | None = None
    stop_on_nan: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        """Raise UsageError for what cannot be."""
        _whole("epochs", self.epochs, 1, 10_000_000)
        _whole("batch_size", self.batch_size, 1, 10_000_000)
        _whole("warmup", self.warmup, 0, 10_000_000)
        _whole("decay_every", self.decay_every, 1, 10_000_000)
        if self.early_stop is not None:
            _whole("early_stop", self.early_stop, 1, 10_000_000)
        if self.learning_rate is not None:
            _number("learning_rate", self.learning_rate, above=0.0)
        if self.clip is not None:
            _number("clip", self.clip, above=0.0)
        _number("decay", self.decay, above=0.0)
        _number("weight_decay", self.weight_decay)
        _number("augmentation_chance", self.augmentation_chance, below=1 + 1e-12)
        _number("momentum", self.momentum, below=1.0)
        _number("label_smoothing", self.label_smoothing, below=1.0)
        if not isinstance(self.stop_on_nan, bool):
            raise UsageError(f"stop_on_nan must be true or false; it is {self.stop_on_nan!r}.")
        _known("optimiser", self.optimiser, OPTIMISERS)
        _known("schedule", self.schedule, SCHEDULES)
        _known("loss", self.loss, LOSSES)
        self.augmentations  # noqa: B018 - looking at them checks them

    @property
    def rate(self) -> float:
        """The learning rate, or the optimiser's own."""
        return OPTIMISERS[self.optimiser] if self.learning_rate is None else float(self.learning_rate)

    @property
    def augmentations(self) -> tuple[tuple[str, float], ...]:
        """What is done to training examples, in this order, and how much of it."""
        found = []
        for word in (self.augmentation,) if isinstance(self.augmentation, str) else self.augmentation:
            name, _, amount = word.partition(":") if isinstance(word, str) else (word, "", "")
            _known("augmentation", name, AUGMENTATIONS)
            try:
                much = float(amount) if amount else AUGMENTATIONS[name]
            except ValueError:
                raise UsageError(
                    f"augmentation {word!r}: {amount!r} is not a number.", hint="Write rotate:30."
                ) from None
            _number(f"augmentation {word!r}", much)
            if name != "none":
                found.append((name, much))
        return tuple(found)


def divide(parameters: Mapping[str, Any], factory: Callable[..., Any]) -> tuple[Settings, dict[str, Any]]:
    """A trial's parameters as those of the training and those of the network that `factory` makes.

    Raises UsageError, before anything is made, for one that neither has (with the nearest that there is), for values
    that cannot be, and where the factory wants more than is given.
    """
    own = {field.name for field in fields(Settings)}
    takes, any_name, wanted = _signature(factory)
    known = own | takes
    training: dict[str, Any] = {}
    network: dict[str, Any] = {}
    for given, value in parameters.items():
        name = given if given in known else _other(given, known)
        if name in GIVEN:
            raise UsageError(f"{given} comes from the data.", hint="Leave it out.")
        if name in training or name in network:
            raise UsageError(f"{name} is given twice, once as {given}.")
        if name in own:
            training[name] = tuple(value) if isinstance(value, list) else value
        elif name in takes or any_name:
            network[name] = value
        else:
            near = difflib.get_close_matches(given, known - set(GIVEN), 1)
            raise UsageError(
                f"There is no parameter {given!r}.",
                hint=(f"Did you mean {near[0]!r}? " if near else "")
                + f"The network has {', '.join(sorted(takes - set(GIVEN))) or 'none'}; the training has "
                + f"{', '.join(sorted(own))}.",
            )
    if missing := sorted(wanted - set(network) - set(GIVEN)):
        raise UsageError(
            f"The network's factory wants {', '.join(missing)}.",
            hint="Give it as a parameter, or a default in the code.",
        )
    return Settings(**training), network


def given_by_data(factory: Callable[..., Any], **facts: Any) -> dict[str, Any]:
    """Those of `GIVEN` that a factory asks for."""
    takes, any_name, _ = _signature(factory)
    return {name: value for name, value in facts.items() if name in takes or any_name}


def _signature(factory: Callable[..., Any]) -> tuple[set[str], bool, set[str]]:
    """The parameters it takes by name, whether it takes any, and those it cannot do without."""
    try:
        found = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return set(), True, set()
    named = [p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return (
        {p.name for p in named},
        any(p.kind is p.VAR_KEYWORD for p in found),
        {p.name for p in named if p.default is p.empty},
    )


def _other(name: str, known: set[str]) -> str:
    meant = _OTHER_WORDS.get(name, name.replace("iz", "is"))
    return meant if meant in known else name


def _whole(what: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"{what} must be a whole number from {least:,} to {most:,}; it is {value!r}.")


def _number(what: str, value: object, *, above: float | None = None, below: float | None = None) -> None:
    right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if right and (value > above if above is not None else value >= 0) and (below is None or value < below):  # type: ignore[operator]
        return
    bounds = (f"above {above:g}" if above is not None else "0 or more") + (
        "" if below is None else f", below {below:g}"
    )
    raise UsageError(f"{what} must be a number {bounds}; it is {value!r}.")


def _known(what: str, value: object, known: Mapping[str, Any] | tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in known:
        near = difflib.get_close_matches(str(value), list(known), 1)
        raise UsageError(
            f"There is no {what} {value!r}.",
            hint=(f"Did you mean {near[0]!r}? " if near else "") + f"Known: {', '.join(known)}.",
        )
