"""Starting under a given id: the id is reserved, checked, and posted, so that one of several concurrent starts wins."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from durablecli.client.orchestration_status import DurableOrchestrationStatus
from durablecli.client.status_reader import StatusReader
from durablecli.client.transitions import will_have_ended
from durablecli.current_trace import read_current_trace
from durablecli.errors import Conflict, InstanceSetAside
from durablecli.model.ids import new_id
from durablecli.model.payloads import encode
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import Mailbox, MessageItem, new_message_id
from durablecli.store.inbox.reservations import ReservationLost

_MAX_RETRIES = 3
IF_EXISTS_POLICIES = ("fail", "skip", "replace", "fail_if_running")


def start_with_id(reader: StatusReader, mailbox: Mailbox, inbox: Inbox, item: MessageItem) -> str:
    """Start an instance under a given id; raise Conflict if the id exists and `if_exists` doesn't allow that."""
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
        # Read after reserving: an earlier start has either released the id or is pending, and is seen here.
        current = reader.read_status(item.target)
        if refusal := _existing_id_error(current, item):
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


def _existing_id_error(current: DurableOrchestrationStatus, item: MessageItem) -> Conflict | InstanceSetAside | None:
    if_exists = item.if_exists
    exists = f"instance id '{current.instance_id}' already exists and is"
    if current.set_aside is not None and if_exists not in ("skip", "replace"):
        return InstanceSetAside(f"{exists} quarantined: {current.set_aside.reason}")
    if current.runtime_status is None:
        return None
    exists += f" {current.status_name}"
    if if_exists == "fail":
        others = "" if item.fork_of is not None else ", or use --if-exists skip or replace"
        return Conflict(f"{exists}: choose another id{others}")
    if if_exists == "replace_if":
        status = "Terminated" if current.ends else current.status_name
        return None if item.may_replace(status) else Conflict(f"{exists}: the start may not replace it")
    if if_exists != "fail_if_running" or will_have_ended(current):
        return None
    if "rewind" in current.requested:
        return Conflict(f"{exists}, because it is being rewound: wait for it to end, or choose another id")
    return Conflict(f"{exists}: terminate it first, or choose another id")


def build_batch_items(name: str, inputs: Sequence[Any], version: str | None, tags: dict[str, str]) -> list[MessageItem]:
    """Return one start per input, with the ids `<batch>-<index>`."""
    batch, trace = new_id(), read_current_trace()
    return [
        MessageItem(f"{batch}-{index}", name, encode(value), version, tags=tags, trace=trace)
        for index, value in enumerate(inputs)
    ]
