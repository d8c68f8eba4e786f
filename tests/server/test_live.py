from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping

import pytest

from epochal.server.live import Hub, Listener, Seen, merge
from epochal.wire.schema import EventDocument


def event(kind: str, *, step: int = 1, run: str = "a/1") -> EventDocument:
    return EventDocument.model_validate(
        {"id": run, "kind": kind, "status": "running", "last_step": step, "version": str(step)}
    )


class Folder:
    """Runs that a test changes while a hub looks at them."""

    def __init__(self) -> None:
        self.runs: dict[str, Seen] = {}
        self.looks = 0
        self.failing = False
        self.failed = 0

    def put(self, run: str, step: int, status: str = "running") -> None:
        self.runs[run] = Seen(status, step, f"{step}-{status}")  # type: ignore[arg-type]

    def all(self) -> Mapping[str, Seen]:
        self.looks += 1
        if self.failing:
            self.failed += 1
            raise OSError("the disk is away")
        return dict(self.runs)

    def some(self, ids: frozenset[str]) -> Mapping[str, Seen]:
        self.looks += 1
        return {i: self.runs[i] for i in ids if i in self.runs}

    def hub(self, **timing: float) -> Hub:
        return Hub(self.all, self.some, **{"watch_secs": 0.01, "all_secs": 0.03, **timing})


class Ear:
    """Reads a stream and keeps the events."""

    def __init__(self, listener: Listener) -> None:
        self._stream = listener.stream(heartbeat_secs=5)
        self._heard: list[dict[str, object]] = []

    async def next(self) -> dict[str, object]:
        while not self._heard:
            part = await asyncio.wait_for(anext(self._stream), 3)
            self._heard += [json.loads(line[6:]) for line in part.decode().split("\n") if line.startswith("data: ")]
        return self._heard.pop(0)


@pytest.mark.parametrize(
    ("waiting", "then", "left"),
    [
        (None, "new", "new"),
        ("changed", "changed", "changed"),
        ("new", "changed", "new"),
        ("new", "gone", None),
        ("changed", "gone", "gone"),
        ("gone", "new", "changed"),
    ],
)
def test_events_of_one_run_become_one(waiting: str | None, then: str, left: str | None) -> None:
    merged = merge(None if waiting is None else event(waiting), event(then, step=2))
    assert (merged.kind if merged else None) == left
    if merged is not None:
        assert merged.last_step == 2


async def _new_changed_and_gone() -> None:
    folder = Folder()
    folder.put("a/1", 1)
    folder.put("a/2", 7, "finished")
    hub = folder.hub()
    async with hub.listen() as listener:
        ear = Ear(listener)
        assert await ear.next() == {
            "id": "a/1",
            "kind": "changed",
            "status": "running",
            "last_step": 1,
            "version": "1-running",
        }
        folder.put("a/1", 2)
        assert (await ear.next())["last_step"] == 2
        folder.put("a/3", 0)
        assert (await ear.next())["kind"] == "new"
        folder.put("a/1", 2, "finished")
        assert (await ear.next())["status"] == "finished"
        del folder.runs["a/2"]
        assert (await ear.next())["kind"] == "gone"


def test_new_changed_and_gone_are_told() -> None:
    asyncio.run(_new_changed_and_gone())


async def _nobody_listens() -> None:
    folder = Folder()
    hub = folder.hub()
    await asyncio.sleep(0.05)
    assert folder.looks == 0
    async with hub.listen(), hub.listen():
        await asyncio.sleep(0.05)
        assert hub.listening == 2
        assert hub.watching
    assert (hub.listening, hub.watching) == (0, False)
    await asyncio.sleep(0.02)
    looks = folder.looks
    assert looks > 0
    await asyncio.sleep(0.06)
    assert folder.looks == looks


def test_nothing_is_looked_at_while_nobody_listens() -> None:
    asyncio.run(_nobody_listens())


async def _slow() -> None:
    folder = Folder()
    hub = folder.hub()
    async with hub.listen() as slow, hub.listen() as quick:
        ear = Ear(quick)
        folder.put("a/1", 0)
        assert (await ear.next())["last_step"] == 0
        for step in range(1, 20):
            folder.put("a/1", step)
            assert (await ear.next())["last_step"] == step
        late = Ear(slow)
        assert (await late.next())["last_step"] == 19
        assert late._heard == []


def test_a_slow_listener_holds_up_nobody_and_hears_the_newest() -> None:
    asyncio.run(_slow())


async def _second() -> None:
    folder = Folder()
    folder.put("a/1", 5)
    folder.put("a/2", 5, "finished")
    hub = folder.hub()
    async with hub.listen() as first:
        await Ear(first).next()
        async with hub.listen() as second:
            heard = await Ear(second).next()
            assert (heard["id"], heard["kind"]) == ("a/1", "changed")


def test_who_comes_later_is_told_of_what_runs() -> None:
    asyncio.run(_second())


async def _heartbeat() -> list[bytes]:
    listener = Listener()
    stream = listener.stream(heartbeat_secs=0.01)
    parts = [await anext(stream) for _ in range(3)]
    listener.close()
    with contextlib.suppress(StopAsyncIteration):
        parts += [await anext(stream) for _ in range(3)]
    return parts


def test_a_quiet_stream_gives_signs_of_life_and_ends_when_closed() -> None:
    parts = asyncio.run(_heartbeat())
    assert parts[0].startswith(b"retry: 1000\n")
    assert parts[1] == parts[2] == b": still here\n\n"
    assert len(parts) <= 4


async def _hiccup() -> None:
    folder = Folder()
    folder.put("a/1", 1)
    hub = folder.hub()
    async with hub.listen() as listener:
        ear = Ear(listener)
        await ear.next()
        folder.failing = True
        while not folder.failed:
            await asyncio.sleep(0.005)
        folder.failing = False
        folder.put("a/1", 2)
        assert (await ear.next())["last_step"] == 2


def test_a_disk_that_hiccups_does_not_end_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        asyncio.run(_hiccup())
    assert "the disk is away" in caplog.text


async def _closed() -> None:
    hub = Folder().hub()
    async with hub.listen() as listener:
        stream = listener.stream()
        await anext(stream)
        hub.close()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(stream), 1)
    async with hub.listen() as late:
        assert [part async for part in late.stream()][1:] == []


def test_a_closed_hub_ends_all_streams() -> None:
    asyncio.run(_closed())
