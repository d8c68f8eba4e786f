"""A place at which trials run on this machine, one after the other: `python -m epochal.lab.seat`.

It reads tasks from its standard input, a line each, and gives each a process of its own, forked from this one: what is
imported here once, such as PyTorch, does not cost every trial its seconds, and nothing of one trial is there in the
next. Which modules of PyTorch and its like a trial came to import, the seat hears when it ends, and imports them too:
importing runs nothing of a training. It answers on its standard output; what trials print goes to standard error. When
its input ends, which the death of the lab does, it ends what it runs.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import select
import signal
import sys
from typing import Any

__all__ = ["main"]

_DEATH_SIGNAL = 1
_WARM = frozenset(
    {"torch", "sympy", "mpmath", "networkx", "numpy", "scipy", "sklearn", "pandas", "PIL", "h5py", "optuna", "epochal"}
)


def main(cores: str = "", warm: str = "") -> int:
    """Serve until the input ends. `cores` are those to stay on, `warm` a module to import before the first trial."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what trials print must not look like an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the lab, which asks its trials to stop
    _die_with_parent()
    if cores and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    importlib.import_module("epochal.lab.trial")
    if warm:
        with contextlib.suppress(ImportError):
            importlib.import_module(warm)
    pending = b""
    while chunk := os.read(0, 1 << 16):
        pending += chunk
        while b"\n" in pending:
            line, _, pending = pending.partition(b"\n")
            _run_one(line.decode("utf-8"), answers)
    return 0


def _run_one(line: str, answers: int) -> None:
    if not hasattr(os, "fork"):  # a seat for one trial, then
        _tell(answers, pid=os.getpid())
        _tell(answers, code=_trial(line))
        os._exit(0)
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(answers)
            os.close(heard)
            os.setsid()  # with whatever it starts, it can be ended as one
            _die_with_parent()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            before = set(sys.modules)
            code = _trial(line)
            _tell(
                told, modules=[name for name in sys.modules if name not in before and name.partition(".")[0] in _WARM]
            )
        finally:
            # Nothing of the seat's own is torn down a second time.
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    os.close(told)
    _tell(answers, pid=child)
    said = bytearray()
    code = _wait(child, heard, said)
    os.close(heard)
    _tell(answers, code=code)
    _warm(bytes(said))


def _warm(said: bytes) -> None:
    """Import what the trial came to import, once."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        for name in json.loads(said)["modules"]:
            if name not in sys.modules:
                with contextlib.suppress(Exception):  # what cannot be imported is left to the trial that wants it
                    importlib.import_module(name)


def _trial(line: str) -> int:
    faulthandler.enable()
    from epochal.lab.runner import Task
    from epochal.lab.trial import run_trial

    state = run_trial(Task.from_json(line))
    return 0 if state.status != "failed" else 1


def _wait(child: int, heard: int, said: bytearray) -> int:
    """How the child ended, as `Popen.returncode` says it; it is ended when the lab goes away meanwhile."""
    listening = [0, heard]
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            while heard in listening and select.select([heard], [], [], 0)[0] and (chunk := os.read(heard, 1 << 16)):
                said += chunk
            _end_group(child)
            return os.waitstatus_to_exitcode(status)
        ready, _, _ = select.select(listening, [], [], 0.02)
        if heard in ready:
            chunk = os.read(heard, 1 << 16)
            said += chunk
            if not chunk:
                listening.remove(heard)
        # Nothing is sent while a trial runs: what can be read is the end.
        if 0 in ready and not os.read(0, 1):
            _end_group(child)
            os.waitpid(child, 0)
            os._exit(0)


def _end_group(child: int) -> None:
    """End what a trial has started and left behind, such as processes that load data."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)


def _tell(answers: int, **facts: Any) -> None:
    with contextlib.suppress(BrokenPipeError):
        data = memoryview(json.dumps(facts).encode() + b"\n")
        while data:
            data = data[os.write(answers, data) :]


def _die_with_parent() -> None:
    """Let the kernel end this process with the one that started it, where the kernel can."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
