"""Who writes a run, and whether that process still lives."""

from __future__ import annotations

import functools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["HEARTBEAT_LIMIT_SECS", "identity", "is_alive", "lives_here", "machine_restarted", "started_at"]

HEARTBEAT_LIMIT_SECS = 30.0


def identity() -> dict[str, Any]:
    """Return what names this process: pid, host, and where the system tells them, its scope and start.

    `scope` tells apart containers and reboots that share a host name; `process` tells apart two processes that
    had the same pid one after the other.
    """
    facts: dict[str, Any] = {"pid": os.getpid(), "host": socket.gethostname()}
    if scope := _scope():
        facts["scope"] = scope
    if started := _start_ticks(os.getpid()):
        facts["process"] = started
    return facts


@functools.cache
def _scope() -> str:
    """Return the kernel's boot and pid namespace, the same for the life of this process and its forks."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot[:13]}/{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116
    except OSError:
        return ""


def _start_ticks(pid: int) -> str:
    """Return when a process began, in ticks since boot; empty when it is gone, a zombie, or the system has no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the command's name may hold spaces and brackets
    return "" if not fields or fields[0] in "ZX" else fields[19]


def is_alive(state: Mapping[str, Any], now: float) -> bool:
    """Say whether the writer of a state.json that says `running` still lives.

    On the same host the process itself is looked at; elsewhere a heartbeat of the last 30 s decides.
    """
    recent = now - float(state.get("heartbeat") or 0.0) <= HEARTBEAT_LIMIT_SECS
    if state.get("host") != socket.gethostname():
        return recent
    pid = state.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return recent
    if state.get("process") and state.get("scope"):
        # Same kernel, same pid namespace: the process table knows, even when the process was paused for minutes.
        return _start_ticks(pid) == state["process"] if state["scope"] == _scope() else recent
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return recent


def lives_here(state: Mapping[str, Any]) -> bool | None:
    """Say whether the process that `identity` named lives on this machine; None where that cannot be known here."""
    pid = state.get("pid")
    if state.get("host") != socket.gethostname() or not isinstance(pid, int) or not state.get("process"):
        return None
    return _start_ticks(pid) == state["process"] if state.get("scope") == _scope() else None


def machine_restarted(state: Mapping[str, Any]) -> bool:
    """Say whether this machine was started anew since a process on it wrote its state."""
    then, now = str(state.get("scope") or "").partition("/")[0], _scope().partition("/")[0]
    return state.get("host") == socket.gethostname() and bool(then) and bool(now) and then != now


_imported = time.time()


def started_at(pid: int) -> float:
    """Return when a process began, unix seconds, to about a second; where that is not told, when this one came here."""
    try:
        ticks = int(_start_ticks(pid))
        kernel = Path("/proc/stat").read_text(encoding="ascii").partition("\nbtime ")[2]
        return int(kernel.split()[0]) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return _imported
