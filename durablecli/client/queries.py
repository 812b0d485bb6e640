"""The reading half of the client: statuses, lists, histories and waiting, for instances and entities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from threading import Event
from typing import Any

import msgspec

from durablecli.client.entity_reader import EntityReader
from durablecli.client.entity_status import EntityStateResponse, EntityStatus
from durablecli.client.follow import HistoryFollower, HistoryLine, follow_history
from durablecli.client.orchestration_status import DurableOrchestrationStatus, EngineStatus
from durablecli.client.polling import Poller
from durablecli.client.published_functions import PublishedFunctions
from durablecli.client.running_work import RunningEntityBatch
from durablecli.client.status_reader import StatusReader
from durablecli.errors import TimedOut
from durablecli.model.entity_id import EntityId, to_entity_id
from durablecli.model.events import Record
from durablecli.model.history_projection import project_history
from durablecli.model.status import OrchestrationRuntimeStatus, PendingWait
from durablecli.model.validation import check_time
from durablecli.replay.runtime_state import RuntimeState
from durablecli.store.publication import EndSignal
from durablecli.store.query import Page, Query


class HubQueries:
    """Reads one hub. Every call reads the files as they are at that moment; no engine needs to run."""

    def __init__(self, reader: StatusReader, entity_reader: EntityReader) -> None:
        self._reader = reader
        self._entity_reader = entity_reader

    def engine(self) -> EngineStatus:
        """Return the status of the running engine, or what is known of the last one."""
        return self._reader.read_engine_status()

    def published(self) -> PublishedFunctions | None:
        """Return the functions that the last engine had loaded; None if no engine ever ran."""
        return self._reader.read_published()

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

    def page(self, query: Query) -> Page:
        """Return one page of instances, as rows without payloads."""
        return self._reader.read_page(query)

    def count(self, query: Query) -> int:
        """Count the instances that match."""
        return self._reader.count(query)

    def iter_ids(self, query: Query) -> Iterator[str]:
        """Yield the ids of all instances that match, page after page."""
        return (row.id for row in self._reader.iter_rows(query))

    def get_history(self, instance_id: str) -> list[Record]:
        """Return the records of the last execution; raises NotFound."""
        return [line.record for line in self.get_lines(instance_id)]

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

    def wait(self, instance_id: str, timeout: timedelta | float | None = None) -> DurableOrchestrationStatus:
        """Return the status once the instance has ended; raises NotFound, and TimedOut after `timeout` (seconds)."""
        poller = Poller(timeout)
        while True:
            ended = Event()
            with self._reader.watch_end(instance_id, ended) as watched:
                token = None if watched else self._reader.change_token(instance_id)
                current = self._reader.get_usable(instance_id)
                if current.ended:
                    return current
                if poller.is_expired():
                    still = f"{instance_id} is still {current.status_name}"
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

    def explain_waits(self, state: RuntimeState, waits: tuple[PendingWait, ...]) -> tuple[PendingWait, ...]:
        """Return the waits of an instance, each with what delays it."""
        return self._reader.explain_waits(state, waits)

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
