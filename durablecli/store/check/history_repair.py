"""Repairing histories: what is whole is kept, what is lost is asked for again, and nothing is done twice.

All of it is planned before the first file is changed, and what the next engine is to know is written first: a repair
that is interrupted can be run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from msgspec.structs import replace

from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.model.status import InstanceSummary
from durablecli.replay.entity_state import EntityRuntimeState, fold_entity_log
from durablecli.replay.runtime_state import RuntimeState, answered_decision, fold_history
from durablecli.store import deduplication
from durablecli.store.check.correlation import EntityLook, Questions, look
from durablecli.store.check.entity_log_repair import fold_with_gaps, rewritten, with_lock
from durablecli.store.check.salvage import Salvage, salvage
from durablecli.store.deduplication import Applied, Child, Cut
from durablecli.store.disk import Disk
from durablecli.store.history import truncated
from durablecli.store.history.writer import files, owner, path, read, read_file
from durablecli.store.inbox.messages import Item
from durablecli.store.journal.commits import Kept
from durablecli.store.quarantined_messages import KeptMessages
from durablecli.store.recovery import readable

_Answer = (
    ev.TaskCompleted
    | ev.TaskFailed
    | ev.TimerFired
    | ev.SubOrchestrationInstanceCompleted
    | ev.SubOrchestrationInstanceFailed
    | ev.EntityOperationCompleted
    | ev.EntityOperationFailed
)


class HistoryRepair:
    """Repairs the files of a hub whose journal has nothing that isn't in them. `keep` puts a file, or a copy of it,
    where nothing looks; `recorded` is what the index knows, also of files that have lost their end since."""

    def __init__(
        self,
        disk: Disk,
        root: str,
        keep: Callable[..., None],
        recorded: Callable[[str], InstanceSummary | None] = lambda id: None,
    ) -> None:
        self._disk = disk
        self._root = root
        self._keep = keep
        self._recorded = recorded
        self._healed: dict[str, Salvage] = {}
        self._damaged: dict[str, Salvage] = {}
        self._kept: dict[str, list[Kept]] = {}
        self._drops: dict[str, set[int]] = {}
        self._looks: dict[str, EntityLook] = {}
        self.entity = lru_cache(256)(self._entity)

    def run(self) -> Iterator[str]:
        """Repair; a line for each thing that was done."""
        for file in list(files(self._disk, self._root)):
            yield from self._look_at(file)
        self._settle_locks()
        senders = self._cut_senders()
        self._find_applied(senders)
        for file in list(files(self._disk, self._root)):
            yield from self._match(file, senders)
        self._write_notes(senders)
        yield from self._write_files()

    # ── looking ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _look_at(self, file: str) -> Iterator[str]:
        history = read_file(self._disk, file)
        if history is None:
            return
        place = f"{self._root}/damaged"
        if history.lines and path(self._root, history.instance) != file:
            self._keep(file)
            yield f"{file} held the history of {history.instance!r}; it was moved to {place}"
        elif not history.whole:
            found = salvage(self._disk.read(file))
            if found is None or path(self._root, found.instance) != file:
                name = owner(file, history)
                self._keep(file)
                yield f"{file}: its first record can't be read; {name or 'it'} is lost, the file was moved to {place}"
            elif found.is_complete:
                self._healed[found.instance] = found
            else:
                self._damaged[found.instance] = found
        else:
            row = self._recorded(history.instance)
            if row is not None and row.execution == history.execution and row.records > history.last:
                lost = list(range(history.last + 1, row.records + 1))
                self._damaged[history.instance] = Salvage(
                    history.instance, history.execution, history.first, history.lines, {}, lost, 0
                )

    def _instance(self, id: str) -> RuntimeState | None:
        """The ledger of an orchestration, as it will be after the repair; None where there is none."""
        found = self._damaged.get(id) or self._healed.get(id)
        if found is not None:
            return _folded(found.records())
        history = read(self._disk, self._root, id)
        if history is None or not history.lines:
            return None
        return _folded(readable(id, history.execution, history.lines))

    def _entity(self, id: str) -> EntityLook | None:
        """What the log of an entity says, with the records behind those that are lost."""
        if id in self._looks:
            return self._looks[id]
        found = self._damaged.get(id) or self._healed.get(id)
        if found is not None:
            records = [*found.records(), *found.records_behind()]
            self._looks[id] = look(records, fold_with_gaps(records))
            return self._looks[id]
        history = read(self._disk, self._root, id)
        if history is None or not history.lines:
            return None
        records = list(readable(id, history.execution, history.lines))
        return look(records, fold_entity_log(records))

    # ── locks ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _settle_locks(self) -> None:
        """Give the locks of damaged entities to those who hold them by their own histories, or by the log of an entity
        that is only asked after it."""
        damaged = {id for id in self._damaged if is_entity_id(id)}
        for file in files(self._disk, self._root) if damaged else ():
            history = read_file(self._disk, file)
            id = owner(file, history) if history is not None else None
            if id is not None and is_entity_id(id):
                known = self.entity(id)
                for lock in _locks(known.ledger) if known is not None else ():
                    before = lock.entities[: lock.entities.index(id)]
                    self._hold(damaged.intersection(before), lock)
            elif id is not None and (ledger := self._instance(id)) is not None:
                for n, request in ledger.locks.items():
                    origin = ev.Origin(ledger.instance, ledger.execution, n)
                    lock = ev.EntityLock(origin, request.entities, ledger.updated)
                    self._hold(damaged.intersection(request.entities), lock)

    def _hold(self, entities: Iterable[str], lock: ev.EntityLock) -> None:
        for id in entities:
            known = self.entity(id)
            if known is None:
                continue
            if known.ledger.lock is None or known.ledger.lock.sender != lock.sender:
                known.ledger = with_lock(known.ledger, lock)
                known.waiting = {record.n for record in known.ledger.pending_records()}

    # ── operations of senders that will decide on them once more ───────────────────────────────────────────────────

    def _cut_senders(self) -> dict[str, Cut]:
        """The damaged senders: a history is cut, and of an entity the operations after its last batch run again."""
        found: dict[str, Cut] = {}
        for id, damaged in self._damaged.items():
            last = damaged.last
            if is_entity_id(id):
                known = self.entity(id)
                batch = known.last_batch.n if known is not None and known.last_batch is not None else 0
                last = max(last, batch)
            found[id] = Cut(id, damaged.execution, last)
        return found

    def _find_applied(self, senders: dict[str, Cut]) -> None:
        """Note what entities have received of these senders after the cuts; what they haven't done yet is dropped."""
        if not senders:
            return
        for file in files(self._disk, self._root):
            history = read_file(self._disk, file)
            id = owner(file, history) if history is not None else None
            known = self.entity(id) if id is not None and is_entity_id(id) else None
            if id is None or known is None:
                continue
            for (instance, execution, n), record in known.received.items():
                cut = senders.get(instance)
                if cut is None or cut.execution != execution or n <= cut.last or instance == id:
                    continue
                if record.n in known.waiting:
                    self._drops.setdefault(id, set()).add(record.n)
                else:
                    cut.operations.append(_applied(id, record, known))
            self._look_at_requests(id, known, senders)
            for (instance, execution), n in known.earlier.items():
                cut = senders.get(instance)
                if cut is not None and cut.execution == execution and n > cut.last:
                    cut.upto[id] = n

    def _look_at_requests(self, id: str, known: EntityLook, senders: dict[str, Cut]) -> None:
        for record in known.ledger.in_line():
            if isinstance(record.event, ev.EntityLockReceived):
                sender = record.event.sender
                cut = senders.get(sender.instance)
                if cut is not None and cut.execution == sender.execution and sender.n > cut.last:
                    self._drops.setdefault(id, set()).add(record.n)

    # ── questions and answers ──────────────────────────────────────────────────────────────────────────────────────

    def _match(self, file: str, senders: dict[str, Cut]) -> Iterator[str]:
        history = read_file(self._disk, file)
        id = owner(file, history) if history is not None else None
        if id is None or is_entity_id(id):
            return
        damaged = self._damaged.get(id)
        ledger = self._instance(id)
        if ledger is None:
            return
        _note_child(ledger, senders)
        if any(map(is_entity_id, self._damaged)):
            yield from self._send_signals_again(id, ledger)
        if ledger.ended:
            return
        rescued = [] if damaged is None else list(_rescued(damaged))
        answered = {answered_decision(kept.event) for kept in rescued if kept.event is not None}
        for kept, line in Questions(self._instance, self.entity).of(ledger):
            if kept.event is None or kept.instance != id or answered_decision(kept.event) not in answered:
                self._kept.setdefault(kept.instance, []).append(kept)
                yield line
        self._kept.setdefault(id, []).extend(rescued)

    def _send_signals_again(self, id: str, ledger: RuntimeState) -> Iterator[str]:
        found = self._damaged.get(id) or self._healed.get(id)
        history = read(self._disk, self._root, id)
        if found is not None:
            records: Iterable[ev.Record] = found.records()
        else:
            records = readable(id, ledger.execution, history.lines if history is not None else [])
        entities = {each for each in self._damaged if is_entity_id(each)}
        for kept, line in Questions(self._instance, self.entity).lost_signals(records, ledger, entities):
            self._kept.setdefault(kept.instance, []).append(kept)
            yield line

    # ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _write_notes(self, senders: dict[str, Cut]) -> None:
        """Write down what the next engine is to deliver, to complete, and not to do twice."""
        keeper = KeptMessages(self._disk, self._root)
        for id, kept in self._kept.items():
            keeper.put_first(id, kept)
        before = deduplication.read(self._disk, self._root)
        deduplication.write(self._disk, self._root, {**before, **senders}.values())
        if cut := [id for id in self._damaged if not is_entity_id(id)]:
            truncated.add(self._disk, self._root, cut)

    def _write_files(self) -> Iterator[str]:
        for id in sorted({*self._healed, *self._damaged, *self._drops}):
            file = path(self._root, id)
            found = self._damaged.get(id) or self._healed.get(id)
            if found is not None:
                self._keep(file, copy=True)
            known = self.entity(id) if is_entity_id(id) else None
            if known is not None and (id in self._damaged or id in self._drops):
                self._replace(file, self._rewritten(id, known))
            elif found is not None:
                self._replace(file, found.lines)
            if found is not None:
                yield self._report(file, found)

    def _rewritten(self, id: str, known: EntityLook) -> list[bytes]:
        drops = self._drops.get(id, set())
        found = self._damaged.get(id)
        last = max(known.ledger.last_n, found.last + 1 if found is not None else 0)
        return rewritten(known.ledger, last, lambda record: record.n in drops)

    def _replace(self, file: str, lines: Iterable[bytes]) -> None:
        self._disk.replace(file, b"".join(line + b"\n" for line in lines))

    def _report(self, file: str, found: Salvage) -> str:
        kept = f"{self._root}/damaged has all of it"
        if found.is_complete:
            return f"{file}: lines that are no records, or twice, were removed; no record is lost; {kept}"
        lost = f"the records n {_numbers(found.lost)}" if found.lost else f"what came after record n {found.last}"
        if is_entity_id(found.instance):
            return f"{file} was written again from its last state: {found.instance} has lost {lost}; {kept}"
        return f"{file} was cut behind record n {found.last}: {found.instance} has lost {lost}; {kept}"


def _locks(ledger: EntityRuntimeState) -> list[ev.EntityLock]:
    """The lock of an entity that is held, and those that are asked for."""
    asked = [event for _, _, event in ledger.in_line() if isinstance(event, ev.EntityLockReceived)]
    held = [] if ledger.lock is None else [ledger.lock]
    return [*held, *(ev.EntityLock(event.sender, event.entities, ledger.updated) for event in asked)]


def _folded(records: Iterable[ev.Record]) -> RuntimeState | None:
    try:
        return fold_history(records)
    except Exception:  # noqa: BLE001 - records that make no history may break the fold anywhere
        return None


def _note_child(ledger: RuntimeState, senders: dict[str, Cut]) -> None:
    """Note a child that its parent has started after the cut of its history."""
    started, parent = ledger.started, ledger.started.parent
    cut = senders.get(parent.instance) if parent is not None else None
    if cut is None or parent is None or cut.execution != parent.execution or parent.n <= cut.last:
        return
    cut.children.append(Child(started.instance, started.name, started.input))


def _applied(entity: str, record: ev.Record, known: EntityLook) -> Applied:
    event = record.event
    assert isinstance(event, ev.EntityOperationReceived)
    outcome = known.results.get(record.n)
    if outcome is None:
        return Applied(entity, event.name, event.input)
    return Applied(entity, event.name, event.input, outcome.result, outcome.failure)


def _rescued(damaged: Salvage) -> Iterator[Kept]:
    """What came to an orchestration after the gap and means something without it: events, verbs, and the answers to
    decisions that are left."""
    id, execution = damaged.instance, damaged.execution
    for record in damaged.records_behind():
        event = record.event
        match event:
            case ev.EventRaised():
                yield Kept(id, execution, replace(event, held=False))
            case ev.ExecutionSuspended() | ev.ExecutionResumed() | ev.ExecutionTerminated():
                verbs = {ev.ExecutionSuspended: "suspend", ev.ExecutionResumed: "resume"}
                kind = verbs.get(type(event), "terminate")
                yield Kept(id, kind=kind, message=event.message or "", item=Item(id, reason=event.reason))
            case _ if isinstance(event, _Answer) and answered_decision(event) <= damaged.last:
                yield Kept(id, execution, replace(event, held=False))


def _numbers(lost: list[int]) -> str:
    """`3, 5 to 7`."""
    parts: list[str] = []
    start = previous = lost[0]
    for n in [*lost[1:], 0]:
        if n != previous + 1:
            parts.append(str(start) if start == previous else f"{start} to {previous}")
            start = n
        previous = n
    return ", ".join(parts)
