"""The intake of workers' requests and answers: turns to prepare, decisions to record."""

from __future__ import annotations

from collections import deque

from durablecli.engine.message_intake import MessageIntake
from durablecli.engine.remote_answers import AnsweredCall, RemoteHandoff, TurnAnswered, TurnRefused, TurnRequest
from durablecli.engine.result_intake import ResultIntake
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turns import TurnRunner


class RemoteIntake:
    """Queues the items that the pool of remote work hands over. Results of calls go on to the intake of results."""

    def __init__(
        self, shared: SharedParts, turn_runner: TurnRunner, messages: MessageIntake, results: ResultIntake
    ) -> None:
        self._cycle = shared.cycle
        self._turn_runner = turn_runner
        self._remote_turns = turn_runner.remote_turns
        self._messages = messages
        self._results = results
        self._queue: deque[RemoteHandoff] = deque()
        self._handled: list[RemoteHandoff] = []

    def add(self, item: RemoteHandoff) -> None:
        """Take an item; a cycle handles it."""
        if not isinstance(item, AnsweredCall):
            self._queue.append(item)
        elif item.result is not None:
            self._results.add(item.result, item.done)
        elif not self._results.also_report(item.key, item.done):
            self._queue.append(item)

    @property
    def has_queued(self) -> bool:
        return bool(self._queue)

    def begin_cycle(self) -> None:
        self._handled = []

    def handle_queued(self) -> None:
        """Handle items until the budget is spent. One that has to wait lets others pass."""
        waiting: list[RemoteHandoff] = []
        try:
            while self._queue and not self._cycle.is_budget_spent:
                waiting.append(self._queue.popleft())
                if self._handle(waiting[-1]):
                    self._handled.append(waiting.pop())
        finally:
            self._queue.extendleft(reversed(waiting))

    def _handle(self, item: RemoteHandoff) -> bool:
        """Handle one item; False if it has to wait."""
        match item:
            case TurnRequest():
                self._cycle.handling = item.offer.instance
                self._remote_turns.prepare(item)
            case TurnAnswered():
                id = item.answer.key.instance
                if not (self._messages.is_clear or self._messages.handle_before(id)):
                    return False
                self._cycle.handling = id
                self._cycle.builder.visited.append(id)
                if not self._remote_turns.record(item):
                    return False
                self._turn_runner.deliver()
            case TurnRefused():
                self._cycle.handling = item.key.instance
                self._remote_turns.refuse(item)
            case AnsweredCall():
                self._cycle.builder.remote_acks.append((item.done, "nothing waits for this result any more"))
        self._cycle.handling = None
        return True

    def roll_back(self) -> None:
        """Put back what this cycle has handled."""
        handled, self._handled = self._handled, []
        self._queue.extendleft(reversed(handled))
