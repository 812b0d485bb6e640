"""Starting: an id of the caller's own choice is reserved, then looked up, then posted, so that of many one wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from durablecli.client.reading import Reader
from durablecli.client.status import DurableOrchestrationStatus
from durablecli.errors import Conflict, InstanceSetAside
from durablecli.model import payloads
from durablecli.model.ids import new_id
from durablecli.store.mailbox import Item, Mailbox, new_message

POLICIES = ("fail", "skip", "replace", "fail_if_running")


class Reserving(Protocol):
    """Where ids are reserved."""

    def reserve(self, instance: str, message: str) -> None: ...

    def release(self, instances: Sequence[str]) -> None: ...


def encode(value: Any) -> Raw:
    """A payload as JSON: a value through the codec, or JSON as it is."""
    return value if isinstance(value, Raw) else payloads.encode(value)


def start_chosen(reader: Reader, mailbox: Mailbox, reservations: Reserving, item: Item) -> str:
    """Start under a given id. Raises Conflict if the id is taken and `if_exists` doesn't allow for that."""
    message = new_message()
    try:
        reservations.reserve(item.target, message)
    except Conflict:
        if item.if_exists == "skip":
            return item.target
        raise
    # Only now: what was started before has released the id, and so is seen here.
    current = reader.status(item.target)
    rewound = current.ended and reader.is_requested(item.target, "rewind")
    if refusal := _refusal(current, item.if_exists, rewound):
        reservations.release([item.target])
        raise refusal
    if current and item.if_exists == "skip":
        reservations.release([item.target])
        return item.target
    mailbox.post("start", [msgspec.structs.replace(item, reserved=True)], message)
    return item.target


def _refusal(current: DurableOrchestrationStatus, if_exists: str, rewound: bool) -> Conflict | InstanceSetAside | None:
    if current.set_aside is not None and if_exists not in ("skip", "replace"):
        return InstanceSetAside(f"{current.instance_id} exists and is set aside: {current.set_aside.reason}")
    if current.runtime_status is None:
        return None
    taken = f"{current.instance_id} exists already and is {current.runtime_status.value}"
    if if_exists == "fail":
        return Conflict(f"{taken}: choose another id, or --if-exists skip or replace")
    if if_exists == "fail_if_running" and not current.ended:
        return Conflict(f"{taken}: terminate it first, or choose another id")
    if if_exists == "fail_if_running" and rewound:
        return Conflict(f"{taken}, and just being rewound: let it end, or choose another id")
    return None


def batch_items(name: str, inputs: Sequence[Any], version: str | None) -> list[Item]:
    """One start per input; the ids are `<batch>-<index>`."""
    batch = new_id()
    return [Item(f"{batch}-{index}", name, encode(value), version) for index, value in enumerate(inputs)]
