"""What a run does about things that it could not record."""

from __future__ import annotations

import warnings

import pytest

from epochal.errors import RecordingWarning, StorageFullError, UsageError
from epochal.record.guard import Guard, strict_wanted


class Counted:
    def __init__(self) -> None:
        self.losses: list[tuple[str, int]] = []

    def __call__(self, code: str, count: int) -> None:
        self.losses.append((code, count))


def test_each_kind_is_told_once_and_counted_each_time() -> None:
    count = Counted()
    guard = Guard(count, strict=False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        guard.failed("run.log()", ValueError("a"))
        guard.failed("run.log()", ValueError("b"))
        guard.failed("run.log()", TypeError("c"))
        guard.failed("run.watch()", ValueError("d"))
    assert len(told) == 3
    assert count.losses == [("error", 1)] * 4
    assert "EPOCHAL_STRICT=1" in str(told[0].message)
    assert told[0].filename == __file__


def test_hints_of_our_own_errors_are_told() -> None:
    with pytest.warns(RecordingWarning, match=r"no such thing \(try another\)"):
        Guard(Counted(), strict=False).failed("run.watch()", UsageError("no such thing", hint="try another"))


def test_strict_raises_the_error_itself() -> None:
    count, error = Counted(), ValueError("a")
    with pytest.raises(ValueError, match="a") as raised:
        Guard(count, strict=True).failed("run.log()", error)
    assert raised.value is error
    assert not count.losses


def test_a_guard_used_inside_itself_keeps_no_state_of_the_outer_call() -> None:
    class Inside(Counted):
        def __call__(self, code: str, count: int) -> None:
            super().__call__(code, count)
            if len(self.losses) < 3:
                guard.failed("inner", RuntimeError("inner"))

    count = Inside()
    guard = Guard(count, strict=False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        guard.failed("outer", ValueError("outer"))
    assert len(count.losses) == 3
    assert [str(w.message).split(" ")[0] for w in told] == ["inner", "outer"]


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("0", False), ("", False), ("no", False)])
def test_strictness_from_the_environment(monkeypatch: pytest.MonkeyPatch, value: str, *, expected: bool) -> None:
    monkeypatch.setenv("EPOCHAL_STRICT", value)
    assert strict_wanted(None) is expected
    assert strict_wanted(True) is True
    assert strict_wanted(False) is False


def test_a_full_disk_is_counted_where_it_was_found() -> None:
    count = Counted()
    guard = Guard(count, strict=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guard.failed("run.snapshot()", StorageFullError("the disk is full"))
    assert count.losses == []
    with pytest.raises(StorageFullError):
        Guard(count, strict=True).failed("run.snapshot()", StorageFullError("the disk is full"))


def test_what_is_no_loss_is_told_once_and_not_counted() -> None:
    count = Counted()
    guard = Guard(count, strict=True)
    with pytest.warns(RecordingWarning) as told:
        guard.told("by the way", once="way")
    guard.told("by the way", once="way")
    assert len(told) == 1
    assert count.losses == []
