"""Who may ask: keys, the names that we answer to, and what a request may weigh.

Whoever reaches a loopback address is the user already; only a browser must not be made to ask for others. So a name
that isn't ours is refused before anything else is looked at (DNS rebinding), and what another site sends can't change
anything. Every other address asks for a key.
"""

from __future__ import annotations

import hmac
from enum import IntEnum

from starlette.requests import Request

from durablecli.http.answers import Refused


class Level(IntEnum):
    """What a key opens: the functions of an app, the management API as well, or everything."""

    ANONYMOUS = 0
    FUNCTION = 1
    SYSTEM = 2
    ADMIN = 3


class Keys:
    """The keys in force; with none of them everything is open."""

    def __init__(self, function: str | None = None, system: str | None = None, master: str | None = None) -> None:
        self._keys = [
            (level, key.encode())
            for level, key in ((Level.FUNCTION, function), (Level.SYSTEM, system), (Level.ADMIN, master))
            if key
        ]
        self.code = system or master
        """What the links of the management API carry."""

    @property
    def in_force(self) -> bool:
        return bool(self._keys)

    def check(self, request: Request, level: Level) -> None:
        """Raises Refused (401) unless the request has a key that opens this; `x-functions-key`, or `code=`."""
        if not self._keys or level is Level.ANONYMOUS:
            return
        given = request.headers.get("x-functions-key") or request.query_params.get("code") or ""
        # Every key is compared, whatever the first ones give: the time must not tell which one was nearly right.
        opens = [hmac.compare_digest(given.encode(), key) and own >= level for own, key in self._keys]
        if not any(opens):
            raise Refused(
                401, "A key is needed: send it as x-functions-key, or as code in the query", kind="Unauthorized"
            )
