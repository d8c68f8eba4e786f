"""What the training prints, line by line: heard at `sys.stdout` and `sys.stderr`, written down a moment later.

The thread that prints puts its text into a queue; another one makes lines of it, masks secrets and writes them to
`console.jsonl`. What was printed in the last half second before a `kill -9` may be lost.
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable
from time import monotonic, time
from typing import Any

from epochal.record.screen import Row, Screen
from epochal.record.secret import Masker
from epochal.record.tap import Name, leave, listen
from epochal.store import RunWriter

LIMIT_BYTES = 64_000_000
PERIOD_SECS = 0.25
OPEN_SECS = 5.0
"""How often the state of a line that is not ended, such as a progress bar, is written down."""
QUEUE_CHARS = 16_000_000
HELD_LINES = 5_000
TAIL_LINES = 200
JOIN_SECS = 5.0
IDLE_SECS = 30.0


class Console:
    """Records the console of a run from its making to `close`.

    `step()` says the step that the run is at; it raises ReferenceError when nobody holds the run any more.
    """

    def __init__(
        self,
        writer: RunWriter,
        step: Callable[[], int | None],
        masker: Masker,
        *,
        limit_bytes: int = LIMIT_BYTES,
        period_secs: float = PERIOD_SECS,
        open_secs: float = OPEN_SECS,
    ) -> None:
        self._writer = writer
        self._step = step
        self._mask = masker
        self._period, self._open_secs = period_secs, open_secs
        self._file = writer.lines("console", limit_bytes=limit_bytes)
        self._queue: deque[tuple[float, int | None, Name, str]] = deque()
        self._chars = self._overrun = 0
        self._screens: dict[Name, Screen] = {name: Screen(settle_secs=period_secs) for name in ("stdout", "stderr")}
        self._told: dict[Name, tuple[float, str]] = {}
        self._held: list[dict[str, Any]] = []
        self._tail: deque[dict[str, Any]] = deque()
        self._full = False
        self._lock = threading.Lock()
        self._wake, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="epochal-console", daemon=True)
        self._thread.start()
        listen(self._hear)

    def _hear(self, name: Name, text: str) -> None:
        """Take on what was written. Runs in the thread that prints: it must not wait for anything."""
        if not text:
            return
        if self._chars > QUEUE_CHARS:
            self._overrun += text.count("\n")
            return
        self._chars += len(text)
        self._queue.append((time(), self._step(), name, text))
        if not self._wake.is_set():
            self._wake.set()

    def tell(self, error: BaseException) -> None:
        """Take on the traceback of an error that ends the run before Python prints it."""
        text = "".join(traceback.format_exception(error))
        self._queue.append((time(), self._step(), "stderr", text))

    def close(self) -> None:
        """Give the streams back and write down what is left."""
        leave(self._hear)
        self._ending.set()
        self._wake.set()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECS)
        if not self._thread.is_alive():
            self._finish()
        else:
            self._writer.drop("console", 1, "the last lines of the console were not recorded: the disk is too slow")

    def _loop(self) -> None:
        while not self._ending.is_set():
            self._wake.wait(self._period if self._unsettled() else IDLE_SECS)
            self._ending.wait(self._period)
            try:
                self._drain()
            except Exception as error:  # noqa: BLE001 - the thread's outermost edge: the next lines may go well
                self._writer.drop("console", 1, f"a part of the console was not recorded: {error!r}")
            try:
                self._step()
            except ReferenceError:  # the program let go of its run
                leave(self._hear)
                self._finish()
                return

    def _unsettled(self) -> bool:
        return any(
            screen.busy or ((row := screen.open) is not None and self._told.get(name, (0.0, ""))[1] != row.text)
            for name, screen in self._screens.items()
        )

    def _drain(self, *, everything: bool = False) -> None:
        with self._lock:
            self._wake.clear()
            for _ in range(len(self._queue)):
                t, step, name, text = self._queue.popleft()
                self._screens[name].write(text, t, step)
            self._chars = 0
            overrun, self._overrun = self._overrun, 0
            if overrun:
                self._lost(overrun)
                for screen in self._screens.values():
                    screen.break_off(time())
            rows: list[tuple[Row, Name, bool]] = []
            now, clock = time(), monotonic()
            for name, screen in self._screens.items():
                done = screen.take(now, everything=everything)
                rows += [(row, name, True) for row in done]
                if done:
                    self._told.pop(name, None)
                if (row := screen.open) is not None:
                    last, said = self._told.get(name, (0.0, ""))
                    if clock - last >= self._open_secs and row.text != said:
                        self._told[name] = (clock, row.text)
                        rows.append((row, name, False))
            rows.sort(key=lambda each: each[0].t)
            if rows:
                self._mask.refresh()
            self._write([self._document(*each) for each in rows])

    def _document(self, row: Row, name: Name, ended: bool) -> dict[str, Any]:  # noqa: FBT001 - of one tuple
        document: dict[str, Any] = {
            "t": round(row.t, 3),
            "step": row.step,
            "stream": name,
            "text": row.said(self._mask),
        }
        return document if ended else {**document, "ended": False}

    def _write(self, documents: list[dict[str, Any]]) -> None:
        pending, self._held = [*self._held, *documents], []
        if not pending:
            return
        written = 0
        if not self._full:
            try:
                written = self._file.write(pending)
            except OSError:  # tried again with the next lines
                self._held = pending[:HELD_LINES]
                self._lost(len(pending) - len(self._held))
                return
            self._full = written < len(pending)
        # Of what is too much, the last lines are kept for the end: an error is told there.
        self._tail.extend(each for each in pending[written:] if each.get("ended", True))
        while len(self._tail) > TAIL_LINES:
            self._tail.popleft()
            self._lost(1)

    def _lost(self, lines: int) -> None:
        if lines > 0:
            self._writer.drop("console", lines)

    def _finish(self) -> None:
        self._drain(everything=True)
        try:
            self._file.write([*self._held, *self._tail], beyond=True)
        except OSError:
            self._lost(len(self._held) + len(self._tail))
        self._file.close()
