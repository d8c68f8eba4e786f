"""What is chosen to be recorded around a training, by arguments and by the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from epochal.errors import UsageError
from epochal.record import init
from epochal.record.surroundings import Choices, choose

NOTHING: dict[str, Any] = {"system": None, "console": None, "code": None, "alerts": None}


def chosen(environment: dict[str, str] | None = None, **options: Any) -> Choices:
    return choose(**{**NOTHING, **options}, environment=environment or {})


def test_all_is_on_unless_it_is_switched_off() -> None:
    assert chosen() == Choices(system=10.0, console=True, code=True, targets=())


@pytest.mark.parametrize(
    ("given", "word", "seconds"),
    [
        (None, "", 10.0),
        (None, "0", None),
        (None, "off", None),
        (None, "False", None),
        (None, "1", 10.0),
        (None, "2.5", 2.5),
        (True, "0", 10.0),
        (False, "1", None),
        (0.1, "0", 0.1),
        (60, "", 60.0),
    ],
)
def test_how_often_the_machine_is_sampled(given: Any, word: str, seconds: float | None) -> None:
    assert chosen({"EPOCHAL_SYSTEM": word}, system=given).system == seconds


@pytest.mark.parametrize("name", ["console", "code"])
@pytest.mark.parametrize(
    ("given", "word", "on"),
    [
        (None, "", True),
        (None, "0", False),
        (None, "no", False),
        (None, "YES", True),
        (True, "0", True),
        (False, "1", False),
    ],
)
def test_switches(name: str, given: bool | None, word: str, on: bool) -> None:
    assert getattr(chosen({f"EPOCHAL_{name.upper()}": word}, **{name: given}), name) is on


def test_targets_of_alerts_without_doubles() -> None:
    address, other = "https://hooks.example/a", "http://localhost:8000/b"

    def told(alert: object) -> None: ...

    assert chosen(alerts=address).targets == (address,)
    assert chosen(alerts=told).targets == (told,)
    found = chosen({"EPOCHAL_ALERT_WEBHOOK": f" {other} "}, alerts=[address, told, f"{address} "]).targets
    assert found == (address, told, other)
    assert chosen({"EPOCHAL_ALERT_WEBHOOK": address}, alerts=(address,)).targets == (address,)


@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        ({"system": "yes"}, {}, "system is 'yes'"),
        ({"system": 0}, {}, "system is 0"),
        ({"system": -1.0}, {}, "system is -1.0"),
        ({"system": float("nan")}, {}, "system is nan"),
        ({"system": float("inf")}, {}, "system is inf"),
        ({"console": 1}, {}, "console is 1"),
        ({"code": "no"}, {}, "code is 'no'"),
        ({"alerts": {"url": "x"}}, {}, "alerts holds a dict"),
        ({}, {"EPOCHAL_SYSTEM": "often"}, "EPOCHAL_SYSTEM=often"),
        ({}, {"EPOCHAL_CONSOLE": "maybe"}, "EPOCHAL_CONSOLE is 'maybe'"),
        ({}, {"EPOCHAL_CODE": "2"}, "EPOCHAL_CODE is '2'"),
        ({}, {"EPOCHAL_ALERT_WEBHOOK": "slack"}, "a webhook for alerts is no http"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, Any], environment: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as told:
        chosen(environment, **options)
    assert told.value.hint or "webhook" in message


def test_it_is_said_before_anything_is_made(tmp_path: Path) -> None:
    wrongs: list[dict[str, Any]] = [{"system": "x"}, {"console": 3}, {"alerts": "x"}]
    modes: list[Literal["on", "off"]] = ["on", "off"]
    for wrong in wrongs:
        for mode in modes:
            with pytest.raises(UsageError):
                init("p", dir=tmp_path / "runs", mode=mode, **wrong)
    assert not (tmp_path / "runs").exists()
