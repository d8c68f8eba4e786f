"""The live stream: one watcher looks at the runs, every listener hears what is new.

Nothing is watched while nobody listens. A listener that reads slowly loses nothing and holds up nobody: what it has
not read yet is kept as one event for each run, the newest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from epochal.facts import RunStatus
from epochal.wire.schema import EventDocument

__all__ = ["EventStream", "Hub", "Listener", "Seen", "merge"]

_log = logging.getLogger(__name__)

HEARTBEAT_SECS = 15.0
RETRY_MILLISECS = 1000
_LONGEST_SHARE = 20  # looking at all runs may take a twentieth of the time, whatever their number


@dataclass(frozen=True, slots=True)
class Seen:
    """How a run stood when it was looked at."""

    status: RunStatus
    last_step: int | None
    version: str


LookAtAll = Callable[[], Mapping[str, Seen]]
LookAtSome = Callable[[frozenset[str]], Mapping[str, Seen]]


class Listener:
    """One open stream: what it still has to be told, an event for each run."""

    def __init__(self) -> None:
        self._waiting: dict[str, EventDocument] = {}
        self._ready = asyncio.Event()
        self._closed = False

    def tell(self, event: EventDocument) -> None:
        """Add an event; what was still waiting about the same run becomes one with it."""
        merged = merge(self._waiting.pop(event.id, None), event)
        if merged is not None:
            self._waiting[event.id] = merged
        self._ready.set()

    def close(self) -> None:
        """End the stream."""
        self._closed = True
        self._ready.set()

    async def stream(self, *, heartbeat_secs: float = HEARTBEAT_SECS) -> AsyncIterator[bytes]:
        """The stream's bytes until it is closed; a comment each `heartbeat_secs`, so that the dead are noticed."""
        yield f"retry: {RETRY_MILLISECS}\n: welcome\n\n".encode()
        while not self._closed:
            try:
                await asyncio.wait_for(self._ready.wait(), heartbeat_secs)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            self._ready.clear()
            waiting, self._waiting = self._waiting, {}
            if waiting:
                yield b"".join(_encode(event) for event in waiting.values())


class Hub:
    """Watches the runs while anyone listens.

    `look_at_all` finds every run, `look_at_some` only those named; both are called in a thread, one at a time.
    Running runs are looked at every `watch_secs`, all of them about every second.
    """

    def __init__(
        self, look_at_all: LookAtAll, look_at_some: LookAtSome, *, watch_secs: float = 0.2, all_secs: float = 1.0
    ) -> None:
        self._look_at_all = look_at_all
        self._look_at_some = look_at_some
        self._watch_secs = watch_secs
        self._all_secs = all_secs
        self._listeners: set[Listener] = set()
        self._seen: dict[str, Seen] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def listening(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    @property
    def watching(self) -> bool:
        """Whether the watcher is at work."""
        return self._task is not None and not self._task.done()

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[Listener]:
        """A listener for as long as the block lasts; it is first told of every run that is running."""
        listener = Listener()
        if self._closed:
            listener.close()
        self._listeners.add(listener)
        try:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._watch())
            else:
                for run_id, seen in self._seen.items():
                    if seen.status == "running":
                        listener.tell(_event(run_id, "changed", seen))
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._stop()

    def close(self) -> None:
        """End all streams and the watcher; for good."""
        self._closed = True
        for listener in self._listeners:
            listener.close()
        self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        self._seen = {}
        first, all_at = True, 0.0
        while True:
            began = time.monotonic()
            try:
                if began >= all_at:
                    now = dict(await asyncio.to_thread(self._look_at_all))
                    took = time.monotonic() - began
                    all_at = began + max(self._all_secs, took * _LONGEST_SHARE)
                    self._compare(now, first=first)
                    first = False
                elif running := frozenset(i for i, seen in self._seen.items() if seen.status == "running"):
                    some = await asyncio.to_thread(self._look_at_some, running)
                    self._compare({**self._seen, **some}, first=False)
            except Exception:  # noqa: BLE001 - the watcher's outermost edge: one hiccup must not end the live view
                _log.exception("looking at the runs failed; it is tried again")
            await asyncio.sleep(max(self._watch_secs - (time.monotonic() - began), self._watch_secs / 4))

    def _compare(self, now: dict[str, Seen], *, first: bool) -> None:
        before, self._seen = self._seen, now
        for run_id, seen in now.items():
            if first:
                # Whoever just came asked for the runs a moment ago; between the two something may have been logged.
                if seen.status == "running":
                    self._tell(_event(run_id, "changed", seen))
            elif run_id not in before:
                self._tell(_event(run_id, "new", seen))
            elif before[run_id] != seen:
                self._tell(_event(run_id, "changed", seen))
        for run_id in before.keys() - now.keys():
            self._tell(_event(run_id, "gone", before[run_id]))

    def _tell(self, event: EventDocument) -> None:
        for listener in self._listeners:
            listener.tell(event)


class EventStream(Response):
    """The answer that is a stream: it lasts until its listener leaves or the hub is closed."""

    def __init__(self, hub: Hub) -> None:
        # no-transform, and the header of one well-known proxy: nobody on the way may hold events back.
        headers = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
        super().__init__(headers=headers, media_type="text/event-stream")
        del self.headers["content-length"]
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events; the listener is watched meanwhile, or one who left would be noticed at the next event only."""
        async with self._hub.listen() as listener:
            watched = asyncio.create_task(_until_gone(receive, listener))
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                async for part in listener.stream():
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                watched.cancel()


async def _until_gone(receive: Receive, listener: Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.close()


def merge(waiting: EventDocument | None, event: EventDocument) -> EventDocument | None:
    """Two events about one run as one; None when they cancel out."""
    if waiting is None:
        return event
    if waiting.kind == "new":
        return None if event.kind == "gone" else event.model_copy(update={"kind": "new"})
    if waiting.kind == "gone" and event.kind == "new":
        return event.model_copy(update={"kind": "changed"})
    return event


def _event(run_id: str, kind: str, seen: Seen) -> EventDocument:
    return EventDocument.model_validate(
        {"id": run_id, "kind": kind, "status": seen.status, "last_step": seen.last_step, "version": seen.version}
    )


def _encode(event: EventDocument) -> bytes:
    return b"event: run\ndata: " + orjson.dumps(event.model_dump()) + b"\n\n"
