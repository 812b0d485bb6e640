"""Checks of any history: numbers, outcomes and times are sound, and each prefix decides the records that follow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from msgspec.structs import replace

from durablecli.model import events as ev
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.function_marks import UNKNOWN_TRAITS
from durablecli.replay.replay import create_executor, replay
from durablecli.replay.runtime_state import answered_decision, fold_history

OPEN_DECISIONS = ev.TaskScheduled | ev.TimerCreated | ev.SubOrchestrationInstanceCreated
OUTCOMES = (
    ev.TaskCompleted
    | ev.TaskFailed
    | ev.TimerFired
    | ev.SubOrchestrationInstanceCompleted
    | ev.SubOrchestrationInstanceFailed
)
_DECISION_OF: dict[type, type] = {
    ev.TaskCompleted: ev.TaskScheduled,
    ev.TaskFailed: ev.TaskScheduled,
    ev.TimerFired: ev.TimerCreated,
    ev.SubOrchestrationInstanceCompleted: ev.SubOrchestrationInstanceCreated,
    ev.SubOrchestrationInstanceFailed: ev.SubOrchestrationInstanceCreated,
}


def check_history(function: Callable[[Any], Any], records: Sequence[ev.Record], *, torn: bool = False) -> None:
    """All that can be said of one history by itself. `torn`: turns may have been cut off and decided to their ends."""
    assert [record.n for record in records] == list(range(1, len(records) + 1))
    assert all(a.at <= b.at for a, b in pairwise(records)), "time went back"
    check_outcomes(records)
    ReplayComparison(function, torn=torn).check(records)
    executor, decisions = replay_history(function, records)
    assert decisions == []
    executor.close()


def check_outcomes(records: Sequence[ev.Record]) -> None:
    """Each answer refers to a decision before it, of its kind; one answer each, and one end, unless taken back."""
    open_: dict[int, ev.Record] = {}
    answered: dict[int, ev.Record] = {}
    ended = False
    for record in records:
        event = record.event
        if isinstance(event, OPEN_DECISIONS):
            open_[record.n] = record
        elif isinstance(event, OUTCOMES):
            n = answered_decision(event)
            asked = open_[n].event
            assert isinstance(asked, _DECISION_OF[type(event)]), (record, asked)
            assert n not in answered, f"a second outcome for {n}"
            answered[n] = record
            if isinstance(event, ev.TimerFired):
                assert isinstance(asked, ev.TimerCreated)
                assert record.at >= asked.fire_at or event.held, "a timer came early"
        elif isinstance(event, ev.TaskCanceled):
            assert isinstance(open_[event.task].event, OPEN_DECISIONS)
            before = answered.get(event.task)
            assert before is None or getattr(before.event, "held", False), "cancelled after its outcome"
            answered[event.task] = record
        elif isinstance(event, ev.ExecutionCompleted):
            assert not ended, "a second end"
            ended = True
        elif isinstance(event, ev.ExecutionRewound):
            assert ended
            ended = False
            gone = {*event.forgotten, *event.void}
            answered = {n: answer for n, answer in answered.items() if answer.n not in gone}


def replay_history(
    function: Callable[[Any], Any], records: Sequence[ev.Record]
) -> tuple[OrchestrationExecutor, list[ev.Record]]:
    runtime_state = fold_history(records)
    if runtime_state.status == "Terminated":
        assert runtime_state.turns is not None
        if not runtime_state.turns:
            return create_executor(function, runtime_state.started, lambda name: UNKNOWN_TRAITS), []
        runtime_state.turns[-1].decisions = [
            record
            for record in runtime_state.turns[-1].decisions
            if not isinstance(record.event, ev.ExecutionCompleted)
        ]
    return replay(function, runtime_state, lambda name: UNKNOWN_TRAITS)


class ReplayComparison:
    """Goes through a history with an executor beside it: each arrival decides exactly what the history says next."""

    def __init__(self, function: Callable[[Any], Any], *, torn: bool) -> None:
        self.function = function
        self.torn = torn
        self.executor: OrchestrationExecutor | None = None
        self.expected: deque[ev.Record] = deque()
        self.held: deque[ev.Record] = deque()
        self.renumbered = False

    def check(self, records: Sequence[ev.Record]) -> None:
        ended = False
        for index, record in enumerate(records):
            event = record.event
            if self.renumbered and not self.expected:  # from here on the numbers of the history count
                self.renumbered = False
                self._rebuild(records[:index])
            if isinstance(event, ev.ExecutionTerminated):
                return
            if isinstance(event, ev.ExecutionRewound):
                ended = False
                self._rebuild(records[: index + 1])
            elif isinstance(event, ev.OrchestratorStarted):
                assert self.held[0].n <= event.upto
                while self.held and self.held[0].n <= event.upto:  # all but the last have decided nothing
                    self._apply(self.held.popleft(), record)
            elif isinstance(event, ev.ExecutionStarted | ev.EventRaised | OUTCOMES):
                if event.held or ended:
                    self.held.append(record)
                else:
                    assert not self.held
                    self._apply(record, record)
            elif isinstance(event, ev.Decision):
                self._compare(record)
                ended = ended or isinstance(event, ev.ExecutionCompleted)
        assert not self.expected

    def _apply(self, arrival: ev.Record, mark: ev.Record) -> None:
        assert not self.expected, "a turn wasn't written down whole"
        if self.executor is None:
            assert isinstance(arrival.event, ev.ExecutionStarted)
            self.executor = create_executor(self.function, arrival.event, lambda name: UNKNOWN_TRAITS)
        self._expect(self.executor.apply(arrival, mark.at, mark.n + 1))

    def _expect(self, decided: list[ev.Record]) -> None:
        """Ignore repeated custom statuses, which a torn turn may set twice."""
        self.expected.extend(
            record for record in decided if not (self.torn and isinstance(record.event, ev.CustomStatusSet))
        )

    def _compare(self, record: ev.Record) -> None:
        if self.torn and isinstance(record.event, ev.CustomStatusSet):
            return
        wanted = self.expected.popleft()
        if self.torn and wanted.n != record.n:  # decided anew behind what was written meanwhile, under another number
            assert type(wanted.event) is type(record.event)
            self.renumbered = True
            return
        if isinstance(wanted.event, ev.EventSent):
            assert isinstance(record.event, ev.EventSent)
            wanted = replace(wanted, event=record.event)  # whether it was delivered isn't the function's to say
        assert wanted == record

    def _rebuild(self, records: Sequence[ev.Record]) -> None:
        runtime_state = fold_history(records)
        self.executor, decisions = replay(self.function, runtime_state, lambda name: UNKNOWN_TRAITS)
        self._expect(decisions)
        self.held = deque(runtime_state.held)
