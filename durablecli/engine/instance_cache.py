"""The instances and entities an engine has in mind, the longest unused of them dropped and read again.

A machine can be dropped at any time: it is a function of its history. What a dropped one is rebuilt from is the file
and `recent`, the records that are decided and not yet in the file.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from durablecli.errors import DamagedHub
from durablecli.model import codec
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.replay.entity_state import EntityRuntimeState, fold_entity_log
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.runtime_state import RuntimeState
from durablecli.store.history.file import History
from durablecli.store.journal.commits import HistoryWrite
from durablecli.store.quarantine import Quarantine

_L = TypeVar("_L", RuntimeState, EntityRuntimeState)
_CRC_LENGTH = len(',"crc":"01234567"}')


class CachedHistory:
    """Whatever has a history of its own. `recent` holds (commit, record) of what isn't in the file yet.

    `write` is where its lines of commit `written_in` go.
    """

    __slots__ = ("id", "seed", "unpublished", "write", "write_commit")

    def __init__(self, id: str, execution: str) -> None:
        self.id = id
        self.unpublished: deque[tuple[int, ev.Record]] = deque()
        self.write: HistoryWrite | None = None
        self.write_commit = 0
        self.seed = codec.crc_seed(id, execution)

    def mark_published(self, commit: int) -> None:
        """Everything up to this commit is in the file."""
        recent = self.unpublished
        while recent and recent[0][0] <= commit:
            recent.popleft()


class CachedInstance(CachedHistory):
    """One orchestration in mind: its ledger, and its machine while that is live."""

    __slots__ = ("executor", "incomplete", "runtime_state")

    def __init__(self, id: str, runtime_state: RuntimeState) -> None:
        super().__init__(id, runtime_state.execution)
        self.runtime_state = runtime_state
        self.executor: OrchestrationExecutor | None = None
        self.incomplete = False

    def reset(self, execution: str, *, keep_turns: bool = False) -> None:
        """Make room for a new execution: nothing of the old one counts any more."""
        self.drop_executor()
        self.runtime_state = RuntimeState(keep_turns=keep_turns)
        self.unpublished.clear()
        self.incomplete = False
        self.write = None
        self.seed = codec.crc_seed(self.id, execution)

    def drop_executor(self) -> None:
        machine, self.executor = self.executor, None
        if machine is not None:
            machine.close()


class CachedEntity(CachedHistory):
    """One entity in mind. `running` is the last operation of the batch that is on its way, 0 where none is."""

    __slots__ = ("compact_at", "running_upto", "runtime_state")

    def __init__(self, id: str, execution: str, runtime_state: EntityRuntimeState) -> None:
        super().__init__(id, execution)
        self.runtime_state = runtime_state
        self.running_upto = 0
        self.compact_at = 0
        """The size of the log at which it is worth looking whether it can be made shorter."""

    def reset(self) -> None:
        """Fold anew from the record that comes next, with which the file begins anew."""
        self.runtime_state = EntityRuntimeState()
        self.write = None


class InstanceCache:
    """The cache. `read` gives an instance's history, `path` says where its file is; `torn` names those whose last
    turn a crash cut off.

    An instance that is set aside isn't in the cache, and `get` and `entity` give None for it, as for one that there
    isn't: who asks must tell the two apart with `is_set_aside`, and keep what is sent to it (`Effects.keep`).
    """

    def __init__(
        self,
        read: Callable[[str], History | None],
        path: Callable[[str], str],
        incomplete_turns: set[str],
        max_size: int,
        quarantine: Quarantine,
        echo: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._read = read
        self._path = path
        self._known_files: set[int] | None = None
        self.incomplete_turns = incomplete_turns
        self._max_size = max_size
        self._quarantine = quarantine
        self._echo = echo
        self._cached: OrderedDict[str, CachedInstance | CachedEntity] = OrderedDict()
        self.purged: set[str] = set()
        self._pinned: CachedInstance | None = None

    def quarantine(self, id: str, reason: str) -> None:
        """Leave an instance, or entity, alone from now on, and let the hub go on without it.

        For whatever concerns one instance alone: a history that is damaged or can't be folded, an unexpected error in
        one of its turns. `reason` is a line for people. Nothing is written to its history. The instance leaves the
        cache; what is sent to it is kept, and delivered when an engine opens the hub and can use the instance again:
        each open tries. `list`, `status` and `doctor` show it with the reason.

        In a turn that has written records to the draft already, call `Turns.set_aside`, which says that the turn isn't
        complete.
        """
        if id not in self._quarantine:
            self._quarantine.add(id, reason)
            self._echo(f"{id} is set aside: {reason}; all else goes on")
        self.evict(id)

    def is_quarantined(self, id: str) -> bool:
        """Whether an instance, or entity, is left alone. Known for certain once it was asked for."""
        return bool(self._quarantine) and id in self._quarantine

    def release_from_quarantine(self, id: str) -> None:
        """Forget that an instance is set aside, because it is purged or replaced."""
        self._quarantine.discard(id)

    def get(self, id: str) -> CachedInstance | None:
        """The instance, read from its file where it isn't in mind; None when there is none."""
        instance = self._cached.get(id)
        if isinstance(instance, CachedInstance):
            self._cached.move_to_end(id)
            return instance
        history = None if is_entity_id(id) else self._read_history(id)
        ledger = None if history is None else self._fold_or_quarantine(id, history, _fold)
        if ledger is None:
            return None
        instance = CachedInstance(id, ledger)
        instance.incomplete = id in self.incomplete_turns
        self._cached[id] = instance
        return instance

    def get_entity(self, id: str) -> CachedEntity | None:
        """The entity, read from its file where it isn't in mind; None when nothing was ever sent to it."""
        entity = self._cached.get(id)
        if isinstance(entity, CachedEntity):
            self._cached.move_to_end(id)
            return entity
        history = self._read_history(id)
        ledger = None if history is None else self._fold_or_quarantine(id, history, _fold_entity)
        if ledger is None:
            return None
        entity = self._cached[id] = CachedEntity(id, ledger.execution, ledger)
        return entity

    def _read_history(self, id: str) -> History | None:
        if id in self.purged or self.is_quarantined(id):  # purged, and the file not yet taken away
            return None
        if self._known_files is not None and hash(self._path(id)) not in self._known_files:
            return None
        try:
            history = self._read(id)
        except DamagedHub as error:
            self.quarantine(id, str(error))
            return None
        return history if history is not None and history.lines else None

    def _fold_or_quarantine(self, id: str, history: History, fold: Callable[[History], _L]) -> _L | None:
        """The ledger of a history; None if it can't be folded, for which the instance is set aside."""
        try:
            return fold(history)
        except Exception as error:  # noqa: BLE001 - whole lines that make no history may break the fold anywhere
            self.quarantine(id, f"{self._path(id)} can't be read as a history: {type(error).__name__}: {error}")
            return None

    def set_known_files(self, paths: Iterable[str]) -> None:
        """Remember which histories there are: most ids that are asked for are new, and need no look at the disk."""
        self._known_files = {hash(path) for path in paths}

    def add(self, id: str) -> CachedInstance:
        """A new instance, of which nothing is recorded yet."""
        self._add_known_file(id)
        instance = self._cached[id] = CachedInstance(id, RuntimeState())
        return instance

    def add_entity(self, id: str, execution: str) -> CachedEntity:
        """A new entity, of which nothing is recorded yet."""
        self._add_known_file(id)
        entity = self._cached[id] = CachedEntity(id, execution, EntityRuntimeState())
        return entity

    def _add_known_file(self, id: str) -> None:
        if self._known_files is not None:
            self._known_files.add(hash(self._path(id)))

    def get_cached(self, id: str) -> CachedInstance | None:
        instance = self._cached.get(id)
        return instance if isinstance(instance, CachedInstance) else None

    def is_cached(self, entry: CachedHistory) -> bool:
        """Whether this, and no other of its id, is what is in mind."""
        return self._cached.get(entry.id) is entry

    def reread(self, instance: CachedInstance) -> bool:
        """Fold the ledger again with its script, from the file and what isn't in it yet.

        False if the file is damaged: then the instance is set aside.
        """
        recent = instance.unpublished
        if recent and recent[0][1].n == 1:
            history = None  # all of it is here; the file may be that of an earlier execution, and damaged
        else:
            try:
                history = self._read(instance.id)
            except DamagedHub as error:
                self.quarantine(instance.id, str(error))
                return False
        ledger: RuntimeState | None = RuntimeState(keep_turns=True)
        if history is not None and history.execution == instance.runtime_state.execution:
            ledger = self._fold_or_quarantine(instance.id, history, _fold)
        if ledger is None:
            return False
        for _, record in instance.unpublished:
            if record.n > ledger.last_n:
                ledger.apply(record)
        ledger.size = instance.runtime_state.size
        instance.runtime_state = ledger
        return True

    def pin(self, instance: CachedInstance) -> None:
        """Never evict this instance: records that are still to be written are numbered for its very runtime state."""
        self._pinned = instance

    def unpin(self) -> None:
        self._pinned = None

    def evict(self, id: str) -> None:
        instance = self._cached.pop(id, None)
        if isinstance(instance, CachedInstance):
            instance.drop_executor()

    def clear(self) -> None:
        """Drop everything, to be read again from the files; nothing may be waiting to get there."""
        self.close()
        self.purged.clear()

    def evict_unused(self) -> None:
        """Drop the longest unused beyond the limit; not `kept`, entities at work, nor what isn't in its file yet."""
        excess = len(self._cached) - self._max_size
        if excess <= 0:
            return
        for id in list(self._cached)[: excess + 64]:
            instance = self._cached[id]
            busy = instance.running_upto > 0 if isinstance(instance, CachedEntity) else instance is self._pinned
            if not (instance.unpublished or busy):
                self.evict(id)

    def close(self) -> None:
        for id in list(self._cached):
            self.evict(id)


def _fold(history: History) -> RuntimeState:
    ledger = RuntimeState(keep_turns=True)
    for record in decode_records(history.lines):
        ledger.apply(record)
    ledger.size = history.good_bytes
    return ledger


def _fold_entity(history: History) -> EntityRuntimeState:
    return fold_entity_log(decode_records(history.lines), history.good_bytes)


def decode_records(lines: list[bytes]) -> list[ev.Record]:
    """The records of lines whose crc has been checked."""
    return [codec.decode_record_body(line[:-_CRC_LENGTH]) for line in lines]
