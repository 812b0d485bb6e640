"""Message handling: each kind of message takes effect in the commit of the cycle.

A message is handled whole in one commit, which names it, so that it takes effect once. Only a batch of starts is
handled in slices, and each slice records how far it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from durablecli.engine.fork_handler import ForkHandler
from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.message_queue import BatchItem, PendingBatch
from durablecli.engine.purging import Purger
from durablecli.engine.quarantine_handler import QuarantineHandler
from durablecli.engine.rewind_handler import RewindHandler
from durablecli.engine.schedule_notices import notify_schedule
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turns import TurnRunner
from durablecli.limits import MAX_ITEMS_PER_MESSAGE
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.model.schedule_options import RUN_STARTED
from durablecli.replay.rewind import RewindScope
from durablecli.replay.runtime_state import RuntimeState
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.recovery import PartialBatch

_MAX_WHOLE_STARTS = MAX_ITEMS_PER_MESSAGE
"""A start of more instances is a batch."""


class MessageHandler:
    """Handles messages: their effects go into the commit of the cycle.

    `on_undelivered(message, item, why)` is called for items that have no effect.
    """

    def __init__(
        self,
        shared: SharedParts,
        turn_runner: TurnRunner,
        purger: Purger,
        on_undelivered: Callable[[Message, MessageItem, str], None],
    ) -> None:
        self._admission = shared.admission
        self._cycle = shared.cycle
        self._stats = shared.cycle.stats
        self._tracing = shared.options.tracing
        self._instances = shared.instances
        self._scope = shared.scope
        self._queue = shared.messages
        self._read_items = shared.hub.inbox.read_items
        self._partial_batches = shared.hub.partial_batches
        self._default_version = shared.options.versions.current
        self._turn_runner = turn_runner
        self._purger = purger
        self._applier = turn_runner.applier
        self._entities = turn_runner.entity_scheduler
        self._split_turn = turn_runner.split_turn
        self._rewind_handler = RewindHandler(shared, turn_runner)
        self._fork_handler = ForkHandler(shared, turn_runner)
        self._quarantine_handler = QuarantineHandler(shared, turn_runner)
        self._on_undelivered = on_undelivered
        self._unknown_since: dict[str, int] = {}

    def is_sliced(self, message: Message) -> bool:
        """Whether a message starts too many instances for one commit, and is handled slice by slice."""
        return bool(message.parts) or (message.kind == "start" and len(message.items) > _MAX_WHOLE_STARTS)

    def get_batch_progress(self, message: Message) -> int:
        """The number of items of a batch that are handled already, by this engine or an earlier one."""
        begun = self._partial_batches.get(message.message)
        return begun.upto if begun is not None else 0

    def handle(self, message: Message, listing: int | None = None) -> bool:
        """Handle a message. False when it has to wait for a later cycle.

        `listing` is the number of the latest listing of the inbox: a message for an unknown instance waits for the next
        one, as this one may have missed the instance's start. None if the message wasn't found by a listing.
        """
        if self.waits_for_batch(message) or any(self._must_wait(message.kind, item) for item in message.items):
            return False
        if listing is not None and self._may_be_pending(message, listing):
            return False
        for item in message.items:
            self._handle_item(message, item)
        self._cycle.builder.consume(message.message)
        return True

    def waits_for_batch(self, message: Message) -> bool:
        """Whether a message purges an instance that its batch, after a crash, would start again."""
        return message.kind == "purge" and any(self._queue.was_started_early(item.instance) for item in message.items)

    def redeliver(self, id: str) -> Iterator[None]:
        """Deliver the messages kept for a quarantined instance, if it can be used again; yields between commits."""
        yield from self._quarantine_handler.redeliver(id, self._handle_item)

    def handle_slice(self, batch: PendingBatch, limit: int) -> bool:
        """Start the next instances of a batch, at most `limit`. True when all of them are started."""
        message = batch.message
        for item in self._read_items(message, batch.upto, limit):
            if batch.upto not in batch.started_early:
                self._start_item(batch, batch.upto, item)
            batch.upto += 1
            if self._cycle.is_budget_spent:
                break
        if batch.upto < message.total:
            self._partial_batches[message.message] = PartialBatch(batch.upto, self._cycle.builder.commit_number)
            self._cycle.builder.consume(message.message, batch.upto)
            return False
        self._partial_batches.pop(message.message, None)
        self._cycle.builder.consume(message.message)
        return True

    def start_early(self, batch: PendingBatch, index: int) -> None:
        """Start one instance of a batch ahead of its slice, because something is about to reach it."""
        item = self._read_items(batch.message, index, 1)[0]
        self._start_item(batch, index, item)
        batch.started_early.add(index)

    def _start_item(self, batch: PendingBatch, index: int, item: MessageItem) -> None:
        self._cycle.handling = BatchItem(batch, index, item)
        self._start(batch.message, item)
        self._turn_runner.deliver()
        self._cycle.handling = batch

    def _may_be_pending(self, message: Message, listing: int) -> bool:
        if message.kind in ("start", "signal") or all(self._is_known(item.instance) for item in message.items):
            return False
        return self._unknown_since.setdefault(message.message, listing) >= listing

    def _is_known(self, id: str) -> bool:
        found = self._instances.get_entity(id) if is_entity_id(id) else self._instances.get(id)
        return found is not None or self._instances.is_quarantined(id)

    def _must_wait(self, kind: str, item: MessageItem) -> bool:
        """Whether an item has to wait for the end of a split turn, for the next commit, or for the history file."""
        if is_entity_id(item.instance):
            return kind == "purge" and self._is_entity_unpublished(item.instance)
        if self._split_turn.is_splitting(item.instance) or self._split_turn.is_splitting(item.target):
            return True
        if kind in ("raise-event", "suspend", "resume"):
            return False
        if item.fork_of is not None and not self._cycle.builder.is_empty:
            return True  # the records of a fork are one commit
        if self._split_turn.is_active and (kind != "start" or item.may_end_existing):
            return True  # an instance that ends here may have to answer the one whose turn is being split
        if kind == "terminate":
            return False
        find = self._instances.get_cached if kind == "start" else self._instances.get
        instance = find(item.target if kind == "start" else item.instance)
        if instance is None:
            return False
        if instance.runtime_state.execution == self._cycle.builder.execution:
            return True  # an instance begins at most one execution in a commit
        return kind in ("rewind", "purge") and bool(instance.unpublished)

    def _is_entity_unpublished(self, id: str) -> bool:
        """Whether an entity's log can't be purged yet: it begins in this very commit, or isn't all in its file."""
        entity = self._instances.get_entity(id)
        if entity is None:
            return False
        return entity.runtime_state.execution == self._cycle.builder.execution or bool(entity.unpublished)

    def _handle_item(self, message: Message, item: MessageItem) -> None:
        self._unknown_since.pop(message.message, None)
        if is_entity_id(item.instance):
            self._handle_entity(message, item)
        elif message.kind == "start":
            self._start(message, item)
        elif (instance := self._instances.get(item.instance)) is None:
            if self._instances.is_quarantined(item.instance):
                self._quarantine_handler.handle(message, item)
            elif message.kind != "purge":  # it is gone, perhaps with its parent in this very message
                self._on_undelivered(message, item, "there is no such instance")
        else:
            self._handle_instance(message, item, instance)
        self._turn_runner.deliver()

    def _handle_instance(self, message: Message, item: MessageItem, instance: CachedInstance) -> None:
        reason = item.reason or ""
        match message.kind:
            case "raise-event":
                event = ev.EventRaised(item.name or "", item.input or ev.NULL, message.message)
                self._applier.add_event_span(instance, event.name, item.trace)
                self._turn_runner.run_or_hold(instance, event)
            case "terminate":
                terminated = ev.ExecutionTerminated(reason, message.message, item.output)
                self._applier.terminate(instance, terminated, recursive=item.recursive)
            case "suspend":
                if not instance.runtime_state.ended and instance.runtime_state.suspended is None:
                    self._applier.record_event(instance, ev.ExecutionSuspended(reason, message.message))
            case "resume":
                self._resume(instance, ev.ExecutionResumed(reason, message.message))
            case "rewind":
                scope = RewindScope(item.to, item.failed_calls)
                self._rewind_handler.rewind(instance, reason, message.message, scope)
            case "restart":
                self._restart(message, item, instance)
            case "purge":
                self._purge(instance, item)
            case kind:
                raise AssertionError(f"a message of kind {kind}")

    # ── entities ───────────────────────────────────────────────────────────────────────────────────────────────

    def _handle_entity(self, message: Message, item: MessageItem) -> None:
        if message.kind == "signal":
            received = ev.EntityOperationReceived(
                item.name or "", item.input or ev.NULL, None, False, message.message, item.start_at, item.trace
            )
            if self._scope.is_of_this_run(message.run):
                self._scope.adopt(item.instance)
            self._entities.receive(item.instance, received)
        elif not self._is_known(item.instance):
            self._on_undelivered(message, item, "there is no such entity")
        elif self._instances.is_quarantined(item.instance):
            self._quarantine_handler.handle(message, item)
        elif message.kind == "delete":
            self._entities.receive(item.instance, ev.EntityDeletionReceived(message.message, item.force))
        elif message.kind == "purge":
            self._purge_entity(message, item)
        else:
            self._on_undelivered(message, item, "it is an entity, not an orchestration")

    def _purge_entity(self, message: Message, item: MessageItem) -> None:
        """Purge an entity that has no state, no lock and no pending operation."""
        entity = self._instances.get_entity(item.instance)
        if entity is None or not entity.runtime_state.is_disposable:
            self._on_undelivered(message, item, "the entity is no longer empty")
            return
        self._cycle.builder.purge(entity)
        self._instances.evict(entity.id)
        self._instances.purged.add(entity.id)

    # ── starts ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, message: Message, item: MessageItem) -> None:
        if item.reserved:
            self._cycle.builder.released_ids.append((item.instance, message.message))
        existing = self._instances.get(item.instance)
        if self._instances.is_quarantined(item.instance):
            if item.if_exists != "replace":
                self._on_undelivered(message, item, "the instance is quarantined")
                return
            self._quarantine_handler.purge(item.instance, "was damaged and has been replaced by a new start")
        if existing is not None and not self._may_replace(message, item, existing.runtime_state):
            return
        if existing is not None and not existing.runtime_state.ended:
            self._applier.terminate(existing, ev.ExecutionTerminated("replaced by a new start"))
            self._turn_runner.deliver()
        if item.fork_of is not None:
            if self._scope.is_of_this_run(message.run):
                self._scope.add(item.instance)
            if (refusal := self._fork_handler.fork(message, item)) is not None:
                self._on_undelivered(message, item, refusal)
            return
        restarted = existing.runtime_state.started if existing is not None and item.restarts else None
        started = ev.ExecutionStarted(
            item.instance,
            self._cycle.builder.execution,
            item.name or "",
            item.input or ev.NULL,
            item.version if item.version is not None else self._default_version,
            restarted.parent if restarted is not None else None,
            start_at=item.start_at,
            message=message.message,
            depth=restarted.depth if restarted is not None else 0,
            tags=item.tags,
            trace=item.trace or (self._tracing.make_root(item.name or "") if self._tracing is not None else None),
        )
        self._stats["started"] += 1
        if self._scope.is_of_this_run(message.run):
            self._scope.add(item.instance)
        notify_schedule(self._cycle, started, RUN_STARTED)
        hold = self._cycle.is_budget_spent or not self._admission.has_room
        self._turn_runner.start(started, hold=hold)

    def _may_replace(self, message: Message, item: MessageItem, state: RuntimeState) -> bool:
        if state.started.message == message.message or item.if_exists == "skip":
            return False
        if self.is_sliced(message):
            return False  # an earlier engine has started it, perhaps as an execution before this one
        if item.may_replace(state.status):
            return True
        self._on_undelivered(message, item, f"the instance id already exists, and its instance is {state.status}")
        return False

    def _restart(self, message: Message, item: MessageItem, instance: CachedInstance) -> None:
        old = instance.runtime_state.started
        if item.new_instance is None and not instance.runtime_state.ended:
            self._on_undelivered(
                message, item, "it is still running; only an ended instance can be restarted under its own id"
            )
            return
        restarts = item.new_instance is None
        again = MessageItem(item.target, old.name, old.input, old.version, restarts=restarts, tags=old.tags)
        self._start(message, again)

    # ── resume and purge ─────────────────────────────────────────────────────────────────────────────────────────────

    def _resume(self, instance: CachedInstance, event: ev.ExecutionResumed) -> None:
        if instance.runtime_state.suspended is None:
            return
        self._applier.record_event(instance, event)
        self._turn_runner.mark_ready(instance)

    def _purge(self, instance: CachedInstance, item: MessageItem) -> None:
        """Purge an ended instance with its ended children. With `force` it may be running: it is terminated first."""
        if not instance.runtime_state.ended:
            if not item.force:
                self._stats["refused"] += 1
                return
            self._applier.terminate(instance, ev.ExecutionTerminated("purged"))
            self._turn_runner.deliver()
        self._purger.purge(instance, recursive=item.recursive)
