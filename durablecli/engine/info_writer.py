"""Reports what an engine has loaded and is running, for engine.json."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from itertools import islice
from time import monotonic

from msgspec.structs import replace

from durablecli.engine.workers.activity import ActivityCall
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.dispatcher import Dispatcher, pool_kind
from durablecli.engine.workers.pool import WorkItem
from durablecli.registry import Function, Registry
from durablecli.store.disk import Disk
from durablecli.store.engine_info import EngineInfo, FunctionInfo, ReportedWorkItem, write_engine_info

_WRITE_INTERVAL = timedelta(seconds=1)
_MAX_ENTRIES = 1_000


class EngineInfoWriter:
    """Writes the file when its content has changed, at most once a second."""

    def __init__(self, disk: Disk, root: str, registry: Registry) -> None:
        self._disk = disk
        self._root = root
        self._functions = tuple(_describe_function(one) for one in registry)
        self._since: dict[tuple[WorkKey, bool], datetime] = {}
        self._written_at: datetime | None = None
        self._last_info = EngineInfo()

    def update(self, dispatcher: Dispatcher, now: datetime) -> None:
        """Report what is loaded, which activities and entities run, and which wait for one of these to end."""
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
        info = EngineInfo(
            functions=self._functions,
            running=tuple(self._make_entry(call, runs=True) for call in running),
            queued=tuple(self._make_entry(call, runs=False) for call in queued),
            limits={kind: executor.capacity for kind, executor in dispatcher.pools.items()},
        )
        if info != self._last_info:
            self._last_info = info
            write_engine_info(self._disk, self._root, replace(info, at=now, pid=os.getpid()))

    def _make_entry(self, call: WorkItem, *, runs: bool) -> ReportedWorkItem:
        instance, execution, n = call.key
        return ReportedWorkItem(
            instance=instance,
            execution=execution,
            id=n,
            since=self._since[call.key, runs],
            name=call.function.name,
            attempt=call.attempt if isinstance(call, ActivityCall) else 1,
            executor=pool_kind(call),
            cancelled=call.cancellation.requested,
        )


def _describe_function(function: Function) -> FunctionInfo:
    operations = None if function.methods is None else tuple(method.name for method in function.methods)
    return FunctionInfo(function.name, function.kind, function.source_location, function.signature, operations)
