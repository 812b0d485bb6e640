"""keys.json: the API keys of a hub's HTTP server, in a file that only its owner can read."""

from __future__ import annotations

import secrets

import msgspec

from durablecli.config import HttpKeysConfig
from durablecli.errors import ConfigError
from durablecli.store.disk import LocalDisk
from durablecli.store.layout import KEYS_FILE

_OTHERS_MODE = 0o077


def load_or_create_keys(root: str) -> tuple[HttpKeysConfig, bool]:
    """Return the keys of a hub, and whether they are new; raise ConfigError if the file isn't trustworthy."""
    disk, path = LocalDisk(), f"{root}/{KEYS_FILE}"
    facts = disk.stat(path)
    if facts is None:
        made = HttpKeysConfig(*(secrets.token_urlsafe(32) for _ in range(3)))
        disk.replace(path, msgspec.json.encode(made) + b"\n")
        return made, True
    if facts.kind != "file" or facts.owner != disk.user or facts.mode & _OTHERS_MODE:
        raise ConfigError(f"{path} must be a file that only you can read; run: chmod 600, or remove it to get new keys")
    try:
        found = msgspec.json.decode(disk.read(path), type=HttpKeysConfig)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}; correct it, or remove it to get new keys") from None
    if not found.system:
        raise ConfigError(f"{path} contains no system key; add one, or remove the file to get new keys")
    return found, False
