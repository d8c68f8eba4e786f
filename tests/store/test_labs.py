from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from epochal.errors import DamagedError, FormatVersionError, NotFoundError, UsageError
from epochal.facts import LabInfo, Trial, TrialState
from epochal.store import LabLog, Library, new_lab_id, read_lab
from epochal.store.labs import is_running, labs, take_outcome, write_outcome


def lab(name: str = "rates", *, trials: int = 3, created: float | None = None) -> LabInfo:
    return LabInfo(
        id=new_lab_id(),
        name=name,
        project="p",
        created=time.time() if created is None else created,
        train="m:f",
        objective="val_loss",
        mode="min",
        repeats=2,
        source="[lab]\n",
        trials=tuple(
            Trial(number=n, configuration=n // 2, repeat=n % 2, seed=n, parameters={"rate": 0.1, "sizes": [n]})
            for n in range(trials)
        ),
        space={"rate": [0.1]},
        settings={"seed": 3},
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    info = lab()
    ended = TrialState(
        trial=info.trials[0], status="failed", run="r", attempt=2, error="e", traceback="t", seconds=1.5,
        metrics={"a": 1.0, "b": math.inf}, resumable=True,
    )  # fmt: skip
    with LabLog(tmp_path, info) as log:
        log.started(info.trials[0], attempt=2, run="r")
        log.ended(ended)
        log.started(info.trials[1], attempt=1, run="s")
        log.note("something new", number=1)
        found, states = read_lab(tmp_path, info.id)
        assert found == LabInfo(**{**{name: getattr(info, name) for name in info.__slots__}, "path": str(log.path)})
        assert states[0] == ended
        assert (states[1].status, states[1].run, states[2].status) == ("running", "s", "waiting")
        assert is_running(log.path)
    _, states = read_lab(tmp_path, info.id)
    assert (states[1].status, states[1].resumable) == ("stopped", True)
    assert Library(tmp_path).runs() == []


def test_trials_that_came_later_are_there(tmp_path: Path) -> None:
    info = lab(trials=1)
    with LabLog(tmp_path, info) as log:
        log.planned(Trial(number=1, configuration=1, repeat=0, seed=9, parameters={"rate": 0.5}))
    found, states = read_lab(tmp_path)
    assert [trial.seed for trial in found.trials] == [0, 9]
    assert [state.status for state in states] == ["waiting", "waiting"]


def test_a_line_that_was_torn_is_no_harm(tmp_path: Path) -> None:
    info = lab()
    with LabLog(tmp_path, info) as log:
        log.started(info.trials[0], attempt=1)
        path = log.path / "events.jsonl"
    with path.open("ab") as file:
        file.write(b'{"t":1,"event":"ended","number":0,"stat')
    assert read_lab(tmp_path)[1][0].status == "stopped"
    with LabLog(tmp_path, info) as log:
        log.ended(TrialState(trial=info.trials[0], status="finished", attempt=1))
    assert read_lab(tmp_path)[1][0].status == "finished"
    assert path.read_bytes().count(b"\n") == 3


def test_events_that_hold_other_things_are_passed_over(tmp_path: Path) -> None:
    info = lab()
    with LabLog(tmp_path, info) as log:
        path = log.path / "events.jsonl"
        log.started(info.trials[0], attempt=1)
    with path.open("ab") as file:
        for odd in (
            '{"event":"planned","trial":{"number":[1]}}', '{"event":"planned","trial":7}',
            '{"event":"planned","trial":{"number":1e999}}', '{"event":"started","number":[0]}',
            '{"event":"started","number":0,"attempt":"x"}', '{"event":"started","number":0,"attempt":1e999}',
            '{"event":"ended","number":0,"status":["finished"]}',
            '{"event":"ended","number":0,"status":"finished","metrics":3,"seconds":"x"}', "[]", "3",
        ):  # fmt: skip
            file.write(odd.encode() + b"\n")
    with LabLog(tmp_path, info) as log:
        log.ended(TrialState(trial=info.trials[1], status="finished", attempt=1))
        assert [state.status for state in read_lab(tmp_path)[1]] == ["running", "finished", "waiting"]


def test_one_process_runs_a_lab(tmp_path: Path) -> None:
    info = lab()
    with LabLog(tmp_path, info), pytest.raises(UsageError, match="is being run by another process"):
        LabLog(tmp_path, info)
    with LabLog(tmp_path, info):
        pass


def test_a_process_that_died_runs_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys; from epochal.store import LabLog; from epochal.facts import LabInfo, Trial\n"
        "t = Trial(number=0, configuration=0, repeat=0, seed=0)\n"
        f"log = LabLog({str(tmp_path)!r}, LabInfo(id='x', name='n', project='p', created=1.0, trials=(t,)))\n"
        "log.started(t, attempt=1, run='r')\nos._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    info, [state] = read_lab(tmp_path, "n")
    assert not is_running(info.path)
    assert (state.status, state.run, state.resumable) == ("stopped", "r", True)


def test_labs_are_found_by_name_and_beginning(tmp_path: Path) -> None:
    old, new, other = lab(created=1.0), lab(created=2.0), lab("others", created=3.0)
    for info in (old, new, other):
        LabLog(tmp_path, info).close()
    assert [info.id for info in labs(tmp_path)] == [other.id, new.id, old.id]
    assert read_lab(tmp_path)[0].id == other.id
    assert read_lab(tmp_path, "rates")[0].id == new.id
    assert read_lab(tmp_path, f"p/{old.id}")[0].id == old.id
    with pytest.raises(NotFoundError, match=r"(?s)no lab 'rate'.*near: rates"):
        read_lab(tmp_path, "rate")
    with pytest.raises(UsageError, match="3 labs begin with"):
        read_lab(tmp_path, "20")
    with pytest.raises(NotFoundError, match="There are no labs"):
        read_lab(tmp_path / "nowhere")


def test_damage_and_other_versions_are_said(tmp_path: Path) -> None:
    info = lab()
    LabLog(tmp_path, info).close()
    path = tmp_path / "p" / ".labs" / info.id / "lab.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "format_version": 99}))
    with pytest.raises(FormatVersionError, match="format version 99"):
        read_lab(tmp_path, info.id)
    path.write_text(json.dumps({"format_version": 1, "id": "x"}))
    with pytest.raises(DamagedError, match="name"):
        read_lab(tmp_path, info.id)
    assert labs(tmp_path) == []


def test_a_trial_leaves_its_word(tmp_path: Path) -> None:
    trial = Trial(number=4, configuration=4, repeat=0, seed=0)
    assert take_outcome(tmp_path, trial, 1) is None
    state = TrialState(trial=trial, status="finished", attempt=1, metrics={"a": math.nan, "b": 2.0}, seconds=0.5)
    write_outcome(tmp_path, state)
    found = take_outcome(tmp_path, trial, 1)
    assert found is not None
    assert math.isnan(found.metrics["a"])
    assert (found.status, found.metrics["b"], found.seconds) == ("finished", 2.0, 0.5)
    assert take_outcome(tmp_path, trial, 2) is None
