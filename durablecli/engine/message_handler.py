"""What clients ask for, carried out: each kind of message, in the words of turns.

A message is taken whole in one commit, which names it, so it has its effect once. Only a batch of starts is taken in
slices, each of which says up to where it goes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator

from durablecli.engine.instance_cache import Instance
from durablecli.engine.message_queue import BatchItem, MessageQueue, PendingBatch
from durablecli.engine.quarantine_handler import SetAsideMessages
from durablecli.engine.rewind_handler import Rewinds
from durablecli.engine.turns import Turns
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.replay import pending
from durablecli.replay.runtime_state import RuntimeState
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.recovery import PartialBatch

_SLICE = 1_000


class Messages:
    """Takes messages into the draft of the cycle. `undelivered` is told of what meets nothing."""

    def __init__(
        self,
        turns: Turns,
        items: Callable[[Message, int, int], list[MessageItem]],
        undelivered: Callable[[Message, MessageItem, str], None],
        default_version: str | None,
        begun: dict[str, PartialBatch],
        set_aside: SetAsideMessages,
        queue: MessageQueue,
    ) -> None:
        self._turns = turns
        self._rewinds = Rewinds(turns)
        self._set_aside = set_aside
        self._queue = queue
        self._items = items
        self._undelivered = undelivered
        self._default_version = default_version
        self._begun = begun
        self._unknown: dict[str, int] = {}
        self.stats: Counter[str] = turns.stats

    def is_sliced(self, message: Message) -> bool:
        """Whether a message starts so many instances that it is taken slice by slice."""
        return bool(message.parts) or (message.kind == "start" and len(message.items) > _SLICE)

    def taken_upto(self, message: Message) -> int:
        """How many items of a batch are taken already, by this engine or an earlier one."""
        begun = self._begun.get(message.message)
        return begun.upto if begun is not None else 0

    def take(self, message: Message, listing: int | None = None) -> bool:
        """Carry a message out; False when it has to wait for a later cycle.

        `listing` counts the listings of the inbox: a message for an instance that isn't known waits for a later one, as
        the start may just have been overlooked. None: there is no such doubt.
        """
        if any(self._must_wait(message.kind, item) for item in message.items):
            return False
        if listing is not None and self._may_come(message, listing):
            return False
        for item in message.items:
            self._carry_out(message, item)
        self._turns.draft.take(message.message)
        return True

    def redeliver(self, id: str) -> Iterator[None]:
        """Deliver what is kept for an instance that was set aside, if it can be used again; yields between commits."""
        yield from self._set_aside.redeliver(id, self._carry_out)

    def take_slice(self, batch: PendingBatch) -> bool:
        """Start the next instances of a batch; True when all of them are started."""
        turns, message = self._turns, batch.message
        for item in self._items(message, batch.upto, _SLICE):
            if batch.upto in batch.early:
                batch.early.discard(batch.upto)
            else:
                self._start_item(batch, batch.upto, item)
            batch.upto += 1
            if turns.over:
                break
        if batch.upto < message.total:
            self._begun[message.message] = PartialBatch(batch.upto, turns.draft.c)
            turns.draft.take(message.message, batch.upto)
            return False
        self._begun.pop(message.message, None)
        turns.draft.take(message.message)
        return True

    def take_early(self, batch: PendingBatch, index: int) -> None:
        """Start one instance of a batch ahead of its turn: something is on its way to it."""
        item = self._items(batch.message, index, 1)[0]
        self._start_item(batch, index, item)
        batch.early.add(index)

    def _start_item(self, batch: PendingBatch, index: int, item: MessageItem) -> None:
        turns = self._turns
        turns.draft.handling = BatchItem(batch, index, item)
        self._start(batch.message, item)
        turns.settle()
        turns.draft.handling = batch

    def _may_come(self, message: Message, listing: int) -> bool:
        if message.kind in ("start", "signal") or all(self._knows(item.instance) for item in message.items):
            return False
        return self._unknown.setdefault(message.message, listing) >= listing

    def _knows(self, id: str) -> bool:
        instances = self._turns.instances
        found = instances.entity(id) if is_entity_id(id) else instances.get(id)
        return found is not None or instances.is_set_aside(id)

    def _must_wait(self, kind: str, item: MessageItem) -> bool:
        """Whether this can't be done while a turn is being spread, or before the history is in its file."""
        turns = self._turns
        if is_entity_id(item.instance):
            return kind == "purge" and self._is_young(item.instance)
        if kind == "purge" and self._queue.was_early(item.instance):
            return True  # its batch would start it again
        if turns.is_spreading(item.instance) or turns.is_spreading(item.target):
            return True
        if kind in ("raise-event", "suspend", "resume"):
            return False
        if turns.is_busy_spreading and (kind != "start" or item.if_exists == "replace"):
            return True  # what ends here may have to tell the instance that is being spread
        if kind == "terminate":
            return False
        find = turns.instances.in_mind if kind == "start" else turns.instances.get
        instance = find(item.target if kind == "start" else item.instance)
        if instance is None:
            return False
        if instance.ledger.execution == turns.draft.execution:
            return True  # an instance begins one execution in a commit at most
        return kind in ("rewind", "purge") and bool(instance.recent)

    def _is_young(self, id: str) -> bool:
        """Whether an entity's log can't be taken away yet: it began in this very commit, or isn't in its file."""
        entity = self._turns.instances.entity(id)
        if entity is None:
            return False
        return entity.ledger.execution == self._turns.draft.execution or bool(entity.recent)

    def _carry_out(self, message: Message, item: MessageItem) -> None:
        self._unknown.pop(message.message, None)
        if is_entity_id(item.instance):
            self._reach_entity(message, item)
        elif message.kind == "start":
            self._start(message, item)
        elif (instance := self._turns.instances.get(item.instance)) is None:
            if self._turns.instances.is_set_aside(item.instance):
                self._set_aside.take(message, item)
            elif message.kind != "purge":  # that one is gone, maybe with its parent in this very message
                self._undelivered(message, item, "there is no such instance")
        else:
            self._reach(message, item, instance)
        self._turns.settle()

    def _reach(self, message: Message, item: MessageItem, instance: Instance) -> None:
        turns, reason = self._turns, item.reason or ""
        match message.kind:
            case "raise-event":
                event = ev.EventRaised(item.name or "", item.input or ev.NULL, message.message)
                turns.receive(instance, event)
            case "terminate":
                terminated = ev.ExecutionTerminated(reason, message.message)
                turns.effects.terminate(instance, terminated, recursive=item.recursive)
            case "suspend":
                if not instance.ledger.ended and instance.ledger.suspended is None:
                    turns.effects.add(instance, ev.ExecutionSuspended(reason, message.message))
            case "resume":
                self._resume(instance, ev.ExecutionResumed(reason, message.message))
            case "rewind":
                self._rewinds.rewind(instance, reason, message.message)
            case "restart":
                self._restart(message, item, instance)
            case "purge":
                self._purge(instance, item)
            case kind:
                raise AssertionError(f"a message of kind {kind}")

    # ── entities ───────────────────────────────────────────────────────────────────────────────────────────────

    def _reach_entity(self, message: Message, item: MessageItem) -> None:
        entities = self._turns.entities
        if message.kind == "signal":
            received = ev.EntityOperationReceived(
                item.name or "", item.input or ev.NULL, message=message.message, scheduled_time=item.start_at
            )
            if self._turns.scope.is_of_this_run(message.run):
                self._turns.scope.adopt(item.instance)
            entities.arrive(item.instance, received)
        elif not self._knows(item.instance):
            self._undelivered(message, item, "there is no such entity")
        elif self._turns.instances.is_set_aside(item.instance):
            self._set_aside.take(message, item)
        elif message.kind == "delete":
            entities.arrive(item.instance, ev.EntityDeletionReceived(message.message, item.force))
        elif message.kind == "purge":
            self._purge_entity(message, item)
        else:
            self._undelivered(message, item, "it is an entity, no orchestration")

    def _purge_entity(self, message: Message, item: MessageItem) -> None:
        """Take the log of an entity away that has neither state nor lock nor anything that waits."""
        turns = self._turns
        entity = turns.instances.entity(item.instance)
        if entity is None or not entity.ledger.is_disposable:
            self._undelivered(message, item, "it isn't empty any more")
            return
        turns.draft.purge(entity)
        turns.instances.forget(entity.id)
        turns.instances.gone.add(entity.id)

    # ── starts ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, message: Message, item: MessageItem) -> None:
        turns = self._turns
        if item.reserved:
            turns.draft.released.append((item.instance, message.message))
        existing = turns.instances.get(item.instance)
        if turns.instances.is_set_aside(item.instance):
            if item.if_exists != "replace":
                self._undelivered(message, item, "an instance of this id is set aside")
                return
            self._set_aside.discard(item.instance, "was damaged and has been replaced by a new start")
        if existing is not None and not self._may_replace(message, item, existing.ledger):
            return
        if existing is not None and not existing.ledger.ended:
            turns.effects.terminate(existing, ev.ExecutionTerminated("replaced by a new start"))
            turns.settle()
        restarted = existing.ledger.started if existing is not None and item.restarts else None
        started = ev.ExecutionStarted(
            item.instance,
            turns.draft.execution,
            item.name or "",
            item.input or ev.NULL,
            item.version if item.version is not None else self._default_version,
            restarted.parent if restarted is not None else None,
            start_at=item.start_at,
            message=message.message,
            depth=restarted.depth if restarted is not None else 0,
        )
        self.stats["started"] += 1
        if turns.scope.is_of_this_run(message.run):
            turns.scope.add(item.instance)
        turns.start(started, hold=turns.over)

    def _may_replace(self, message: Message, item: MessageItem, ledger: RuntimeState) -> bool:
        if ledger.started.message == message.message or item.if_exists == "skip":
            return False
        if self.is_sliced(message):
            return False  # an earlier engine has started it, maybe in an execution that went before this one
        if item.if_exists == "replace" or (item.if_exists == "fail_if_running" and ledger.ended):
            return True
        self._undelivered(message, item, "the instance id is taken")
        return False

    def _restart(self, message: Message, item: MessageItem, instance: Instance) -> None:
        old = instance.ledger.started
        if item.new_instance is None and not instance.ledger.ended:
            self._undelivered(message, item, "it still runs: only an ended instance can be restarted under its own id")
            return
        again = MessageItem(item.target, old.name, old.input, old.version, restarts=item.new_instance is None)
        self._start(message, again)

    # ── the others ─────────────────────────────────────────────────────────────────────────────────────────────

    def _resume(self, instance: Instance, event: ev.ExecutionResumed) -> None:
        turns, ledger = self._turns, instance.ledger
        if ledger.suspended is None:
            return
        turns.effects.add(instance, event)
        if ledger.blocked is None and ledger.next_held(turns.draft.at):
            turns.ready[instance.id] = None

    def _purge(self, instance: Instance, item: MessageItem) -> None:
        """Take an ended instance away, with its ended children; a live one only when forced, and then it ends first."""
        turns = self._turns
        if not instance.ledger.ended:
            if not item.force:
                self.stats["refused"] += 1
                return
            turns.effects.terminate(instance, ev.ExecutionTerminated("purged"))
            turns.settle()
        family = [instance, *(self._descendants(instance) if item.recursive else [])]
        for each in family:
            turns.draft.purge(each)
            turns.instances.forget(each.id)
            turns.instances.gone.add(each.id)

    def _descendants(self, instance: Instance) -> list[Instance]:
        """The ended sub-orchestrations below an instance, parents before children; a loop, as trees may be deep."""
        instances = self._turns.instances
        found = {instance.id: instance}
        line = deque([instance])
        while line:
            parent = line.popleft()
            if not instances.reread(parent):
                continue
            for id in pending.created_children(parent.ledger):
                child = instances.get(id)
                origin = child.ledger.started.parent if child is not None else None
                if child is None or origin is None or origin.instance != parent.id:
                    continue
                if child.ledger.ended and id not in found:
                    found[id] = child
                    line.append(child)
        return list(found.values())[1:]
