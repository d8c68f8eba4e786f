"""Who may ask the server what.

The server reads a person's own files and can change them, so it must answer that person's Studio and nobody else:

- **Host**: a page elsewhere can point its own name at 127.0.0.1 (DNS rebinding) and would then be of the same origin
  as we are; so the name in `Host` must be a loopback one, or one that was listed.
- **Origin, Sec-Fetch-Site**: a browser says from where a request comes; one from elsewhere is refused.
- **Token**: bound to more than loopback, the server demands a secret before it says anything of a run, as
  `Authorization: Bearer` or as the cookie that opening `/?token=...` sets once. The Studio's own files are no secret
  and need none: a strict cookie is not sent with the navigation that a link elsewhere begins.
- **Size**: bodies are small here; a long one is refused before it is read.

Every answer also forbids what a page of ours never needs: scripts written into pages, frames elsewhere, sniffing.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from epochal.errors import UsageError
from epochal.server.errors import error_response

__all__ = ["LOOPBACK_HOSTS", "Access", "Guard", "is_loopback", "new_token"]

_log = logging.getLogger(__name__)

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
BODY_LIMIT = 1_000_000
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")
_READING = ("GET", "HEAD", "OPTIONS")

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; font-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def new_token() -> str:
    """A secret that nobody guesses."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether an address to bind to can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Access:
    """Who may ask: the hosts the server goes by, and the token it demands, if any.

    `allowed_hosts` are names (any port), `name:port`, or `*` for any; with a token the name no longer protects
    anything, so `*` is safe then and only then.
    """

    def __init__(self, *, allowed_hosts: Iterable[str] = LOOPBACK_HOSTS, token: str | None = None) -> None:
        self._allowed = frozenset(host.lower() for host in allowed_hosts)
        self._token = None if token is None else _check_token(token)

    @property
    def token(self) -> str | None:
        """The secret demanded, None where there is none."""
        return self._token

    def demand(self, token: str) -> None:
        """From now on demand `token`, and go by any name."""
        self._token = _check_token(token)
        self._allowed |= {"*"}

    @property
    def cookie(self) -> str:
        """Name of the cookie: cookies do not know ports, so each server's has a name of its own."""
        return f"epochal-{hashlib.sha256((self._token or '').encode()).hexdigest()[:8]}"

    def knows_host(self, host: str) -> bool:
        """Whether `Host` names this server."""
        found = _HOST.fullmatch(host.lower())
        return found is not None and bool({"*", found[0], found[1]} & self._allowed)

    def knows_token(self, given: str) -> bool:
        """Whether `given` is the secret; takes as long for a near miss as for a far one."""
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())


def _check_token(token: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.~-]{16,200}", token):
        raise UsageError("a token has 16 to 200 letters, digits, '-', '_', '.' or '~'")
    return token


class Guard:
    """ASGI middleware that stands before the app, and the outermost edge of a request."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with why not."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # websockets: there are none here

        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refuse_place(scope, headers) or self._refuse_stranger(scope, headers)
        if refusal is None and scope["method"] not in _READING:
            body = await _read_body(receive)
            if isinstance(body, Response):
                refusal = body
            else:
                receive = _replay(body, receive)
        try:
            await (self._app if refusal is None else refusal)(scope, receive, send_guarded)
        except Exception as error:  # the outermost edge of a request: whatever it was, the others go on
            if started:
                raise
            # The client learns nothing of our insides; whoever runs the server finds all of it in the log.
            _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            await error_response(500, "internal", "the server failed to answer this", hint="its log says why")(
                scope, receive, send_guarded
            )

    def _refuse_place(self, scope: Scope, headers: Headers) -> Response | None:
        """Where the request comes from and goes to."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.knows_host(hosts[0]):
            return error_response(
                403,
                "host",
                "this server does not go by that name",
                hint="open it as http://127.0.0.1 or http://localhost, or list the name in allowed hosts",
            )
        elsewhere = error_response(
            403, "origin", "this request comes from another site", hint="ask from the Studio's own page"
        )
        for origin in headers.getlist("origin"):
            if _host_of(origin) != hosts[0].lower():
                return elsewhere
        site = headers.get("sec-fetch-site", "same-origin")
        changes = scope["method"] not in _READING
        if (changes and site not in ("same-origin", "none")) or (site == "cross-site" and _is_api(scope)):
            return elsewhere
        try:
            length = int(headers.get("content-length", "0"))
        except ValueError:
            length = -1
        if length < 0:
            return error_response(400, "bad_request", "Content-Length is not a number")
        return _too_large() if length > BODY_LIMIT else None

    def _refuse_stranger(self, scope: Scope, headers: Headers) -> Response | None:
        """Whether the secret is there, where one is demanded."""
        access = self._access
        if access.token is None:
            return None
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(pairs).get("token")
        if given is not None and scope["path"] == "/" and access.knows_token(given):
            rest = urlencode([(name, value) for name, value in pairs if name != "token"])
            welcome = RedirectResponse(f"/?{rest}" if rest else "/", 303)
            welcome.set_cookie(access.cookie, access.token, httponly=True, samesite="strict", path="/")
            return welcome
        if not _is_api(scope):
            return None
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and access.knows_token(bearer.strip()):
            return None
        # Not the standard library's reader: it gives up at the first cookie of its dislike, and those of other programs
        # on this machine come too.
        if access.knows_token(cookie_parser(headers.get("cookie", "")).get(access.cookie, "")):
            return None
        return error_response(
            401,
            "token",
            "this server demands its token",
            hint="open the address with ?token=... that it printed when it started",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _host_of(origin: str) -> str:
    """Host and port of an origin; empty where it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_api(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.startswith("/api/")


def _too_large() -> Response:
    # What is left of the body is not read, so the connection cannot be used for another request.
    return error_response(
        413, "too_large", f"a body has at most {BODY_LIMIT:,} bytes here", headers={"Connection": "close"}
    )


async def _read_body(receive: Receive) -> bytes | Response:
    """The whole body, or the refusal of one that grows too long (Content-Length need not be there, or true)."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        size += len(message.get("body", b""))
        if size > BODY_LIMIT:
            return _too_large()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, then what the server says."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
