"""Folders that are put into an object store while they are written: the side that gives the orders.

The work is done by a process beside this one, `store.streamer`. When that is killed, another one takes its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from epochal.errors import UsageError
from epochal.store.process import identity

__all__ = ["Stream", "push_secs"]

PUSH_SECS = 5.0
RESTARTS = 10
RESTART_SECS = 0.5
END_SECS = 60.0
"""How long a store that does not answer is asked again in the end."""
LONGEST_SECS = 3600.0
"""How long one that does may take for what is left, such as a large snapshot."""


def push_secs() -> float:
    """How often what is recorded is put into a store: EPOCHAL_PUSH_SECS, or 5 s. Raises UsageError."""
    return _secs("EPOCHAL_PUSH_SECS", PUSH_SECS)


def last_secs() -> float:
    """How long the end of a recording waits for its store: EPOCHAL_PUSH_LAST_SECS, or a minute. Raises UsageError."""
    return _secs("EPOCHAL_PUSH_LAST_SECS", END_SECS)


def _secs(variable: str, otherwise: float) -> float:
    given = os.environ.get(variable)
    if not given:
        return otherwise
    with contextlib.suppress(ValueError):
        if 0.05 <= (secs := float(given)) <= 3600:
            return secs
    raise UsageError(f"{variable} is {given!r}", hint="write seconds, from 0.05 to 3600")


class Stream:
    """Keeps folders below `root` up to date at `address`. `say` is told, in sentences, when that does not work.

    Call `close` in the end: it waits until all is there, for some time. A root that is only for the `passing` is taken
    away when this process was killed and all is there.
    """

    def __init__(
        self, address: str, root: str | os.PathLike[str], *, say: Callable[[str], None], passing: bool = False
    ) -> None:
        self.address, self.root = address, Path(root)
        self._say = say
        self._secs, self._last_secs = push_secs(), last_secs()
        self._lock = threading.RLock()
        self._orders: dict[str, dict[str, Any]] = {}
        self._answers = threading.Condition()
        self._left: list[str] | None = None
        self._restarts = 0
        self.pid = 0
        """The process that does the work; 0 where none has begun."""
        self._closing = self._gone = False
        self._process: subprocess.Popen[bytes] | None = None
        self._begin()
        if passing:
            self._order("passing", {"passing": True})

    def follow(self, folder: str, *, soon: bool = False, skip: Sequence[str] = ()) -> None:
        """Keep a folder up to date in the store; `soon`: within a second, for small ones."""
        self._order(f"follow {folder}", {"follow": folder, "soon": soon, "skip": list(skip)})

    def settle(self, folder: str) -> None:
        """Put a folder once more, and follow it no longer: nothing is written into it any more."""
        with self._lock:
            self._order(f"settle {folder}", {"settle": folder})

    def fetch(self, key: str, target: Path) -> None:
        """Look for an object until it is there, and write it into a file."""
        self._order(f"fetch {key}", {"fetch": key, "to": str(target)})

    def close(self) -> list[str]:
        """Put what is left, and end; returns the folders of which something is not in the store."""
        with self._lock:
            if self._closing:
                return []
            self._closing = True
        self._send({"end": self._last_secs})
        deadline = time.monotonic() + LONGEST_SECS
        with self._answers:
            while self._left is None and not self._gone and time.monotonic() < deadline:
                self._answers.wait(0.5)
        with contextlib.suppress(OSError):
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
        followed = sorted(order["follow"] for order in self._orders.values() if "follow" in order)
        return self._left if self._left is not None else followed

    def _order(self, name: str, order: dict[str, Any]) -> None:
        with self._lock:
            self._orders[name] = order
            self._send(order)

    def _send(self, order: dict[str, Any]) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):  # it is dying: another one gets all orders
            assert self._process is not None  # noqa: S101 - it was begun
            assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()

    def _begin(self) -> None:
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
            self._process = subprocess.Popen(  # noqa: S603 - our own module, by our own Python
                [
                    *(sys.executable, "-P", "-m", "epochal.store.streamer"),
                    *(self.address, str(self.root), str(self._secs), json.dumps(identity())),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get("EPOCHAL_DEBUG") else subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )
            for order in self._orders.values():
                self._send(order)
        threading.Thread(target=self._read, args=(self._process,), name="epochal-stream", daemon=True).start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101
        broken = ""
        if os.name == "posix":  # what was started there leaves its work to a child and ends
            process.wait()
        with process.stdout as answers:
            for line in answers:
                with contextlib.suppress(ValueError, KeyError):
                    broken = self._heard(json.loads(line)) or broken
        process.wait()
        again = False
        with self._answers:
            if self._left is None and not self._closing and not broken and self._restarts < RESTARTS:
                self._restarts += 1
                again = True
            elif self._left is None:
                self._gone = True
            self._answers.notify_all()
        if again:
            time.sleep(RESTART_SECS)
            self._begin()
        elif broken:
            self._say(broken)
        elif self._gone and not self._closing:
            self._say(f"{self.address}: the process that puts runs there ends again and again; they lie in {self.root}")

    def _heard(self, answer: dict[str, Any]) -> str:
        """Take an answer; returns why no process will ever do, if that is so."""
        if "pid" in answer:
            self.pid = int(answer["pid"])
        elif "trouble" in answer:
            self._say(f"{answer['trouble']}: recording goes on in {self.root}, and what is missing follows when it can")
        elif "fine" in answer:
            count = answer["fine"]
            self._say(f"{self.address} takes what is recorded again, after {count} attempt{'s' * (count != 1)} in vain")
        elif "broken" in answer:
            return f"{answer['broken']} ({answer.get('hint', '')})"
        with self._answers:
            if "left" in answer:
                self._left = [str(folder) for folder in answer["left"]]
            self._answers.notify_all()
        return ""
