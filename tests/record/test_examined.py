"""Asking a network about examples: what its outputs are taken for, and when it is asked."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax  # type: ignore[import-untyped]

from epochal.errors import UsageError
from epochal.record.examined import Examined, as_probabilities, rows_of, same_numbers, split_examples
from epochal.record.policy import Account

RNG = np.random.default_rng(2)


def test_raw_scores_become_probabilities() -> None:
    scores = RNG.normal(scale=30, size=(20, 4))
    np.testing.assert_allclose(as_probabilities(scores, "raw"), softmax(scores, axis=1), rtol=0, atol=1e-15)
    np.testing.assert_allclose(as_probabilities(scores, None), softmax(scores, axis=1), rtol=0, atol=1e-15)
    one = RNG.normal(scale=400, size=(20, 1))
    found = as_probabilities(one, None)
    np.testing.assert_allclose(found[:, 1], expit(one[:, 0]), rtol=0, atol=1e-15)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-15)
    np.testing.assert_array_equal(as_probabilities(one[:, 0], "raw"), found)


def test_probabilities_stay_what_they_are() -> None:
    p = RNG.dirichlet(np.ones(3), 10)
    np.testing.assert_array_equal(as_probabilities(p, "softmax"), p)
    np.testing.assert_array_equal(as_probabilities(p[:, :1], "sigmoid"), np.stack([1 - p[:, 0], p[:, 0]], axis=1))


@pytest.mark.parametrize(
    ("answers", "outputs", "message"),
    [
        (RNG.dirichlet(np.ones(3), 5), None, r"probabilities already(.|\n)*outputs='softmax'"),
        (RNG.random(5), None, r"may be a probability or a score(.|\n)*outputs='sigmoid'"),
        (RNG.normal(size=(5, 3)), "softmax", r"do not sum to 1(.|\n)*outputs='raw'"),
        (RNG.normal(size=5) * 9, "sigmoid", r"no probabilities(.|\n)*outputs='raw'"),
        (RNG.random((5, 3)), "sigmoid", "3 outputs"),
        (RNG.random(5), "softmax", "one output"),
        (RNG.random((5, 3, 2)), None, r"answers with \(5, 3, 2\)"),
        (RNG.random((5, 3)), "logits", "outputs is 'logits'"),
    ],
)
def test_nothing_is_guessed(answers: Any, outputs: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        as_probabilities(answers, outputs)


def test_probabilities_that_were_stated_to_be_scores_are_scores() -> None:
    p = RNG.dirichlet(np.ones(3), 5)
    np.testing.assert_allclose(as_probabilities(p, "raw"), softmax(p, axis=1), rtol=0, atol=1e-15)


def test_answers_that_are_not_finite_stay_so() -> None:
    scores = RNG.normal(size=(4, 3))
    scores[1, 0] = np.nan
    scores[2] = np.inf
    found = as_probabilities(scores, None)
    assert np.isnan(found[[1, 2]]).all()
    np.testing.assert_allclose(found[[0, 3]], softmax(scores[[0, 3]], axis=1), atol=1e-15)
    assert np.isnan(as_probabilities(np.full((2, 3), np.nan), None)).all()


def test_examples_are_two_parts_or_three() -> None:
    assert split_examples(("x", "y")) == ("x", "y", "x")
    assert split_examples(["x", "y", "s"]) == ("x", "y", "s")
    for wrong in (np.ones(3), ("x",), (1, 2, 3, 4)):
        with pytest.raises(UsageError, match=r"give \(x, y\)"):
            split_examples(wrong)
    assert rows_of({"a": np.ones((7, 2))}) == rows_of((np.ones(7), np.ones(3))) == rows_of([1] * 7) == 7
    with pytest.raises(UsageError, match="cannot be counted in a int"):
        rows_of(3)


class Network:
    """A probe whose network answers with how often it was asked, and takes `cost` seconds for that."""

    framework = "here"
    gone = False

    def __init__(self, cost: float = 0.0) -> None:
        self.asked = 0
        self.cost = cost

    def answers(self, inputs: Any, rows: int) -> tuple[Any, float]:
        self.asked += 1
        return np.full((rows, 2), float(self.asked)), self.cost


def examined(probe: Any, **options: Any) -> tuple[Examined, list[int], Account]:
    logged: list[int] = []
    account = Account(budget=options.pop("budget", 0.02))
    made = Examined(
        probe,
        (np.ones((3, 2)), [0, 1, 0]),
        outputs=None,
        account=account,
        log=lambda asked, step, p, seconds: logged.append(step),
        **options,
    )
    return made, logged, account


def test_it_is_asked_at_each_new_whole_epoch_and_at_the_end() -> None:
    asked, logged, account = examined(Network(cost=0.5))
    asked.begin(None)
    for step, epoch in ((1, None), (2, 0.5), (3, 0.9), (4, 1.0), (5, None), (6, 1.5), (7, 2.0), (8, None)):
        asked.tick(step, epoch, now=step * 1e6)
    assert logged == [0, 1, 2, 4, 7]  # the untrained one, one before epochs were known, epochs 0, 1, 2
    asked.finish(8)
    asked.finish(8)
    assert logged == [0, 1, 2, 4, 7, 8]
    assert account.caller == pytest.approx(0.5 * 6)


def test_without_epochs_steps_lie_ever_further_apart() -> None:
    asked, logged, _ = examined(Network())
    asked.begin(None)
    for step in range(1, 100_001):
        asked.tick(step, None, now=float(step))
    assert logged[:9] == [0, 1, 2, 3, 4, 5, 6, 8, 10]
    assert len(logged) < 70
    assert max(b / a for a, b in pairwise(logged[6:])) < 1.4


def test_the_untrained_network_belongs_to_the_step_before_the_first() -> None:
    asked, logged, _ = examined(probe := Network())
    asked.begin(None)
    asked.tick(0, 0, now=0.0)
    assert logged == [0]  # asked again at step 0: what it says there counts
    assert probe.asked == 2
    asked, logged, _ = examined(probe := Network())
    asked.begin(None)
    asked.finish(None)
    assert logged == [0]  # nothing was logged at all


def test_without_epochs_it_costs_no_more_than_the_budget() -> None:
    asked, logged, _ = examined(Network(cost=0.1))
    for step in range(1, 1001):
        asked.tick(step, None, now=1000 + step * 0.1)  # 100 seconds of training, of which 2 may go
    assert 10 <= len(logged) <= 20
    assert min(b - a for a, b in pairwise(logged)) >= 50
    count = len(logged)
    asked.tick(2000, None, now=5.0)  # the clock was set back
    assert len(logged) == count + 1
    everything, logged, _ = examined(Network(cost=0.1), budget=None)
    for step in range(1, 7):
        everything.tick(step, None, now=0.0)
    assert len(logged) == 6


def test_a_period_of_snapshots_is_one_of_examples_too() -> None:
    asked, logged, _ = examined(Network(cost=9.0), every=10)
    asked.begin(None)
    for step in range(1, 36):
        asked.tick(step, 1.0 if step == 17 else None, now=0.0)
    assert logged == [0, 10, 17, 20, 30]


def test_one_that_fails_is_not_asked_again() -> None:
    class Broken(Network):
        def answers(self, inputs: Any, rows: int) -> tuple[Any, float]:
            self.asked += 1
            raise RuntimeError("no")

    asked, logged, _ = examined(probe := Broken())
    with pytest.raises(RuntimeError):
        asked.tick(1, 1, now=0.0)
    asked.tick(2, 2, now=0.0)
    asked.finish(3)
    assert (probe.asked, logged) == (1, [])


def test_a_network_that_logs_while_it_answers_is_not_asked_within() -> None:
    class Talking(Network):
        def answers(self, inputs: Any, rows: int) -> tuple[Any, float]:
            asked.tick(9, 9, now=0.0)
            return super().answers(inputs, rows)

    asked, logged, _ = examined(Talking())
    asked.tick(1, 1, now=0.0)
    assert logged == [1]


def test_what_cannot_be_asked_is_refused() -> None:
    class Mute:
        framework = "numpy"

    with pytest.raises(UsageError, match="numpy parameters cannot"):
        examined(Mute())
    with pytest.raises(UsageError, match="outputs is 'x'"):
        Examined(Network(), ([1], [1]), outputs="x", account=Account(), log=print)  # type: ignore[arg-type]

    class Short(Network):
        def answers(self, inputs: Any, rows: int) -> tuple[Any, float]:
            return np.ones((2, 2)), 0.0

    asked, _, _ = examined(Short())
    with pytest.raises(UsageError, match="2 answers for 3 examples"):
        asked.tick(1, 1, now=0.0)


@pytest.mark.parametrize(
    ("shown", "given", "same"),
    [
        (np.arange(8.0).reshape(2, 2, 2), np.arange(8.0).reshape(2, 4), True),
        (np.arange(8, dtype=np.uint8).reshape(2, 2, 2), np.arange(8.0).reshape(2, 4), True),
        (np.arange(8.0).reshape(2, 4) * 255, np.arange(8.0).reshape(2, 4), False),
        (np.arange(4.0), np.arange(8.0), False),
        (["a", "b"], np.arange(2.0), False),
    ],
)
def test_pictures_of_the_same_pixels_are_what_the_network_is_given(shown: Any, given: Any, *, same: bool) -> None:
    assert same_numbers(shown, given) is same
