"""Messages for instances that are set aside: kept, delivered once the instance can be used again, or refused.

A forced purge, and a start that replaces, take such an instance away; whoever waits for it is answered, as far as its
history can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from durablecli.engine.turns import TurnRunner
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.model.failures import Failure
from durablecli.replay import pending
from durablecli.replay.entity_state import EntityRuntimeState, fold_entity_log
from durablecli.replay.runtime_state import RuntimeState, fold_history
from durablecli.store.history.file import read_history
from durablecli.store.hub import Hub
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.journal.commits import QuarantinedMessage
from durablecli.store.quarantined_messages import QuarantinedEntry
from durablecli.store.recovery import readable_records


class QuarantineHandler:
    """Takes what concerns instances that are set aside into the draft of the cycle."""

    def __init__(self, hub: Hub, turn_runner: TurnRunner) -> None:
        self._hub = hub
        self._turn_runner = turn_runner

    def handle(self, message: Message, item: MessageItem) -> None:
        """Keep an item for its instance, or carry out what needs no history."""
        if message.kind == "purge" and item.force:
            self.purge(item.instance, "was damaged and has been purged")
        else:
            self._turn_runner.stats["kept"] += 1
            self._turn_runner.builder.quarantine_message(
                QuarantinedMessage(item.instance, kind=message.kind, message=message.message, item=item)
            )

    def redeliver(self, id: str, handle_item: Callable[[Message, MessageItem], None]) -> Iterator[None]:
        """Deliver what is kept for an instance that can be used again, commit by commit; yields after each of them."""
        turns = self._turn_runner
        instances = turns.instances
        known = instances.get_entity(id) if is_entity_id(id) else instances.get(id)
        if known is None and instances.is_quarantined(id):
            return
        for c, entries in groupby(self._hub.quarantined_messages.read(id), key=lambda each: each.c):
            for each in entries:
                self._deliver(each, handle_item)
            turns.builder.mark_delivered(id, c)
            yield

    def _deliver(self, entry: QuarantinedEntry, handle_item: Callable[[Message, MessageItem], None]) -> None:
        what = entry.what
        if what.event is not None:
            self._turn_runner.run_arrival(what.instance, what.execution, what.event)  # type: ignore[arg-type]  # only such are kept
        elif what.item is not None:
            handle_item(Message(what.message, 0, self._turn_runner.builder.at, what.kind, [what.item]), what.item)

    # ── taking away ────────────────────────────────────────────────────────────────────────────────────────────

    def purge(self, id: str, why: str) -> None:
        """Take an instance away, with what is kept for it, and tell those who wait for it."""
        turns = self._turn_runner
        ledger = self._fold_readable(id)
        turns.builder.purge_quarantined(id, ledger.execution if ledger is not None else "")
        turns.instances.release_from_quarantine(id)
        turns.instances.purged.add(id)
        if isinstance(ledger, RuntimeState):
            self._release_dependents(id, ledger, why)
        elif ledger is not None:
            self._fail_callers(ledger, why)
        turns.deliver()

    def _fold_readable(self, id: str) -> RuntimeState | EntityRuntimeState | None:
        """What the records before the damage say; None if that is nothing."""
        history = read_history(self._hub.disk, self._hub.root, id)
        if history is None or not history.lines:
            return None
        records = list(readable_records(id, history.execution, history.lines))
        try:
            return fold_entity_log(records) if is_entity_id(id) else fold_history(records)
        except Exception:  # noqa: BLE001 - records that make no history may break the fold anywhere
            return None

    def _release_dependents(self, id: str, state: RuntimeState, why: str) -> None:
        effects = self._turn_runner.applier
        for n, entities in pending.unreleased_locks(state):
            origin = ev.Origin(id, state.execution, n)
            effects.queue_delivery(entities[0], None, ev.EntityUnlockReceived(entities, origin))
        for _, child in pending.children(state):
            effects.queue_delivery(child.instance, None, ev.ExecutionTerminated("its parent was purged"))
        parent = state.started.parent
        if parent is not None and not state.ended:
            failure = Failure("durablecli.errors.DamagedHub", f"the instance '{id}' {why}")
            answer = ev.SubOrchestrationInstanceFailed(parent.n, failure)
            effects.queue_delivery(parent.instance, parent.execution, answer)

    def _fail_callers(self, state: EntityRuntimeState, why: str) -> None:
        """Let operations fail whose senders wait, and ask a new entity for locks that this one has yet to give."""
        effects = self._turn_runner.applier
        failure = Failure("durablecli.errors.DamagedHub", f"the entity '{state.id}' {why}")
        for _, _, event in list(state.pending_records()):
            if isinstance(event, ev.EntityLockReceived):
                effects.queue_delivery(state.id, None, event)
            elif isinstance(event, ev.EntityOperationReceived) and event.expects_reply and event.sender is not None:
                failed = ev.EntityOperationFailed(event.sender.n, failure)
                effects.queue_delivery(event.sender.instance, event.sender.execution, failed)
