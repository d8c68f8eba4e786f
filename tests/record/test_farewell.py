"""How a run hears of the error that ends its script."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

import pytest

import epochal


def begin(root: Path) -> epochal.Run:
    return epochal.init("farewell", dir=root, system=False, console=False, code=False)


def test_the_hook_of_errors_is_given_back(tmp_path: Path) -> None:
    before = sys.excepthook
    first = begin(tmp_path)
    second = begin(tmp_path)
    assert sys.excepthook is not before
    first.finish()
    assert sys.excepthook is not before
    second.finish()
    assert sys.excepthook is before


def test_a_hook_that_came_later_and_calls_ours_does_not_come_back_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: heard.append(f"first {error}"))
    run = begin(tmp_path)
    ours = sys.excepthook

    def theirs(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        heard.append(f"theirs {error}")
        ours(kind, error, trace)

    sys.excepthook = theirs
    run.finish()
    assert sys.excepthook is theirs
    again = begin(tmp_path)
    sys.excepthook(ValueError, ValueError("no"), None)
    assert heard == ["theirs no", "first no"]
    again.finish()
    assert sys.excepthook is theirs
