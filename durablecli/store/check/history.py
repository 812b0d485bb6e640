"""The checker of one history: invariants that hold for every workflow. It shares no code with the folds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import UnionType

from durablecli.model import events as ev
from durablecli.model.codec import CorruptLine, crc_seed, decode_record
from durablecli.model.entity_id import is_entity_id
from durablecli.store.check.entity_log import EntityLogChecker

_AnswerableDecision = (
    ev.TaskScheduled
    | ev.TimerCreated
    | ev.SubOrchestrationInstanceCreated
    | ev.EntityOperationCalled
    | ev.EntityLockRequested
)
_CANCELABLE = ev.TaskScheduled | ev.SubOrchestrationInstanceCreated | ev.TimerCreated
"""What a TaskCanceled may name: an attempt of a call, or the timer before one."""


def check_history(instance: str, execution: str, lines: Iterable[bytes], first_n: int = 1) -> Iterator[tuple[int, str]]:
    """Yield the problems (`n` of the record and a reason) of lines whose crc and number are valid.

    `first_n` is the `n` of the first line.
    """
    start = crc_seed(instance, execution)
    checker = EntityLogChecker(instance) if is_entity_id(instance) else _HistoryChecker()
    n, remaining = first_n - 1, iter(lines)
    while True:
        n += 1
        try:
            line = next(remaining, None)
            if line is None:
                return
            record = decode_record(line, start)
        except CorruptLine as error:
            yield n, f"is whole, and can't be read: {error}"
            return
        yield from ((n, reason) for reason in checker.check(record))


class _HistoryChecker:
    def __init__(self) -> None:
        self.decided: dict[int, _AnswerableDecision] = {}
        self.answered: dict[int, int] = {}
        self.unlocked: dict[tuple[int, str | None], int] = {}
        """The records that gave back locks, by the request; those of remote code also by the entity."""
        self.held_outcomes: set[int] = set()
        """Timers and calls whose outcome was held back: a turn before it may still cancel them."""
        self.completed_at_n = 0

    def check(self, record: ev.Record) -> Iterator[str]:
        n, event = record.n, record.event
        if (n == 1) != isinstance(event, ev.ExecutionStarted):
            yield "is the first, and no ExecutionStarted" if n == 1 else "is a second ExecutionStarted"
        if isinstance(event, _AnswerableDecision):
            self.decided[n] = event
        elif isinstance(event, ev.ExecutionCompleted):
            if self.completed_at_n:
                yield f"completes the execution a second time, after n {self.completed_at_n}"
            self.completed_at_n = n
        elif isinstance(event, ev.ExecutionRewound):
            self.forget_rewound(event)
        elif isinstance(event, ev.EntityUnlockSent):
            yield from self.check_unlock(n, event)
        else:
            yield from self.check_answer(record)

    def check_answer(self, record: ev.Record) -> Iterator[str]:
        n, at, event = record.n, record.at, record.event
        task, kind = _answered_decision(event)
        if kind is None:
            return
        cancels = isinstance(event, ev.TimerCanceled | ev.TaskCanceled)
        asked = self.decided.get(task)
        if not isinstance(asked, kind):
            yield f"answers n {task}, which is no open {getattr(kind, '__name__', 'call')}"
        elif task in self.answered and not (cancels and task in self.held_outcomes):
            yield f"answers n {task} a second time, after n {self.answered[task]}"
        elif isinstance(asked, ev.TimerCreated) and isinstance(event, ev.TimerFired) and at < asked.fire_at:
            yield f"fires the timer of n {task} before {asked.fire_at:%Y-%m-%d %H:%M:%S.%fZ}"
        self.answered[task] = n
        if getattr(event, "held", False):
            self.held_outcomes.add(task)
        else:
            self.held_outcomes.discard(task)

    def check_unlock(self, n: int, event: ev.EntityUnlockSent) -> Iterator[str]:
        """Check that locks are given back once. Remote code does it for each entity, and names the request by itself;
        if that isn't known any more, as for the second entity after a crash, `lock` is 0."""
        lock, entity = event.lock, event.entity
        if not lock and event.request is not None:
            return
        asked, key = self.decided.get(lock), (lock, entity)
        if not isinstance(asked, ev.EntityLockRequested):
            yield f"gives back the locks of n {lock}, which is no EntityLockRequested"
        elif entity is not None and entity not in asked.entities:
            yield f"gives back the lock of {entity}, for which n {lock} didn't ask"
        elif key in self.unlocked:
            what = "the locks" if entity is None else f"the lock of {entity}"
            yield f"gives back {what} of n {lock} a second time, after n {self.unlocked[key]}"
        self.unlocked[key] = n

    def forget_rewound(self, event: ev.ExecutionRewound) -> None:
        self.completed_at_n = 0
        for n in event.void:
            self.decided.pop(n, None)
        gone = {*event.forgotten, *event.void}
        self.answered = {task: n for task, n in self.answered.items() if n not in gone and task not in gone}


def _answered_decision(event: ev.AnyEvent) -> tuple[int, type[_AnswerableDecision] | UnionType | None]:
    """Return the decision that an event answers, and the kind it must have."""
    match event:
        case ev.TaskCompleted() | ev.TaskFailed():
            return event.task, ev.TaskScheduled
        case ev.SubOrchestrationInstanceCompleted() | ev.SubOrchestrationInstanceFailed():
            return event.task, ev.SubOrchestrationInstanceCreated
        case ev.EntityOperationCompleted() | ev.EntityOperationFailed():
            return event.task, ev.EntityOperationCalled
        case ev.EntityLockGranted():
            return event.task, ev.EntityLockRequested
        case ev.TimerFired() | ev.TimerCanceled():
            return event.timer, ev.TimerCreated
        case ev.TaskCanceled():
            return event.task, _CANCELABLE
        case _:
            return 0, None
