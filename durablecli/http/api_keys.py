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
from durablecli.http.responses import ApiError
from durablecli.store.http_keys import load_or_create_keys

MAX_HEAD_BYTES = 16 * 1024
MAX_URL_BYTES = 8 * 1024
_KEY_REQUIRED_MESSAGE = "A key is needed: send it as x-functions-key, or as code in the query"


class KeyLevel(IntEnum):
    """What a key opens: the functions of an app, the management API as well, or everything."""

    ANONYMOUS = 0
    FUNCTION = 1
    SYSTEM = 2
    ADMIN = 3


class ApiKeys:
    """The keys in force; with none of them everything is open."""

    def __init__(self, function: str | None = None, system: str | None = None, master: str | None = None) -> None:
        self._keys = [
            (level, key.encode())
            for level, key in ((KeyLevel.FUNCTION, function), (KeyLevel.SYSTEM, system), (KeyLevel.ADMIN, master))
            if key
        ]
        self.code = system
        """What the links of the management API carry: never the master key, which opens more than they lead to."""

    @property
    def enabled(self) -> bool:
        return bool(self._keys)

    def check(self, request: Request, level: KeyLevel) -> None:
        """Raises Refused (401) unless the request has a key that opens this; `x-functions-key`, or `code=`."""
        if not self._keys or level is KeyLevel.ANONYMOUS:
            return
        given = request.headers.get("x-functions-key") or request.query_params.get("code") or ""
        # Every key is compared, whatever the first ones give: the time must not tell which one was nearly right.
        data = given.encode("utf-8", "surrogatepass")
        opens = [hmac.compare_digest(data, key) and own >= level for own, key in self._keys]
        if not any(opens):
            raise ApiError(401, _KEY_REQUIRED_MESSAGE, kind="Unauthorized")


def load_keys(address: str, configured: HttpKeysConfig, root: str) -> tuple[ApiKeys, bool]:
    """The keys for a server at this address, and whether they were made just now."""
    if configured.function or configured.system or configured.master:
        if not (configured.system or configured.master):
            raise ConfigError("http.keys: the management API needs a key of its own: give system, or master")
        if configured.system:
            return ApiKeys(configured.function, configured.system, configured.master), False
        stored, generated = load_or_create_keys(root)  # for the links, which need one
        return ApiKeys(configured.function, stored.system, configured.master), generated
    if is_loopback(address):
        return ApiKeys(), False
    stored, generated = load_or_create_keys(root)
    return ApiKeys(stored.function, stored.system, stored.master), generated


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"
