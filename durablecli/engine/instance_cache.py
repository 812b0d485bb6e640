"""The cache of instances and entities: the least recently used are evicted, and read from their files when needed.

An executor can be dropped at any time, as it is a function of the history. It is rebuilt from the file and from
`unpublished`, the lines that are decided and not yet in the file.
"""

from __future__ import annotations

from collections import OrderedDict
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
from durablecli.store.history.known_files import KnownFiles
from durablecli.store.journal.commits import HistoryWrite
from durablecli.store.quarantine import Quarantine

_L = TypeVar("_L", RuntimeState, EntityRuntimeState)
_CRC_LENGTH = len(',"crc":"01234567"}')


class CachedHistory:
    """A cached instance or entity. `unpublished` holds, with the number of its commit, what isn't in its file yet.

    `write` collects its lines for commit `write_commit`.
    """

    __slots__ = ("id", "seed", "unpublished", "write", "write_commit")

    def __init__(self, id: str, execution: str) -> None:
        self.id = id
        self.unpublished: list[tuple[int, HistoryWrite]] = []
        self.write: HistoryWrite | None = None
        self.write_commit = 0
        self.seed = codec.crc_seed(id, execution)

    def mark_published(self, commit: int) -> None:
        """Forget what commits up to this one have written: it is in the file."""
        if self.write_commit <= commit:
            self.unpublished.clear()
        else:
            self.unpublished = [each for each in self.unpublished if each[0] > commit]


class CachedInstance(CachedHistory):
    """A cached orchestration: its runtime state, and its executor while that is live.

    `incomplete` marks one whose last turn a crash has cut off. `carried` are the events that a remote orchestrator
    carries over into its next execution.
    """

    __slots__ = ("carried", "executor", "incomplete", "runtime_state")

    def __init__(self, id: str, execution: str, runtime_state: RuntimeState) -> None:
        super().__init__(id, execution)
        self.runtime_state = runtime_state
        self.executor: OrchestrationExecutor | None = None
        self.incomplete = False
        self.carried: tuple[ev.EventRaised, ...] = ()

    def reset(self, execution: str, *, keep_turns: bool = False) -> None:
        """Begin a new execution, and forget the old one."""
        self.drop_executor()
        self.runtime_state = RuntimeState(keep_turns=keep_turns)
        self.unpublished.clear()
        self.incomplete = False
        self.carried = ()
        self.write = None
        self.seed = codec.crc_seed(self.id, execution)

    def drop_executor(self) -> None:
        executor, self.executor = self.executor, None
        if executor is not None:
            executor.close()


class CachedEntity(CachedHistory):
    """A cached entity. `running_upto` is the last operation of the batch that is running, 0 if there is none."""

    __slots__ = ("compact_at", "running_upto", "runtime_state")

    def __init__(self, id: str, execution: str, runtime_state: EntityRuntimeState) -> None:
        super().__init__(id, execution)
        self.runtime_state = runtime_state
        self.running_upto = 0
        self.compact_at = 0
        """The size of the log from which compaction is considered again."""

    def reset(self) -> None:
        """Begin the log, and its file, again with the next record."""
        self.runtime_state = EntityRuntimeState()
        self.write = None


class InstanceCache:
    """The cache. `read` returns the history of an instance, `path` its file; `incomplete_turns` names the instances
    whose last turn a crash has cut off.

    A quarantined instance isn't in the cache: `get` and `get_entity` return None for it, as for one that doesn't exist.
    The caller must check `is_quarantined`, and keep what is sent to it (`DecisionApplier.quarantine_arrival`).
    """

    def __init__(
        self,
        read: Callable[[str], History | None],
        path: Callable[[str], str],
        incomplete_turns: set[str],
        max_size: int,
        quarantine: Quarantine,
        read_line: Callable[[bytes], bytes] = lambda line: line,
        echo: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._read = read
        self._path = path
        self._known_files: KnownFiles | None = None
        self.incomplete_turns = incomplete_turns
        self._max_size = max_size
        self._quarantine = quarantine
        self._read_line = read_line
        self._echo = echo
        self._cached: dict[str, CachedInstance | CachedEntity] = {}
        self._by_last_use: OrderedDict[str, None] = OrderedDict()
        """The ids of what may be evicted, the least recently used first. What isn't published is missing; what runs a
        batch or is pinned may be there, and eviction takes it out until its next use."""
        self.purged: set[str] = set()
        self._pinned: CachedInstance | None = None

    def quarantine(self, id: str, reason: str) -> None:
        """Leave an instance or entity alone from now on; all others continue.

        For a failure that concerns one instance alone: a damaged history, or an unexpected error in one of its turns.
        `reason` is a line for people; `list`, `status` and `doctor` show it. The instance leaves the cache, and nothing
        is written to its history. What is sent to it is kept, and delivered once an engine that opens the hub can use
        the instance again.
        """
        if id not in self._quarantine:
            self._quarantine.add(id, reason)
            self._echo(f"{id} is quarantined: {reason}; all other instances continue")
        self.evict(id)

    def is_quarantined(self, id: str) -> bool:
        """Whether an instance or entity is quarantined. Certain only after a `get`, which may quarantine it."""
        return bool(self._quarantine) and id in self._quarantine

    def release_from_quarantine(self, id: str) -> None:
        """End the quarantine of an instance that is purged or replaced."""
        self._quarantine.discard(id)

    def get(self, id: str) -> CachedInstance | None:
        """The instance, read from its file if it isn't cached; None if there is none."""
        instance = self._cached.get(id)
        if isinstance(instance, CachedInstance):
            self._mark_used(instance)
            return instance
        history = None if is_entity_id(id) else self._read_history(id)
        state = None if history is None else self._fold_or_quarantine(id, history, _fold)
        if state is None:
            return None
        instance = CachedInstance(id, state.execution, state)
        instance.incomplete = id in self.incomplete_turns
        self._add(instance)
        return instance

    def get_entity(self, id: str) -> CachedEntity | None:
        """The entity, read from its file if it isn't cached; None if nothing was ever sent to it."""
        entity = self._cached.get(id)
        if isinstance(entity, CachedEntity):
            self._mark_used(entity)
            return entity
        history = self._read_history(id)
        state = None if history is None else self._fold_or_quarantine(id, history, _fold_entity)
        if state is None:
            return None
        entity = CachedEntity(id, state.execution, state)
        self._add(entity)
        return entity

    def _read_history(self, id: str) -> History | None:
        if id in self.purged or self.is_quarantined(id):  # if purged, its file may not be removed yet
            return None
        if self._known_files is not None and not self._known_files.may_exist(self._path(id)):
            return None
        try:
            history = self._read(id)
        except DamagedHub as error:
            self.quarantine(id, str(error))
            return None
        return history if history is not None and history.lines else None

    def _fold_or_quarantine(self, id: str, history: History, fold: Callable[[History], _L]) -> _L | None:
        """The runtime state of a history; None if it can't be folded, and the instance is quarantined for that."""
        try:
            return fold(history)
        except Exception as error:  # noqa: BLE001 - valid lines that are no valid history may break the fold anywhere
            self.quarantine(id, f"{self._path(id)} can't be read as a history: {type(error).__name__}: {error}")
            return None

    def set_known_files(self, files: KnownFiles) -> None:
        """From now on read only the histories whose files exist."""
        self._known_files = files

    def add(self, id: str, execution: str) -> CachedInstance:
        """Add a new instance, of which nothing is recorded yet."""
        instance = CachedInstance(id, execution, RuntimeState())
        self._add(instance)
        return instance

    def add_entity(self, id: str, execution: str) -> CachedEntity:
        """Add a new entity, of which nothing is recorded yet."""
        entity = CachedEntity(id, execution, EntityRuntimeState())
        self._add(entity)
        return entity

    def _add(self, entry: CachedInstance | CachedEntity) -> None:
        self._cached[entry.id] = entry
        self._mark_used(entry)

    def _mark_used(self, entry: CachedHistory) -> None:
        if not entry.unpublished:
            self._by_last_use[entry.id] = None
            self._by_last_use.move_to_end(entry.id)

    @property
    def cached_count(self) -> int:
        """The number of instances and entities in memory."""
        return len(self._cached)

    def get_cached(self, id: str) -> CachedInstance | None:
        instance = self._cached.get(id)
        return instance if isinstance(instance, CachedInstance) else None

    def is_cached(self, entry: CachedHistory) -> bool:
        """Whether this very object is in the cache."""
        return self._cached.get(entry.id) is entry

    def read_records(self, instance: CachedInstance) -> list[ev.Record] | None:
        """Read all records of an instance's execution, from the file and the unpublished lines.

        None if the file is damaged; the instance is quarantined then.
        """
        unpublished = [write for _, write in instance.unpublished]
        records: list[ev.Record] = []
        if not unpublished or unpublished[0].first > 1:
            try:
                history = self._read(instance.id)
            except DamagedHub as error:
                self.quarantine(instance.id, str(error))
                return None
            if history is not None and history.execution == instance.runtime_state.execution:
                records = list(decode_records(history.lines))
        for write in unpublished:
            last = records[-1].n if records else 0
            unpublished_records = self._decode_unpublished(instance.id, write)
            if unpublished_records is None:
                return None
            records += [record for record in unpublished_records if record.n > last]
        return records

    def _decode_unpublished(self, id: str, write: HistoryWrite) -> list[ev.Record] | None:
        """Decode lines that aren't in their file yet; None if a spilled one can't be read, and the instance is
        quarantined for that."""
        try:
            return decode_records([self._read_line(line) for line in write.lines])
        except codec.CorruptLine as error:
            self.quarantine(id, f"{self._path(id)}: a record is damaged: {error}")
            return None

    def reread(self, instance: CachedInstance) -> bool:
        """Fold the runtime state again with its turns, from the file and the unpublished lines.

        False if the file is damaged; the instance is quarantined then.
        """
        unpublished = instance.unpublished
        if unpublished and unpublished[0][1].first == 1:
            history = None  # all of it is here; the file may be that of an earlier execution, and damaged
        else:
            try:
                history = self._read(instance.id)
            except DamagedHub as error:
                self.quarantine(instance.id, str(error))
                return False
        state: RuntimeState | None = RuntimeState(keep_turns=True)
        if history is not None and history.execution == instance.runtime_state.execution:
            state = self._fold_or_quarantine(instance.id, history, _fold)
        if state is None:
            return False
        for _, write in unpublished:
            unpublished_records = self._decode_unpublished(instance.id, write)
            if unpublished_records is None:
                return False
            for record in unpublished_records:
                if record.n > state.last_n:
                    state.apply(record)
        state.size = instance.runtime_state.size
        instance.runtime_state = state
        return True

    def pin(self, instance: CachedInstance) -> None:
        """Never evict this instance: records that are still to be written are numbered for its very runtime state."""
        self._pinned = instance

    def unpin(self) -> None:
        pinned, self._pinned = self._pinned, None
        if pinned is not None:
            self.allow_eviction(pinned)

    def allow_eviction(self, entry: CachedHistory) -> None:
        """Note that nothing of this entry is unpublished any more, so that it may be evicted.

        An instance without an executor, such as one whose start waits, goes first: reading it again costs no replay.
        """
        if self.is_cached(entry) and not entry.unpublished:
            self._mark_used(entry)
            if isinstance(entry, CachedInstance) and entry.executor is None:
                self._by_last_use.move_to_end(entry.id, last=False)

    def forbid_eviction(self, ids: Iterable[str]) -> None:
        """Note that these instances and entities have unpublished records."""
        for id in ids:
            self._by_last_use.pop(id, None)

    def evict(self, id: str) -> None:
        instance = self._cached.pop(id, None)
        self._by_last_use.pop(id, None)
        if instance is not None and self._known_files is not None:
            self._known_files.add(self._path(id))  # from now on it is looked for there
        if isinstance(instance, CachedInstance):
            instance.drop_executor()

    def drop_executors(self) -> int:
        """Drop all executors: the next turn of each instance replays its history. Not while a turn is being split.

        Returns the number of executors.
        """
        count = 0
        for entry in self._cached.values():
            if isinstance(entry, CachedInstance) and entry.executor is not None:
                entry.drop_executor()
                count += 1
        return count

    def finish_purge(self, id: str) -> None:
        """Note that the file of a purged instance is removed, or will be replaced."""
        self.purged.discard(id)
        if self._known_files is not None:
            self._known_files.count_removed(self._path(id))

    def clear(self) -> None:
        """Drop everything, to be read again from the files. Everything must be published."""
        self.close()
        self.purged.clear()

    def evict_unused(self) -> None:
        """Evict the least recently used beyond the limit, but none that is pinned, runs a batch, or isn't published.

        What isn't published doesn't count: the publisher bounds it, and it mustn't replace what has an executor.
        """
        order = self._by_last_use
        while len(order) > self._max_size:
            id, _ = order.popitem(last=False)
            if not self._is_in_use(self._cached[id]):
                self.evict(id)

    def _is_in_use(self, entry: CachedInstance | CachedEntity) -> bool:
        busy = entry.running_upto > 0 if isinstance(entry, CachedEntity) else entry is self._pinned
        return busy or bool(entry.unpublished)

    def close(self) -> None:
        for id in list(self._cached):
            self.evict(id)


def _fold(history: History) -> RuntimeState:
    state = RuntimeState(keep_turns=True)
    for record in decode_records(history.lines):
        state.apply(record)
    state.size = history.size
    return state


def _fold_entity(history: History) -> EntityRuntimeState:
    return fold_entity_log(decode_records(history.lines), history.size)


def decode_records(lines: list[bytes]) -> list[ev.Record]:
    """Decode lines whose checksums have been verified."""
    return [codec.decode_record_body(line[:-_CRC_LENGTH]) for line in lines]
