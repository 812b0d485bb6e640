"""Reads statuses, histories and lists from the files of a hub, without the lock and without writing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import msgspec

from durablecli.client.entity_waits import Lookups, explain_page, explain_rows, explain_waits
from durablecli.client.orchestration_status import DurableOrchestrationStatus, EngineStatus, QuarantineInfo
from durablecli.client.published_functions import PublishedFunctions, published_functions
from durablecli.client.remote_workers import RemoteWorkers, remote_workers
from durablecli.client.rewind_preview import describe_rewind
from durablecli.client.running_work import (
    ReportedActivities,
    RunningEntityBatch,
    find_running_batches,
    report_of_live_engine,
)
from durablecli.client.status_builder import (
    build_status,
    inactive_status,
    keep_if_foldable,
    parse_records,
    predict_instance_status,
    predict_state,
)
from durablecli.errors import DamagedHub, InstanceSetAside, NotFound, UsageError
from durablecli.limits import MAX_PAGE_SIZE
from durablecli.model.entity_id import is_entity_id
from durablecli.model.events import Record
from durablecli.model.status import InstanceSummary, PendingWait
from durablecli.replay.entity_state import EntityRuntimeState, fold_entity_log
from durablecli.replay.rewind import CAUSES_ONLY, RewindScope
from durablecli.replay.runtime_state import RuntimeState, fold_history
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.engine_info import EngineInfo
from durablecli.store.history.file import History
from durablecli.store.hub_file import read_hub_file
from durablecli.store.hub_health import HubHealth, read_hub_health
from durablecli.store.hub_reader import HubReader, InstanceSnapshot
from durablecli.store.inbox.messages import Message
from durablecli.store.logs.log_reader import LogReader
from durablecli.store.merged_view import PageAndCounts
from durablecli.store.publication import EndSignal, PublicationStatus
from durablecli.store.quarantine import QuarantinedInstance
from durablecli.store.query import Page, Query


class StatusReader:
    """Reads one hub. Every call reads the files as they are at that moment."""

    def __init__(self, root: str, disk: Disk | None = None, publication: PublicationStatus | None = None) -> None:
        self.root = root
        self._disk: Disk = disk or LocalDisk()
        self._publication = publication
        self._own_engine: EngineStatus | None = None
        self._hub = HubReader(root, self._disk, publication)

    def read_status(
        self,
        instance: str,
        *,
        history: bool = False,
        history_output: bool = False,
        show_input: bool = True,
        explain: bool = True,
    ) -> DurableOrchestrationStatus:
        """Return the status of an instance; it is falsy if there is neither a history nor a pending start.

        With `explain`, the waits say what delays them, and a running instance what it has reported as progress.
        """
        if is_entity_id(instance):
            return DurableOrchestrationStatus(instance_id=instance)
        snapshot, quarantine = self._read_snapshot(instance, self._hub.read_instance)
        status = build_status(
            instance,
            snapshot,
            self.read_engine_status(),
            quarantine,
            history=history,
            history_output=history_output,
            show_input=show_input,
        )
        if not explain or status.ended or not status.taken:
            return status
        return _explain_status(status, self._make_lookups(self._hub.read_history))

    def read_with_records(self, instance: str) -> tuple[DurableOrchestrationStatus, list[Record]]:
        """Return the status of an instance, and the records that it was made from; none before an engine starts it."""
        if is_entity_id(instance):
            return DurableOrchestrationStatus(instance_id=instance), []
        snapshot, quarantine = self._read_snapshot(instance, self._hub.read_instance)
        records = list(parse_records(snapshot.history)) if snapshot.history is not None else []
        status = build_status(instance, snapshot, self.read_engine_status(), quarantine, records=records)
        status = _explain_status(status, self._make_lookups(self._hub.read_history))
        return status, records if status.taken else []

    def read_states(self, instances: Iterable[str]) -> Iterator[RuntimeState]:
        """Yield the runtime state of each instance that there is, with one read of the journal for all of them.

        One that no engine has started yet has the start that is posted for it as its only record. Of a quarantined
        one, the state is that of the part that can be read; without any it is left out.
        """
        read, _ = self._hub.bulk_readers()
        states = (_fold_state(each, self._read_snapshot(each, read)[0]) for each in instances)
        yield from (state for state in states if state is not None)

    def read_state(self, instance: str) -> RuntimeState | None:
        """Return the runtime state of one instance, as `read_states` does; None if there is none."""
        return _fold_state(instance, self._read_snapshot(instance, self._hub.read_instance)[0])

    def get_existing(self, instance: str) -> DurableOrchestrationStatus:
        """Return the status of an instance, quarantined or not; raise NotFound."""
        if is_entity_id(instance):
            raise not_an_instance_error(instance)
        current = self.read_status(instance, explain=False)
        if not current:
            raise NotFound(f"no instance '{instance}' in {self.root}")
        return current

    def get_usable(self, instance: str) -> DurableOrchestrationStatus:
        """Return the status of an instance; raise NotFound, or InstanceSetAside for a quarantined one."""
        current = self.get_existing(instance)
        if current.set_aside is not None:
            raise InstanceSetAside(f"{instance} is quarantined: {current.set_aside.reason}")
        return current

    def _read_snapshot(
        self, instance: str, read: Callable[[str], InstanceSnapshot]
    ) -> tuple[InstanceSnapshot, QuarantineInfo | None]:
        """Read the history of an orchestration with its pending messages, and why it is quarantined, if it is."""
        entry = self._hub.quarantine_entry(instance)
        try:
            snapshot = read(instance)
        except InstanceSetAside as error:
            readable = keep_if_foldable(self._hub.read_readable_part(instance))
            snapshot = InstanceSnapshot(self._hub.abridged_messages(instance), readable)
            return snapshot, self._quarantine_info(instance, str(error), entry)
        if entry is None or snapshot.history is None:
            return snapshot, None
        usable = snapshot._replace(history=keep_if_foldable(snapshot.history))
        return usable, self._quarantine_info(instance, entry.reason, entry)

    def read_history(
        self, instance: str, read: Callable[[str], History | None] | None = None
    ) -> tuple[History | None, QuarantineInfo | None]:
        """Read the history of an instance, or the log of an entity, and why it is quarantined, if it is.

        Of a damaged history, return the part that can be read.
        """
        entry = self._hub.quarantine_entry(instance)
        try:
            found = (read or self._hub.read_history)(instance)
        except InstanceSetAside as error:
            readable = keep_if_foldable(self._hub.read_readable_part(instance))
            return readable, self._quarantine_info(instance, str(error), entry)
        if entry is None or found is None:
            return found, None
        return keep_if_foldable(found), self._quarantine_info(instance, entry.reason, entry)

    def _quarantine_info(self, instance: str, reason: str, entry: QuarantinedInstance | None) -> QuarantineInfo:
        since = None if entry is None else entry.since
        return QuarantineInfo(reason, since, self._hub.count_quarantined_messages(instance))

    def read_statuses(self, instances: Iterable[str]) -> Iterator[DurableOrchestrationStatus]:
        """Yield the status of each instance, with one read of the journal for all of them."""
        (read_snapshot, read_history), engine = self._hub.bulk_readers(), self.read_engine_status()
        lookups = self._make_lookups(read_history)
        for instance in instances:
            snapshot, quarantine = self._read_snapshot(instance, read_snapshot)
            yield _explain_status(build_status(instance, snapshot, engine, quarantine), lookups)

    def is_requested(self, instance: str, kind: str) -> bool:
        """Whether a message of this kind is posted and no engine has accepted it yet."""
        if is_entity_id(instance):
            return any(message.kind == kind for message in self._hub.pending_messages(instance))
        snapshot, _ = self._read_snapshot(instance, self._hub.read_instance)
        return any(message.kind == kind for message in snapshot.pending)

    def read_pending_messages(self, entity: str) -> list[Message]:
        """Return the posted messages for an entity that no engine has accepted yet. Call it before reading the log."""
        return self._hub.pending_messages(entity)

    def is_consumed(self, message: str) -> bool:
        """Whether a recent commit consumed this message."""
        return self._hub.is_consumed(message)

    def will_be_replaced(self, instance: str) -> bool:
        """Whether a pending start will replace the execution that the history records."""
        if is_entity_id(instance):
            return False
        snapshot, _ = self._read_snapshot(instance, self._hub.read_instance)
        if snapshot.history is None:
            return False
        state = fold_history(parse_records(snapshot.history))
        return predict_instance_status(instance, snapshot, state, None).start is not None

    def read_lines(self, instance: str) -> History | None:
        """Read the lines of a history as they are on disk; None if the instance has none."""
        return self._hub.read_history(instance)

    def open_log(self, instance: str) -> LogReader:
        """Return a reader of what an instance or entity has printed and logged."""
        return LogReader(self._disk, self.root, instance)

    def preview_rewind(self, instance: str, scope: RewindScope = CAUSES_ONLY) -> list[str]:
        """Describe, one line each, the work that a rewind would retry; raise WrongState if it isn't possible."""
        return describe_rewind(instance, self._make_state_finder(), scope)

    def _make_state_finder(self) -> Callable[[str], RuntimeState | None]:
        """Return a function that reads the runtime state of an instance, as of one moment and each only once."""
        read = self._hub.bulk_reader()

        @cache
        def find(instance: str) -> RuntimeState | None:
            found = read(instance)
            return fold_history(parse_records(found)) if found is not None else None

        return find

    def read_page(self, query: Query) -> Page:
        """Return one page of rows, with the cursor to the next page."""
        return explain_page(self._hub.page(query), self.read_workers)

    def count(self, query: Query) -> int:
        """Count the instances that match."""
        return self._hub.count(query)

    def count_by_status(self, query: Query) -> dict[str, int]:
        """Count the instances that match, by status."""
        return self._hub.count_groups(query, lambda index: index.count_by_status(query), lambda row: row.status)

    def count_by_name(self, query: Query) -> dict[tuple[str, str], int]:
        """Count the matching instances of each name and status that there are."""
        return self._hub.count_groups(
            query, lambda index: index.count_by_name(query), lambda row: (row.name, row.status)
        )

    def page_and_counts(self, query: Query, *, indexed_only: bool = False) -> PageAndCounts:
        """Return a page of rows, and the number of instances by status that match regardless of status."""
        found = self._hub.page_and_counts(query, indexed_only=indexed_only)
        return found._replace(page=explain_page(found.page, self.read_workers))

    def count_children(self, parents: Sequence[str]) -> dict[str, int]:
        """Count the sub-orchestrations of each of these instances."""
        return self._hub.count_children(parents)

    def read_children(self, parents: Sequence[str], limit: int) -> dict[str, list[InstanceSummary]]:
        """Return the rows of the sub-orchestrations of each of these instances, and of each at most `limit`."""
        found = self._hub.children(parents, limit)
        return {parent: explain_rows(rows, self.read_workers) for parent, rows in found.items()}

    def iter_rows(self, query: Query) -> Iterator[InstanceSummary]:
        """Yield all rows that match, page after page."""
        query = msgspec.structs.replace(query, limit=MAX_PAGE_SIZE)
        while True:
            page = self.read_page(query)
            yield from page.rows
            if page.cursor is None:
                return
            query = msgspec.structs.replace(query, cursor=page.cursor)

    def check_writable(self) -> None:
        """Raise NewerHub, DamagedHub or NoPermission if the hub must not be written to."""
        self._hub.exists()

    def watch_end(self, instance: str, signal: EndSignal) -> AbstractContextManager[bool]:
        """Have the engine in this process set the signal each time the instance ends; False if there is none."""
        return nullcontext(False) if self._publication is None else self._publication.watch_end(instance, signal)

    def change_token(self, instance: str | None = None) -> object:
        """Return a value that changes whenever the status may have changed; without an instance, that of any."""
        return self._hub.change_token(instance)

    def read_published(self) -> PublishedFunctions | None:
        """Return the functions that the last engine had loaded; None if no engine ever ran."""
        info = self._hub.read_engine_info()
        return None if info is None else published_functions(info)

    def read_running_batches(self, engine: EngineStatus) -> Mapping[str, RunningEntityBatch]:
        """Return the running operations that the engine reports, by entity."""
        return find_running_batches(self._hub.read_engine_info() if engine.alive else None, engine)

    def read_report(self) -> EngineInfo | None:
        """Return what the running engine reports about its work; None if no engine is running."""
        engine = self.read_engine_status()
        return report_of_live_engine(self._hub.read_engine_info() if engine.alive else None, engine)

    def read_activities(self) -> ReportedActivities | None:
        """Return the activities that the engine reports as running or queued; None if no engine is running."""
        report = self.read_report()
        return None if report is None else ReportedActivities(report)

    def read_workers(self) -> RemoteWorkers | None:
        """Return the workers that are connected to the running engine; None if it serves no remote code."""
        return remote_workers(self.read_report())

    def read_health(self) -> HubHealth:
        """Return the health of the hub."""
        return read_hub_health(self._disk, self.root)

    def explain_waits(self, state: RuntimeState, waits: tuple[PendingWait, ...]) -> tuple[PendingWait, ...]:
        """Return the same waits, each with what delays it."""
        lookups = self._make_lookups(self._hub.read_history)
        started = state.started
        return explain_waits(waits, state.instance, state.execution, lookups, started.name, started.version)

    def _make_lookups(self, read: Callable[[str], History | None]) -> Lookups:
        def entity(id: str) -> EntityRuntimeState | None:
            try:
                found = read(id)
            except DamagedHub:
                return None  # reported by a read of the entity itself
            return fold_entity_log(parse_records(found)) if found else None

        @cache
        def instance(id: str) -> str | None:
            try:
                found = read(id)
            except DamagedHub:
                return None
            return inactive_status(fold_history(parse_records(found))) if found else None

        return Lookups(
            entity,
            instance,
            cache(lambda: self.read_running_batches(self.read_engine_status())),
            cache(self.read_activities),
            cache(self.read_workers),
        )

    def read_engine_status(self) -> EngineStatus:
        """Return the status of the running engine, or what is known of the last one."""
        if self._publication is None or not self._publication.is_running:
            return self._read_engine_status()
        if self._own_engine is None or not self._own_engine.alive:
            self._own_engine = self._read_engine_status()
        return self._own_engine  # what hub.json says of an engine in this process doesn't change while it runs

    def _read_engine_status(self) -> EngineStatus:
        try:
            file = read_hub_file(self._disk, self.root)
        except (OSError, DamagedHub):
            return EngineStatus(alive=False)
        holder = file.engine
        if holder is None:
            return EngineStatus(alive=False, last_seen=file.last_seen)
        return EngineStatus(holder.is_alive, holder.pid, holder.since, file.last_seen)


def _explain_status(status: DurableOrchestrationStatus, lookups: Lookups) -> DurableOrchestrationStatus:
    """Return the same status; its waits say what delays them, and it has what the engine knows of its progress."""
    instance, execution = status.instance_id, status.execution or ""
    waits = explain_waits(status.waiting_for, instance, execution, lookups, status.name, status.version)
    reported = None if status.ended else lookups.activities()
    if reported is None:
        return status if waits is status.waiting_for else msgspec.structs.replace(status, waiting_for=waits)
    counts = status.task_counts
    if counts.queued:
        counts = counts.with_running(reported.count_running(instance, execution))
    progress = reported.find_progress(instance, execution)
    return msgspec.structs.replace(status, waiting_for=waits, progress=progress, task_counts=counts)


def not_an_instance_error(entity: str) -> UsageError:
    """Return the error for an entity where an instance is expected."""
    return UsageError(f"{entity} is an entity, not an instance: it can be signaled, deleted and purged")


def _fold_state(instance: str, snapshot: InstanceSnapshot) -> RuntimeState | None:
    found = snapshot.history
    state = fold_history(parse_records(found), found.size) if found is not None else None
    return predict_state(instance, snapshot, state)
