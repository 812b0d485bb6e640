"""One execution whose history another engine keeps: its events go in, actions come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Raw

from durablecli.dts.rewind_requests import add_plan, plan_foreign_rewind
from durablecli.engine.instance_notes import NOTED_IN_DETAIL, InstanceNote
from durablecli.model import events as ev
from durablecli.protocol.actions import ActionSource, make_actions, make_termination, make_timer_action
from durablecli.protocol.foreign_decisions import ForeignDecisionLog
from durablecli.protocol.foreign_history import ForeignArrival, ForeignHistory
from durablecli.protocol.generated import pb
from durablecli.protocol.values import make_payload
from durablecli.registry import Function, Registry
from durablecli.replay.context import DurableOrchestrationContext
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.runtime_state import answered_decision
from durablecli.replay.turn_log import OutputLine


class ForeignExecution:
    """A live execution. It is made for one turn, or kept for the next ones.

    A suspended execution holds its arrivals back until it is resumed: the engine doesn't. `log_lines` are what the
    turn has printed and logged.
    """

    def __init__(
        self,
        function: Function,
        registry: Registry,
        history: ForeignHistory,
        arrivals: Sequence[ForeignArrival],
        payload_limit: int,
        *,
        is_rewound: bool = False,
    ) -> None:
        """`history` was read up to the next turn, with these `arrivals`. Raises NonDeterminismError.

        The turns of one that `is_rewound` are taken again from where it had failed, so they may decide more.
        """
        assert history.started is not None
        self.history = history
        self._decision_log: ForeignDecisionLog | None = None
        self._executor = OrchestrationExecutor(
            function.call,
            history.started,
            registry.find_traits,
            _expected(history),
            make_context=DurableOrchestrationContext,
            payload_limit=payload_limit,
            azure=function.is_azure,
            incomplete=is_rewound,
            make_decision_log=self._make_decision_log,
        )
        self._next_n = history.last_id + 1
        self._held: list[ForeignArrival] = []
        self._is_suspended = False
        self._terminated: ev.ExecutionTerminated | None = None
        self._late: list[ev.EventRaised] = []
        self.last_end: ev.ExecutionCompleted | ev.ContinueAsNew | None = None
        """How the last turn has ended the execution; None if it hasn't."""
        self._records: list[ev.Record] = []
        self._timers: list[pb.OrchestratorAction] = []
        self._notes: list[InstanceNote] = []
        self._turns: list[tuple[ev.Record, list[int]]] = []
        try:
            self._apply_all(arrivals, replaying=True)
            self._executor.finish_replay()
            if is_rewound:
                self._repeat(history.repeated)
        except BaseException:
            self._executor.close()
            raise

    def _make_decision_log(self, *arguments: object) -> ForeignDecisionLog:
        self._decision_log = ForeignDecisionLog(*arguments)  # type: ignore[arg-type]
        return self._decision_log

    @property
    def log(self) -> ForeignDecisionLog:
        """The decisions of the execution."""
        assert self._decision_log is not None
        return self._decision_log

    @property
    def function(self) -> Callable[..., Any]:
        """The author's function."""
        return self._executor.function

    def _find_end(self) -> ev.ExecutionCompleted | ev.ContinueAsNew | None:
        last = self._records[-1].event if self._records else None
        return last if isinstance(last, ev.ExecutionCompleted | ev.ContinueAsNew) else None

    @property
    def ended(self) -> bool:
        """Whether its function has ended, or it was terminated."""
        return self._executor.ended or self._terminated is not None

    @property
    def custom_status(self) -> Raw | None:
        """The custom status; None if there is none."""
        status = self._executor.custom_status
        return None if status is None else self._executor.encode(status)

    def take_log_lines(self) -> list[OutputLine | InstanceNote]:
        """Return the lines that the turn has printed and logged, and the notes about the instance."""
        lines, self._executor.log_lines = [*self._notes, *self._executor.log_lines], []
        return lines

    def close(self) -> None:
        """Drop the function."""
        self._executor.close()

    # ── turns ──────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, arrivals: Iterable[ForeignArrival], response: pb.OrchestratorResponse) -> None:
        """Take the next turn, and write its actions into `response`. Raises NonDeterminismError."""
        was_terminated = self._terminated is not None
        self._timers, self._late, self._notes = [], [], []
        self._apply_all(arrivals, replaying=False)
        response.actions.extend(self._timers)
        source = self._source()
        response.actions.extend(make_actions(self._records, source))
        for record in self._records:
            if isinstance(record.event, ev.EntityOperationCalled | ev.EntityLockRequested):
                self.history.add_request(source.request_id(record.n), record)
        if self._terminated is not None and not was_terminated and not self._executor.ended:
            response.actions.append(make_termination(self._next_n, self._terminated))
        status = self.custom_status
        if status is not None and (payload := make_payload(status)) is not None:
            response.customStatus.CopyFrom(payload)
        self.last_end, self._records = self._find_end(), []
        if isinstance(self.last_end, ev.ExecutionCompleted) and self.last_end.failure is not None:
            plan = plan_foreign_rewind(self.last_end, self._turns, self.log.decided, self._next_n - 1)
            add_plan(response.actions[-1].completeOrchestration.failureDetails, plan)

    def _source(self) -> ActionSource:
        carried: list[ev.EventRaised] = []
        if isinstance(end := self._find_end(), ev.ContinueAsNew):
            carried = [*(self._executor.unread_events() if end.save_events else ()), *self._late]
        return ActionSource(self._executor.started, self.log.locked_entities, carried)

    def _apply_all(self, arrivals: Iterable[ForeignArrival], *, replaying: bool) -> None:
        for arrival in arrivals:
            event = arrival.record.event
            if not replaying:
                self._note(ev.Record(arrival.record.n, arrival.at, event))
            if isinstance(event, ev.ExecutionTerminated):
                if not self.ended:
                    self._terminated = event
            elif isinstance(event, ev.ExecutionSuspended):
                self._is_suspended = True
            elif isinstance(event, ev.ExecutionResumed):
                self._is_suspended = False
                held, self._held = self._held, []
                for each in held:
                    self._apply(each._replace(at=arrival.at), replaying=replaying)
            elif self._is_suspended:
                self._held.append(arrival)
            else:
                self._apply(arrival, replaying=replaying)

    def _apply(self, arrival: ForeignArrival, *, replaying: bool) -> None:
        record, at, fire_at = arrival
        event = record.event
        if self.ended:
            if isinstance(event, ev.EventRaised):
                self._late.append(event)  # the next execution gets it
            return
        if isinstance(event, ev.TimerFired) and fire_at is not None:
            due = self.log.due_time(event.timer)
            if due is not None and fire_at < due:  # a part of a long timer
                if not replaying:
                    self._timers.append(make_timer_action(event.timer, due, at))
                return
        decisions = self._executor.apply(record, at, self._next_n, replaying=replaying)
        self._next_n = max(self._next_n, self.log.free_n)
        self._records += decisions
        self._turns.append((record, self.log.take_made()))
        if not replaying:
            for decision in decisions:
                self._note(decision)

    def _repeat(self, calls: Iterable[int]) -> None:
        """Make calls once more whose failure the rewind has removed."""
        decided = self.log.decided
        repeated = [ev.Record(n, self.history.time, decided[n]) for n in calls if n in decided]
        self._records = [*repeated, *self._records]

    def _note(self, record: ev.Record) -> None:
        """Add a line to the worker's log."""
        event = record.event
        if type(event) not in NOTED_IN_DETAIL:
            return
        retry = None
        if isinstance(event, ev.TimerCreated):
            if event.retry_of is None:
                return
            retry = self._executor.find_retry(record.n)
        answered = answered_decision(event)
        call: Any = self.log.decided.get(answered) if answered else None
        started = self._executor.started
        is_child, began = started.parent is not None, self.history.began
        self._notes.append(
            InstanceNote(started.instance, started.name, is_child, began, record.at, record.n, event, call, retry)
        )


def _expected(history: ForeignHistory) -> list[ev.Record]:
    """The decisions of the history, with the end of an execution that has ended by itself."""
    ended = history.ended
    if ended not in ("Completed", "Failed"):
        return history.decisions
    return [*history.decisions, ev.Record(history.last_id + 1, history.time, ev.ExecutionCompleted(ended))]
