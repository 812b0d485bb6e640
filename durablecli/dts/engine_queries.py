"""The reading half of the client of another engine: statuses, lists, histories and waiting."""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeVar, overload

from durablecli.client import DurableOrchestrationStatus, HistoryLine, Page, Poller, Query
from durablecli.client.live_history import LiveHistory
from durablecli.client.queries import build_query
from durablecli.dts.calls import CALL_TIMEOUT, ProtocolCalls, pages
from durablecli.dts.statuses import to_row, to_status, to_status_numbers
from durablecli.errors import EngineUnavailable, NotFound, TimedOut, UsageError
from durablecli.model.codec import encode_record_without_crc
from durablecli.model.events import Record
from durablecli.model.history_projection import project_history
from durablecli.model.status import InstanceSummary, OrchestrationRuntimeStatus
from durablecli.protocol.foreign_records import to_records
from durablecli.protocol.generated import pb
from durablecli.protocol.values import make_text, make_time

_WAIT_PATIENCE = 60.0
"""The seconds for which a wait goes on while the engine is out of reach."""
_RECONNECT_PAUSE = 1.0
_ID_PAGE_SIZE = 500
_FOLLOW_INTERVALS = (0.2, 2.0)
_FILTERS = {
    "name": "--name",
    "parent": "--parent",
    "tags": "--tag",
    "reverse": "--reverse",
    "blocked": "--blocked",
    "locked": "--locked",
}

T = TypeVar("T")


class EngineQueries:
    """Reads one task hub of another engine."""

    is_foreign = True

    def __init__(self, calls: ProtocolCalls) -> None:
        self._calls = calls

    @property
    def location(self) -> str:
        """The address of the engine and the task hub."""
        return str(self._calls.address)

    def close(self) -> None:
        """Close the connection."""
        self._calls.close()

    def engine(self) -> NoReturn:
        """Raise UsageError: the protocol doesn't tell which workers an engine has."""
        raise self.unsupported_error("tell whether workers are connected")

    def published(self) -> None:
        """Return None: the protocol doesn't tell which functions the workers of an engine have."""
        return

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
        """Return the status of an instance; it is falsy if there is none."""
        request = pb.GetInstanceRequest(instanceId=instance_id, getInputsAndOutputs=True)
        answer = self._calls.read("GetInstance", request)
        if not answer.exists:
            return DurableOrchestrationStatus(instance_id=instance_id)
        status = to_status(answer.orchestrationState, show_input=show_input)
        if not show_history:
            return status
        from msgspec.structs import replace

        records = self._read_records(instance_id)
        return replace(status, history=project_history(records, results=show_history_output, inputs=show_input))

    def get_status_all(self) -> list[DurableOrchestrationStatus]:
        """Return the status of every instance."""
        return self.get_status_by()

    def get_status_by(
        self,
        created_time_from: datetime | None = None,
        created_time_to: datetime | None = None,
        runtime_status: Iterable[OrchestrationRuntimeStatus | str] | None = None,
        instance_id_prefix: str | None = None,
    ) -> list[DurableOrchestrationStatus]:
        """Return the status of every instance that matches, in the order of the engine."""
        query = build_query(created_time_from, created_time_to, runtime_status, instance_id_prefix)
        found = self._iter_states(query, with_payloads=True)
        return [to_status(state) for state in found]

    def statuses(self, instance_ids: Iterable[str]) -> Iterator[DurableOrchestrationStatus]:
        """Yield the status of each of these instances."""
        return map(self.get_status, instance_ids)

    def page(self, query: Query) -> Page:
        """Return one page of instances, in the order of the engine. Sub-orchestrations are among them."""
        self._check_query(query)
        states, following = self._query(query, query.limit, decode_cursor(query.cursor))
        return Page([to_row(state) for state in states], encode_cursor(following))

    def count(self, query: Query) -> int:
        """Count the instances that match, by listing them."""
        self._check_query(query)
        return sum(1 for _ in self._iter_states(query))

    def count_children(self, instance_ids: Sequence[str]) -> dict[str, int]:
        """Return nothing: the protocol can't ask for the children of an instance."""
        return {}

    def children(self, instance_ids: Sequence[str], limit: int = 100) -> dict[str, list[InstanceSummary]]:
        """Raise UsageError: the protocol can't ask for the children of an instance."""
        raise self.unsupported_error("list instances as trees")

    def iter_ids(self, query: Query) -> Iterator[str]:
        """Yield the ids of all instances that match, page after page."""
        self._check_query(query)
        return (state.instanceId for state in self._iter_states(query))

    @overload
    def wait(self, instance_id: str, timeout: timedelta | float | None = None) -> DurableOrchestrationStatus: ...
    @overload
    def wait(self, instance_id: str, timeout: timedelta | float | None = None, *, expected_type: type[T]) -> T: ...
    @overload
    def wait(self, instance_id: str, timeout: timedelta | float | None = None, *, expected_type: Any) -> Any: ...
    def wait(self, instance_id: str, timeout: timedelta | float | None = None, *, expected_type: Any = None) -> Any:
        """Return the status once the instance has ended, or its output as an object of the `expected_type`.

        Raises NotFound, and TimedOut after `timeout` (seconds); with `expected_type` also what `status.get_output`
        raises. The engine waits; a connection that breaks is made again, for a minute.
        """
        status = self._wait(instance_id, timeout)
        return status if expected_type is None else status.get_output(expected_type)

    def _wait(self, instance_id: str, timeout: timedelta | float | None) -> DurableOrchestrationStatus:
        current = self._get_existing(instance_id)
        poller, last_contact = Poller(timeout), time.monotonic()
        while not current.ended:
            if poller.is_expired():
                still = f"{instance_id} is still {current.status_name}"
                raise TimedOut(f"{still}; wait again: durable wait {instance_id}")
            try:
                current = self._wait_once(instance_id, poller.remaining(CALL_TIMEOUT))
                last_contact = time.monotonic()
            except EngineUnavailable:
                if time.monotonic() - last_contact > _WAIT_PATIENCE:
                    raise
                time.sleep(poller.remaining(_RECONNECT_PAUSE))
        return current

    def _wait_once(self, instance_id: str, timeout: float) -> DurableOrchestrationStatus:
        """Return the status once the instance has ended, or after the timeout in seconds."""
        request = pb.GetInstanceRequest(instanceId=instance_id, getInputsAndOutputs=True)
        try:
            answer = self._calls.wait("WaitForInstanceCompletion", request, timeout)
        except TimedOut:  # of this call
            return self._get_existing(instance_id)
        if not answer.exists:
            raise self._not_found_error(instance_id)
        return to_status(answer.orchestrationState)

    def has_ended(self, instance_id: str) -> bool:
        """Whether the instance has ended; also true if there is none."""
        current = self.get_status(instance_id)
        return not current or current.ended

    def is_requested(self, instance_id: str, kind: str) -> bool:
        """Return False: an engine has accepted what it has acknowledged."""
        return False

    # ── histories ──────────────────────────────────────────────────────────────────────────────────────────────

    def get_history(self, instance_id: str) -> list[Record]:
        """Return the records of the last execution; raises NotFound."""
        self._get_existing(instance_id)
        return self._read_records(instance_id)

    def project_history(self, instance_id: str) -> list[dict[str, Any]]:
        """Return the history as the HTTP API shows it, with inputs and results; raises NotFound."""
        return project_history(self.get_history(instance_id), results=True, inputs=True)

    def get_lines(self, instance_id: str) -> list[HistoryLine]:
        """Return the records, each with the line that it would be in a file; raises NotFound."""
        return [_make_line(record) for record in self.get_history(instance_id)]

    def follow(self, instance_id: str) -> Iterator[HistoryLine]:
        """Yield every record soon after it is written, until the instance has ended; raises NotFound.

        The protocol tells no changes: the engine is asked again and again.
        """
        shown: list[Record] = []
        seen: datetime | None = None
        poller = Poller(min_interval=_FOLLOW_INTERVALS[0], max_interval=_FOLLOW_INTERVALS[1])
        while True:
            current = self._get_existing(instance_id)
            if current.ended or seen is None or current.last_updated_time != seen:
                seen = current.last_updated_time
                records = self._read_records(instance_id)
                is_same = records[: len(shown)] == shown
                yield from map(_make_line, records[len(shown) :] if is_same else records)
                shown = records
            if current.ended:
                return
            poller.pause()

    def live_history(self, instance_id: str) -> LiveHistory:
        """Raise UsageError: the protocol doesn't tell the progress of an instance."""
        raise self.unsupported_error("tell the progress of an instance; durable wait waits for its end")

    # ── shared by the methods ─────────────────────────────────────────────────────────────────────────────────

    def unsupported_error(self, what: str) -> UsageError:
        """Return the error for a request that the protocol can't express."""
        return UsageError(f"the Durable Task protocol can't {what}")

    def _not_found_error(self, instance_id: str) -> NotFound:
        return NotFound(f"no instance '{instance_id}' in {self.location}")

    def _get_existing(self, instance_id: str) -> DurableOrchestrationStatus:
        current = self.get_status(instance_id)
        if not current:
            raise self._not_found_error(instance_id)
        return current

    def _read_records(self, instance_id: str) -> list[Record]:
        request = pb.StreamInstanceHistoryRequest(instanceId=instance_id, forWorkItemProcessing=False)
        chunks = self._calls.read_stream("StreamInstanceHistory", request)
        return to_records((event for chunk in chunks for event in chunk.events), instance_id)

    def _iter_states(self, query: Query, *, with_payloads: bool = False) -> Iterator[pb.OrchestrationState]:
        fetched = pages(lambda token: self._query(query, _ID_PAGE_SIZE, token, with_payloads=with_payloads))
        return (state for states, _ in fetched for state in states)

    def _query(
        self, query: Query, limit: int, token: str | None, *, with_payloads: bool = False
    ) -> tuple[list[pb.OrchestrationState], str | None]:
        """Return the instances of one page, and the token of the next one."""
        request = pb.QueryInstancesRequest(
            query=pb.InstanceQuery(
                runtimeStatus=to_status_numbers(query.status),
                createdTimeFrom=make_time(query.created_after),
                createdTimeTo=make_time(query.created_before),
                instanceIdPrefix=make_text(query.prefix or None),
                maxInstanceCount=limit,
                continuationToken=make_text(token),
                fetchInputsAndOutputs=with_payloads,
            )
        )
        answer = self._calls.read("QueryInstances", request)
        return list(answer.orchestrationState), answer.continuationToken.value or None

    def _check_query(self, query: Query) -> None:
        """Raise UsageError for a filter or an order that the protocol doesn't have."""
        used = [option for field, option in _FILTERS.items() if getattr(query, field)]
        if query.sort != "created":
            used.append("--sort")
        if used:
            raise self.unsupported_error(f"list instances with {used[0]}")


def _make_line(record: Record) -> HistoryLine:
    return HistoryLine(encode_record_without_crc(record), record)


def encode_cursor(token: str | None) -> str | None:
    """Return a token of the engine as a cursor, which needs no quotes in a shell."""
    return None if token is None else urlsafe_b64encode(token.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> str | None:
    """Return the token of the engine in a cursor; raises UsageError."""
    if cursor is None:
        return None
    try:
        return urlsafe_b64decode(f"{cursor}{'=' * (-len(cursor) % 4)}".encode("ascii")).decode()
    except ValueError:
        raise UsageError("invalid cursor; list again without it") from None
