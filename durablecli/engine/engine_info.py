"""engine.json: what only a running engine knows, for readers in other processes. Advice with its age, never truth."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from durablecli.engine.workers.activity import ActivityCall
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.dispatcher import Dispatcher, pool_kind
from durablecli.engine.workers.pool import WorkItem
from durablecli.registry import Function, Registry

_WRITE_INTERVAL = timedelta(seconds=1)
_MAX_ENTRIES = 1_000


class EngineInfoWriter:
    """Writes the file when it would say something new, at most once a second."""

    def __init__(self, root: str, registry: Registry) -> None:
        self._path = Path(root) / "engine.json"
        self._functions = [_describe_function(one) for one in registry]
        self._since: dict[tuple[WorkKey, bool], datetime] = {}
        self._written_at: datetime | None = None
        self._last_content: object = None

    def update(self, dispatcher: Dispatcher, now: datetime) -> None:
        """Say what is loaded, which activities and entities run, and which wait for one of these to end."""
        if self._written_at is not None and _WRITE_INTERVAL > now - self._written_at >= timedelta(0):
            return
        self._written_at = now
        began = dispatcher.start_times()
        running = [call for key in islice(began, _MAX_ENTRIES) if (call := dispatcher.find(key)) is not None]
        queued = list(islice((call for call in dispatcher.iter_in_flight() if call.key not in began), _MAX_ENTRIES))
        clock = monotonic()
        since = {(call.key, True): now - timedelta(seconds=clock - began[call.key]) for call in running}
        since |= {(call.key, False): now for call in queued}
        self._since = {each: self._since.get(each, at) for each, at in since.items()}
        said = {
            "running": [self._make_entry(call, runs=True) for call in running],
            "queued": [self._make_entry(call, runs=False) for call in queued],
            "limits": {kind: executor.capacity for kind, executor in dispatcher.pools.items()},
        }
        if said == self._last_content:
            return
        self._last_content = said
        self._write({"at": now, "pid": os.getpid(), "functions": self._functions} | said)

    def _make_entry(self, call: WorkItem, *, runs: bool) -> dict[str, Any]:
        instance, execution, n = call.key
        name, since = call.function.name, self._since[call.key, runs]
        attempt = call.attempt if isinstance(call, ActivityCall) else 1
        entry = {
            "instance": instance, "execution": execution, "id": n,
            "name": name, "attempt": attempt, "since": since, "executor": pool_kind(call),
        }  # fmt: skip
        return entry | {"cancelled": True} if call.cancellation.requested else entry

    def _write(self, text: dict[str, Any]) -> None:
        temporary = self._path.with_suffix(".json.tmp")
        with suppress(OSError):  # advice: the engine goes on without it
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(text))
            temporary.replace(self._path)


def _describe_function(one: Function) -> dict[str, Any]:
    told = {"name": one.name, "kind": one.kind, "place": one.source_location, "signature": one.signature}
    operations = {} if one.methods is None else {"operations": [method.name for method in one.methods]}
    return told | operations
