"""Messages for quarantined instances: kept, and delivered once the instance can be used again.

A forced purge, and a start that replaces, remove a quarantined instance; those that wait for it get an answer, as far
as its history can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turns import TurnRunner
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.model.failures import Failure
from durablecli.replay import pending
from durablecli.replay.entity_state import EntityRuntimeState, fold_entity_log
from durablecli.replay.runtime_state import RuntimeState, fold_history
from durablecli.store.history.file import read_history
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.journal.commits import QuarantinedMessage
from durablecli.store.quarantined_messages import QuarantinedEntry
from durablecli.store.recovery import readable_records


class QuarantineHandler:
    """Handles messages for quarantined instances."""

    def __init__(self, shared: SharedParts, turn_runner: TurnRunner) -> None:
        self._hub = shared.hub
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._turn_runner = turn_runner

    def handle(self, message: Message, item: MessageItem) -> None:
        """Keep an item for its instance, or carry out a forced purge, which needs no history."""
        if message.kind == "purge" and item.force:
            self.purge(item.instance, "was damaged and has been purged")
        else:
            self._cycle.stats["kept"] += 1
            self._cycle.builder.quarantine_message(
                QuarantinedMessage(item.instance, kind=message.kind, message=message.message, item=item)
            )

    def redeliver(self, id: str, handle_item: Callable[[Message, MessageItem], None]) -> Iterator[None]:
        """Deliver what is kept for an instance that can be used again; yields after the part of each earlier commit."""
        known = self._instances.get_entity(id) if is_entity_id(id) else self._instances.get(id)
        if known is None and self._instances.is_quarantined(id):
            return
        for c, entries in groupby(self._hub.quarantined_messages.read(id), key=lambda each: each.c):
            for each in entries:
                self._deliver(each, handle_item)
            self._cycle.builder.mark_delivered(id, c)
            yield

    def _deliver(self, entry: QuarantinedEntry, handle_item: Callable[[Message, MessageItem], None]) -> None:
        message = entry.what
        if message.event is not None:
            self._turn_runner.run_arrival(message.instance, message.execution, message.event)  # type: ignore[arg-type]  # only such are kept
        elif message.item is not None:
            handle_item(Message(message.message, 0, self._cycle.builder.at, message.kind, [message.item]), message.item)

    # ── removal ────────────────────────────────────────────────────────────────────────────────────────────

    def purge(self, id: str, why: str) -> None:
        """Remove an instance with what is kept for it, and answer those that wait for it."""
        state = self._fold_readable(id)
        self._cycle.builder.purge_quarantined(id, state.execution if state is not None else "")
        self._instances.release_from_quarantine(id)
        self._instances.purged.add(id)
        if isinstance(state, RuntimeState):
            self._release_dependents(id, state, why)
        elif state is not None:
            self._fail_callers(state, why)
        self._turn_runner.deliver()

    def _fold_readable(self, id: str) -> RuntimeState | EntityRuntimeState | None:
        """The runtime state from the records before the damage; None if there is none."""
        history = read_history(self._hub.disk, self._hub.root, id)
        if history is None or not history.lines:
            return None
        records = list(readable_records(self._hub.disk, self._hub.root, id, history.execution, history.lines))
        try:
            return fold_entity_log(records) if is_entity_id(id) else fold_history(records)
        except Exception:  # noqa: BLE001 - records that make no history may break the fold anywhere
            return None

    def _release_dependents(self, id: str, state: RuntimeState, why: str) -> None:
        for n, entities in pending.unreleased_locks(state):
            origin = ev.Origin(id, state.execution, n)
            self._cycle.send(entities[0], None, ev.EntityUnlockReceived(entities, origin))
        for _, child in pending.children(state):
            self._cycle.send(child.instance, None, ev.ExecutionTerminated("its parent was purged"))
        parent = state.started.parent
        if parent is not None and not state.ended:
            failure = Failure("durablecli.errors.DamagedHub", f"the instance '{id}' {why}")
            answer = ev.SubOrchestrationInstanceFailed(parent.n, failure)
            self._cycle.send(parent.instance, parent.execution, answer)

    def _fail_callers(self, state: EntityRuntimeState, why: str) -> None:
        """Fail operations whose callers wait, and request the locks that this one hasn't granted from a new entity."""
        failure = Failure("durablecli.errors.DamagedHub", f"the entity '{state.id}' {why}")
        for event in [record.event for record in state.pending_records()]:
            if isinstance(event, ev.EntityLockReceived):
                self._cycle.send(state.id, None, event)
            elif isinstance(event, ev.EntityOperationReceived) and event.expects_reply and event.sender is not None:
                failed = ev.EntityOperationFailed(event.sender.n, failure)
                self._cycle.send(event.sender.instance, event.sender.execution, failed)
