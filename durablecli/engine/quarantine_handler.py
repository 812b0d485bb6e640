"""Messages for instances that are set aside: kept, delivered once the instance can be used again, or refused.

A forced purge, and a start that replaces, take such an instance away; whoever waits for it is answered, as far as its
history can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from durablecli.engine.turns import Turns
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.model.failures import Failure
from durablecli.replay import pending
from durablecli.replay.entity_state import EntityRuntimeState, fold_entity_log
from durablecli.replay.runtime_state import RuntimeState, fold_history
from durablecli.store.history import writer
from durablecli.store.hub import Hub
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.journal.commits import QuarantinedMessage
from durablecli.store.quarantined_messages import QuarantinedEntry
from durablecli.store.recovery import readable_records


class SetAsideMessages:
    """Takes what concerns instances that are set aside into the draft of the cycle."""

    def __init__(self, hub: Hub, turns: Turns) -> None:
        self._hub = hub
        self._turns = turns

    def take(self, message: Message, item: MessageItem) -> None:
        """Keep an item for its instance, or carry out what needs no history."""
        if message.kind == "purge" and item.force:
            self.discard(item.instance, "was damaged and has been purged")
        else:
            self._turns.stats["kept"] += 1
            self._turns.draft.keep(
                QuarantinedMessage(item.instance, kind=message.kind, message=message.message, item=item)
            )

    def redeliver(self, id: str, carry_out: Callable[[Message, MessageItem], None]) -> Iterator[None]:
        """Deliver what is kept for an instance that can be used again, commit by commit; yields after each of them."""
        turns = self._turns
        instances = turns.instances
        known = instances.entity(id) if is_entity_id(id) else instances.get(id)
        if known is None and instances.is_set_aside(id):
            return
        for c, entries in groupby(self._hub.quarantined_messages.read(id), key=lambda each: each.c):
            for each in entries:
                self._deliver(each, carry_out)
            turns.draft.deliver(id, c)
            yield

    def _deliver(self, entry: QuarantinedEntry, carry_out: Callable[[Message, MessageItem], None]) -> None:
        what = entry.what
        if what.event is not None:
            self._turns.arrive(what.instance, what.execution, what.event)  # type: ignore[arg-type]  # only such are kept
        elif what.item is not None:
            carry_out(Message(what.message, 0, self._turns.draft.at, what.kind, [what.item]), what.item)

    # ── taking away ────────────────────────────────────────────────────────────────────────────────────────────

    def discard(self, id: str, why: str) -> None:
        """Take an instance away, with what is kept for it, and tell those who wait for it."""
        turns = self._turns
        ledger = self._readable(id)
        turns.draft.discard(id, ledger.execution if ledger is not None else "")
        turns.instances.take_back(id)
        turns.instances.gone.add(id)
        if isinstance(ledger, RuntimeState):
            self._let_go(id, ledger, why)
        elif ledger is not None:
            self._answer(ledger, why)
        turns.settle()

    def _readable(self, id: str) -> RuntimeState | EntityRuntimeState | None:
        """What the records before the damage say; None if that is nothing."""
        history = writer.read_history(self._hub.disk, self._hub.root, id)
        if history is None or not history.lines:
            return None
        records = list(readable_records(id, history.execution, history.lines))
        try:
            return fold_entity_log(records) if is_entity_id(id) else fold_history(records)
        except Exception:  # noqa: BLE001 - records that make no history may break the fold anywhere
            return None

    def _let_go(self, id: str, ledger: RuntimeState, why: str) -> None:
        effects = self._turns.effects
        for n, entities in pending.unreleased_locks(ledger):
            origin = ev.Origin(id, ledger.execution, n)
            effects.deliver(entities[0], None, ev.EntityUnlockReceived(entities, origin))
        for _, child in pending.children(ledger):
            effects.deliver(child.instance, None, ev.ExecutionTerminated("its parent was purged"))
        parent = ledger.started.parent
        if parent is not None and not ledger.ended:
            failure = Failure("durablecli.errors.DamagedHub", f"the instance '{id}' {why}")
            answer = ev.SubOrchestrationInstanceFailed(parent.n, failure)
            effects.deliver(parent.instance, parent.execution, answer)

    def _answer(self, ledger: EntityRuntimeState, why: str) -> None:
        """Let operations fail whose senders wait, and ask a new entity for locks that this one has yet to give."""
        effects = self._turns.effects
        failure = Failure("durablecli.errors.DamagedHub", f"the entity '{ledger.id}' {why}")
        for _, _, event in list(ledger.pending_records()):
            if isinstance(event, ev.EntityLockReceived):
                effects.deliver(ledger.id, None, event)
            elif isinstance(event, ev.EntityOperationReceived) and event.expects_reply and event.sender is not None:
                failed = ev.EntityOperationFailed(event.sender.n, failure)
                effects.deliver(event.sender.instance, event.sender.execution, failed)
