"""The process that looks into networks, as the server sees it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, final

from epochal.errors import EpochalError
from epochal.wire.frames import encode

__all__ = ["Process"]

# Not `-m`: that would look for modules in the folder where the server was started, which may be anybody's.
_BEGIN = "import sys; sys.path.append(sys.argv[1]); from epochal.server.lens_worker import main; main()"


@final
class Process:
    """The process, and a thread that hears it."""

    def __init__(self) -> None:
        threads = str(max(1, (os.cpu_count() or 1) - 1))
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment.setdefault(name, threads)
        self._process = subprocess.Popen(  # noqa: S603 - this Python, with our own module
            [sys.executable, "-P", "-c", _BEGIN, str(Path(__file__).parents[2])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self.said: SimpleQueue[tuple[dict[str, Any], dict[str, Any]] | None] = SimpleQueue()
        assert self._process.stdin is not None  # noqa: S101 - they were asked for
        assert self._process.stdout is not None  # noqa: S101
        self._in: IO[bytes] = self._process.stdin
        self._out: IO[bytes] = self._process.stdout
        threading.Thread(target=self._listen, name="epochal-lens-hears", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.poll() is None

    def send(self, header: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Ask it."""
        body = encode(header, arrays)
        self._in.write(len(body).to_bytes(8, "little") + body)
        self._in.flush()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._in.close()

    def _listen(self) -> None:
        from epochal.server.lens_desk import read_message

        with contextlib.suppress(EpochalError, OSError, ValueError):
            while (message := read_message(self._out)) is not None:  # type: ignore[arg-type]
                self.said.put(message)
        with contextlib.suppress(OSError):
            self._out.close()
        self.said.put(None)
