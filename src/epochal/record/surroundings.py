"""What is recorded around a training besides its numbers: machine, console, code, alerts. Chosen and begun here."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from epochal.errors import UsageError
from epochal.record.alerts import Alerts
from epochal.record.console import Console
from epochal.record.origin_late import LateOrigin
from epochal.record.ranks import Place
from epochal.record.secret import Masker
from epochal.record.system import PERIOD_SECS, SHORTEST_SECS, System
from epochal.record.webhook import Target, check_address
from epochal.store import RunWriter

if TYPE_CHECKING:
    from epochal.record.run import Run

_NO = ("0", "false", "no", "off")
_YES = ("1", "true", "yes", "on")

AlertTargets = Target | Sequence[Target]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What to record. `system` is the time between two samples in seconds, None for none."""

    system: float | None
    console: bool
    code: bool
    targets: tuple[Target, ...]


def choose(
    *,
    system: bool | float | None,
    console: bool | None,
    code: bool | None,
    alerts: AlertTargets | None,
    environment: Mapping[str, str] = os.environ,
) -> Choices:
    """What the arguments of `init` mean together with the environment, which says what holds where they say nothing.

    Raises UsageError, in words that hold no address of a webhook.
    """
    return Choices(
        system=_seconds(system, environment),
        console=_switch("console", console, "EPOCHAL_CONSOLE", environment),
        code=_switch("code", code, "EPOCHAL_CODE", environment),
        targets=_targets(alerts, environment),
    )


def _seconds(given: bool | float | None, environment: Mapping[str, str]) -> float | None:  # noqa: FBT001
    what: object = given
    if given is None:
        word = environment.get("EPOCHAL_SYSTEM", "").strip().lower()
        what = f"EPOCHAL_SYSTEM={word}"
        try:
            given = True if word in ("", *_YES) else False if word in _NO else float(word)
        except ValueError:
            given = math.nan
    if isinstance(given, bool):
        return PERIOD_SECS if given else None
    if not isinstance(given, int | float) or not SHORTEST_SECS <= given < math.inf:
        raise UsageError(
            f"system is {what!r}", hint=f"use True, False, or seconds between samples, {SHORTEST_SECS:g} or more"
        )
    return float(given)


def _switch(name: str, given: bool | None, variable: str, environment: Mapping[str, str]) -> bool:  # noqa: FBT001
    if given is None:
        word = environment.get(variable, "").strip().lower()
        if word not in ("", *_YES, *_NO):
            raise UsageError(f"{variable} is {word!r}", hint="use 1 or 0")
        return word not in _NO
    if not isinstance(given, bool):
        raise UsageError(f"{name} is {given!r}", hint="use True or False")
    return given


def _targets(given: AlertTargets | None, environment: Mapping[str, str]) -> tuple[Target, ...]:
    listed: list[Any] = [] if given is None else list(given) if isinstance(given, list | tuple) else [given]
    found: list[Target] = []
    for each in listed:
        if isinstance(each, str):
            found.append(check_address(each))
        elif callable(each):
            found.append(each)
        else:
            raise UsageError(
                f"alerts holds a {type(each).__name__}",
                hint="give the address of a webhook, a function that takes an alert, or a list of these",
            )
    if address := environment.get("EPOCHAL_ALERT_WEBHOOK", "").strip():
        found.append(check_address(address))
    return tuple(dict.fromkeys(found))


def begin(
    run: Run, writer: RunWriter, choices: Choices, masker: Masker, *, facts: tuple[Any, Any], place: Place
) -> None:
    """Begin what was chosen, and let the run end it: its closers are called from the last to the first.

    `facts` are code and environment as they stand in run.json.
    """
    held = weakref.ref(run)

    def step() -> int | None:
        holder = held()
        if holder is None:
            raise ReferenceError("nobody holds the run any more")
        return holder.step

    closers: list[Callable[[], None]] = []
    if choices.code and place.rank == 0:
        code, environment = facts
        closers.append(LateOrigin(writer, masker, code=code, environment=environment).close)
    if choices.console:
        console = Console(writer, step, masker)
        run._last_words = console.tell
        closers.append(console.close)
    about = {"project": run.project, "run": run.id, "name": run.name}
    run._alerts = Alerts(writer, targets=choices.targets, about=about, mask=masker)
    closers.append(run._alerts.close)  # before the console, which hears what it says in the terminal
    if choices.system is not None:
        closers.append(System(writer, step, period_secs=choices.system, machine=place.local_rank == 0).close)
    run._closers.extend(closers)
