"""Completion tokens: the key of the work that an answer answers, as a text. There is no table of them."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec

from durablecli.errors import UsageError
from durablecli.replay.remote_work import ActivityKey, EntityBatchKey, RemoteWorkKey, TurnKey

_KINDS: dict[str, type[TurnKey] | type[ActivityKey] | type[EntityBatchKey]] = {
    "turn": TurnKey,
    "activity": ActivityKey,
    "entity": EntityBatchKey,
}
_KIND_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode_token(key: RemoteWorkKey) -> str:
    """Return the token of a key."""
    return urlsafe_b64encode(msgspec.json.encode((_KIND_NAMES[type(key)], *key))).decode()


def decode_token(token: str) -> RemoteWorkKey:
    """Return the key of a token; raises UsageError for a token that no hub has given out."""
    try:
        kind, *fields = msgspec.json.decode(urlsafe_b64decode(token.encode()))
        key = msgspec.convert(fields, _KINDS[kind])
    except (ValueError, KeyError, TypeError, RecursionError, msgspec.MsgspecError):
        raise UsageError("invalid completion token") from None
    if isinstance(key, TurnKey) and key.time.tzinfo is None:
        raise UsageError("invalid completion token")
    return key
