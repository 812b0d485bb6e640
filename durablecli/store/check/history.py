"""The checker of one history: invariants that hold for every workflow. It shares no code with the folds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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


def check_history(instance: str, execution: str, lines: Iterable[bytes], first_n: int = 1) -> Iterator[tuple[int, str]]:
    """Yield the problems (`n` of the record and a reason) of lines whose crc and number are valid.

    `first_n` is the `n` of the first line.
    """
    start = crc_seed(instance, execution)
    checker = EntityLogChecker(instance) if is_entity_id(instance) else _HistoryChecker()
    for n, line in enumerate(lines, first_n):
        try:
            record = decode_record(line, start)
        except CorruptLine as error:
            yield n, f"is whole, and can't be read: {error}"
            return
        yield from ((n, reason) for reason in checker.check(record))


class _HistoryChecker:
    def __init__(self) -> None:
        self.decided: dict[int, _AnswerableDecision] = {}
        self.answered: dict[int, int] = {}
        self.unlocked: dict[int, int] = {}
        self.held_firings: set[int] = set()
        """Timers whose firing was held back: a turn before it may still cancel them."""
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
            yield from self.check_unlock(n, event.lock)
        else:
            yield from self.check_answer(record)

    def check_answer(self, record: ev.Record) -> Iterator[str]:
        n, at, event = record.n, record.at, record.event
        task, kind = _answered_decision(event)
        if kind is None:
            return
        asked = self.decided.get(task)
        if not isinstance(asked, kind):
            yield f"answers n {task}, which is no open {kind.__name__}"
        elif task in self.answered and not (isinstance(event, ev.TimerCanceled) and task in self.held_firings):
            yield f"answers n {task} a second time, after n {self.answered[task]}"
        elif isinstance(asked, ev.TimerCreated) and isinstance(event, ev.TimerFired) and at < asked.fire_at:
            yield f"fires the timer of n {task} before {asked.fire_at:%Y-%m-%d %H:%M:%S.%fZ}"
        self.answered[task] = n
        if isinstance(event, ev.TimerFired) and event.held:
            self.held_firings.add(task)
        else:
            self.held_firings.discard(task)

    def check_unlock(self, n: int, lock: int) -> Iterator[str]:
        if not isinstance(self.decided.get(lock), ev.EntityLockRequested):
            yield f"gives back the locks of n {lock}, which is no EntityLockRequested"
        elif lock in self.unlocked:
            yield f"gives back the locks of n {lock} a second time, after n {self.unlocked[lock]}"
        self.unlocked[lock] = n

    def forget_rewound(self, event: ev.ExecutionRewound) -> None:
        self.completed_at_n = 0
        for n in event.void:
            self.decided.pop(n, None)
        gone = {*event.forgotten, *event.void}
        self.answered = {task: n for task, n in self.answered.items() if n not in gone and task not in gone}


def _answered_decision(event: ev.AnyEvent) -> tuple[int, type[_AnswerableDecision] | None]:
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
        case _:
            return 0, None
