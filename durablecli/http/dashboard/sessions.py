"""Sessions: where the server requires a key, the login page turns one into a cookie, which has no key in it.

A session is signed with a secret that is derived from the keys in force. So it survives a restart of the daemon, and
ends when the keys change, after twelve hours, or when the user logs out. A restart forgets who has logged out: by then
the browser has dropped the cookie, but a copy of it would open a session again.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from hashlib import sha256
from time import time

from starlette.requests import Request
from starlette.responses import Response

from durablecli.serving.api_keys import ApiKeys, KeyLevel

SESSION_SECONDS = 12 * 3600
_PURPOSE = "durablecli dashboard session"
_MAX_FAILURES = 10
_FAILURE_WINDOW = 60.0
_MAX_ADDRESSES = 1000
_MAX_ENDED = 10_000


class LoginSessions:
    """Who is logged in. Without keys everybody has access, and there is nothing to log in to."""

    def __init__(self, keys: ApiKeys, cookie: str, clock: Callable[[], float] = time) -> None:
        self._keys = keys
        self._cookie = cookie
        self._clock = clock
        self._secret = keys.derive_secret(_PURPOSE, KeyLevel.SYSTEM)
        self._ended: dict[str, float] = {}
        self._failures: dict[str, list[float]] = {}

    def allows(self, request: Request) -> bool:
        """Whether a request has a session, or a key of the management API as its `x-functions-key`."""
        if not self._keys.enabled or self._is_valid(request.cookies.get(self._cookie, "")):
            return True
        return self._keys.grants(request.headers.get("x-functions-key", ""), KeyLevel.SYSTEM)

    def seconds_until_try(self, address: str) -> int:
        """How long a client has to wait until its next try to log in; 0 if it needn't."""
        now = self._clock()
        recent = [at for at in self._failures.get(address, ()) if at > now - _FAILURE_WINDOW]
        return 0 if len(recent) < _MAX_FAILURES else int(recent[0] + _FAILURE_WINDOW - now) + 1

    def log_in(self, key: str, address: str) -> str | None:
        """Return the token of a new session; None, and count the failure, if the key is wrong."""
        if self._keys.grants(key, KeyLevel.SYSTEM):
            self._failures.pop(address, None)
            body = f"{int(self._clock()) + SESSION_SECONDS}.{secrets.token_urlsafe(12)}"
            return f"{body}.{self._sign(body)}"
        now = self._clock()
        earlier = [at for at in self._failures.pop(address, []) if at > now - _FAILURE_WINDOW]
        self._failures[address] = [*earlier, now][-_MAX_FAILURES:]
        if len(self._failures) > _MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        return None

    def set_cookie(self, response: Response, token: str, *, secure: bool) -> None:
        """Have the browser keep the session, out of reach of scripts and of other sites."""
        response.set_cookie(
            self._cookie, token, SESSION_SECONDS, path="/", secure=secure, httponly=True, samesite="strict"
        )

    def log_out(self, request: Request, response: Response) -> None:
        """End the session of a request."""
        token = request.cookies.get(self._cookie, "")
        if self._is_valid(token):
            now = self._clock()
            self._ended = {each: until for each, until in self._ended.items() if until > now}
            if len(self._ended) < _MAX_ENDED:
                self._ended[token] = float(token.partition(".")[0])
        response.delete_cookie(self._cookie, path="/", httponly=True, samesite="strict")

    def _is_valid(self, token: str) -> bool:
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._sign(body).encode(), signature.encode("utf-8", "surrogatepass")):
            return False
        until = body.partition(".")[0]
        return int(until) > self._clock() and token not in self._ended

    def _sign(self, body: str) -> str:
        return hmac.new(self._secret, body.encode("utf-8", "surrogatepass"), sha256).hexdigest()
