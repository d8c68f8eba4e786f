"""Going on with a run, taking it back to a step, and beginning another where it was at one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import epochal
from epochal.errors import NotFoundError, RunExistsError, UsageError
from epochal.record import Run
from epochal.store import StoredRun
from epochal.workspace import RunReader

QUIET: dict[str, Any] = {"system": False, "console": False, "code": False, "strict": True}
Weights = dict[str, npt.NDArray[np.float32]]


def train(run: Run, weights: Weights, steps: range, *, lr: float = 1.0) -> None:
    """A training whose parameters and losses are derived from the step, so that each can be told."""
    run.watch(weights, snapshots=5)
    for step in steps:
        weights["a.weight"] += lr
        run.log({"loss": lr / (step + 1), "only/late" if step >= 15 else "only/early": 1.0}, step=step, epoch=step // 5)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EPOCHAL_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def first(root: Path) -> StoredRun:
    """Twenty steps, with snapshots at 0, 5, 10, 15 and 19."""
    weights = {"a.weight": np.zeros((2, 3), np.float32)}
    with epochal.init("p", id="first", name="baseline", config={"lr": 1.0, "net": {"width": 3}}, **QUIET) as run:
        train(run, weights, range(20))
    return StoredRun(root / "p" / "first")


def steps_of(run: StoredRun, name: str = "loss") -> list[int]:
    steps: list[int] = run.scalars([name])[name].steps.tolist()
    return steps


def test_a_run_that_was_taken_back_hides_what_came_after(root: Path, first: StoredRun) -> None:
    assert steps_of(first, "only/late") == [15, 16, 17, 18, 19]
    with epochal.init("p", id="first", resume="must", rewind_to=12, **QUIET) as run:
        assert run.step == 12
        # Hidden at once, before anything is logged.
        assert steps_of(first) == list(range(13))
        assert "only/late" not in first.scalars()
        assert first.snapshot_steps() == [0, 5, 10]
        assert first.statistics("param/a.weight").steps.max() <= 12
        assert first.info().last_step == 12
        run.log({"loss": 7.0})
        run.log({"loss": 8.0}, step=16)
    assert steps_of(first) == [*range(13), 13, 16]
    assert first.scalars()["loss"].v[-2:].tolist() == [7.0, 8.0]
    assert first.scalars()["epoch"].v.max() == 2
    assert first.summaries()["loss"].n == 15
    assert "only/late" not in first.summaries()
    told = {notice.message: notice.count for notice in first.notices()}
    # 7 losses, 7 epochs, 2 of the early series and 5 of the late one; the snapshots of 15 and 19.
    assert told == {
        "21 numbers are hidden: the run was taken back to step 12": 21,
        "2 params snapshots are hidden: the run was taken back to step 12": 2,
    }
    info = first.info()
    assert (info.status, info.last_step, info.last_epoch) == ("finished", 16, 2)
    kept = {p.name for p in first.path.glob("w/*/params/*")}
    assert {"step-0000000015.safetensors", "step-0000000019.safetensors"} <= kept, "nothing is deleted"
    again = StoredRun(first.path)
    assert {n: s.v.tobytes() for n, s in again.scalars().items()} == {
        n: s.v.tobytes() for n, s in first.scalars().items()
    }


def test_a_run_can_be_taken_back_more_than_once(root: Path, first: StoredRun) -> None:
    for back, logged in ((15, range(16, 30)), (8, range(9, 12)), (10, range(11, 13))):
        with epochal.init("p", id="first", resume="must", rewind_to=back, **QUIET) as run:
            for step in logged:
                run.log({"loss": 100.0 * back}, step=step)
    assert steps_of(first) == list(range(13))
    assert first.scalars()["loss"].v[9:].tolist() == [800.0, 800.0, 1000.0, 1000.0]
    (notice,) = [n for n in first.notices() if "numbers" in n.message]
    assert notice.message.endswith("the run was taken back to step 8, 10, 15")


def test_a_look_at_a_run_that_is_taken_back_meanwhile(first: StoredRun) -> None:
    """A reader that has read everything forgets nothing of what it must hide later."""
    reader = RunReader(first)
    assert len(reader.film("param/a.weight").steps) == 5
    assert first.statistics("param/a.weight").steps.max() == 19
    with epochal.init("p", id="first", resume="must", rewind_to=5, **QUIET) as run:
        weights = {"a.weight": np.full((2, 3), 50, np.float32)}
        run.watch(weights, snapshots=5)
        for step in range(6, 12):
            run.log({"loss": 1.0}, step=step)
        run.snapshot()
    film = reader.film("param/a.weight")
    assert film.steps.tolist() == [0, 5, 6, 10, 11]
    assert film.frames[:, 0, 0].tolist() == [1, 6, 50, 50, 50]
    table = first.statistics("param/a.weight")
    assert table.steps.tolist() == sorted(table.steps.tolist())
    assert set(table.columns["mean"][table.steps > 5].tolist()) == {50.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rewind_to": 5}, "rewind_to needs a run to go back in"),
        ({"id": "first", "rewind_to": 5}, "rewind_to needs a run to go back in"),
        ({"id": "first", "resume": "must", "rewind_to": -1}, "rewind_to is -1"),
        ({"id": "first", "resume": "must", "rewind_to": 2.5}, "rewind_to is 2.5"),
        ({"id": "first", "resume": "must", "rewind_to": True}, "rewind_to is True"),
        ({"id": "first", "resume": "must", "fork": "latest"}, "resume='must' goes on with a run, fork begins a new"),
        ({"fork": ""}, "fork is ''"),
        ({"fork": 5}, "fork is 5"),
        ({"fork": "first@20"}, "run p/first cannot be forked at step 20"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_made(first: StoredRun, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        epochal.init("p", **arguments)
    assert [path.name for path in first.path.parent.iterdir()] == ["first"]
    assert len(first.folder.writers()) == 1


def test_must_insists_and_never_refuses(first: StoredRun) -> None:
    with pytest.raises(NotFoundError, match="There is no run p/second to go on with"):
        epochal.init("p", id="second", resume="must", rewind_to=3)
    with pytest.raises(RunExistsError):
        epochal.init("p", id="first")
    with epochal.init("p", id="second", resume="allow", rewind_to=3, **QUIET) as run:
        assert run.step is None, "there was nothing to go back in"
        run.log({"x": 1.0})
    assert steps_of(StoredRun(first.path.parent / "second"), "x") == [0]


def test_a_fork_begins_where_its_parent_was(root: Path, first: StoredRun) -> None:
    with epochal.init("p", fork="p/first@10", config={"lr": 0.5, "new": True}, id="child", **QUIET) as run:
        assert (run.parent, run.parent_step, run.step) == ("p/first", 10, 10)
        assert run.config == {"lr": 0.5, "net": {"width": 3}, "new": True}
        weights: Weights = run.parent_parameters()  # type: ignore[assignment]
        assert weights["a.weight"].tolist() == [[11.0] * 3] * 2
        assert weights["a.weight"].tobytes() == first.snapshot(10)["a.weight"].tobytes()
        weights["a.weight"] += 0  # they are the caller's own
        train(run, weights, range(11, 14), lr=0.5)
    child = StoredRun(root / "p" / "child")
    info = child.info()
    assert (info.parent, info.parent_step, info.config["net"]) == ("p/first", 10, {"width": 3})
    assert steps_of(child) == [11, 12, 13]
    assert child.snapshot_steps()[0] == 10, "its first frame is what it began with"
    assert child.snapshot(10)["a.weight"].tolist() == [[11.0] * 3] * 2
    assert child.snapshot(13)["a.weight"].tolist() == [[12.5] * 3] * 2
    assert child.notices() == first.notices() == ()
    assert steps_of(first) == list(range(20)), "the parent is left as it is"
    found = epochal.open(root)
    assert [r.info.run_id for r in found.runs("parent = p/first")] == ["child"]


def test_the_counter_of_a_fork_goes_on(root: Path, first: StoredRun) -> None:
    with epochal.init(fork="first", **QUIET) as run:
        assert run.project == "p", "the parent's, where none is given"
        assert run.parent_step == 19, "its last snapshot"
        run.log({"loss": 1.0})
    assert steps_of(StoredRun(root / "p" / run.id)) == [20]
    with epochal.init("other", fork="latest@20", **QUIET) as second:
        assert second.parent == f"p/{run.id}"
        with pytest.raises(NotFoundError) as caught:
            second.parent_parameters()
    assert "has no snapshot of its parameters at step 20" in str(caught.value)
    assert "It kept none" in str(caught.value)
    assert StoredRun(root / "other" / second.id).info().config == {"lr": 1.0, "net": {"width": 3}}


def test_a_step_without_snapshot_names_the_nearest(first: StoredRun) -> None:
    with (
        epochal.init("p", fork="baseline@12", **QUIET) as run,
        pytest.raises(NotFoundError, match="no snapshot of its parameters at step 12") as caught,
    ):
        run.parent_parameters()
    assert "The nearest are at 5, 10, 15, 19: fork='p/first@10'." in str(caught.value)


def test_a_run_of_its_own_has_no_parent(root: Path) -> None:
    with epochal.init("p", **QUIET) as run:
        assert (run.parent, run.parent_step) == (None, None)
        with pytest.raises(UsageError, match="this run was not forked"):
            run.parent_parameters()
    assert (StoredRun(root / "p" / run.id).info().parent_step) is None


def test_a_run_that_is_not_there_cannot_be_forked(root: Path, first: StoredRun) -> None:
    with pytest.raises(NotFoundError, match="There is no run 'frist'") as caught:
        epochal.init("p", fork="frist@10")
    assert "near: first, p/first" in str(caught.value)
    epochal.init("p", id="empty", **QUIET).finish()
    with pytest.raises(UsageError, match="p/empty cannot be forked: it has no step yet"):
        epochal.init("p", fork="empty")


def test_a_fork_that_is_gone_on_with_remembers_its_parent(root: Path, first: StoredRun) -> None:
    for attempt in range(2):  # as a job that may be started again says it
        with epochal.init("p", id="child", resume="allow", fork="first@10", **QUIET) as run:
            assert run.step == (10 if not attempt else 12)
            assert (run.parent, run.parent_step) == ("p/first", 10)
            assert run.parent_parameters()["a.weight"][0, 0] == 11
            for _ in range(2):
                run.log({"loss": 1.0})
    assert steps_of(StoredRun(root / "p" / "child")) == [11, 12, 13, 14]


def test_all_ranks_fork_the_run_that_rank_0_meant(root: Path, first: StoredRun) -> None:
    """For rank 1 the latest run is the fork itself."""
    runs = [
        epochal.init("p", id="child", fork="latest@10", config={"lr": 2.0}, rank=rank, world_size=2, **QUIET)
        for rank in (0, 1)
    ]
    for run in runs:
        assert (run.parent, run.parent_step, run.step) == ("p/first", 10, 10)
        assert run.parent_parameters()["a.weight"][0, 0] == 11
        run.log({"loss": 1.0})
        run.finish()
    assert sorted(StoredRun(root / "p" / "child").scalars()) == [
        "loss",
        "rank1/loss",
        "ranks/max/loss",
        "ranks/mean/loss",
        "ranks/min/loss",
    ]


def test_a_rank_is_taken_back_with_the_others(root: Path) -> None:
    def record(rewind_to: int | None, steps: range, value: float, ranks: tuple[int, ...] = (0, 1)) -> None:
        for rank in ranks:
            resume: Any = {} if rewind_to is None else {"resume": "must", "rewind_to": rewind_to}
            with epochal.init("p", id="r", rank=rank, world_size=2, **resume, **QUIET) as run:
                for step in steps:
                    run.log({"loss": value + rank, f"of rank {rank}": 1.0}, step=step)

    record(None, range(10), 0.0)
    run = StoredRun(root / "p" / "r")
    assert run.scalars()["ranks/mean/loss"].v.tolist() == [0.5] * 10
    record(4, range(5, 7), 10.0)
    found = run.scalars()
    assert found["loss"].v.tolist() == [0.0] * 5 + [10.0] * 2
    assert found["rank1/loss"].v.tolist() == [1.0] * 5 + [11.0] * 2
    assert found["ranks/mean/loss"].v.tolist() == [0.5] * 5 + [10.5] * 2
    assert found["of rank 0"].steps.tolist() == list(range(7))
    assert run.info().status == "finished"


def test_a_run_that_is_off_forks_too(first: StoredRun) -> None:
    run = epochal.init("p", fork="first@5", mode="off")
    assert run.parent_parameters()["a.weight"][0, 0] == 6
    assert run.config == {"lr": 1.0, "net": {"width": 3}}
    assert [path.name for path in first.path.parent.iterdir()] == ["first"]


def test_a_parent_that_was_deleted_is_still_told_of(root: Path, first: StoredRun) -> None:
    import shutil

    epochal.init("p", id="child", fork="first@5", **QUIET).finish()
    shutil.rmtree(first.path)
    with epochal.init("p", id="child", resume="must", **QUIET) as run:
        assert (run.parent, run.step) == ("p/first", 5)
        with pytest.raises(NotFoundError, match="There is no run at"):
            run.parent_parameters()
    assert StoredRun(root / "p" / "child").info().parent == "p/first"


@pytest.mark.torch
def test_a_network_goes_on_from_what_its_parent_kept(root: Path) -> None:
    """Tied and named parameters, buffers, half precision: all that a state dict has comes back bit for bit."""
    torch = pytest.importorskip("torch", reason="the parameters are those of a torch.nn.Module")

    def network(seed: int) -> Any:
        torch.manual_seed(seed)
        model = torch.nn.Sequential(
            torch.nn.Embedding(5, 4), torch.nn.Flatten(0, 1), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 5)
        )
        model[3].weight = model[0].weight
        return model

    model = network(0)
    with epochal.init("p", id="parent", **QUIET) as run:
        run.watch(model, name="left")
        run.watch(half := torch.nn.Linear(2, 2).bfloat16(), name="right")
        run.log({"loss": 1.0}, epoch=0)
    other = network(1)
    with epochal.init("p", fork="parent", **QUIET) as run:
        arrays = run.parent_parameters("left")
        told = other.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        assert (told.missing_keys, told.unexpected_keys) == ([], [])
        right = {name: torch.from_numpy(array) for name, array in run.parent_parameters("right").items()}
        with pytest.raises(NotFoundError, match="has no parameters of a model 'middle'"):
            run.parent_parameters("middle")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    again = torch.nn.Linear(2, 2).bfloat16()
    again.load_state_dict(right)
    assert torch.equal(again.weight, half.weight)
