"""Correlation across a hub, for a repair: what instances wait for, and what others have recorded about it.

After records were lost, an instance may wait for an answer that was already given, or that will never come. Each open
question is matched with its answer: a known outcome is delivered, a request that was never received is sent again,
everything else fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.replay import pending
from durablecli.replay.entity_state import MAX_SENDERS, EntityRuntimeState
from durablecli.replay.runtime_state import RuntimeState
from durablecli.store.journal.commits import QuarantinedMessage

OriginKey = tuple[str, str, int]


@dataclass
class EntityLogView:
    """The log of one entity: the operations it received, from whom, their outcomes, and the pending ones."""

    state: EntityRuntimeState
    received: dict[OriginKey, ev.Record] = field(default_factory=dict)
    results: dict[int, ev.EntityOperationResult] = field(default_factory=dict)
    waiting_numbers: set[int] = field(default_factory=set)
    is_complete: bool = False
    """Whether the log goes back to the entity's beginning."""
    snapshot_senders: dict[tuple[str, str], int] = field(default_factory=dict)
    """The last operation of each sender that the log's snapshot contains."""
    last_batch: ev.Record | None = None
    processed_until: datetime | None = None
    """When the last processed operation was received; operations sent later aren't processed."""

    def may_have_received(self, origin: ev.Origin) -> bool:
        """Return whether an operation may have been received, also where the log doesn't go back far enough."""
        if origin_key(origin) in self.received:
            return True
        if self.is_complete:
            return False
        sender = (origin.instance, origin.execution)
        if sender in self.snapshot_senders:
            return origin.n <= self.snapshot_senders[sender]
        return not self.snapshot_senders or len(self.snapshot_senders) >= MAX_SENDERS


def build_log_view(records: Iterable[ev.Record], state: EntityRuntimeState) -> EntityLogView:
    """Build the view of a log from its records; `state` is their fold."""
    found = EntityLogView(state, waiting_numbers={record.n for record in state.pending_records()})
    received_at: dict[int, datetime] = {}
    for record in records:
        received_at[record.n] = record.at
        match record.event:
            case ev.EntityStarted():
                found.is_complete = True
            case ev.EntitySnapshot():
                found.snapshot_senders = {(each.instance, each.execution): each.n for each in record.event.senders}
            case ev.EntityOperationReceived(sender=ev.Origin() as sender):
                found.received[origin_key(sender)] = record
            case ev.EntityBatch():
                found.results |= {each.n: each for each in record.event.results}
                found.last_batch = record
                found.processed_until = received_at.get(record.event.upto, record.at)
            case _:
                pass
    return found


def origin_key(origin: ev.Origin) -> OriginKey:
    """Convert an origin to a key."""
    return origin.instance, origin.execution, origin.n


class Correlator:
    """Answers the open questions of instances. `instance` and `entity` look up what is known about another one."""

    def __init__(
        self, fold_instance: Callable[[str], RuntimeState | None], view_entity: Callable[[str], EntityLogView | None]
    ) -> None:
        self._fold_instance = fold_instance
        self._view_entity = view_entity

    def correlate(self, state: RuntimeState) -> Iterator[tuple[QuarantinedMessage, str]]:
        """Yield the messages that answer the open questions of a live instance, each with a description."""
        if state.ended:
            return
        for n, event in state.open_decisions.items():
            origin = ev.Origin(state.instance, state.execution, n)
            match event:
                case ev.SubOrchestrationInstanceCreated():
                    yield from self._correlate_child(origin, event)
                case ev.EntityOperationCalled():
                    yield from self._correlate_operation(origin, event)
                case ev.EntityLockRequested():
                    yield from self._correlate_lock(origin, event)
                case _:
                    pass

    def find_lost_signals(
        self, records: Iterable[ev.Record], sender: RuntimeState, damaged: set[str]
    ) -> Iterator[tuple[QuarantinedMessage, str]]:
        """Yield the signals of an orchestration to damaged entities that have neither processed nor received them."""
        for record in records:
            n, at, event = record.n, record.at, record.event
            if not isinstance(event, ev.EntityOperationSignaled) or event.entity not in damaged:
                continue
            origin = ev.Origin(sender.instance, sender.execution, n)
            entity = self._view_entity(event.entity)
            if (
                entity is None
                or entity.may_have_received(origin)
                or (entity.processed_until is not None and at <= entity.processed_until)
            ):
                continue
            again = ev.EntityOperationReceived(event.name, event.input, origin, scheduled_time=event.scheduled_time)
            yield (
                QuarantinedMessage(event.entity, event=again),
                f"{_describe_origin(origin)}: {event.name} of {event.entity} is sent again",
            )

    def _correlate_child(
        self, origin: ev.Origin, created: ev.SubOrchestrationInstanceCreated
    ) -> Iterator[tuple[QuarantinedMessage, str]]:
        child = self._fold_instance(created.instance)
        parent = child.started.parent if child is not None else None
        # The number of the record may differ since an earlier repair.
        same = parent is not None and (parent.instance, parent.execution) == (origin.instance, origin.execution)
        if child is None or not same:
            why = "is gone" if child is None else "is taken"
            failure = Failure("durablecli.errors.Conflict", f"the instance id '{created.instance}' {why}")
            yield _make_answer(
                origin, ev.SubOrchestrationInstanceFailed(origin.n, failure), f"{created.instance} {why}"
            )
        elif child.ended:
            what = f"the outcome of {created.instance} is delivered again"
            yield _make_answer(origin, pending.child_outcome(child, origin.n), what)

    def _correlate_operation(
        self, origin: ev.Origin, called: ev.EntityOperationCalled
    ) -> Iterator[tuple[QuarantinedMessage, str]]:
        entity = self._view_entity(called.entity)
        what = f"operation {called.name} of {called.entity}"
        if entity is None:
            failure = Failure("durablecli.errors.NotFound", f"the log of {called.entity} is lost")
            yield _make_answer(origin, ev.EntityOperationFailed(origin.n, failure), f"{what} fails: its log is lost")
            return
        received = entity.received.get(origin_key(origin))
        if received is None and not entity.may_have_received(origin):
            again = ev.EntityOperationReceived(called.name, called.input, origin, expects_reply=True)
            yield QuarantinedMessage(called.entity, event=again), f"{_describe_origin(origin)}: {what} is sent again"
        elif received is None or received.n not in entity.waiting_numbers:
            outcome = entity.results.get(received.n) if received is not None else None
            yield _make_answer(
                origin, to_entity_operation_event(outcome, origin.n), f"the outcome of {what} is delivered again"
            )

    def _correlate_lock(
        self, origin: ev.Origin, asked: ev.EntityLockRequested
    ) -> Iterator[tuple[QuarantinedMessage, str]]:
        for id in asked.entities:
            entity = self._view_entity(id)
            lock = entity.state.lock if entity is not None else None
            if lock is not None and lock.sender == origin:
                continue
            if entity is None or not entity.state.knows_request(origin):
                again = ev.EntityLockReceived(asked.entities, origin)
                yield (
                    QuarantinedMessage(id, event=again),
                    f"{_describe_origin(origin)}: the lock of {id} is asked for again",
                )
            return


def to_entity_operation_event(
    outcome: ev.EntityOperationResult | None, n: int
) -> ev.EntityOperationCompleted | ev.EntityOperationFailed:
    """Return the answer to the call `n`; None means that the outcome is lost."""
    if outcome is None:
        lost = Failure("durablecli.errors.DamagedHub", "the operation was applied, and its outcome is lost")
        return ev.EntityOperationFailed(n, lost)
    if outcome.failure is not None:
        return ev.EntityOperationFailed(n, outcome.failure)
    return ev.EntityOperationCompleted(n, outcome.result or ev.NULL)


def _make_answer(origin: ev.Origin, event: ev.Arrival, what: str) -> tuple[QuarantinedMessage, str]:
    return QuarantinedMessage(origin.instance, origin.execution, event), f"{_describe_origin(origin)}: {what}"


def _describe_origin(origin: ev.Origin) -> str:
    return f"{origin.instance}, record n {origin.n}"
