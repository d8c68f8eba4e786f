from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from epochal.errors import UsageError
from epochal.server import Address, make_app, start_in_background


def test_a_server_in_the_background_answers_until_it_is_stopped(shown: tuple[Path, str]) -> None:
    with start_in_background(make_app(shown[0]), port=0) as server:
        assert server.address.port != 0
        assert httpx.get(f"{server.url}api/v1/runs").json()["runs"][0]["id"] == shown[1]
        url = server.url
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert "epochal-server" not in [t.name for t in threading.enumerate()]


def test_a_port_in_use_means_the_next_free_one_and_is_said(shown: tuple[Path, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with start_in_background(make_app(shown[0]), port=port) as server:
            assert server.address.port > port
            assert server.address.moved
            assert httpx.get(f"{server.url}api/v1/studio").status_code == 200


def test_two_servers_take_two_ports(shown: tuple[Path, str]) -> None:
    with (
        start_in_background(make_app(shown[0]), port=0) as first,
        start_in_background(make_app(shown[0]), port=first.address.port) as second,
    ):
        assert first.address.port != second.address.port
        assert not first.address.moved
        assert second.address.moved


def test_beyond_loopback_a_token_is_demanded_that_only_the_address_shows(shown: tuple[Path, str]) -> None:
    with start_in_background(make_app(shown[0]), host="0.0.0.0", port=0) as server:
        assert server.address.token
        assert server.url.endswith(f"/?token={server.address.token}")
        home = f"http://127.0.0.1:{server.address.port}"
        assert httpx.get(f"{home}/api/v1/runs").status_code == 401
        with httpx.Client() as browser:
            browser.get(f"{home}/?token={server.address.token}")
            assert browser.get(f"{home}/api/v1/runs").status_code == 200
            assert browser.get(f"{home}/api/v1/runs", headers={"host": "any.example"}).status_code == 200


def test_on_loopback_no_token_is_asked_for_unless_one_is_given(shown: tuple[Path, str]) -> None:
    with start_in_background(make_app(shown[0]), port=0) as server:
        assert server.address.token is None
    with start_in_background(make_app(shown[0], token="sixteen-letters-or-more"), port=0) as server:
        assert server.address.token == "sixteen-letters-or-more"
        assert httpx.get(f"http://127.0.0.1:{server.address.port}/api/v1/runs").status_code == 401


@pytest.mark.parametrize("port", [-1, 65536, 10**9])
def test_ports_that_cannot_be_are_refused(shown: tuple[Path, str], port: int) -> None:
    with pytest.raises(UsageError, match="0 to 65535"):
        start_in_background(make_app(shown[0]), port=port)


def test_a_host_that_cannot_be_is_refused(shown: tuple[Path, str]) -> None:
    with pytest.raises(UsageError, match="cannot serve on"):
        start_in_background(make_app(shown[0]), host="203.0.113.77", port=0)
    with pytest.raises(UsageError, match="cannot serve on"):
        start_in_background(make_app(shown[0]), host="not a host", port=0)


def test_addresses_are_written_as_a_browser_takes_them() -> None:
    def url(host: str, token: str | None = None) -> str:
        return Address(host=host, port=6070, wanted_port=6070, token=token).url

    assert url("127.0.0.1") == "http://127.0.0.1:6070/"
    assert url("::1") == "http://[::1]:6070/"
    assert url("localhost", "t" * 16) == f"http://localhost:6070/?token={'t' * 16}"
    assert socket.gethostname() in url("0.0.0.0")


FOREGROUND = """
import sys
from epochal.server import make_app, serve
try:
    serve(make_app(sys.argv[1]), port=0, ready=lambda address: print(address.url, flush=True))
except KeyboardInterrupt:
    print("ended", flush=True)
"""


def test_in_the_foreground_ctrl_c_ends_it_quickly_even_with_a_stream_open(shown: tuple[Path, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FOREGROUND, str(shown[0])], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with httpx.stream("GET", f"{url}api/v1/events", timeout=10) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry:")
            process.send_signal(2)
            assert all(line == "" or line.startswith(":") for line in lines)  # it ends, and without an error
        assert process.communicate(timeout=5) == ("ended\n", "")
    finally:
        process.kill()
        process.wait()


def test_answers_are_not_held_back_for_an_acknowledgement(shown: tuple[Path, str]) -> None:
    with start_in_background(make_app(shown[0]), port=0) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.address.port)
        waits = []
        for _ in range(12):
            begin = time.perf_counter()
            client.request("GET", "/api/v1/studio")
            client.getresponse().read()
            waits.append(time.perf_counter() - begin)
        client.close()
    assert min(waits[1:]) < 0.03  # Nagle's algorithm would make it 40 ms, each time
