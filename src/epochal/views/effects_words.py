"""What a lab's effects come to in plain sentences, one way for the Studio, the report and the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from epochal.views.effects_facts import Comparison, Effect, Effects, Interaction

__all__ = [
    "comparison_text",
    "difference_text",
    "effect_sentence",
    "effect_sentences",
    "interaction_sentence",
    "notes_of",
    "spread_sentence",
]


def difference_text(value: float, half: float, *, points: bool, unit: bool = True) -> str:
    """A difference as people read it: `+1.3 points`; `half` is half its interval's width and says how exactly."""
    text = f"{_rounded(value, half, points):+.{_digits(half, points)}f}".replace("-", "−")
    return f"{text} points" if points and unit else text


def effect_sentence(effect: Effect, effects: Effects) -> str:
    """`dropout 0.5 → 0.2: +1.3 points, 95 % CI [0.4, 2.1], 5 repeats`, or why nothing can be said."""
    found = effect.largest
    name = effect.parameter
    if found is None:
        if effect.confounded:
            return f"{name} changed together with {_listed(effect.confounded)}: their effects cannot be told apart"
        return f"{name} has {len(effect.levels)} values, too many to compare one by one"
    change = f"{name} {effect.levels[found.before].label} → {effect.levels[found.after].label}"
    if found.low is None or found.high is None:
        half = abs(found.estimate) / 2
        return (
            f"{change}: {difference_text(found.estimate, half, points=effects.points)} from one repeat: no conclusion"
        )
    text = f"{change}: {_with_interval(found.estimate, found.low, found.high, effects)}, {_repeats(found.repeats)}"
    if found.paired and found.places > 1:
        text += f", {found.places} pairs"
    if not found.paired:
        text += ", other parameters held equal by a model"
    return text if found.clear else f"{text}: no clear effect"


def effect_sentences(effects: Effects) -> list[str]:
    """A sentence for each effect, and one for all that cannot be told apart where those are several."""
    lost = [effect.parameter for effect in effects.effects if effect.largest is None and effect.confounded]
    if len(lost) < 2:
        lost = []
    told = [effect_sentence(effect, effects) for effect in effects.effects if effect.parameter not in lost]
    if lost:
        told.append(f"{', '.join(lost[:-1])} and {lost[-1]} never changed alone: their effects cannot be told apart")
    return told


def interaction_sentence(interaction: Interaction, effects: Effects) -> str:
    """How much more a change does beside another value of a second parameter."""
    (one, other), ((a, b), (c, d)) = interaction.parameters, interaction.levels
    if interaction.estimate is None:
        return f"{one} and {other} together: {interaction.share * 100:.1f} % of the variance"
    change = f"{one} {a} → {b}"
    place = f"with {other} {d} compared with {c}"
    if interaction.low is None or interaction.high is None:
        half = abs(interaction.estimate) / 2
        more = difference_text(interaction.estimate, half, points=effects.points)
        return f"{change}: {more} {place}, from one repeat: no conclusion"
    told = _with_interval(interaction.estimate, interaction.low, interaction.high, effects)
    text = f"{change}: {told}, {place}"
    return text if interaction.clear else f"{text}: no clear interaction"


def spread_sentence(effects: Effects) -> str:
    """Whether what was chosen outweighs the seed."""
    spread = effects.spread
    if not effects.trials:
        return "No trial has finished yet"
    if not spread.told:
        if spread.configurations < 2:
            return "One configuration: there is nothing to compare repeats with"
        return "Each configuration was trained once: what the seed does cannot be told; repeats = 3 or more would tell"
    scale, unit = (100, " points") if effects.points else (1, "")
    half = max(spread.repeats_std, spread.configurations_std) / 2
    digits = _digits(half * 1, effects.points)
    said = (
        f"Repeats of one configuration spread by {spread.repeats_std * scale:.{digits}f}{unit} (standard deviation), "
        f"configurations by {spread.configurations_std * scale:.{digits}f}{unit}: {spread.share * 100:.0f} % of the "
        f"variance comes from the configuration, 95 % CI [{spread.low * 100:.0f}, {spread.high * 100:.0f}] %"
    )
    if spread.low > 0.5:
        return f"{said}. What was chosen outweighs the seed"
    if spread.high < 0.5:
        return f"{said}. The seed outweighs what was chosen"
    return f"{said}. Which of the two weighs more cannot be told yet"


def notes_of(effects: Effects) -> list[str]:
    """What a reader must know beside the numbers."""
    notes = []
    for reason, count in effects.left_out.items():
        words = f"with a {effects.objective} that is not finite" if reason == "not finite" else reason
        notes.append(f"{count} {'trial' if count == 1 else 'trials'} {words}: left out here")
    if effects.equal_repeats:
        notes.append("Repeats are equal to the last digit: is the seed used?")
    return notes


def _with_interval(estimate: float, low: float, high: float, effects: Effects) -> str:
    points, half = effects.points, (high - low) / 2
    # An end that is not zero must not look like it.
    while half > 1e-12 and any(end and not _rounded(end, half, points) for end in (low, high)) and low * high > 0:
        half /= 10
    digits = _digits(half, points)
    ends = ", ".join(f"{_rounded(end, half, points):.{digits}f}".replace("-", "−") for end in (low, high))
    return f"{difference_text(estimate, half, points=points)}, 95 % CI [{ends}]"


def _rounded(value: float, half: float, points: bool) -> float:  # noqa: FBT001 - inside this file
    scaled = value * 100 if points else value
    # Minus zero would be written with its sign.
    return round(scaled, _digits(half, points)) + 0.0


def _digits(half: float, points: bool) -> int:  # noqa: FBT001 - inside this file
    """Digits behind the point: those that the interval leaves any meaning."""
    width = abs(half * 100 if points else half)
    if not width or not math.isfinite(width):
        return 1 if points else 3
    return min(8, max(1 if points else 0, -math.floor(math.log10(width)) + (0 if points else 1)))


def _repeats(repeats: tuple[int, int]) -> str:
    least, most = repeats
    return f"{least} repeats" if least == most else f"{least} to {most} repeats"


def _listed(names: Sequence[str]) -> str:
    words = list(names)
    if len(words) > 4:
        return f"{', '.join(words[:3])} and {len(words) - 3} more"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def comparison_text(effect: Effect, comparison: Comparison, effects: Effects) -> str:
    """One comparison without the parameter's name: `0.5 → 0.2: +1.3 points, 95 % CI [0.4, 2.1]`."""
    change = f"{effect.levels[comparison.before].label} → {effect.levels[comparison.after].label}"
    if comparison.low is None or comparison.high is None:
        return f"{change}: {difference_text(comparison.estimate, abs(comparison.estimate) / 2, points=effects.points)}"
    return f"{change}: {_with_interval(comparison.estimate, comparison.low, comparison.high, effects)}"
