"""What ends a turn from outside of user code. No `except Exception` can swallow one."""

from __future__ import annotations

from durablecli.model import events as ev


class NonDeterminism(BaseException):
    """The code decides otherwise than the history. A BaseException, so that no `except Exception` swallows it."""

    def __init__(self, record: ev.Record | None, now: ev.Event | None, line: str) -> None:
        where = f" at record {record.n}" if record else ", which ends here"
        super().__init__(
            f"the code decides otherwise than the history{where}\n"
            f"history  {describe(record.event) if record else 'nothing more'}\n"
            f"now      {describe(now) if now else 'nothing more'} ({line})"
        )


class Runaway(BaseException):
    """One turn decided more than anybody can mean."""


class Sealed(BaseException):
    """The machine is being dropped: its function may clean up, but decides and says nothing any more."""


_FOR_ENTITIES = frozenset({ev.EntityOperationCalled, ev.EntityOperationSignaled, ev.EntityLockRequested})


def alike(recorded: ev.Event, now: ev.Event) -> bool:
    """Whether two decisions are the same for a replay: in kind and name, and in the entities they are for."""
    if type(recorded) is not type(now):
        return False
    then: str = getattr(recorded, "name", "")
    name: str = getattr(now, "name", "")
    if then != name and then.casefold() != name.casefold():
        return False
    return type(now) not in _FOR_ENTITIES or _entities(recorded) == _entities(now)


def describe(event: ev.Event) -> str:
    """A decision as the non-determinism error shows it: kind and name, and the entities it is for."""
    name = getattr(event, "name", None)
    entities = ", ".join(_entities(event))
    words = (type(event).__name__, name, entities and name and "of", entities)
    return " ".join(word for word in words if word)


def _entities(event: ev.Event) -> tuple[str, ...]:
    entity: str | None = getattr(event, "entity", None)
    return getattr(event, "entities", ()) if entity is None else (entity,)
