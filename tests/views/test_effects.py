"""Effects of parameters against closed forms, simulated labs with known effects, and second libraries."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from epochal.errors import UsageError
from epochal.facts.lab import LabInfo, Trial, TrialState
from epochal.views.effects import measure_effects
from epochal.views.effects_contrast import Noise, fit_model, intervals, paired_weights, stacked
from epochal.views.effects_design import Observation, make_design, value_text
from epochal.views.effects_facts import Effect, Effects
from epochal.views.effects_optuna import optuna_importance
from epochal.views.effects_spread import measure_spread
from epochal.views.effects_words import (
    effect_sentence,
    effect_sentences,
    interaction_sentence,
    notes_of,
    spread_sentence,
)
from epochal.views.quantiles import beta_share, f_quantile, t_quantile

INFO = LabInfo(id="lab", name="lab", project="lab", created=0.0)
Parameters = Mapping[str, Any]


def trained(
    points: Sequence[Parameters],
    quality: Callable[[Parameters], float],
    *,
    repeats: int = 3,
    noise: float = 0.01,
    metric: str = "val_accuracy",
    seed: int = 0,
) -> list[TrialState]:
    """Finished trials of these points: their quality, and the noise of a seed of its own for each trial."""
    rng = np.random.default_rng(seed)
    states: list[TrialState] = []
    for r, (c, point) in product(range(repeats), enumerate(points)):
        number = len(states)
        trial = Trial(number=number, configuration=c, repeat=r, seed=1000 + number, parameters=point)
        value = quality(point) + noise * float(rng.normal())
        states.append(TrialState(trial=trial, status="finished", attempt=1, metrics={metric: value}))
    return states


def grid(**space: Sequence[Any]) -> list[Parameters]:
    return [dict(zip(space, values, strict=True)) for values in product(*space.values())]


def of(effects: Effects, name: str) -> Effect:
    return next(effect for effect in effects.effects if effect.parameter == name)


class TestQuantiles:
    @pytest.mark.parametrize(("df", "quantile"), [(1, 12.7062047), (2, 4.3026527), (10, 2.2281389), (1000, 1.9623391)])
    def test_of_student(self, df: float, quantile: float) -> None:
        assert t_quantile(0.975, df) == pytest.approx(quantile, rel=1e-7)
        assert t_quantile(0.025, df) == pytest.approx(-quantile, rel=1e-7)

    def test_of_two_degrees_of_freedom_in_closed_form(self) -> None:
        # F(2, 2) has the distribution function f / (1 + f).
        assert f_quantile(0.9, 2, 2) == pytest.approx(9)

    def test_as_scipy_has_them(self) -> None:
        stats = pytest.importorskip("scipy.stats", reason="scipy is the second library")
        special = pytest.importorskip("scipy.special", reason="scipy is the second library")
        for a, b in product((0.5, 1, 7.25, 500), (0.5, 3, 250)):
            assert t_quantile(0.9, a) == pytest.approx(stats.t.ppf(0.9, a), rel=1e-9)
            assert f_quantile(0.975, 2 * a, 2 * b) == pytest.approx(stats.f.ppf(0.975, 2 * a, 2 * b), rel=1e-8)
            for x in (0.001, 0.3, 0.9):
                assert beta_share(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-9, abs=1e-300)


class TestDifferences:
    def test_are_paired_by_the_other_parameters(self) -> None:
        # Beside a strong second parameter, which is not balanced: the plain means would be far off.
        points = [{"dropout": d, "size": s} for s, d in [(1, 0.5), (1, 0.2), (8, 0.5), (8, 0.2), (64, 0.2)]]
        states = trained(
            points, lambda p: 0.3 * np.log2(p["size"]) / 6 + (0.013 if p["dropout"] == 0.2 else 0), noise=0
        )
        found = of(measure_effects(INFO, states), "dropout")
        assert found.largest is not None
        assert (found.levels[found.largest.before].label, found.levels[found.largest.after].label) == ("0.5", "0.2")
        assert found.largest.estimate == pytest.approx(0.013)
        assert (found.largest.paired, found.largest.places, found.largest.repeats) == (True, 2, (3, 3))
        assert found.means[0] - found.means[1] == pytest.approx(0.088)  # the plain means

    def test_hold_others_equal_by_a_model_where_nothing_pairs(self) -> None:
        rng = np.random.default_rng(3)
        points = [{"rate": float(rate), "act": act} for rate, act in zip(rng.random(60), "ab" * 30, strict=True)]
        states = trained(points, lambda p: 0.5 + (0.04 if p["act"] == "b" else 0), noise=0.01, repeats=2)
        found = of(measure_effects(INFO, states), "act")
        assert found.largest is not None
        assert not found.largest.paired
        assert found.largest.estimate == pytest.approx(0.04, abs=0.006)
        assert found.conclusion == "effect"

    def test_of_a_model_as_least_squares_have_them(self) -> None:
        stats = pytest.importorskip("scipy.stats", reason="scipy is the second library")
        rng = np.random.default_rng(5)
        values = rng.normal(size=40)
        points = [{"x": float(i), "act": "ab"[i % 2]} for i in range(40)]
        observations = [
            Observation(p, v + e, i) for p, v in zip(points, values, strict=True) for i, e in enumerate((0, 1e-6))
        ]
        design = make_design(observations)
        # One dummy beside a mean is the t test of two groups with equal variance.
        from epochal.views.effects_contrast import Model, model_weights

        p = design.parameters.index("act")
        alone = make_design([Observation({"act": o.parameters["act"], "x": 0}, o.value) for o in observations])
        assert alone.configurations == 2
        columns = np.stack([np.ones(40), (design.codes[:, p] == 1).astype(float)], axis=1)
        rest = values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
        model = Model(columns, np.linalg.pinv(columns), 2, float(rest @ rest) / 38, 38, (1,) * 2, rest)
        weights = model_weights(design, model, p, 0, 1)
        assert weights is not None
        found = intervals(Noise(design), weights[None], model=model)
        other = stats.ttest_ind(values[1::2], values[::2]).confidence_interval(0.95)
        assert (found.low[0], found.high[0]) == pytest.approx((other.low, other.high), rel=1e-3, abs=1e-3)

    def test_of_two_configurations_are_those_of_welch(self) -> None:
        stats = pytest.importorskip("scipy.stats", reason="scipy is the second library")
        rng = np.random.default_rng(7)
        a, b = rng.normal(0, 1, 12), rng.normal(1, 3, 15)
        observations = [Observation({"x": k}, float(v), i) for k, side in ((0, a), (1, b)) for i, v in enumerate(side)]
        design = make_design([Observation(o.parameters, o.value, 100 * k + o.seed) for k, o in enumerate(observations)])
        found = intervals(Noise(design), np.array([[-1.0, 1.0]]))
        other = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
        assert found.estimates[0] == pytest.approx(b.mean() - a.mean())
        assert (found.low[0], found.high[0]) == pytest.approx((other.low, other.high), abs=0.08)

    @pytest.mark.parametrize("levels", [2, 4])
    @pytest.mark.parametrize("seed_effect", [0.0, 2.0])
    def test_cover_the_truth_in_95_of_100_labs(self, levels: int, seed_effect: float) -> None:
        # Noise that differs from configuration to configuration, as of learning rates that are too large.
        rng = np.random.default_rng(11)
        pairs = list(combinations(range(levels), 2))
        truth = np.array([0.7 * (b - a) for a, b in pairs])
        held = width = 0.0
        labs = 250
        for _ in range(labs):
            of_context, of_seed = rng.normal(size=4) * 3, rng.normal(size=4) * seed_effect
            observations = [
                Observation(
                    {"context": c, "x": k},
                    of_context[c] + 0.7 * k + of_seed[r] + (0.3 + k) * float(rng.normal()),
                    r if seed_effect else int(rng.integers(1 << 40)),
                )
                for c, k, r in product(range(4), range(levels), range(4))
            ]
            design = make_design(observations)
            assert design.blocked == bool(seed_effect)
            p = design.parameters.index("x")
            rows = [one[0] for a, b in pairs if (one := paired_weights(design, p, a, b))]
            found = intervals(Noise(design), stacked(rows, design.configurations))
            held += bool(((found.low <= truth) & (truth <= found.high)).all())
            width += float((found.high - found.low).mean())
        assert 0.91 <= held / labs <= 0.985
        # What a seed does to all configurations alike is no noise: else the intervals would be three times as wide.
        assert width / labs < 1.6 * levels

    def test_point_the_better_way_of_a_loss(self) -> None:
        states = trained(grid(lr=[0.1, 0.01]), lambda p: 2 - p["lr"], metric="val_loss")
        effects = measure_effects(INFO, states, "val_loss")
        largest = of(effects, "lr").largest
        assert largest is not None
        assert largest.estimate == pytest.approx(-0.09, abs=0.02)
        assert not effects.points
        assert effect_sentence(of(effects, "lr"), effects).startswith("lr 0.01 → 0.1: −0.0")


class TestWhatCannotBeTold:
    def test_one_repeat_gives_no_conclusion(self) -> None:
        effects = measure_effects(INFO, trained(grid(a=[1, 2], b=[1, 2, 3]), lambda p: 0.1 * p["a"], repeats=1))
        found = of(effects, "a")
        assert found.conclusion == "one repeat"
        assert found.largest is not None
        assert found.largest.low is None
        assert effect_sentence(found, effects) == "a 1 → 2: +9.8 points from one repeat: no conclusion"
        assert all(one.low is None for one in effects.interactions)
        assert not effects.spread.told
        assert "repeats = 3 or more would tell" in spread_sentence(effects)

    def test_one_side_of_one_repeat_gives_none_either(self) -> None:
        states = trained([{"a": 1}, {"a": 2}], lambda p: 0.5)
        kept = [s for s in states if s.trial.parameters["a"] == 1 or s.trial.repeat == 0]
        assert of(measure_effects(INFO, kept), "a").conclusion == "one repeat"

    def test_parameters_that_changed_together_are_named(self) -> None:
        base = {"filters": 8, "kernel": 3, "dropout": 0.5}
        points = [base, {**base, "dropout": 0.2}, {**base, "filters": 16, "kernel": 5}]
        effects = measure_effects(INFO, trained(points, lambda p: 0.6 + p["filters"] / 100))
        assert of(effects, "filters").conclusion == "confounded"
        assert of(effects, "filters").confounded == ("kernel",)
        *others, last = effect_sentences(effects)
        assert last == "filters and kernel never changed alone: their effects cannot be told apart"
        assert not any("filters" in sentence or "kernel" in sentence for sentence in others)
        assert "their effects cannot be told apart" in effect_sentence(of(effects, "kernel"), effects)
        assert of(effects, "dropout").largest is not None

    def test_two_groups_that_changed_together_are_told_of_one_by_one(self) -> None:
        base = {"filters": 8, "kernel": 3, "rate": 0.1, "decay": 0.0}
        points = [base, {**base, "filters": 16, "kernel": 5}, {**base, "rate": 0.2, "decay": 0.1}]
        effects = measure_effects(INFO, trained(points, lambda p: 0.6))
        assert set(effect_sentences(effects)) == {
            "filters and kernel never changed alone: their effects cannot be told apart",
            "decay and rate never changed alone: their effects cannot be told apart",
        }
        assert effect_sentence(of(effects, "rate"), effects) == effect_sentence(of(effects, "decay"), effects)

    def test_failed_and_infinite_trials_are_counted(self) -> None:
        states = trained(grid(a=[1, 2]), lambda p: 0.5)
        states.append(TrialState(trial=states[0].trial, status="failed", error="x"))
        states.append(TrialState(trial=states[0].trial, status="finished", metrics={"val_accuracy": float("nan")}))
        states.append(TrialState(trial=states[0].trial))
        effects = measure_effects(INFO, states)
        assert effects.left_out == {"failed": 1, "not finite": 1}
        assert notes_of(effects)[0] == "1 trial failed: left out here"

    def test_equal_repeats_are_suspicious(self) -> None:
        effects = measure_effects(INFO, trained(grid(a=[1, 2]), lambda p: 0.1 * p["a"], noise=0))
        assert effects.equal_repeats
        assert any("is the seed used?" in note for note in notes_of(effects))

    def test_better_is_what_the_lab_says_and_else_what_the_name_says(self) -> None:
        settings = {"objectives": [["val_accuracy", "max"], ["reward", "max"]]}
        info = replace(INFO, settings=settings)
        directions = {"reward": "max", "val_r2": "max", "bleu": "max", "val_loss": "min", "val_dice": "max"}
        for name, mode in directions.items():
            states = trained(grid(a=[1, 2]), lambda p: float(p["a"]), metric=name)
            effects = measure_effects(info, states, name)
            assert effects.mode == mode, name
            best = of(effects, "a").largest
            assert best is not None
            assert of(effects, "a").levels[best.after].label == ("2" if mode == "max" else "1"), name

    def test_nothing_finished(self) -> None:
        effects = measure_effects(INFO, [])
        assert (effects.trials, list(effects.effects)) == (0, [])
        assert spread_sentence(effects) == "No trial has finished yet"

    def test_nothing_finite(self) -> None:
        states = trained(grid(a=[1, 2]), lambda p: float("nan"))
        assert spread_sentence(measure_effects(INFO, states)) == "No finished trial has a finite val_accuracy"

    def test_a_metric_that_is_not_there(self) -> None:
        with pytest.raises(UsageError, match="has the metric 'acc'"):
            measure_effects(INFO, trained(grid(a=[1, 2]), lambda p: 0.5), "acc")


class TestLevels:
    def test_one_and_one_point_zero_are_one_value(self) -> None:
        states = trained([{"a": 1, "b": 1}, {"a": 1.0, "b": 2}], lambda p: 0.5)
        assert [e.parameter for e in measure_effects(INFO, states).effects] == ["b"]
        assert measure_effects(INFO, states).fixed == {"a": 1}

    def test_a_parameter_that_some_lack(self) -> None:
        states = trained([{"opt": "sgd", "momentum": 0.9}, {"opt": "adam"}], lambda p: 0.5)
        assert [level.label for level in of(measure_effects(INFO, states), "momentum").levels] == ["0.9", "not set"]

    def test_many_numbers_are_cut_into_stretches(self) -> None:
        states = trained([{"lr": 10.0**-k} for k in range(12)], lambda p: 0.5)
        found = of(measure_effects(INFO, states), "lr")
        assert found.configurations == [4, 4, 4]
        assert [level.label for level in found.levels] == ["1e-11 – 1e-08", "1e-07 – 0.0001", "0.001 – 1"]

    def test_lists_are_values(self) -> None:
        states = trained(grid(filters=[[8, 16], [16, 32]]), lambda p: p["filters"][0] / 100)
        effects = measure_effects(INFO, states)
        assert effect_sentence(effects.effects[0], effects).startswith("filters [8, 16] → [16, 32]: +")


class TestVariance:
    def test_shares_are_those_of_the_analysis_of_variance(self) -> None:
        # Two factors, a balanced design, no noise: sums of squares by hand.
        states = trained(
            grid(a=[0, 1], b=[0, 1, 2]),
            lambda p: 0.5 + 0.02 * p["a"] + 0.01 * p["b"] + 0.03 * p["a"] * (p["b"] == 2),
            noise=0,
        )
        table = np.array([[0.5, 0.51, 0.52], [0.52, 0.53, 0.57]])
        total = ((table - table.mean()) ** 2).sum()
        rows = 3 * ((table.mean(axis=1) - table.mean()) ** 2).sum() / total
        columns = 2 * ((table.mean(axis=0) - table.mean()) ** 2).sum() / total
        effects = measure_effects(INFO, states)
        assert of(effects, "a").share == pytest.approx(rows)
        assert of(effects, "b").share == pytest.approx(columns)
        assert effects.interactions[0].share == pytest.approx(1 - rows - columns)
        assert effects.rest == pytest.approx(0, abs=1e-9)

    def test_shares_of_noise_are_about_zero(self) -> None:
        states = trained(grid(a=[0, 1], b=list(range(8)), c=[0, 1]), lambda p: 0.5, repeats=4)
        effects = measure_effects(INFO, states)
        assert sum(effect.share or 0 for effect in effects.effects) < 0.08
        assert effects.of_repeats == pytest.approx(1, abs=0.08)

    def test_an_interaction_is_found_and_said(self) -> None:
        # Batch norm helps with the large learning rate only.
        states = trained(
            grid(lr=[0.1, 0.01], norm=[False, True], act=["a", "b"]),
            lambda p: 0.6 + (0.08 if p["norm"] and p["lr"] == 0.1 else 0),
            noise=0.005,
            repeats=4,
        )
        effects = measure_effects(INFO, states)
        found = effects.interactions[0]
        assert set(found.parameters) == {"lr", "norm"}
        assert found.clear
        assert found.estimate is not None
        assert abs(found.estimate) == pytest.approx(0.08, abs=0.012)
        told = interaction_sentence(found, effects)
        one, other = found.parameters
        assert re.fullmatch(
            rf"{one} \S+ → \S+: [78]\.\d points more with {other} \S+ than with \S+, 95 % CI \[[\d.]+, [\d.]+\]", told
        )
        # The change does more where the sentence says so.
        change, place = (
            re.findall(r"(\S+) → (\S+):", told)[0],
            re.findall(r"with \S+ (\S+?) than with (\S+?),", told)[0],
        )

        def mean(value: str, beside: str) -> float:
            wanted = {one: value, other: beside}
            return float(
                np.mean(
                    [
                        state.metrics["val_accuracy"]
                        for state in states
                        if all(value_text(state.trial.parameters[k]) == v for k, v in wanted.items())
                    ]
                )
            )

        more, less = ((mean(change[1], beside) - mean(change[0], beside)) for beside in place)
        assert more - less == pytest.approx(abs(found.estimate))
        assert not any(other.clear for other in effects.interactions[1:])

    def test_importance_of_optuna_agrees_on_the_order(self) -> None:
        pytest.importorskip("optuna", reason="Optuna is the second opinion")
        pytest.importorskip("sklearn", reason="its evaluators need scikit-learn")
        states = trained(
            grid(a=[0, 1, 2], b=["x", "y"], c=[True, False], d=[[1], [2]]),
            lambda p: 0.5 + 0.05 * p["a"] + (0.03 if p["b"] == "y" else 0) + 0.01 * p["c"],
            noise=0.002,
        )
        theirs = optuna_importance(INFO, states)
        ours = {effect.parameter: effect.share or 0 for effect in measure_effects(INFO, states).effects}
        assert list(theirs)[:3] == list(ours)[:3] == ["a", "b", "c"]
        assert sum(theirs.values()) == pytest.approx(1)
        assert theirs["a"] == pytest.approx(ours["a"] / sum(ours.values()), abs=0.1)


class TestSpread:
    def test_is_the_intraclass_correlation_of_shrout_and_fleiss(self) -> None:
        # Their example of 1979: six targets, four judges; ICC(1, 1) = 0.17 with the interval from −0.13 to 0.72.
        table = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
        design = make_design(
            [Observation({"target": t}, float(v), 10 * t + j) for t, row in enumerate(table) for j, v in enumerate(row)]
        )
        found = measure_spread(design)
        assert found.share == pytest.approx(0.17, abs=0.005)
        assert found.low == 0  # a share of variance is not negative
        assert found.high == pytest.approx(0.72, abs=0.005)

    def test_covers_the_truth(self) -> None:
        rng = np.random.default_rng(2)
        held = 0
        for _ in range(300):
            of_configuration = rng.normal(size=10) * 2
            values = of_configuration[:, None] + rng.normal(size=(10, 3))
            found = measure_spread(
                make_design(
                    [Observation({"c": c}, float(values[c, r]), 3 * c + r) for c in range(10) for r in range(3)]
                )
            )
            held += found.low <= 0.8 <= found.high
        assert 0.92 <= held / 300 <= 0.98

    def test_says_which_outweighs(self) -> None:
        strong = measure_effects(INFO, trained(grid(a=list(range(6))), lambda p: 0.1 * p["a"], noise=0.01))
        assert spread_sentence(strong).endswith("What was chosen outweighs the seed")
        weak = measure_effects(INFO, trained(grid(a=list(range(40))), lambda p: 0.5, noise=0.02, repeats=6))
        assert spread_sentence(weak).endswith("The seed outweighs what was chosen")
        few = measure_effects(INFO, trained(grid(a=[1, 2]), lambda p: 0.5, repeats=2))
        assert spread_sentence(few).endswith("cannot be told yet")


def test_a_thousand_trials_take_less_than_two_seconds() -> None:
    import time

    space = {"a": [1, 2, 3], "b": [1, 2], "c": [1, 2, 3], "d": [1, 2], "e": [1, 2, 3], "f": [1, 2], "g": [1, 2]}
    states = trained(grid(**space)[:334], lambda p: 0.1 * p["a"], repeats=3)
    begin = time.process_time()
    measure_effects(INFO, states)
    assert time.process_time() - begin < 2


def test_models_of_designs_know_what_is_left_over() -> None:
    design = make_design([Observation({"a": a, "b": b}, 1.0 * a + 2.0 * b, 0) for a, b in product(range(3), range(3))])
    model = fit_model(design)
    assert (model.rank, model.freedom) == (5, 4)
    assert model.variance == pytest.approx(0, abs=1e-20)
