"""What the files of a hub say, without the lock and without writing: statuses, histories, lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.client.entity_waits import Lookups, explain_waits
from durablecli.client.orchestration_status import (
    NULL,
    BlockedInfo,
    DurableOrchestrationStatus,
    EngineStatus,
    HeldLocks,
    QuarantineInfo,
    SuspendedInfo,
    UnreadEvent,
)
from durablecli.client.published_functions import PublishedFunctions, parse_published
from durablecli.client.running_work import (
    ReportedActivities,
    RunningEntityBatch,
    decode_running_batches,
    decode_workload,
)
from durablecli.errors import DamagedHub, InstanceSetAside
from durablecli.limits import MAX_PAGE_SIZE
from durablecli.model import codec
from durablecli.model.entity_id import is_entity_id
from durablecli.model.events import EntityLockGranted, EventRaised, Record
from durablecli.model.failures import failure_text
from durablecli.model.history_projection import project_history
from durablecli.model.status import InstanceSummary, OrchestrationRuntimeStatus, PendingWait
from durablecli.replay.entity_state import EntityRuntimeState, fold_entity_log
from durablecli.replay.pending import waits
from durablecli.replay.rewind import RewindPlan, plan_rewind
from durablecli.replay.rewind_children import check_replacements, children_to_rewind, find_completed_child
from durablecli.replay.runtime_state import RuntimeState, fold_history
from durablecli.store import layout
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.history.writer import History
from durablecli.store.hub_reader import HubReader, InstanceSnapshot
from durablecli.store.inbox.messages import Message
from durablecli.store.inbox.pending_messages import (
    PendingItem,
    PredictedStatus,
    items_for_quarantined,
    pending_items_for,
    predict_status,
)
from durablecli.store.query import Page, Query


class StatusReader:
    """One hub, as its files stand at each call."""

    def __init__(self, root: str, disk: Disk | None = None, is_published: Callable[[str], bool] | None = None) -> None:
        self.root = root
        self._disk: Disk = disk or LocalDisk()
        self._hub = HubReader(root, self._disk, is_published)

    def read_status(
        self, instance: str, *, history: bool = False, history_output: bool = False, show_input: bool = True
    ) -> DurableOrchestrationStatus:
        """How the instance stands; falsy where neither a history nor a start is there."""
        if is_entity_id(instance):
            return DurableOrchestrationStatus(instance_id=instance)
        (snapshot, aside), engine = self._read_snapshot(instance, self._hub.read_instance), self.read_engine_status()
        status = _build_status(
            instance, snapshot, engine, aside, history=history, history_output=history_output, show_input=show_input
        )
        return _explain_status_waits(status, self._make_lookups(self._hub.read_history))

    def _read_snapshot(
        self, instance: str, read: Callable[[str], InstanceSnapshot]
    ) -> tuple[InstanceSnapshot, QuarantineInfo | None]:
        """What was posted for an orchestration with its history, and whether it is set aside; as `find`."""
        listed = self._hub.quarantine_entry(instance)
        try:
            snapshot = read(instance)
        except InstanceSetAside as error:
            snapshot = InstanceSnapshot(
                self._hub.abridged_messages(instance), _keep_if_foldable(self._hub.read_readable_part(instance))
            )
            since = None if listed is None else listed.since
            return snapshot, QuarantineInfo(str(error), since, self._hub.count_quarantined_messages(instance))
        if listed is None or snapshot.history is None:
            return snapshot, None
        return snapshot._replace(history=_keep_if_foldable(snapshot.history)), QuarantineInfo(
            listed.reason, listed.since, self._hub.count_quarantined_messages(instance)
        )

    def read_history(
        self, instance: str, read: Callable[[str], History | None] | None = None
    ) -> tuple[History | None, QuarantineInfo | None]:
        """The history of an instance, or the log of an entity, and whether it is set aside; of a damaged one there is
        as much as can be read."""
        listed = self._hub.quarantine_entry(instance)
        try:
            found = (read or self._hub.read_history)(instance)
            if listed is None:
                return found, None
        except InstanceSetAside as error:
            found = self._hub.read_readable_part(instance)
            since = None if listed is None else listed.since
            return _keep_if_foldable(found), QuarantineInfo(
                str(error), since, self._hub.count_quarantined_messages(instance)
            )
        if found is None:
            return None, None  # purged since
        return _keep_if_foldable(found), QuarantineInfo(
            listed.reason, listed.since, self._hub.count_quarantined_messages(instance)
        )

    def read_statuses(self, instances: Iterable[str]) -> Iterator[DurableOrchestrationStatus]:
        """How each of many instances stands."""
        (look, read), engine = self._hub.bulk_readers(), self.read_engine_status()
        lookups = self._make_lookups(read)
        for instance in instances:
            snapshot, aside = self._read_snapshot(instance, look)
            yield _explain_status_waits(_build_status(instance, snapshot, engine, aside), lookups)

    def is_requested(self, instance: str, kind: str) -> bool:
        """Whether such a message waits for an engine."""
        if is_entity_id(instance):
            return any(message.kind == kind for message in self._hub.pending_messages(instance))
        snapshot, _ = self._read_snapshot(instance, self._hub.read_instance)
        return any(message.kind == kind for message in snapshot.pending)

    def read_pending_messages(self, entity: str) -> list[Message]:
        """What was posted for an entity and no engine has taken yet. Ask before you read its log."""
        return self._hub.pending_messages(entity)

    def is_consumed(self, message: str) -> bool:
        """Whether a recent commit has taken this message."""
        return self._hub.is_consumed(message)

    def will_be_replaced(self, instance: str) -> bool:
        """Whether a start that waits for an engine will take the place of what its history holds."""
        if is_entity_id(instance):
            return False
        snapshot, _ = self._read_snapshot(instance, self._hub.read_instance)
        return (
            snapshot.history is not None
            and _predict_status(instance, snapshot, fold_history(parse_records(snapshot.history)), None).start
            is not None
        )

    def read_lines(self, instance: str) -> History | None:
        """The lines of its history as they stand on disk; None where nothing has begun."""
        return self._hub.read_history(instance)

    def preview_rewind(self, instance: str) -> list[str]:
        """What a rewind would send again: activities and operations, and children that are rewound in their turn.

        WrongState if it, or one of these children, can't be rewound.
        """
        find = self._make_state_finder()
        state = find(instance)
        if state is None:
            return []
        plan = plan_rewind(state)
        check_replacements(state, plan, find)
        _check_descendants(state, plan, find)
        children = [
            f"sub-orchestration {event.name}, instance {event.instance}"
            for n, event in plan.children
            if find_completed_child(state, n, plan, find) is None
        ]
        calls = [f"operation {event.name} of {event.entity} (id {n})" for n, event in plan.calls]
        return [*(f"activity {event.name} (id {n})" for n, event in plan.activities), *calls, *children]

    def _make_state_finder(self) -> Callable[[str], RuntimeState | None]:
        """The ledgers of many instances of one moment, each read once."""
        read = self._hub.bulk_reader()

        @cache
        def find(instance: str) -> RuntimeState | None:
            found = read(instance)
            return fold_history(parse_records(found)) if found is not None else None

        return find

    def read_page(self, query: Query) -> Page:
        """Some rows, and the cursor to the next."""
        return self._hub.page(query)

    def count(self, query: Query) -> int:
        """How many instances fit."""
        return self._hub.count(query)

    def iter_rows(self, query: Query) -> Iterator[InstanceSummary]:
        """All rows, page after page."""
        query = msgspec.structs.replace(query, limit=MAX_PAGE_SIZE)
        while True:
            page = self._hub.page(query)
            yield from page.rows
            if page.cursor is None:
                return
            query = msgspec.structs.replace(query, cursor=page.cursor)

    def check_writable(self) -> None:
        """Raises NewerHub, DamagedHub or NoPermission for a hub that mustn't be written to."""
        self._hub.exists()

    def change_token(self, instance: str) -> object:
        """Something that changes when the status may have changed."""
        return self._hub.change_token(instance)

    def read_published(self) -> PublishedFunctions | None:
        """What the last engine had loaded."""
        info = self._hub.read_engine_info()
        return None if info is None else parse_published(info)

    def read_running_batches(self, engine: EngineStatus) -> Mapping[str, RunningEntityBatch]:
        """By entity, what the engine says that it runs."""
        return decode_running_batches(self._hub.read_engine_info() if engine.alive else None, engine)

    def read_activities(self) -> ReportedActivities | None:
        """The activities that the engine says to run or to have queued; None where no engine runs."""
        engine = self.read_engine_status()
        notice = decode_workload(self._hub.read_engine_info() if engine.alive else None, engine)
        return None if notice is None else ReportedActivities(notice)

    def explain_waits(self, state: RuntimeState, waits: tuple[PendingWait, ...]) -> tuple[PendingWait, ...]:
        """The same waits, with what the entities say that it waits for."""
        return explain_waits(waits, state.instance, state.execution, self._make_lookups(self._hub.read_history))

    def _make_lookups(self, read: Callable[[str], History | None]) -> Lookups:
        def entity(id: str) -> EntityRuntimeState | None:
            try:
                found = read(id)
            except DamagedHub:
                return None  # whoever asks for that entity is told
            return fold_entity_log(parse_records(found)) if found else None

        @cache
        def instance(id: str) -> str | None:
            try:
                found = read(id)
            except DamagedHub:
                return None
            return _inactive_status(fold_history(parse_records(found))) if found else None

        return Lookups(
            entity,
            instance,
            cache(lambda: self.read_running_batches(self.read_engine_status())),
            cache(self.read_activities),
        )

    def read_engine_status(self) -> EngineStatus:
        """The engine that runs, or what is known of the last one."""
        try:
            file = layout.read_hub_file(self._disk, self.root)
        except (OSError, DamagedHub):
            return EngineStatus(alive=False)
        holder = file.engine
        if holder is None:
            return EngineStatus(alive=False, last_seen=file.last_seen)
        return EngineStatus(holder.is_alive, holder.pid, holder.since, file.last_seen)


def parse_records(found: History) -> Iterator[Record]:
    """The records of lines that were read, and so are known to be whole."""
    seed = codec.crc_seed(found.instance, found.execution)
    return (codec.decode_record(line, seed) for line in found.lines)


def _keep_if_foldable(found: History | None) -> History | None:
    """The same, if a status can be made of it; whole lines that make no history may break the fold anywhere."""
    if found is None:
        return None
    try:
        records = list(parse_records(found))
        fold_entity_log(records) if is_entity_id(found.instance) else fold_history(records)
    except Exception:  # noqa: BLE001 - see above
        return None
    return found


def _build_status(
    instance: str,
    snapshot: InstanceSnapshot,
    engine: EngineStatus,
    set_aside: QuarantineInfo | None,
    *,
    history: bool = False,
    history_output: bool = False,
    show_input: bool = True,
) -> DurableOrchestrationStatus:
    """How an instance stands once what was posted for it is taken."""
    found = snapshot.history
    records = list(parse_records(found)) if found is not None else []
    state = fold_history(records, found.good_bytes) if found is not None else None
    predicted = _predict_status(instance, snapshot, state, set_aside)
    if predicted.status is None:
        return DurableOrchestrationStatus(instance_id=instance, engine=engine)
    if predicted.start is not None:
        return _build_starting_status(predicted, predicted.start, snapshot, state, engine, history, show_input)
    if state is None:
        return DurableOrchestrationStatus(instance_id=instance, engine=engine, set_aside=set_aside)
    rows = project_history(records, results=history_output, inputs=show_input) if history else None
    return _build_recorded_status(state, records, predicted, snapshot, engine, rows, show_input, set_aside)


def _predict_status(
    instance: str, snapshot: InstanceSnapshot, state: RuntimeState | None, set_aside: QuarantineInfo | None
) -> PredictedStatus:
    requests = pending_items_for(instance, snapshot.pending)
    if set_aside is None:
        return predict_status(None if state is None else state.status, requests)
    return predict_status("Unknown" if state is None else state.status, items_for_quarantined(requests))


def _build_starting_status(
    predicted: PredictedStatus,
    start: PendingItem,
    snapshot: InstanceSnapshot,
    old: RuntimeState | None,
    engine: EngineStatus,
    history: bool,
    show_input: bool,
) -> DurableOrchestrationStatus:
    message, item = start
    return DurableOrchestrationStatus(
        instance_id=item.target,
        name=item.name or (old.started.name if old is not None else None),
        runtime_status=OrchestrationRuntimeStatus(predicted.status),
        created_time=message.at,
        last_updated_time=message.at,
        raw_input=(item.input or NULL) if show_input else NULL,
        history=[] if history else None,
        version=item.version,
        start_at=item.start_at,
        requested=predicted.pending_kinds,
        unread_events=tuple(_find_posted_events(each for each in snapshot.pending if each.number > message.number)),
        ends=predicted.will_end,
        engine=engine,
    )


def _build_recorded_status(
    state: RuntimeState,
    records: Iterable[Record],
    predicted: PredictedStatus,
    snapshot: InstanceSnapshot,
    engine: EngineStatus,
    history: list[dict[str, Any]] | None,
    show_input: bool,
    set_aside: QuarantineInfo | None,
) -> DurableOrchestrationStatus:
    started = state.started
    return DurableOrchestrationStatus(
        instance_id=state.instance,
        name=started.name,
        runtime_status=OrchestrationRuntimeStatus(predicted.status),
        created_time=state.created,
        last_updated_time=state.updated,
        raw_input=started.input if show_input else NULL,
        raw_output=_encode_output(state) if predicted.status == state.status else NULL,
        raw_custom_status=state.custom_status or NULL,
        history=history,
        version=started.version,
        execution=state.execution,
        parent_instance_id=started.parent.instance if started.parent else None,
        records=state.last_n,
        waiting_for=waits(state),
        holds=_find_held_locks(state, records),
        blocked=None if state.blocked is None else BlockedInfo(state.blocked, state.blocked_at),
        set_aside=set_aside,
        suspended=_suspended_info(state),
        requested=predicted.pending_kinds,
        unread_events=_find_unread_events(state, records, snapshot.pending),
        ends=predicted.will_end,
        start_at=started.start_at,
        engine=engine,
    )


def _explain_status_waits(status: DurableOrchestrationStatus, lookups: Lookups) -> DurableOrchestrationStatus:
    """The same, with what the entities say that it waits for."""
    waits = explain_waits(status.waiting_for, status.instance_id, status.execution or "", lookups)
    return status if waits is status.waiting_for else msgspec.structs.replace(status, waiting_for=waits)


def _find_unread_events(
    state: RuntimeState, records: Iterable[Record], messages: list[Message]
) -> tuple[UnreadEvent, ...]:
    """The events that a live instance has and hasn't read, in the order in which they came."""
    if state.ended:
        return ()
    unread = dict(state.unread_counts)
    held = {record.n for record in state.held}
    found: list[UnreadEvent] = []
    for n, at, event in reversed(list(records)):
        if not isinstance(event, EventRaised):
            continue
        if n in held:
            found.append(UnreadEvent(event.name, at, "held"))
        elif unread.get(event.name.casefold()):
            unread[event.name.casefold()] -= 1
            found.append(UnreadEvent(event.name, at, "unread"))
    return (*reversed(found), *_find_posted_events(messages))


def _find_posted_events(messages: Iterable[Message]) -> Iterator[UnreadEvent]:
    for message in messages:
        for item in message.items if message.kind == "raise-event" else ():
            if item.name is not None:  # of thousands only the first are read
                yield UnreadEvent(item.name, message.at, "posted")


def _inactive_status(state: RuntimeState) -> str | None:
    """Why it can't go on by itself, in a word."""
    if state.suspended is not None:
        return "suspended"
    return "blocked" if state.blocked is not None else None


def _find_held_locks(state: RuntimeState, records: Iterable[Record]) -> tuple[HeldLocks, ...]:
    if not state.locks:
        return ()
    granted = {event.task: at for _, at, event in records if isinstance(event, EntityLockGranted)}
    return tuple(HeldLocks(request.entities, granted.get(n)) for n, request in state.locks.items())


def _suspended_info(state: RuntimeState) -> SuspendedInfo | None:
    if state.suspended is None:
        return None
    return SuspendedInfo(state.suspended, state.suspended_at, len(state.held))


def _encode_output(state: RuntimeState) -> Raw:
    if state.failure is not None:
        text = failure_text(state.failure)
        if state.failure_has_name_prefix:
            text = f"Orchestrator function '{state.started.name}' failed: {text}"
        return Raw(msgspec.json.encode(text))
    return state.result or NULL


def _check_descendants(state: RuntimeState, plan: RewindPlan, find: Callable[[str], RuntimeState | None]) -> None:
    """Raise WrongState if a child that is rewound with its parent can't be; a loop, as trees may be deep."""
    queue = children_to_rewind(state, plan, find)
    while queue:
        child = find(queue.pop())
        if child is not None:
            queue += children_to_rewind(child, plan_rewind(child), find)
