"""An app on a port: in the foreground until Ctrl-C, or in a thread of its own."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import uvicorn
from fastapi import FastAPI

from epochal.errors import UsageError
from epochal.server.live import Hub
from epochal.server.security import Access, is_loopback, new_token

__all__ = ["DEFAULT_PORT", "Address", "Server", "serve", "start_in_background"]

DEFAULT_PORT = 6070
_TRIED_PORTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server is to be found.

    `url` opens the Studio, the token in it where one is demanded. `wanted_port` is the port that was asked for.
    """

    host: str
    port: int
    wanted_port: int
    token: str | None

    @property
    def url(self) -> str:
        """What to open in a browser."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    @property
    def moved(self) -> bool:
        """Whether the wanted port was in use and another had to be taken."""
        return self.wanted_port not in (0, self.port)


def serve(
    app: FastAPI,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    ready: Callable[[Address], None] | None = None,
) -> None:
    """Serve until interrupted; `ready` is told the address as soon as requests are answered.

    The first free port from `port` on is taken; 0 takes any. Bound to more than loopback, the app demands a token:
    its own, or a new one that only the address told to `ready` shows.
    """
    listening, address = _bind(app, host, port)
    with contextlib.closing(listening):
        _Uvicorn(app, ready=None if ready is None else lambda: ready(address)).run([listening])


def start_in_background(app: FastAPI, *, host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> Server:
    """Serve from a thread; returns once requests are answered. The thread ends with the process, or with `stop()`."""
    listening, address = _bind(app, host, port)
    answering = threading.Event()
    uvicorn_server = _Uvicorn(app, ready=answering.set)
    thread = threading.Thread(target=uvicorn_server.run, args=([listening],), name="epochal-server", daemon=True)
    thread.start()
    while not answering.wait(0.02):
        if not thread.is_alive():
            listening.close()
            raise UsageError(f"the server on {address.url} did not start", hint="the log says why")
    return Server(address, uvicorn_server, thread, listening)


class Server:
    """A server in a thread."""

    def __init__(
        self, address: Address, uvicorn_server: _Uvicorn, thread: threading.Thread, listening: socket.socket
    ) -> None:
        self.address = address
        self._uvicorn = uvicorn_server
        self._thread = thread
        self._listening = listening

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return self.address.url

    def stop(self, *, timeout: float = 5.0) -> None:
        """End all streams, answer what was asked, and close the port."""
        self._uvicorn.should_exit = True
        self._thread.join(timeout)
        self._listening.close()

    def wait(self) -> None:
        """Wait until the server ends; Ctrl-C passes."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Uvicorn(uvicorn.Server):
    """uvicorn, which says when it is ready and ends the live streams before it waits for requests to end."""

    def __init__(self, app: FastAPI, *, ready: Callable[[], None] | None) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="auto",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=3,
        )
        super().__init__(config)
        self._hub: Hub = app.state.hub
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
        await super().shutdown(sockets)


def _bind(app: FastAPI, host: str, port: int) -> tuple[socket.socket, Address]:
    """A bound socket and its address; makes the app demand a token where it can be reached from elsewhere."""
    if not 0 <= port <= 65535:
        raise UsageError(f"a port is a number from 0 to 65535, not {port}")
    access: Access = app.state.access
    if not is_loopback(host) and access.token is None:
        access.demand(new_token())
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + _TRIED_PORTS, 65536) if port else 1):
        # TCP by name: asyncio turns Nagle's algorithm off only for sockets that say so, and with it on an answer in
        # two parts waits 40 ms for the other side's acknowledgement.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            # Without this a port stays closed for a minute after a server on it ended; it takes nobody's live port.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host.strip("[]"), candidate))
            listening.listen(128)
        except OSError as error:
            listening.close()
            if error.errno in (errno.EADDRINUSE, errno.EACCES) and port:
                continue
            raise UsageError(
                f"cannot serve on {host}: {error.strerror or error}", hint="try --host 127.0.0.1"
            ) from None
        taken = listening.getsockname()[1]
        return listening, Address(host=host, port=taken, wanted_port=port, token=access.token)
    last = min(port + _TRIED_PORTS, 65536) - 1
    raise UsageError(f"all ports from {port} to {last} are in use", hint="choose another with --port, or 0 for any")
