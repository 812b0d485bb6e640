"""Responses as JSON: browsers neither guess their type nor cache them, and errors don't reveal the code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from durablecli.errors import DurableError

SECURITY_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
_BAD_ARGUMENT_MESSAGE = "One or more of the arguments submitted is incorrect"
_INTERNAL_ERROR_MESSAGE = "Something went wrong while processing your request"

_encode = msgspec.json.Encoder().encode


class Shutdown:
    """Whether the server is shutting down; handlers that wait check it regularly."""

    def __init__(self) -> None:
        self.requested = False


class ApiError(Exception):
    """An error response to a request; `detail` adds to the message."""

    def __init__(self, status: int, message: str, detail: str = "", kind: str = "ArgumentException") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.detail = detail or message
        self.kind = kind


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with a JSON body."""
    return Response(_encode(body), status, {**SECURITY_HEADERS, **(headers or {})}, "application/json")


def empty_response(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """A response without a body."""
    return Response(None, status, {**SECURITY_HEADERS, **(headers or {})})


def error_response(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    """A response with the error body of Durable Functions; its StackTrace is always null."""
    body = {
        "Message": error.message,
        "ExceptionMessage": error.detail,
        "ExceptionType": error.kind,
        "StackTrace": None,
    }
    return json_response(body, error.status, headers)


def to_api_error(error: DurableError) -> ApiError:
    """The error response to an error of durablecli."""
    status, kind = error.http_status, type(error).__name__
    if status == 400:
        return ApiError(400, _BAD_ARGUMENT_MESSAGE, str(error), kind)
    if status >= 500:
        return ApiError(status, _INTERNAL_ERROR_MESSAGE, str(error), kind)
    return ApiError(status, str(error), kind=kind)


def internal_error() -> ApiError:
    """The error response to an unexpected error; details are only in the log."""
    return ApiError(500, _INTERNAL_ERROR_MESSAGE, kind="Exception")


def route_not_found(request: Request) -> ApiError:
    """The error response to an unknown path, or to the wrong method for a path."""
    return ApiError(404, "No route matches the request", f"no {request.method} route has this path", "NotFound")
