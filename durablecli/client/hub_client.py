"""What commands ask of a client, whether its hub is in files or another engine has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, overload

from durablecli.client.entity_status import EntityStatus
from durablecli.client.follow import HistoryLine
from durablecli.client.live_history import LiveHistory
from durablecli.client.orchestration_status import DurableOrchestrationStatus, EngineStatus, PurgeHistoryResult
from durablecli.client.published_functions import PublishedFunctions
from durablecli.client.rerun import SAME_INPUT
from durablecli.client.running_work import RunningEntityBatch
from durablecli.errors import DurableError
from durablecli.model.entity_id import EntityId
from durablecli.model.events import Record
from durablecli.model.status import InstanceSummary
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.query import Page, Query

T = TypeVar("T")


class HubClient(Protocol):
    """A client of one hub. `Client` is that of a hub in files, and describes the methods.

    The client of another engine raises UsageError for requests that its protocol can't express.
    """

    @property
    def is_foreign(self) -> bool:
        """Whether another engine has the hub. Then its workers and their functions aren't known."""
        ...

    @property
    def location(self) -> str:
        """Where the hub is, for messages: its folder, or the address of the engine."""
        ...

    def engine(self) -> EngineStatus: ...

    def published(self) -> PublishedFunctions | None: ...

    # ── instances ──────────────────────────────────────────────────────────────────────────────────────────────

    def start_new(
        self,
        orchestration_function_name: str | Callable[..., Any],
        instance_id: str | None = None,
        client_input: Any = None,
        version: str | None = None,
        *,
        if_exists: str = "fail_if_running",
        start_at: datetime | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str: ...

    def start_many(
        self,
        orchestration_function_name: str | Callable[..., Any],
        inputs: Iterable[Any],
        version: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
    ) -> list[str]: ...

    def restart(
        self, instance_id: str, restart_with_new_instance_id: bool = True, *, client_input: Any = SAME_INPUT
    ) -> str: ...

    def fork(self, instance_id: str, before: int, new_instance_id: str | None = None) -> str: ...

    def fork_preview(self, instance_id: str, before: int) -> list[str]: ...

    def raise_event(self, instance_id: str, event_name: str, event_data: Any = None) -> None: ...

    def control(self, kind: str, items: Sequence[MessageItem]) -> dict[str, DurableError | None]: ...

    def check_allowed(self, kind: str, item: MessageItem) -> DurableOrchestrationStatus: ...

    def is_requested(self, instance_id: str, kind: str) -> bool: ...

    def rewind_preview(self, instance_id: str, *, to: int = 0, failed_activities: bool = False) -> list[str]: ...

    def get_status(
        self,
        instance_id: str,
        show_history: bool = False,
        show_history_output: bool = False,
        show_input: bool = True,
    ) -> DurableOrchestrationStatus: ...

    @overload
    def wait(self, instance_id: str, timeout: timedelta | float | None = None) -> DurableOrchestrationStatus: ...
    @overload
    def wait(self, instance_id: str, timeout: timedelta | float | None = None, *, expected_type: type[T]) -> T: ...
    @overload
    def wait(self, instance_id: str, timeout: timedelta | float | None = None, *, expected_type: Any) -> Any: ...

    def page(self, query: Query) -> Page: ...

    def count(self, query: Query) -> int: ...

    def count_children(self, instance_ids: Sequence[str]) -> dict[str, int]: ...

    def children(self, instance_ids: Sequence[str], limit: int = 100) -> dict[str, list[InstanceSummary]]: ...

    def iter_ids(self, query: Query) -> Iterator[str]: ...

    def get_history(self, instance_id: str) -> list[Record]: ...

    def project_history(self, instance_id: str) -> list[dict[str, Any]]: ...

    def get_lines(self, instance_id: str) -> list[HistoryLine]: ...

    def follow(self, instance_id: str) -> Iterator[HistoryLine]: ...

    def live_history(self, instance_id: str) -> LiveHistory: ...

    # ── entities ───────────────────────────────────────────────────────────────────────────────────────────────

    def signal_entity(
        self,
        entityId: EntityId | str,  # noqa: N803  Azure's name
        operation_name: str,
        operation_input: Any = None,
        *,
        at: datetime | timedelta | None = None,
    ) -> None: ...

    def entity(self, entity_id: EntityId | str) -> EntityStatus: ...

    def list_entities(self, query: Query | None = None) -> Page: ...

    def count_entities(self, query: Query | None = None) -> int: ...

    def iter_entity_ids(self, query: Query | None = None) -> Iterator[str]: ...

    def running_batches(self) -> Mapping[str, RunningEntityBatch]: ...

    def check_entity_allowed(self, kind: str, item: MessageItem) -> EntityStatus: ...

    def purge_entities(self, entity_ids: Iterable[EntityId | str] | None = None) -> PurgeHistoryResult: ...
