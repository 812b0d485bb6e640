"""A stage for one orchestrator function: arrivals in, decisions out, and after each step the same again by replay."""

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
from durablecli.replay.replay import replay
from durablecli.replay.runtime_state import RuntimeState, fold_history

START = datetime(2026, 11, 22, 9, tzinfo=UTC)


def no_signatures(name: str) -> Any:
    return Any


class Stage:
    """Feeds a live machine, keeps the history, and holds a replayed machine against it after every arrival."""

    def __init__(
        self, function: Callable[[Any], Any], input: Any = None, *, check: bool = True, **started: Any
    ) -> None:
        self.function = function
        self.records: list[ev.Record] = []
        self.now = START
        self.check = check
        self.ledger = RuntimeState(keep_turns=True)
        start = ev.ExecutionStarted("tour-7", "2a", "tour", encode(input), **started)
        self.machine = OrchestrationExecutor(function, start, no_signatures)
        self.first = self.feed(start)

    def feed(self, event: ev.AnyEvent) -> list[str]:
        """Apply one arrival; the decisions that follow, in short."""
        arrival = self._note(event)
        return self._turn(arrival)

    def hold(self, event: ev.Arrival) -> ev.Record:
        return self._note(replace(event, held=True))

    def release(self, arrival: ev.Record) -> list[str]:
        """Apply what was held."""
        self._note(ev.OrchestratorStarted(arrival.n))
        return self._turn(arrival)

    def _note(self, event: ev.AnyEvent) -> ev.Record:
        record = ev.Record(len(self.records) + 1, self.now, event)
        self.records.append(record)
        self.ledger.apply(record)
        return record

    def _turn(self, arrival: ev.Record) -> list[str]:
        decided = self.machine.apply(arrival, self.now, len(self.records) + 1)
        for record in decided:
            self.records.append(record)
            self.ledger.apply(record)
        if self.check:
            self.replay()
        return [short(record) for record in decided]

    def replay(self, function: Callable[[Any], Any] | None = None) -> OrchestrationExecutor:
        """Build the machine from the history; it decides nothing more, and the ledger says the same as the live one."""
        ledger = fold_history(self.records)
        assert ledger.open_decisions == self.ledger.open_decisions
        assert ledger.locks == self.ledger.locks
        assert ledger.status == self.ledger.status
        machine, fresh = replay(function or self.function, ledger, no_signatures)
        assert fresh == []
        assert machine.ended == self.machine.ended
        assert machine.unread_events() == self.machine.unread_events()
        machine.close()
        return machine

    # ── arrivals, in short ─────────────────────────────────────────────────────────────────────────────────────────

    def done(self, task: int, result: Any = None) -> list[str]:
        return self.feed(ev.TaskCompleted(task, encode(result)))

    def failed(self, task: int, message: str = "no", kind: str = "builtins.ValueError") -> list[str]:
        return self.feed(ev.TaskFailed(task, Failure(kind, message, ("builtins.Exception",))))

    def fired(self, timer: int) -> list[str]:
        created = self.ledger.open_decisions[timer]
        assert isinstance(created, ev.TimerCreated)
        self.now = max(self.now, created.fire_at)
        return self.feed(ev.TimerFired(timer))

    def event(self, name: str, value: Any = None) -> list[str]:
        return self.feed(ev.EventRaised(name, encode(value)))

    def child_done(self, task: int, result: Any = None) -> list[str]:
        return self.feed(ev.SubOrchestrationInstanceCompleted(task, encode(result)))

    def child_failed(self, task: int, message: str = "no") -> list[str]:
        return self.feed(ev.SubOrchestrationInstanceFailed(task, Failure("builtins.ValueError", message)))

    def answered(self, task: int, result: Any = None) -> list[str]:
        return self.feed(ev.EntityOperationCompleted(task, encode(result)))

    def refused(self, task: int, message: str = "no") -> list[str]:
        return self.feed(ev.EntityOperationFailed(task, Failure("builtins.ValueError", message)))

    def granted(self, task: int) -> list[str]:
        return self.feed(ev.EntityLockGranted(task))

    @property
    def output(self) -> Any:
        assert self.ledger.status == "Completed", self.ledger.failure or self.ledger.status
        return msgspec.json.decode(self.ledger.result)

    @property
    def error(self) -> str:
        assert self.ledger.failure is not None, self.ledger.status
        return self.ledger.failure.message


def short(record: ev.Record) -> str:
    """`3 TaskScheduled F1 "x"`: the number, the kind, and what a reader wants to see of it."""
    n, at, event = record
    parts = [str(n), type(event).__name__]
    match event:
        case ev.TaskScheduled():
            parts += [event.name, text(event.input)]
        case ev.SubOrchestrationInstanceCreated():
            parts += [event.name, event.instance, text(event.input)]
        case ev.TimerCreated():
            parts.append(f"+{event.fire_at - at}")
        case ev.TimerCanceled():
            parts.append(str(event.timer))
        case ev.EventAwaited():
            parts.append(event.name)
        case ev.EventSent():
            parts += [event.instance, event.name, text(event.input)]
        case ev.EntityOperationCalled() | ev.EntityOperationSignaled():
            parts += [event.entity, event.name, text(event.input)]
        case ev.EntityLockRequested():
            parts += event.entities
        case ev.EntityUnlockSent():
            parts.append(str(event.lock))
        case ev.CustomStatusSet():
            parts.append(text(event.status))
        case ev.ContinueAsNew():
            parts.append(text(event.input))
        case ev.ExecutionCompleted(status="Failed"):
            parts += ["Failed", event.failure.message if event.failure else ""]
        case ev.ExecutionCompleted():
            parts += [event.status, text(event.result)]
    if getattr(event, "retry_of", None):
        parts.append(f"of {event.retry_of}")  # type: ignore[union-attr]
    return " ".join(parts)


def text(raw: msgspec.Raw) -> str:
    return bytes(raw).decode() if raw else ""


def play(stage: Stage, steps: Iterable[tuple[Callable[[], list[str]], list[str]]]) -> None:
    for step, expected in steps:
        assert step() == expected


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)
