from __future__ import annotations

import threading
from pathlib import Path

import pytest

from epochal.errors import UsageError
from epochal.store.journal import JournalFile
from epochal.store.ring import Ring


class Rig:
    """A ring of 16 slots that is folded only when the test says so."""

    def __init__(self, path: Path, memory_rows: int = 5, capacity: int = 16) -> None:
        self.names: list[str] = []
        self.ids: dict[str, int] = {}
        self.wakes = 0
        self.folded: list[tuple[int, int]] = []
        self.ring = Ring(
            JournalFile(path / "j", capacity=capacity),
            ids=self.ids,
            intern=self.intern,
            wake=self.wake,
            memory_rows=memory_rows,
        )

    def intern(self, name: str) -> int:
        self.names.append(name)
        return self.ids.setdefault(name, len(self.ids))

    def wake(self) -> None:
        self.wakes += 1

    def fold(self) -> None:
        records, end, spilled = self.ring.take()
        self.folded += zip(records["step"].tolist(), records["seq"].tolist(), strict=True)
        self.ring.release(end, spilled)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_numbers_come_out_in_the_order_they_went_in(rig: Rig) -> None:
    for step in range(50):
        rig.ring.append("a", step, 0.0, 1.0)
        if step % 7 == 0:
            rig.fold()
    rig.fold()
    assert rig.folded == [(step, step + 1) for step in range(50)]
    assert rig.ring.waits == 0


def test_half_full_asks_for_a_fold_once(rig: Rig) -> None:
    for step in range(8):
        rig.ring.append("a", step, 0.0, 1.0)
    assert rig.wakes == 0
    for step in range(4):
        rig.ring.append("a", step, 0.0, 1.0)
    assert rig.wakes == 1


def test_a_full_ring_waits_a_moment_then_keeps_numbers_in_memory_then_counts_losses(rig: Rig) -> None:
    for step in range(16 + 5 + 3):
        rig.ring.append("a" if step < 22 else "b", step, 0.0, 1.0)
    assert rig.ring.waits == 1, "only the first call waits; the ones after it know"
    assert rig.ring.dropped == {"a": 1, "b": 2}
    rig.fold()
    assert [step for step, _ in rig.folded] == list(range(21))
    for step in range(100, 130):
        rig.ring.append("a", step, 0.0, 1.0)
        if step % 10 == 9:
            rig.fold()
    assert [step for step, _ in rig.folded[21:]] == list(range(100, 130))
    assert [seq for _, seq in rig.folded] == list(range(1, 52)), "every number taken on has its own place"


def test_a_full_ring_goes_on_when_the_fold_comes_in_time(rig: Rig) -> None:
    for step in range(16):
        rig.ring.append("a", step, 0.0, 1.0)
    later = threading.Timer(0.05, rig.fold)
    later.start()
    rig.ring.append("a", 16, 0.0, 1.0)
    later.join()
    rig.fold()
    assert [step for step, _ in rig.folded] == list(range(17))
    assert (rig.ring.waits, rig.ring.dropped) == (1, {})


def test_numbers_that_come_while_memory_is_folded_keep_their_order(rig: Rig) -> None:
    for step in range(18):
        rig.ring.append("a", step, 0.0, 1.0)
    records, end, spilled = rig.ring.take()
    rig.ring.append("a", 18, 0.0, 1.0)
    assert (len(records), spilled) == (18, 2)
    rig.ring.release(end, spilled)
    rig.ring.append("a", 19, 0.0, 1.0)
    rig.fold()
    rig.ring.append("a", 20, 0.0, 1.0)
    rig.fold()
    assert [step for step, _ in rig.folded] == [18, 19, 20]


def test_a_failing_disk_makes_nobody_wait(rig: Rig) -> None:
    rig.ring.fail(failing=True)
    for step in range(20):
        rig.ring.append("a", step, 0.0, 1.0)
    assert rig.ring.waits == 0


def test_after_the_end_a_call_says_so(rig: Rig) -> None:
    rig.ring.append("a", 0, 0.0, 1.0)
    rig.ring.close()
    with pytest.raises(UsageError, match="Series 'a' was logged after the run was finished"):
        rig.ring.append_many({"a": 1.0}, 1, 0.0)
    rig.fold()
    assert [step for step, _ in rig.folded] == [0]


def test_a_bad_value_costs_only_itself(rig: Rig) -> None:
    rig.ring.append("a", 0, 0.0, 1.0)
    with pytest.raises(Exception, match=r"int too large|argument out of range"):
        rig.ring.append("a", 2**70, 0.0, 1.0)
    rig.ring.append("a", 2, 0.0, 1.0)
    rig.fold()
    assert rig.folded == [(0, 1), (2, 3)]


def test_logging_inside_logging_is_possible(rig: Rig) -> None:
    """A signal handler runs in the middle of a call of the same thread: here, while a series gets its number."""
    plain = rig.intern

    def interrupted(name: str) -> int:
        if name == "outer":
            rig.ring.append("inner", 7, 0.0, 1.0)
        return plain(name)

    rig.intern = interrupted  # type: ignore[method-assign]
    ring = Ring(
        JournalFile(rig.ring.journal.path.with_name("k"), capacity=16), ids=rig.ids, intern=interrupted, wake=rig.wake
    )
    rig.ring = ring
    ring.append("outer", 1, 0.0, 1.0)
    rig.fold()
    assert rig.folded == [(7, 1), (1, 2)]


def test_several_threads_lose_nothing_and_mix_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path, memory_rows=100_000, capacity=1024)
    done = threading.Event()

    def fold() -> None:
        while not done.wait(0.001):
            rig.fold()

    def log(number: int) -> None:
        for step in range(3000):
            rig.ring.append_many({f"t{number}": 1.0, f"u{number}": 2.0}, number * 10_000 + step, 0.0)

    folder = threading.Thread(target=fold)
    threads = [threading.Thread(target=log, args=(n,)) for n in range(4)]
    for thread in [folder, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    folder.join()
    rig.fold()
    assert [seq for _, seq in rig.folded] == list(range(1, 4 * 3000 * 2 + 1))
    for number in range(4):
        steps = [step for step, _ in rig.folded if step // 10_000 == number]
        assert steps == [number * 10_000 + i // 2 for i in range(6000)]
