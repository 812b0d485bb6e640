"""Checks the key of an HTTP request."""

from __future__ import annotations

from starlette.requests import Request

from durablecli.http.responses import ApiError
from durablecli.serving.api_keys import ApiKeys, KeyLevel

_KEY_REQUIRED_MESSAGE = "A key is required: send it as the x-functions-key header, or as code in the query"


def check_key(keys: ApiKeys, request: Request, level: KeyLevel, *, bearer: bool = False) -> None:
    """Raise ApiError (401) unless the request has a key of this level, as `x-functions-key` or `code=`, or with
    `bearer` as a bearer token."""
    if not keys.enabled or level is KeyLevel.ANONYMOUS:
        return
    given = request.headers.get("x-functions-key") or request.query_params.get("code") or ""
    if bearer and not given:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
    if not keys.grants(given, level):
        raise ApiError(401, _KEY_REQUIRED_MESSAGE, kind="Unauthorized")
