"""Conditions of series: when an alert is raised, when it is over, what it costs."""

from __future__ import annotations

import math
from typing import Any

import pytest

from epochal.errors import UsageError
from epochal.record.rules import Rules, parse_conditions


class Heard:
    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.alerts: list[tuple[str, str, str, int, float]] = []
        self.rules = Rules(lambda *alert: self.alerts.append(alert), clock=lambda: self.now, **options)

    def look(self, **values: float | list[float]) -> list[int]:
        """Log each list, one value a step and minute; return the steps at which alerts were raised."""
        before = len(self.alerts)
        for name, course in values.items():
            for step, value in enumerate(course if isinstance(course, list) else [course]):
                self.now += 61
                self.rules.look({name: value, "other": 1.0}, step, 100.0 + step)
        return [alert[3] for alert in self.alerts[before:]]


nan, inf = math.nan, math.inf


@pytest.mark.parametrize(
    ("condition", "course", "steps"),
    [
        ("nan", [1.0, nan, nan, inf, nan, 2.0, nan], [1, 4, 6]),
        ("inf", [1.0, inf, -inf, nan, inf, 2.0, -inf], [1, 6]),
        ("> 10", [10.0, 10.5, 11.0, nan, 12.0, 10.0, inf], [1, 6]),
        (">= 10", [9.9, 10.0, 3.0], [1]),
        ("< 0.1", [0.1, 0.05, 0.2, -inf], [1, 3]),
        ("<=-1e-3", [0.0, -0.001, nan], [1]),
        ("stalled 3", [5.0, 4.0, 4.0, 4.5, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0], [4, 9]),
        ("stalled 2", [nan, nan, nan, 1.0, 1.0, 1.0], [2, 5]),
        ("stalled 2", [1.0, inf, -inf, 0.5], [2]),
        (["nan", "> 10"], [nan, 11.0, nan], [0, 1, 2]),
        ([], [nan, 11.0], []),
    ],
)
def test_an_alert_is_raised_when_a_condition_comes_true_and_again_after_it_was_over(
    condition: str | list[str], course: list[float], steps: list[int]
) -> None:
    heard = Heard()
    heard.rules.set("loss", condition)
    assert heard.look(loss=course) == steps


def test_what_is_told() -> None:
    heard = Heard()
    heard.rules.set("loss", ["nan", "inf", "> 10", "stalled 1000"])
    heard.rules.look({"loss": nan}, 3, 50.0)
    heard.rules.look({"loss": -inf}, 4, 51.0)
    heard.rules.look({"loss": 12.3456789}, 5, 52.0)
    heard.rules.look({"loss": 13.0}, 1005, 53.0)
    assert heard.alerts == [
        ("loss is NaN", "error", "loss: nan", 3, 50.0),
        ("loss is −∞", "error", "loss: inf", 4, 51.0),
        ("loss is 12.3457, above 10", "warning", "loss: > 10", 5, 52.0),
        ("loss has had no value better than 12.3457 for 1,000 steps", "warning", "loss: stalled 1000", 1005, 53.0),
    ]


def test_which_way_is_better_is_said_or_guessed_from_the_name() -> None:
    rising = [float(n) for n in range(6)]
    heard = Heard()
    for name in ("val/accuracy", "loss", "reward"):
        heard.rules.set(name, "stalled 3")
    heard.rules.set_better("reward", "max")
    assert heard.look(**{"val/accuracy": rising}) == []
    assert heard.look(reward=rising) == []
    assert heard.look(loss=rising) == [3]


def test_steps_that_go_back_begin_the_count_anew() -> None:
    heard = Heard()
    heard.rules.set("loss", "stalled 5")
    for step in (0, 4, 0, 4):
        heard.rules.look({"loss": 1.0}, step, 0.0)
    assert heard.alerts == []
    heard.rules.look({"loss": 1.0}, 5, 0.0)
    assert len(heard.alerts) == 1


def test_one_that_comes_and_goes_is_told_of_now_and_then() -> None:
    heard = Heard(repeat_secs=60.0)
    heard.rules.set("loss", "> 10")
    for step in range(100):
        heard.now = float(step)
        heard.rules.look({"loss": 11.0 if step % 2 else 9.0}, step, 0.0)
    assert [(alert[0], alert[3]) for alert in heard.alerts] == [
        ("loss is 11, above 10", 1),
        ("loss is 11, above 10, and was so 29 times since the last alert", 61),
    ]
    assert heard.rules.untold == 19


def test_patterns_and_later_definitions() -> None:
    heard = Heard()
    heard.rules.set("*loss*", "nan")
    heard.rules.set("weird[0]", "nan")
    assert heard.look(**{"train/loss": [nan]}) == [0]
    assert heard.look(loss=[nan, nan], accuracy=[nan], **{"weird[0]": [nan]}) == [0, 0]
    heard.rules.set("accuracy", "nan")
    assert heard.look(loss=[nan], accuracy=[nan]) == [0], "what held goes on to hold when another rule comes"
    heard.rules.set("*loss*", [])
    assert heard.look(loss=[1.0, nan]) == []


@pytest.mark.parametrize(
    "wrong", ["", "nans", "> ten", "> nan", "== 3", "stalled", "stalled 0", "stalled -3", 3, ["nan", "x"]]
)
def test_what_is_no_condition_is_said(wrong: Any) -> None:
    with pytest.raises(UsageError, match="alert is") as told:
        parse_conditions(wrong if isinstance(wrong, str | list) else [wrong], lambda: "min")
    assert "stalled 500" in told.value.hint


def test_the_texts_of_conditions_are_tidy() -> None:
    assert Heard().rules.set("x", ["NaN", " >   10 ", "<0.1", "Stalled  500"]) == [
        "nan",
        "> 10",
        "< 0.1",
        "stalled 500",
    ]
