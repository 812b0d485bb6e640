"""Decides whether a call is let in: by its key, and by the task hub that it names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import grpc

from durablecli.grpc.call_errors import CallError
from durablecli.serving.api_keys import ApiKeys, KeyLevel

DEFAULT_TASKHUB = "default"

Metadata = Sequence[tuple[str, str | bytes]]


class CallAccess:
    """The keys in force, and the names of the hub; case doesn't matter in those."""

    def __init__(self, keys: ApiKeys, taskhubs: Iterable[str]) -> None:
        self._keys = keys
        self._taskhubs = frozenset(name.lower() for name in (DEFAULT_TASKHUB, *taskhubs))

    def check(self, metadata: Metadata) -> None:
        """Raise CallError unless a call with this metadata is let in.

        A key is sent as `authorization: Bearer KEY` or `x-functions-key: KEY`. It must be one that gives access to the
        management API.
        """
        values: dict[str, str] = {}
        for name, value in metadata:
            values.setdefault(name, value.decode("latin-1") if isinstance(value, bytes) else value)
        if self._keys.enabled and not self._keys.grants(_find_key(values), KeyLevel.SYSTEM):
            raise CallError(
                grpc.StatusCode.UNAUTHENTICATED,
                "a system key of the hub is required: send it as the metadata 'authorization: Bearer KEY'",
            )
        taskhub = values.get("taskhub", "")
        if taskhub and taskhub.lower() not in self._taskhubs:
            raise CallError(grpc.StatusCode.NOT_FOUND, f"no task hub {taskhub[:80]!r} here: use 'default'")


def _find_key(values: dict[str, str]) -> str:
    if key := values.get("x-functions-key"):
        return key
    scheme, _, token = values.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
