"""Answers as JSON: never sniffed, never stored, and an error says what is wrong without saying where in the code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from durablecli.errors import DurableError

_SECURITY_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
_BAD_ARGUMENT_MESSAGE = "One or more of the arguments submitted is incorrect"
_INTERNAL_ERROR_MESSAGE = "Something went wrong while processing your request"

_encode = msgspec.json.Encoder().encode


class Shutdown:
    """Whether the server is about to stop; whoever waits looks now and then."""

    def __init__(self) -> None:
        self.requested = False


class ApiError(Exception):
    """A request that is answered with an error; `detail` is what the error says beyond its message."""

    def __init__(self, status: int, message: str, detail: str = "", kind: str = "ArgumentException") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.detail = detail or message
        self.kind = kind


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A body as JSON."""
    return Response(_encode(body), status, {**_SECURITY_HEADERS, **(headers or {})}, "application/json")


def empty_response(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An answer without a body."""
    return Response(None, status, {**_SECURITY_HEADERS, **(headers or {})})


def error_response(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    """The error body of Durable Functions; its StackTrace is always null."""
    body = {
        "Message": error.message,
        "ExceptionMessage": error.detail,
        "ExceptionType": error.kind,
        "StackTrace": None,
    }
    return json_response(body, error.status, headers)


def to_api_error(error: DurableError) -> ApiError:
    """What a client is told of an error of ours."""
    status, kind = error.http_status, type(error).__name__
    if status == 400:
        return ApiError(400, _BAD_ARGUMENT_MESSAGE, str(error), kind)
    if status >= 500:
        return ApiError(status, _INTERNAL_ERROR_MESSAGE, str(error), kind)
    return ApiError(status, str(error), kind=kind)


def internal_error() -> ApiError:
    """What a client is told of a defect: that there was one. The log knows more."""
    return ApiError(500, _INTERNAL_ERROR_MESSAGE, kind="Exception")
