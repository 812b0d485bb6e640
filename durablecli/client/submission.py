"""Submitting messages to a hub: each is checked against the status it meets, and posted to the engine or the inbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from durablecli.client.entity_reader import EntityReader
from durablecli.client.entity_status import EntityStatus
from durablecli.client.orchestration_status import DurableOrchestrationStatus
from durablecli.client.status_reader import StatusReader, not_an_instance_error
from durablecli.client.transitions import describe_status, why_not_allowed
from durablecli.errors import Conflict, DurableError, InstanceSetAside, WrongState
from durablecli.limits import MAX_ITEMS_PER_MESSAGE
from durablecli.model.entity_id import is_entity_id
from durablecli.replay.rewind import RewindScope
from durablecli.store.disk import Disk
from durablecli.store.hub_creation import create_hub_if_missing
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import Mailbox, MessageItem, Receipt
from durablecli.store.os_errors import NOTHING_DONE, translate_os_errors
from durablecli.store.permissions import check_permissions


class Submitter:
    """Checks and posts messages. They go to `direct_mailbox` if there is one, else to the inbox on disk."""

    def __init__(
        self,
        disk: Disk,
        reader: StatusReader,
        entity_reader: EntityReader,
        inbox: Inbox,
        direct_mailbox: Mailbox | None,
        on_create: Callable[[str], None],
    ) -> None:
        self._disk = disk
        self._reader = reader
        self._entity_reader = entity_reader
        self._inbox = inbox
        self._direct_mailbox = direct_mailbox
        self._on_create = on_create

    def open_mailbox(self) -> Mailbox:
        """Return the mailbox to post to. A missing hub is created; one that must not be written to is refused."""
        if self._direct_mailbox is not None:
            return self._direct_mailbox
        root = self._reader.root
        with translate_os_errors(NOTHING_DONE, root):
            check_permissions(self._disk, root)
            if create_hub_if_missing(self._disk, root):
                self._on_create(root)
        self._reader.check_writable()
        return self._inbox

    def post_starts(self, items: Sequence[MessageItem]) -> Receipt:
        """Post starts of new instances. A batch goes through the inbox in any case: it waits there, on disk."""
        mailbox = self.open_mailbox()
        return (self._inbox if len(items) > MAX_ITEMS_PER_MESSAGE else mailbox).post("start", items)

    def submit(self, kind: str, item: MessageItem) -> None:
        """Submit a verb for one instance or entity; raise the error if it isn't allowed."""
        if (error := self.submit_all(kind, [item])[item.instance]) is not None:
            raise error

    def submit_all(self, kind: str, items: Sequence[MessageItem]) -> dict[str, DurableError | None]:
        """Submit a verb for several instances or entities; return the error of each, or None if it is posted."""
        results: dict[str, DurableError | None] = {}
        allowed: list[MessageItem] = []
        for item in items:
            try:
                if is_entity_id(item.instance):
                    self.check_entity_allowed(kind, item)
                else:
                    self.check_allowed(kind, item)
                allowed.append(item)
                results[item.instance] = None
            except DurableError as error:
                results[item.instance] = error
        for at in range(0, len(allowed), MAX_ITEMS_PER_MESSAGE):
            self.open_mailbox().post(kind, allowed[at : at + MAX_ITEMS_PER_MESSAGE])
        return results

    def check_allowed(self, kind: str, item: MessageItem) -> DurableOrchestrationStatus:
        """Return the status of an instance that allows the verb; raise NotFound, WrongState or Conflict for others."""
        current = self._reader.get_existing(item.instance)
        if current.set_aside is not None:
            if kind == "purge" and item.force:
                return current
            hint = "; durable purge --force deletes it" if kind == "purge" else ""
            raise InstanceSetAside(f"{item.instance} is quarantined: {current.set_aside.reason}{hint}")
        if refusal := why_not_allowed(kind, current, item):
            if kind in ("rewind", "purge") and not current.taken and self._reader.will_be_replaced(item.instance):
                raise _being_restarted_error(item.instance)
            if kind == "purge" and "rewind" in current.requested:
                raise Conflict(f"{item.instance} is being rewound; wait for it to end, or use --force")
            raise WrongState(f"{item.instance} {describe_status(current)}: {refusal}")
        held = self._inbox.get_reservation(item.instance) if kind in ("rewind", "purge") and current.ended else None
        if held is not None and held.is_binding and not self._reader.is_consumed(held.message):
            raise _being_restarted_error(item.instance)
        if kind == "rewind":
            scope = RewindScope(item.to, item.failed_calls)
            self._reader.preview_rewind(item.instance, scope)  # raises if it isn't possible
        return current

    def check_entity_allowed(self, kind: str, item: MessageItem) -> EntityStatus:
        """Return the status of an entity that allows the verb; raise NotFound or WrongState for others."""
        if kind not in ("delete", "purge"):
            raise not_an_instance_error(item.instance)
        return self._entity_reader.check_allowed(kind, item.instance, force=item.force)


def _being_restarted_error(instance: str) -> Conflict:
    return Conflict(f"{instance} is being started again; try again in a moment")
