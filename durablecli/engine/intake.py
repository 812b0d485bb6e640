"""The inputs of a cycle: messages, results of activities and entity batches, and due timers.

Each source gives the turns what it has until the cycle's budget is spent, and keeps the rest for the next cycle.
"""

from __future__ import annotations

from collections.abc import Callable

from durablecli.engine.background import BackgroundThread
from durablecli.engine.commit_builder import CommitBuilder
from durablecli.engine.message_handler import MessageHandler
from durablecli.engine.message_intake import MessageIntake
from durablecli.engine.message_queue import QueuedMessage, Submission
from durablecli.engine.purging import Purger
from durablecli.engine.remote_answers import AnsweredCall, RemoteHandoff, TurnAnswered, TurnRefused, TurnRequest
from durablecli.engine.remote_intake import RemoteIntake
from durablecli.engine.result_intake import ResultIntake
from durablecli.engine.retention import RetentionSweeper
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.timer_intake import TimerIntake
from durablecli.engine.turns import TurnRunner
from durablecli.engine.workers.activity import ActivityResult
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.errors import Conflict
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.inbox.undelivered import record_undelivered
from durablecli.store.layout import UNDELIVERED_FILE

_MAX_BATCH_STARTS = 1_000
"""The starts of batches in one cycle."""
_MAX_STARTS_AHEAD = 16
"""The starts of a batch, and the held ones, that may come before what has begun."""


class Intake:
    """Everything that has come in and isn't decided yet."""

    def __init__(
        self,
        shared: SharedParts,
        turn_runner: TurnRunner,
        dispatcher: Dispatcher | None,
        background: BackgroundThread[Callable[[], None]],
    ) -> None:
        self._hub = shared.hub
        self._cycle = shared.cycle
        self._echo = shared.echo
        self._turn_runner = turn_runner
        purger = Purger(shared)
        self.message_handler = MessageHandler(shared, turn_runner, purger, self._record_undelivered)
        self.messages = MessageIntake(shared, self.message_handler)
        self._results = ResultIntake(shared, turn_runner, self.messages, dispatcher)
        self._remote = RemoteIntake(shared, turn_runner, self.messages, self._results)
        self._timers = TimerIntake(shared, turn_runner, self.messages)
        ages = shared.options.retention.ages() if shared.scope.root is None else {}
        self._sweeper = (
            RetentionSweeper(shared, ages, turn_runner.split_turn, self.messages, purger, background) if ages else None
        )
        self._cycle_count = 0

    def add(self, item: ActivityResult | EntityBatchResult | Submission | RemoteHandoff) -> None:
        """Take what another thread has handed over; a cycle processes it."""
        if isinstance(item, Submission):
            self.messages.add(item)
        elif isinstance(item, TurnRequest | TurnAnswered | TurnRefused | AnsweredCall):
            self._remote.add(item)
        else:
            self._results.add(item)

    @property
    def has_work(self) -> bool:
        """Whether a cycle would find something to do at once."""
        has_queued = self._results.has_queued or self._remote.has_queued
        if has_queued or self.messages.has_work or self._turn_runner.has_runnable_work:
            return True
        return self._sweeper is not None and self._sweeper.is_ready

    @property
    def is_sweeping(self) -> bool:
        """Whether a sweep of the retention has begun and is not done."""
        return self._sweeper is not None and self._sweeper.is_active

    def limit_wait(self, wait: float) -> float:
        """Return how long the engine may wait for input, at most `wait` seconds, until a sweep of the retention."""
        return wait if self._sweeper is None else self._sweeper.limit_wait(wait)

    @property
    def result_count(self) -> int:
        """The results that wait to be handled."""
        return self._results.queue_length

    def process_inputs(self) -> None:
        """Give each source its turn.

        Messages come first, as other inputs have to wait for messages that were acknowledged earlier; they leave half
        of the cycle to the rest. Then comes what has begun, where another source is the first in each cycle, and only
        then new instances. In every fifth cycle these come before what has begun, and leave it half of what is left.
        """
        cycle = self._cycle
        self.messages.begin_cycle()
        self._results.begin_cycle()
        self._remote.begin_cycle()
        self._timers.begin_cycle()
        if self._sweeper is not None:
            self._sweeper.begin_cycle()
        self.messages.handle_queued(lambda: cycle.is_half_budget_spent)
        for target in [*self._turn_runner.list_awaited_targets()]:
            self.messages.start_early(target)
        sources = (
            self._results.handle_queued,
            self._remote.handle_queued,
            self._timers.fire_due,
            self._turn_runner.run_ready,
        )
        first = self._cycle_count % (len(sources) + 1)
        if first == len(sources):
            self.messages.handle_batches(_MAX_STARTS_AHEAD)
            self._turn_runner.run_held_starts(_MAX_STARTS_AHEAD)
        for source in (*sources[first:], *sources[:first]):
            if not cycle.is_budget_spent:
                source()
        self._turn_runner.run_held_starts()
        self.messages.handle_batches(_MAX_BATCH_STARTS)
        self._cycle_count += 1
        self.messages.handle_queued(lambda: cycle.is_budget_spent)
        if self._sweeper is not None:
            self._sweeper.purge_some()

    def roll_back(self, builder: CommitBuilder) -> set[str]:
        """Put back what the cycle has taken. Returns the instances and entities whose timers it has fired."""
        self.messages.roll_back(len(builder.acks))
        self._results.roll_back()
        self._remote.roll_back()
        if self._sweeper is not None:
            self._sweeper.roll_back()
        return self._timers.roll_back()

    def list_unprocessed_batches(self) -> list[WorkKey]:
        """The keys of entity batches whose results have come back and aren't handled."""
        return self._results.list_entity_batches()

    def _record_undelivered(self, message: Message, item: MessageItem, why: str) -> None:
        """Note an item that had no effect, and report it once; of a start, to the client that waits for it."""
        handled = self._cycle.handling
        if message.kind == "start" and isinstance(handled, QueuedMessage) and handled.submission is not None:
            handled.submission.refusal = Conflict(f"{item.instance}: {why}")
            return
        self._cycle.stats["undelivered"] += 1
        self._echo(f"{message.kind} for {item.instance}: {why}; kept in {UNDELIVERED_FILE}")
        record_undelivered(self._hub.disk, self._hub.root, message, item, self._cycle.builder.at, why)
