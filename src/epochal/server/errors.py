"""Every error in one shape: `{"error": {"code", "message", "hint"}}`, whatever raised it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from epochal.errors import EpochalError

__all__ = ["error_response", "install_error_handlers", "response_of"]

# What a program that only looks at the status should do: ask otherwise (4xx), or come back later (5xx).
_STATUS = {
    "usage": 422,
    "not_found": 404,
    "network_missing": 404,
    "run_exists": 409,
    "untrusted_network": 409,
    "storage_full": 507,
    "read_only": 403,
    "busy": 429,
}
_DEFAULT_STATUS = 422


def error_response(
    status: int, code: str, message: str, *, hint: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """An error as JSON, never to be kept by a cache."""
    body = orjson.dumps({"error": {"code": code, "message": message, "hint": hint}})
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


def response_of(error: EpochalError) -> Response:
    """One of our own errors, with the status that its code stands for."""
    return error_response(_STATUS.get(error.code, _DEFAULT_STATUS), error.code, error.message, hint=error.hint)


def install_error_handlers(app: FastAPI) -> None:
    """Give the app's own errors and the framework's their one shape; `Guard` does for those nobody foresaw."""
    app.add_exception_handler(EpochalError, _ours)
    app.add_exception_handler(HTTPException, _of_the_framework)
    app.add_exception_handler(RequestValidationError, _of_the_parameters)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, EpochalError)  # noqa: S101 - the handler is registered for this class only
    return response_of(error)


async def _of_the_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is registered for this class only
    code = HTTPStatus(error.status_code).name.lower()
    hints = {
        404: "the addresses are listed in /api/v1/openapi.json",
        405: f"allowed: {(error.headers or {}).get('Allow', '')}",
    }
    message = f"{request.method} {request.url.path}: {str(error.detail).lower()}"
    return error_response(
        error.status_code, code, message, hint=hints.get(error.status_code, ""), headers=error.headers
    )


async def _of_the_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the handler is registered for this class only
    said = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()[:5]]
    return error_response(422, "usage", "; ".join(said), hint="the parameters are described in /api/v1/openapi.json")
