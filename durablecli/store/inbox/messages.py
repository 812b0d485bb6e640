"""Messages of clients and the mailboxes they are posted to: a message is on disk, or committed, when `post` returns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import uuid4

import msgspec
from msgspec import Raw

from durablecli.model.events import ABSENT, NULL, Origin
from durablecli.model.status import ENDED_STATUSES
from durablecli.model.trace_context import TraceContext

RUN_VARIABLE = "DURABLE_RUN_INSTANCE"
"""Holds the instance that a `durable run` runs, in its own process and in those it starts."""

MESSAGE_KINDS = frozenset(
    {"start", "raise-event", "terminate", "suspend", "resume", "rewind", "restart", "purge", "signal", "delete"}
)


class MessageItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One target instance or entity of a message, with the fields that the message's kind needs.

    start: `name`, `input`, `version`, `start_at`, `tags`, `if_exists` and, to name the new execution, `execution`;
    `reserved`: the id is reserved, and the engine releases it; `restarts`: replaces an ended instance, which stays the
    child of its parent; `fork_of`: it begins with the records of that execution before record `n`. `if_exists` is fail
    (any instance with this id is refused), skip, replace, fail_if_running (an ended one is replaced), or replace_if
    (one whose status is in `replaceable` is replaced). raise-event: `name`, `input`. terminate, suspend, resume,
    rewind: `reason`; rewind: `to`, the record from which on all is undone, or `failed_calls`, which repeats all failed
    calls. restart: `new_instance`. terminate and purge: `recursive`, `force`; terminate: `output`, which is the reason
    if it is absent. signal, to an entity: `name` of the operation, `input`, and `start_at`, before which it isn't run.
    delete removes the state of an entity (`force`: and its waiting messages), purge also its log. `trace`, of a start,
    an event or a signal, is the parent of the spans it causes.
    """

    instance: str
    name: str | None = None
    input: Raw = NULL
    version: str | None = None
    start_at: datetime | None = None
    if_exists: str = "fail_if_running"
    replaceable: tuple[str, ...] = ()
    reason: str | None = None
    recursive: bool = True
    force: bool = False
    output: Raw = ABSENT
    new_instance: str | None = None
    execution: str | None = None
    reserved: bool = False
    restarts: bool = False
    tags: dict[str, str] = {}
    trace: TraceContext | None = None
    fork_of: Origin | None = None
    to: int = 0
    failed_calls: bool = False

    @property
    def target(self) -> str:
        """The target instance of the message: a restart under a new id is the start of that instance."""
        return self.new_instance or self.instance

    @property
    def may_end_existing(self) -> bool:
        """Whether a start may end an instance that has its id."""
        return self.if_exists in ("replace", "replace_if")

    def may_replace(self, status: str) -> bool:
        """Whether a start may replace an instance of this status."""
        match self.if_exists:
            case "replace":
                return True
            case "fail_if_running":
                return status in ENDED_STATUSES
            case "replace_if":
                return status in self.replaceable
            case _:
                return False


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """The request of a client. `number` orders messages by the time they were posted, across all processes.

    A start of very many instances is a batch in parts: `items` is empty, `count` is the number of items, `parts` holds
    the index of each part's first item, and `batch` is the common prefix of the instance ids (`<batch>-<index>`).
    """

    message: str
    number: int
    at: datetime
    kind: str
    items: list[MessageItem]
    count: int = 0
    parts: tuple[int, ...] = ()
    batch: str | None = None
    run: str | None = None
    """The instance of the `durable run` whose code posted the message."""

    @property
    def total(self) -> int:
        """The number of items, in this message or in parts."""
        return self.count or len(self.items)


class Receipt(msgspec.Struct, frozen=True):
    """The acknowledgement that this message will not be lost."""

    message: str
    instances: list[str]


class Mailbox(Protocol):
    """The destination of messages: the inbox on disk, or the queue of an engine in the same process."""

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        """Post one message; durable on return. `message` is its id if the caller already has one."""
        ...


def new_message_id() -> str:
    """Generate a message id."""
    return f"m-{uuid4().hex}"
