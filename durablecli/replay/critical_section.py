"""Critical sections: what an orchestration may do while it holds the locks of entities, or waits for them.

All locks of a section are requested, granted and released together, so two orchestrations can't wait for each other.
Every rule here serves that: the holder of locks calls only the locked entities, with one call each at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NoReturn, Protocol

from durablecli.model.entity_id import EntityId, to_entity_id
from durablecli.replay.tasks import Task, TaskOwner

MAX_LOCKS = 100
NESTED = "Must not enter another critical section from within a critical section."
SIGNAL_TO_LOCKED = "Must not signal a locked entity from a critical section."
CALL_PENDING = "Must not call an entity from a critical section while a prior call to the same entity is still pending."
CALL_OF_OTHERS = "Must not call an entity from a critical section if it is not one of the locked entities."
CALL_BEFORE_GRANT = "Must not call an entity while the request for its lock is pending: yield the lock first."
CHILD_WITH_LOCKS = "While holding locks, cannot call suborchestrators."


class LockOwner(TaskOwner, Protocol):
    """What a critical section needs of the executor that made it."""

    def release_locks(self, section: CriticalSection) -> None: ...


class CriticalSection:
    """The locks of some entities, held until the end of the `with` block, or until `release()`.

    Raises RuntimeError for anything that isn't allowed meanwhile, before it is recorded.
    """

    __slots__ = ("_calls", "_entity_ids", "_lock_task", "_owner", "_released", "entities", "id")

    def __init__(self, owner: LockOwner, id: int, entities: tuple[EntityId, ...]) -> None:
        self.id = id
        self.entities = entities
        self._owner = owner
        self._entity_ids = frozenset(map(str, entities))
        self._calls: dict[str, Task[Any]] = {}
        self._released = False
        self._lock_task: LockTask | None = None

    def create_lock_task(self) -> LockTask:
        """Make the task that waits for the locks."""
        self._lock_task = LockTask(self._owner, self)
        return self._lock_task

    def grant(self) -> None:
        """Complete the request: all locks are held."""
        lock_task, self._lock_task = self._lock_task, None
        if lock_task is not None:
            lock_task.grant()

    def release(self) -> None:
        """Release the locks, or cancel the request for them. A second call does nothing."""
        if not self._released:
            self._released = True
            self._lock_task = None
            self._owner.release_locks(self)

    def __enter__(self) -> CriticalSection:
        if self._released:
            raise RuntimeError("the critical section has ended: call lock_entities again")
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def close(self) -> None:
        """Let go of the request: the executor is closed, and the execution continues elsewhere."""
        self._lock_task = None

    # ── the rules, from the request to the release ───────────────────────────────────────────────────────────────

    @property
    def is_held(self) -> bool:
        """Whether the locks are granted."""
        return self._lock_task is None

    def check_signal(self, entity: str) -> None:
        """Raise if a signal goes to one of its entities."""
        if entity in self._entity_ids:
            raise RuntimeError(SIGNAL_TO_LOCKED)

    def check_call(self, entity: str) -> None:
        """Raise if a call could wait forever, or goes to an entity that isn't locked."""
        if not self.is_held:
            if entity in self._entity_ids:
                raise RuntimeError(CALL_BEFORE_GRANT)
        elif entity not in self._entity_ids:
            raise RuntimeError(CALL_OF_OTHERS)
        elif (prior := self._calls.get(entity)) is not None and not prior.is_completed:
            raise RuntimeError(CALL_PENDING)

    def add_call(self, entity: str, task: Task[Any]) -> None:
        """Note a call that passed check_call."""
        self._calls[entity] = task

    def check_child(self) -> None:
        """Raise for a sub-orchestration, which its parent's locks could block."""
        if self.is_held:
            raise RuntimeError(CHILD_WITH_LOCKS)


class LockTask(Task[CriticalSection]):
    """A request for locks. Its value is the critical section: `with (yield context.lock_entities([…])):`."""

    __slots__ = ("_section", "is_cancelled")

    def __init__(self, owner: TaskOwner, section: CriticalSection) -> None:
        super().__init__(owner, section.id)
        self.is_cancelled = False
        self._section = section

    def grant(self) -> None:
        """Complete, because all locks are held."""
        self._complete(self._section)

    def cancel(self) -> None:
        """Cancel the request. Raises ValueError if the locks were granted or the request was cancelled already."""
        if self._done:
            raise ValueError("Cannot cancel a completed task.")
        self._section.release()
        self.is_cancelled = True
        self._fail()

    def _make_error(self) -> BaseException:
        return RuntimeError("the request for locks was cancelled")

    def __enter__(self) -> NoReturn:
        raise TypeError("the locks aren't held yet: write `with (yield context.lock_entities(…)):`, or `with await`")

    def __exit__(self, *error: object) -> None:
        """Exists so that `with` reaches the hint above."""


# ── naming entities ──────────────────────────────────────────────────────────────────────────────────────────────────


def to_entity_id_text(entity: EntityId | str) -> str:
    """Return the id of an entity as `@name@key`; raises UsageError."""
    return _parse_entity_id_text(entity) if type(entity) is str else str(to_entity_id(entity))


@lru_cache(16_384)
def _parse_entity_id_text(text: str) -> str:
    return str(to_entity_id(text))


def to_lock_order(given: Iterable[EntityId | str]) -> tuple[EntityId, ...]:
    """Return 1 to 100 entities in locking order, each once; raises ValueError."""
    if isinstance(given, str | EntityId):
        raise ValueError(f"lock_entities takes a list of entities: lock_entities([{given!r}])")
    entities = tuple(sorted({to_entity_id(each) for each in given}))
    if not 1 <= len(entities) <= MAX_LOCKS:
        raise ValueError(f"a critical section locks 1 to {MAX_LOCKS} entities, not {len(entities)}")
    return entities
