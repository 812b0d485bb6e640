"""Repairing histories: intact records are kept, lost outcomes are requested again, and nothing is done twice.

Everything is planned before the first file is changed, and the information for the next engine is written first, so an
interrupted repair can be run again.
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
from durablecli.store.check.correlation import Correlator, EntityLogView, build_log_view
from durablecli.store.check.entity_log_repair import encode_rewritten_log, fold_with_gaps, restore_lock
from durablecli.store.check.salvage import SalvagedHistory, salvage_history
from durablecli.store.deduplication import AppliedEntityOperation, StartedChild, TruncatedSender
from durablecli.store.disk import Disk
from durablecli.store.history import truncated
from durablecli.store.history.file import history_files, history_path, instance_of_file, read_history, read_history_file
from durablecli.store.history.spilled_files import read_line, resolve_lines
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.journal.commits import QuarantinedMessage
from durablecli.store.layout import DAMAGED_FOLDER
from durablecli.store.quarantined_messages import QuarantinedMessages
from durablecli.store.recovery import readable_records

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
    """Repairs the files of a hub whose journal holds nothing that isn't in them.

    `preserve` moves or copies a file to `damaged/`; `read_row` returns the row of the index, also for files that have
    since lost their end.
    """

    def __init__(
        self,
        disk: Disk,
        root: str,
        preserve: Callable[..., None],
        read_row: Callable[[str], InstanceSummary | None] = lambda id: None,
    ) -> None:
        self._disk = disk
        self._root = root
        self._preserve = preserve
        self._read_row = read_row
        self._intact: dict[str, SalvagedHistory] = {}
        self._damaged: dict[str, SalvagedHistory] = {}
        self._quarantined: dict[str, list[QuarantinedMessage]] = {}
        self._dropped: dict[str, set[int]] = {}
        self._entity_views: dict[str, EntityLogView] = {}
        self.entity_view = lru_cache(256)(self._view_entity)

    def run(self) -> Iterator[str]:
        """Repair the histories, yielding a line for each change."""
        for file in list(history_files(self._disk, self._root)):
            yield from self._inspect_file(file)
        self._restore_locks()
        senders = self._find_truncated_senders()
        self._find_applied_operations(senders)
        for file in list(history_files(self._disk, self._root)):
            yield from self._correlate_file(file, senders)
        self._write_engine_lists(senders)
        yield from self._write_files()

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _inspect_file(self, file: str) -> Iterator[str]:
        history = read_history_file(self._disk, file)
        if history is None:
            return
        folder = f"{self._root}/{DAMAGED_FOLDER}"
        if history.lines and history_path(self._root, history.instance) != file:
            self._preserve(file)
            yield f"{file} held the history of {history.instance!r}; it was moved to {folder}"
        elif not history.is_whole or resolve_lines(self._disk, self._root, history.lines).damage:
            found = salvage_history(self._disk.read(file), self._read_line)
            if found is None or history_path(self._root, found.instance) != file:
                name = instance_of_file(file, history)
                self._preserve(file)
                yield f"{file}: its first record can't be read; {name or 'it'} is lost, the file was moved to {folder}"
            elif found.is_complete:
                self._intact[found.instance] = found
            else:
                self._damaged[found.instance] = found
        else:
            row = self._read_row(history.instance)
            if row is not None and row.execution == history.execution and row.records > history.last:
                lost = list(range(history.last + 1, row.records + 1))
                self._damaged[history.instance] = SalvagedHistory(
                    history.instance, history.execution, history.first, history.lines, {}, lost, 0, self._read_line
                )

    def _read_line(self, line: bytes) -> bytes:
        return read_line(self._disk, self._root, line)

    def _fold_instance(self, id: str) -> RuntimeState | None:
        """Return the state of an orchestration as it will be after the repair; None if there is none."""
        found = self._damaged.get(id) or self._intact.get(id)
        if found is not None:
            return _try_fold(found.records())
        history = read_history(self._disk, self._root, id)
        if history is None or not history.lines:
            return None
        return _try_fold(readable_records(self._disk, self._root, id, history.execution, history.lines))

    def _view_entity(self, id: str) -> EntityLogView | None:
        """Build the view of an entity's log, including the records after the lost ones."""
        if id in self._entity_views:
            return self._entity_views[id]
        found = self._damaged.get(id) or self._intact.get(id)
        if found is not None:
            records = [*found.records(), *found.records_after_gap()]
            self._entity_views[id] = build_log_view(records, fold_with_gaps(records))
            return self._entity_views[id]
        history = read_history(self._disk, self._root, id)
        if history is None or not history.lines:
            return None
        records = list(readable_records(self._disk, self._root, id, history.execution, history.lines))
        return build_log_view(records, fold_entity_log(records))

    # ── locks ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _restore_locks(self) -> None:
        """Give the locks of damaged entities to their holders, as recorded by the holders' own histories, or by the log
        of an entity that comes later in the order of locking."""
        damaged = {id for id in self._damaged if is_entity_id(id)}
        for file in history_files(self._disk, self._root) if damaged else ():
            history = read_history_file(self._disk, file)
            id = instance_of_file(file, history) if history is not None else None
            if id is not None and is_entity_id(id):
                known = self.entity_view(id)
                for lock in _held_and_requested_locks(known.state) if known is not None else ():
                    before = lock.entities[: lock.entities.index(id)]
                    self._grant_lock(damaged.intersection(before), lock)
            elif id is not None and (state := self._fold_instance(id)) is not None:
                for n, request in state.locks.items():
                    origin = ev.Origin(state.instance, state.execution, n)
                    lock = ev.EntityLock(origin, request.entities, state.updated)
                    self._grant_lock(damaged.intersection(request.entities), lock)

    def _grant_lock(self, entities: Iterable[str], lock: ev.EntityLock) -> None:
        for id in entities:
            view = self.entity_view(id)
            if view is None:
                continue
            if view.state.lock is None or view.state.lock.sender != lock.sender:
                view.state = restore_lock(view.state, lock)
                view.waiting_numbers = {record.n for record in view.state.pending_records()}

    # ── operations that truncated senders will decide again ──────────────────────────────────────────────────────────

    def _find_truncated_senders(self) -> dict[str, TruncatedSender]:
        """Find the damaged senders: orchestrations are truncated; entities rerun operations after the last batch."""
        found: dict[str, TruncatedSender] = {}
        for id, damaged in self._damaged.items():
            last = damaged.last
            if is_entity_id(id):
                known = self.entity_view(id)
                batch = known.last_batch.n if known is not None and known.last_batch is not None else 0
                last = max(last, batch)
            found[id] = TruncatedSender(id, damaged.execution, last)
        return found

    def _find_applied_operations(self, senders: dict[str, TruncatedSender]) -> None:
        """Record the operations received from these senders after the truncation; drop unprocessed ones."""
        if not senders:
            return
        for file in history_files(self._disk, self._root):
            history = read_history_file(self._disk, file)
            id = instance_of_file(file, history) if history is not None else None
            known = self.entity_view(id) if id is not None and is_entity_id(id) else None
            if id is None or known is None:
                continue
            for (instance, execution, n), record in known.received.items():
                sender = senders.get(instance)
                if sender is None or sender.execution != execution or n <= sender.last or instance == id:
                    continue
                if record.n in known.waiting_numbers:
                    self._dropped.setdefault(id, set()).add(record.n)
                else:
                    sender.operations.append(_to_applied_entity_operation(id, record, known))
            self._drop_lock_requests(id, known, senders)
            for (instance, execution), n in known.snapshot_senders.items():
                sender = senders.get(instance)
                if sender is not None and sender.execution == execution and n > sender.last:
                    sender.upto[id] = n

    def _drop_lock_requests(self, id: str, view: EntityLogView, senders: dict[str, TruncatedSender]) -> None:
        for record in view.state.in_line():
            if isinstance(record.event, ev.EntityLockReceived):
                sender = record.event.sender
                truncated_sender = senders.get(sender.instance)
                if (
                    truncated_sender is not None
                    and truncated_sender.execution == sender.execution
                    and sender.n > truncated_sender.last
                ):
                    self._dropped.setdefault(id, set()).add(record.n)

    # ── questions and answers ────────────────────────────────────────────────────────────────────────────────────────

    def _correlate_file(self, file: str, senders: dict[str, TruncatedSender]) -> Iterator[str]:
        history = read_history_file(self._disk, file)
        id = instance_of_file(file, history) if history is not None else None
        if id is None or is_entity_id(id):
            return
        damaged = self._damaged.get(id)
        state = self._fold_instance(id)
        if state is None:
            return
        _record_started_child(state, senders)
        if any(map(is_entity_id, self._damaged)):
            yield from self._resend_lost_signals(id, state)
        if state.ended:
            return
        rescued = [] if damaged is None else list(_messages_after_gap(damaged))
        answered = {answered_decision(kept.event) for kept in rescued if kept.event is not None}
        for kept, line in Correlator(self._fold_instance, self.entity_view).correlate(state):
            if kept.event is None or kept.instance != id or answered_decision(kept.event) not in answered:
                self._quarantined.setdefault(kept.instance, []).append(kept)
                yield line
        self._quarantined.setdefault(id, []).extend(rescued)

    def _resend_lost_signals(self, id: str, state: RuntimeState) -> Iterator[str]:
        found = self._damaged.get(id) or self._intact.get(id)
        history = read_history(self._disk, self._root, id)
        if found is not None:
            records: Iterable[ev.Record] = found.records()
        else:
            records = readable_records(
                self._disk, self._root, id, state.execution, history.lines if history is not None else []
            )
        entities = {each for each in self._damaged if is_entity_id(each)}
        for kept, line in Correlator(self._fold_instance, self.entity_view).find_lost_signals(records, state, entities):
            self._quarantined.setdefault(kept.instance, []).append(kept)
            yield line

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _write_engine_lists(self, senders: dict[str, TruncatedSender]) -> None:
        """Write the lists for the next engine: messages to deliver, turns to complete, operations not to repeat."""
        writer = QuarantinedMessages(self._disk, self._root)
        for id, kept in self._quarantined.items():
            writer.prepend(id, kept)
        before = deduplication.read_truncated_senders(self._disk, self._root)
        deduplication.write_truncated_senders(self._disk, self._root, {**before, **senders}.values())
        if cut := [id for id in self._damaged if not is_entity_id(id)]:
            truncated.add_truncated(self._disk, self._root, cut)

    def _write_files(self) -> Iterator[str]:
        for id in sorted({*self._intact, *self._damaged, *self._dropped}):
            file = history_path(self._root, id)
            found = self._damaged.get(id) or self._intact.get(id)
            if found is not None:
                self._preserve(file, copy=True)
            known = self.entity_view(id) if is_entity_id(id) else None
            if known is not None and (id in self._damaged or id in self._dropped):
                self._replace_file(file, self._encode_log(id, known))
            elif found is not None:
                self._replace_file(file, found.lines)
            if found is not None:
                yield self._describe(file, found)

    def _encode_log(self, id: str, view: EntityLogView) -> list[bytes]:
        drops = self._dropped.get(id, set())
        found = self._damaged.get(id)
        last = max(view.state.last_n, found.last + 1 if found is not None else 0)
        return encode_rewritten_log(view.state, last, lambda record: record.n in drops)

    def _replace_file(self, file: str, lines: Iterable[bytes]) -> None:
        self._disk.replace(file, b"".join(line + b"\n" for line in lines))

    def _describe(self, file: str, found: SalvagedHistory) -> str:
        kept = f"{self._root}/{DAMAGED_FOLDER} has all of it"
        if found.is_complete:
            return f"{file}: lines that are no records, or twice, were removed; no record is lost; {kept}"
        lost = (
            f"the records n {_format_numbers(found.lost)}" if found.lost else f"what came after record n {found.last}"
        )
        if is_entity_id(found.instance):
            return f"{file} was written again from its last state: {found.instance} has lost {lost}; {kept}"
        return f"{file} was cut behind record n {found.last}: {found.instance} has lost {lost}; {kept}"


def _held_and_requested_locks(state: EntityRuntimeState) -> list[ev.EntityLock]:
    """Return the lock of an entity that is held, and those that are requested."""
    asked = [event for each in state.in_line() if isinstance(event := each.event, ev.EntityLockReceived)]
    held = [] if state.lock is None else [state.lock]
    return [*held, *(ev.EntityLock(event.sender, event.entities, state.updated) for event in asked)]


def _try_fold(records: Iterable[ev.Record]) -> RuntimeState | None:
    try:
        return fold_history(records)
    except Exception:  # noqa: BLE001 - records that form no valid history may break the fold anywhere
        return None


def _record_started_child(state: RuntimeState, senders: dict[str, TruncatedSender]) -> None:
    """Record a child that its parent started after the truncation of its history."""
    started, parent = state.started, state.started.parent
    sender = senders.get(parent.instance) if parent is not None else None
    if sender is None or parent is None or sender.execution != parent.execution or parent.n <= sender.last:
        return
    sender.children.append(StartedChild(started.instance, started.name, started.input))


def _to_applied_entity_operation(entity: str, record: ev.Record, view: EntityLogView) -> AppliedEntityOperation:
    event = record.event
    assert isinstance(event, ev.EntityOperationReceived)
    outcome = view.results.get(record.n)
    if outcome is None:
        return AppliedEntityOperation(entity, event.name, event.input)
    return AppliedEntityOperation(entity, event.name, event.input, outcome.result, outcome.failure)


def _messages_after_gap(damaged: SalvagedHistory) -> Iterator[QuarantinedMessage]:
    """Yield the messages after the gap that are meaningful without it: events, control messages, and answers to
    decisions that are left."""
    id, execution = damaged.instance, damaged.execution
    for record in damaged.records_after_gap():
        event = record.event
        match event:
            case ev.EventRaised():
                yield QuarantinedMessage(id, execution, replace(event, held=False))
            case ev.ExecutionSuspended() | ev.ExecutionResumed() | ev.ExecutionTerminated():
                verbs = {ev.ExecutionSuspended: "suspend", ev.ExecutionResumed: "resume"}
                kind = verbs.get(type(event), "terminate")
                output = event.output if isinstance(event, ev.ExecutionTerminated) else ev.ABSENT
                item = MessageItem(id, reason=event.reason, output=output)
                yield QuarantinedMessage(id, kind=kind, message=event.message or "", item=item)
            case _ if isinstance(event, _Answer) and answered_decision(event) <= damaged.last:
                yield QuarantinedMessage(id, execution, replace(event, held=False))


def _format_numbers(lost: list[int]) -> str:
    """Format numbers with their ranges: `3, 5 to 7`."""
    parts: list[str] = []
    start = previous = lost[0]
    for n in [*lost[1:], 0]:
        if n != previous + 1:
            parts.append(str(start) if start == previous else f"{start} to {previous}")
            start = n
        previous = n
    return ", ".join(parts)
