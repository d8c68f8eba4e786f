"""The process that puts folders into an object store while they are being written: `python -m epochal.store.streamer`.

A process of its own, so that a training neither waits for a network nor shares its interpreter with one, and so that
what a training recorded last still gets there when it is killed. It reads its orders from standard input, a JSON object
a line, and answers on standard output. When its input ends, which the death of the other side does, it puts what is
left, and ends. A process that was forked from the other side may hold the input open, so its pid is looked at too.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from epochal.errors import EpochalError
from epochal.store.files import replace_file
from epochal.store.mirror import Mirror
from epochal.store.process import lives_here
from epochal.store.remote import Remote

__all__ = ["main"]

SOON_SECS = 1.0
"""How often small folders, such as a lab's own, are looked at, and what is fetched is asked for."""
LONGEST_SECS = 30.0
AT_END_SECS = 60.0
LOOK_SECS = 2.0
SETTLE_SECS = 1.0


class _Followed:
    """A folder that is kept up to date in the store."""

    def __init__(self, folder: str, *, skip: list[str], secs: float) -> None:
        self.folder, self.skip, self.secs = folder, skip, secs
        self.due = 0.0
        self.behind = True
        self.ends = False


class _Streamer:
    def __init__(self, mirror: Mirror, secs: float, master: Mapping[str, Any]) -> None:
        self._mirror, self._secs, self._master = mirror, secs, master
        self._ended = False
        self._patience = AT_END_SECS
        self._passing = False
        self._orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._followed: dict[str, _Followed] = {}
        self._wanted: dict[str, str] = {}
        self._asked = 0.0
        self._failures = 0
        self._again = 0.0

    def run(self) -> None:
        """Serve until the input ends, and then put what is left."""
        threading.Thread(target=self._read, name="epochal-orders", daemon=True).start()
        self._say(pid=os.getpid())
        while not self._ended and lives_here(self._master) is not False:
            self._listen(self._wait())
            self._work()
        settled = time.monotonic() + SETTLE_SECS
        while not self._ended and time.monotonic() < settled:  # orders that were given before the death
            self._listen(settled - time.monotonic())
        deadline = time.monotonic() + self._patience
        for each in self._followed.values():
            each.due, each.behind = 0.0, True
        while self._followed and not self._work(always=True) and time.monotonic() < deadline:
            time.sleep(min(1.0, self._secs))
        left = sorted(each.folder for each in self._followed.values() if each.behind)
        self._say(left=left)
        if self._passing and not left and lives_here(self._master) is False:
            shutil.rmtree(self._mirror.root, ignore_errors=True)

    def _wait(self) -> float:
        now = time.monotonic()
        dues = [max(each.due, self._again) for each in self._followed.values()]
        if self._wanted:
            dues.append(max(self._asked + SOON_SECS, self._again))
        return max(0.0, min([*(due - now for due in dues), LOOK_SECS]))

    def _listen(self, secs: float) -> None:
        """Take an order, waiting for so long at most."""
        with contextlib.suppress(queue.Empty):
            line = self._orders.get(timeout=max(0.0, secs))
            self._ended = self._ended or not line
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._obey(json.loads(line))

    def _read(self) -> None:
        for line in sys.stdin.buffer:
            self._orders.put(line)
        self._orders.put(b"")

    def _obey(self, order: dict[str, Any]) -> None:
        match order:
            case {"follow": str(folder)}:
                soon = bool(order.get("soon"))
                secs = min(SOON_SECS, self._secs) if soon else self._secs
                self._followed[folder] = _Followed(folder, skip=list(order.get("skip") or []), secs=secs)
            case {"fetch": str(key), "to": str(target)}:
                self._wanted[key] = target
            case {"settle": str(folder)} if folder in self._followed:
                each = self._followed[folder]
                each.ends, each.due, each.behind = True, 0.0, True
            case {"passing": _}:
                self._passing = True
            case {"end": float(secs)}:
                self._ended, self._patience = True, secs
            case _:
                pass

    def _work(self, *, always: bool = False) -> bool:
        """Put what is due; whether nothing is left behind."""
        now = time.monotonic()
        if now < self._again and not always:
            return False
        due = [each for each in self._followed.values() if each.due <= now]
        try:
            if due:
                with self._mirror.held():
                    for each in due:
                        each.behind = True
                        self._mirror.push(each.folder, skip=each.skip)
                        each.behind, each.due = False, time.monotonic() + each.secs
                        if each.ends:
                            del self._followed[each.folder]
            if self._wanted and now - self._asked >= min(SOON_SECS, self._secs):
                self._asked = now
                self._fetch()
        except (EpochalError, OSError) as error:
            self._failures += 1
            self._again = time.monotonic() + min(LONGEST_SECS, self._secs * 2 ** min(self._failures - 1, 6))
            if self._failures == 1:
                hint = getattr(error, "hint", "")
                self._say(trouble=f"{getattr(error, 'message', error)}" + (f" ({hint})" if hint else ""))
            return False
        if self._failures:
            self._say(fine=self._failures)
            self._failures, self._again = 0, 0.0
        return not any(each.behind for each in self._followed.values())

    def _fetch(self) -> None:
        for key, target in list(self._wanted.items()):
            if (data := self._mirror.remote.get(key)) is not None:
                path = Path(target)
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, data)
                del self._wanted[key]

    def _say(self, **facts: Any) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            data = memoryview(json.dumps(facts).encode() + b"\n")
            while data:
                data = data[os.write(1, data) :]


def main(address: str, root: str, secs: str, master: str) -> int:
    """Serve. `secs` is how often what is followed is looked at, `master` names the process that gives the orders."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM) if hasattr(signal, "SIGHUP") else (signal.SIGINT,):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C is for the training; the end of the input is for this one
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            os.nice(5)  # the training comes first
    try:
        remote = Remote(address)
    except EpochalError as error:
        sys.stdout.write(json.dumps({"broken": error.message, "hint": error.hint}) + "\n")
        return 1
    if hasattr(os, "fork") and os.fork():
        os._exit(0)  # nobody's child: what ends a trial with all it has started leaves this one to finish
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):
            os.setsid()
    _Streamer(Mirror(root, remote), float(secs), json.loads(master)).run()
    sys.stdout.flush()
    os._exit(0)  # the thread that reads orders may still wait for one


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
