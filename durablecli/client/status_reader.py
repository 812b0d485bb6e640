"""What the files of a hub say, without the lock and without writing: statuses, histories, lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.client.entity_waits import Looks, told
from durablecli.client.orchestration_status import (
    NULL,
    Blocked,
    DurableOrchestrationStatus,
    Engine,
    Held,
    SetAside,
    Suspended,
    UnreadEvent,
)
from durablecli.client.published_functions import Published, parse_published
from durablecli.client.running_work import Activities, Running, notice_of, running_of
from durablecli.errors import DamagedHub, InstanceSetAside
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

_SLICE = 1000


class Reader:
    """One hub, as its files stand at each call."""

    def __init__(self, root: str, disk: Disk | None = None, is_published: Callable[[str], bool] | None = None) -> None:
        self.root = root
        self._disk: Disk = disk or LocalDisk()
        self._hub = HubReader(root, self._disk, is_published)

    def status(
        self, instance: str, *, history: bool = False, history_output: bool = False, show_input: bool = True
    ) -> DurableOrchestrationStatus:
        """How the instance stands; falsy where neither a history nor a start is there."""
        if is_entity_id(instance):
            return DurableOrchestrationStatus(instance_id=instance)
        (seen, aside), engine = self._look(instance, self._hub.read_instance), self.engine()
        status = _status(
            instance, seen, engine, aside, history=history, history_output=history_output, show_input=show_input
        )
        return _told(status, self._looks(self._hub.read_history))

    def _look(self, instance: str, look: Callable[[str], InstanceSnapshot]) -> tuple[InstanceSnapshot, SetAside | None]:
        """What was posted for an orchestration with its history, and whether it is set aside; as `find`."""
        listed = self._hub.quarantine_entry(instance)
        try:
            seen = look(instance)
        except InstanceSetAside as error:
            seen = InstanceSnapshot(
                self._hub.abridged_messages(instance), _foldable(self._hub.read_readable_part(instance))
            )
            since = None if listed is None else listed.since
            return seen, SetAside(str(error), since, self._hub.count_quarantined_messages(instance))
        if listed is None or seen.history is None:
            return seen, None
        return seen._replace(history=_foldable(seen.history)), SetAside(
            listed.reason, listed.since, self._hub.count_quarantined_messages(instance)
        )

    def find(
        self, instance: str, read: Callable[[str], History | None] | None = None
    ) -> tuple[History | None, SetAside | None]:
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
            return _foldable(found), SetAside(str(error), since, self._hub.count_quarantined_messages(instance))
        if found is None:
            return None, None  # purged since
        return _foldable(found), SetAside(listed.reason, listed.since, self._hub.count_quarantined_messages(instance))

    def statuses(self, instances: Iterable[str]) -> Iterator[DurableOrchestrationStatus]:
        """How each of many instances stands."""
        (look, read), engine = self._hub.bulk_readers(), self.engine()
        looks = self._looks(read)
        for instance in instances:
            seen, aside = self._look(instance, look)
            yield _told(_status(instance, seen, engine, aside), looks)

    def is_requested(self, instance: str, kind: str) -> bool:
        """Whether such a message waits for an engine."""
        if is_entity_id(instance):
            return any(message.kind == kind for message in self._hub.pending_messages(instance))
        seen, _ = self._look(instance, self._hub.read_instance)
        return any(message.kind == kind for message in seen.pending)

    def pending(self, entity: str) -> list[Message]:
        """What was posted for an entity and no engine has taken yet. Ask before you read its log."""
        return self._hub.pending_messages(entity)

    def is_taken(self, message: str) -> bool:
        """Whether a recent commit has taken this message."""
        return self._hub.is_consumed(message)

    def is_replaced(self, instance: str) -> bool:
        """Whether a start that waits for an engine will take the place of what its history holds."""
        if is_entity_id(instance):
            return False
        seen, _ = self._look(instance, self._hub.read_instance)
        return (
            seen.history is not None
            and _outlook(instance, seen, fold_history(parse(seen.history)), None).start is not None
        )

    def lines(self, instance: str) -> History | None:
        """The lines of its history as they stand on disk; None where nothing has begun."""
        return self._hub.read_history(instance)

    def rewind_preview(self, instance: str) -> list[str]:
        """What a rewind would send again: activities and operations, and children that are rewound in their turn.

        WrongState if it, or one of these children, can't be rewound.
        """
        find = self._ledgers()
        ledger = find(instance)
        if ledger is None:
            return []
        taken = plan_rewind(ledger)
        check_replacements(ledger, taken, find)
        _check_below(ledger, taken, find)
        children = [
            f"sub-orchestration {event.name}, instance {event.instance}"
            for n, event in taken.children
            if find_completed_child(ledger, n, taken, find) is None
        ]
        calls = [f"operation {event.name} of {event.entity} (id {n})" for n, event in taken.calls]
        return [*(f"activity {event.name} (id {n})" for n, event in taken.activities), *calls, *children]

    def _ledgers(self) -> Callable[[str], RuntimeState | None]:
        """The ledgers of many instances of one moment, each read once."""
        read = self._hub.bulk_reader()

        @cache
        def find(instance: str) -> RuntimeState | None:
            found = read(instance)
            return fold_history(parse(found)) if found is not None else None

        return find

    def page(self, query: Query) -> Page:
        """Some rows, and the cursor to the next."""
        return self._hub.page(query)

    def count(self, query: Query) -> int:
        """How many instances fit."""
        return self._hub.count(query)

    def rows(self, query: Query) -> Iterator[InstanceSummary]:
        """All rows, page after page."""
        query = msgspec.structs.replace(query, limit=_SLICE)
        while True:
            page = self._hub.page(query)
            yield from page.rows
            if page.cursor is None:
                return
            query = msgspec.structs.replace(query, cursor=page.cursor)

    def check(self) -> None:
        """Raises NewerHub, DamagedHub or NoPermission for a hub that mustn't be written to."""
        self._hub.exists()

    def stamp(self, instance: str) -> object:
        """Something that changes when the status may have changed."""
        return self._hub.change_token(instance)

    def published(self) -> Published | None:
        """What the last engine had loaded."""
        info = self._hub.read_engine_info()
        return None if info is None else parse_published(info)

    def running(self, engine: Engine) -> Mapping[str, Running]:
        """By entity, what the engine says that it runs."""
        return running_of(self._hub.read_engine_info() if engine.alive else None, engine)

    def activities(self) -> Activities | None:
        """The activities that the engine says to run or to have queued; None where no engine runs."""
        engine = self.engine()
        notice = notice_of(self._hub.read_engine_info() if engine.alive else None, engine)
        return None if notice is None else Activities(notice)

    def told(self, ledger: RuntimeState, waits: tuple[PendingWait, ...]) -> tuple[PendingWait, ...]:
        """The same waits, with what the entities say that it waits for."""
        return told(waits, ledger.instance, ledger.execution, self._looks(self._hub.read_history))

    def _looks(self, read: Callable[[str], History | None]) -> Looks:
        def entity(id: str) -> EntityRuntimeState | None:
            try:
                found = read(id)
            except DamagedHub:
                return None  # whoever asks for that entity is told
            return fold_entity_log(parse(found)) if found else None

        @cache
        def instance(id: str) -> str | None:
            try:
                found = read(id)
            except DamagedHub:
                return None
            return _standstill(fold_history(parse(found))) if found else None

        return Looks(entity, instance, cache(lambda: self.running(self.engine())), cache(self.activities))

    def engine(self) -> Engine:
        """The engine that runs, or what is known of the last one."""
        try:
            file = layout.read_hub_file(self._disk, self.root)
        except (OSError, DamagedHub):
            return Engine(alive=False)
        holder = file.engine
        if holder is None:
            return Engine(alive=False, last_seen=file.last_seen)
        return Engine(holder.is_alive, holder.pid, holder.since, file.last_seen)


def parse(found: History) -> Iterator[Record]:
    """The records of lines that were read, and so are known to be whole."""
    seed = codec.crc_seed(found.instance, found.execution)
    return (codec.decode_record(line, seed) for line in found.lines)


def _foldable(found: History | None) -> History | None:
    """The same, if a status can be made of it; whole lines that make no history may break the fold anywhere."""
    if found is None:
        return None
    try:
        records = list(parse(found))
        fold_entity_log(records) if is_entity_id(found.instance) else fold_history(records)
    except Exception:  # noqa: BLE001 - see above
        return None
    return found


def _status(
    instance: str,
    seen: InstanceSnapshot,
    engine: Engine,
    set_aside: SetAside | None,
    *,
    history: bool = False,
    history_output: bool = False,
    show_input: bool = True,
) -> DurableOrchestrationStatus:
    """How an instance stands once what was posted for it is taken."""
    found = seen.history
    records = list(parse(found)) if found is not None else []
    ledger = fold_history(records, found.good_bytes) if found is not None else None
    ahead = _outlook(instance, seen, ledger, set_aside)
    if ahead.status is None:
        return DurableOrchestrationStatus(instance_id=instance, engine=engine)
    if ahead.start is not None:
        return _of_start(ahead, ahead.start, seen, ledger, engine, history, show_input)
    if ledger is None:
        return DurableOrchestrationStatus(instance_id=instance, engine=engine, set_aside=set_aside)
    rows = project_history(records, results=history_output, inputs=show_input) if history else None
    return _of_ledger(ledger, records, ahead, seen, engine, rows, show_input, set_aside)


def _outlook(
    instance: str, seen: InstanceSnapshot, ledger: RuntimeState | None, set_aside: SetAside | None
) -> PredictedStatus:
    requests = pending_items_for(instance, seen.pending)
    if set_aside is None:
        return predict_status(None if ledger is None else ledger.status, requests)
    return predict_status("Unknown" if ledger is None else ledger.status, items_for_quarantined(requests))


def _of_start(
    ahead: PredictedStatus,
    start: PendingItem,
    seen: InstanceSnapshot,
    old: RuntimeState | None,
    engine: Engine,
    history: bool,
    show_input: bool,
) -> DurableOrchestrationStatus:
    message, item = start
    return DurableOrchestrationStatus(
        instance_id=item.target,
        name=item.name or (old.started.name if old is not None else None),
        runtime_status=OrchestrationRuntimeStatus(ahead.status),
        created_time=message.at,
        last_updated_time=message.at,
        raw_input=(item.input or NULL) if show_input else NULL,
        history=[] if history else None,
        version=item.version,
        start_at=item.start_at,
        requested=ahead.pending_kinds,
        unread_events=tuple(_posted_events(each for each in seen.pending if each.number > message.number)),
        ends=ahead.will_end,
        engine=engine,
    )


def _of_ledger(
    ledger: RuntimeState,
    records: Iterable[Record],
    ahead: PredictedStatus,
    seen: InstanceSnapshot,
    engine: Engine,
    history: list[dict[str, Any]] | None,
    show_input: bool,
    set_aside: SetAside | None,
) -> DurableOrchestrationStatus:
    started = ledger.started
    return DurableOrchestrationStatus(
        instance_id=ledger.instance,
        name=started.name,
        runtime_status=OrchestrationRuntimeStatus(ahead.status),
        created_time=ledger.created,
        last_updated_time=ledger.updated,
        raw_input=started.input if show_input else NULL,
        raw_output=_output(ledger) if ahead.status == ledger.status else NULL,
        raw_custom_status=ledger.custom_status or NULL,
        history=history,
        version=started.version,
        execution=ledger.execution,
        parent_instance_id=started.parent.instance if started.parent else None,
        records=ledger.last_n,
        waiting_for=waits(ledger),
        holds=_holds(ledger, records),
        blocked=None if ledger.blocked is None else Blocked(ledger.blocked, ledger.blocked_at),
        set_aside=set_aside,
        suspended=_suspended(ledger),
        requested=ahead.pending_kinds,
        unread_events=_unread_events(ledger, records, seen.pending),
        ends=ahead.will_end,
        start_at=started.start_at,
        engine=engine,
    )


def _told(status: DurableOrchestrationStatus, looks: Looks) -> DurableOrchestrationStatus:
    """The same, with what the entities say that it waits for."""
    waits = told(status.waiting_for, status.instance_id, status.execution or "", looks)
    return status if waits is status.waiting_for else msgspec.structs.replace(status, waiting_for=waits)


def _unread_events(ledger: RuntimeState, records: Iterable[Record], messages: list[Message]) -> tuple[UnreadEvent, ...]:
    """The events that a live instance has and hasn't read, in the order in which they came."""
    if ledger.ended:
        return ()
    unread = dict(ledger.unread_counts)
    held = {record.n for record in ledger.held}
    found: list[UnreadEvent] = []
    for n, at, event in reversed(list(records)):
        if not isinstance(event, EventRaised):
            continue
        if n in held:
            found.append(UnreadEvent(event.name, at, "held"))
        elif unread.get(event.name.casefold()):
            unread[event.name.casefold()] -= 1
            found.append(UnreadEvent(event.name, at, "unread"))
    return (*reversed(found), *_posted_events(messages))


def _posted_events(messages: Iterable[Message]) -> Iterator[UnreadEvent]:
    for message in messages:
        for item in message.items if message.kind == "raise-event" else ():
            if item.name is not None:  # of thousands only the first are read
                yield UnreadEvent(item.name, message.at, "posted")


def _standstill(ledger: RuntimeState) -> str | None:
    """Why it can't go on by itself, in a word."""
    if ledger.suspended is not None:
        return "suspended"
    return "blocked" if ledger.blocked is not None else None


def _holds(ledger: RuntimeState, records: Iterable[Record]) -> tuple[Held, ...]:
    if not ledger.locks:
        return ()
    granted = {event.task: at for _, at, event in records if isinstance(event, EntityLockGranted)}
    return tuple(Held(request.entities, granted.get(n)) for n, request in ledger.locks.items())


def _suspended(ledger: RuntimeState) -> Suspended | None:
    if ledger.suspended is None:
        return None
    return Suspended(ledger.suspended, ledger.suspended_at, len(ledger.held))


def _output(ledger: RuntimeState) -> Raw:
    if ledger.failure is not None:
        text = failure_text(ledger.failure)
        if ledger.failure_has_name_prefix:
            text = f"Orchestrator function '{ledger.started.name}' failed: {text}"
        return Raw(msgspec.json.encode(text))
    return ledger.result or NULL


def _check_below(ledger: RuntimeState, taken: RewindPlan, find: Callable[[str], RuntimeState | None]) -> None:
    """Raise WrongState if a child that is rewound with its parent can't be; a loop, as trees may be deep."""
    line = children_to_rewind(ledger, taken, find)
    while line:
        child = find(line.pop())
        if child is not None:
            line += children_to_rewind(child, plan_rewind(child), find)
