"""What came of a lab, asked in Python: the same as was returned, and effects that are differences of means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import epochal
from epochal.errors import NotFoundError, UsageError
from epochal.lab import Lab

HERE = Path(__file__).parents[2]


def test_effects_and_sentences_of_a_lab_that_was_run_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    made = Lab("checks", train="tests.lab.trainings:curve", objective="train_loss", mode="min", repeats=3,
               space={"rate": [0.5, 0.25]}, parameters={"epochs": 2})  # fmt: skip
    returned = made.run(dir=tmp_path, jobs=2)
    read = epochal.lab.read(dir=tmp_path)
    assert read.trials == returned.trials
    effects = read.effects()
    (rate,) = effects.effects
    at = {
        value: [t.metrics["train_loss"] for t in read.trials if t.trial.parameters["rate"] == value]
        for value in (0.5, 0.25)
    }
    assert rate.largest is not None
    assert rate.largest.low is not None
    assert rate.largest.high is not None
    assert rate.largest.estimate == pytest.approx(np.mean(at[0.25]) - np.mean(at[0.5]))
    assert rate.largest.low < rate.largest.estimate < rate.largest.high < 0
    sentences = read.sentences()
    assert sentences[0].startswith("rate 0.5 → 0.25: −0.1")
    assert "3 repeats" in sentences[0]
    assert read.sentences("val_accuracy")[0].startswith("rate 0.5 → 0.25: +")
    with pytest.raises(UsageError, match="no finished trial has the metric 'speed'"):
        read.effects("speed")
    with pytest.raises(NotFoundError):
        epochal.lab.read("another", dir=tmp_path)
