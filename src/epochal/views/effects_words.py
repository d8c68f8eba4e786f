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
        if len(together := _never_alone(effect, effects)) > 1:
            return f"{_joined(together)} never changed alone: their effects cannot be told apart"
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
    """A sentence for each effect, and one for all those that cannot be told from each other."""
    told = [(effect.largest is None, effect_sentence(effect, effects)) for effect in effects.effects]
    # What cannot be told comes last.
    return list(dict.fromkeys(text for _, text in sorted(told, key=lambda one: one[0])))


def _never_alone(effect: Effect, effects: Effects) -> list[str]:
    """The parameters that changed with this one, and those that changed with them, as far as none can be told apart."""
    lost = {one.parameter: one.confounded for one in effects.effects if one.largest is None and one.confounded}
    found, edge = {effect.parameter}, [effect.parameter]
    while edge:
        name = edge.pop()
        near = (
            {other for other in lost if other in lost[name] or name in lost[other]} - found if name in lost else set()
        )
        found |= near
        edge += sorted(near)
    return [one.parameter for one in effects.effects if one.parameter in found]


def interaction_sentence(interaction: Interaction, effects: Effects) -> str:
    """How much more a change does beside another value of a second parameter."""
    (one, other), ((a, b), (c, d)) = interaction.parameters, interaction.levels
    if interaction.estimate is None:
        return f"{one} and {other} together: {interaction.share * 100:.1f} % of the variance"
    estimate, low, high = interaction.estimate, interaction.low, interaction.high
    if estimate < 0:
        # Told the other way round it is more, not less.
        c, d, estimate = d, c, -estimate
        low, high = (None, None) if low is None or high is None else (-high, -low)
    half = abs(estimate) / 2 if low is None or high is None else (high - low) / 2
    more = difference_text(estimate, half, points=effects.points).removeprefix("+")
    text = f"{one} {a} → {b}: {more} more with {other} {d} than with {c}"
    if low is None or high is None:
        return f"{text}, from one repeat: no conclusion"
    text += f", 95 % CI {_interval(low, high, points=effects.points)}"
    return text if interaction.clear else f"{text}: no clear interaction"


def spread_sentence(effects: Effects) -> str:
    """Whether what was chosen outweighs the seed."""
    spread = effects.spread
    if not effects.trials:
        odd = effects.left_out.get("not finite", 0)
        return f"No finished trial has a finite {effects.objective}" if odd else "No trial has finished yet"
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
    text = difference_text(estimate, (high - low) / 2, points=effects.points)
    return f"{text}, 95 % CI {_interval(low, high, points=effects.points)}"


def _interval(low: float, high: float, *, points: bool) -> str:
    half = (high - low) / 2
    # An end that is not zero must not look like it.
    while half > 1e-12 and any(end and not _rounded(end, half, points) for end in (low, high)) and low * high > 0:
        half /= 10
    digits = _digits(half, points)
    ends = ", ".join(f"{_rounded(end, half, points):.{digits}f}".replace("-", "−") for end in (low, high))
    return f"[{ends}]"


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
    return f"{', '.join(words[:3])} and {len(words) - 3} more" if len(words) > 4 else _joined(words)


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def comparison_text(effect: Effect, comparison: Comparison, effects: Effects) -> str:
    """One comparison without the parameter's name: `0.5 → 0.2: +1.3 points, 95 % CI [0.4, 2.1]`."""
    change = f"{effect.levels[comparison.before].label} → {effect.levels[comparison.after].label}"
    if comparison.low is None or comparison.high is None:
        return f"{change}: {difference_text(comparison.estimate, abs(comparison.estimate) / 2, points=effects.points)}"
    return f"{change}: {_with_interval(comparison.estimate, comparison.low, comparison.high, effects)}"
