"""Numbers of an accelerator: each is recorded or counted as lost, whatever goes wrong on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from epochal.errors import RecordingWarning, StoreError
from epochal.record import deferred as module
from epochal.record import init
from epochal.record.deferred import Deferred
from epochal.store import StoredRun


class Port:
    """A port whose numbers are what was held, or whose sending or reading fails."""

    def __init__(self, *, send: Exception | None = None, read: Exception | None = None) -> None:
        self._send, self._read = send, read

    def hold(self, tensors: Sequence[Any]) -> object:
        return [float(t) for t in tensors]

    def send(self, held: Sequence[Any]) -> Port:
        if self._send is not None:
            raise self._send
        self._held = list(held)
        return self

    def read(self) -> list[list[float]]:
        if self._read is not None:
            raise self._read
        return self._held


class Taken:
    """What a `Deferred` recorded, and what it said was lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, port: Port) -> None:
        self.rows: list[dict[str, float]] = []
        self.lost: list[tuple[int, str]] = []
        self.jobs: list[Callable[[], object]] = []
        self.append: Callable[[Mapping[str, float], int, float], None] | None = self._take
        monkeypatch.setattr(module, "_port", lambda library: port)
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
        self.deferred = Deferred(lambda: self.append, self.jobs.append, lambda n, why: self.lost.append((n, why)))

    def _take(self, numbers: Mapping[str, float], step: int, t: float) -> None:
        if step == 1:
            raise ValueError("who overhears fails")
        self.rows.append(dict(numbers))

    def put(self) -> None:
        self.deferred._sent_at = time.monotonic()  # gather all of them
        for step in range(3):
            self.deferred.put({"a": step, "b": 2 * step}, step, 0.0)

    def work(self) -> None:
        while self.jobs:
            self.jobs.pop()()


@pytest.mark.parametrize("error", [StoreError("it broke"), RuntimeError("it broke")])
@pytest.mark.parametrize("where", ["send", "read"])
def test_what_a_device_does_not_give_is_counted(monkeypatch: pytest.MonkeyPatch, error: Exception, where: str) -> None:
    taken = Taken(monkeypatch, Port(**{where: error}))
    taken.put()
    taken.deferred.flush()
    taken.work()
    taken.deferred.finish()
    assert (taken.rows, [n for n, _ in taken.lost]) == ([], [6])
    assert "it broke" in taken.lost[0][1]


def test_one_call_that_fails_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Taken(monkeypatch, Port())
    taken.put()
    taken.deferred.flush()
    taken.work()
    assert taken.rows == [{"a": 0.0, "b": 0.0}, {"a": 2.0, "b": 4.0}]
    assert taken.lost == [(2, "ValueError: who overhears fails")]


def test_what_comes_after_the_end_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Taken(monkeypatch, Port())
    taken.put()
    taken.deferred.finish()
    assert [n for n, _ in taken.lost] == [6]
    taken.work()
    assert (taken.rows, len(taken.lost)) == ([], 1)
    taken = Taken(monkeypatch, Port())
    taken.put()
    taken.deferred.flush()
    taken.append = None
    taken.work()
    assert taken.lost == [(6, "the run ended before they came")]


def test_a_run_says_how_many_numbers_did_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    monkeypatch.setattr(module, "_NEAR", frozenset({"meta"}))
    monkeypatch.setattr(module, "_port", lambda library: Port(read=RuntimeError("CUDA error: an illegal access")))
    with init("far", dir=tmp_path) as run:
        run.log({"a": torch.tensor(1.0), "b": torch.tensor(1.0)})
        with pytest.warns(RecordingWarning, match="CUDA error: an illegal access"):
            run.finish()
    assert run.path is not None
    assert [(notice.code, notice.count) for notice in StoredRun(run.path).notices()] == [("dropped_far", 2)]
