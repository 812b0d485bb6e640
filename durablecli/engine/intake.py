"""Where arrivals come from: clients of this process, the inbox, activities, and the clock.

Each source gives to the turns what it has for as long as the cycle lasts, and keeps the rest for the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

import msgspec

from durablecli.engine.commit_builder import Draft
from durablecli.engine.message_handler import Messages
from durablecli.engine.message_queue import BatchItem, MessageQueue, PendingBatch, Posted, QueuedMessage
from durablecli.engine.quarantine_handler import SetAsideMessages
from durablecli.engine.timers import Due, Timers
from durablecli.engine.turns import Turns
from durablecli.engine.workers.activity import Outcome
from durablecli.engine.workers.dispatcher import Crew
from durablecli.engine.workers.entity_batch import BatchOutcome
from durablecli.engine.workers.thread_pool import Key
from durablecli.errors import DurableError
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.replay import pending
from durablecli.store.hub import Hub
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.recovery import PartialBatch

_MOST_WAITING = 1_000
_POLL_EVERY = 1.0
_UNDELIVERED = "undelivered.jsonl"


@dataclass
class CycleInputs:
    """What a cycle has taken, so that it can be put back if the cycle is given up."""

    entries: list[QueuedMessage] = field(default_factory=list)
    outcomes: list[Outcome | BatchOutcome] = field(default_factory=list)
    due: list[Due] = field(default_factory=list)
    batches: list[tuple[PendingBatch, int, set[int], PartialBatch | None]] = field(default_factory=list)


class Sources:
    """What has come in and isn't decided yet."""

    def __init__(
        self,
        hub: Hub,
        turns: Turns,
        timers: Timers,
        crew: Crew | None,
        queue: MessageQueue,
        default_version: str | None,
        say: Callable[[str], None],
    ) -> None:
        self._hub = hub
        self._inbox = hub.inbox
        self._turns = turns
        self._timers = timers
        self._crew = crew
        self._say = say
        self._queue = queue
        set_aside = SetAsideMessages(hub, turns)
        self._messages = Messages(
            turns, hub.inbox.read_items, self._undelivered, default_version, hub.partial_batches, set_aside, queue
        )
        self.outcomes: deque[Outcome | BatchOutcome] = deque()
        self.posted: deque[Posted] = deque()
        self._unacknowledged: deque[Posted] = deque()
        """Those in a commit that isn't on disk yet, in the order in which commits get there."""
        self._poll = True
        self._polled = 0.0
        self._up_to_date = False
        self._first = 0
        self._taken = CycleInputs()
        self._settled: set[Key] = set()
        """Outcomes that were taken in a cycle that was given up: the crew knows already that they are back."""

    def redeliver(self, id: str) -> Iterator[None]:
        """Deliver what is kept for an instance that was set aside; the draft may be another one after each step."""
        return self._messages.redeliver(id)

    def look_again(self) -> None:
        """There may be something new in the inbox."""
        self._poll = True

    @property
    def has_messages(self) -> bool:
        """Whether the inbox has something, as far as can be known without looking."""
        return bool(self._queue or self._poll or self._inbox.has_more)

    @property
    def at_hand(self) -> bool:
        """Whether a cycle would find something to do at once."""
        return bool(self.outcomes or self.posted or self._queue or self._turns.can_go_on)

    def take(self) -> None:
        """Give each source its chance. Messages come first, as others have to wait for those that were acknowledged
        earlier; they leave half of the cycle to the rest, of which another one begins each time."""
        self._taken = CycleInputs()
        self._learn()
        self._take_messages(lambda: self._turns.half_over)
        sources = (self._take_outcomes, self._take_due, self._turns.look, self._take_slice)
        for i in range(len(sources)):
            if not self._turns.over:
                sources[(self._first + i) % len(sources)]()
        self._first = (self._first + 1) % len(sources)
        self._take_messages(lambda: self._turns.over)

    def refuse(self, error: DurableError) -> None:
        """Tell the clients of this process that nothing more is taken, nor acknowledged."""
        for posted in [*self._unacknowledged, *self._queue.all_posted(), *self.posted]:
            posted.refuse(error)
        self._unacknowledged.clear()
        self._queue.clear()
        self.posted.clear()

    def put_back(self, draft: Draft) -> set[str]:
        """Put back what the cycle of this draft has taken; gives the instances and entities whose timers were taken."""
        taken, self._taken = self._taken, CycleInputs()
        for _ in draft.acks:
            self._unacknowledged.pop()
        self._queue.restore(taken.entries)
        for batch, upto, early, begun in taken.batches:
            batch.upto, batch.early = upto, early
            if begun is None:
                self._hub.partial_batches.pop(batch.message.message, None)
            else:
                self._hub.partial_batches[batch.message.message] = begun
            if batch not in self._queue.batches:
                self._queue.batches.appendleft(batch)
        self._settled.update(outcome.key for outcome in taken.outcomes)
        self.outcomes.extendleft(reversed(taken.outcomes))
        return {due.instance for due in taken.due}

    def returning(self) -> list[Key]:
        """The batches of operations whose outcomes have come back and are not applied."""
        return [outcome.key for outcome in self.outcomes if isinstance(outcome, BatchOutcome)]

    def set_aside(self, handled: QueuedMessage | PendingBatch | BatchItem, error: str) -> None:
        """Take a message out of line whose handling failed, and keep it where a repair finds it."""
        message, posted = (handled.batch if isinstance(handled, BatchItem) else handled).message, None
        match handled:
            case BatchItem(batch, position, item):
                batch.early.add(position)  # it counts as started
                message = msgspec.structs.replace(message, items=[item], count=0, parts=(), batch=None)
                self._inbox.store_failed(message, error)
            case QueuedMessage():
                posted = handled.posted
                self._queue.remove(handled)
            case PendingBatch():
                posted = handled.posted
                self._queue.batches.remove(handled)
                self._hub.partial_batches.pop(message.message, None)
        if posted is not None:
            posted.refuse(DurableError(f"internal error: {error}; the message was not accepted"))
        elif not isinstance(handled, BatchItem):
            self._inbox.move_to_failed(message, error)
        self._inbox.release_ids((item.target, message.message) for item in message.items if item.reserved)
        targets = ", ".join(item.target for item in message.items[:3]) or message.batch or "?"
        self._say(f"{message.kind} for {targets} was set aside: {error}; see: durable doctor")

    # ── messages ───────────────────────────────────────────────────────────────────────────────────────────────

    def _learn(self) -> None:
        """Put in line all that was acknowledged before this cycle, and behind it what clients of this process ask."""
        listings = self._inbox.listing_count
        self._up_to_date = self._inbox.refresh_listing(force=self._poll or monotonic() - self._polled > _POLL_EVERY)
        if self._inbox.listing_count != listings:
            self._poll, self._polled = False, monotonic()
        if len(self._queue) < _MOST_WAITING and self._inbox.has_more:
            for message in self._inbox.take_next():
                self._enqueue(message, None)
        for finding in self._inbox.take_warnings():
            self._say(finding)
        if self.posted and self._up_to_date:
            self._enqueue_posted()

    def _enqueue_posted(self) -> None:
        """Put what clients of this process ask in line, unless something listed in the inbox has to be read first."""
        later: deque[Posted] = deque()
        held_up: set[str] = set()
        for posted in self.posted:
            targets = {item.target for item in posted.message.items} if self._inbox.has_more else set[str]()
            if held_up.isdisjoint(targets) and not any(map(self._inbox.has_unread, targets)):
                self._enqueue(posted.message, posted)
            else:
                later.append(posted)
                held_up |= targets
        self.posted = later

    def _enqueue(self, message: Message, posted: Posted | None) -> None:
        if self._messages.is_sliced(message):
            self._queue.add_batch(message, posted, self._messages.taken_upto(message))
        else:
            self._queue.add(message, posted)

    def _take_messages(self, is_over: Callable[[], bool]) -> None:
        """Take messages in order. One that has to wait lets those for other targets pass."""
        held_up: set[str] = set()
        for entry in self._queue.entries() if len(self._queue) else ():
            if is_over():
                return
            if not held_up.isdisjoint(entry.targets) or not self._take_message(entry):
                held_up.update(entry.targets)
                self._poll |= entry.posted is None

    def _take_message(self, entry: QueuedMessage) -> bool:
        """Take one message, before which nothing is in line for its targets; False when it has to wait."""
        for target in entry.targets:
            self._start_early(target)
        self._turns.draft.handling = entry
        is_taken = self._messages.take(entry.message, None if entry.posted is not None else self._inbox.listing_count)
        self._turns.draft.handling = None
        if not is_taken:
            return False
        self._queue.remove(entry)
        self._taken.entries.append(entry)
        self._acknowledge_later(entry.posted)
        return True

    def _acknowledge_later(self, posted: Posted | None) -> None:
        if posted is not None:
            self._unacknowledged.append(posted)
            self._turns.draft.acks.append(self._acknowledge)

    def _acknowledge(self) -> None:
        self._unacknowledged.popleft().accept()

    def _start_early(self, target: str) -> None:
        """Start an instance that a batch has still to start, as something is on its way to it."""
        if self._queue.batches and (found := self._queue.waiting_batch(target)) is not None:
            batch, index = found
            self._note(batch)
            self._turns.draft.handling = batch
            self._messages.take_early(batch, index)
            self._turns.draft.handling = None

    def _note(self, batch: PendingBatch) -> None:
        """Remember how far a batch was before this cycle."""
        if not any(noted is batch for noted, _, _, _ in self._taken.batches):
            begun = self._hub.partial_batches.get(batch.message.message)
            self._taken.batches.append((batch, batch.upto, set(batch.early), begun))

    def _is_next(self, target: str) -> bool:
        """Whether something else may reach this target now: the messages for it that were acknowledged earlier are
        taken first, as far as that is possible in this cycle."""
        if self._queue.is_clear:
            return self._up_to_date
        self._start_early(target)
        for entry in self._queue.before(target):
            if self._turns.over or not self._take_message(entry):
                return False
        return self._up_to_date and not self._inbox.has_unread(target)

    def _take_slice(self) -> None:
        """Take a slice of a batch, of another one in every cycle."""
        if not self._queue.batches:
            return
        batch = self._queue.batches[0]
        self._note(batch)
        self._turns.draft.handling = batch
        done = self._messages.take_slice(batch)
        self._turns.draft.handling = None
        self._queue.batches.popleft()
        if done:
            self._acknowledge_later(batch.posted)
        else:
            self._queue.batches.append(batch)

    def _undelivered(self, message: Message, item: MessageItem, why: str) -> None:
        """Note what met nothing, and say so once."""
        self._turns.stats["undelivered"] += 1
        self._say(f"{message.kind} for {item.instance}: {why}; kept in {_UNDELIVERED}")
        entry = {"at": self._turns.draft.at, "why": why, "message": message.message, "kind": message.kind, "item": item}
        data = msgspec.json.encode(entry) + b"\n"
        path = f"{self._hub.root}/{_UNDELIVERED}"
        with suppress(FileExistsError):
            self._hub.disk.append_once(path, data, create=True)
            return
        self._hub.disk.append_once(path, data, create=False)

    # ── activities ─────────────────────────────────────────────────────────────────────────────────────────────

    def _take_outcomes(self) -> None:
        assert self._crew is not None or not self.outcomes
        waiting: list[Outcome | BatchOutcome] = []
        try:
            while self._crew is not None and self.outcomes and not self._turns.over:
                waiting.append(self.outcomes.popleft())
                if self._may_take(waiting[-1]):
                    self._take_outcome(waiting.pop(), self._crew)
        finally:
            self.outcomes.extendleft(reversed(waiting))

    def _may_take(self, outcome: Outcome | BatchOutcome) -> bool:
        """Whether an outcome can be taken now, as nothing that it reaches has to take something else first."""
        if isinstance(outcome, BatchOutcome) and self._answers_spreading(outcome):
            return False
        if self._up_to_date and self._queue.is_clear:
            return True
        return all(map(self._is_next, self._reached(outcome)))

    def _take_outcome(self, outcome: Outcome | BatchOutcome, crew: Crew) -> None:
        """Take what came of an activity, or of operations of an entity."""
        id, execution, n = outcome.key
        if outcome.key in self._settled:
            self._settled.discard(outcome.key)
        elif crew.settled(outcome) is None:
            self._turns.stats["dropped"] += 1
            return
        self._taken.outcomes.append(outcome)
        self._turns.draft.handling = id
        if isinstance(outcome, BatchOutcome):
            self._turns.entities.done(outcome)
            self._turns.settle()
        elif outcome.failure is not None:
            self._turns.arrive(id, execution, ev.TaskFailed(n, outcome.failure))
        else:
            completed = ev.TaskCompleted(n, outcome.result or ev.NULL, outputs=outcome.outputs)
            self._turns.arrive(id, execution, completed)
        self._turns.draft.handling = None

    def _reached(self, outcome: Outcome | BatchOutcome) -> Iterable[str]:
        """Which instances and entities an outcome reaches."""
        if not isinstance(outcome, BatchOutcome):
            return (outcome.key[0],)
        event = outcome.event
        sent = [*(each.entity for each in event.signals), *(each.instance for each in event.starts)]
        return (outcome.key[0], *self._turns.entities.callers(outcome), *sent)

    def _answers_spreading(self, outcome: BatchOutcome) -> bool:
        """Whether it answers an instance whose turn is being spread: what can't be recorded there could be lost."""
        turns = self._turns
        return turns.is_busy_spreading and any(map(turns.is_spreading, turns.entities.callers(outcome)))

    # ── the clock ──────────────────────────────────────────────────────────────────────────────────────────────

    def _take_due(self) -> None:
        if self._turns.registry is None:
            return
        waiting: list[Due] = []
        try:
            while not self._turns.over and (due := self._timers.take(self._turns.draft.at)):
                waiting.append(due)
                if self._is_next(due.instance):
                    self._taken.due.append(waiting.pop())
                    self._turns.draft.handling = due.instance
                    self._fire(due)
                    self._turns.draft.handling = None
        finally:
            for due in waiting:
                self._timers.put_back(due)

    def _fire(self, due: Due) -> None:
        turns = self._turns
        if due.instance not in turns.scope:
            return
        if is_entity_id(due.instance):
            turns.entities.fire(due)
            turns.settle()
            return
        instance = turns.instances.get(due.instance)
        if instance is None or instance.ledger.ended:
            return
        if due.n is None:
            self._wake(due)
        elif instance.ledger.execution == due.execution and due.n in instance.ledger.open_decisions:
            turns.arrive(due.instance, due.execution, ev.TimerFired(due.n))

    def _wake(self, due: Due) -> None:
        """An instance that slept on disk has something due: fire that, and note the rest of what it waits for."""
        turns = self._turns
        instance = turns.instances.get(due.instance)
        assert instance is not None
        now, ledger = turns.draft.at, instance.ledger
        for n, timer in sorted(pending.timers(ledger), key=lambda each: (each[1].fire_at, each[0])):
            if timer.fire_at <= now:
                turns.arrive(due.instance, ledger.execution, ev.TimerFired(n))
            else:
                back_off = timer.retry_of is not None
                self._timers.set(timer.fire_at, due.instance, ledger.execution, n, back_off=back_off)
        start_at = pending.scheduled_start_time(ledger)
        if start_at is not None and start_at > now:
            self._timers.set(start_at, due.instance, ledger.execution, None)
        elif ledger.next_held(now) and ledger.blocked is None:
            turns.ready[due.instance] = None
