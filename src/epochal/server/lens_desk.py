"""What each task of the process that looks is given: a desk. It opens networks, and tells the server what is found."""

from __future__ import annotations

import contextlib
import importlib
import os
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, final

import numpy.typing as npt

from epochal.errors import EpochalError, MissingExtraError
from epochal.network import Network
from epochal.server.lens_inputs import Opened
from epochal.store.reader import StoredRun
from epochal.wire import frames

__all__ = ["Desk", "read_message", "told", "write_message"]

Array = npt.NDArray[Any]

_LENGTH = struct.Struct("<Q")


def read_message(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, Array]] | None:
    """The next header and its arrays, None at the end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    body = stream.read(_LENGTH.unpack(head)[0])
    return frames.decode(body)


def write_message(stream: BinaryIO, header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
    """Send a header and arrays."""
    body = frames.encode(header, arrays or {})
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


@final
class Desk:
    """Does one task after the other; networks and examples stay open."""

    def __init__(self, tasks: Mapping[str, str], out: BinaryIO, stopped: set[str]) -> None:
        self._tasks = tasks
        self._out = out
        self._stopped = stopped
        self._stands_back = False
        self.opened = Opened()

    def answer(self, asked: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Do a task, which says what it finds; then say that it is done, or what went wrong."""
        job = str(asked["job"])
        try:
            module, _, function = self._tasks[asked["task"]].partition(":")
            getattr(importlib.import_module(module), function)(self, asked, arrays)
            self.say(job, "done")
        except Exception as error:  # noqa: BLE001 - a task that fails leaves the desk open for the next
            self.say(job, "error", error=told(error))

    def network(self, asked: Mapping[str, Any]) -> Network:
        """The network that a task is about, as it was at its step."""
        self.say(asked["job"], "doing", doing="loading")
        with contextlib.suppress(ModuleNotFoundError):
            from epochal.lens.threads import limit_threads

            limit_threads(int(asked["threads"]))
        network = self.opened.network(StoredRun(asked["path"]), int(asked["step"]), int(asked["stamp"]))
        self._stand_back()
        self.say(asked["job"], "doing", doing="looking")
        return network

    def stopped(self, asked: Mapping[str, Any]) -> bool:
        """Whether nobody wants the answer any more."""
        return asked["job"] in self._stopped

    def say(self, job: str, what: str, arrays: Mapping[str, Array] | None = None, **more: Any) -> None:
        """Tell the server of a job: `doing`, `input`, `result`, `failed`, `done` or `error`."""
        write_message(self._out, {"job": job, "say": what, **more}, arrays)

    def _stand_back(self) -> None:
        """Let other programs go first; not before everything is imported, which somebody waits for."""
        if not self._stands_back:
            self._stands_back = True
            with contextlib.suppress(OSError, AttributeError):
                os.nice(10)


def told(error: BaseException) -> dict[str, str]:
    """What went wrong, as an ErrorBody."""
    if isinstance(error, MemoryError):
        return {"code": "memory", "message": "There is not enough memory for it.", "hint": "Choose smaller settings."}
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, MissingExtraError):
        return {"code": "missing_extra", "message": f"It needs {error.name}, which is not installed.", "hint": ""}
    if isinstance(error, EpochalError):
        return {"code": error.code, "message": error.message, "hint": error.hint}
    first = (str(error).strip().splitlines() or [""])[0][:300]
    return {"code": "network", "message": f"{type(error).__name__}: {first}", "hint": ""}
