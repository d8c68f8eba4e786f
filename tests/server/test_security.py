"""Attacks on the gate, each of which must be refused before the app hears of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from epochal.errors import UsageError
from epochal.server.security import BODY_LIMIT, Access, Guard, is_loopback, new_token
from tests.server.asking import HOME, Client

TOKEN = "a-secret-of-sixteen-letters"


class Inside:
    """The app behind the gate: it counts what came through."""

    def __init__(self, **access: Any) -> None:
        self.came: list[str] = []
        self.app = FastAPI()
        self.app.add_middleware(Guard, access=Access(**access))

        @self.app.api_route("/{path:path}", methods=["GET", "POST", "PATCH", "DELETE"])
        async def everything(request: Request) -> dict[str, int]:
            self.came.append(request.method)
            if request.url.path == "/api/fail":
                raise RuntimeError("secret of /home/somebody")
            return {"size": len(await request.body())}

    def client(self) -> Client:
        return Client(self.app)


def refused(inside: Inside, answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["message"]
    assert inside.came == []
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "host", ["127.0.0.1:6070", "127.0.0.1", "localhost:6070", "LOCALHOST", "[::1]:6070", "[::1]", "localhost:1"]
)
def test_loopback_names_are_let_in_at_any_port(host: str) -> None:
    # Any port: a tunnel to another machine ends at a port of its own.
    assert Inside().client().get("/api/x", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:6070",
        "localhost.evil.example",
        "127.0.0.1.evil.example:6070",
        "evil.example@127.0.0.1",
        "127.0.0.1:6070@evil.example",
        "127.0.0.1 ",
        "localhost:6070.evil.example:1",
        "0.0.0.0:6070",
        "",
        ":6070",
        "*",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/v1/runs"])
def test_rebound_names_are_refused(host: str, path: str) -> None:
    inside = Inside()
    refused(inside, inside.client().get(path, headers={"host": host}), 403, "host")


def test_two_hosts_are_one_too_many() -> None:
    inside = Inside()
    headers = [("host", "127.0.0.1"), ("host", "evil.example")]
    refused(inside, inside.client().get("/api/x", headers=headers), 403, "host")


def test_listed_hosts_are_let_in_with_or_without_a_port() -> None:
    inside = Inside(allowed_hosts=["lab.example", "gpu.example:8080"])
    client = inside.client()
    for host, status in [
        ("lab.example:99", 200),
        ("gpu.example:8080", 200),
        ("gpu.example:8081", 403),
        ("gpu.example", 403),
        ("127.0.0.1", 403),
    ]:
        assert client.get("/", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:3000", "null", "http://localhost:6070", "x", "http://["]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_another_origin_is_refused_whatever_it_asks(method: str, origin: str) -> None:
    inside = Inside()
    refused(inside, inside.client().request(method, "/api/x", headers={"origin": origin}), 403, "origin")


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_the_own_origin_and_programs_without_one_are_let_in(method: str) -> None:
    client = Inside().client()
    assert client.request(method, "/api/x", headers={"origin": HOME}).status_code == 200
    assert client.request(method, "/api/x").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "site", "status"),
    [
        ("POST", "/api/x", "cross-site", 403),
        ("POST", "/api/x", "same-site", 403),
        ("POST", "/api/x", "same-origin", 200),
        ("POST", "/api/x", "none", 200),
        ("GET", "/api/x", "cross-site", 403),
        ("GET", "/api/x", "same-origin", 200),
        ("GET", "/", "cross-site", 200),  # a link to the Studio from a page elsewhere is no attack
    ],
)
def test_what_the_browser_says_of_the_site_counts(method: str, path: str, site: str, status: int) -> None:
    headers = {"sec-fetch-site": site}
    assert Inside().client().request(method, path, headers=headers).status_code == status


def test_a_long_body_is_refused_before_it_is_read() -> None:
    inside = Inside()
    answer = inside.client().post("/api/x", content=b"x" * (BODY_LIMIT + 1))
    refused(inside, answer, 413, "too_large")
    assert answer.headers["connection"] == "close"
    assert inside.client().post("/api/x", content=b"x" * BODY_LIMIT).json() == {"size": BODY_LIMIT}


def test_a_body_that_hides_its_length_is_counted() -> None:
    inside = Inside()

    def pieces() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * (BODY_LIMIT // 2)

    refused(inside, inside.client().post("/api/x", content=pieces()), 413, "too_large")


@pytest.mark.parametrize("length", ["-1", "many", "1e9"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    inside = Inside()
    refused(inside, inside.client().get("/api/x", headers={"content-length": length}), 400, "bad_request")


def test_without_the_token_nothing_of_a_run_is_said() -> None:
    inside = Inside(token=TOKEN)
    client = inside.client()
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"authorization": f"Bearer {TOKEN}x"},
        {"cookie": f"epochal={TOKEN}"},
        {"cookie": "nonsense;;=;"},
    ):
        answer = client.get("/api/v1/runs", headers=headers)
        refused(inside, answer, 401, "token")
        assert answer.headers["www-authenticate"] == "Bearer"
    # Only the page sets the cookie; in the API's addresses the secret would end up in logs.
    refused(inside, client.get(f"/api/v1/runs?token={TOKEN}"), 401, "token")


def test_the_token_is_taken_from_the_header_and_from_the_cookie_that_the_page_sets() -> None:
    inside = Inside(token=TOKEN)
    client = inside.client()
    assert client.get("/api/v1/runs", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    welcome = client.get(f"/?token={TOKEN}&x=1%202", follow_redirects=False)
    assert (welcome.status_code, welcome.headers["location"]) == (303, "/?x=1+2")
    cookie = welcome.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in welcome.headers["location"]
    assert client.get("/api/v1/runs").status_code == 200  # the client kept the cookie


@pytest.mark.parametrize("other", ['prefs={"a":1, "b":2}', "a/b=1", "said=one two", "list[0]=x", "=", "bare"])
def test_cookies_of_other_programs_on_the_machine_do_not_lock_anybody_out(other: str) -> None:
    inside = Inside(token=TOKEN)
    own = f"{Access(token=TOKEN).cookie}={TOKEN}"
    for cookies in (f"{other}; {own}", f"{own}; {other}"):
        assert inside.client().get("/api/v1/runs", headers={"cookie": cookies}).status_code == 200
    assert inside.client().get("/api/v1/runs", headers={"cookie": other}).status_code == 401


def test_a_wrong_token_on_the_page_sets_no_cookie() -> None:
    client = Inside(token=TOKEN).client()
    assert "set-cookie" not in client.get("/?token=wrong", follow_redirects=False).headers


def test_servers_on_other_ports_have_other_cookies() -> None:
    assert Access(token=TOKEN).cookie != Access(token=new_token()).cookie


def test_a_token_that_is_demanded_later_opens_the_names_and_closes_the_rest() -> None:
    access = Access()
    assert not access.knows_host("lab.example")
    access.demand(TOKEN)
    assert access.knows_host("lab.example")
    assert access.knows_token(TOKEN)
    assert not access.knows_token("")


@pytest.mark.parametrize("token", ["", "short", "has spaces in it, too many", "ümlaut-ümlaut-ümlaut", "a" * 201])
def test_poor_tokens_are_refused(token: str) -> None:
    with pytest.raises(UsageError, match="16 to 200"):
        Access(token=token)


def test_new_tokens_are_good_and_differ() -> None:
    assert Access(token=new_token()).token != new_token()


@pytest.mark.parametrize("path", ["/", "/api/x", "/api/fail"])
def test_every_answer_forbids_what_a_page_of_ours_never_needs(path: str) -> None:
    headers = Inside().client().get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"


def test_a_failure_tells_the_log_and_not_the_client(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = Inside().client().get("/api/fail")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert "somebody" not in answer.text
    assert "Traceback" not in answer.text
    assert "secret of /home/somebody" in caplog.text


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_loopback_addresses_are_known(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


def test_there_are_no_websockets() -> None:
    inside = Inside()
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(inside.app({"type": "websocket", "path": "/api/v1/events", "headers": []}, receive, send))
    assert sent == [] or all(message["type"] != "websocket.accept" for message in sent)
    assert inside.came == []
