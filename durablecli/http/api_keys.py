"""The keys: who may ask for what, at an address that others can reach.

Whoever reaches a loopback address is the user, and needs none; everywhere else there is always one. What isn't given
by the settings is made once, kept beside the hub for its owner only, and shown once.
"""

from __future__ import annotations

import hmac
import ipaddress
from enum import IntEnum

from starlette.requests import Request

from durablecli.config import HttpKeysConfig
from durablecli.errors import ConfigError
from durablecli.http.responses import Refused
from durablecli.store.http_keys import load_or_create_keys

LARGEST_HEAD = 16 * 1024
LONGEST_URL = 8 * 1024
_NO_KEY = "A key is needed: send it as x-functions-key, or as code in the query"


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
        self.code = system
        """What the links of the management API carry: never the master key, which opens more than they lead to."""

    @property
    def in_force(self) -> bool:
        return bool(self._keys)

    def check(self, request: Request, level: Level) -> None:
        """Raises Refused (401) unless the request has a key that opens this; `x-functions-key`, or `code=`."""
        if not self._keys or level is Level.ANONYMOUS:
            return
        given = request.headers.get("x-functions-key") or request.query_params.get("code") or ""
        # Every key is compared, whatever the first ones give: the time must not tell which one was nearly right.
        data = given.encode("utf-8", "surrogatepass")
        opens = [hmac.compare_digest(data, key) and own >= level for own, key in self._keys]
        if not any(opens):
            raise Refused(401, _NO_KEY, kind="Unauthorized")


def find_keys(address: str, given: HttpKeysConfig, root: str) -> tuple[Keys, bool]:
    """The keys for a server at this address, and whether they were made just now."""
    if given.function or given.system or given.master:
        if not (given.system or given.master):
            raise ConfigError("http.keys: the management API needs a key of its own: give system, or master")
        if given.system:
            return Keys(given.function, given.system, given.master), False
        kept, made = load_or_create_keys(root)  # for the links, which need one
        return Keys(given.function, kept.system, given.master), made
    if is_loopback(address):
        return Keys(), False
    kept, made = load_or_create_keys(root)
    return Keys(kept.function, kept.system, kept.master), made


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"
