"""Answers as JSON: never sniffed, never stored, and an error says what is wrong without saying where in the code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from durablecli.errors import DurableError

_CAREFUL = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
_WRONG_ARGUMENT = "One or more of the arguments submitted is incorrect"
_DEFECT = "Something went wrong while processing your request"

_encode = msgspec.json.Encoder().encode


class Closing:
    """Whether the server is about to stop; whoever waits looks now and then."""

    def __init__(self) -> None:
        self.said = False


class Refused(Exception):
    """A request that is answered with an error; `detail` is what the error says beyond its message."""

    def __init__(self, status: int, message: str, detail: str = "", kind: str = "ArgumentException") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.detail = detail or message
        self.kind = kind


def json_answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A body as JSON."""
    return Response(_encode(body), status, {**_CAREFUL, **(headers or {})}, "application/json")


def empty_answer(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An answer without a body."""
    return Response(None, status, {**_CAREFUL, **(headers or {})})


def refusal_answer(refused: Refused, headers: Mapping[str, str] | None = None) -> Response:
    """The error body of Durable Functions; its StackTrace is always null."""
    body = {
        "Message": refused.message,
        "ExceptionMessage": refused.detail,
        "ExceptionType": refused.kind,
        "StackTrace": None,
    }
    return json_answer(body, refused.status, headers)


def refusal_of(error: DurableError) -> Refused:
    """What a client is told of an error of ours."""
    status, kind = error.http_status, type(error).__name__
    if status == 400:
        return Refused(400, _WRONG_ARGUMENT, str(error), kind)
    if status >= 500:
        return Refused(status, _DEFECT, str(error), kind)
    return Refused(status, str(error), kind=kind)


def defect() -> Refused:
    """What a client is told of a defect: that there was one. The log knows more."""
    return Refused(500, _DEFECT, kind="Exception")
