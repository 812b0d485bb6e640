"""Messages of clients, and how they are posted: a message is on disk, or committed, when `post` returns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable
from uuid import uuid4

import msgspec
from msgspec import Raw

from durablecli.model.events import NULL

RUN_VARIABLE = "DURABLE_RUN_INSTANCE"
"""Names, in the process of a `durable run` and in those that it begins, the instance that is run."""

MESSAGE_KINDS = frozenset(
    {"start", "raise-event", "terminate", "suspend", "resume", "rewind", "restart", "purge", "signal", "delete"}
)


class MessageItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One instance or entity that a message is about, with what its kind needs.

    start: `name`, `input`, `version`, `start_at`, `if_exists` and, to name the execution it gets, `execution`;
    `reserved` says that the id was, so that the engine lets it go, `restarts` that it replaces an ended instance which
    stays the child of its parent.
    `if_exists` is fail (any instance of this id is refused), skip, replace, or fail_if_running (an ended one is
    replaced). raise-event: `name`, `input`. terminate, suspend, resume, rewind: `reason`. restart: `new_instance`.
    terminate and purge: `recursive`, `force`. signal, to an entity: `name` of the operation, `input`, and `start_at`,
    before which it isn't run. delete takes the state of an entity away (`force`: and what waits), purge also its log.
    """

    instance: str
    name: str | None = None
    input: Raw = NULL
    version: str | None = None
    start_at: datetime | None = None
    if_exists: str = "fail_if_running"
    reason: str | None = None
    recursive: bool = True
    force: bool = False
    new_instance: str | None = None
    execution: str | None = None
    reserved: bool = False
    restarts: bool = False

    @property
    def target(self) -> str:
        """The instance that the message is on its way to: a restart under a new id is the start of that one."""
        return self.new_instance or self.instance


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client asked for. `number` orders messages by the time they were posted, over all processes.

    A start of very many instances is a batch in parts: `items` is empty, `count` says how many there are, `parts`
    holds the index of each part's first item, and `batch` what its instance ids begin with (`<batch>-<index>`).
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
    """The instance of the `durable run` whose code has posted it."""

    @property
    def total(self) -> int:
        """How many items there are, in here or in parts."""
        return self.count or len(self.items)


class Receipt(msgspec.Struct, frozen=True):
    """The acknowledgement: this message will not be lost."""

    message: str
    instances: list[str]


class Mailbox(Protocol):
    """Where clients post: the inbox on disk, or the queue of an engine in this very process."""

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        """Hand over one message; durable on return. `message` is its id where the caller already has one."""
        ...


@runtime_checkable
class PublicationStatus(Protocol):
    """A mailbox in the process of the engine, which knows what the journal holds and the histories don't yet."""

    def is_published(self, instance: str) -> bool:
        """Whether a history is whole without the journal; then nobody need read that, which may have grown large."""
        ...


def new_message_id() -> str:
    """A fresh message id."""
    return f"m-{uuid4().hex}"
