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

from durablecli.engine.commit_builder import CommitBuilder
from durablecli.engine.message_handler import MessageHandler
from durablecli.engine.message_queue import BatchItem, MessageQueue, PendingBatch, QueuedMessage, Submission
from durablecli.engine.quarantine_handler import QuarantineHandler
from durablecli.engine.timers import TimerEntry, Timers
from durablecli.engine.turns import TurnRunner
from durablecli.engine.workers.activity import ActivityResult
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.errors import DurableError
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.replay import pending
from durablecli.store.hub import Hub
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.recovery import PartialBatch

_MAX_QUEUED_MESSAGES = 1_000
_POLL_INTERVAL = 1.0
_UNDELIVERED_FILE = "undelivered.jsonl"


@dataclass
class CycleInputs:
    """What a cycle has taken, so that it can be put back if the cycle is given up."""

    messages: list[QueuedMessage] = field(default_factory=list)
    results: list[ActivityResult | EntityBatchResult] = field(default_factory=list)
    timers: list[TimerEntry] = field(default_factory=list)
    batches: list[tuple[PendingBatch, int, set[int], PartialBatch | None]] = field(default_factory=list)


class Intake:
    """What has come in and isn't decided yet."""

    def __init__(
        self,
        hub: Hub,
        turn_runner: TurnRunner,
        timers: Timers,
        dispatcher: Dispatcher | None,
        queue: MessageQueue,
        default_version: str | None,
        echo: Callable[[str], None],
    ) -> None:
        self._hub = hub
        self._inbox = hub.inbox
        self._turn_runner = turn_runner
        self._timers = timers
        self._dispatcher = dispatcher
        self._echo = echo
        self._queue = queue
        set_aside = QuarantineHandler(hub, turn_runner)
        self._message_handler = MessageHandler(
            turn_runner,
            hub.inbox.read_items,
            self._record_undelivered,
            default_version,
            hub.partial_batches,
            set_aside,
            queue,
        )
        self.results: deque[ActivityResult | EntityBatchResult] = deque()
        self.submissions: deque[Submission] = deque()
        self._unacknowledged: deque[Submission] = deque()
        """Those in a commit that isn't on disk yet, in the order in which commits get there."""
        self._poll_requested = True
        self._polled_at = 0.0
        self._is_up_to_date = False
        self._first_source = 0
        self._cycle_inputs = CycleInputs()
        self._already_completed: set[WorkKey] = set()
        """Outcomes that were taken in a cycle that was given up: the crew knows already that they are back."""

    def redeliver(self, id: str) -> Iterator[None]:
        """Deliver what is kept for an instance that was set aside; the draft may be another one after each step."""
        return self._message_handler.redeliver(id)

    def request_poll(self) -> None:
        """There may be something new in the inbox."""
        self._poll_requested = True

    @property
    def has_messages(self) -> bool:
        """Whether the inbox has something, as far as can be known without looking."""
        return bool(self._queue or self._poll_requested or self._inbox.has_more)

    @property
    def has_work(self) -> bool:
        """Whether a cycle would find something to do at once."""
        return bool(self.results or self.submissions or self._queue or self._turn_runner.has_runnable_work)

    def process_inputs(self) -> None:
        """Give each source its chance. Messages come first, as others have to wait for those that were acknowledged
        earlier; they leave half of the cycle to the rest, of which another one begins each time."""
        self._cycle_inputs = CycleInputs()
        self._read_new_messages()
        self._handle_messages(lambda: self._turn_runner.is_half_budget_spent)
        sources = (self._handle_results, self._fire_due_timers, self._turn_runner.run_ready, self._handle_slice)
        for i in range(len(sources)):
            if not self._turn_runner.is_budget_spent:
                sources[(self._first_source + i) % len(sources)]()
        self._first_source = (self._first_source + 1) % len(sources)
        self._handle_messages(lambda: self._turn_runner.is_budget_spent)

    def reject_all(self, error: DurableError) -> None:
        """Tell the clients of this process that nothing more is taken, nor acknowledged."""
        for posted in [*self._unacknowledged, *self._queue.list_submissions(), *self.submissions]:
            posted.reject(error)
        self._unacknowledged.clear()
        self._queue.clear()
        self.submissions.clear()

    def roll_back(self, builder: CommitBuilder) -> set[str]:
        """Put back what the cycle of this draft has taken; gives the instances and entities whose timers were taken."""
        taken, self._cycle_inputs = self._cycle_inputs, CycleInputs()
        for _ in builder.acks:
            self._unacknowledged.pop()
        self._queue.put_back(taken.messages)
        for batch, upto, early, begun in taken.batches:
            batch.upto, batch.started_early = upto, early
            if begun is None:
                self._hub.partial_batches.pop(batch.message.message, None)
            else:
                self._hub.partial_batches[batch.message.message] = begun
            if batch not in self._queue.batches:
                self._queue.batches.appendleft(batch)
        self._already_completed.update(outcome.key for outcome in taken.results)
        self.results.extendleft(reversed(taken.results))
        return {due.instance for due in taken.timers}

    def list_unprocessed_batches(self) -> list[WorkKey]:
        """The batches of operations whose outcomes have come back and are not applied."""
        return [outcome.key for outcome in self.results if isinstance(outcome, EntityBatchResult)]

    def move_to_failed(self, handled: QueuedMessage | PendingBatch | BatchItem, error: str) -> None:
        """Take a message out of line whose handling failed, and keep it where a repair finds it."""
        message, posted = (handled.batch if isinstance(handled, BatchItem) else handled).message, None
        match handled:
            case BatchItem(batch, position, item):
                batch.started_early.add(position)  # it counts as started
                message = msgspec.structs.replace(message, items=[item], count=0, parts=(), batch=None)
                self._inbox.store_failed(message, error)
            case QueuedMessage():
                posted = handled.submission
                self._queue.remove(handled)
            case PendingBatch():
                posted = handled.submission
                self._queue.batches.remove(handled)
                self._hub.partial_batches.pop(message.message, None)
        if posted is not None:
            posted.reject(DurableError(f"internal error: {error}; the message was not accepted"))
        elif not isinstance(handled, BatchItem):
            self._inbox.move_to_failed(message, error)
        self._inbox.release_ids((item.target, message.message) for item in message.items if item.reserved)
        targets = ", ".join(item.target for item in message.items[:3]) or message.batch or "?"
        self._echo(f"{message.kind} for {targets} was set aside: {error}; see: durable doctor")

    # ── messages ───────────────────────────────────────────────────────────────────────────────────────────────

    def _read_new_messages(self) -> None:
        """Put in line all that was acknowledged before this cycle, and behind it what clients of this process ask."""
        listings = self._inbox.listing_count
        self._is_up_to_date = self._inbox.refresh_listing(
            force=self._poll_requested or monotonic() - self._polled_at > _POLL_INTERVAL
        )
        if self._inbox.listing_count != listings:
            self._poll_requested, self._polled_at = False, monotonic()
        if len(self._queue) < _MAX_QUEUED_MESSAGES and self._inbox.has_more:
            for message in self._inbox.take_next():
                self._enqueue(message, None)
        for finding in self._inbox.take_warnings():
            self._echo(finding)
        if self.submissions and self._is_up_to_date:
            self._enqueue_submissions()

    def _enqueue_submissions(self) -> None:
        """Put what clients of this process ask in line, unless something listed in the inbox has to be read first."""
        later: deque[Submission] = deque()
        held_up: set[str] = set()
        for posted in self.submissions:
            targets = {item.target for item in posted.message.items} if self._inbox.has_more else set[str]()
            if held_up.isdisjoint(targets) and not any(map(self._inbox.has_unread, targets)):
                self._enqueue(posted.message, posted)
            else:
                later.append(posted)
                held_up |= targets
        self.submissions = later

    def _enqueue(self, message: Message, submission: Submission | None) -> None:
        if self._message_handler.is_sliced(message):
            self._queue.add_batch(message, submission, self._message_handler.get_batch_progress(message))
        else:
            self._queue.add(message, submission)

    def _handle_messages(self, is_over: Callable[[], bool]) -> None:
        """Take messages in order. One that has to wait lets those for other targets pass."""
        held_up: set[str] = set()
        for entry in self._queue.list_messages() if len(self._queue) else ():
            if is_over():
                return
            if not held_up.isdisjoint(entry.targets) or not self._handle_message(entry):
                held_up.update(entry.targets)
                self._poll_requested |= entry.submission is None

    def _handle_message(self, entry: QueuedMessage) -> bool:
        """Take one message, before which nothing is in line for its targets; False when it has to wait."""
        for target in entry.targets:
            self._start_early(target)
        self._turn_runner.builder.handling = entry
        is_taken = self._message_handler.handle(
            entry.message, None if entry.submission is not None else self._inbox.listing_count
        )
        self._turn_runner.builder.handling = None
        if not is_taken:
            return False
        self._queue.remove(entry)
        self._cycle_inputs.messages.append(entry)
        self._acknowledge_later(entry.submission)
        return True

    def _acknowledge_later(self, submission: Submission | None) -> None:
        if submission is not None:
            self._unacknowledged.append(submission)
            self._turn_runner.builder.acks.append(self._acknowledge)

    def _acknowledge(self) -> None:
        self._unacknowledged.popleft().accept()

    def _start_early(self, target: str) -> None:
        """Start an instance that a batch has still to start, as something is on its way to it."""
        if self._queue.batches and (found := self._queue.find_batch_to_start(target)) is not None:
            batch, index = found
            self._save_batch_progress(batch)
            self._turn_runner.builder.handling = batch
            self._message_handler.start_early(batch, index)
            self._turn_runner.builder.handling = None

    def _save_batch_progress(self, batch: PendingBatch) -> None:
        """Remember how far a batch was before this cycle."""
        if not any(noted is batch for noted, _, _, _ in self._cycle_inputs.batches):
            begun = self._hub.partial_batches.get(batch.message.message)
            self._cycle_inputs.batches.append((batch, batch.upto, set(batch.started_early), begun))

    def _handle_messages_before(self, target: str) -> bool:
        """Whether something else may reach this target now: the messages for it that were acknowledged earlier are
        taken first, as far as that is possible in this cycle."""
        if self._queue.is_clear:
            return self._is_up_to_date
        self._start_early(target)
        for entry in self._queue.find_messages_before(target):
            if self._turn_runner.is_budget_spent or not self._handle_message(entry):
                return False
        return self._is_up_to_date and not self._inbox.has_unread(target)

    def _handle_slice(self) -> None:
        """Take a slice of a batch, of another one in every cycle."""
        if not self._queue.batches:
            return
        batch = self._queue.batches[0]
        self._save_batch_progress(batch)
        self._turn_runner.builder.handling = batch
        done = self._message_handler.handle_slice(batch)
        self._turn_runner.builder.handling = None
        self._queue.batches.popleft()
        if done:
            self._acknowledge_later(batch.submission)
        else:
            self._queue.batches.append(batch)

    def _record_undelivered(self, message: Message, item: MessageItem, why: str) -> None:
        """Note what met nothing, and say so once."""
        self._turn_runner.stats["undelivered"] += 1
        self._echo(f"{message.kind} for {item.instance}: {why}; kept in {_UNDELIVERED_FILE}")
        entry = {
            "at": self._turn_runner.builder.at,
            "why": why,
            "message": message.message,
            "kind": message.kind,
            "item": item,
        }
        data = msgspec.json.encode(entry) + b"\n"
        path = f"{self._hub.root}/{_UNDELIVERED_FILE}"
        with suppress(FileExistsError):
            self._hub.disk.append_once(path, data, create=True)
            return
        self._hub.disk.append_once(path, data, create=False)

    # ── activities ─────────────────────────────────────────────────────────────────────────────────────────────

    def _handle_results(self) -> None:
        assert self._dispatcher is not None or not self.results
        waiting: list[ActivityResult | EntityBatchResult] = []
        try:
            while self._dispatcher is not None and self.results and not self._turn_runner.is_budget_spent:
                waiting.append(self.results.popleft())
                if self._may_handle_result(waiting[-1]):
                    self._handle_result(waiting.pop(), self._dispatcher)
        finally:
            self.results.extendleft(reversed(waiting))

    def _may_handle_result(self, result: ActivityResult | EntityBatchResult) -> bool:
        """Whether an outcome can be taken now, as nothing that it reaches has to take something else first."""
        if isinstance(result, EntityBatchResult) and self._answers_split_turn(result):
            return False
        if self._is_up_to_date and self._queue.is_clear:
            return True
        return all(map(self._handle_messages_before, self._find_targets(result)))

    def _handle_result(self, result: ActivityResult | EntityBatchResult, dispatcher: Dispatcher) -> None:
        """Take what came of an activity, or of operations of an entity."""
        id, execution, n = result.key
        if result.key in self._already_completed:
            self._already_completed.discard(result.key)
        elif dispatcher.complete(result) is None:
            self._turn_runner.stats["dropped"] += 1
            return
        self._cycle_inputs.results.append(result)
        self._turn_runner.builder.handling = id
        if isinstance(result, EntityBatchResult):
            self._turn_runner.entity_scheduler.complete_batch(result)
            self._turn_runner.deliver()
        elif result.failure is not None:
            self._turn_runner.run_arrival(id, execution, ev.TaskFailed(n, result.failure))
        else:
            completed = ev.TaskCompleted(n, result.result or ev.NULL, outputs=result.outputs)
            self._turn_runner.run_arrival(id, execution, completed)
        self._turn_runner.builder.handling = None

    def _find_targets(self, result: ActivityResult | EntityBatchResult) -> Iterable[str]:
        """Which instances and entities an outcome reaches."""
        if not isinstance(result, EntityBatchResult):
            return (result.key[0],)
        event = result.event
        sent = [*(each.entity for each in event.signals), *(each.instance for each in event.starts)]
        return (result.key[0], *self._turn_runner.entity_scheduler.find_callers(result), *sent)

    def _answers_split_turn(self, result: EntityBatchResult) -> bool:
        """Whether it answers an instance whose turn is being spread: what can't be recorded there could be lost."""
        turns = self._turn_runner
        return turns.has_split_turn and any(map(turns.is_splitting, turns.entity_scheduler.find_callers(result)))

    # ── the clock ──────────────────────────────────────────────────────────────────────────────────────────────

    def _fire_due_timers(self) -> None:
        if self._turn_runner.registry is None:
            return
        waiting: list[TimerEntry] = []
        try:
            while not self._turn_runner.is_budget_spent and (due := self._timers.pop_due(self._turn_runner.builder.at)):
                waiting.append(due)
                if self._handle_messages_before(due.instance):
                    self._cycle_inputs.timers.append(waiting.pop())
                    self._turn_runner.builder.handling = due.instance
                    self._fire_timer(due)
                    self._turn_runner.builder.handling = None
        finally:
            for due in waiting:
                self._timers.put_back(due)

    def _fire_timer(self, entry: TimerEntry) -> None:
        turns = self._turn_runner
        if entry.instance not in turns.scope:
            return
        if is_entity_id(entry.instance):
            turns.entity_scheduler.fire_timer(entry)
            turns.deliver()
            return
        instance = turns.instances.get(entry.instance)
        if instance is None or instance.runtime_state.ended:
            return
        if entry.n is None:
            self._fire_or_set_timers(entry)
        elif instance.runtime_state.execution == entry.execution and entry.n in instance.runtime_state.open_decisions:
            turns.run_arrival(entry.instance, entry.execution, ev.TimerFired(entry.n))

    def _fire_or_set_timers(self, entry: TimerEntry) -> None:
        """An instance that slept on disk has something due: fire that, and note the rest of what it waits for."""
        turns = self._turn_runner
        instance = turns.instances.get(entry.instance)
        assert instance is not None
        now, ledger = turns.builder.at, instance.runtime_state
        for n, timer in sorted(pending.timers(ledger), key=lambda each: (each[1].fire_at, each[0])):
            if timer.fire_at <= now:
                turns.run_arrival(entry.instance, ledger.execution, ev.TimerFired(n))
            else:
                back_off = timer.retry_of is not None
                self._timers.set(timer.fire_at, entry.instance, ledger.execution, n, back_off=back_off)
        start_at = pending.scheduled_start_time(ledger)
        if start_at is not None and start_at > now:
            self._timers.set(start_at, entry.instance, ledger.execution, None)
        elif ledger.next_held(now) and ledger.blocked is None:
            turns.ready[entry.instance] = None
