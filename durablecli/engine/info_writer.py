"""Reports what an engine has loaded and is running, for engine.json."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import islice
from time import monotonic

import msgspec
from msgspec.structs import replace

from durablecli.engine.code_state import CodeState
from durablecli.engine.progress_reports import ProgressReports
from durablecli.engine.queue_report import MAX_ENTRIES, QueuedCall, list_limited, list_queued
from durablecli.engine.remote_queues import ConnectedWorker
from durablecli.engine.worker_reports import WorkerReports
from durablecli.engine.workers.activity import ActivityCall
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.dispatcher import Dispatcher, pool_kind
from durablecli.engine.workers.pool import WorkItem
from durablecli.registry import Function, Registry
from durablecli.store.disk import Disk
from durablecli.store.engine_info import (
    EngineInfo,
    FunctionInfo,
    InstanceProgress,
    ReportedWorkItem,
    WorkerInfo,
    write_engine_info,
)

_WRITE_INTERVAL = timedelta(seconds=1)
_MAX_SCHEMA_BYTES = 16 * 1024


class EngineInfoWriter:
    """Writes the file when its content has changed, at most once a second."""

    def __init__(
        self,
        disk: Disk,
        root: str,
        registry: Registry,
        warnings: Iterable[str] = (),
        list_workers: Callable[[], Iterable[ConnectedWorker]] | None = None,
        code: CodeState | None = None,
    ) -> None:
        """`warnings` are the lines on what the app could not load. `list_workers` returns the connected workers; None
        if no remote code is served. `code` is None if the functions don't come from files."""
        self._disk = disk
        self._root = root
        self._code = code
        self._written_at: datetime | None = None
        self._on_written: Callable[[], None] = _do_nothing
        self.set_app(registry, warnings)
        self._list_workers = list_workers
        self._worker_reports = WorkerReports()
        self._since: dict[tuple[WorkKey, bool], datetime] = {}
        self._last_info = EngineInfo()

    def set_app(
        self, registry: Registry, warnings: Iterable[str], on_written: Callable[[], None] | None = None
    ) -> None:
        """Report these functions from now on, and what could not be loaded. `on_written` is called once the file has
        them."""
        self._functions = tuple(_describe_function(one) for one in registry)
        self._warnings = tuple(warnings)
        self._written_at = None
        self._on_written = on_written or _do_nothing

    def update(self, dispatcher: Dispatcher, now: datetime, progress: ProgressReports) -> None:
        """Report what is loaded, which activities and entities run, which wait for one of these to end, and how far
        they and the orchestrations are."""
        if self._written_at is not None and _WRITE_INTERVAL > now - self._written_at >= timedelta(0):
            return
        self._written_at = now
        began = dispatcher.start_times()
        running = [call for key in islice(began, MAX_ENTRIES) if (call := dispatcher.find(key)) is not None]
        queued = list_queued(dispatcher, began)
        clock = monotonic()
        since = {(call.key, True): now - timedelta(seconds=clock - began[call.key]) for call in running}
        since |= {(each.call.key, False): now for each in queued}
        self._since = {each: self._since.get(each, at) for each, at in since.items()}
        info = EngineInfo(
            functions=self._functions,
            running=tuple(self._make_entry(call, runs=True) for call in running),
            queued=tuple(self._make_entry(each.call, runs=False, place=each) for each in queued),
            limits={kind: executor.capacity for kind, executor in dispatcher.pools.items()},
            warnings=self._warnings or msgspec.UNSET,
            progress=tuple(InstanceProgress(*each) for each in progress.latest(MAX_ENTRIES)) or msgspec.UNSET,
            workers=self._report_workers(now),
            limited=tuple(list_limited(dispatcher, now)) or msgspec.UNSET,
            code=msgspec.UNSET if self._code is None else self._code.update(),
        )
        if info != self._last_info:
            self._last_info = info
            write_engine_info(self._disk, self._root, replace(info, at=now, pid=os.getpid()))
        on_written, self._on_written = self._on_written, _do_nothing
        on_written()

    def _report_workers(self, now: datetime) -> tuple[WorkerInfo, ...] | msgspec.UnsetType:
        return msgspec.UNSET if self._list_workers is None else self._worker_reports.make(self._list_workers(), now)

    def _make_entry(self, call: WorkItem, *, runs: bool, place: QueuedCall | None = None) -> ReportedWorkItem:
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
            progress=call.cancellation.progress,
            heartbeat=call.cancellation.heartbeat,
            ahead=0 if place is None else place.ahead,
            key=None if place is None else place.key,
        )


def _do_nothing() -> None:
    pass


def _describe_function(function: Function) -> FunctionInfo:
    operations = None if function.methods is None else tuple(method.name for method in function.methods)
    schema = msgspec.json.encode(function.input_schema) if function.input_schema else b""
    return FunctionInfo(
        function.name,
        function.kind,
        function.source_location,
        function.signature,
        operations,
        msgspec.Raw(schema) if 0 < len(schema) <= _MAX_SCHEMA_BYTES else msgspec.UNSET,
    )
