"""Detects non-determinism: compares the decisions of an execution with its history, and records the new ones.

Decisions are compared by kind, name, entity and order; inputs, due times and custom statuses are not. The first
difference stops the execution with a NonDeterminismError.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from durablecli.model import events as ev
from durablecli.replay.errors import ExecutorClosed, NonDeterminismError, TooManyDecisions, is_same_decision

MAX_DECISIONS = 100_000
"""Decisions of one turn."""
_MAX_REFUSED_DECISIONS = 1_000
_E = TypeVar("_E", bound=BaseException)
TOO_MANY_DECISIONS = f"more than {MAX_DECISIONS:,} operations without a yield: an infinite loop?"


class DecisionLog:
    """Takes the decisions of each turn. `stop_error` is what has stopped the execution from outside of user code.

    With `incomplete` the last turn of the history was cut off: it may decide more than the history holds.
    """

    def __init__(self, expected: Iterable[ev.Record], incomplete: bool, current_line: Callable[[], str]) -> None:
        self.stop_error: BaseException | None = None
        self.is_replaying = False
        self.is_closed = False
        self.now: datetime = datetime.min
        self.new_records: list[ev.Record] = []
        self._expected = deque(expected)
        self._incomplete = incomplete
        self._current_line = current_line
        self._next_n = 0
        self._remaining = 0
        """How many decisions the turn may still make: none once it is stopped, or the executor closed."""
        self._refused_count = 0

    # ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin_turn(self, at: datetime, n: int, replaying: bool) -> None:
        """Begin a turn at time `at`, whose new records are numbered from `n`."""
        self.is_replaying = replaying
        self.now = at
        self.new_records = []
        self._next_n = n
        if self.stop_error is None and not self.is_closed:
            self._remaining = MAX_DECISIONS

    def stop(self, error: _E) -> _E:
        """Stop the execution from outside of user code, and return the error to raise."""
        self.stop_error = error
        self._remaining = 0
        return error

    def close(self) -> None:
        """Take no decision any more."""
        self.is_closed = True
        self._remaining = 0

    def end_turn(self) -> list[ev.Record]:
        """The new records of the turn; raises what has stopped it, or that a decision of the history is missing."""
        if self._expected and not self.is_replaying and self.stop_error is None:
            self.stop_error = self._missing_decision_error()
        if self.stop_error is not None:
            raise self.stop_error
        return self.new_records

    def expect(self, decisions: Iterable[ev.Record]) -> None:
        """Compare the next turn with these decisions, which a rewind has kept."""
        self._expected.extend(decisions)

    def finish_replay(self) -> None:
        """End the replay; raises NonDeterminismError for decisions that the code didn't make again."""
        self._incomplete = False
        if self._expected:
            raise self._missing_decision_error()

    def _missing_decision_error(self) -> NonDeterminismError:
        return NonDeterminismError(self._expected[0], None, self._current_line())

    def expects(self, n: int) -> bool:
        """Whether the history holds a decision `n` that the code hasn't made yet."""
        return bool(self._expected) and n >= self._expected[0].n

    @property
    def next_n(self) -> int:
        """The number of the next decision."""
        return self._expected[0].n if self._expected else self._next_n

    # ── deciding ─────────────────────────────────────────────────────────────────────────────────────────────────

    def check_may_cancel(self) -> None:
        """Raise NotImplementedError where calls can't be cancelled; here they can."""

    def decide(self, event: ev.Decision) -> int:
        """Compare a decision with the history, or record it. Returns its `n`."""
        if not self._remaining:
            self._refuse()
            return 0
        self._remaining -= 1
        if self._expected:
            record = self._expected.popleft()
            if not is_same_decision(record.event, event):
                raise self.stop(NonDeterminismError(record, event, self._current_line()))
            return record.n
        if self.is_replaying and not self._incomplete:
            raise self.stop(NonDeterminismError(None, event, self._current_line()))
        return self._record(event)

    def decide_uncompared(self, event: ev.Decision) -> bool:
        """Record a decision that a replay doesn't compare. False where no more are taken."""
        if not self.count_decision():
            return False
        if not self.is_replaying or (self._incomplete and not self._expected):
            self._record(event)
        return True

    def count_decision(self) -> bool:
        """Count one more decision of the turn. False where no more are taken."""
        if not self._remaining:
            self._refuse()
            return False
        self._remaining -= 1
        return True

    def _refuse(self) -> None:
        """Raise what has stopped the turn, except to code that keeps catching it: it may run to its next yield."""
        if self.stop_error is None and not self.is_closed:
            self.stop(TooManyDecisions(TOO_MANY_DECISIONS))
        self._refused_count += 1
        if self._refused_count <= _MAX_REFUSED_DECISIONS:
            raise self.stop_error if self.stop_error is not None else ExecutorClosed

    def _record(self, event: ev.Decision) -> int:
        n = self._next_n
        self._next_n = n + 1
        self.new_records.append(ev.Record(n, self.now, event))
        return n
