"""engine.json: what only a running engine knows, for readers in other processes. Advice with its age, never truth."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from durablecli.app import Function, Registry
from durablecli.engine.activity import Call
from durablecli.engine.executors import Work

_EVERY = timedelta(seconds=1)
_MOST = 1_000


class Notice:
    """Writes the file when it would say something new, at most once a second."""

    def __init__(self, root: str, registry: Registry) -> None:
        self._path = Path(root) / "engine.json"
        self._functions = [_function(one) for one in registry]
        self._since: dict[tuple[str, str, int], datetime] = {}
        self._written: datetime | None = None
        self._said: object = None

    def update(self, calls: list[Work], now: datetime) -> None:
        """Say what is loaded and which activities and entities run."""
        if self._written is not None and _EVERY > now - self._written >= timedelta(0):
            return
        self._written = now
        shown = calls[:_MOST]
        self._since = {call.key: self._since.get(call.key, now) for call in shown}
        running = [self._running(call) for call in shown]
        if running == self._said:
            return
        self._said = running
        self._write({"at": now, "pid": os.getpid(), "functions": self._functions, "running": running})

    def _running(self, call: Work) -> dict[str, Any]:
        instance, execution, n = call.key
        name, since = call.function.name, self._since[call.key]
        attempt = call.attempt if isinstance(call, Call) else 1
        return {
            "instance": instance, "execution": execution, "id": n,
            "name": name, "attempt": attempt, "since": since,
        }  # fmt: skip

    def _write(self, text: dict[str, Any]) -> None:
        temporary = self._path.with_suffix(".json.tmp")
        with suppress(OSError):  # advice: the engine goes on without it
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(text))
            temporary.replace(self._path)


def _function(one: Function) -> dict[str, Any]:
    told = {"name": one.name, "kind": one.kind, "place": one.place, "signature": one.signature}
    operations = {} if one.methods is None else {"operations": [method.name for method in one.methods]}
    return told | operations
