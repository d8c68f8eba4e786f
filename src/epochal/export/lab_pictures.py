"""Pictures of a lab: curves of all trials, bars of time and of means, differences with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from epochal.facts.lab import TrialState
from epochal.picture import Curve, GridScene, Theme
from epochal.picture.families import BarsChart, FamilyChart, Interval, IntervalsChart
from epochal.store.reader import StoredRun
from epochal.views.effects_facts import Effects
from epochal.views.lab import CurvePair, LabFacts, TrialCurve, curve_pairs, mean_after, read_curves

__all__ = ["LabPictures"]

Stored = Callable[[str], StoredRun | None]
_PAIRS = 2


class LabPictures:
    """What is drawn of a lab; curves are read once."""

    def __init__(self, facts: LabFacts, stored: Stored, *, skip: int) -> None:
        self.facts = facts
        self.skip = skip
        names = dict.fromkeys(
            name for state in facts.states if state.run and (run := stored(state.run)) for name in run.series_names()
        )
        pairs = curve_pairs(names)
        known = [pair for pair in pairs if pair.name in ("accuracy", "loss")]
        self.pairs: Sequence[CurvePair] = (known or pairs)[:_PAIRS]
        wanted = [name for pair in self.pairs for name in (pair.train, pair.validation) if name]
        self.curves: Mapping[tuple[int, str], TrialCurve] = {
            (curve.trial, curve.name): curve for curve in read_curves(facts, stored, wanted)
        }

    def mean(self, state: TrialState, pair: CurvePair) -> float | None:
        """The mean after the first epochs; None where the trial has no such curve, NaN where it is too short."""
        curve = self.curves.get((state.trial.number, pair.validation or pair.train or ""))
        return None if curve is None else mean_after(curve.epochs, curve.values, self.skip)[0]

    def scenes(self, effects: Effects, theme: Theme) -> dict[str, GridScene]:
        """Scenes by their names: `effects`, `curves`, `bars`; those that have nothing to draw are left out."""
        found = {}
        if effects.effects:
            found["effects"] = self._scene([_intervals(effects)], theme, card=(860, 110 + 26 * len(effects.effects)))
        curves = [self._family(pair) for pair in self.pairs]
        if self.curves:
            found["curves"] = self._scene(curves, theme, card=(560, 320), columns=len(curves))
        timed = [state for state in self.facts.states if state.seconds is not None]
        if timed:
            found["bars"] = self._scene(self._bars(timed), theme, card=(380, 220), columns=3)
        return found

    def _scene(self, charts: Sequence[object], theme: Theme, *, card: tuple[int, int], columns: int = 1) -> GridScene:
        return GridScene(
            charts=charts,  # type: ignore[arg-type]
            theme=theme,
            title=self.facts.info.name,
            captions=[""],
            columns=columns,
            card=card,
        )

    def _family(self, pair: CurvePair) -> FamilyChart:
        curves, colours, dashed = [], [], []
        for state in self.facts.states:
            for name in (pair.train, pair.validation):
                curve = self.curves.get((state.trial.number, name or ""))
                if curve is None:
                    continue
                curves.append(Curve(name=f"trial {curve.trial}", x=curve.epochs, y=curve.values))
                colours.append(state.trial.configuration)
                dashed.append(name == pair.train and pair.validation is not None)
        both = "dashed: training, solid: held back" if pair.train and pair.validation else ""
        return FamilyChart(title=pair.name, curves=curves, colours=colours, dashed=dashed, subtitle=both)

    def _bars(self, states: Sequence[TrialState]) -> list[BarsChart]:
        ordered = sorted(states, key=lambda state: state.seconds or 0.0)
        colours = [state.trial.configuration for state in ordered]
        seconds = [state.seconds if state.seconds is not None else math.nan for state in ordered]
        charts = [BarsChart(title="time", values=seconds, colours=colours, subtitle="seconds, quickest first")]
        for pair in self.pairs:
            means = [self.mean(state, pair) for state in ordered]
            values = [math.nan if mean is None else mean for mean in means]
            if np.isfinite(values).any():
                words = f"mean after the first {self.skip} epochs"
                charts.append(BarsChart(title=pair.name, values=values, colours=colours, subtitle=words, zero=False))
        return charts


def _intervals(effects: Effects) -> IntervalsChart:
    factor, unit = (100.0, "points of a hundred") if effects.points else (1.0, f"difference of {effects.objective}")

    def scaled(value: float | None) -> float | None:
        return None if value is None else value * factor

    rows = []
    for effect in effects.effects:
        found = effect.largest
        if found is None:
            rows.append(Interval(name=effect.parameter, value=None))
            continue
        name = f"{effect.parameter} {effect.levels[found.before].label} → {effect.levels[found.after].label}"
        rows.append(Interval(name=name, value=scaled(found.estimate), low=scaled(found.low), high=scaled(found.high)))
    return IntervalsChart(
        title=f"What each parameter did to {effects.objective}",
        rows=rows,
        subtitle=f"differences with 95 % intervals, {effects.trials} finished trials",
        unit=unit,
    )
