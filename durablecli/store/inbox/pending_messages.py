"""Pending messages: the unconsumed ones, applied in order to the recorded status of an instance.

Invariant: a reader sees what was acknowledged before it looked, even if no engine has consumed it.

The rules are those by which an engine handles messages. Only two outcomes aren't predicted: an instance isn't shown as
Terminated, nor with an output, before an engine has ended it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from durablecli.model.status import ENDED_STATUSES, InstanceSummary, PendingWait
from durablecli.store.inbox.messages import Message, MessageItem

STATUS_CHANGING_KINDS = frozenset({"start", "restart", "purge", "rewind", "suspend", "resume", "terminate"})
"""The kinds of messages that can change the status of an instance."""


class PendingItem(NamedTuple):
    """The request of one message to one instance."""

    message: Message
    item: MessageItem


class PredictedStatus(NamedTuple):
    """An instance as it will be after the requests. `status` is None if it doesn't exist.

    `start` is set if a waiting start has replaced the recorded execution. `requested` are the kinds of the requests
    after that start, or of all. With `ends` the instance will have ended, though its status doesn't show it yet.
    """

    status: str | None
    start: PendingItem | None = None
    pending_kinds: tuple[str, ...] = ()
    will_end: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether a message posted now will find it ended."""
        return self.will_end or self.status in ENDED_STATUSES


def predict_status(recorded: str | None, requests: Iterable[PendingItem]) -> PredictedStatus:
    """Apply `requests`, in the order of their numbers, to an instance whose history has the status `recorded`."""
    seen = PredictedStatus(recorded)
    for request in requests:
        seen = _apply_item(seen, request)
    return seen


def pending_items_for(instance: str, messages: Iterable[Message]) -> list[PendingItem]:
    """Return the requests of these messages to one instance."""
    return [PendingItem(message, item) for message in messages for item in message.items if item.target == instance]


def is_batch_start(message: Message) -> bool:
    """Return whether a message starts several instances, under new ids.

    It is consumed in slices, so some of the instances may already exist.
    """
    return message.kind == "start" and message.total > 1


def items_for_quarantined(requests: Iterable[PendingItem]) -> list[PendingItem]:
    """Return the requests that a quarantined instance also receives."""
    return [
        each
        for each in requests
        if (each.message.kind == "purge" and each.item.force)
        or (each.message.kind == "start" and each.item.if_exists == "replace")
    ]


def predict_row(recorded: InstanceSummary | None, requests: Iterable[PendingItem]) -> InstanceSummary | None:
    """Return the row of an instance as it will be after the requests; None if it won't exist."""
    seen = predict_status(recorded.status if recorded else None, requests)
    if seen.status is None:
        return None
    if seen.start is not None:
        return _pending_row(seen.start, seen.status, recorded)
    return recorded and msgspec.structs.replace(recorded, status=seen.status)


def _pending_row(start: PendingItem, status: str, old: InstanceSummary | None) -> InstanceSummary:
    message, item = start
    return InstanceSummary(
        id=item.target,
        name=item.name or (old.name if old else ""),
        status=status,
        execution="",
        parent=None,
        version=item.version,
        tags=item.tags if item.name or old is None else old.tags,
        created=message.at,
        updated=message.at,
        waiting=(PendingWait("start", since=message.at, fire_at=item.start_at),),
    )


def _apply_item(seen: PredictedStatus, request: PendingItem) -> PredictedStatus:
    kind, item = request.message.kind, request.item
    if kind in ("start", "restart"):
        return PredictedStatus("Pending", request) if _begins_execution(seen, kind, item) else seen
    if seen.status is None:
        return seen
    if kind == "purge":
        return PredictedStatus(None) if seen.has_ended or item.force else seen
    status, ends = seen.status, seen.will_end
    if not seen.has_ended:
        ends = kind == "terminate"
        if kind in ("suspend", "resume"):
            status = _status_after(seen, kind)
    elif kind == "rewind" and status == "Failed":
        status = "Running"
    return PredictedStatus(status, seen.start, (*seen.pending_kinds, kind), ends)


def _begins_execution(seen: PredictedStatus, kind: str, item: MessageItem) -> bool:
    """Return whether an engine that handles this start begins an execution."""
    if seen.status is None:
        return kind == "start" or item.new_instance is not None
    return item.may_replace("Terminated" if seen.will_end else seen.status)


def _status_after(seen: PredictedStatus, kind: str) -> str:
    """Return the status after a suspend or a resume; a waiting start stays Pending until an engine consumes it."""
    if kind == "suspend":
        return "Suspended" if seen.start is None else "Pending"
    return "Running" if seen.status == "Suspended" else seen.status or "Running"
