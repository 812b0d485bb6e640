"""Starting: an id of the caller's own choice is reserved, then looked up, then posted, so that of many one wins."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from durablecli.client.orchestration_status import DurableOrchestrationStatus
from durablecli.client.status_reader import StatusReader
from durablecli.client.transitions import will_have_ended
from durablecli.errors import Conflict, InstanceSetAside
from durablecli.model.ids import new_id
from durablecli.model.payloads import encode
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import Mailbox, MessageItem, new_message_id
from durablecli.store.inbox.reservations import ReservationLost

_MAX_RETRIES = 3
IF_EXISTS_POLICIES = ("fail", "skip", "replace", "fail_if_running")


def start_with_id(reader: StatusReader, mailbox: Mailbox, inbox: Inbox, item: MessageItem) -> str:
    """Start under a given id. Raises Conflict if the id is taken and `if_exists` doesn't allow for that."""
    for _ in range(_MAX_RETRIES):
        with suppress(ReservationLost):
            return _start_once(reader, mailbox, inbox, item)
    return _start_once(reader, mailbox, inbox, item)


def _start_once(reader: StatusReader, mailbox: Mailbox, inbox: Inbox, item: MessageItem) -> str:
    message = new_message_id()
    try:
        before = inbox.reserve(item.target, message, allow_pending=True)
    except Conflict:
        if item.if_exists == "skip":
            return item.target
        raise
    posted = False
    try:
        # Only now: what was started before has released the id, or waits, and so is seen here.
        current = reader.read_status(item.target)
        if refusal := _existing_id_error(current, item.if_exists):
            raise refusal
        if not (current and item.if_exists == "skip"):
            if mailbox is not inbox:
                inbox.make_final(item.target, message)
            mailbox.post("start", [msgspec.structs.replace(item, reserved=True)], message)
            posted = True
    finally:
        if not posted:
            inbox.cancel_reservation(item.target, message, before)
    return item.target


def _existing_id_error(current: DurableOrchestrationStatus, if_exists: str) -> Conflict | InstanceSetAside | None:
    if current.set_aside is not None and if_exists not in ("skip", "replace"):
        return InstanceSetAside(f"{current.instance_id} exists and is set aside: {current.set_aside.reason}")
    if current.runtime_status is None:
        return None
    taken = f"{current.instance_id} exists already and is {current.runtime_status.value}"
    if if_exists == "fail":
        return Conflict(f"{taken}: choose another id, or --if-exists skip or replace")
    if if_exists != "fail_if_running" or will_have_ended(current):
        return None
    if "rewind" in current.requested:
        return Conflict(f"{taken}, as it is just being rewound: let it end, or choose another id")
    return Conflict(f"{taken}: terminate it first, or choose another id")


def build_batch_items(name: str, inputs: Sequence[Any], version: str | None) -> list[MessageItem]:
    """One start per input; the ids are `<batch>-<index>`."""
    batch = new_id()
    return [MessageItem(f"{batch}-{index}", name, encode(value), version) for index, value in enumerate(inputs)]
