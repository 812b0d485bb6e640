"""The exceptions that stop a turn from outside of user code. No `except Exception` can swallow one."""

from __future__ import annotations

import re

from durablecli.model import events as ev

NON_DETERMINISM_ADVICE = "restore the code that this instance began with, or terminate it and start it again"


class NonDeterminismError(BaseException):
    """The code and its history differ: the text shows both sides."""

    def __init__(self, record: ev.Record | None, now: ev.Event | None, line: str, what: str | None = None) -> None:
        where = f" at record {record.n}" if record else ", which ends here"
        pair = record is not None and type(record.event) is type(now) and type(now) in _CANCELLING_DECISIONS
        now_text = what or (describe_decision(now, with_cancelled=pair) if now else "nothing more")
        super().__init__(
            f"non-deterministic orchestrator: the code and its history differ{where}\n"
            f"history  {describe_decision(record.event, with_cancelled=pair) if record else 'nothing more'}\n"
            f"now      {now_text} ({line})\n"
            f"{NON_DETERMINISM_ADVICE}"
        )


class TooManyDecisions(BaseException):
    """One turn made more decisions than any sensible code makes."""


class ExecutorClosed(BaseException):
    """The executor is closed: its function may clean up, but what it decides or logs doesn't count."""


_address = re.compile(r" at 0x[0-9A-Fa-f]+")
_ENTITY_DECISIONS = frozenset({ev.EntityOperationCalled, ev.EntityOperationSignaled, ev.EntityLockRequested})
_CANCELLING_DECISIONS = frozenset({ev.TimerCanceled, ev.TaskCanceled, ev.EntityUnlockSent})


def is_same_decision(recorded: ev.Event, now: ev.Event) -> bool:
    """Whether a replay takes two decisions for the same: by kind, name, entities, and the decision that they cancel."""
    kind = type(now)
    if type(recorded) is not kind:
        return False
    then: str = getattr(recorded, "name", "")
    name: str = getattr(now, "name", "")
    if then != name and then.casefold() != name.casefold():
        return False
    if kind in _CANCELLING_DECISIONS and _cancelled_decision(recorded) != _cancelled_decision(now):
        return False
    return kind not in _ENTITY_DECISIONS or _entity_ids(recorded) == _entity_ids(now)


def describe_decision(event: ev.Event, *, with_cancelled: bool = False) -> str:
    """Describe a decision: its kind, name and entities; also the decision that it cancels, if asked for."""
    if isinstance(event, ev.ExecutionCompleted) and event.failure is not None:
        return f"ExecutionCompleted {event.status}: {_one_line(event.failure.message):.500}"
    name = getattr(event, "name", None)
    entities = ", ".join(_entity_ids(event))
    taken_back = _cancelled_decision(event) if with_cancelled else 0
    words = (type(event).__name__, name, entities and name and "of", entities, taken_back and f"of record {taken_back}")
    return " ".join(word for word in words if word)


def _one_line(message: str) -> str:
    """Remove addresses, which differ from process to process, so that the same reason is recorded once."""
    return " ".join(_address.sub("", message).split())


def _entity_ids(event: ev.Event) -> tuple[str, ...]:
    entity: str | None = getattr(event, "entity", None)
    return getattr(event, "entities", ()) if entity is None else (entity,)


def _cancelled_decision(event: ev.Event) -> int:
    """The number of the decision that this one cancels; 0 if there is none."""
    if isinstance(event, ev.TimerCanceled):
        return event.timer
    if isinstance(event, ev.TaskCanceled):
        return event.task
    return event.lock if isinstance(event, ev.EntityUnlockSent) else 0
