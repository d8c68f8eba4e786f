"""A server of objects that speaks S3 over HTTP, in a process of its own, for tests to put runs into and to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1"}
PATIENCE_SECS = 60.0


class ObjectServer:
    """The server. What it holds is in its memory, and gone when it ends; `pause` makes it deaf, and forgets nothing."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._environment = {**os.environ, **KEYS, **(environment or {})}
        self.buckets: list[str] = []
        self.begin()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """What a program must have in its environment to find it."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true"}

    def begin(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self._environment
        )
        deadline = time.monotonic() + PATIENCE_SECS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
                break
            assert self._process.poll() is None, "the server ended at once"
            assert time.monotonic() < deadline, "the server did not begin"
            time.sleep(0.05)

    def make(self, bucket: str) -> str:
        """Make a bucket; returns its address."""
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{bucket}", method="PUT"), timeout=30):
            self.buckets.append(bucket)
        return f"s3://{bucket}"

    def lend(self, patch: pytest.MonkeyPatch, folder: Path) -> str:
        """An address in a bucket of its own, for a test that finds the way there, and keeps copies below `folder`."""
        for name, value in self.variables.items():
            patch.setenv(name, value)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("EPOCHAL_PUSH_SECS", "0.2")
        return self.make(f"bucket-{len(self.buckets)}") + "/team"

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Put an object under any name, also one that no client of ours would use."""
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        client.put_object(Bucket=bucket, Key=key, Body=data)

    def pause(self) -> None:
        """Refuse connections: the process is stopped, and its port closed to the outside by nobody accepting."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def object_server(environment: Mapping[str, str] | None = None) -> Iterator[ObjectServer]:
    """A server for the time of a `with`."""
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'epochal[s3]'")
    pytest.importorskip("moto.server", reason="no S3 server is installed: pip install 'moto[server]'")
    server = ObjectServer(environment)
    try:
        yield server
    finally:
        server.end()
