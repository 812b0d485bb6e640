"""API keys: which key gives access to what.

At a loopback address every client is the user, and no key is needed; at any other address a key always is. Keys that
the settings don't give are generated once, stored in the hub for its owner only, and shown once.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from enum import IntEnum

from durablecli.config import HttpKeysConfig
from durablecli.errors import ConfigError
from durablecli.serving.addresses import is_loopback

StoredKeys = Callable[[], tuple[HttpKeysConfig, bool]]
"""Returns the keys that are stored in the hub, generating them if there are none, and whether it did."""


class KeyLevel(IntEnum):
    """The access that a key gives: to the functions of an app, to the management API as well, or to everything."""

    ANONYMOUS = 0
    FUNCTION = 1
    SYSTEM = 2
    ADMIN = 3


class ApiKeys:
    """The keys in force. Without any, all access is allowed."""

    def __init__(self, function: str | None = None, system: str | None = None, master: str | None = None) -> None:
        self._keys = [
            (level, key.encode())
            for level, key in ((KeyLevel.FUNCTION, function), (KeyLevel.SYSTEM, system), (KeyLevel.ADMIN, master))
            if key
        ]
        self.code = system
        """The key in the links of the management API: never the master key, which would give more than they need."""

    @property
    def enabled(self) -> bool:
        return bool(self._keys)

    def grants(self, given: str, level: KeyLevel) -> bool:
        """Whether a text is a key of this level."""
        # Every key is compared, whatever the first comparison gives, so that the time taken tells nothing.
        data = given.encode("utf-8", "surrogatepass")
        opens = [hmac.compare_digest(data, key) and own >= level for own, key in self._keys]
        return any(opens)

    def derive_secret(self, purpose: str, level: KeyLevel) -> bytes:
        """A secret that changes with the keys of this level and above, and reveals none of them."""
        return hmac.digest(b"\0".join(key for own, key in self._keys if own >= level), purpose.encode(), "sha256")


def load_keys(address: str, configured: HttpKeysConfig, stored_keys: StoredKeys) -> tuple[ApiKeys, bool]:
    """The keys for a server at this address, and whether any were generated just now. Raises ConfigError."""
    if configured.function or configured.system or configured.master:
        if not (configured.system or configured.master):
            raise ConfigError("http.keys: the management API needs its own key; set system or master")
        if configured.system:
            return ApiKeys(configured.function, configured.system, configured.master), False
        stored, generated = stored_keys()  # links need a system key
        return ApiKeys(configured.function, stored.system, configured.master), generated
    if is_loopback(address):
        return ApiKeys(), False
    stored, generated = stored_keys()
    return ApiKeys(stored.function, stored.system, stored.master), generated
