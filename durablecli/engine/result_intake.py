"""The intake of results: of activities, and of entity batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from durablecli.engine.message_intake import MessageIntake
from durablecli.engine.metrics import (
    ACTIVITY_COMPLETED,
    ACTIVITY_FAILED,
    OPERATION_COMPLETED,
    OPERATION_FAILED,
    Counts,
)
from durablecli.engine.remote_answers import ReportDone
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turns import TurnRunner
from durablecli.engine.workers.activity import ActivityResult
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchCall, EntityBatchResult
from durablecli.engine.workers.pool import WorkItem
from durablecli.model import events as ev


class ResultIntake:
    """Queues results, and turns each into the arrival that it is for its instance or entity."""

    def __init__(
        self,
        shared: SharedParts,
        turn_runner: TurnRunner,
        messages: MessageIntake,
        dispatcher: Dispatcher | None,
    ) -> None:
        self._cycle = shared.cycle
        self._turn_runner = turn_runner
        self._entities = turn_runner.entity_scheduler
        self._split_turn = turn_runner.split_turn
        self._messages = messages
        self._dispatcher = dispatcher
        self._queue: deque[ActivityResult | EntityBatchResult] = deque()
        self._acks: dict[WorkKey, list[ReportDone]] = {}
        """Tell workers that their results are on disk."""
        self._handled: list[tuple[ActivityResult | EntityBatchResult, WorkItem, list[ReportDone]]] = []
        """The results that this cycle has handled, with their calls, and what tells their workers."""
        self._already_completed: dict[WorkKey, WorkItem] = {}
        """Results of a cycle that was given up: the dispatcher has completed their calls already."""

    def add(self, result: ActivityResult | EntityBatchResult, done: ReportDone | None = None) -> None:
        """Take a result; a cycle handles it. `done` is called once that is on disk."""
        self._queue.append(result)
        if done is not None:
            self._acks[result.key] = [done]

    def also_report(self, key: WorkKey, done: ReportDone) -> bool:
        """Have `done` called as well once the queued result with this key is on disk; False if none is queued."""
        acks = self._acks.get(key)
        if acks is not None:
            acks.append(done)
        return acks is not None

    @property
    def has_queued(self) -> bool:
        return bool(self._queue)

    @property
    def queue_length(self) -> int:
        """The results that wait to be handled."""
        return len(self._queue)

    def list_entity_batches(self) -> list[WorkKey]:
        """The keys of the entity batches whose results are queued."""
        return [result.key for result in self._queue if isinstance(result, EntityBatchResult)]

    def begin_cycle(self) -> None:
        self._handled = []

    def handle_queued(self) -> None:
        """Handle results until the budget is spent. One that has to wait lets others pass."""
        assert self._dispatcher is not None or not self._queue
        waiting: list[ActivityResult | EntityBatchResult] = []
        try:
            while self._dispatcher is not None and self._queue and not self._cycle.is_budget_spent:
                waiting.append(self._queue.popleft())
                if self._may_handle(waiting[-1]):
                    self._handle(waiting.pop(), self._dispatcher)
        finally:
            self._queue.extendleft(reversed(waiting))

    def _may_handle(self, result: ActivityResult | EntityBatchResult) -> bool:
        """Whether a result can be handled now: no instance or entity that it reaches has to take something else first.
        Handles the messages that come first, as far as possible."""
        if isinstance(result, EntityBatchResult) and self._answers_split_turn(result):
            return False
        if result.key in self._acks and self._split_turn.is_splitting(result.key[0]):
            return False  # it would be parked, and its worker told all the same that it is on disk
        if self._messages.is_clear:
            return True
        if isinstance(result, EntityBatchResult):
            return all(map(self._messages.handle_before, self._find_targets(result)))
        return self._messages.handle_before(result.key[0])

    def _answers_split_turn(self, result: EntityBatchResult) -> bool:
        """Whether it answers the instance whose turn is being split: an answer parked there could be lost in a
        crash."""
        split_turn = self._split_turn
        return split_turn.is_active and any(map(split_turn.is_splitting, self._entities.find_callers(result)))

    def _find_targets(self, result: EntityBatchResult) -> Iterable[str]:
        """The instances and entities that the result of a batch reaches."""
        batch = result.event
        sent = [*(each.entity for each in batch.signals), *(each.instance for each in batch.starts)]
        return (result.key[0], *self._entities.find_callers(result), *sent)

    def _handle(self, result: ActivityResult | EntityBatchResult, dispatcher: Dispatcher) -> None:
        id, execution, n = result.key
        if result.key in self._already_completed:
            call: WorkItem | None = self._already_completed.pop(result.key)
        else:
            call = dispatcher.complete(result)
        acks = self._acks.pop(result.key, []) if self._acks else []
        self._cycle.builder.remote_acks += [(done, None) for done in acks]
        if call is None:
            self._cycle.stats["dropped"] += 1
            return
        self._handled.append((result, call, acks))
        self._cycle.handling = id
        counts = self._cycle.builder.counts
        if isinstance(result, EntityBatchResult):
            _count_operations(counts, call, result)
            self._entities.complete_batch(result)
            self._turn_runner.deliver()
        elif result.failure is not None:
            counts[ACTIVITY_FAILED, call.function.name] += 1
            self._turn_runner.run_arrival(id, execution, ev.TaskFailed(n, result.failure))
        else:
            counts[ACTIVITY_COMPLETED, call.function.name] += 1
            completed = ev.TaskCompleted(n, result.result or ev.NULL, outputs=result.outputs)
            self._turn_runner.run_arrival(id, execution, completed)
        self._cycle.handling = None

    def roll_back(self) -> None:
        """Put back what this cycle has handled."""
        handled, self._handled = self._handled, []
        self._already_completed.update((result.key, call) for result, call, _ in handled)
        self._acks.update((result.key, acks) for result, _, acks in handled if acks)
        self._queue.extendleft(result for result, _, _ in reversed(handled))


def _count_operations(counts: Counts, batch: WorkItem, result: EntityBatchResult) -> None:
    assert isinstance(batch, EntityBatchCall)
    event, name = result.event, batch.function.name
    count = sum(each.n <= event.upto for each in batch.operations)
    failed = sum(each.failure is not None for each in event.results)
    if failed:
        counts[OPERATION_FAILED, name] += failed
    if count > failed:
        counts[OPERATION_COMPLETED, name] += count - failed
