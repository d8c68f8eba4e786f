"""Which of a training's processes this is, and how all of them come into one run; without any framework."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

import epochal
from epochal.errors import RecordingWarning, RunExistsError, UsageError
from epochal.record import meeting, ranks
from epochal.record.meeting import Meeting
from epochal.record.ranks import Place, find_place
from epochal.store import StoredRun
from tests.store.helpers import Child

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_RESTART_COUNT": "2",
}
LAUNCHED = {
    "torchrun": TORCHRUN,
    "by hand": {"RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "node0", "MASTER_PORT": "29500", "LOCAL_RANK": "1"},
    "slurm": {
        "SLURM_PROCID": "3",
        "SLURM_NTASKS": "8",
        "SLURM_LOCALID": "1",
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_ID": "0",
    },
    "open mpi": {
        "OMPI_COMM_WORLD_RANK": "3",
        "OMPI_COMM_WORLD_SIZE": "8",
        "OMPI_COMM_WORLD_LOCAL_RANK": "1",
        "PMIX_NAMESPACE": "prterun-1@1",
    },
    "mpich": {"PMI_RANK": "3", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1", "PMI_JOBID": "a1"},
}


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No launcher but the test's own, and no run begun before."""
    for name in {name for variables in LAUNCHED.values() for name in variables} | {"EPOCHAL_RUN_ID"}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ranks, "_find_group", lambda: None)
    monkeypatch.setattr(meeting, "_begun", {})


@pytest.mark.parametrize("launcher", LAUNCHED)
def test_launchers_say_the_place(launcher: str) -> None:
    place = find_place(environ=LAUNCHED[launcher])
    assert (place.rank, place.world_size, place.local_rank) == (3, 8, 1)
    assert place.launch
    assert place.sure == (launcher in ("slurm", "open mpi", "mpich"))
    assert (place.elastic, place.attempt) == ((True, 2) if launcher == "torchrun" else (False, 0))
    other = {**LAUNCHED[launcher]}
    for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        if name in other:
            other[name] = "0"
    assert find_place(environ=other).launch == place.launch, "all ranks say the same of their launch"


def test_a_named_launch_is_the_same_at_another_port() -> None:
    named = {**TORCHRUN, "TORCHELASTIC_RUN_ID": "night-7"}
    assert find_place(environ=named).launch == find_place(environ={**named, "MASTER_PORT": "1"}).launch
    assert find_place(environ=TORCHRUN).launch != find_place(environ={**TORCHRUN, "MASTER_PORT": "1"}).launch


def test_torchrun_inside_of_a_scheduler_counts() -> None:
    assert find_place(environ={**LAUNCHED["slurm"], "SLURM_PROCID": "1", "SLURM_NTASKS": "2", **TORCHRUN}).rank == 3


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"RANK": "1"},
        {"RANK": "x", "WORLD_SIZE": "2"},
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "-1", "WORLD_SIZE": "2"},
        {"SLURM_JOB_ID": "7"},
    ],
)
def test_variables_that_say_nothing_whole_are_left_alone(variables: dict[str, str]) -> None:
    assert find_place(environ=variables) == Place()


def test_a_place_that_is_given_stands_above_the_launchers() -> None:
    assert find_place(1, 4, environ=TORCHRUN).rank == 1
    assert find_place(world_size=1, environ=TORCHRUN) == Place(local_rank=1)
    assert find_place(5, environ={}).world_size == 6
    for rank, size in ((4, 4), (-1, 2), ("1", 2), (0, 0)):
        with pytest.raises(UsageError, match=r"rank is .* of world_size"):
            find_place(rank, size, environ={})  # type: ignore[arg-type]


TRAIN = """
    import os, sys, time, epochal
    time.sleep(float(sys.argv[1]))
    run = epochal.init("job", config={"lr": 0.1, "rank": os.environ["RANK"]}, system=False, console=False, code=False)
    for step in range(20):
        run.log({"loss": step + 100.0 * run.rank}, step=step)
    print(run.id, run.rank, run.world_size, flush=True)
    if len(sys.argv) > 2:
        time.sleep(float(sys.argv[2]))
    run.finish()
"""


def launch(root: Path, rank: int, *, late: float = 0.0, linger: float = 0.0, size: int = 2, **more: str) -> Child:
    variables = {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "29999",
        "EPOCHAL_DIR": str(root),
        **more,
    }
    return Child(
        [sys.executable, "-c", textwrap.dedent(TRAIN), str(late), str(linger)],
        env={**os.environ, **variables},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: Child) -> tuple[str, int, int, str]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    run_id, rank, size = out.split()
    return run_id, int(rank), int(size), err


@pytest.mark.distributed
@pytest.mark.parametrize("first", [0, 1])
def test_processes_that_a_launcher_started_are_one_run(tmp_path: Path, first: int) -> None:
    """Whichever comes first: rank 0 waits for nobody, the other waits for it."""
    with launch(tmp_path, 0, late=0.4 * first) as zero, launch(tmp_path, 1, late=0.4 * (1 - first)) as one:
        told = [ended(zero), ended(one)]
    assert told[0][0] == told[1][0]
    assert [(rank, size) for _, rank, size, _ in told] == [(0, 2), (1, 2)]
    assert told[0][3] == told[1][3] == ""
    (path,) = [p.parent for p in tmp_path.glob("job/*/run.json")]
    run = StoredRun(path)
    series = run.scalars()
    assert sorted(series) == ["loss", "rank1/loss", "ranks/max/loss", "ranks/mean/loss", "ranks/min/loss"]
    steps = list(range(20))
    assert series["loss"].v.tolist() == [float(s) for s in steps]
    assert series["rank1/loss"].v.tolist() == [s + 100.0 for s in steps]
    assert series["ranks/mean/loss"].v.tolist() == [s + 50.0 for s in steps]
    assert series["ranks/min/loss"].v.tolist() == series["loss"].v.tolist()
    assert series["ranks/max/loss"].v.tolist() == series["rank1/loss"].v.tolist()
    info = run.info()
    assert (info.status, info.ranks, info.last_step) == ("finished", 2, 19)
    assert info.config == {"lr": 0.1, "rank": "0"}, "rank 0 speaks for all"
    assert run.notices() == ()
    assert {name: s.n for name, s in run.summaries().items()} == dict.fromkeys(series, 20)


@pytest.mark.distributed
def test_the_same_launch_again_is_another_run(tmp_path: Path) -> None:
    """Nothing but the time tells the two apart: the note that the first one left must be recognised as its own."""
    found = []
    for _ in range(2):
        with launch(tmp_path, 0, late=0.3) as zero, launch(tmp_path, 1) as one:
            found.append({ended(zero)[0], ended(one)[0]})
        time.sleep(meeting.CLOCK_SECS + 0.1)
    assert [len(ids) for ids in found] == [1, 1]
    assert found[0] != found[1]


@pytest.mark.distributed
def test_a_rank_that_comes_when_rank_0_has_ended_still_joins(tmp_path: Path) -> None:
    with launch(tmp_path, 1, late=2.5) as one, launch(tmp_path, 0) as zero:
        first = ended(zero)[0]
        assert ended(one)[0] == first


@pytest.mark.distributed
def test_a_rank_that_nobody_meets_records_on_its_own_and_says_so(tmp_path: Path) -> None:
    with launch(tmp_path, 1, EPOCHAL_WAIT_SECS="0.3") as one:
        run_id, _, _, err = ended(one)
    assert "rank 1 waited 0.3 s for rank 0 in vain and records a run of its own" in err
    run = StoredRun(tmp_path / "job" / run_id)
    assert run.scalars()["rank1/loss"].v.tolist() == [s + 100.0 for s in range(20)]
    assert {n: s.n for n, s in run.summaries().items()} == {"rank1/loss": 20}
    assert run.info().config == {"lr": 0.1, "rank": "1"}


@pytest.mark.distributed
def test_an_id_from_the_environment_is_everyones(tmp_path: Path) -> None:
    with (
        launch(tmp_path, 1, EPOCHAL_RUN_ID="night", MASTER_PORT="") as one,
        launch(tmp_path, 0, late=0.3, EPOCHAL_RUN_ID="night", MASTER_PORT="") as zero,
    ):
        assert {ended(zero)[0], ended(one)[0]} == {"night"}
    assert StoredRun(tmp_path / "job" / "night").info().config["rank"] == "0", "rank 1 waited for it"


@pytest.mark.distributed
def test_a_rank_that_is_killed_is_a_notice_of_the_run_that_went_on(tmp_path: Path) -> None:
    with launch(tmp_path, 0, linger=1.0) as zero, launch(tmp_path, 1, linger=60) as one:
        run_id = one.line().split()[0]
        run = StoredRun(tmp_path / "job" / run_id)
        one.kill()
        one.wait()
        assert run.info().status == "running", "rank 0 lives"
        assert [n.code for n in run.info().notices] == ["dead_rank"]
        ended(zero)
    info = run.info()
    assert info.status == "finished"
    (notice,) = run.notices()
    assert (notice.code, notice.count) == ("dead_rank", 1)
    assert notice.message == "rank 1 died before the end: its numbers end where it died"
    assert run.scalars()["rank1/loss"].v.tolist() == [s + 100.0 for s in range(20)]


def test_places_in_the_run(tmp_path: Path) -> None:
    with epochal.init("p", dir=tmp_path) as run:
        assert (run.rank, run.world_size) == (0, 1)
    with epochal.init("p", dir=tmp_path, id="x", rank=0, world_size=2) as run:
        assert (run.rank, run.world_size) == (0, 2)
    with epochal.init("p", dir=tmp_path, id="x", rank=1, world_size=2) as run:
        assert (run.rank, run.world_size) == (1, 2)
    assert epochal.init("p", mode="off", rank=1, world_size=2).rank == 1
    with pytest.raises(RunExistsError):
        epochal.init("p", dir=tmp_path, id="x", rank=1, world_size=2)
    assert StoredRun(tmp_path / "p" / "x").info().ranks == 2


def test_a_failed_rank_is_named_with_its_error(tmp_path: Path) -> None:
    zero = epochal.init("p", dir=tmp_path, id="x", rank=0, world_size=2)
    with (
        pytest.raises(ZeroDivisionError),
        epochal.init("p", dir=tmp_path, id="x", rank=1, world_size=2) as one,
    ):
        one.log({"x": 1 / 0})
    zero.finish()
    info = StoredRun(tmp_path / "p" / "x").info()
    assert (info.status, info.error) == ("failed", "rank 1: ZeroDivisionError: division by zero")


def test_only_rank_0_looks_at_the_network_unless_all_are_asked_to(tmp_path: Path) -> None:
    import numpy as np

    for rank in (0, 1):
        for asked in get_args(Literal["first", "all"]):
            with epochal.init("p", dir=tmp_path, id=asked, rank=rank, world_size=2, strict=True) as run:
                run.watch({"w": np.full(3, float(rank))}, ranks=asked)
                for epoch in range(3):
                    run.log({"loss": 1.0}, epoch=epoch)
                run.snapshot()
    first, every = StoredRun(tmp_path / "p" / "first"), StoredRun(tmp_path / "p" / "all")
    assert first.statistics_series() == ["param/w"]
    assert every.statistics_series() == ["param/w", "rank1/param/w"]
    assert every.statistics("param/w").columns["mean"].tolist() == [0.0] * 3
    assert every.statistics("rank1/param/w").columns["mean"].tolist() == [1.0] * 3
    assert every.statistics("rank1/param/w").series == "rank1/param/w"
    assert [len(list(path.glob("params/*"))) > 0 for path in sorted(first.folder.writers_path.iterdir())] == [
        True,
        False,
    ]
    with pytest.raises(UsageError, match="ranks is 'some'"), epochal.init("p", dir=tmp_path, strict=True) as run:
        run.watch({"w": np.zeros(3)}, ranks="some")  # type: ignore[arg-type]


def note_of(root: Path, **changes: Any) -> Path:
    (path,) = (root / "job").glob(".launch-*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def test_notes_of_earlier_launches_are_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "job").mkdir()
    place = find_place(environ={**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "0"})

    def heard(place: Place = place) -> str | None:
        monkeypatch.setattr(meeting, "_begun", {})
        return Meeting(place, tmp_path, "job").wait(0.0)

    assert heard() is None
    monkeypatch.setattr(meeting, "_begun", {})
    Meeting(place, tmp_path, "job").tell("r1")
    assert heard() == "r1"
    note_of(tmp_path, pid=2**22 + 1)
    assert heard() == "r1", "rank 0 has ended already, after this launch began"
    note_of(tmp_path, created=1.0)
    assert heard() is None, "it is dead, and wrote before this launch began"
    note_of(tmp_path, host="elsewhere")
    assert heard() is None
    slurm = find_place(environ=LAUNCHED["slurm"])
    assert heard(slurm) is None, "another launch"
    monkeypatch.setattr(meeting, "_begun", {})
    Meeting(slurm, tmp_path, "job").tell("r2")
    for path in (tmp_path / "job").glob(".launch-*.json"):
        if "r2" in path.read_text():
            path.write_text(
                json.dumps(json.loads(path.read_text()) | {"created": time.time() - 60, "host": "elsewhere"})
            )
    assert heard(slurm) == "r2", "a job's tasks may begin late on other machines"
    for text in ("", "{", "[]", '{"key": "epochal/job/1"}', '{"key": "other", "run_id": "x"}'):
        for path in (tmp_path / "job").glob(".launch-*.json"):
            path.write_text(text)
        assert heard() is None


def test_notes_are_swept_after_a_week(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "job").mkdir()
    old = tmp_path / "job" / ".launch-00000000000000000000.json"
    old.write_text("{}")
    os.utime(old, (time.time() - 8 * 86_400,) * 2)
    Meeting(find_place(environ=TORCHRUN), tmp_path, "job").tell("r1")
    assert not old.exists()
    assert len(list((tmp_path / "job").glob(".launch-*"))) == 1


def test_the_second_run_of_a_process_meets_the_second_run_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    place = find_place(environ=TORCHRUN)
    for number in (1, 2):
        Meeting(place, tmp_path, "job").tell(f"r{number}")
    meeting._begun.clear()
    assert [Meeting(place, tmp_path, "job").wait(0.0) for _ in range(3)] == ["r1", "r2", None]


def test_a_new_attempt_of_a_launch_goes_on_with_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for attempt in range(3):
        monkeypatch.setattr(meeting, "_begun", {})
        for name, value in {**TORCHRUN, "RANK": "0", "TORCHELASTIC_RESTART_COUNT": str(attempt)}.items():
            monkeypatch.setenv(name, value)
        with epochal.init("job", dir=tmp_path) as run:
            assert run.step == (None if not attempt else 4 + attempt)
            for step in range(6 if not attempt else 1):
                run.log({"loss": float(attempt)}, step=step if not attempt else None)
        ids.append(run.id)
    assert len(set(ids)) == 1
    found = StoredRun(tmp_path / "job" / ids[0])
    assert found.scalars()["loss"].v.tolist() == [0.0] * 6 + [1.0, 2.0]


def test_a_wait_that_is_no_number_of_seconds_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EPOCHAL_WAIT_SECS", "long")
    with pytest.raises(UsageError, match="EPOCHAL_WAIT_SECS is 'long'"):
        epochal.init("p", dir=tmp_path, rank=1, world_size=2)


def test_without_any_way_to_hear_of_rank_0_nobody_waits(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.warns(RecordingWarning, match="rank 1 cannot hear of rank 0 and records a run of its own"):
        epochal.init("p", dir=tmp_path, rank=1, world_size=2).finish()
    assert time.monotonic() - began < 5
