"""The reading half of the client: statuses, lists, histories and waiting, for instances and entities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from threading import Event
from typing import Any, TypeVar, overload

import msgspec

from durablecli.client.entity_reader import EntityReader
from durablecli.client.entity_status import EntityStateResponse, EntityStatus
from durablecli.client.follow import HistoryFollower, HistoryLine, follow_history
from durablecli.client.live_history import LiveHistory
from durablecli.client.log_follower import LogFollower, select_entries
from durablecli.client.orchestration_status import DurableOrchestrationStatus, EngineStatus
from durablecli.client.polling import Poller
from durablecli.client.published_functions import PublishedFunctions
from durablecli.client.remote_workers import RemoteWorkers
from durablecli.client.running_work import RunningEntityBatch
from durablecli.client.status_reader import StatusReader
from durablecli.errors import TimedOut
from durablecli.model.entity_id import EntityId, is_entity_id, to_entity_id
from durablecli.model.events import Record
from durablecli.model.history_projection import project_history
from durablecli.model.log_entry import LogEntry
from durablecli.model.status import InstanceSummary, OrchestrationRuntimeStatus
from durablecli.model.validation import check_time
from durablecli.replay.runtime_state import RuntimeState
from durablecli.store.disk_usage import DiskUsage, DiskUsageMeter
from durablecli.store.engine_info import EngineInfo
from durablecli.store.hub_health import HubHealth
from durablecli.store.merged_view import PageAndCounts
from durablecli.store.publication import EndSignal
from durablecli.store.query import Page, Query

T = TypeVar("T")


class HubQueries:
    """Reads one hub. Every call reads the files as they are at that moment; no engine needs to run."""

    def __init__(self, reader: StatusReader, entity_reader: EntityReader) -> None:
        self._reader = reader
        self._entity_reader = entity_reader
        self._disk_meter = DiskUsageMeter(reader.root)

    def engine(self) -> EngineStatus:
        """Return the status of the running engine, or what is known of the last one."""
        return self._reader.read_engine_status()

    def published(self) -> PublishedFunctions | None:
        """Return the functions that the last engine had loaded; None if no engine ever ran."""
        return self._reader.read_published()

    def work_report(self) -> EngineInfo | None:
        """Return the activities and entity batches that the running engine reports; None if no engine is running."""
        return self._reader.read_report()

    def workers(self) -> RemoteWorkers | None:
        """Return the workers that are connected to the running engine; None if it serves no remote code."""
        return self._reader.read_workers()

    def health(self) -> HubHealth:
        """Return what waits in the inbox, and which messages and instances of the hub can't be used."""
        return self._reader.read_health()

    def disk_usage(self) -> DiskUsage:
        """Return the sizes of the files of the hub, as of a moment ago; measuring 200,000 takes about a second."""
        return self._disk_meter.read()

    # ── instances ──────────────────────────────────────────────────────────────────────────────────────────────

    def get_status(
        self,
        instance_id: str,
        show_history: bool = False,
        show_history_output: bool = False,
        show_input: bool = True,
        *,
        explain_waits: bool = True,
    ) -> DurableOrchestrationStatus:
        """Return the status of an instance; it is falsy if there is none. `show_input=False` omits the input, and
        `explain_waits=False` what delays the waits."""
        return self._reader.read_status(
            instance_id,
            history=show_history,
            history_output=show_history_output,
            show_input=show_input,
            explain=explain_waits,
        )

    def get_status_all(self) -> list[DurableOrchestrationStatus]:
        """Return the status of every instance, oldest first."""
        return self.get_status_by()

    def get_status_by(
        self,
        created_time_from: datetime | None = None,
        created_time_to: datetime | None = None,
        runtime_status: Iterable[OrchestrationRuntimeStatus | str] | None = None,
        instance_id_prefix: str | None = None,
    ) -> list[DurableOrchestrationStatus]:
        """Return the status of every instance that matches, oldest first."""
        query = build_query(created_time_from, created_time_to, runtime_status, instance_id_prefix)
        return [status for status in self._reader.read_statuses(self.iter_ids(query)) if status]

    def statuses(self, instance_ids: Iterable[str]) -> Iterator[DurableOrchestrationStatus]:
        """Yield the status of each of these instances, with one read of the journal for all of them."""
        return self._reader.read_statuses(instance_ids)

    def state(self, instance_id: str) -> RuntimeState | None:
        """Return the runtime state of an instance; None if there is none."""
        return self._reader.read_state(instance_id)

    def states(self, instance_ids: Iterable[str]) -> Iterator[RuntimeState]:
        """Yield the runtime state of each of these instances that exists, with all of its records."""
        return self._reader.read_states(instance_ids)

    def page(self, query: Query) -> Page:
        """Return one page of instances, as rows without payloads."""
        return self._reader.read_page(query)

    def count(self, query: Query) -> int:
        """Count the instances that match."""
        return self._reader.count(query)

    def page_and_counts(self, query: Query, *, indexed_only: bool = False) -> PageAndCounts:
        """Return one page of instances, and the number of each status that match regardless of status.

        `indexed_only` costs little however busy the engine is: the rows are then behind by a fraction of a second, and
        starts that no engine has taken yet are missing.
        """
        return self._reader.page_and_counts(query, indexed_only=indexed_only)

    def count_by_status(self, query: Query) -> dict[str, int]:
        """Count the instances that match, by their status; one that none has is left out."""
        return self._reader.count_by_status(query)

    def count_by_name(self, query: Query) -> dict[tuple[str, str], int]:
        """Count the matching instances of each name and status that there are."""
        return self._reader.count_by_name(query)

    def count_children(self, instance_ids: Sequence[str]) -> dict[str, int]:
        """Count the sub-orchestrations of each of these instances, those of their own not included."""
        return self._reader.count_children(instance_ids)

    def children(self, instance_ids: Sequence[str], limit: int = 100) -> dict[str, list[InstanceSummary]]:
        """Return the rows of the sub-orchestrations of each of these instances, the oldest first.

        Of each instance there are at most `limit`.
        """
        return self._reader.read_children(instance_ids, limit)

    def iter_ids(self, query: Query) -> Iterator[str]:
        """Yield the ids of all instances that match, page after page."""
        return (row.id for row in self._reader.iter_rows(query))

    def get_history(self, instance_id: str) -> list[Record]:
        """Return the records of the last execution; raises NotFound."""
        return [line.record for line in self.get_lines(instance_id)]

    def get_status_with_records(self, instance_id: str) -> tuple[DurableOrchestrationStatus, list[Record]]:
        """Return the status of an instance, and the records of its last execution as of the same moment.

        The status is falsy if there is no such instance. Of a damaged history, the records are those that can be read.
        """
        return self._reader.read_with_records(instance_id)

    def project_history(self, instance_id: str) -> list[dict[str, Any]]:
        """Return the history as the HTTP API shows it, with inputs and results; raises NotFound."""
        return project_history(self.get_history(instance_id), results=True, inputs=True)

    def get_lines(self, instance_id: str) -> list[HistoryLine]:
        """Return the records, each with its line of the file; raises NotFound."""
        self._reader.get_usable(instance_id)
        return self.follower(instance_id).new_lines()

    def follower(self, instance_id: str) -> HistoryFollower:
        """Return a follower, which reads the new records of a history each time it is asked."""
        return HistoryFollower(self._reader, instance_id)

    def follow(self, instance_id: str) -> Iterator[HistoryLine]:
        """Yield every record as it is written, until the instance has ended; raises NotFound at the first step."""
        return follow_history(self._reader, instance_id, lambda: self._reader.get_usable(instance_id).ended)

    def get_logs(
        self, instance_id: EntityId | str, *, activity: int | str | None = None, tail: int | None = None
    ) -> list[LogEntry]:
        """Return what an instance or entity has printed and logged, oldest first; raises NotFound.

        `activity` selects one activity or operation by its id or name, and `tail` the last entries. It is not on disk
        durably: a crash of the machine may lose the end.
        """
        instance = self._check_exists(instance_id)
        return select_entries(self._reader.open_log(instance).read_new(), activity, tail)

    def follow_logs(
        self, instance_id: EntityId | str, *, activity: int | str | None = None, tail: int | None = None
    ) -> Iterator[LogEntry]:
        """Yield the entries as they are written, until the instance has ended; those of an entity until it is purged.

        `tail` selects the last of those that exist already. Raises NotFound.
        """
        instance = self._check_exists(instance_id)
        follower = LogFollower(
            self._reader.open_log(instance),
            lambda: self._reader.change_token(instance),
            lambda: self._is_log_complete(instance),
        )
        return follower.follow(activity, tail)

    def live_token(self, instance_id: str) -> object:
        """Return a value, cheap to poll, that changes whenever the status of an instance, its progress or its log may
        have."""
        report, log = self._reader.read_report(), self._reader.open_log(instance_id)
        running = [each for each in report.running if each.instance == instance_id] if report else None
        progress = [each for each in report.progress or () if each.instance == instance_id] if report else None
        return self._reader.change_token(instance_id), log.change_token(), running, progress

    def _is_log_complete(self, id: str) -> bool:
        """Whether an instance has ended, or an entity is purged."""
        return not self._entity_reader.read_status(id) if is_entity_id(id) else self.has_ended(id)

    def _check_exists(self, id: EntityId | str) -> str:
        """Return the id of an instance or entity; raise NotFound if there is none."""
        if is_entity_id(str(id)):
            return str(self._entity_reader.get_existing(id).entity_id)
        return self._reader.get_existing(str(id)).instance_id

    @overload
    def wait(self, instance_id: str, timeout: timedelta | float | None = None) -> DurableOrchestrationStatus: ...
    @overload
    def wait(self, instance_id: str, timeout: timedelta | float | None = None, *, expected_type: type[T]) -> T: ...
    @overload
    def wait(self, instance_id: str, timeout: timedelta | float | None = None, *, expected_type: Any) -> Any: ...
    def wait(self, instance_id: str, timeout: timedelta | float | None = None, *, expected_type: Any = None) -> Any:
        """Return the status once the instance has ended, or its output as an object of the `expected_type`.

        Raises NotFound, and TimedOut after `timeout` (seconds); with `expected_type` also what `status.get_output`
        raises.
        """
        status = self._wait(instance_id, timeout)
        return status if expected_type is None else status.get_output(expected_type)

    def _wait(self, instance_id: str, timeout: timedelta | float | None) -> DurableOrchestrationStatus:
        poller = Poller(timeout)
        while True:
            ended = Event()
            with self._reader.watch_end(instance_id, ended) as watched:
                token = None if watched else self._reader.change_token(instance_id)
                current = self._reader.get_usable(instance_id)
                if current.ended:
                    return current
                if poller.is_expired():
                    blocked = f", and blocked: {current.blocked.reason}" if current.blocked else ""
                    still = f"{instance_id} is still {current.status_name}{blocked}"
                    raise TimedOut(f"{still}; wait again: durable wait {instance_id}")
                if watched:
                    ended.wait(poller.watching_pause())
                else:
                    poller.wait_for_change(lambda: self._reader.change_token(instance_id), token)

    def watch_end(self, instance_id: str, signal: EndSignal) -> AbstractContextManager[bool]:
        """Have an engine in this process set the signal each time the instance ends; False if there is none."""
        return self._reader.watch_end(instance_id, signal)

    def has_ended(self, instance_id: str) -> bool:
        """Whether the instance has ended, and no posted message starts or rewinds it; also true if there is none."""
        current = self._reader.read_status(instance_id, show_input=False)
        return not current or current.ended

    def is_requested(self, instance_id: str, kind: str) -> bool:
        """Whether a message of this kind is posted and no engine has accepted it yet."""
        return self._reader.is_requested(instance_id, kind)

    def live_history(self, instance_id: str) -> LiveHistory:
        """Return what a live view reads: new records, and what the engine reports of the work."""
        return LiveHistory(self._reader, instance_id)

    def change_token(self, instance_id: str | None = None) -> object:
        """Return a value, cheap to poll, that changes whenever an instance or entity may have; without an id, any."""
        return self._reader.change_token(instance_id)

    # ── entities: each is named by its EntityId, or as `@name@key` ─────────────────────────────────────────────

    def read_entity_state(self, entityId: EntityId | str) -> EntityStateResponse:  # noqa: N803  Azure's name
        """Return whether an entity has a state, and the state."""
        return self._entity_reader.read_state(entityId)

    def entity(self, entity_id: EntityId | str) -> EntityStatus:
        """Return the status of an entity; it is falsy if nothing was ever sent to it."""
        return self._entity_reader.read_status(entity_id)

    def list_entities(self, query: Query | None = None) -> Page:
        """Return one page of entities, as rows without their states; a status is Exists or Empty."""
        return self._reader.read_page(_entity_query(query))

    def count_entities(self, query: Query | None = None) -> int:
        """Count the entities that match."""
        return self._reader.count(_entity_query(query))

    def iter_entity_ids(self, query: Query | None = None) -> Iterator[str]:
        """Yield the ids of all entities that match, page after page."""
        return (row.id for row in self._reader.iter_rows(_entity_query(query)))

    def running_batches(self) -> Mapping[str, RunningEntityBatch]:
        """Return the running operations that the engine reports, by entity."""
        return self._reader.read_running_batches(self.engine())

    def get_entity_history(self, entity_id: EntityId | str) -> list[Record]:
        """Return the records of an entity's log, as far as they are kept; raises NotFound."""
        return [line.record for line in self.get_entity_lines(entity_id)]

    def get_entity_lines(self, entity_id: EntityId | str) -> list[HistoryLine]:
        """Return the records of an entity's log, each with its line of the file; raises NotFound."""
        return self.follower(str(self._entity_reader.get_existing(entity_id).entity_id)).new_lines()

    def follow_entity(self, entity_id: EntityId | str) -> Iterator[HistoryLine]:
        """Yield every record as it is written, without end; raises NotFound, also once the entity is purged."""
        entity = to_entity_id(entity_id)
        return follow_history(self._reader, str(entity), lambda: not self._entity_reader.get_existing(entity))


def build_query(
    created_from: datetime | None,
    created_to: datetime | None,
    statuses: Iterable[OrchestrationRuntimeStatus | str] | None,
    prefix: str | None,
) -> Query:
    """Return the query for these filters, oldest instances first. A naive time is UTC."""
    names = tuple(each.value if isinstance(each, OrchestrationRuntimeStatus) else each for each in statuses or ())
    return Query(None, names, prefix or "", _to_utc(created_from), _to_utc(created_to), reverse=True)


def _entity_query(query: Query | None) -> Query:
    return msgspec.structs.replace(query or Query(), entities=True)


def _to_utc(time: datetime | None) -> datetime | None:
    return None if time is None else check_time(time, "a time")
