"""A client that asks an app in this process, without a socket, and keeps cookies."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI

HOME = "http://127.0.0.1:6070"


class Client:
    """Asks an app as a browser on this machine would. What the app raises is raised here."""

    def __init__(self, app: FastAPI, *, peer: str = "127.0.0.1") -> None:
        self.app = app
        self._peer = peer
        self._cookies = httpx.Cookies()

    def request(self, method: str, path: str, *, follow_redirects: bool = False, **more: Any) -> httpx.Response:
        return asyncio.run(self._request(method, path, follow_redirects=follow_redirects, **more))

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)

    def patch(self, path: str, **more: Any) -> httpx.Response:
        return self.request("PATCH", path, **more)

    def delete(self, path: str, **more: Any) -> httpx.Response:
        return self.request("DELETE", path, **more)

    async def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(self._peer, 5000))
        if "content" in more and hasattr(more["content"], "__next__"):
            more["content"] = _later(more["content"])
        async with httpx.AsyncClient(transport=transport, base_url=HOME, cookies=self._cookies) as client:
            answer = await client.request(method, path, **more)
            self._cookies = client.cookies
            return answer


async def _later(parts: Any) -> Any:
    for part in parts:
        yield part
