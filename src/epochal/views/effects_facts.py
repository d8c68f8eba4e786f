"""What is said of a lab's parameters: facts that the measuring of effects hands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from epochal.facts.lab import Mode
from epochal.views.effects_design import Level
from epochal.views.effects_spread import Spread

__all__ = ["Comparison", "Conclusion", "Effect", "Effects", "Interaction"]

Conclusion = Literal["effect", "unclear", "one repeat", "confounded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The objective at level `after` minus that at level `before` (places among the parameter's levels).

    `low` and `high` hold for all comparisons of the parameter at once in 95 % of cases; None where nothing was
    repeated. `paired` says whether configurations were compared that differ in this parameter alone; `places` counts
    them. `repeats` are the least and most trainings of a configuration that took part.
    """

    before: int
    after: int
    estimate: float
    low: float | None
    high: float | None
    paired: bool
    places: int
    repeats: tuple[int, int]

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A parameter: its levels with mean, count of trials and of configurations, all comparisons, the largest of them
    that goes the better way, and its share of the variance. `confounded` names parameters that changed with it."""

    parameter: str
    levels: Sequence[Level]
    means: Sequence[float]
    trials: Sequence[int]
    configurations: Sequence[int]
    comparisons: Sequence[Comparison]
    largest: Comparison | None
    share: float | None
    conclusion: Conclusion
    confounded: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """How much more one parameter's change does at one level of another than at another: a difference of differences.

    The change is `levels[0]` of the first parameter, at `levels[1][1]` of the second rather than at `levels[1][0]`.
    The interval holds for all listed interactions at once in 95 % of cases; `share` is that of the variance.
    """

    parameters: tuple[str, str]
    levels: tuple[tuple[str, str], tuple[str, str]]
    estimate: float | None
    low: float | None
    high: float | None
    share: float
    repeats: tuple[int, int]

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Everything that a lab's finished trials tell of one metric.

    `points` says that values are shares, whose differences are told in points of a hundred. `left_out` counts trials
    without a finite value by the reason. Shares of variance are of all trials; `rest` is what no parameter and no pair
    explains, `of_repeats` what repeats of a configuration differ by.
    """

    objective: str
    mode: Mode
    points: bool
    trials: int
    configurations: int
    left_out: Mapping[str, int]
    effects: Sequence[Effect]
    interactions: Sequence[Interaction]
    spread: Spread
    rest: float | None
    of_repeats: float | None
    equal_repeats: bool = False
    fixed: Mapping[str, object] = field(default_factory=dict)
