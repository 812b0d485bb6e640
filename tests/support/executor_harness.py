"""Runs one orchestrator function: arrivals in, decisions out, and after each arrival the same by replay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.payloads import encode
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.function_marks import UNKNOWN_TRAITS, CalleeTraits
from durablecli.replay.replay import create_executor, replay
from durablecli.replay.runtime_state import RuntimeState, answered_decision, fold_history

START = datetime(2026, 11, 22, 9, tzinfo=UTC)


def no_traits(name: str) -> CalleeTraits:
    return UNKNOWN_TRAITS


class ExecutorHarness:
    """A live executor and its history. After each arrival a replayed executor is compared with it."""

    def __init__(
        self, function: Callable[[Any], Any], input: Any = None, *, check: bool = True, **started: Any
    ) -> None:
        self.function = function
        self.records: list[ev.Record] = []
        self.now = START
        self.check = check
        self.runtime_state = RuntimeState(keep_turns=True)
        start = ev.ExecutionStarted("tour-7", "2a", "tour", encode(input), **started)
        self.executor = create_executor(function, start, no_traits)
        self.first_decisions = self.apply(start)

    def apply(self, event: ev.AnyEvent) -> list[str]:
        """Apply one arrival. Returns the decisions as texts."""
        arrival = self._append(event)
        return self._run_turn(arrival)

    def add_held(self, event: ev.Arrival) -> ev.Record:
        return self._append(replace(event, held=True))

    def release_held(self, arrival: ev.Record) -> list[str]:
        """Apply a held arrival."""
        self._append(ev.OrchestratorStarted(arrival.n))
        return self._run_turn(arrival)

    def _append(self, event: ev.AnyEvent) -> ev.Record:
        record = ev.Record(len(self.records) + 1, self.now, event)
        self.records.append(record)
        self.runtime_state.apply(record)
        return record

    def _run_turn(self, arrival: ev.Record) -> list[str]:
        decided = self.executor.apply(arrival, self.now, len(self.records) + 1)
        for record in decided:
            self.records.append(record)
            self.runtime_state.apply(record)
        if self.check:
            self.replay()
        return [format_record(record) for record in decided]

    def replay(self, function: Callable[[Any], Any] | None = None) -> OrchestrationExecutor:
        """Replay the history: it must give no new decisions, and the same runtime state as the live executor."""
        runtime_state = fold_history(self.records)
        assert runtime_state.open_decisions == self.runtime_state.open_decisions
        assert runtime_state.locks == self.runtime_state.locks
        assert runtime_state.status == self.runtime_state.status
        executor, decisions = replay(function or self.function, runtime_state, no_traits)
        assert decisions == []
        assert executor.ended == self.executor.ended
        assert executor.unread_events() == self.executor.unread_events()
        executor.close()
        return executor

    # ── arrivals ─────────────────────────────────────────────────────────────────────────────────────────────────

    def complete_task(self, task: int, result: Any = None) -> list[str]:
        return self.apply(ev.TaskCompleted(task, encode(result)))

    def fail_task(self, task: int, message: str = "no", kind: str = "builtins.ValueError") -> list[str]:
        return self.apply(ev.TaskFailed(task, Failure(kind, message, ("builtins.Exception",))))

    def fire_timer(self, timer: int) -> list[str]:
        created = self.runtime_state.open_decisions[timer]
        assert isinstance(created, ev.TimerCreated)
        self.now = max(self.now, created.fire_at)
        return self.apply(ev.TimerFired(timer))

    def raise_event(self, name: str, value: Any = None) -> list[str]:
        return self.apply(ev.EventRaised(name, encode(value)))

    def complete_child(self, task: int, result: Any = None) -> list[str]:
        return self.apply(ev.SubOrchestrationInstanceCompleted(task, encode(result)))

    def fail_child(self, task: int, message: str = "no") -> list[str]:
        return self.apply(ev.SubOrchestrationInstanceFailed(task, Failure("builtins.ValueError", message)))

    def complete_operation(self, task: int, result: Any = None) -> list[str]:
        return self.apply(ev.EntityOperationCompleted(task, encode(result)))

    def fail_operation(self, task: int, message: str = "no") -> list[str]:
        return self.apply(ev.EntityOperationFailed(task, Failure("builtins.ValueError", message)))

    def grant_lock(self, task: int) -> list[str]:
        return self.apply(ev.EntityLockGranted(task))

    @property
    def output(self) -> Any:
        assert self.runtime_state.status == "Completed", self.runtime_state.failure or self.runtime_state.status
        return msgspec.json.decode(self.runtime_state.result)

    @property
    def error(self) -> str:
        assert self.runtime_state.failure is not None, self.runtime_state.status
        return self.runtime_state.failure.message


def format_record(record: ev.Record) -> str:
    """`3 TaskScheduled F1 "x"`: the number, the kind, and the main fields."""
    n, at, event = record.n, record.at, record.event
    parts = [str(n), type(event).__name__]
    match event:
        case ev.TaskScheduled():
            parts += [event.name, decode_text(event.input)]
        case ev.SubOrchestrationInstanceCreated():
            parts += [event.name, event.instance, decode_text(event.input)]
        case ev.TimerCreated():
            parts.append(f"+{event.fire_at - at}")
        case ev.TimerCanceled() | ev.TaskCanceled():
            parts.append(str(answered_decision(event)))
        case ev.EventAwaited():
            parts.append(event.name)
        case ev.EventSent():
            parts += [event.instance, event.name, decode_text(event.input)]
        case ev.EntityOperationCalled() | ev.EntityOperationSignaled():
            parts += [event.entity, event.name, decode_text(event.input)]
        case ev.EntityLockRequested():
            parts += event.entities
        case ev.EntityUnlockSent():
            parts.append(str(event.lock))
        case ev.CustomStatusSet():
            parts.append(decode_text(event.status))
        case ev.ContinueAsNew():
            parts.append(decode_text(event.input))
        case ev.ExecutionCompleted(status="Failed"):
            parts += ["Failed", event.failure.message if event.failure else ""]
        case ev.ExecutionCompleted():
            parts += [event.status, decode_text(event.result)]
    if getattr(event, "retry_of", None):
        parts.append(f"of {event.retry_of}")  # type: ignore[union-attr]
    return " ".join(parts)


def decode_text(raw: msgspec.Raw) -> str:
    return bytes(raw).decode() if raw else ""


def run_steps(harness: ExecutorHarness, steps: Iterable[tuple[Callable[[], list[str]], list[str]]]) -> None:
    for step, expected in steps:
        assert step() == expected


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)
