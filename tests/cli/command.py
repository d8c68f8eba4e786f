"""The command as a user runs it: a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "epochal.cli.main"]


def environment(**changes: str) -> dict[str, str]:
    env = {
        k: v for k, v in os.environ.items() if not k.startswith("EPOCHAL") and k not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    source = str(Path(__file__).parents[2] / "src")
    return {**env, "PYTHONPATH": source, "PYTHONWARNINGS": "error::SyntaxWarning", **changes}


def epochal(
    *arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd, env=env or environment())


def json_of(*arguments: str | Path, env: dict[str, str] | None = None) -> Any:
    """The one JSON document a command prints."""
    done = epochal(*arguments, "--json", env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Running:
    """A command that goes on, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self._threads = [
            threading.Thread(target=self._read, args=(s,), daemon=True) for s in (process.stderr, process.stdout)
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            self.said.append(line)

    def wait_for(self, words: str, seconds: float = 60) -> str:
        """The first line with these words."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in list(self.said):
                if words in line:
                    return line
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{words!r} was not said, but: {''.join(self.said)}")

    def interrupt(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        for thread in self._threads:
            thread.join(5)
        return code


@contextlib.contextmanager
def going(*arguments: str | Path, cwd: Path | None = None, **env: str) -> Iterator[Running]:
    """Run a command until the block ends."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment(PYTHONUNBUFFERED="1", **env),
    )
    running = Running(process)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        for thread in running._threads:
            thread.join(5)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
