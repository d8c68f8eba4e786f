"""One POST with the standard library, and words for what went wrong that never hold the address."""

from __future__ import annotations

import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from typing import IO, Any


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its body."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def post_json(address: str, body: bytes, *, timeout: float) -> int | str:
    """Post JSON; return the status of the answer, or words for why there is none. No message holds the address."""
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked
        address, data=body, headers={"Content-Type": "application/json", "User-Agent": "epochal"}, method="POST"
    )
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=timeout) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except urllib.error.URLError as error:
        return _words(error.reason)
    except (OSError, HTTPException, ValueError) as error:
        return _words(error)


def _words(reason: Any) -> str:
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__
